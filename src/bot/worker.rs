//! The worker: one conversation in order, many at once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::courier::Mailbox;
use super::inbox::Inbox;
use super::lanes::Lanes;
use super::message::Message;
use super::outgoing;
use super::responder::{Answer, Incoming, Responder};
use crate::live::Live;
use crate::store::{Answered, InboxMessage, NewDelivery, Store, StoreError};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::progress::Pulse;

/// Conversations worked on at a time. More than may ask the model, so that a command does not
/// wait behind somebody else's answer.
const MAX_CONVERSATIONS: usize = 256;
/// How often the inbox is looked through for a message nobody told of.
const SWEEP: Duration = Duration::from_secs(30);
/// How long a conversation rests when the store failed: at first, and at most.
const STORE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Takes messages out of the inbox and puts their answers into the outbox.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Where messages come from.
    pub store: Arc<dyn Store>,
    /// Told what was answered.
    pub inbox: Inbox,
    /// Knows the answer.
    pub responder: Live<Responder>,
    /// Told what is to be delivered.
    pub mailbox: Mailbox,
    /// Told that a message waits for its background work.
    pub settle: Arc<Notify>,
    /// The present time.
    pub clock: Clock,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl Worker {
    /// Works until `stop`; then the messages under way are finished and no other is begun.
    ///
    /// `pulse` tells whoever asks that messages are taken out.
    pub async fn run(
        self,
        mut arrivals: mpsc::UnboundedReceiver<String>,
        mut pulse: Pulse,
        stop: CancellationToken,
    ) {
        let places = Arc::new(Semaphore::new(MAX_CONVERSATIONS));
        let mut active = Lanes::default();
        let mut sweep = tokio::time::interval_at(Instant::now() + SWEEP, SWEEP);
        loop {
            let conversations = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = pulse.beat() => continue,
                Some(again) = active.next_ended() => again.into_iter().collect(),
                _ = sweep.tick() => self.store.pending_conversations().await.unwrap_or_default(),
                Some(conversation) = arrivals.recv() => vec![conversation],
            };
            for conversation in conversations {
                let (worker, stop, places) = (self.clone(), stop.clone(), Arc::clone(&places));
                active.begin(conversation, |conversation| async move {
                    // Held to the end of the task.
                    let _place = tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        place = places.acquire() => place,
                    };
                    worker.work_through(&conversation, &stop).await;
                });
            }
        }
        active.finish().await;
    }

    /// Answers the messages of a conversation, oldest first, until none is left.
    async fn work_through(&self, conversation: &str, stop: &CancellationToken) {
        let mut pause = STORE_PAUSE.0;
        while !stop.is_cancelled() {
            let worked = match self.store.oldest_pending(conversation).await {
                Ok(None) => return,
                Ok(Some(kept)) => self.work_on(&kept, stop).await,
                Err(error) => Err(error),
            };
            match worked {
                Ok(()) => pause = STORE_PAUSE.0,
                Err(error) => {
                    tracing::error!(
                        conversation,
                        %error,
                        error_kind = error.kind(),
                        "a message could not be worked on; trying again"
                    );
                    rest(&mut pause, stop).await;
                }
            }
        }
    }

    async fn work_on(
        &self,
        kept: &InboxMessage,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let Ok(message) = serde_json::from_str::<Message>(&kept.payload) else {
            // Written by this program or an older one: cannot be, unless the file was changed.
            tracing::error!(
                inbox_id = kept.id,
                error_kind = "unreadable",
                "a kept message cannot be read; it is left out"
            );
            self.store.answer(kept.id, Answered::default()).await?;
            self.inbox.ended(None, None);
            self.metrics.messages_handled.with_label_values(&["unreadable"]).inc();
            return Ok(());
        };
        let span = message.span(kept.id);
        self.work_on_message(kept, message, stop).instrument(span).await
    }

    async fn work_on_message(
        &self,
        kept: &InboxMessage,
        message: Message,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        // A panic over one message must not end the work on all others, nor come back for ever.
        let composed = AssertUnwindSafe(self.compose(kept, &message)).catch_unwind().await;
        let (answer, deliveries) = match composed {
            Ok(composed) => composed?,
            Err(_) => {
                tracing::error!(error_kind = "panic", "a message made the responder panic");
                let answer = Answer::failed(&message);
                let deliveries = outgoing::answer(&message, &answer, kept.received_at);
                (answer, deliveries)
            }
        };
        // The answer may have cost a request to the model: while the store cannot take it, it is
        // held rather than made again.
        let mut pause = STORE_PAUSE.0;
        while let Err(error) = self.conclude(kept, &message, &answer, &deliveries).await {
            let error_kind = error.kind();
            tracing::error!(%error, error_kind, "an answer could not be kept; trying again");
            rest(&mut pause, stop).await;
            if stop.is_cancelled() {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn compose(
        &self,
        kept: &InboxMessage,
        message: &Message,
    ) -> Result<(Answer, Vec<NewDelivery>), StoreError> {
        let source = format!("message:{}", kept.id);
        let incoming = Incoming { message, source: &source, said_at: kept.received_at };
        let answer = self.responder.get().respond(&incoming).await?;
        let deliveries = outgoing::answer(message, &answer, kept.received_at);
        Ok((answer, deliveries))
    }

    async fn conclude(
        &self,
        kept: &InboxMessage,
        message: &Message,
        answer: &Answer,
        deliveries: &[NewDelivery],
    ) -> Result<(), StoreError> {
        let continuation = answer.continuation.clone();
        let answered = Answered { deliveries: deliveries.to_vec(), continuation };
        if self.store.answer(kept.id, answered).await?.is_none() {
            self.inbox.ended(Some(message), None);
            return Ok(());
        }
        self.metrics.messages_handled.with_label_values(&[answer.outcome]).inc();
        self.inbox.ended(Some(message), Some(&answer.text));
        match deliveries.first() {
            Some(first) => self.mailbox.notify(first.lane.clone()),
            // Whoever waits on the line has it now; the others' answers are delivered later.
            None if answer.text.is_empty() => {}
            None => {
                let waited = (self.clock.now_millis() - kept.received_at).max(0);
                self.metrics.reply_duration.observe(waited as f64 / 1_000.0);
            }
        }
        self.settle.notify_one();
        tracing::info!(outcome = answer.outcome, "message answered");
        Ok(())
    }
}

/// Rests, longer each time.
async fn rest(pause: &mut Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(*pause) => {}
    }
    *pause = (*pause * 2).min(STORE_PAUSE.1);
}

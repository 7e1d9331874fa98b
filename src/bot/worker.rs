//! The worker: one conversation in order, many at once.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::courier::Mailbox;
use super::inbox::Inbox;
use super::message::Message;
use super::outgoing;
use super::responder::{Answer, Incoming, Responder};
use crate::store::{Answered, Continuation, InboxMessage, Store, StoreError};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Conversations worked on at a time. More than may ask the model, so that a command does not
/// wait behind somebody else's answer.
const MAX_CONVERSATIONS: usize = 256;
/// How often the inbox is looked through for a message nobody told of: its caller was cut off
/// while it was being kept.
const SWEEP: Duration = Duration::from_secs(30);
/// How long a conversation rests when the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Takes messages out of the inbox and puts their answers into the outbox.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Where messages come from.
    pub store: Arc<dyn Store>,
    /// Told what was answered.
    pub inbox: Inbox,
    /// Knows the answer.
    pub responder: Arc<Responder>,
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
    pub async fn run(self, mut arrivals: mpsc::UnboundedReceiver<String>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONVERSATIONS));
        let mut tasks = JoinSet::new();
        // Conversations with a task, and whether something arrived since it last looked.
        let mut active: HashMap<String, bool> = HashMap::new();
        let mut sweep = tokio::time::interval_at(Instant::now() + SWEEP, SWEEP);
        loop {
            let conversations = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => match ended {
                    Ok(conversation) => match active.remove(&conversation) {
                        Some(true) => vec![conversation],
                        _ => continue,
                    },
                    Err(error) => {
                        // Panics are caught inside the task: this one was aborted.
                        tracing::error!(%error, "a conversation's task was lost");
                        continue;
                    }
                },
                Some(conversation) = arrivals.recv() => vec![conversation],
                _ = sweep.tick() => self.store.pending_conversations().await.unwrap_or_default(),
            };
            for conversation in conversations {
                if let Some(arrived) = active.get_mut(&conversation) {
                    *arrived = true;
                    continue;
                }
                active.insert(conversation.clone(), false);
                let (worker, stop, places) = (self.clone(), stop.clone(), Arc::clone(&places));
                tasks.spawn(async move {
                    // Held to the end of the task.
                    let _place = tokio::select! {
                        biased;
                        () = stop.cancelled() => return conversation,
                        place = places.acquire() => place,
                    };
                    worker.work_through(&conversation, &stop).await;
                    conversation
                });
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Answers the messages of a conversation, oldest first, until none is left.
    async fn work_through(&self, conversation: &str, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let worked = match self.store.oldest_pending(conversation).await {
                Ok(None) => return,
                Ok(Some(kept)) => self.work_on(&kept).await,
                Err(error) => Err(error),
            };
            if let Err(error) = worked {
                tracing::error!(%error, "a message could not be worked on; trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(STORE_PAUSE) => {}
                }
            }
        }
    }

    async fn work_on(&self, kept: &InboxMessage) -> Result<(), StoreError> {
        let Ok(message) = serde_json::from_str::<Message>(&kept.payload) else {
            // Written by this program or an older one: cannot be, unless the file was changed.
            tracing::error!(inbox_id = kept.id, "a kept message cannot be read; it is left out");
            self.store.answer(kept.id, Answered::default()).await?;
            self.metrics.messages_handled.with_label_values(&["unreadable"]).inc();
            return Ok(());
        };
        let source = format!("message:{}", kept.id);
        let incoming = Incoming { message: &message, source: &source, said_at: kept.received_at };
        // A panic on one message must not end the work on all others, nor come back for ever.
        let answer = AssertUnwindSafe(self.responder.respond(&incoming))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Ok(Answer::failed(&message)))?;
        self.conclude(kept, &message, answer).await
    }

    async fn conclude(
        &self,
        kept: &InboxMessage,
        message: &Message,
        answer: Answer,
    ) -> Result<(), StoreError> {
        let deliveries = outgoing::answer(message, &answer, kept.received_at);
        let lane = deliveries.first().map(|d| d.lane.clone());
        let answered = Answered {
            deliveries,
            continuation: Continuation { thread: message.thread(), ..answer.continuation },
        };
        if self.store.answer(kept.id, answered).await?.is_none() {
            return Ok(());
        }
        self.metrics.messages_handled.with_label_values(&[answer.outcome]).inc();
        self.inbox.answered(message, &answer.text);
        match lane {
            Some(lane) => self.mailbox.notify(lane),
            // Whoever waits on the line has it now; the others' answers are delivered later.
            None => {
                let waited = (self.clock.now_millis() - kept.received_at).max(0);
                self.metrics.reply_duration.observe(waited as f64 / 1_000.0);
            }
        }
        self.settle.notify_one();
        tracing::info!(
            inbox_id = kept.id,
            message_id = message.callback.message_id.as_deref(),
            conversation = message.conversation(),
            outcome = answer.outcome,
            "message answered"
        );
        Ok(())
    }
}

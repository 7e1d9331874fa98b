//! The settler: once a message is answered, memory gets to see it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::commands;
use super::message::Message;
use crate::live::Live;
use crate::memory::{Memory, Utterance};
use crate::store::{InboxMessage, Result, Store};

/// Messages read at a time.
const AT_A_TIME: usize = 64;
/// How often it looks without being told.
const SWEEP: Duration = Duration::from_secs(30);
/// How long to rest when the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Gives answered messages to memory, in order. Killed halfway, it does the same again: memory
/// keeps one memory a message.
#[derive(Debug)]
pub struct Settler {
    /// Where messages are kept.
    pub store: Arc<dyn Store>,
    /// What sees them.
    pub memory: Live<Memory>,
    /// Rung when a message was answered.
    pub answered: Arc<Notify>,
}

impl Settler {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let pause = match self.settle_all(&stop).await {
                Ok(()) => SWEEP,
                Err(error) => {
                    let error_kind = error.kind();
                    tracing::error!(%error, error_kind, "memory could not be updated; trying again");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.answered.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn settle_all(&self, stop: &CancellationToken) -> Result<()> {
        loop {
            let kept = self.store.unsettled(AT_A_TIME).await?;
            if kept.is_empty() || stop.is_cancelled() {
                return Ok(());
            }
            // Side by side: the store writes them in one transaction.
            let settled = kept.iter().map(|message| self.settle(message));
            for outcome in futures_util::future::join_all(settled).await {
                outcome?;
            }
        }
    }

    async fn settle(&self, kept: &InboxMessage) -> Result<()> {
        // A panic over one message must not keep all others out of memory, nor come back for ever.
        match AssertUnwindSafe(self.observe(kept)).catch_unwind().await {
            Ok(observed) => observed?,
            Err(_) => tracing::error!(
                inbox_id = kept.id,
                error_kind = "panic",
                "a message could not be remembered"
            ),
        }
        self.store.settle(kept.id).await
    }

    async fn observe(&self, kept: &InboxMessage) -> Result<()> {
        // What cannot be read was reported when it was to be answered.
        if let Ok(message) = serde_json::from_str::<Message>(&kept.payload)
            && let (Some(scope), Some(text)) = (message.scope(), message.text())
            && commands::parse(text).is_none()
        {
            let source = format!("message:{}", kept.id);
            let said = Utterance { text, source: &source, said_at: kept.received_at };
            let observed = self.memory.get();
            observed.observe(&scope, said).instrument(message.span(kept.id)).await?;
        }
        Ok(())
    }
}

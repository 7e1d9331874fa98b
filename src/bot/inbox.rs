//! The inbox: a message is on disk before its sender hears that it was accepted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::message::Message;
use crate::store::{Accepted, NewMessage, Store, StoreError};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// What a caller that was refused for lack of room is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a message was not accepted. Its sender may send it again.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// As many messages wait as may.
    #[error("{limit} messages wait for an answer already; send it again later")]
    Full {
        /// How many may wait.
        limit: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// It could not be kept.
    #[error("the message could not be kept: {0}")]
    Store(#[from] StoreError),
}

/// What became of a message.
#[derive(Debug)]
pub enum Receipt {
    /// It is on disk. Who asked to wait for the answer gets it here.
    Accepted(Option<oneshot::Receiver<String>>),
    /// It was accepted before.
    Duplicate,
}

/// The way in.
#[derive(Debug)]
pub struct Inbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
    limit: usize,
    /// Messages accepted, or being accepted, and not yet answered.
    depth: AtomicUsize,
    /// Callers that wait for an answer. The lock is held for a map operation, never across an
    /// await.
    waiters: Mutex<HashMap<String, oneshot::Sender<String>>>,
    arrivals: mpsc::UnboundedSender<String>,
}

impl Clone for Inbox {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl Inbox {
    /// An inbox over what the store holds already, and the conversations in which something
    /// arrives: first those with messages of an earlier run.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Clock,
        metrics: Arc<Metrics>,
        limit: usize,
    ) -> Result<(Self, mpsc::UnboundedReceiver<String>), StoreError> {
        let (arrivals, conversations) = mpsc::unbounded_channel();
        for conversation in store.pending_conversations().await? {
            // The receiver is right here.
            let _ = arrivals.send(conversation);
        }
        let depth = AtomicUsize::new(store.inbox_depth().await?.pending);
        let waiters = Mutex::default();
        let inner = Inner { store, clock, metrics, limit, depth, waiters, arrivals };
        Ok((Self { inner: Arc::new(inner) }, conversations))
    }

    /// Keeps a message. With `wait` the receipt holds the answer to come.
    pub async fn accept(&self, mut message: Message, wait: bool) -> Result<Receipt, Rejection> {
        let inner = &self.inner;
        let place = Place::take(inner)?;
        let answer = wait.then(|| {
            let token = Uuid::new_v4().to_string();
            let (caller, answer) = oneshot::channel();
            inner.waiters().insert(token.clone(), caller);
            message.waiter = Some(token);
            answer
        });
        let accepted = self.keep(&message).await;
        if !matches!(accepted, Ok(Accepted::New(_)))
            && let Some(token) = &message.waiter
        {
            inner.waiters().remove(token);
        }
        match accepted? {
            Accepted::Duplicate => Ok(Receipt::Duplicate),
            Accepted::New(_) => {
                place.keep();
                inner.metrics.inbox_messages.with_label_values(&["pending"]).inc();
                // A worker that has ended is a fault of its own, seen where it is supervised.
                let _ = inner.arrivals.send(message.conversation());
                Ok(Receipt::Accepted(answer))
            }
        }
    }

    async fn keep(&self, message: &Message) -> Result<Accepted, StoreError> {
        let payload =
            serde_json::to_string(message).map_err(|e| StoreError::Failed(e.to_string()))?;
        let new = NewMessage {
            key: message.key(),
            conversation: message.conversation(),
            payload,
            received_at: self.inner.clock.now_millis(),
        };
        self.inner.store.accept(new).await
    }

    /// Notes that a message was answered, and hands the answer to a caller that waits for it.
    pub(super) fn answered(&self, message: &Message, answer: &str) {
        let inner = &self.inner;
        inner.leave();
        inner.metrics.inbox_messages.with_label_values(&["pending"]).dec();
        let waiting = message.waiter.as_ref().and_then(|token| inner.waiters().remove(token));
        if let Some(caller) = waiting {
            // The caller may have hung up.
            let _ = caller.send(answer.to_owned());
        }
    }

    /// Messages accepted and not yet answered.
    pub fn depth(&self) -> usize {
        self.inner.depth.load(Ordering::Acquire)
    }

    /// Whether no more messages are accepted for the moment.
    pub fn is_full(&self) -> bool {
        self.depth() >= self.inner.limit
    }
}

impl Inner {
    /// Gives a place back. A caller that was cut off while its message was being kept has given
    /// its place back before the message is answered: never below none.
    fn leave(&self) {
        let less = |depth: usize| Some(depth.saturating_sub(1));
        // The closure always has a value.
        let _ = self.depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    fn waiters(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<String>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the inbox, given back unless it was kept: also when the caller goes away halfway.
struct Place<'a> {
    inner: &'a Inner,
}

impl<'a> Place<'a> {
    fn take(inner: &'a Inner) -> Result<Self, Rejection> {
        let limit = inner.limit;
        let taken = inner.depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, |depth| {
            (depth < limit).then_some(depth + 1)
        });
        match taken {
            Ok(_) => Ok(Self { inner }),
            Err(_) => Err(Rejection::Full { limit, retry_after: RETRY_AFTER }),
        }
    }

    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.inner.leave();
    }
}

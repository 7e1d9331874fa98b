//! The inbox: a message is on disk before its sender hears that it was accepted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
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
    limit: AtomicUsize,
    /// Messages accepted, or being accepted, and not yet answered.
    depth: AtomicUsize,
    /// Callers that wait for an answer. The lock is held for a map operation, never across an
    /// await.
    waiters: Mutex<HashMap<String, oneshot::Sender<String>>>,
    arrivals: mpsc::UnboundedSender<String>,
    /// Messages being kept; theirs is not the life of the connection they came on.
    under_way: TaskTracker,
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
        let under_way = TaskTracker::new();
        let limit = AtomicUsize::new(limit);
        let inner = Inner { store, clock, metrics, limit, depth, waiters, arrivals, under_way };
        Ok((Self { inner: Arc::new(inner) }, conversations))
    }

    /// Keeps a message. With `wait` the receipt holds the answer to come.
    ///
    /// A caller that goes away meanwhile changes nothing: what was begun is kept and answered.
    pub async fn accept(&self, message: Message, wait: bool) -> Result<Receipt, Rejection> {
        let place = Place::take(&self.inner)?;
        let inner = Arc::clone(&self.inner);
        let kept = self.inner.under_way.spawn(inner.keep(place, message, wait));
        kept.await.unwrap_or(Err(Rejection::Store(StoreError::Closed)))
    }

    /// Waits until every message that was begun to be accepted is kept or refused.
    pub async fn settled(&self) {
        self.inner.under_way.close();
        self.inner.under_way.wait().await;
    }

    /// Tells every caller that waits for an answer that it will not come on this line.
    pub fn dismiss_waiters(&self) {
        self.inner.waiters().clear();
    }

    /// Notes that a message has come to its end, and hands the answer, if there is one, to a
    /// caller that waits for it.
    pub(super) fn ended(&self, message: Option<&Message>, answer: Option<&str>) {
        let inner = &self.inner;
        inner.leave();
        inner.metrics.inbox_messages.with_label_values(&["pending"]).dec();
        let token = message.and_then(|message| message.waiter.as_ref());
        let waiting = token.and_then(|token| inner.waiters().remove(token));
        if let (Some(caller), Some(answer)) = (waiting, answer) {
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
        self.depth() >= self.inner.limit()
    }

    /// Changes how many messages may wait for an answer.
    pub fn set_limit(&self, limit: usize) {
        self.inner.limit.store(limit, Ordering::Release);
    }
}

impl Inner {
    fn limit(&self) -> usize {
        self.limit.load(Ordering::Acquire)
    }

    async fn keep(
        self: Arc<Self>,
        place: Place,
        mut message: Message,
        wait: bool,
    ) -> Result<Receipt, Rejection> {
        let answer = wait.then(|| {
            let token = Uuid::new_v4().to_string();
            let (caller, answer) = oneshot::channel();
            self.waiters().insert(token.clone(), caller);
            message.waiter = Some(token);
            answer
        });
        let accepted = self.write(&message).await;
        if matches!(accepted, Ok(Accepted::New(_))) {
            place.keep();
            self.metrics.inbox_messages.with_label_values(&["pending"]).inc();
            // A worker that has ended is a fault of its own, seen where it is supervised.
            let _ = self.arrivals.send(message.conversation());
        } else if let Some(token) = &message.waiter {
            self.waiters().remove(token);
        }
        Ok(match accepted? {
            Accepted::New(_) => Receipt::Accepted(answer),
            Accepted::Duplicate => Receipt::Duplicate,
        })
    }

    async fn write(&self, message: &Message) -> Result<Accepted, StoreError> {
        let payload =
            serde_json::to_string(message).map_err(|e| StoreError::Failed(e.to_string()))?;
        let new = NewMessage {
            key: message.key(),
            conversation: message.conversation(),
            payload,
            received_at: self.clock.now_millis(),
        };
        self.store.accept(new).await
    }

    /// Gives a place back. Never below none: an operator may have changed the store meanwhile.
    fn leave(&self) {
        let less = |depth: usize| Some(depth.saturating_sub(1));
        // The closure always has a value.
        let _ = self.depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    fn waiters(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<String>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the inbox, given back unless the message is kept.
struct Place {
    inner: Arc<Inner>,
    kept: bool,
}

impl Place {
    fn take(inner: &Arc<Inner>) -> Result<Self, Rejection> {
        let limit = inner.limit();
        let taken = inner.depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, |depth| {
            (depth < limit).then_some(depth + 1)
        });
        match taken {
            Ok(_) => Ok(Self { inner: Arc::clone(inner), kept: false }),
            Err(_) => Err(Rejection::Full { limit, retry_after: RETRY_AFTER }),
        }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.inner.leave();
        }
    }
}

//! What the outbox needs of a store.

use async_trait::async_trait;

use super::Result;

/// A delivery's place in the outbox; larger is later.
pub type OutboxId = i64;

/// Something to be delivered.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// The queue in which it keeps its order: one lane, one destination.
    pub lane: String,
    /// Idempotency key, the same at every attempt.
    pub uuid: String,
    /// What is to be delivered.
    pub payload: String,
    /// A delivery with the same key that waits in the lane and was never tried takes this one in:
    /// it counts one occurrence more.
    pub merge_key: Option<String>,
    /// When it was made.
    pub created_at: i64,
}

/// What makes a post the same as the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Whose word it is, such as a group of alerts.
    pub series: String,
    /// What it says.
    pub content: String,
    /// For how long the same content of a series, with none between, is a repetition.
    pub window_millis: i64,
}

/// Whether a delivery is still tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxState {
    /// It waits for its turn or its next attempt.
    Waiting,
    /// It was given up; an operator may retry or drop it.
    Dead,
}

/// A kept delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its place.
    pub id: OutboxId,
    /// Its queue.
    pub lane: String,
    /// Idempotency key.
    pub uuid: String,
    /// Deliveries with the same batch are sent as one message, under this idempotency key.
    pub batch: Option<String>,
    /// What is to be delivered.
    pub payload: String,
    /// How often it was asked for since it began to wait.
    pub occurrences: u32,
    /// Whether it is still tried.
    pub state: OutboxState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it may be tried next.
    pub next_attempt_at: i64,
    /// When it was made.
    pub created_at: i64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// How full the outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxDepth {
    /// Deliveries that wait.
    pub waiting: usize,
    /// Deliveries that were given up.
    pub dead: usize,
    /// When the oldest of those that wait was made.
    pub oldest_created_at: Option<i64>,
}

/// The durable queue of what goes out.
#[async_trait]
pub trait OutboxStore {
    /// Puts deliveries at the ends of their lanes, all or none, and returns `true`; `false`, and
    /// nothing is put: what the series said last is the same, and was put within the window before
    /// `now`. Known across restarts.
    async fn post(&self, deliveries: Vec<NewDelivery>, once: Once, now: i64) -> Result<bool>;

    /// Lanes with waiting deliveries, with the time at which the first of each may be tried;
    /// earliest first, at most `limit`.
    async fn waiting_lanes(&self, limit: usize) -> Result<Vec<(String, i64)>>;

    /// The first deliveries of a lane, at most `limit`: those that share the batch of the first,
    /// or, when it has none, the first ones without a batch.
    async fn lane_head(&self, lane: &str, limit: usize) -> Result<Vec<Delivery>>;

    /// Makes deliveries one message with one idempotency key; kept, so that a later attempt sends
    /// the same message.
    async fn batch(&self, ids: &[OutboxId], batch: &str) -> Result<()>;

    /// Forgets deliveries that arrived.
    async fn delivered(&self, ids: &[OutboxId]) -> Result<()>;

    /// Counts a failed attempt and sets the next one.
    async fn postpone(&self, ids: &[OutboxId], next_attempt_at: i64, error: &str) -> Result<()>;

    /// Sets the next attempt without counting one: the lane had to wait its turn.
    async fn hold(&self, ids: &[OutboxId], next_attempt_at: i64) -> Result<()>;

    /// Gives deliveries up. One whose merge key a dead delivery of its lane has goes into that one:
    /// a reminder that cannot be delivered is one dead delivery, however often it comes.
    async fn bury(&self, ids: &[OutboxId], error: &str) -> Result<()>;

    /// Takes one of `limit` sends in any `window_millis` for a sender, across restarts; or returns
    /// the time at which one is free.
    async fn reserve_send(
        &self,
        sender: &str,
        now: i64,
        window_millis: i64,
        limit: u32,
    ) -> Result<std::result::Result<(), i64>>;

    /// Deliveries in a state, oldest first.
    async fn deliveries(&self, state: Option<OutboxState>, limit: usize) -> Result<Vec<Delivery>>;

    /// Lets dead deliveries wait again, from `now`; `None`: all of them. Returns how many.
    async fn revive(&self, ids: Option<&[OutboxId]>, now: i64) -> Result<usize>;

    /// Forgets dead deliveries; `None`: all of them. Returns how many.
    async fn drop_dead(&self, ids: Option<&[OutboxId]>) -> Result<usize>;

    /// Forgets dead deliveries made before `before`, at most `limit`; returns how many.
    async fn prune_outbox(&self, before: i64, limit: usize) -> Result<usize>;

    /// How full the outbox is.
    async fn outbox_depth(&self) -> Result<OutboxDepth>;
}

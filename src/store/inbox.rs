//! What the inbox needs of a store.

use async_trait::async_trait;

use super::{Continuation, NewDelivery, OutboxId, Result};

/// A message's place in the inbox; larger is later.
pub type InboxId = i64;

/// A message to be kept.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// What makes it the same message when it comes again; `None`: it is always new.
    pub key: Option<String>,
    /// The conversation in which it has its turn.
    pub conversation: String,
    /// The message.
    pub payload: String,
    /// When it came.
    pub received_at: i64,
}

/// What became of a message that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is on disk.
    New(InboxId),
    /// A message with the same key is, or was, there.
    Duplicate,
}

/// A kept message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxMessage {
    /// Its place.
    pub id: InboxId,
    /// The message.
    pub payload: String,
    /// When it came.
    pub received_at: i64,
}

/// All that an answer changes; it happens in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    /// What is to be delivered.
    pub deliveries: Vec<NewDelivery>,
    /// How the conversation goes on.
    pub continuation: Continuation,
}

/// How full the inbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboxDepth {
    /// Messages not yet answered.
    pub pending: usize,
    /// When the oldest of them came.
    pub oldest_received_at: Option<i64>,
}

/// The durable, deduplicated queue of messages that came in.
#[async_trait]
pub trait InboxStore {
    /// Keeps a message unless its key is known.
    async fn accept(&self, message: NewMessage) -> Result<Accepted>;

    /// The conversations that have unanswered messages.
    async fn pending_conversations(&self) -> Result<Vec<String>>;

    /// The oldest unanswered message of a conversation.
    async fn oldest_pending(&self, conversation: &str) -> Result<Option<InboxMessage>>;

    /// Marks a message answered, with all that the answer changes; returns where the deliveries
    /// stand. `None`: it was answered before, and nothing was changed.
    async fn answer(&self, id: InboxId, answered: Answered) -> Result<Option<Vec<OutboxId>>>;

    /// Answered messages whose background work is still to be done, oldest first.
    async fn unsettled(&self, limit: usize) -> Result<Vec<InboxMessage>>;

    /// Marks the background work of a message done, and lets its payload go.
    async fn settle(&self, id: InboxId) -> Result<()>;

    /// Forgets settled messages that came before `before`, at most `limit`; returns how many.
    /// Their keys are forgotten too: `before` must be older than any replay can be.
    async fn prune_inbox(&self, before: i64, limit: usize) -> Result<usize>;

    /// How full the inbox is.
    async fn inbox_depth(&self) -> Result<InboxDepth>;
}

//! The store: everything that must outlive the process.
//!
//! One trait, cut by what the rooms above need: [`InboxStore`], [`OutboxStore`],
//! [`ReminderStore`], [`ConversationStore`], [`MemoryStore`], [`JobStore`],
//! [`KeyStore`]. Behind it stands [`sqlite`].
//!
//! Promises that a call that returned `Ok` is on disk, that a call changes all of what it says or
//! nothing, and that no call blocks an async thread. Does not know what a message means: payloads
//! are text of the rooms above. Times are milliseconds since the Unix epoch, given by the caller.

#[cfg(test)]
pub(crate) mod conformance;
mod conversation;
mod inbox;
mod jobs;
mod keys;
mod memories;
mod outbox;
mod reminders;
pub mod sqlite;

use std::path::PathBuf;

use async_trait::async_trait;

pub use conversation::{Continuation, ConversationStore, NewTurn, Turn, TurnRole};
pub use inbox::{Accepted, Answered, InboxDepth, InboxId, InboxMessage, InboxStore, NewMessage};
pub use jobs::{Job, JobEnd, JobState, JobStore, NewJob};
pub use keys::{ApiKey, KeyStore};
use memories::person;
pub use memories::{
    Arrival, Asked, BadId, Change, Changed, Edit, Enough, Entity, EntitySummary, Event, Evidence,
    Feedback, Field, Filter, Forgotten, Kept, MemoryRecord, MemoryStore, ModelId, NewMemory, Order,
    Part, Posting, Profile, Rank, Scope, Selection, Stored, Test, Unembedded, Unindexed,
    VectorStore, Words,
};
pub use outbox::{Delivery, NewDelivery, Once, OutboxDepth, OutboxId, OutboxState, OutboxStore};
pub use reminders::{NewReminder, Reminder, ReminderStore};

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room; the write may be tried again when there is.
    #[error("the disk is full: free space where the store is")]
    Full,
    /// The file is damaged; writing more would make it worse.
    #[error("the store is damaged ({0}): stop the daemon and restore a backup")]
    Corrupt(String),
    /// The store is shutting down or has failed to start.
    #[error("the store is closed")]
    Closed,
    /// Anything else, in the engine's words.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Its kind in one word, for the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Corrupt(_) => "corrupt",
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
        }
    }
}

/// What a call on the store returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The number of the user this process runs as: in a container it has no name outside.
fn this_user() -> String {
    format!("uid {}", rustix::process::geteuid().as_raw())
}

/// Why the store could not be opened. Nothing was written in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be made or written.
    #[error(
        "cannot write the store {path}: {reason}; give this user ({user}) the folder, or set \
         store.url (or DATABASE_PATH) to one it may write",
        user = this_user()
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// There is no file, and none was to be made.
    #[error(
        "there is no store at {path}: does `dingbot serve` run as another user, or with another \
         store.url (or DATABASE_PATH)?"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is no room to open it.
    #[error("the disk with the store {path} is full: free space there, then start again")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It is a folder, a device or a pipe.
    #[error("{path} is not a regular file: set store.url (or DATABASE_PATH) to a file")]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// The file is no SQLite database, or is damaged.
    #[error(
        "{path} is not a dingbot store or is damaged ({reason}); it was left as it is: restore a \
         backup, or move it away to start with an empty store"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// A newer program has changed the file's layout.
    #[error(
        "{path} was written by a newer dingbot (layout {found}, this program knows {known}); it \
         was left as it is: install that version again, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's layout.
        found: i64,
        /// The newest layout this program knows.
        known: i64,
    },
    /// Another daemon works on the same file.
    #[error(
        "another dingbot (process {pid}) works on the store {path}; stop it, or set store.url to \
         another file"
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The other process, as far as it said.
        pid: String,
    },
    /// Anything else.
    #[error("cannot open the store {path}: {reason}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
}

/// What room the store takes and has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Its own files.
    pub used: u64,
    /// Free on its disk for this user.
    pub available: u64,
    /// The whole disk.
    pub disk: u64,
}

/// A whole store.
#[async_trait]
pub trait Store:
    InboxStore
    + OutboxStore
    + ReminderStore
    + ConversationStore
    + MemoryStore
    + VectorStore
    + JobStore
    + KeyStore
    + std::fmt::Debug
    + Send
    + Sync
{
    /// Writes and commits one small row, to learn whether the store can be written.
    async fn probe(&self) -> Result<()>;

    /// Returns once the writing thread has gone on, whatever became of the writes; never, if it
    /// hangs.
    async fn heartbeat(&self) -> Result<()>;

    /// Reads the whole file for damage; takes long on a large store.
    async fn verify(&self) -> Result<()>;

    /// Asks the system what room there is.
    async fn room(&self) -> Result<Room>;
}

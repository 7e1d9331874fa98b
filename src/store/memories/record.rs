//! A memory, as it is written and as it is read.

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::Scope;

/// A memory to be kept.
#[derive(Debug, Clone, Default)]
pub struct NewMemory {
    /// A UUID.
    pub id: String,
    /// The statement.
    pub text: String,
    /// By what it is found.
    pub words: Words,
    /// Who said it, when that is not the person of the scope.
    pub actor_id: Option<String>,
    /// The role it was said in, if one was named: `user` or `assistant`.
    pub role: Option<String>,
    /// What the caller wants kept with it.
    pub metadata: Option<Map<String, Value>>,
    /// What it is about.
    pub categories: Vec<String>,
    /// The last day on which it holds.
    pub expires_on: Option<Date>,
    /// What it was made from; the same source never makes a second one, not even when the first is
    /// forgotten: a message that is worked on again after a crash must not bring it back.
    pub source: Option<String>,
    /// Memories of the same owner, by UUID, that hold no longer because this one does.
    pub supersedes: Vec<String>,
    /// When it was said.
    pub created_at: i64,
}

/// By what a memory is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Its terms, with how often each occurs.
    pub terms: Vec<(String, u32)>,
    /// The terms of the name, with blanks between them, of who speaks in it, if it says so or somebody
    /// else than the person of the scope said it.
    pub speaker: Option<String>,
}

/// A memory of which nothing is known by which it is found, or only what an older program knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unindexed {
    /// The memory, by its key.
    pub memory: i64,
    /// Its text.
    pub text: String,
    /// Who said it, when that is not the person of the scope.
    pub actor_id: Option<String>,
}

/// A memory that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its UUID.
    pub id: String,
    /// The small number its owner knows it by.
    pub number: i64,
    /// Whether this call made it; `false`: its source had made it before, or it was said before
    /// its owner had everything forgotten, and is not kept.
    pub new: bool,
}

/// A kept memory.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryRecord {
    /// Its UUID.
    pub id: String,
    /// The small number its owner knows it by.
    pub number: i64,
    /// The statement.
    pub text: String,
    /// Whose it is.
    pub scope: Scope,
    /// Who said it, when that is not the person of the scope.
    pub actor_id: Option<String>,
    /// The role it was said in.
    pub role: Option<String>,
    /// What the caller wanted kept with it.
    pub metadata: Option<Map<String, Value>>,
    /// What it is about.
    pub categories: Vec<String>,
    /// The last day on which it holds.
    pub expires_on: Option<Date>,
    /// What it was made from.
    pub source: Option<String>,
    /// When it was said.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
    /// Since when it holds no longer, and the UUID of what holds instead.
    pub superseded: Option<(i64, String)>,
}

/// A change of a memory; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// Another text, with what it is found by.
    pub text: Option<(String, Words)>,
    /// Keys to be put into the metadata.
    pub metadata: Option<Map<String, Value>>,
    /// Another last day; `Some(None)`: none.
    pub expires_on: Option<Option<Date>>,
    /// Another time at which it was said.
    pub created_at: Option<i64>,
    /// What somebody thinks of it.
    pub feedback: Option<Feedback>,
    /// When it is changed.
    pub at: i64,
}

/// What somebody thinks of a memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Whether it is good; a bad one ranks lower. `None` takes an earlier word back.
    pub good: Option<bool>,
    /// Why.
    pub reason: Option<String>,
}

/// What became of a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was kept.
    Added,
    /// Its text was changed.
    Updated,
    /// Another took its place.
    Superseded,
    /// It was deleted.
    Deleted,
}

/// An entry of a memory's history. A deleted memory keeps its history without the words.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its place in the history of all memories; 0 for the first entry of a memory.
    pub id: i64,
    /// The memory's UUID.
    pub memory: String,
    /// What became of it.
    pub event: Event,
    /// The text before.
    pub old: Option<String>,
    /// The text after.
    pub new: Option<String>,
    /// When the memory was said.
    pub created_at: i64,
    /// When it became so.
    pub at: i64,
    /// The person whose it was.
    pub user_id: Option<String>,
    /// Who said it.
    pub actor_id: Option<String>,
    /// The role it was said in.
    pub role: Option<String>,
}

/// A memory with all that is kept of it, to be taken elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The memory.
    pub memory: MemoryRecord,
    /// What somebody thinks of it.
    pub feedback: Feedback,
    /// What became of it since it was added, oldest first.
    pub history: Vec<Change>,
}

/// What became of a memory that was brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is kept.
    New,
    /// It was here already.
    Known,
    /// Its id is that of a memory of somebody else; nothing was changed.
    SomebodyElses,
}

/// An entity that has memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitySummary {
    /// Its kind.
    pub entity: super::Entity,
    /// Its id.
    pub id: String,
    /// How many memories bear its id.
    pub memories: u64,
    /// When the oldest of them was said.
    pub created_at: i64,
    /// When one of them was last changed.
    pub updated_at: i64,
}

//! What long-term memory needs of a store.

use async_trait::async_trait;

use super::Result;

/// Whose memories: every read and write names one, and metadata can never change it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The person. A scope without one is refused by its constructor.
    user_id: String,
    /// Narrower: the agent, the application, the run; `None` does not narrow a read.
    pub agent_id: Option<String>,
    /// See `agent_id`.
    pub app_id: Option<String>,
    /// See `agent_id`.
    pub run_id: Option<String>,
}

impl Scope {
    /// All that belongs to a person; `None` for an empty id, which would be everybody.
    pub fn user(user_id: impl Into<String>) -> Option<Self> {
        let user_id = user_id.into();
        (!user_id.trim().is_empty()).then_some(Self {
            user_id,
            agent_id: None,
            app_id: None,
            run_id: None,
        })
    }

    /// The person.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }
}

/// A memory to be kept.
#[derive(Debug, Clone)]
pub struct NewMemory {
    /// A UUID.
    pub id: String,
    /// The statement.
    pub text: String,
    /// Its terms for lexical recall, with how often each occurs.
    pub terms: Vec<(String, u32)>,
    /// Who said it, when that is not the person of the scope.
    pub actor_id: Option<String>,
    /// What it was made from; the same source never makes a second one, not even when the first is
    /// forgotten: a message that is worked on again after a crash must not bring it back.
    pub source: Option<String>,
    /// When it was said.
    pub created_at: i64,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRecord {
    /// Its UUID.
    pub id: String,
    /// The small number its owner knows it by.
    pub number: i64,
    /// The statement.
    pub text: String,
    /// Who said it, when that is not the person of the scope.
    pub actor_id: Option<String>,
    /// What it was made from.
    pub source: Option<String>,
    /// When it was said.
    pub created_at: i64,
}

/// One term in one memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// Index of the term in the question.
    pub term: usize,
    /// The memory, by a key that is good until it is forgotten.
    pub memory: i64,
    /// How often the term occurs in it.
    pub frequency: u32,
    /// How many terms the memory has.
    pub length: u32,
}

/// What BM25 needs to know of the person's own memories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LexicalStatistics {
    /// How many memories there are.
    pub memories: u64,
    /// How many terms they have together.
    pub terms: u64,
    /// Where the terms of the question occur.
    pub postings: Vec<Posting>,
}

/// What forgetting found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// It is gone, text and terms.
    Now,
    /// The same source had it forgotten before.
    Before,
    /// There is no such memory.
    Unknown,
}

/// Long-term memory, one person apart from the other.
#[async_trait]
pub trait MemoryStore {
    /// Keeps memories, all or none.
    async fn add_memories(&self, scope: &Scope, memories: Vec<NewMemory>) -> Result<Vec<Stored>>;

    /// Where terms occur among the memories of a scope.
    async fn lexical_statistics(
        &self,
        scope: &Scope,
        terms: Vec<String>,
    ) -> Result<LexicalStatistics>;

    /// The memories with these [`Posting::memory`] keys, in the same order; `None`: forgotten
    /// meanwhile.
    async fn memories_by_key(
        &self,
        scope: &Scope,
        keys: Vec<i64>,
    ) -> Result<Vec<Option<MemoryRecord>>>;

    /// The newest memories of a scope, newest first.
    async fn list_memories(&self, scope: &Scope, limit: usize) -> Result<Vec<MemoryRecord>>;

    /// How many memories a scope has.
    async fn count_memories(&self, scope: &Scope) -> Result<usize>;

    /// Forgets the memory with this number, and the turns of conversation it was made from;
    /// `source` is what asked for it.
    async fn forget_memory(
        &self,
        scope: &Scope,
        number: i64,
        source: &str,
        now: i64,
    ) -> Result<Forgotten>;

    /// Forgets every memory and reminder of a scope in one transaction; returns how many. Asked
    /// again by the same source, it returns the same count and forgets nothing more.
    ///
    /// When the scope is a whole person, every turn of the person's conversations goes too, and what
    /// was said before `now` and is still on its way to
    /// memory is not kept either.
    async fn forget_all(&self, scope: &Scope, source: &str, now: i64) -> Result<usize>;

    /// How many memories there are in all.
    async fn total_memories(&self) -> Result<u64>;
}

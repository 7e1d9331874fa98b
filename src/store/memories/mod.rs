//! What long-term memory needs of a store.

mod filter;
mod record;
mod scope;
mod selection;
mod vectors;

use async_trait::async_trait;

pub use self::filter::{Field, Filter, Order, Test};
pub use self::record::{
    Arrival, Change, Edit, EntitySummary, Event, Feedback, Kept, MemoryRecord, NewMemory, Stored,
    Unindexed, Words,
};
pub(in crate::store) use self::scope::person;
pub use self::scope::{BadId, Entity, Scope};
pub use self::selection::{Asked, Evidence, Part, Posting, Selection};
pub use self::vectors::{ModelId, Unembedded, VectorStore};
use super::Result;

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

/// A standing summary of a person, made of the person's memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What it says; empty: nothing can be said.
    pub text: String,
    /// When it was made.
    pub made_at: i64,
}

/// How many changes make a profile too old: one of `share` memories, within these limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enough {
    /// So many at least, however few memories there are.
    pub fewest: u64,
    /// So many are enough, however many memories there are.
    pub most: u64,
    /// Between them, one of so many.
    pub share: u64,
}

impl Enough {
    /// Whether something is to be said anew. Of nobody known nothing is said: any change is enough.
    pub fn is_reached(self, changed: &Changed) -> bool {
        if changed.memories == 0 {
            return changed.changes > 0;
        }
        changed.changes >= (changed.memories / self.share.max(1)).clamp(self.fewest, self.most)
    }
}

/// A person of whom something has changed since the profile was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Who.
    pub user_id: String,
    /// How many memories a model made since; far more than there are after one was forgotten.
    pub changes: u64,
    /// How many memories there are.
    pub memories: u64,
}

/// Chooses memories by their [`Evidence::keys`], with a score for each.
pub type Rank = Box<dyn FnOnce(&[Evidence]) -> Vec<(i64, f64)> + Send>;

/// Long-term memory, one person apart from the other.
#[async_trait]
pub trait MemoryStore {
    /// Keeps memories, all or none.
    async fn add_memories(&self, scope: &Scope, memories: Vec<NewMemory>) -> Result<Vec<Stored>>;

    /// Of the memories selected those that `rank` chooses, with its scores, in its order. It is told
    /// what is known of the question, owner by owner, and runs beside the store, not on an async
    /// thread.
    async fn find_memories(
        &self,
        selection: &Selection,
        asked: Asked,
        rank: Rank,
    ) -> Result<Vec<(MemoryRecord, f64)>>;

    /// A part of the memories selected, newest first.
    async fn select_memories(&self, selection: &Selection, part: Part)
    -> Result<Vec<MemoryRecord>>;

    /// How many memories are selected.
    async fn count_memories(&self, selection: &Selection) -> Result<usize>;

    /// The memory with this UUID.
    async fn memory(&self, id: &str) -> Result<Option<MemoryRecord>>;

    /// Changes the memory with this UUID; `None`: there is none.
    async fn edit_memory(&self, id: &str, edit: Edit) -> Result<Option<MemoryRecord>>;

    /// Removes the memories selected, in one transaction; returns how many they were.
    async fn remove_memories(&self, selection: &Selection, at: i64) -> Result<usize>;

    /// What became of the memory with this UUID, oldest first; nothing, if there never was one.
    async fn history(&self, id: &str) -> Result<Vec<Change>>;

    /// The memories selected whose keys come after `after`, with their keys, at most `limit`, in the
    /// order in which they came.
    async fn export_memories(
        &self,
        selection: &Selection,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Kept)>>;

    /// Brings memories in as they were, with what they are found by; all or none.
    async fn import_memories(&self, memories: Vec<(Kept, Words)>) -> Result<Vec<Arrival>>;

    /// Memories that are to be indexed anew, at most `limit`.
    async fn unindexed(&self, limit: usize) -> Result<Vec<Unindexed>>;

    /// Indexes memories anew. One that has gone or has another text by now is left as it is.
    async fn index_memories(&self, memories: Vec<(Unindexed, Words)>) -> Result<()>;

    /// The entities that have memories, by kind and id.
    async fn entities(&self) -> Result<Vec<EntitySummary>>;

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

    /// The profile of who owns what is written in this scope.
    async fn profile(&self, scope: &Scope) -> Result<Option<Profile>>;

    /// Keeps a profile that was made when there were `seen` changes; not if something was forgotten
    /// since.
    async fn put_profile(&self, scope: &Scope, profile: Profile, seen: u64) -> Result<()>;

    /// What has changed of a person; `None`: nothing.
    async fn changes(&self, scope: &Scope) -> Result<Option<Changed>>;

    /// The people of whom enough has changed, those first of whom most has, at most `limit`.
    async fn changed_people(&self, enough: Enough, limit: usize) -> Result<Vec<Changed>>;

    /// How many memories there are in all.
    async fn total_memories(&self) -> Result<u64>;
}

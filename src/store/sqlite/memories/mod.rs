//! Long-term memory in SQLite. Recall reads only rows of its owner: its cost does not grow with
//! the store.

mod conditions;
mod evidence;
mod index;
mod nearness;
mod reading;
mod transfer;
mod vectors;
mod writing;

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use self::conditions::{Condition, FROM};
pub(super) use self::index::Indexes;
#[cfg(test)]
pub(super) use self::index::{POSTINGS, SPEAKERS, TURNS, VECTORS};
use super::{SqliteStore, conversation, owners, reminders};
use crate::store::{
    Arrival, Asked, Change, Changed, Edit, Enough, EntitySummary, Forgotten, Kept, MemoryRecord,
    MemoryStore, NewMemory, Part, Profile, Rank, Result, Scope, Selection, Stored, Unindexed,
    Words,
};

/// Keeps memories of an owner.
pub(super) fn add(
    c: &Connection,
    owner: i64,
    scope: &Scope,
    memories: &[NewMemory],
) -> rusqlite::Result<Vec<Stored>> {
    memories.iter().map(|memory| writing::add(c, owner, scope, memory)).collect()
}

#[async_trait]
impl MemoryStore for SqliteStore {
    async fn add_memories(&self, scope: &Scope, memories: Vec<NewMemory>) -> Result<Vec<Stored>> {
        let scope = scope.clone();
        self.writer
            .write(move |c| {
                let owner = owners::owner(c, &scope.owner())?;
                add(c, owner, &scope, &memories)
            })
            .await
    }

    async fn find_memories(
        &self,
        selection: &Selection,
        asked: Asked,
        rank: Rank,
    ) -> Result<Vec<(MemoryRecord, f64)>> {
        let selection = selection.clone();
        let indexes = Arc::clone(&self.indexes);
        self.readers
            .read(move |c| {
                let found = rank(&evidence::evidence(c, &indexes, &selection, &asked)?);
                reading::by_key(c, &selection, &found)
            })
            .await
    }

    async fn select_memories(
        &self,
        selection: &Selection,
        part: Part,
    ) -> Result<Vec<MemoryRecord>> {
        let selection = selection.clone();
        self.readers.read(move |c| reading::select(c, &selection, part)).await
    }

    async fn count_memories(&self, selection: &Selection) -> Result<usize> {
        let selection = selection.clone();
        self.readers.read(move |c| reading::count(c, &selection)).await
    }

    async fn memory(&self, id: &str) -> Result<Option<MemoryRecord>> {
        let id = id.to_owned();
        self.readers.read(move |c| reading::one(c, &id)).await
    }

    async fn edit_memory(&self, id: &str, edit: Edit) -> Result<Option<MemoryRecord>> {
        let id = id.to_owned();
        self.writer.write(move |c| writing::edit(c, &id, &edit)).await
    }

    async fn remove_memories(&self, selection: &Selection, at: i64) -> Result<usize> {
        let selection = selection.clone();
        self.writer.write(move |c| writing::remove_selected(c, &selection, at)).await
    }

    async fn history(&self, id: &str) -> Result<Vec<Change>> {
        let id = id.to_owned();
        // One state of the file for both tables.
        self.readers.read(move |c| reading::history(&*c.unchecked_transaction()?, &id)).await
    }

    async fn export_memories(
        &self,
        selection: &Selection,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Kept)>> {
        let selection = selection.clone();
        self.readers.read(move |c| transfer::export(c, &selection, after, limit)).await
    }

    async fn import_memories(&self, memories: Vec<(Kept, Words)>) -> Result<Vec<Arrival>> {
        self.writer
            .write(move |c| {
                memories.iter().map(|(kept, words)| transfer::import(c, kept, words)).collect()
            })
            .await
    }

    async fn unindexed(&self, limit: usize) -> Result<Vec<Unindexed>> {
        self.readers.read(move |c| reading::unindexed(c, limit)).await
    }

    async fn index_memories(&self, memories: Vec<(Unindexed, Words)>) -> Result<()> {
        self.writer
            .write(move |c| {
                memories.iter().try_for_each(|(it, words)| writing::index_anew(c, it, words))
            })
            .await
    }

    async fn entities(&self) -> Result<Vec<EntitySummary>> {
        self.readers.read(reading::entities).await
    }

    async fn forget_memory(
        &self,
        scope: &Scope,
        number: i64,
        source: &str,
        now: i64,
    ) -> Result<Forgotten> {
        let (scope, source) = (scope.clone(), source.to_owned());
        self.writer
            .write(move |c| {
                let owner = owners::owner(c, &scope.owner())?;
                let Condition { text, mut values } = Condition::of(&Selection::of(&scope));
                values.push(number.into());
                let found: Option<(i64, Option<String>, String)> = c
                    .prepare_cached(&format!(
                        "SELECT m.key, m.source, m.id FROM {FROM} WHERE {text} AND m.number = ?"
                    ))?
                    .query_row(params_from_iter(values), |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
                    .optional()?;
                match found {
                    Some((key, made_from, id)) => {
                        if let Some(made_from) = made_from {
                            conversation::forget(c, &scope.owner(), Some(&made_from))?;
                        }
                        writing::remove(c, owner, key, now)?;
                        owners::forget_profile(c, owner)?;
                        owners::forget_results(c, owner, &[id])?;
                        owners::note_forgotten(c, owner, &source, 1, now)?;
                        Ok(Forgotten::Now)
                    }
                    None if owners::forgotten_before(c, owner, &source)?.is_some() => {
                        Ok(Forgotten::Before)
                    }
                    None => Ok(Forgotten::Unknown),
                }
            })
            .await
    }

    async fn forget_all(&self, scope: &Scope, source: &str, now: i64) -> Result<usize> {
        let (scope, source) = (scope.clone(), source.to_owned());
        self.writer
            .write(move |c| {
                let owner = owners::owner(c, &scope.owner())?;
                if let Some(count) = owners::forgotten_before(c, owner, &source)? {
                    return Ok(count);
                }
                let removed = writing::remove_selected(c, &Selection::of(&scope), now)?;
                let whole_person = scope.is_whole_person();
                let reminders = if whole_person { reminders::remove(c, owner, None)? } else { 0 };
                if whole_person {
                    conversation::forget(c, &scope.owner(), None)?;
                    c.prepare_cached("DELETE FROM changes WHERE owner = ?1")?.execute([owner])?;
                    c.prepare_cached("DELETE FROM jobs WHERE owner = ?1")?.execute([owner])?;
                    c.prepare_cached(
                        "UPDATE owners SET forgot_all_at = max(forgot_all_at, ?2) WHERE id = ?1",
                    )?
                    .execute(params![owner, now])?;
                }
                let count = removed + reminders;
                owners::note_forgotten(c, owner, &source, count, now)?;
                Ok(count)
            })
            .await
    }

    async fn profile(&self, scope: &Scope) -> Result<Option<Profile>> {
        let owner = scope.owner().into_owned();
        self.readers.read(move |c| owners::profile(c, &owner)).await
    }

    async fn put_profile(&self, scope: &Scope, profile: Profile, seen: u64) -> Result<()> {
        let owner = scope.owner().into_owned();
        self.writer.write(move |c| owners::put_profile(c, &owner, &profile, seen)).await
    }

    async fn changes(&self, scope: &Scope) -> Result<Option<Changed>> {
        let owner = scope.owner().into_owned();
        self.readers.read(move |c| owners::changes(c, &owner)).await
    }

    async fn changed_people(&self, enough: Enough, limit: usize) -> Result<Vec<Changed>> {
        self.readers.read(move |c| owners::changed(c, enough, limit)).await
    }

    async fn total_memories(&self) -> Result<u64> {
        self.readers
            .read(|c| {
                c.prepare_cached("SELECT coalesce(sum(memories), 0) FROM owners")?
                    .query_row([], |r| r.get::<_, i64>(0))
                    .map(|n| n as u64)
            })
            .await
    }
}

//! Long-term memory in SQLite. Recall reads only rows of its owner: its cost does not grow with
//! the store.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteStore, conversation, owners, reminders};
use crate::store::{
    Forgotten, LexicalStatistics, MemoryRecord, MemoryStore, NewMemory, Posting, Result, Scope,
    Stored,
};

/// Narrows a query on `memories m` to a scope; parameters 1 to 4 are [`narrow`]'s.
const IN_SCOPE: &str = "m.owner = (SELECT id FROM owners WHERE user_id = ?1)
    AND (?2 IS NULL OR m.agent_id = ?2) AND (?3 IS NULL OR m.app_id = ?3)
    AND (?4 IS NULL OR m.run_id = ?4)";

const COLUMNS: &str = "m.id, m.number, m.text, m.actor_id, m.source, m.created_at";

/// The postings of a term among all that a person has; parameters 3 to 5 must be null. Its plan is
/// tested.
pub(super) const POSTINGS: &str = "SELECT memory, frequency, length FROM postings
     WHERE owner = ?1 AND term = ?2 AND ?3 IS NULL AND ?4 IS NULL AND ?5 IS NULL";

#[async_trait]
impl MemoryStore for SqliteStore {
    async fn add_memories(&self, scope: &Scope, memories: Vec<NewMemory>) -> Result<Vec<Stored>> {
        let scope = scope.clone();
        self.writer
            .write(move |c| {
                let owner = owners::owner(c, scope.user_id())?;
                memories.iter().map(|memory| add(c, owner, &scope, memory)).collect()
            })
            .await
    }

    async fn lexical_statistics(
        &self,
        scope: &Scope,
        terms: Vec<String>,
    ) -> Result<LexicalStatistics> {
        let scope = scope.clone();
        self.readers.read(move |c| statistics(c, &scope, &terms)).await
    }

    async fn memories_by_key(
        &self,
        scope: &Scope,
        keys: Vec<i64>,
    ) -> Result<Vec<Option<MemoryRecord>>> {
        let scope = scope.clone();
        self.readers
            .read(move |c| {
                let mut find = c.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM memories m WHERE {IN_SCOPE} AND m.key = ?5"
                ))?;
                let (user, agent, app, run) = narrow(&scope);
                keys.into_iter()
                    .map(|key| {
                        find.query_row(params![user, agent, app, run, key], record).optional()
                    })
                    .collect()
            })
            .await
    }

    async fn list_memories(&self, scope: &Scope, limit: usize) -> Result<Vec<MemoryRecord>> {
        let scope = scope.clone();
        self.readers
            .read(move |c| {
                let (user, agent, app, run) = narrow(&scope);
                c.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM memories m WHERE {IN_SCOPE}
                     ORDER BY m.number DESC LIMIT ?5"
                ))?
                .query_map(params![user, agent, app, run, limit as i64], record)?
                .collect()
            })
            .await
    }

    async fn count_memories(&self, scope: &Scope) -> Result<usize> {
        let scope = scope.clone();
        self.readers
            .read(move |c| {
                let (user, agent, app, run) = narrow(&scope);
                c.prepare_cached(&format!("SELECT count(*) FROM memories m WHERE {IN_SCOPE}"))?
                    .query_row(params![user, agent, app, run], |r| r.get::<_, i64>(0))
                    .map(|n| n as usize)
            })
            .await
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
                let owner = owners::owner(c, scope.user_id())?;
                let (user, agent, app, run) = narrow(&scope);
                let found: Option<(i64, Option<String>)> = c
                    .prepare_cached(&format!(
                        "SELECT m.key, m.source FROM memories m WHERE {IN_SCOPE} AND m.number = ?5"
                    ))?
                    .query_row(params![user, agent, app, run, number], |r| {
                        Ok((r.get(0)?, r.get(1)?))
                    })
                    .optional()?;
                match found {
                    Some((key, made_from)) => {
                        if let Some(made_from) = made_from {
                            conversation::forget(c, scope.user_id(), Some(&made_from))?;
                        }
                        remove(c, owner, key)?;
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
                let owner = owners::owner(c, scope.user_id())?;
                if let Some(count) = owners::forgotten_before(c, owner, &source)? {
                    return Ok(count);
                }
                let (user, agent, app, run) = narrow(&scope);
                let keys = c
                    .prepare_cached(&format!("SELECT m.key FROM memories m WHERE {IN_SCOPE}"))?
                    .query_map(params![user, agent, app, run], |r| r.get(0))?
                    .collect::<rusqlite::Result<Vec<i64>>>()?;
                for key in &keys {
                    remove(c, owner, *key)?;
                }
                let whole_person = (agent, app, run) == (None, None, None);
                let reminders = if whole_person { reminders::remove(c, owner, None)? } else { 0 };
                if whole_person {
                    conversation::forget(c, scope.user_id(), None)?;
                    c.prepare_cached(
                        "UPDATE owners SET forgot_all_at = max(forgot_all_at, ?2) WHERE id = ?1",
                    )?
                    .execute(params![owner, now])?;
                }
                let count = keys.len() + reminders;
                owners::note_forgotten(c, owner, &source, count, now)?;
                Ok(count)
            })
            .await
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

type Narrow<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn narrow(scope: &Scope) -> Narrow<'_> {
    (scope.user_id(), scope.agent_id.as_deref(), scope.app_id.as_deref(), scope.run_id.as_deref())
}

fn add(c: &Connection, owner: i64, scope: &Scope, memory: &NewMemory) -> rusqlite::Result<Stored> {
    let known = c
        .prepare_cached(
            "SELECT id, number FROM memories WHERE owner = ?1 AND source = ?2
             UNION ALL
             SELECT memory, number FROM forgotten_sources
             WHERE owner = ?1 AND source = ?2 AND memory IS NOT NULL",
        )?
        .query_row(params![owner, memory.source], |r| {
            Ok(Stored { id: r.get(0)?, number: r.get(1)?, new: false })
        })
        .optional()?;
    if let Some(stored) = known {
        return Ok(stored);
    }
    let forgot_all_at: i64 = c
        .prepare_cached("SELECT forgot_all_at FROM owners WHERE id = ?1")?
        .query_row([owner], |r| r.get(0))?;
    if memory.created_at < forgot_all_at {
        return Ok(Stored { id: memory.id.clone(), number: 0, new: false });
    }
    let number = owners::next_number(c, owner)?;
    let length: u32 = memory.terms.iter().map(|(_, frequency)| frequency).sum();
    c.prepare_cached(
        "INSERT INTO memories (id, owner, number, agent_id, app_id, run_id, actor_id, text, terms,
                               source, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        memory.id,
        owner,
        number,
        scope.agent_id,
        scope.app_id,
        scope.run_id,
        memory.actor_id,
        memory.text,
        length,
        memory.source,
        memory.created_at
    ])?;
    let key = c.last_insert_rowid();
    let mut insert = c.prepare_cached("INSERT INTO postings VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (term, frequency) in &memory.terms {
        insert.execute(params![owner, term, key, frequency, length])?;
    }
    c.prepare_cached(
        "UPDATE owners SET memories = memories + 1, terms = terms + ?2 WHERE id = ?1",
    )?
    .execute(params![owner, length])?;
    Ok(Stored { id: memory.id.clone(), number, new: true })
}

/// Removes a memory; its postings go with it. What it was made from stays known.
fn remove(c: &Connection, owner: i64, key: i64) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO forgotten_sources SELECT owner, source, id, number FROM memories
         WHERE key = ?1 AND source IS NOT NULL ON CONFLICT DO NOTHING",
    )?
    .execute([key])?;
    let length: i64 = c
        .prepare_cached("DELETE FROM memories WHERE key = ?1 RETURNING terms")?
        .query_row([key], |r| r.get(0))?;
    c.prepare_cached(
        "UPDATE owners SET memories = memories - 1, terms = terms - ?2 WHERE id = ?1",
    )?
    .execute([owner, length])?;
    Ok(())
}

fn statistics(
    c: &Connection,
    scope: &Scope,
    terms: &[String],
) -> rusqlite::Result<LexicalStatistics> {
    // One state of the file for all that is read.
    let c = c.unchecked_transaction()?;
    let owner: Option<(i64, i64, i64)> = c
        .prepare_cached("SELECT id, memories, terms FROM owners WHERE user_id = ?1")?
        .query_row([scope.user_id()], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    let Some((owner, memories, length)) = owner else { return Ok(LexicalStatistics::default()) };
    let (_, agent, app, run) = narrow(scope);
    let narrowed = (agent, app, run) != (None, None, None);
    // Most scopes are a whole person: only a narrower one pays for the join.
    let sql = if narrowed {
        "SELECT p.memory, p.frequency, p.length FROM postings p JOIN memories m ON m.key = p.memory
         WHERE p.owner = ?1 AND p.term = ?2 AND (?3 IS NULL OR m.agent_id = ?3)
           AND (?4 IS NULL OR m.app_id = ?4) AND (?5 IS NULL OR m.run_id = ?5)"
    } else {
        POSTINGS
    };
    let mut find = c.prepare_cached(sql)?;
    let mut postings = Vec::new();
    for (term, text) in terms.iter().enumerate() {
        let mut rows = find.query(params![owner, text, agent, app, run])?;
        while let Some(row) = rows.next()? {
            postings.push(Posting {
                term,
                memory: row.get(0)?,
                frequency: row.get(1)?,
                length: row.get(2)?,
            });
        }
    }
    Ok(LexicalStatistics { memories: memories as u64, terms: length as u64, postings })
}

fn record(row: &Row<'_>) -> rusqlite::Result<MemoryRecord> {
    Ok(MemoryRecord {
        id: row.get(0)?,
        number: row.get(1)?,
        text: row.get(2)?,
        actor_id: row.get(3)?,
        source: row.get(4)?,
        created_at: row.get(5)?,
    })
}

//! Conversations in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use crate::store::{Continuation, ConversationStore, Result, Turn, TurnRole};

/// Turns of a thread that are kept; more than any prompt takes.
const KEPT_TURNS: i64 = 200;

#[async_trait]
impl ConversationStore for SqliteStore {
    async fn recent_turns(&self, thread: &str, limit: usize) -> Result<Vec<Turn>> {
        let thread = thread.to_owned();
        self.readers
            .read(move |c| {
                let mut turns: Vec<Turn> = c
                    .prepare_cached(
                        "SELECT role, text, at FROM turns WHERE thread = ?1
                         ORDER BY id DESC LIMIT ?2",
                    )?
                    .query_map(params![thread, limit as i64], |r| {
                        let role = match r.get::<_, i64>(0)? {
                            0 => TurnRole::User,
                            _ => TurnRole::Assistant,
                        };
                        Ok(Turn { role, text: r.get(1)?, at: r.get(2)? })
                    })?
                    .collect::<rusqlite::Result<_>>()?;
                turns.reverse();
                Ok(turns)
            })
            .await
    }

    async fn open_question(&self, thread: &str, now: i64) -> Result<Option<String>> {
        let thread = thread.to_owned();
        self.readers
            .read(move |c| {
                c.prepare_cached("SELECT what FROM questions WHERE thread = ?1 AND until > ?2")?
                    .query_row(params![thread, now], |r| r.get(0))
                    .optional()
            })
            .await
    }

    async fn continue_thread(&self, continuation: Continuation) -> Result<()> {
        self.writer.write(move |c| continue_thread(c, &continuation)).await
    }

    async fn was_told(&self, user_id: &str, what: &str) -> Result<bool> {
        let told = [user_id.to_owned(), what.to_owned()];
        self.readers
            .read(move |c| {
                c.prepare_cached("SELECT 1 FROM told WHERE user_id = ?1 AND what = ?2")?
                    .exists(told)
            })
            .await
    }

    async fn prune_turns(&self, before: i64, limit: usize) -> Result<usize> {
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "DELETE FROM turns WHERE id IN (
                       SELECT id FROM turns WHERE at < ?1 ORDER BY at LIMIT ?2)",
                )?
                .execute(params![before, limit as i64])
            })
            .await
    }
}

/// Forgets what a person said in every conversation; with a `source`, in that message alone, and
/// what was answered to it. Of several memories that one message made each but the first has the
/// message for its source with `#` and a number behind it.
pub(super) fn forget(c: &Connection, user_id: &str, source: Option<&str>) -> rusqlite::Result<()> {
    let source = source.map(|source| source.split_once('#').map_or(source, |(message, _)| message));
    c.prepare_cached("DELETE FROM turns WHERE user_id = ?1 AND (?2 IS NULL OR source = ?2)")?
        .execute(params![user_id, source])
        .map(|_| ())
}

/// Adds what was said to its thread; the oldest turns past [`KEPT_TURNS`] go.
pub(super) fn continue_thread(c: &Connection, next: &Continuation) -> rusqlite::Result<()> {
    let thread = next.thread.as_str();
    if next.forget_before {
        c.prepare_cached("DELETE FROM turns WHERE thread = ?1")?.execute([thread])?;
    }
    c.prepare_cached("DELETE FROM questions WHERE thread = ?1")?.execute([thread])?;
    if let Some((what, until)) = &next.question {
        c.prepare_cached("INSERT INTO questions VALUES (?1, ?2, ?3)")?
            .execute(params![thread, what, until])?;
    }
    if let Some(what) = next.told {
        c.prepare_cached("INSERT INTO told VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute([&next.user_id, what])?;
    }
    if next.turns.is_empty() {
        return Ok(());
    }
    let mut insert = c.prepare_cached(
        "INSERT INTO turns (thread, user_id, source, role, text, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for turn in &next.turns {
        let role = match turn.role {
            TurnRole::User => 0,
            TurnRole::Assistant => 1,
        };
        insert.execute(params![thread, next.user_id, next.source, role, turn.text, turn.at])?;
    }
    c.prepare_cached(
        "DELETE FROM turns WHERE thread = ?1 AND id <= (
           SELECT id FROM turns WHERE thread = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![thread, KEPT_TURNS])?;
    Ok(())
}

//! The outbox in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use crate::store::{
    Delivery, NewDelivery, Once, OutboxDepth, OutboxId, OutboxState, OutboxStore, Result,
};

const COLUMNS: &str = "id, lane, uuid, batch, payload, occurrences, state, attempts, \
                       next_attempt_at, created_at, last_error";

// The statements that run often; their plans are tested.

/// SQLite gives `next_attempt_at` of the row that holds `min(id)`: the lane's first
/// (<https://sqlite.org/lang_select.html> §2.5).
pub(super) const WAITING_LANES: &str = "SELECT lane, at FROM (
       SELECT lane, min(id), next_attempt_at AS at FROM outbox WHERE state = 0 GROUP BY lane)
     ORDER BY at LIMIT ?1";
/// One that was revived has been tried: its last error says so.
pub(super) const MERGE: &str = "UPDATE outbox SET occurrences = occurrences + 1
     WHERE lane = ?1 AND state = 0 AND merge_key = ?2 AND attempts = 0 AND last_error IS NULL
       AND batch IS NULL RETURNING id";
/// What senders of posts are called; no robot is.
const POSTED: &str = "post:";
pub(super) const FORGET_POSTS: &str = "DELETE FROM sends
     WHERE sender >= ?1 AND sender < ?2 AND (at <= ?3 OR at > ?4)";
pub(super) const WAITING: &str = "SELECT count(*) FROM outbox WHERE state = 0";
/// Those that wait come in the order they were made, unless one was revived.
pub(super) const OLDEST_WAITING: &str = "SELECT created_at FROM outbox
     WHERE id = (SELECT min(id) FROM outbox INDEXED BY outbox_waiting WHERE state = 0)";
pub(super) const DEAD: &str = "SELECT count(*) FROM outbox WHERE state = 1";

pub(super) fn lane_head_sql() -> String {
    format!("SELECT {COLUMNS} FROM outbox WHERE lane = ?1 AND state = 0 ORDER BY id LIMIT ?2")
}

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn post(&self, deliveries: Vec<NewDelivery>, once: Once, now: i64) -> Result<bool> {
        self.writer.write(move |c| post(c, deliveries, &once, now)).await
    }

    async fn waiting_lanes(&self, limit: usize) -> Result<Vec<(String, i64)>> {
        self.readers
            .read(move |c| {
                c.prepare_cached(WAITING_LANES)?
                    .query_map([limit as i64], |r| Ok((r.get(0)?, r.get(1)?)))?
                    .collect()
            })
            .await
    }

    async fn lane_head(&self, lane: &str, limit: usize) -> Result<Vec<Delivery>> {
        let lane = lane.to_owned();
        self.readers
            .read(move |c| {
                let mut head: Vec<Delivery> = c
                    .prepare_cached(&lane_head_sql())?
                    .query_map(params![lane, limit as i64], delivery)?
                    .collect::<rusqlite::Result<_>>()?;
                if let Some(batch) = head.first().map(|d| d.batch.clone()) {
                    let together = head.iter().take_while(|d| d.batch == batch).count();
                    head.truncate(together);
                }
                Ok(head)
            })
            .await
    }

    async fn batch(&self, ids: &[OutboxId], batch: &str) -> Result<()> {
        let batch = batch.to_owned();
        self.each(ids, "UPDATE outbox SET batch = ?2 WHERE id = ?1", move |id| (id, batch.clone()))
            .await
    }

    async fn delivered(&self, ids: &[OutboxId]) -> Result<()> {
        self.each(ids, "DELETE FROM outbox WHERE id = ?1", |id| (id,)).await
    }

    async fn postpone(&self, ids: &[OutboxId], next_attempt_at: i64, error: &str) -> Result<()> {
        let error = error.to_owned();
        self.each(
            ids,
            "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = ?2, last_error = ?3
             WHERE id = ?1",
            move |id| (id, next_attempt_at, error.clone()),
        )
        .await
    }

    async fn hold(&self, ids: &[OutboxId], next_attempt_at: i64) -> Result<()> {
        self.each(ids, "UPDATE outbox SET next_attempt_at = ?2 WHERE id = ?1", move |id| {
            (id, next_attempt_at)
        })
        .await
    }

    async fn bury(&self, ids: &[OutboxId], error: &str) -> Result<()> {
        let (ids, error) = (ids.to_vec(), error.to_owned());
        self.writer.write(move |c| ids.iter().try_for_each(|id| bury(c, *id, &error))).await
    }

    async fn prune_outbox(&self, before: i64, limit: usize) -> Result<usize> {
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "DELETE FROM outbox WHERE id IN (
                       SELECT id FROM outbox WHERE state = 1 AND created_at < ?1
                       ORDER BY id LIMIT ?2)",
                )?
                .execute(params![before, limit as i64])
            })
            .await
    }

    async fn reserve_send(
        &self,
        sender: &str,
        now: i64,
        window_millis: i64,
        limit: u32,
    ) -> Result<std::result::Result<(), i64>> {
        let sender = sender.to_owned();
        self.writer
            .write(move |c| {
                c.prepare_cached("DELETE FROM sends WHERE sender = ?1 AND at <= ?2")?
                    .execute(params![sender, now - window_millis])?;
                // The clock was set back: a send of the future would block for as long as that.
                c.prepare_cached("UPDATE sends SET at = ?2 WHERE sender = ?1 AND at > ?2")?
                    .execute(params![sender, now])?;
                let (used, first): (u32, Option<i64>) = c
                    .prepare_cached("SELECT count(*), min(at) FROM sends WHERE sender = ?1")?
                    .query_row([&sender], |r| Ok((r.get(0)?, r.get(1)?)))?;
                if used >= limit {
                    return Ok(Err(first.unwrap_or(now) + window_millis));
                }
                c.prepare_cached("INSERT INTO sends VALUES (?1, ?2)")?
                    .execute(params![sender, now])?;
                Ok(Ok(()))
            })
            .await
    }

    async fn deliveries(&self, state: Option<OutboxState>, limit: usize) -> Result<Vec<Delivery>> {
        let state = state.map(|s| i64::from(s == OutboxState::Dead));
        self.readers
            .read(move |c| {
                c.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM outbox WHERE ?1 IS NULL OR state = ?1
                     ORDER BY id LIMIT ?2"
                ))?
                .query_map(params![state, limit as i64], delivery)?
                .collect()
            })
            .await
    }

    async fn revive(&self, ids: Option<&[OutboxId]>, now: i64) -> Result<usize> {
        let ids = ids.map(<[_]>::to_vec);
        self.writer
            .write(move |c| {
                dead(c, ids.as_deref(), |c, id| {
                    c.prepare_cached(
                        "UPDATE outbox SET state = 0, attempts = 0, next_attempt_at = ?2
                         WHERE id = ?1 AND state = 1",
                    )?
                    .execute(params![id, now])
                })
            })
            .await
    }

    async fn drop_dead(&self, ids: Option<&[OutboxId]>) -> Result<usize> {
        let ids = ids.map(<[_]>::to_vec);
        self.writer
            .write(move |c| {
                dead(c, ids.as_deref(), |c, id| {
                    c.prepare_cached("DELETE FROM outbox WHERE id = ?1 AND state = 1")?
                        .execute([id])
                })
            })
            .await
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        self.readers
            .read(|c| {
                let count = |sql| -> rusqlite::Result<usize> {
                    c.prepare_cached(sql)?.query_row([], |r| r.get::<_, i64>(0)).map(|n| n as usize)
                };
                let mut oldest = c.prepare_cached(OLDEST_WAITING)?;
                let oldest_created_at = oldest.query_row([], |r| r.get(0)).optional()?;
                Ok(OutboxDepth { waiting: count(WAITING)?, dead: count(DEAD)?, oldest_created_at })
            })
            .await
    }
}

impl SqliteStore {
    /// Runs one statement for each id, in one transaction.
    async fn each<P: rusqlite::Params>(
        &self,
        ids: &[OutboxId],
        sql: &'static str,
        parameters: impl Fn(OutboxId) -> P + Send + 'static,
    ) -> Result<()> {
        let ids = ids.to_vec();
        self.writer
            .write(move |c| {
                let mut statement = c.prepare_cached(sql)?;
                for id in ids {
                    statement.execute(parameters(id))?;
                }
                Ok(())
            })
            .await
    }
}

/// Puts deliveries into their lanes unless they say what the series said last, a moment ago.
///
/// That is kept as one of the sends of the last minute, by a name of its own: `post:SERIES` and what
/// it said. There is one a series, and none once its window is over.
fn post(
    c: &Connection,
    deliveries: Vec<NewDelivery>,
    once: &Once,
    now: i64,
) -> rusqlite::Result<bool> {
    let series = format!("{POSTED}{}#", once.series);
    let content = format!("{series}{}", once.content);
    c.prepare_cached(FORGET_POSTS)?.execute(params![
        POSTED,
        after(POSTED),
        now - once.window_millis,
        // Of a clock that was put back since.
        now + once.window_millis,
    ])?;
    let repeated =
        c.prepare_cached("SELECT 1 FROM sends WHERE sender = ?1")?.exists(params![content])?;
    if repeated {
        return Ok(false);
    }
    for delivery in deliveries {
        enqueue(c, delivery)?;
    }
    c.prepare_cached("DELETE FROM sends WHERE sender >= ?1 AND sender < ?2")?
        .execute(params![series, after(&series)])?;
    c.prepare_cached("INSERT INTO sends VALUES (?1, ?2)")?.execute(params![content, now])?;
    Ok(true)
}

/// The first text behind all that begin with `prefix`, which ends with an ASCII character.
fn after(prefix: &str) -> String {
    let mut text = prefix.to_owned();
    let last = text.pop().map_or('\0', |c| char::from(c as u8 + 1));
    text.push(last);
    text
}

/// Puts a delivery at the end of its lane, or into one that already waits there.
pub(super) fn enqueue(c: &Connection, delivery: NewDelivery) -> rusqlite::Result<OutboxId> {
    if let Some(key) = &delivery.merge_key {
        let merged =
            c.prepare_cached(MERGE)?.query_map(params![delivery.lane, key], |r| r.get(0))?.next();
        if let Some(id) = merged {
            return id;
        }
    }
    c.prepare_cached(
        "INSERT INTO outbox (lane, uuid, payload, merge_key, next_attempt_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
    )?
    .execute(params![
        delivery.lane,
        delivery.uuid,
        delivery.payload,
        delivery.merge_key,
        delivery.created_at
    ])?;
    Ok(c.last_insert_rowid())
}

/// Gives a delivery up: into a dead one of the same lane and merge key, if there is one.
fn bury(c: &Connection, id: OutboxId, error: &str) -> rusqlite::Result<()> {
    let merged = c
        .prepare_cached(
            "UPDATE outbox SET occurrences = outbox.occurrences + new.occurrences, last_error = ?2
             FROM (SELECT lane, merge_key, occurrences FROM outbox WHERE id = ?1) AS new
             WHERE state = 1 AND outbox.lane = new.lane AND outbox.merge_key = new.merge_key",
        )?
        .execute(params![id, error])?;
    if merged > 0 {
        c.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id])?;
        return Ok(());
    }
    c.prepare_cached(
        "UPDATE outbox SET state = 1, attempts = attempts + 1, last_error = ?2 WHERE id = ?1",
    )?
    .execute(params![id, error])?;
    Ok(())
}

/// Changes the named dead deliveries, or all of them; returns how many changed.
fn dead(
    c: &Connection,
    ids: Option<&[OutboxId]>,
    change: impl Fn(&Connection, OutboxId) -> rusqlite::Result<usize>,
) -> rusqlite::Result<usize> {
    let all;
    let ids = match ids {
        Some(ids) => ids,
        None => {
            all = c
                .prepare_cached("SELECT id FROM outbox WHERE state = 1")?
                .query_map([], |r| r.get(0))?
                .collect::<rusqlite::Result<Vec<OutboxId>>>()?;
            &all
        }
    };
    ids.iter().map(|id| change(c, *id)).sum()
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: row.get(0)?,
        lane: row.get(1)?,
        uuid: row.get(2)?,
        batch: row.get(3)?,
        payload: row.get(4)?,
        occurrences: row.get(5)?,
        state: if row.get::<_, i64>(6)? == 0 { OutboxState::Waiting } else { OutboxState::Dead },
        attempts: row.get(7)?,
        next_attempt_at: row.get(8)?,
        created_at: row.get(9)?,
        last_error: row.get(10)?,
    })
}

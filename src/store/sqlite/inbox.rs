//! The inbox in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteStore, conversation, outbox};
use crate::store::{
    Accepted, Answered, InboxDepth, InboxId, InboxMessage, InboxStore, NewMessage, OutboxId, Result,
};

const PENDING: i64 = 0;
const ANSWERED: i64 = 1;
const SETTLED: i64 = 2;

// The statements that run often; their plans are tested.
pub(super) const PENDING_CONVERSATIONS: &str = "SELECT conversation FROM inbox WHERE state = 0
     GROUP BY conversation ORDER BY min(id)";
pub(super) const OLDEST_PENDING: &str = "SELECT id, payload, received_at FROM inbox
     WHERE conversation = ?1 AND state = 0 ORDER BY id LIMIT 1";
pub(super) const UNSETTLED: &str = "SELECT id, payload, received_at FROM inbox WHERE state = 1
     ORDER BY id LIMIT ?1";
pub(super) const PRUNE: &str = "DELETE FROM inbox WHERE id IN (
       SELECT id FROM inbox WHERE state = 2 AND received_at < ?1 ORDER BY received_at LIMIT ?2)";
pub(super) const DEPTH: &str = "SELECT count(*), min(received_at) FROM inbox WHERE state = 0";

#[async_trait]
impl InboxStore for SqliteStore {
    async fn accept(&self, message: NewMessage) -> Result<Accepted> {
        self.writer
            .write(move |c| {
                let added = c
                    .prepare_cached(
                        "INSERT INTO inbox (message_key, conversation, payload, received_at)
                         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (message_key) DO NOTHING",
                    )?
                    .execute(params![
                        message.key,
                        message.conversation,
                        message.payload,
                        message.received_at
                    ])?;
                Ok(match added {
                    0 => Accepted::Duplicate,
                    _ => Accepted::New(c.last_insert_rowid()),
                })
            })
            .await
    }

    async fn pending_conversations(&self) -> Result<Vec<String>> {
        self.readers
            .read(|c| c.prepare(PENDING_CONVERSATIONS)?.query_map([], |r| r.get(0))?.collect())
            .await
    }

    async fn oldest_pending(&self, conversation: &str) -> Result<Option<InboxMessage>> {
        let conversation = conversation.to_owned();
        self.readers
            .read(move |c| {
                c.prepare_cached(OLDEST_PENDING)?.query_row([conversation], message).optional()
            })
            .await
    }

    async fn answer(&self, id: InboxId, answered: Answered) -> Result<Option<Vec<OutboxId>>> {
        self.writer.write(move |c| answer(c, id, answered)).await
    }

    async fn unsettled(&self, limit: usize) -> Result<Vec<InboxMessage>> {
        self.readers
            .read(move |c| {
                c.prepare_cached(UNSETTLED)?.query_map([limit as i64], message)?.collect()
            })
            .await
    }

    async fn settle(&self, id: InboxId) -> Result<()> {
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "UPDATE inbox SET state = ?2, payload = '' WHERE id = ?1 AND state = ?3",
                )?
                .execute(params![id, SETTLED, ANSWERED])
                .map(|_| ())
            })
            .await
    }

    async fn prune_inbox(&self, before: i64, limit: usize) -> Result<usize> {
        self.writer
            .write(move |c| c.prepare_cached(PRUNE)?.execute(params![before, limit as i64]))
            .await
    }

    async fn inbox_depth(&self) -> Result<InboxDepth> {
        self.readers
            .read(|c| {
                c.prepare_cached(DEPTH)?.query_row([], |r| {
                    Ok(InboxDepth {
                        pending: r.get::<_, i64>(0)? as usize,
                        oldest_received_at: r.get(1)?,
                    })
                })
            })
            .await
    }
}

fn message(row: &Row<'_>) -> rusqlite::Result<InboxMessage> {
    Ok(InboxMessage { id: row.get(0)?, payload: row.get(1)?, received_at: row.get(2)? })
}

fn answer(
    c: &Connection,
    id: InboxId,
    answered: Answered,
) -> rusqlite::Result<Option<Vec<OutboxId>>> {
    let changed = c
        .prepare_cached("UPDATE inbox SET state = ?2 WHERE id = ?1 AND state = ?3")?
        .execute(params![id, ANSWERED, PENDING])?;
    if changed == 0 {
        return Ok(None);
    }
    conversation::continue_thread(c, &answered.continuation)?;
    answered
        .deliveries
        .into_iter()
        .map(|d| outbox::enqueue(c, d))
        .collect::<rusqlite::Result<_>>()
        .map(Some)
}

//! Reminders in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteStore, outbox, owners};
use crate::store::{NewDelivery, NewReminder, Reminder, ReminderStore, Result};

const SELECT: &str = "SELECT r.id, o.user_id, r.number, r.text, r.interval_millis, r.next_at,
                             r.target
                      FROM reminders r JOIN owners o ON o.id = r.owner";

#[async_trait]
impl ReminderStore for SqliteStore {
    async fn add_reminder(&self, reminder: NewReminder, limit: usize) -> Result<Option<i64>> {
        self.writer.write(move |c| add(c, &reminder, limit)).await
    }

    async fn realign_reminders(&self, now: i64) -> Result<()> {
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "UPDATE reminders
                     SET next_at = next_at - (next_at - ?1 - 1) / interval_millis * interval_millis
                     WHERE next_at - interval_millis > ?1",
                )?
                .execute([now])
                .map(|_| ())
            })
            .await
    }

    async fn reminders(&self, user_id: &str) -> Result<Vec<Reminder>> {
        let user_id = user_id.to_owned();
        self.readers
            .read(move |c| {
                c.prepare_cached(&format!("{SELECT} WHERE o.user_id = ?1 ORDER BY r.number"))?
                    .query_map([user_id], reminder)?
                    .collect()
            })
            .await
    }

    async fn due_reminders(&self, now: i64, limit: usize) -> Result<Vec<Reminder>> {
        self.readers
            .read(move |c| {
                c.prepare_cached(&format!(
                    "{SELECT} WHERE r.next_at <= ?1 ORDER BY r.next_at LIMIT ?2"
                ))?
                .query_map(params![now, limit as i64], reminder)?
                .collect()
            })
            .await
    }

    async fn next_reminder_at(&self) -> Result<Option<i64>> {
        self.readers
            .read(|c| {
                c.prepare_cached("SELECT min(next_at) FROM reminders")?.query_row([], |r| r.get(0))
            })
            .await
    }

    async fn fire_reminder(
        &self,
        id: i64,
        expected_at: i64,
        next_at: i64,
        delivery: NewDelivery,
    ) -> Result<bool> {
        self.writer
            .write(move |c| {
                let moved = c
                    .prepare_cached(
                        "UPDATE reminders SET next_at = ?3 WHERE id = ?1 AND next_at = ?2",
                    )?
                    .execute(params![id, expected_at, next_at])?;
                if moved == 0 {
                    return Ok(false);
                }
                outbox::enqueue(c, delivery)?;
                Ok(true)
            })
            .await
    }

    async fn skip_reminder(&self, id: i64, next_at: i64) -> Result<()> {
        self.writer
            .write(move |c| {
                c.prepare_cached("UPDATE reminders SET next_at = ?2 WHERE id = ?1")?
                    .execute([id, next_at])
                    .map(|_| ())
            })
            .await
    }

    async fn remove_reminder(
        &self,
        user_id: &str,
        number: i64,
        source: &str,
        now: i64,
    ) -> Result<bool> {
        let (user_id, source) = (user_id.to_owned(), source.to_owned());
        self.writer
            .write(move |c| {
                let owner = owners::owner(c, &user_id)?;
                let removed = remove(c, owner, Some(number))?;
                if removed == 0 {
                    return Ok(owners::forgotten_before(c, owner, &source)?.is_some());
                }
                owners::note_forgotten(c, owner, &source, removed, now)?;
                Ok(true)
            })
            .await
    }

    async fn reminder_count(&self) -> Result<usize> {
        self.readers
            .read(|c| {
                c.prepare_cached("SELECT count(*) FROM reminders")?
                    .query_row([], |r| r.get::<_, i64>(0))
                    .map(|n| n as usize)
            })
            .await
    }
}

fn add(c: &Connection, reminder: &NewReminder, limit: usize) -> rusqlite::Result<Option<i64>> {
    let owner = owners::owner(c, &reminder.user_id)?;
    let known = c
        .prepare_cached(
            "SELECT number FROM reminders WHERE owner = ?1 AND source = ?2
             UNION ALL
             SELECT number FROM forgotten_sources
             WHERE owner = ?1 AND source = ?2 AND memory IS NULL",
        )?
        .query_row(params![owner, reminder.source], |r| r.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(known);
    }
    let count: i64 = c
        .prepare_cached("SELECT count(*) FROM reminders WHERE owner = ?1")?
        .query_row([owner], |r| r.get(0))?;
    if count as usize >= limit {
        return Ok(None);
    }
    let number = owners::next_number(c, owner)?;
    c.prepare_cached(
        "INSERT INTO reminders (owner, number, text, interval_millis, next_at, target, source,
                                created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        owner,
        number,
        reminder.text,
        reminder.interval_millis,
        reminder.next_at,
        reminder.target,
        reminder.source,
        reminder.created_at
    ])?;
    Ok(Some(number))
}

/// Removes one of a person's reminders, or all of them; returns how many there were.
pub(super) fn remove(c: &Connection, owner: i64, number: Option<i64>) -> rusqlite::Result<usize> {
    c.prepare_cached(
        "INSERT INTO forgotten_sources SELECT owner, source, NULL, number FROM reminders
         WHERE owner = ?1 AND (?2 IS NULL OR number = ?2) ON CONFLICT DO NOTHING",
    )?
    .execute(params![owner, number])?;
    c.prepare_cached("DELETE FROM reminders WHERE owner = ?1 AND (?2 IS NULL OR number = ?2)")?
        .execute(params![owner, number])
}

fn reminder(row: &Row<'_>) -> rusqlite::Result<Reminder> {
    Ok(Reminder {
        id: row.get(0)?,
        user_id: row.get(1)?,
        number: row.get(2)?,
        text: row.get(3)?,
        interval_millis: row.get(4)?,
        next_at: row.get(5)?,
        target: row.get(6)?,
    })
}

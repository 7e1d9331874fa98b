//! The people who have memories or reminders: their series of numbers, and what they had forgotten.

use rusqlite::{Connection, OptionalExtension, params};

/// The row of a person, made if it is not there.
pub(super) fn owner(c: &Connection, user_id: &str) -> rusqlite::Result<i64> {
    c.prepare_cached("INSERT INTO owners (user_id) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([user_id])?;
    c.prepare_cached("SELECT id FROM owners WHERE user_id = ?1")?.query_row([user_id], |r| r.get(0))
}

/// The next number of a person's series. A number is never given twice, so that `/forget 3` cannot
/// hit what took the place of 3.
pub(super) fn next_number(c: &Connection, owner: i64) -> rusqlite::Result<i64> {
    c.prepare_cached(
        "UPDATE owners SET last_number = last_number + 1 WHERE id = ?1 RETURNING last_number",
    )?
    .query_row([owner], |r| r.get(0))
}

/// Notes what was forgotten at whose request.
pub(super) fn note_forgotten(
    c: &Connection,
    owner: i64,
    source: &str,
    count: usize,
    now: i64,
) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT INTO forgotten VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?
        .execute(params![owner, source, count as i64, now])?;
    Ok(())
}

/// How much the same request had forgotten before.
pub(super) fn forgotten_before(
    c: &Connection,
    owner: i64,
    source: &str,
) -> rusqlite::Result<Option<usize>> {
    c.prepare_cached("SELECT count FROM forgotten WHERE owner = ?1 AND source = ?2")?
        .query_row(params![owner, source], |r| r.get::<_, i64>(0))
        .optional()
        .map(|count| count.map(|n| n as usize))
}

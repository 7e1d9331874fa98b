//! The people who have memories or reminders: their series of numbers, and what they had forgotten.

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{Changed, Enough, Profile, person};

/// Changes since which any summary is too old, however many memories there are.
const ANY: i64 = 1_000_000;
/// Memories that are looked for one by one.
const FEW: usize = 16;

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

/// Notes that a model made memories of what somebody said.
pub(super) fn note_changes(c: &Connection, owner: i64, count: usize) -> rusqlite::Result<()> {
    if count == 0 {
        return Ok(());
    }
    c.prepare_cached("UPDATE owners SET changed = changed + ?2 WHERE id = ?1")?
        .execute(params![owner, count as i64])
        .map(|_| ())
}

/// Drops a summary, for it may tell what is to be forgotten, and so may the one that is being
/// written; another is due.
pub(super) fn forget_profile(c: &Connection, owner: i64) -> rusqlite::Result<()> {
    c.prepare_cached(
        "UPDATE owners SET profile = NULL, profile_at = NULL, changed = changed + ?2
         WHERE id = ?1 AND (profile IS NOT NULL OR changed > 0)",
    )?
    .execute(params![owner, ANY])
    .map(|_| ())
}

pub(super) fn profile(c: &Connection, user_id: &str) -> rusqlite::Result<Option<Profile>> {
    c.prepare_cached(
        "SELECT profile, profile_at FROM owners WHERE user_id = ?1 AND profile IS NOT NULL",
    )?
    .query_row([user_id], |r| Ok(Profile { text: r.get(0)?, made_at: r.get(1)? }))
    .optional()
}

/// Keeps a summary, unless something was forgotten while it was written: then there are other
/// changes than those it has seen.
pub(super) fn put_profile(
    c: &Connection,
    user_id: &str,
    profile: &Profile,
    seen: u64,
) -> rusqlite::Result<()> {
    let text = (!profile.text.is_empty()).then_some(&profile.text);
    c.prepare_cached(
        "UPDATE owners SET profile = ?2, profile_at = ?3, changed = changed - ?4
         WHERE user_id = ?1 AND changed BETWEEN ?4 AND ?4 + ?5",
    )?
    .execute(params![user_id, text, profile.made_at, seen as i64, ANY / 2])
    .map(|_| ())
}

/// What has changed of a person.
pub(super) fn changes(c: &Connection, user_id: &str) -> rusqlite::Result<Option<Changed>> {
    c.prepare_cached("SELECT changed, memories FROM owners WHERE user_id = ?1 AND changed > 0")?
        .query_row([user_id], |r| {
            let (changes, memories) = (r.get::<_, i64>(0)?, r.get::<_, i64>(1)?);
            let (changes, memories) = (changes as u64, memories as u64);
            Ok(Changed { user_id: user_id.to_owned(), changes, memories })
        })
        .optional()
}

/// The people of whom enough has changed, as [`Enough::is_reached`] has it.
pub(super) fn changed(
    c: &Connection,
    enough: Enough,
    limit: usize,
) -> rusqlite::Result<Vec<Changed>> {
    let rows = c
        .prepare_cached(
            "SELECT user_id, changed, memories FROM owners
             WHERE changed > 0
               AND (memories = 0 OR changed >= min(max(memories / max(?4, 1), ?2), ?3))
             ORDER BY changed DESC LIMIT ?1",
        )?
        .query_map(
            [limit as i64, enough.fewest as i64, enough.most as i64, enough.share as i64],
            |r| Ok((r.get::<_, String>(0)?, r.get(1)?, r.get(2)?)),
        )?
        .collect::<rusqlite::Result<Vec<(String, i64, i64)>>>()?;
    let people = rows.into_iter().filter_map(|(user_id, changes, memories)| {
        let user_id = person(&user_id)?.to_owned();
        Some(Changed { user_id, changes: changes as u64, memories: memories as u64 })
    });
    Ok(people.collect())
}

/// Takes the words of memories out of what became of additions, and out of exports: of these memories
/// where they are few, else of all that the owner has.
pub(super) fn forget_results(c: &Connection, owner: i64, ids: &[String]) -> rusqlite::Result<()> {
    let mut exports = c.prepare_cached(
        "DELETE FROM jobs WHERE owner = ?1 AND state > 0 AND payload LIKE '%\"form\":true%'",
    )?;
    exports.execute([owner])?;
    if ids.len() > FEW {
        c.prepare_cached("UPDATE jobs SET results = NULL WHERE owner = ?1 AND state > 0")?
            .execute([owner])?;
        return Ok(());
    }
    let mut forget = c.prepare_cached(
        "UPDATE jobs SET results = NULL WHERE owner = ?1 AND state > 0 AND instr(results, ?2) > 0",
    )?;
    for id in ids {
        forget.execute(params![owner, id])?;
    }
    Ok(())
}

/// Drops the work that waits of what somebody said, or everybody.
pub(super) fn drop_work(c: &Connection, user_id: Option<&str>) -> rusqlite::Result<()> {
    c.prepare_cached(
        "DELETE FROM jobs WHERE state = 0
           AND (?1 IS NULL OR owner = (SELECT id FROM owners WHERE user_id = ?1))",
    )?
    .execute([user_id])
    .map(|_| ())
}

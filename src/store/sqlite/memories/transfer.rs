//! Memories taken out as a whole, and brought in as they were.

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde_json::Value;

use super::conditions::{Condition, FROM};
use super::{reading, writing};
use crate::store::sqlite::owners;
use crate::store::{Arrival, Entity, Event, Feedback, Kept, Selection, Words};

/// The memories selected behind a key, with their keys, in the order in which they came.
pub(super) fn export(
    c: &Connection,
    selection: &Selection,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Kept)>> {
    // One state of the file for all tables.
    let c = c.unchecked_transaction()?;
    let Condition { text, mut values } = Condition::of(selection);
    values.push(after.into());
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let found = c
        .prepare_cached(&format!(
            "SELECT {}, m.key, m.liked, m.liked_why FROM {FROM}
             WHERE {text} AND m.key > ? ORDER BY m.key LIMIT ?",
            reading::COLUMNS
        ))?
        .query_map(params_from_iter(values), |row| {
            let memory = reading::record(row)?;
            let feedback = Feedback { good: row.get(18)?, reason: row.get(19)? };
            Ok((row.get(17)?, Kept { memory, feedback, history: Vec::new() }))
        })?
        .collect::<rusqlite::Result<Vec<(i64, Kept)>>>()?;
    found
        .into_iter()
        .map(|(key, mut kept)| {
            let history = reading::history(&c, &kept.memory.id)?;
            // That it was added is told by the memory itself.
            kept.history = history.into_iter().filter(|it| it.event != Event::Added).collect();
            Ok((key, kept))
        })
        .collect()
}

/// Brings a memory in, as it was.
pub(super) fn import(c: &Connection, kept: &Kept, words: &Words) -> rusqlite::Result<Arrival> {
    let Kept { memory, feedback, history } = kept;
    let owner_name = memory.scope.owner();
    let known: Option<String> = c
        .prepare_cached(
            "SELECT o.user_id FROM memories m JOIN owners o ON o.id = m.owner WHERE m.id = ?1",
        )?
        .query_row([&memory.id], |r| r.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(if known == owner_name { Arrival::Known } else { Arrival::SomebodyElses });
    }
    let owner = owners::owner(c, &owner_name)?;
    let number = number(c, owner, memory.number)?;
    let source_is_free = match &memory.source {
        None => false,
        Some(source) => !c
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM memories WHERE owner = ?1 AND source = ?2)",
            )?
            .query_row(params![owner, source], |r| r.get::<_, bool>(0))?,
    };
    let length = writing::length(&words.terms);
    let categories =
        (!memory.categories.is_empty()).then(|| Value::from(memory.categories.clone()).to_string());
    let (superseded_at, superseded_by) = memory.superseded.clone().unzip();
    c.prepare_cached(
        "INSERT INTO memories (id, owner, number, agent_id, app_id, run_id, actor_id, role, text,
                               terms, metadata, categories, expires_on, source, created_at,
                               updated_at, superseded_at, superseded_by, liked, liked_why, speaker,
                               indexed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
                 ?19, ?20, ?21, TRUE)",
    )?
    .execute(params![
        memory.id,
        owner,
        number,
        memory.scope.id(Entity::Agent),
        memory.scope.id(Entity::App),
        memory.scope.id(Entity::Run),
        memory.actor_id,
        memory.role,
        memory.text,
        length,
        memory.metadata.as_ref().map(writing::json),
        categories,
        memory.expires_on.map(|day| day.to_string()),
        memory.source.as_ref().filter(|_| source_is_free),
        memory.created_at,
        (memory.updated_at != memory.created_at).then_some(memory.updated_at),
        superseded_at,
        superseded_by,
        feedback.good,
        feedback.reason,
        words.speaker
    ])?;
    let key = c.last_insert_rowid();
    writing::index(c, owner, key, &words.terms)?;
    c.prepare_cached(
        "UPDATE owners SET memories = memories + 1, terms = terms + ?2 WHERE id = ?1",
    )?
    .execute(params![owner, length])?;
    for change in history {
        let event = match change.event {
            Event::Added => continue,
            Event::Updated => writing::UPDATED,
            Event::Superseded => writing::SUPERSEDED,
            Event::Deleted => writing::DELETED,
        };
        c.prepare_cached(
            "INSERT INTO changes (memory, owner, event, old_text, new_text, said_at, at, actor_id,
                                  role)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            memory.id,
            owner,
            event,
            change.old,
            change.new,
            change.created_at,
            change.at,
            change.actor_id,
            change.role
        ])?;
    }
    Ok(Arrival::New)
}

/// The number that a memory had, unless its owner has another of that number by now.
fn number(c: &Connection, owner: i64, wanted: i64) -> rusqlite::Result<i64> {
    let last: i64 = c
        .prepare_cached("SELECT last_number FROM owners WHERE id = ?1")?
        .query_row([owner], |r| r.get(0))?;
    // One that is not above the last was given before, if only to what is forgotten.
    if wanted <= last {
        return owners::next_number(c, owner);
    }
    c.prepare_cached("UPDATE owners SET last_number = ?2 WHERE id = ?1")?
        .execute(params![owner, wanted])?;
    Ok(wanted)
}

//! Memories written, changed and removed.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde_json::{Map, Value};

use super::conditions::{Condition, FROM};
use super::reading;
use crate::store::sqlite::{conversation, owners};
use crate::store::{
    Edit, Entity, MemoryRecord, NewMemory, Scope, Selection, Stored, Unindexed, Words,
};

/// Turns of one conversation follow each other within so many milliseconds.
const SAME_CONVERSATION: i64 = 3_600_000;

/// `changes.event`.
pub(super) const UPDATED: i64 = 1;
pub(super) const SUPERSEDED: i64 = 2;
pub(super) const DELETED: i64 = 3;

pub(super) fn add(
    c: &Connection,
    owner: i64,
    scope: &Scope,
    memory: &NewMemory,
) -> rusqlite::Result<Stored> {
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
    if memory.source.is_some() && memory.created_at < forgot_all_at {
        return Ok(Stored { id: memory.id.clone(), number: 0, new: false });
    }
    let follows = turn_before(c, owner, scope, memory)?;
    let number = owners::next_number(c, owner)?;
    let length = length(&memory.words.terms);
    let categories =
        (!memory.categories.is_empty()).then(|| Value::from(memory.categories.clone()).to_string());
    c.prepare_cached(
        "INSERT INTO memories (id, owner, number, agent_id, app_id, run_id, actor_id, role, text,
                               terms, metadata, categories, expires_on, source, created_at, follows,
                               speaker, indexed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 TRUE)",
    )?
    .execute(params![
        memory.id,
        owner,
        number,
        scope.id(Entity::Agent),
        scope.id(Entity::App),
        scope.id(Entity::Run),
        memory.actor_id,
        memory.role,
        memory.text,
        length,
        memory.metadata.as_ref().map(json),
        categories,
        memory.expires_on.map(|day| day.to_string()),
        memory.source,
        memory.created_at,
        follows,
        memory.words.speaker
    ])?;
    let key = c.last_insert_rowid();
    index(c, owner, key, &memory.words.terms)?;
    c.prepare_cached(
        "UPDATE owners SET memories = memories + 1, terms = terms + ?2 WHERE id = ?1",
    )?
    .execute(params![owner, length])?;
    for old in &memory.supersedes {
        supersede(c, owner, old, memory)?;
    }
    Ok(Stored { id: memory.id.clone(), number, new: true })
}

/// The turn of a conversation that a memory follows: the owner's newest memory, if somebody else said
/// it in the same scope not long before.
fn turn_before(
    c: &Connection,
    owner: i64,
    scope: &Scope,
    memory: &NewMemory,
) -> rusqlite::Result<Option<i64>> {
    let Some(role) = &memory.role else { return Ok(None) };
    let newest = c
        .prepare_cached(
            "SELECT key, role <> ?2 AND abs(created_at - ?3) <= ?4
               AND agent_id IS ?5 AND app_id IS ?6 AND run_id IS ?7
             FROM memories WHERE owner = ?1 ORDER BY number DESC LIMIT 1",
        )?
        .query_row(
            params![
                owner,
                role,
                memory.created_at,
                SAME_CONVERSATION,
                scope.id(Entity::Agent),
                scope.id(Entity::App),
                scope.id(Entity::Run)
            ],
            |r| Ok((r.get(0)?, r.get::<_, Option<bool>>(1)?)),
        )
        .optional()?;
    Ok(newest.and_then(|(key, is_turn)| is_turn.unwrap_or(false).then_some(key)))
}

pub(super) fn length(terms: &[(String, u32)]) -> u32 {
    terms.iter().map(|(_, frequency)| frequency).sum()
}

pub(super) fn json(object: &Map<String, Value>) -> String {
    Value::Object(object.clone()).to_string()
}

pub(super) fn index(
    c: &Connection,
    owner: i64,
    key: i64,
    terms: &[(String, u32)],
) -> rusqlite::Result<()> {
    let length = length(terms);
    let mut insert = c.prepare_cached("INSERT INTO postings VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (term, frequency) in terms {
        insert.execute(params![owner, term, key, frequency, length])?;
    }
    Ok(())
}

/// Lets `new` take the place of an older memory of the same owner.
fn supersede(c: &Connection, owner: i64, old: &str, new: &NewMemory) -> rusqlite::Result<()> {
    let noted = c
        .prepare_cached(
            "INSERT INTO changes (memory, owner, event, old_text, new_text, said_at, at, actor_id,
                                  role)
             SELECT id, owner, ?3, text, ?4, created_at, ?5, actor_id, role FROM memories
             WHERE id = ?1 AND owner = ?2 AND id <> ?6 AND superseded_at IS NULL",
        )?
        .execute(params![old, owner, SUPERSEDED, new.text, new.created_at, new.id])?;
    if noted > 0 {
        c.prepare_cached(
            "UPDATE memories SET superseded_at = ?2, superseded_by = ?3 WHERE id = ?1",
        )?
        .execute(params![old, new.created_at, new.id])?;
    }
    Ok(())
}

pub(super) fn edit(
    c: &Connection,
    id: &str,
    edit: &Edit,
) -> rusqlite::Result<Option<MemoryRecord>> {
    let found: Option<(i64, i64, u32, Option<String>, String)> = c
        .prepare_cached("SELECT key, owner, terms, metadata, text FROM memories WHERE id = ?1")?
        .query_row([id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))
        .optional()?;
    let Some((key, owner, old_length, metadata, old_text)) = found else { return Ok(None) };
    if let Some((text, words)) = &edit.text
        && *text != old_text
    {
        c.prepare_cached(
            "INSERT INTO changes (memory, owner, event, old_text, new_text, said_at, at, actor_id,
                                  role)
             SELECT id, owner, ?2, text, ?3, created_at, ?4, actor_id, role FROM memories
             WHERE key = ?1",
        )?
        .execute(params![key, UPDATED, text, edit.at])?;
        c.prepare_cached("DELETE FROM postings WHERE memory = ?1")?.execute([key])?;
        index(c, owner, key, &words.terms)?;
        c.prepare_cached("DELETE FROM vectors WHERE owner = ?1 AND memory = ?2")?
            .execute(params![owner, key])?;
        c.prepare_cached(
            "UPDATE memories SET text = ?2, terms = ?3, embedded = NULL, indexed = TRUE,
               speaker = coalesce(?4, CASE WHEN actor_id IS NOT NULL THEN speaker END)
             WHERE key = ?1",
        )?
        .execute(params![key, text, length(&words.terms), words.speaker])?;
        c.prepare_cached("UPDATE owners SET terms = terms - ?2 + ?3 WHERE id = ?1")?
            .execute(params![owner, old_length, length(&words.terms)])?;
        owners::forget_profile(c, owner)?;
    }
    if let Some(added) = &edit.metadata {
        let mut merged = reading::metadata(metadata).unwrap_or_default();
        merged.extend(added.clone());
        c.prepare_cached("UPDATE memories SET metadata = ?2 WHERE key = ?1")?
            .execute(params![key, json(&merged)])?;
    }
    if let Some(day) = edit.expires_on {
        c.prepare_cached("UPDATE memories SET expires_on = ?2 WHERE key = ?1")?
            .execute(params![key, day.map(|day| day.to_string())])?;
    }
    if let Some(at) = edit.created_at {
        c.prepare_cached("UPDATE memories SET created_at = ?2 WHERE key = ?1")?
            .execute(params![key, at])?;
    }
    if let Some(feedback) = &edit.feedback {
        c.prepare_cached("UPDATE memories SET liked = ?2, liked_why = ?3 WHERE key = ?1")?
            .execute(params![key, feedback.good, feedback.reason])?;
    }
    c.prepare_cached("UPDATE memories SET updated_at = ?2 WHERE key = ?1")?
        .execute(params![key, edit.at])?;
    reading::one(c, id)
}

/// Lets a memory be found by other words than those it was indexed by.
pub(super) fn index_anew(c: &Connection, it: &Unindexed, words: &Words) -> rusqlite::Result<()> {
    let found: Option<(i64, u32)> = c
        .prepare_cached("SELECT owner, terms FROM memories WHERE key = ?1 AND text = ?2")?
        .query_row(params![it.memory, it.text], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    let Some((owner, old_length)) = found else { return Ok(()) };
    let length = length(&words.terms);
    c.prepare_cached("DELETE FROM postings WHERE memory = ?1")?.execute([it.memory])?;
    index(c, owner, it.memory, &words.terms)?;
    c.prepare_cached(
        "UPDATE memories SET terms = ?2, speaker = ?3, indexed = TRUE WHERE key = ?1",
    )?
    .execute(params![it.memory, length, words.speaker])?;
    c.prepare_cached("UPDATE owners SET terms = terms - ?2 + ?3 WHERE id = ?1")?
        .execute(params![owner, old_length, length])
        .map(|_| ())
}

/// Removes what is selected; returns how much it was.
pub(super) fn remove_selected(
    c: &Connection,
    selection: &Selection,
    at: i64,
) -> rusqlite::Result<usize> {
    let Condition { text, values } = Condition::of(selection);
    let found = c
        .prepare_cached(&format!(
            "SELECT m.key, m.owner, o.user_id, m.source, m.id FROM {FROM} WHERE {text}"
        ))?
        .query_map(params_from_iter(values), |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))
        })?
        .collect::<rusqlite::Result<Vec<(i64, i64, String, Option<String>, String)>>>()?;
    let mut owners: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (key, owner, user, source, id) in found.iter() {
        owners.entry(*owner).or_default().push(id.clone());
        if let Some(source) = source {
            conversation::forget(c, user, Some(source))?;
        }
        remove(c, *owner, *key, at)?;
    }
    for (owner, ids) in owners {
        owners::forget_profile(c, owner)?;
        owners::forget_results(c, owner, &ids)?;
    }
    if selection.filter.is_none() && selection.alive_on.is_none() && !selection.current_only {
        // What was said and is not made into memories yet is meant, too.
        for scope in &selection.scopes {
            if scope.is_everything() {
                owners::drop_work(c, None)?;
            } else if scope.is_whole_person() {
                owners::drop_work(c, Some(&scope.owner()))?;
            }
        }
    }
    Ok(found.len())
}

/// Removes a memory; its postings go with it, and its words go from its history. What it was made
/// from stays known.
pub(super) fn remove(c: &Connection, owner: i64, key: i64, at: i64) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO forgotten_sources SELECT owner, source, id, number FROM memories
         WHERE key = ?1 AND source IS NOT NULL ON CONFLICT DO NOTHING",
    )?
    .execute([key])?;
    c.prepare_cached(
        "UPDATE changes SET old_text = NULL, new_text = NULL
         WHERE memory = (SELECT id FROM memories WHERE key = ?1)",
    )?
    .execute([key])?;
    // What it took the place of is not to say what it said.
    c.prepare_cached(
        "UPDATE changes SET new_text = NULL WHERE event = ?2 AND memory IN (
           SELECT old.id FROM memories new JOIN memories old
             ON old.owner = new.owner AND old.superseded_by = new.id
           WHERE new.key = ?1 AND old.superseded_at IS NOT NULL)",
    )?
    .execute(params![key, SUPERSEDED])?;
    c.prepare_cached(
        "INSERT INTO changes (memory, owner, event, said_at, at, actor_id, role)
         SELECT id, owner, ?2, created_at, ?3, actor_id, role FROM memories WHERE key = ?1",
    )?
    .execute(params![key, DELETED, at])?;
    c.prepare_cached("DELETE FROM vectors WHERE owner = ?1 AND memory = ?2")?
        .execute(params![owner, key])?;
    let length: i64 = c
        .prepare_cached("DELETE FROM memories WHERE key = ?1 RETURNING terms")?
        .query_row([key], |r| r.get(0))?;
    c.prepare_cached(
        "UPDATE owners SET memories = memories - 1, terms = terms - ?2 WHERE id = ?1",
    )?
    .execute(params![owner, length])?;
    Ok(())
}

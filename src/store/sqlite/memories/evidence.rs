//! What is known of an owner's memories about a question. Reads only rows of the owners selected:
//! its cost does not grow with the store.

use std::collections::BTreeMap;

use rusqlite::{Connection, params, params_from_iter};

use super::conditions::{Condition, FROM};
use super::index::Indexes;
use super::reading;
use super::vectors::Question;
use crate::store::{Asked, Entity, Evidence, Scope, Selection};

pub(super) fn evidence(
    c: &Connection,
    indexes: &Indexes,
    selection: &Selection,
    asked: &Asked,
) -> rusqlite::Result<Vec<Evidence>> {
    let mut found = Vec::new();
    for (owner, scopes) in owners(c, &selection.scopes)? {
        found.extend(of_owner(c, indexes, owner, &scopes, selection, asked)?);
    }
    Ok(found)
}

/// The owners of what is selected, each with the scopes that it came in by.
fn owners(c: &Connection, scopes: &[Scope]) -> rusqlite::Result<BTreeMap<i64, Vec<Scope>>> {
    let mut found: BTreeMap<i64, Vec<Scope>> = BTreeMap::new();
    for scope in scopes {
        let owners = match (scope.id(Entity::User), narrowest(scope)) {
            (Some(user), _) => reading::owner(c, user)?.into_iter().collect(),
            (None, Some((sql, id))) => c
                .prepare_cached(sql)?
                .query_map([id], |r| r.get(0))?
                .collect::<rusqlite::Result<Vec<i64>>>()?,
            (None, None) => c
                .prepare_cached("SELECT id FROM owners WHERE memories > 0")?
                .query_map([], |r| r.get(0))?
                .collect::<rusqlite::Result<Vec<i64>>>()?,
        };
        for owner in owners {
            found.entry(owner).or_default().push(scope.clone());
        }
    }
    Ok(found)
}

/// Of what a scope without a person names the part that few memories bear, with the query for their
/// owners.
fn narrowest(scope: &Scope) -> Option<(&'static str, &str)> {
    let of = |entity, sql| scope.id(entity).map(|id| (sql, id));
    of(Entity::Run, "SELECT DISTINCT owner FROM memories WHERE run_id = ?1")
        .or_else(|| of(Entity::Agent, "SELECT DISTINCT owner FROM memories WHERE agent_id = ?1"))
        .or_else(|| of(Entity::App, "SELECT DISTINCT owner FROM memories WHERE app_id = ?1"))
}

/// Which of an owner's memories are selected; `None`: all.
fn selected(
    c: &Connection,
    owner: i64,
    keys: &[i64],
    scopes: &[Scope],
    selection: &Selection,
) -> rusqlite::Result<Option<Vec<bool>>> {
    let whole = |scope: &Scope| scope.is_whole_person() || scope.is_everything();
    if selection.filter.is_some() || !scopes.iter().any(whole) {
        let Condition { text, values } = Condition::within(owner, scopes, selection);
        let mut find = c.prepare_cached(&format!("SELECT m.key FROM {FROM} WHERE {text}"))?;
        let mut rows = find.query(params_from_iter(values))?;
        let mut selected = vec![false; keys.len()];
        while let Some(row) = rows.next()? {
            if let Some(memory) = place(keys, row.get(0)?) {
                selected[memory as usize] = true;
            }
        }
        return Ok(Some(selected));
    }
    let mut left_out = Vec::new();
    if let Some(day) = selection.alive_on {
        let mut expired =
            c.prepare_cached("SELECT key FROM memories WHERE owner = ?1 AND expires_on < ?2")?;
        let mut rows = expired.query(params![owner, day.to_string()])?;
        while let Some(row) = rows.next()? {
            left_out.extend(place(keys, row.get(0)?));
        }
    }
    if selection.current_only {
        left_out.extend(demoted(c, owner, keys, true)?);
    }
    if left_out.is_empty() {
        return Ok(None);
    }
    let mut selected = vec![true; keys.len()];
    left_out.into_iter().for_each(|memory| selected[memory as usize] = false);
    Ok(Some(selected))
}

/// The place of a key among an owner's.
fn place(keys: &[i64], key: i64) -> Option<u32> {
    keys.binary_search(&key).ok().map(|place| place as u32)
}

/// What was superseded; unless that is all that is asked for, what was judged badly, too.
fn demoted(
    c: &Connection,
    owner: i64,
    keys: &[i64],
    superseded_only: bool,
) -> rusqlite::Result<Vec<u32>> {
    let mut find = c.prepare_cached(
        "SELECT key FROM memories
         WHERE owner = ?1 AND (superseded_at IS NOT NULL OR liked = 0)
           AND (superseded_at IS NOT NULL OR NOT ?2)",
    )?;
    let mut rows = find.query(params![owner, superseded_only])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(place(keys, row.get(0)?));
    }
    Ok(found)
}

/// What was superseded, each with what took its place.
fn replaced(c: &Connection, owner: i64, keys: &[i64]) -> rusqlite::Result<Vec<(u32, u32)>> {
    let mut find = c.prepare_cached(
        "SELECT old.key, new.key FROM memories old JOIN memories new ON new.id = old.superseded_by
         WHERE old.owner = ?1 AND old.superseded_at IS NOT NULL AND new.owner = old.owner
         ORDER BY old.key",
    )?;
    let mut rows = find.query([owner])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(place(keys, row.get(0)?).zip(place(keys, row.get(1)?)));
    }
    Ok(found)
}

fn of_owner(
    c: &Connection,
    indexes: &Indexes,
    owner: i64,
    scopes: &[Scope],
    selection: &Selection,
    asked: &Asked,
) -> rusqlite::Result<Option<Evidence>> {
    let model = asked.vector.as_ref().map(|(model, _)| *model);
    // One state of the file for all that is read of an owner.
    let Some((view, c)) = indexes.view(c, owner, &asked.terms, model)? else { return Ok(None) };
    let mut evidence = Evidence {
        selected: selected(&c, owner, &view.keys, scopes, selection)?,
        keys: view.keys,
        terms: view.terms,
        postings: view.postings,
        turns: view.turns,
        speakers: view.speakers,
        names: view.names,
        ..Evidence::default()
    };
    if let (Some((_, vector)), Some(vectors)) = (&asked.vector, view.vectors) {
        let question = Question::new(vector);
        let is_selected = |memory| evidence.is_selected(memory);
        evidence.similar = vectors.compare(&c, &evidence.keys, owner, &question, is_selected)?;
    }
    let mut demoted = demoted(&c, owner, &evidence.keys, false)?;
    demoted.retain(|memory| evidence.is_selected(*memory));
    if !demoted.is_empty() {
        let mut replaced = replaced(&c, owner, &evidence.keys)?;
        replaced.retain(|(old, new)| evidence.is_selected(*old) && evidence.is_selected(*new));
        evidence.replaced = replaced;
    }
    evidence.demoted = demoted;
    Ok(Some(evidence))
}

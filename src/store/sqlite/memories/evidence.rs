//! What is known of an owner's memories about a question. Reads only rows of the owners selected:
//! its cost does not grow with the store.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::conditions::{Condition, FROM};
use super::reading;
use super::vectors::Question;
use crate::store::{Asked, Entity, Evidence, Posting, Scope, Selection};

/// The postings of a term among all that an owner has. Its plan is tested.
pub(in crate::store::sqlite) const POSTINGS: &str =
    "SELECT memory, frequency, length FROM postings WHERE owner = ?1 AND term = ?2";

/// The turns of an owner's conversations.
pub(in crate::store::sqlite) const TURNS: &str =
    "SELECT key, follows FROM memories WHERE owner = ?1 AND follows IS NOT NULL";

pub(super) fn evidence(
    c: &Connection,
    selection: &Selection,
    asked: &Asked,
) -> rusqlite::Result<Vec<Evidence>> {
    // One state of the file for all that is read.
    let c = c.unchecked_transaction()?;
    let mut found = Vec::new();
    for (owner, scopes) in owners(&c, &selection.scopes)? {
        let selected = Selected::of(&c, owner, &scopes, selection)?;
        found.extend(of_owner(&c, owner, &selected, asked)?);
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

/// Which of an owner's memories are selected.
enum Selected {
    Only(HashSet<i64>),
    AllBut(HashSet<i64>),
}

impl Selected {
    fn of(
        c: &Connection,
        owner: i64,
        scopes: &[Scope],
        selection: &Selection,
    ) -> rusqlite::Result<Self> {
        let whole = |scope: &Scope| scope.is_whole_person() || scope.is_everything();
        if selection.filter.is_some() || !scopes.iter().any(whole) {
            let Condition { text, values } = Condition::within(owner, scopes, selection);
            let keys = c
                .prepare_cached(&format!("SELECT m.key FROM {FROM} WHERE {text}"))?
                .query_map(params_from_iter(values), |r| r.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            return Ok(Self::Only(keys));
        }
        let mut left_out = HashSet::new();
        if let Some(day) = selection.alive_on {
            let mut expired =
                c.prepare_cached("SELECT key FROM memories WHERE owner = ?1 AND expires_on < ?2")?;
            let mut rows = expired.query(params![owner, day.to_string()])?;
            while let Some(row) = rows.next()? {
                left_out.insert(row.get(0)?);
            }
        }
        if selection.current_only {
            left_out.extend(demoted(c, owner, true)?);
        }
        Ok(Self::AllBut(left_out))
    }

    fn has(&self, key: i64) -> bool {
        match self {
            Self::Only(keys) => keys.contains(&key),
            Self::AllBut(keys) => keys.is_empty() || !keys.contains(&key),
        }
    }
}

/// What was superseded; unless that is all that is asked for, what was judged badly, too.
fn demoted(c: &Connection, owner: i64, superseded_only: bool) -> rusqlite::Result<HashSet<i64>> {
    c.prepare_cached(
        "SELECT key FROM memories
         WHERE owner = ?1 AND (superseded_at IS NOT NULL OR liked = 0)
           AND (superseded_at IS NOT NULL OR NOT ?2)",
    )?
    .query_map(params![owner, superseded_only], |r| r.get(0))?
    .collect()
}

/// What was superseded, each with what took its place.
fn replaced(c: &Connection, owner: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    c.prepare_cached(
        "SELECT old.key, new.key FROM memories old JOIN memories new ON new.id = old.superseded_by
         WHERE old.owner = ?1 AND old.superseded_at IS NOT NULL AND new.owner = old.owner
         ORDER BY old.key",
    )?
    .query_map([owner], |r| Ok((r.get(0)?, r.get(1)?)))?
    .collect()
}

fn of_owner(
    c: &Connection,
    owner: i64,
    selected: &Selected,
    asked: &Asked,
) -> rusqlite::Result<Option<Evidence>> {
    let sums: Option<(i64, i64)> = c
        .prepare_cached("SELECT memories, terms FROM owners WHERE id = ?1")?
        .query_row([owner], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    let Some((memories, terms)) = sums else { return Ok(None) };
    let mut evidence = Evidence {
        memories: memories.unsigned_abs(),
        terms: terms.unsigned_abs(),
        ..Evidence::default()
    };
    let mut find = c.prepare_cached(POSTINGS)?;
    for (term, text) in asked.terms.iter().enumerate() {
        let mut rows = find.query(params![owner, text])?;
        let mut holders = 0;
        while let Some(row) = rows.next()? {
            holders += 1;
            let memory = row.get(0)?;
            if selected.has(memory) {
                let (frequency, length) = (row.get(1)?, row.get(2)?);
                evidence.postings.push(Posting { term, memory, frequency, length });
            }
        }
        evidence.holders.push(holders);
    }
    if let Some((model, vector)) = &asked.vector {
        let question = Question::new(vector);
        evidence.similar = question.compare(c, owner, *model, |key| selected.has(key))?;
    }
    let mut turns = c.prepare_cached(TURNS)?;
    let turns = turns.query_map([owner], |r| Ok((r.get(0)?, r.get(1)?)))?;
    evidence.turns = turns.collect::<rusqlite::Result<_>>()?;
    evidence.demoted = demoted(c, owner, false)?;
    evidence.demoted.retain(|key| selected.has(*key));
    if !evidence.demoted.is_empty() {
        evidence.replaced = replaced(c, owner)?;
        evidence.replaced.retain(|(old, new)| selected.has(*old) && selected.has(*new));
    }
    Ok(Some(evidence))
}

//! Memories read: records, lists, entities, history.

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::{Map, Value};

use super::conditions::{Condition, FROM};
use crate::store::memories::person;
use crate::store::{
    Change, Entity, EntitySummary, Event, MemoryRecord, Part, Scope, Selection, Unindexed,
};

/// What [`record`] reads.
pub(super) const COLUMNS: &str = "m.id, m.number, m.text, o.user_id, m.agent_id, m.app_id, m.run_id, \
     m.actor_id, m.role, m.metadata, m.categories, m.expires_on, m.source, m.created_at, \
     m.updated_at, m.superseded_at, m.superseded_by";

/// The records of keys, with their scores; one that was forgotten meanwhile is not there.
pub(super) fn by_key(
    c: &Connection,
    selection: &Selection,
    found: &[(i64, f64)],
) -> rusqlite::Result<Vec<(MemoryRecord, f64)>> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let Condition { text, mut values } = Condition::of(selection);
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE {text} AND m.key = ?");
    let mut find = c.prepare_cached(&sql)?;
    let key_at = values.len();
    values.push(rusqlite::types::Value::Null);
    let mut records = Vec::with_capacity(found.len());
    for (key, score) in found {
        values[key_at] = (*key).into();
        let record = find.query_row(params_from_iter(&values), record).optional()?;
        records.extend(record.map(|record| (record, *score)));
    }
    Ok(records)
}

pub(super) fn select(
    c: &Connection,
    selection: &Selection,
    part: Part,
) -> rusqlite::Result<Vec<MemoryRecord>> {
    let Condition { text, mut values } = Condition::of(selection);
    // Of one owner both orders are the same, and one needs no sorting.
    let one_owner = matches!(&*selection.scopes, [scope] if scope.id(Entity::User).is_some());
    let order = if one_owner { "m.number" } else { "m.key" };
    let sql =
        format!("SELECT {COLUMNS} FROM {FROM} WHERE {text} ORDER BY {order} DESC LIMIT ? OFFSET ?");
    values.push(capped(part.limit).into());
    values.push(capped(part.offset).into());
    c.prepare_cached(&sql)?.query_map(params_from_iter(values), record)?.collect()
}

fn capped(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn count(c: &Connection, selection: &Selection) -> rusqlite::Result<usize> {
    let Condition { text, values } = Condition::of(selection);
    c.prepare_cached(&format!("SELECT count(*) FROM {FROM} WHERE {text}"))?
        .query_row(params_from_iter(values), |r| r.get::<_, i64>(0))
        .map(|count| usize::try_from(count).unwrap_or_default())
}

pub(super) fn one(c: &Connection, id: &str) -> rusqlite::Result<Option<MemoryRecord>> {
    c.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE m.id = ?1"))?
        .query_row([id], record)
        .optional()
}

pub(super) fn unindexed(c: &Connection, limit: usize) -> rusqlite::Result<Vec<Unindexed>> {
    c.prepare_cached("SELECT key, text, actor_id FROM memories WHERE indexed IS NULL LIMIT ?1")?
        .query_map([capped(limit)], |r| {
            Ok(Unindexed { memory: r.get(0)?, text: r.get(1)?, actor_id: r.get(2)? })
        })?
        .collect()
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<MemoryRecord> {
    let created_at = row.get(13)?;
    let superseded_at: Option<i64> = row.get(15)?;
    let superseded_by: Option<String> = row.get(16)?;
    let categories: Option<String> = row.get(10)?;
    Ok(MemoryRecord {
        id: row.get(0)?,
        number: row.get(1)?,
        text: row.get(2)?,
        scope: scope(row)?,
        actor_id: row.get(7)?,
        role: row.get(8)?,
        metadata: metadata(row.get(9)?),
        categories: categories
            .and_then(|json| serde_json::from_str(&json).ok())
            .unwrap_or_default(),
        expires_on: row.get::<_, Option<String>>(11)?.and_then(|day| day.parse().ok()),
        source: row.get(12)?,
        created_at,
        updated_at: row.get::<_, Option<i64>>(14)?.unwrap_or(created_at),
        superseded: superseded_at.zip(superseded_by),
    })
}

/// The metadata of a row; what this program did not write itself is none.
pub(super) fn metadata(json: Option<String>) -> Option<Map<String, Value>> {
    json.and_then(|json| serde_json::from_str(&json).ok())
}

fn scope(row: &Row<'_>) -> rusqlite::Result<Scope> {
    let owner: String = row.get(3)?;
    let ids = [
        (Entity::User, person(&owner).map(str::to_owned)),
        (Entity::Agent, row.get(4)?),
        (Entity::App, row.get(5)?),
        (Entity::Run, row.get(6)?),
    ];
    let mut scope = Scope::default();
    for (entity, id) in ids {
        if let Some(id) = id {
            // An older program was less strict; a memory does not lose its person for that.
            scope = scope.clone().with(entity, &id).unwrap_or(scope);
        }
    }
    Ok(scope)
}

pub(super) fn entities(c: &Connection) -> rusqlite::Result<Vec<EntitySummary>> {
    let mut found = Vec::new();
    for entity in Entity::ALL {
        let id = match entity {
            Entity::User => "o.user_id",
            Entity::Agent => "m.agent_id",
            Entity::App => "m.app_id",
            Entity::Run => "m.run_id",
        };
        let sql = format!(
            "SELECT {id}, count(*), min(m.created_at), max(coalesce(m.updated_at, m.created_at))
             FROM {FROM} WHERE {id} IS NOT NULL GROUP BY {id} ORDER BY {id}"
        );
        let mut rows = c.prepare_cached(&sql)?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            if person(&id).is_none() {
                continue;
            }
            found.push(EntitySummary {
                entity,
                id,
                memories: row.get::<_, i64>(1)?.unsigned_abs(),
                created_at: row.get(2)?,
                updated_at: row.get(3)?,
            });
        }
    }
    found.sort_by(|a, b| (a.entity.name(), &a.id).cmp(&(b.entity.name(), &b.id)));
    Ok(found)
}

pub(super) fn history(c: &Connection, id: &str) -> rusqlite::Result<Vec<Change>> {
    let mut changes = c
        .prepare_cached(
            "SELECT h.id, h.event, h.old_text, h.new_text, h.said_at, h.at, o.user_id, h.actor_id,
                    h.role, h.memory
             FROM changes h JOIN owners o ON o.id = h.owner WHERE h.memory = ?1 ORDER BY h.id",
        )?
        .query_map([id], change)?
        .collect::<rusqlite::Result<Vec<Change>>>()?;
    let kept = one(c, id)?;
    // That it was added needs no row of its own: what it said then is what was changed first.
    let updated = changes.iter().find(|change| change.event == Event::Updated);
    let said = match updated {
        Some(change) => change.old.clone(),
        None => kept.as_ref().map(|it| it.text.clone()),
    };
    let added = match (&kept, changes.first()) {
        (Some(kept), _) => Change {
            id: 0,
            memory: id.to_owned(),
            event: Event::Added,
            old: None,
            new: said,
            created_at: kept.created_at,
            at: kept.created_at,
            user_id: kept.scope.id(Entity::User).map(str::to_owned),
            actor_id: kept.actor_id.clone(),
            role: kept.role.clone(),
        },
        (None, Some(first)) => Change {
            id: 0,
            event: Event::Added,
            old: None,
            new: said,
            at: first.created_at,
            ..first.clone()
        },
        (None, None) => return Ok(Vec::new()),
    };
    changes.insert(0, added);
    Ok(changes)
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let owner: String = row.get(6)?;
    Ok(Change {
        id: row.get(0)?,
        memory: row.get(9)?,
        event: match row.get::<_, i64>(1)? {
            1 => Event::Updated,
            2 => Event::Superseded,
            _ => Event::Deleted,
        },
        old: row.get(2)?,
        new: row.get(3)?,
        created_at: row.get(4)?,
        at: row.get(5)?,
        user_id: person(&owner).map(str::to_owned),
        actor_id: row.get(7)?,
        role: row.get(8)?,
    })
}

/// The row of an owner, if there is one.
pub(super) fn owner(c: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    c.prepare_cached("SELECT id FROM owners WHERE user_id = ?1")?
        .query_row(params![name], |r| r.get(0))
        .optional()
}

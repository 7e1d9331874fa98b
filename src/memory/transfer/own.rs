//! Our own form: a memory a line.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::store::{Change, Entity, Event, Feedback, Kept, MemoryRecord, Scope};

/// What the first line has, and nothing else does.
pub(super) const MARK: &str = "dingbot_export";
pub(super) const VERSION: u64 = 1;

/// A memory as a line has it.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: String,
    memory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    #[serde(default)]
    number: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiration_date: Option<Date>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    feedback: Option<Opinion>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    history: Vec<Past>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Opinion {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    good: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A change of a memory.
#[derive(Debug, Serialize, Deserialize)]
struct Past {
    event: What,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old_memory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_memory: Option<String>,
    said_at: Timestamp,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Updated,
    Superseded,
    Deleted,
}

/// The first line of an export.
pub fn header() -> String {
    json!({ MARK: VERSION }).to_string()
}

/// A memory as a line.
pub fn line(kept: &Kept) -> serde_json::Result<String> {
    let memory = &kept.memory;
    let id = |entity| memory.scope.id(entity).map(str::to_owned);
    let (replaced_at, replaced_by) = memory.superseded.clone().unzip();
    let has_opinion = kept.feedback != Feedback::default();
    let past = kept.history.iter().filter_map(|change| {
        let event = match change.event {
            Event::Added => return None,
            Event::Updated => What::Updated,
            Event::Superseded => What::Superseded,
            Event::Deleted => What::Deleted,
        };
        Some(Past {
            event,
            old_memory: change.old.clone(),
            new_memory: change.new.clone(),
            said_at: time(change.created_at),
            at: time(change.at),
            actor_id: change.actor_id.clone(),
            role: change.role.clone(),
        })
    });
    serde_json::to_string(&Line {
        id: memory.id.clone(),
        memory: memory.text.clone(),
        user_id: id(Entity::User),
        agent_id: id(Entity::Agent),
        app_id: id(Entity::App),
        run_id: id(Entity::Run),
        number: memory.number,
        actor_id: memory.actor_id.clone(),
        role: memory.role.clone(),
        metadata: memory.metadata.clone(),
        categories: memory.categories.clone(),
        expiration_date: memory.expires_on,
        source: memory.source.clone(),
        created_at: time(memory.created_at),
        updated_at: time(memory.updated_at),
        replaced_at: replaced_at.map(time),
        replaced_by,
        feedback: has_opinion
            .then(|| Opinion { good: kept.feedback.good, reason: kept.feedback.reason.clone() }),
        history: past.collect(),
    })
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn read(value: &Value) -> Result<Kept, String> {
    let line = Line::deserialize(value).map_err(|error| error.to_string())?;
    let ids = [
        (Entity::User, line.user_id),
        (Entity::Agent, line.agent_id),
        (Entity::App, line.app_id),
        (Entity::Run, line.run_id),
    ];
    let scope = scope(ids.map(|(entity, id)| (entity, id)))?;
    if scope.is_everything() {
        return Err("it has none of user_id, agent_id, app_id and run_id".into());
    }
    let id = Uuid::parse_str(&line.id).map_err(|_| format!("id {:?} is no UUID", line.id))?;
    if line.memory.trim().is_empty() {
        return Err("memory is empty".into());
    }
    let user_id = scope.id(Entity::User).map(str::to_owned);
    let history = line.history.into_iter().map(|past| Change {
        id: 0,
        memory: id.to_string(),
        event: match past.event {
            What::Updated => Event::Updated,
            What::Superseded => Event::Superseded,
            What::Deleted => Event::Deleted,
        },
        old: past.old_memory,
        new: past.new_memory,
        created_at: past.said_at.as_millisecond(),
        at: past.at.as_millisecond(),
        user_id: user_id.clone(),
        actor_id: past.actor_id,
        role: past.role,
    });
    let replaced_at = line.replaced_at.map(Timestamp::as_millisecond);
    let feedback = line.feedback.map(|it| Feedback { good: it.good, reason: it.reason });
    Ok(Kept {
        history: history.collect(),
        feedback: feedback.unwrap_or_default(),
        memory: MemoryRecord {
            id: id.to_string(),
            number: line.number,
            text: line.memory,
            scope,
            actor_id: line.actor_id,
            role: line.role,
            metadata: line.metadata,
            categories: line.categories,
            expires_on: line.expiration_date,
            source: line.source,
            created_at: line.created_at.as_millisecond(),
            updated_at: line.updated_at.as_millisecond(),
            superseded: replaced_at.zip(line.replaced_by),
        },
    })
}

/// The scope of ids, of which none is empty or has what no id has.
pub(super) fn scope(
    ids: impl IntoIterator<Item = (Entity, Option<String>)>,
) -> Result<Scope, String> {
    ids.into_iter().try_fold(Scope::default(), |scope, (entity, id)| match id {
        Some(id) => scope.with(entity, &id).map_err(|error| error.to_string()),
        None => Ok(scope),
    })
}

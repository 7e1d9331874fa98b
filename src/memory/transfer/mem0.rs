//! What Mem0 returns of its memories, from its server, its platform or its library.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;
use uuid::Uuid;

use super::own::scope;
use super::plain;
use crate::store::{Entity, Kept};

/// The memories of a document: a list, or one inside of `results` or `memories`.
pub(super) fn list(value: &Value) -> Option<Vec<Value>> {
    let list = ["results", "memories"].into_iter().find_map(|name| value.get(name));
    let list = list.unwrap_or(value).as_array()?;
    let is_memory = |it: &Value| text(it).is_some();
    list.iter().all(is_memory).then(|| list.clone())
}

fn text(value: &Value) -> Option<&str> {
    ["memory", "text", "data"].into_iter().find_map(|name| value.get(name)?.as_str())
}

pub(super) fn read(value: &Value, user: Option<&str>, now: i64) -> Result<Kept, String> {
    let text = text(value).map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or("memory is empty")?;
    let id_of = |name: &str| match value.get(name) {
        Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    let user_id = id_of("user_id").or_else(|| user.map(str::to_owned));
    let scope = scope([
        (Entity::User, user_id),
        (Entity::Agent, id_of("agent_id")),
        (Entity::App, id_of("app_id")),
        (Entity::Run, id_of("run_id").or_else(|| id_of("session_id"))),
    ])?;
    if scope.is_everything() {
        return Err("it says of nobody whose it is; give --user".into());
    }
    let created_at = time(value, "created_at").unwrap_or(now);
    let mut kept = plain(scope, text, created_at);
    let memory = &mut kept.memory;
    // Not every store of Mem0 has UUIDs.
    if let Some(id) = value.get("id").and_then(Value::as_str)
        && let Ok(id) = Uuid::parse_str(id)
    {
        memory.id = id.to_string();
    }
    memory.updated_at = time(value, "updated_at").unwrap_or(created_at).max(created_at);
    memory.actor_id = id_of("actor_id");
    memory.role = id_of("role");
    let metadata = value.get("metadata").and_then(Value::as_object);
    memory.metadata = metadata.filter(|it| !it.is_empty()).map(|it| {
        // Whose it is cannot be said there.
        let is_id = |key: &str| key.ends_with("_id") && id_named(key);
        it.iter().filter(|(key, _)| !is_id(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    });
    let categories = value.get("categories").and_then(Value::as_array);
    memory.categories = categories
        .map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let day = value.get("expiration_date").and_then(Value::as_str);
    memory.expires_on = day.and_then(|day| day.get(..10)?.parse::<Date>().ok());
    Ok(kept)
}

fn id_named(key: &str) -> bool {
    ["user_id", "agent_id", "app_id", "run_id", "actor_id"].contains(&key)
}

/// A time as any of Mem0's versions writes it: RFC 3339, or seconds since the Unix epoch.
fn time(value: &Value, name: &str) -> Option<i64> {
    match value.get(name)? {
        Value::String(text) => {
            text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond).or_else(|| {
                let plain = text.parse::<jiff::civil::DateTime>().ok()?;
                let at = plain.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
                Some(at.timestamp().as_millisecond())
            })
        }
        Value::Number(seconds) => Some((seconds.as_f64()? * 1_000.0) as i64),
        _ => None,
    }
}

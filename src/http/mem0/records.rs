//! What is sent: memories, history and the rest in the shapes of either surface.

use jiff::Timestamp;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use crate::memory::MemoryRecord;
use crate::memory::adding::Added;
use crate::store::{Change, Entity, EntitySummary, Event};

/// Who a caller is; every field must be there for one client or another.
pub(super) fn ping() -> Value {
    json!({
        "status": "ok",
        "org_id": "dingbot",
        "project_id": "dingbot",
        "user_email": "dingbot@localhost",
    })
}

/// The only project there is.
pub(super) fn project() -> Value {
    json!({
        "id": "dingbot",
        "name": "dingbot",
        "org_id": "dingbot",
        "project_id": "dingbot",
        "custom_instructions": null,
        "custom_categories": null,
        "retrieval_criteria": null,
        "enable_graph": false,
        "multilingual": true,
        "decay": false,
    })
}

/// A time as Mem0 writes it: UTC, with microseconds and a numeric offset.
pub(super) fn time(millis: i64) -> String {
    let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// The ids that a memory bears.
fn ids(record: &MemoryRecord, into: &mut Map<String, Value>) {
    for entity in Entity::ALL {
        if let Some(id) = record.scope.id(entity) {
            into.insert(format!("{}_id", entity.name()), id.into());
        }
    }
    for (name, value) in [("actor_id", &record.actor_id), ("role", &record.role)] {
        if let Some(value) = value {
            into.insert(name.into(), value.as_str().into());
        }
    }
}

fn hash(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A memory as the platform sends it.
pub(super) fn memory(record: &MemoryRecord, score: Option<f64>) -> Value {
    let mut sent = Map::new();
    sent.insert("id".into(), record.id.as_str().into());
    sent.insert("memory".into(), record.text.as_str().into());
    ids(record, &mut sent);
    sent.insert("metadata".into(), record.metadata.clone().unwrap_or_default().into());
    sent.insert("categories".into(), record.categories.clone().into());
    sent.insert("hash".into(), hash(&record.text).into());
    sent.insert("created_at".into(), time(record.created_at).into());
    sent.insert("updated_at".into(), time(record.updated_at).into());
    sent.insert("expiration_date".into(), record.expires_on.map(|day| day.to_string()).into());
    if let Some((since, by)) = &record.superseded {
        sent.insert("replaced_by".into(), by.as_str().into());
        sent.insert("replaced_at".into(), time(*since).into());
    }
    if let Some(score) = score {
        sent.insert("score".into(), rounded(score));
    }
    sent.into()
}

/// A memory as the open-source server sends it.
pub(super) fn item(record: &MemoryRecord, score: Option<f64>) -> Value {
    let Value::Object(mut sent) = memory(record, score) else { return Value::Null };
    for absent in ["categories", "expiration_date"] {
        if sent.get(absent).is_some_and(|value| value.is_null() || value == &json!([])) {
            sent.remove(absent);
        }
    }
    if record.metadata.is_none() {
        sent.insert("metadata".into(), Value::Null);
    }
    sent.into()
}

/// Four decimals say all there is to say.
fn rounded(score: f64) -> Value {
    ((score * 10_000.0).round() / 10_000.0).into()
}

/// A memory that was added, as the open-source server says it.
pub(super) fn added_item(added: &Added, infer: bool) -> Value {
    let mut sent = json!({"id": added.id, "memory": added.text, "event": "ADD"});
    if !infer && let Some(sent) = sent.as_object_mut() {
        sent.insert("actor_id".into(), added.actor_id.clone().into());
        sent.insert("role".into(), added.role.clone().into());
    }
    sent
}

/// A memory that was added, as the platform says it; some clients read the text at one place, some
/// at the other.
pub(super) fn added(added: &Added) -> Value {
    json!({
        "id": added.id,
        "event": "ADD",
        "memory": added.text,
        "data": {"memory": added.text},
    })
}

fn event(event: Event) -> &'static str {
    match event {
        Event::Added => "ADD",
        Event::Updated | Event::Superseded => "UPDATE",
        Event::Deleted => "DELETE",
    }
}

/// An entry of a memory's history, as either surface sends it.
pub(super) fn change(change: &Change, at_server: bool) -> Value {
    let mut sent = json!({
        "id": format!("{}:{}", change.memory, change.id),
        "memory_id": change.memory,
        "old_memory": change.old,
        "new_memory": change.new,
        "event": event(change.event),
        "created_at": time(if at_server { change.created_at } else { change.at }),
        "updated_at": time(change.at),
    });
    let Some(fields) = sent.as_object_mut() else { return sent };
    if at_server {
        fields.insert("is_deleted".into(), (change.event == Event::Deleted).into());
        fields.insert("actor_id".into(), change.actor_id.clone().into());
        fields.insert("role".into(), change.role.clone().into());
    } else {
        fields.insert("input".into(), json!([]));
        fields.insert("user_id".into(), change.user_id.clone().into());
        fields.insert("categories".into(), json!([]));
        fields.insert("metadata".into(), json!({}));
    }
    sent
}

/// An entity, as the platform sends it.
pub(super) fn entity(summary: &EntitySummary) -> Value {
    json!({
        "id": summary.id,
        "name": summary.id,
        "type": summary.entity.name(),
        "total_memories": summary.memories,
        "created_at": time(summary.created_at),
        "updated_at": time(summary.updated_at),
        "owner": "dingbot",
        "organization": "dingbot",
        "metadata": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Scope;

    fn record() -> MemoryRecord {
        MemoryRecord {
            id: "0199".into(),
            number: 1,
            text: "我喜欢喝茶".into(),
            scope: Scope::user("ann").unwrap(),
            actor_id: None,
            role: Some("user".into()),
            metadata: None,
            categories: Vec::new(),
            expires_on: None,
            source: None,
            created_at: 1_790_000_000_123,
            updated_at: 1_790_000_000_123,
            superseded: None,
        }
    }

    #[test]
    fn a_memory_has_the_fields_that_clients_read() {
        let platform = memory(&record(), Some(0.123_456));
        assert_eq!(platform["metadata"], json!({}));
        assert_eq!(platform["categories"], json!([]));
        assert_eq!(platform["score"], 0.1235);
        assert_eq!(platform["created_at"], "2026-09-21T14:13:20.123000+00:00");
        let server = item(&record(), None);
        assert_eq!(server["metadata"], Value::Null);
        assert!(server.get("categories").is_none() && server.get("agent_id").is_none());
        assert_eq!(server["user_id"], "ann");
    }

    #[test]
    fn a_hash_is_the_md5_of_the_text() {
        // RFC 1321, A.5.
        assert_eq!(hash("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    }
}

//! Memories added: messages in, memories out.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::fields::Fields;
use super::{Answer, Call, MemoryApi, ok, records};
use crate::memory::MAX_STATEMENT_CHARS;
use crate::memory::adding::{Added, Addition, Said};
use crate::memory::learning::Learnt;
use crate::store::{Entity, Scope};

/// Most messages of one request.
const MAX_MESSAGES: usize = 1_000;
/// Why nothing was kept, in a sentence.
const NOTHING: &str = "Nothing in these messages states something to be remembered; send \
                       \"infer\": false to keep them word for word.";

/// How long a caller that wants the memories waits for the model.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is said of an addition that is not over.
const LATER: &str = "The messages are kept; the event tells when they are made into memories.";

/// An addition, with whose it is.
struct Asked {
    scope: Scope,
    addition: Addition,
    infer: bool,
}

impl MemoryApi {
    /// `POST /memories`
    pub(super) async fn add_at_server(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        for entity in Entity::ALL {
            let name = format!("{}_id", entity.name());
            let id = fields.id(&name)?.unwrap_or_default();
            if id.contains(char::is_whitespace) {
                return Err(Refusal::bad_request(format!(
                    "Invalid {name}: cannot contain whitespace. Provide a valid identifier without \
                     spaces."
                )));
            }
        }
        let asked = self.asked(&fields)?;
        let infer = asked.infer;
        let added = match self.memory.learn(&asked.scope, asked.addition, PATIENCE).await? {
            Learnt::Now(added) => added,
            Learnt::Later(event) => {
                return ok(json!({"results": [], "message": LATER, "event_id": event}));
            }
        };
        let items: Vec<Value> = added.iter().map(|it| records::added_item(it, infer)).collect();
        ok(with_reason(json!({ "results": items }), &added))
    }

    /// `POST /v1/memories/`
    pub(super) async fn add_v1(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let asked = self.asked(&fields)?;
        let patience = match fields.flag("async_mode")? {
            Some(true) => Duration::ZERO,
            _ => PATIENCE,
        };
        let wrapped = fields.text("output_format")? == Some("v1.1");
        let added = match self.memory.learn(&asked.scope, asked.addition, patience).await? {
            Learnt::Now(added) => added,
            Learnt::Later(event) => {
                let items = json!([pending(&event)]);
                return ok(if wrapped { json!({ "results": items }) } else { items });
            }
        };
        let items: Vec<Value> = added.iter().map(records::added).collect();
        if wrapped {
            return ok(with_reason(json!({ "results": items }), &added));
        }
        ok(items.into())
    }

    /// `POST /v3/memories/add/`
    pub(super) async fn add_v3(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let asked = self.asked(&fields)?;
        let patience = match fields.flag("async_mode")? {
            Some(false) => PATIENCE,
            _ => Duration::ZERO,
        };
        let added = match self.memory.learn(&asked.scope, asked.addition, patience).await? {
            Learnt::Now(added) => added,
            Learnt::Later(event) => return ok(pending(&event)),
        };
        let event = self.memory.note(&asked.scope, &added).await?;
        let items: Vec<Value> = added.iter().map(records::added).collect();
        let answer = json!({
            "message": "The memories have been added.",
            "status": "SUCCEEDED",
            "event_id": event,
            "results": items,
        });
        ok(with_reason(answer, &added))
    }

    fn asked(&self, fields: &Fields) -> Result<Asked, Refusal> {
        let (scope, any) = fields.scope()?;
        if scope.is_everything() || !any.is_empty() {
            return Err(Refusal::bad_request(
                "At least one identifier (user_id, agent_id, run_id) is required.",
            ));
        }
        if let Some(kind) = fields.text("memory_type")? {
            let known = kind == "procedural_memory";
            let sentence = "Procedural memories are not supported; leave memory_type out.";
            return Err(if known {
                Refusal::unsupported(sentence)
            } else {
                Refusal::bad_request(format!("Invalid memory_type {kind:?}; leave it out."))
            });
        }
        let Some(messages) = fields.value("messages") else {
            return Err(Refusal::unprocessable("messages", "Field required"));
        };
        let infer = fields.flag("infer")?.unwrap_or(true);
        let now = self.clock.now_millis();
        let addition = Addition {
            messages: messages_of(messages)?,
            metadata: fields.object("metadata")?.map(without_ids),
            expires_on: fields.date("expiration_date")?.flatten(),
            infer,
            said_at: fields.millis("timestamp", self.memory.zone())?.unwrap_or(now),
        };
        Ok(Asked { scope, addition, infer })
    }
}

/// The answer while the model has not.
fn pending(event: &str) -> Value {
    json!({"message": LATER, "status": "PENDING", "event_id": event})
}

/// Metadata can never say whose a memory is.
pub(super) fn without_ids(metadata: &Map<String, Value>) -> Map<String, Value> {
    let is_id =
        |key: &str| matches!(key, "user_id" | "agent_id" | "app_id" | "run_id" | "actor_id");
    metadata
        .iter()
        .filter(|(key, _)| !is_id(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn with_reason(mut answer: Value, added: &[Added]) -> Value {
    if added.is_empty()
        && let Some(fields) = answer.as_object_mut()
    {
        fields.insert("message".into(), NOTHING.into());
    }
    answer
}

/// Messages as clients write them: a list, one alone, or its text.
fn messages_of(value: &Value) -> Result<Vec<Said>, Refusal> {
    let messages = match value {
        Value::Array(messages) => messages.as_slice(),
        one => std::slice::from_ref(one),
    };
    if messages.len() > MAX_MESSAGES {
        return Err(Refusal::unprocessable(
            "messages",
            &format!("List should have at most {MAX_MESSAGES} items"),
        ));
    }
    messages.iter().map(message_of).collect()
}

fn message_of(message: &Value) -> Result<Said, Refusal> {
    let wrong = |what: &str| Refusal::unprocessable("messages", what);
    let said = match message {
        Value::String(text) => Said { role: "user".into(), text: text.clone(), name: None },
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
            let content = fields.get("content").unwrap_or(&Value::Null);
            Said {
                role: text("role").unwrap_or_else(|| "user".into()),
                text: content_of(content)
                    .ok_or_else(|| wrong("Each message needs a `content` that is text"))?,
                name: text("name").filter(|name| !name.trim().is_empty()),
            }
        }
        _ => return Err(wrong("Each message should be an object with `role` and `content`")),
    };
    // What is cut would be lost without a word.
    if said.text.trim().chars().count() > MAX_STATEMENT_CHARS {
        return Err(wrong(&format!(
            "Each message should have at most {MAX_STATEMENT_CHARS} characters; send it in parts"
        )));
    }
    Ok(said)
}

/// The text of a content; of one in parts, those that are text.
fn content_of(content: &Value) -> Option<String> {
    let part_of = |part: &Value| match part {
        Value::String(text) => Some(text.clone()),
        Value::Object(part) => part.get("text").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            Some(parts.iter().filter_map(part_of).collect::<Vec<_>>().join("\n"))
        }
        part @ Value::Object(_) => part_of(part),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: Value) -> Vec<String> {
        messages_of(&value).unwrap().into_iter().map(|said| said.text).collect()
    }

    #[test]
    fn messages_come_in_several_forms() {
        assert_eq!(texts(json!("a")), ["a"]);
        assert_eq!(texts(json!({"role": "user", "content": "a"})), ["a"]);
        assert_eq!(texts(json!(["a", {"content": "b"}])), ["a", "b"]);
        let parts = json!([{"type": "text", "text": "a"}, {"type": "image_url"}, "b"]);
        assert_eq!(texts(json!([{"role": "user", "content": parts}])), ["a\nb"]);
        let named = messages_of(&json!([{"role": "user", "content": "a", "name": "bob"}])).unwrap();
        assert_eq!(named[0].name.as_deref(), Some("bob"));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for wrong in [json!([1]), json!([{"role": "user"}]), json!([{"content": 1}])] {
            assert!(messages_of(&wrong).is_err(), "{wrong}");
        }
        assert!(messages_of(&json!("x".repeat(MAX_STATEMENT_CHARS + 1))).is_err());
    }

    #[test]
    fn metadata_cannot_say_whose_it_is() {
        let metadata = json!({"user_id": "eve", "actor_id": "eve", "topic": "tea"});
        let kept = without_ids(metadata.as_object().unwrap());
        assert_eq!(Value::from(kept), json!({"topic": "tea"}));
    }
}

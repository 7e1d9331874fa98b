//! What the service before kept: a file of messages, one a line (`user_id`, `content`, and
//! `timestamp` in seconds), and a file of facts, an object of lists by user.

use serde_json::{Value, json};

use super::{Entry, plain};
use crate::memory::statements;
use crate::store::{Kept, Scope};

/// A message, where it states something.
pub(super) fn message(value: &Value) -> Entry {
    let scope = owner(value)?;
    let content = value.get("content").and_then(Value::as_str).ok_or("content is no text")?;
    let seconds = value.get("timestamp").and_then(Value::as_f64).ok_or("timestamp is no number")?;
    let statement = statements::of(content);
    Ok(statement.map(|text| plain(scope, &text, (seconds * 1_000.0) as i64)))
}

/// The facts of a document, each with whose it is.
pub(super) fn facts(value: &Value) -> Option<Vec<Value>> {
    let people = value.as_object().filter(|people| !people.is_empty())?;
    let mut all = Vec::new();
    for (user, facts) in people {
        for fact in facts.as_array()? {
            all.push(json!({"user_id": user, "fact": fact}));
        }
    }
    Some(all)
}

/// A fact: an object with a text of that name, or the text alone.
pub(super) fn fact(value: &Value, now: i64) -> Result<Kept, String> {
    let scope = owner(value)?;
    let fact = &value["fact"];
    let text = fact.as_str().or_else(|| fact.get("fact")?.as_str()).map(str::trim);
    let text = text.filter(|text| !text.is_empty()).ok_or("it has no text")?;
    // The file has no times; the same fact is to be one memory whenever it is brought in.
    let mut kept = plain(scope, text, 0);
    kept.memory.created_at = now;
    kept.memory.updated_at = now;
    Ok(kept)
}

fn owner(value: &Value) -> Result<Scope, String> {
    let user = value.get("user_id").and_then(Value::as_str).unwrap_or_default();
    Scope::user(user).ok_or_else(|| "user_id is empty".to_owned())
}

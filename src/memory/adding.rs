//! What callers of the API give to memory: messages, with whose they are.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{MAX_STATEMENT_CHARS, Memory, likeness, new, statements};
use crate::store::{JobEnd, NewJob, NewMemory, Result, Scope};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who said it: `user`, `assistant` or `system`.
    pub role: String,
    /// What.
    pub text: String,
    /// Who in a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What is to be remembered of a conversation.
#[derive(Debug, Clone, Default)]
pub struct Addition {
    /// What was said, oldest first.
    pub messages: Vec<Said>,
    /// What the caller wants kept with each memory.
    pub metadata: Option<Map<String, Value>>,
    /// The last day on which they hold.
    pub expires_on: Option<Date>,
    /// Whether only what is worth keeping is kept; else every message is, word for word.
    pub infer: bool,
    /// When it was said.
    pub said_at: i64,
}

/// A memory that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its UUID.
    pub id: String,
    /// Its text.
    pub text: String,
    /// The role it was said in.
    pub role: Option<String>,
    /// Who said it.
    pub actor_id: Option<String>,
}

impl Memory {
    /// Keeps what is to be remembered. It is on disk when this returns.
    pub async fn take(&self, scope: &Scope, addition: Addition) -> Result<Vec<Added>> {
        let started = std::time::Instant::now();
        let infer = addition.infer;
        let mut memories: Vec<NewMemory> = Vec::new();
        for memory in made_of(addition) {
            let is_known = infer
                && (memories.iter().any(|it| likeness::is_same(&it.text, &memory.text))
                    || self.knows(scope, &memory.text).await?);
            if !is_known {
                memories.push(memory);
            }
        }
        let added = memories.iter().map(Added::from).collect();
        let kept =
            if memories.is_empty() { Ok(Vec::new()) } else { self.add(scope, memories).await };
        self.metrics.memory_operation("add", kept.is_ok(), started);
        kept.map(|_| added)
    }

    /// Notes what came of an addition, for who asks for it later by the UUID that this returns.
    pub async fn note(&self, scope: &Scope, added: &[Added]) -> Result<String> {
        let id = Uuid::now_v7().to_string();
        let now = self.clock.now_millis();
        let payload = scope_as_json(scope);
        let end = JobEnd {
            succeeded: true,
            payload: payload.clone(),
            results: Some(as_json(added)),
            error: None,
            at: now,
        };
        let job = NewJob { id, source: None, payload, created_at: now, end: Some(end) };
        self.store.add_job(scope, job).await
    }
}

impl From<&NewMemory> for Added {
    fn from(memory: &NewMemory) -> Self {
        Self {
            id: memory.id.clone(),
            text: memory.text.clone(),
            role: memory.role.clone(),
            actor_id: memory.actor_id.clone(),
        }
    }
}

/// What came of an addition, as it is noted.
fn as_json(added: &[Added]) -> String {
    let results = added.iter().map(|it| {
        json!({
            "id": it.id,
            "event": "ADD",
            "data": {"memory": it.text},
            "role": it.role,
            "actor_id": it.actor_id,
        })
    });
    results.collect::<Value>().to_string()
}

/// The same, of memories that are about to be kept.
pub(super) fn added_as_json(made: &[NewMemory]) -> String {
    as_json(&made.iter().map(Added::from).collect::<Vec<_>>())
}

/// What stays of a payload once its work is done: whose it was.
pub(super) fn scope_as_json(scope: &Scope) -> String {
    json!({"scope": scope.to_string()}).to_string()
}

/// The memories that an addition makes.
fn made_of(addition: Addition) -> Vec<NewMemory> {
    let Addition { messages, metadata, expires_on, infer, said_at } = addition;
    let kept = messages.into_iter().filter_map(|said| {
        let text = match (infer, said.role.as_str()) {
            (_, "system") => None,
            (false, _) => Some(said.text.trim().to_owned()),
            // Not the bot's own claims about the person.
            (true, "assistant") => None,
            (true, _) => statements::of(&said.text),
        };
        let text = text.filter(|text| !text.is_empty())?;
        let text: String = text.chars().take(MAX_STATEMENT_CHARS).collect();
        Some(NewMemory {
            role: Some(said.role),
            metadata: metadata.clone(),
            expires_on,
            created_at: said_at,
            ..new(&text, said.name)
        })
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(role: &str, text: &str) -> Said {
        Said { role: role.into(), text: text.into(), name: None }
    }

    #[test]
    fn word_for_word_is_everything_but_the_instructions() {
        let messages = vec![
            said("system", "be brief"),
            said("user", "你好"),
            said("assistant", "您好！"),
            said("user", " "),
        ];
        let made = made_of(Addition { messages: messages.clone(), ..Addition::default() });
        let texts: Vec<_> = made.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(texts, ["你好", "您好！"]);
        assert_eq!(made_of(Addition { messages, infer: true, ..Addition::default() }).len(), 0);
    }

    #[test]
    fn of_several_speakers_each_is_known() {
        let ann = Said { name: Some("ann".into()), ..said("user", "我对花生过敏") };
        let addition = Addition {
            messages: vec![ann, said("assistant", "你喜欢花生吧")],
            infer: true,
            ..Addition::default()
        };
        let made = made_of(addition);
        assert_eq!(made.len(), 1, "the bot's claims are none of the person's");
        assert_eq!(made[0].actor_id.as_deref(), Some("ann"));
        assert_eq!(made[0].role.as_deref(), Some("user"));
    }
}

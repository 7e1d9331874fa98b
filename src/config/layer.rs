//! One layer of the configuration: checked values, each with its origin.

use serde_json::Value;

use super::keys;
use super::problem::{Origin, Problem};

/// One setting as a layer has it. It has no `Debug`: the value may be a secret.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What one source says: values that are right in themselves, and what was wrong.
#[derive(Default)]
pub(super) struct Layer {
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Layer {
    /// Adds a value that has a type, as a file gives it. `key` must be a known one.
    pub(super) fn add(&mut self, key: &str, value: Value, origin: Origin) {
        let value = listed(key, value);
        if keys::accepts(key, &value) {
            self.entries.push(Entry { key: key.to_owned(), value, origin });
        } else {
            self.wrong(&origin, key, unexpected(key));
        }
    }

    /// Adds a value that is a text, as variables, credentials and options give it: a number,
    /// `true`, `false`, `1` or `0` for a switch, and a list with commas between its parts.
    pub(super) fn add_text(&mut self, key: &str, text: &str, origin: Origin) {
        match typed(key, text) {
            Some(value) => self.add(key, value, origin),
            None => self.wrong(&origin, key, unexpected(key)),
        }
    }

    /// Records an error about a key.
    pub(super) fn wrong(&mut self, origin: &Origin, key: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(origin, Some(key), message));
    }

    /// Records a warning about the source itself.
    pub(super) fn warn(&mut self, origin: &Origin, message: impl Into<String>) {
        self.warnings.push(Problem::new(origin, None, message));
    }
}

/// The message for a value of the wrong kind. It does not repeat the value: even a setting that is
/// no secret may hold one that was pasted into the wrong line.
fn unexpected(key: &str) -> String {
    format!("expected {}", keys::form(key))
}

/// A single text where a list belongs becomes a list of one.
pub(super) fn listed(key: &str, value: Value) -> Value {
    match (keys::default_of(key), &value) {
        (Some(Value::Array(_)), Value::String(_)) => Value::Array(vec![value]),
        _ => value,
    }
}

/// A text as a value of the type that the key has.
fn typed(key: &str, text: &str) -> Option<Value> {
    Some(match keys::default_of(key)? {
        Value::Number(_) => Value::from(text.trim().parse::<u64>().ok()?),
        Value::Bool(_) => Value::from(switch(text)?),
        Value::Array(_) => text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect(),
        _ => Value::from(text),
    })
}

/// `1` or `true`, `0` or `false`.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(key: &str, text: &str) -> Option<Value> {
        let mut layer = Layer::default();
        layer.add_text(key, text, Origin::new("here"));
        assert_eq!(layer.entries.len() + layer.problems.len(), 1, "kept or refused");
        layer.entries.pop().map(|entry| entry.value)
    }

    #[test]
    fn texts_become_the_type_of_their_key() {
        assert_eq!(one("server.max_connections", "12"), Some(json!(12)));
        assert_eq!(one("dingtalk.allow_unsigned", "TRUE"), Some(json!(true)));
        assert_eq!(one("dingtalk.allow_unsigned", "0"), Some(json!(false)));
        assert_eq!(one("llm.timeout", "1m 30s"), Some(json!("1m 30s")));
        let listed = json!(["[::]:80", "127.0.0.1:81"]);
        assert_eq!(one("server.listen", "[::]:80, 127.0.0.1:81,"), Some(listed));
        assert_eq!(one("llm.api_key", "007"), Some(json!("007")), "no number is made of a key");
    }

    #[test]
    fn texts_of_another_type_are_refused() {
        for (key, text) in [
            ("server.max_connections", "yes"),
            ("server.max_connections", "1.5"),
            ("server.max_connections", "-1"),
            ("dingtalk.allow_unsigned", "maybe"),
            ("llm.timeout", "30"),
            ("server.listen", "8080"),
            ("server.metrics_allow", "10.0.0.0/8, here"),
            ("llm.provider", "azure"),
            ("llm.base_url", "api.openai.com"),
        ] {
            assert_eq!(one(key, text), None, "{key} = {text}");
        }
    }
}

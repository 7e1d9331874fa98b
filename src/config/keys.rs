//! The known keys, their types and their defaults, all taken from [`Settings`] itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::settings::{GroupRobot, Settings};

/// The one setting that is a list of tables: its keys are
/// `dingtalk.group_robots.NAME.access_token` and so on.
pub(super) const GROUP_ROBOTS: &str = "dingtalk.group_robots";
/// The settable fields of a group robot beside its name.
pub(super) const ROBOT_FIELDS: [&str; 4] =
    ["access_token", "mention_all", "mention_mobiles", "secret"];
/// Those of them whose value is a secret.
pub(super) const ROBOT_SECRETS: [&str; 2] = ["access_token", "secret"];

/// Keys whose value is a secret, beside the fields of group robots.
const SECRETS: [&str; 4] =
    ["dingtalk.client_secret", "llm.api_key", "llm.embedding.api_key", "server.api_keys"];

static DEFAULTS: LazyLock<BTreeMap<String, Value>> =
    LazyLock::new(|| flatten(&Settings::default()));
static ROBOT_DEFAULTS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::to_value(GroupRobot::default()).expect("settings are plain data with text keys")
});

/// Every setting but the group robots, with its value in `settings`; secrets are masked.
pub(super) fn flatten(settings: &Settings) -> BTreeMap<String, Value> {
    fn walk(path: &str, value: Value, flat: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(table) => {
                for (name, value) in table {
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    walk(&path, value, flat);
                }
            }
            value => {
                flat.insert(path.to_owned(), value);
            }
        }
    }
    let tree = serde_json::to_value(settings).expect("settings are plain data with text keys");
    let mut flat = BTreeMap::new();
    walk("", tree, &mut flat);
    flat.remove(GROUP_ROBOTS);
    flat
}

/// All keys but those of group robots, in alphabetical order.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    DEFAULTS.keys().map(String::as_str)
}

/// The default of a key; `None` when there is no such key.
pub(super) fn default_of(key: &str) -> Option<&'static Value> {
    match robot_field(key) {
        Some((_, field)) => ROBOT_DEFAULTS.get(field),
        None => DEFAULTS.get(key),
    }
}

/// Whether `path` is a section: some key lies below it.
pub(super) fn is_section(path: &str) -> bool {
    all().any(|key| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Whether the value of a key must not be shown.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
        || robot_field(key).is_some_and(|(_, field)| ROBOT_SECRETS.contains(&field))
}

/// The key of a group robot's field.
pub(super) fn robot_key(name: &str, field: &str) -> String {
    format!("{GROUP_ROBOTS}.{name}.{field}")
}

/// The group robot and the field that a key means.
pub(super) fn robot_field(key: &str) -> Option<(&str, &str)> {
    let (name, field) = key.strip_prefix(GROUP_ROBOTS)?.strip_prefix('.')?.split_once('.')?;
    let known = field == "name" || ROBOT_FIELDS.contains(&field);
    (known && is_robot_name(name)).then_some((name, field))
}

/// Whether a group robot may be called `name`: a letter, then letters, digits, `_` and `-`, so
/// that it fits in a key, a variable, a file name and a metric label.
pub(super) fn is_robot_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// A robot's name as it is compared: a variable can say neither lower case nor `-`.
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// Whether serde takes `value` for `key`, tried alone.
pub(super) fn accepts(key: &str, value: &Value) -> bool {
    if let Some((_, field)) = robot_field(key) {
        return serde_json::from_value::<GroupRobot>(json!({ field: value })).is_ok();
    }
    let mut tree = Map::new();
    put(&mut tree, key, value.clone());
    serde_json::from_value::<Settings>(Value::Object(tree)).is_ok()
}

/// Puts a value into a tree of tables at its dotted key.
fn put(tree: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            tree.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let below = tree.entry(section).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(below) = below {
                put(below, rest, value);
            }
        }
    }
}

/// The known key most like an unknown one. The last part counts as much as the whole, so that a
/// key in the wrong section is recognized, and by its pairs of letters, so that a shared word
/// (`app_secret`, `client_secret`) outweighs a shared beginning.
pub(super) fn nearest(key: &str) -> &'static str {
    fn last(key: &str) -> &str {
        key.rsplit('.').next().unwrap_or(key)
    }
    let likeness = |known: &str| {
        strsim::jaro_winkler(key, known)
            + strsim::jaro_winkler(last(key), last(known))
            + strsim::sorensen_dice(last(key), last(known))
    };
    all().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

/// The known section most like an unknown one.
pub(super) fn nearest_section(path: &str) -> &'static str {
    all()
        .filter_map(|key| key.rsplit_once('.').map(|(section, _)| section))
        .chain([GROUP_ROBOTS])
        .max_by(|a, b| strsim::jaro_winkler(path, a).total_cmp(&strsim::jaro_winkler(path, b)))
        .unwrap_or_default()
}

/// What a value must look like; `Display` completes the sentence "expected …".
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// A description, and valid literals.
    Like(&'static str, &'static [&'static str]),
    /// All valid literals.
    OneOf(&'static [&'static str]),
}

/// What the value of a known key must look like.
pub(super) fn form(key: &str) -> Form {
    if let Some((_, "mention_mobiles")) = robot_field(key) {
        return Form::Like(
            "a list of mobile numbers in quotes",
            &[r#"["13800000000", "+852-12345678"]"#],
        );
    }
    match key {
        "server.listen" => Form::Like(
            "a list of addresses with a port",
            &[r#"["[::]:8080"]"#, r#""127.0.0.1:80""#],
        ),
        "server.metrics_allow" | "server.trusted_proxies" => {
            Form::Like("a list of networks", &[r#"["10.0.0.0/8", "127.0.0.1/32"]"#])
        }
        "server.header_timeout" | "server.drain_timeout" | "llm.timeout" => {
            Form::Like("a duration with its unit", &[r#""10s""#, r#""5m""#])
        }
        "dingtalk.api_base" | "dingtalk.oapi_base" | "llm.base_url" => {
            Form::Like("an address", &[r#""https://api.example.com/v1""#])
        }
        "llm.provider" => Form::OneOf(&[r#""openai""#, r#""offline""#]),
        "memory.extract" => Form::OneOf(&[r#""auto""#, r#""model""#, r#""verbatim""#, r#""off""#]),
        "log.format" => Form::OneOf(&[r#""auto""#, r#""journald""#, r#""text""#, r#""json""#]),
        _ => match default_of(key) {
            Some(Value::Number(_)) => {
                Form::Like("a whole number, in a file without quotes", &["100"])
            }
            Some(Value::Bool(_)) => Form::OneOf(&["true", "false"]),
            Some(Value::Array(_)) => Form::Like("a list of texts in quotes", &[r#"["a", "b"]"#]),
            _ => Form::Like("a text in quotes", &[r#""text""#]),
        },
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Like(what, literals) => write!(f, "{what}, such as {}", literals.join(" or ")),
            Self::OneOf(literals) => f.write_str(&literals.join(" or ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text setting takes a probe, and what comes back shows whether its type hides it.
    #[test]
    fn the_secrets_are_those_whose_type_hides_them() {
        for key in all() {
            let probe = match default_of(key) {
                Some(Value::Array(_)) => json!(["probe"]),
                _ => json!("probe"),
            };
            let mut tree = Map::new();
            put(&mut tree, key, probe);
            let Ok(settings) = serde_json::from_value::<Settings>(Value::Object(tree)) else {
                assert!(!is_secret(key), "{key} takes no text and cannot be a secret");
                continue;
            };
            let hidden = !flatten(&settings)[key].to_string().contains("probe");
            assert_eq!(hidden, is_secret(key), "{key}");
        }
    }

    #[test]
    fn the_fields_of_group_robots_are_those_of_their_type() {
        let robot = serde_json::to_value(GroupRobot::default()).expect("plain data");
        let fields: Vec<&str> =
            robot.as_object().expect("a table").keys().map(String::as_str).collect();
        assert_eq!(fields, ["access_token", "mention_all", "mention_mobiles", "name", "secret"]);
        for field in ROBOT_FIELDS {
            assert_eq!(default_of(&robot_key("ops", field)), Some(&robot[field]));
            let probe = match &robot[field] {
                Value::Bool(_) => continue,
                Value::Array(_) => json!(["probe"]),
                _ => json!("probe"),
            };
            let set: GroupRobot = serde_json::from_value(json!({ field: probe })).expect("a text");
            let hidden = !serde_json::to_string(&set).expect("plain data").contains("probe");
            assert_eq!(hidden, is_secret(&robot_key("ops", field)), "{field}");
        }
    }

    #[test]
    fn every_form_shows_values_that_are_accepted() {
        for key in all() {
            let (Form::Like(_, literals) | Form::OneOf(literals)) = form(key);
            for literal in literals {
                let value: Value = serde_json::from_str(literal).expect("also a JSON literal");
                let value = super::super::layer::listed(key, value);
                assert!(accepts(key, &value), "{key} does not take {literal}");
            }
        }
    }

    #[test]
    fn a_wrong_key_leads_to_the_one_that_was_meant() {
        for (wrong, meant) in [
            ("llm.modle", "llm.model"),
            ("server.max_connection", "server.max_connections"),
            ("llm.listen", "server.listen"),
            ("dingtalk.app_secret", "dingtalk.client_secret"),
            ("loglevel", "log.level"),
            ("memory.timezone", "memory.time_zone"),
            ("llm.key", "llm.api_key"),
        ] {
            assert_eq!(nearest(wrong), meant, "{wrong}");
        }
        assert_eq!(nearest_section("sever"), "server");
        assert_eq!(nearest_section("dingtalk.group_robot"), GROUP_ROBOTS);
    }

    #[test]
    fn sections_are_not_keys() {
        assert!(is_section("llm") && is_section("llm.embedding"));
        assert!(!is_section("llm.model") && !is_section("ll"));
        assert!(default_of("llm").is_none() && default_of("llm.model").is_some());
    }
}

//! The layers laid one over another.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::{self, GROUP_ROBOTS};
use super::layer::Entry;
use super::problem::Origin;
use super::settings::Settings;

/// The settings so far: for each key what the latest layer said. It has no `Debug`: values may be
/// secrets.
#[derive(Default)]
pub(super) struct Merged {
    entries: BTreeMap<String, Entry>,
}

impl Merged {
    /// Lays entries over what is there. Group robots are merged field by field, by name; the first
    /// spelling of a name stays, since a variable can say it only in capitals.
    pub(super) fn lay(&mut self, entries: Vec<Entry>) {
        for mut entry in entries {
            if let Some((name, field)) = keys::robot_field(&entry.key) {
                let known =
                    self.robots().into_keys().find(|it| keys::folded(it) == keys::folded(name));
                if let Some(known) = known {
                    entry.key = keys::robot_key(&known, field);
                }
            }
            self.entries.insert(entry.key.clone(), entry);
        }
    }

    /// The value of a key, its default when no layer has it.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).map(|entry| &entry.value).or_else(|| keys::default_of(key))
    }

    /// Where the value of a key came from; of a group robot without that field, where the robot
    /// did.
    pub(super) fn origin(&self, key: &str) -> Origin {
        let of_robot = || {
            let (name, _) = keys::robot_field(key)?;
            let of = |field: &str| self.entries.get(&keys::robot_key(name, field));
            of("name").or_else(|| keys::ROBOT_FIELDS.iter().find_map(|field| of(field)))
        };
        let entry = self.entries.get(key).or_else(of_robot);
        entry.map_or_else(|| Origin::new("default"), |entry| entry.origin.clone())
    }

    /// Whether any layer has the key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The settings themselves. Every value was tried alone, so together they cannot fail.
    pub(super) fn settings(&self) -> Result<Settings, config::ConfigError> {
        let mut builder = config::Config::builder();
        for (key, entry) in &self.entries {
            if keys::robot_field(key).is_none() {
                builder = builder.set_override(key, loose(&entry.value)?)?;
            }
        }
        let robots: Vec<Value> = self.robots().into_values().map(Value::Object).collect();
        builder = builder.set_override(GROUP_ROBOTS, loose(&robots.into())?)?;
        builder.build()?.try_deserialize()
    }

    fn robots(&self) -> BTreeMap<String, Map<String, Value>> {
        let mut robots: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for (key, entry) in &self.entries {
            if let Some((name, field)) = keys::robot_field(key) {
                let robot = robots.entry(name.to_owned()).or_default();
                robot.insert("name".into(), name.into());
                if field != "name" {
                    robot.insert(field.to_owned(), entry.value.clone());
                }
            }
        }
        robots
    }
}

/// A value as the `config` crate has it. That crate is lenient: it reads `"5"` as a number. The
/// values were checked strictly when they came in, layer by layer.
fn loose(value: &Value) -> Result<config::Value, config::ConfigError> {
    config::Value::deserialize(value).map_err(|e| config::ConfigError::Foreign(Box::new(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str, place: &str) -> Entry {
        Entry { key: key.into(), value: value.into(), origin: Origin::new(place) }
    }

    #[test]
    fn the_later_layer_wins_key_by_key() {
        let mut merged = Merged::default();
        merged.lay(vec![entry("llm.model", "a", "one"), entry("log.level", "debug", "one")]);
        merged.lay(vec![entry("llm.model", "b", "two")]);
        let settings = merged.settings().expect("valid values");
        assert_eq!((settings.llm.model.as_str(), settings.log.level.as_str()), ("b", "debug"));
        assert_eq!(merged.origin("llm.model").to_string(), "two");
        assert_eq!(merged.origin("log.level").to_string(), "one");
        assert_eq!(merged.origin("log.format").to_string(), "default");
    }

    #[test]
    fn group_robots_are_one_by_name_whatever_its_spelling() {
        let mut merged = Merged::default();
        merged.lay(vec![
            entry("dingtalk.group_robots.Ops-Team.name", "Ops-Team", "file"),
            entry("dingtalk.group_robots.Ops-Team.access_token", "old", "file"),
        ]);
        merged.lay(vec![
            entry("dingtalk.group_robots.ops_team.access_token", "new", "variable"),
            entry("dingtalk.group_robots.other.access_token", "t", "variable"),
        ]);
        let robots = merged.settings().expect("valid values").dingtalk.group_robots;
        let names: Vec<(&str, &str)> =
            robots.iter().map(|it| (it.name.as_str(), it.access_token.expose())).collect();
        assert_eq!(names, [("Ops-Team", "new"), ("other", "t")]);
        let secret = keys::robot_key("Ops-Team", "secret");
        assert_eq!(merged.origin(&secret).to_string(), "file", "the robot's own place");
    }
}

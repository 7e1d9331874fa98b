//! All layers together: the settings, or everything that is wrong with them.

use serde_json::Value;

use super::keys::{self, GROUP_ROBOTS};
use super::layer::Layer;
use super::merge::Merged;
use super::problem::{Origin, Problem};
use super::secret::MASK;
use super::settings::Settings;
use super::sources::Sources;
use super::{credentials, environment, file, short_names, validate};

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The same one by one, each with its origin, in alphabetical order.
    pub effective: Vec<Effective>,
    /// What is allowed but hardly meant.
    pub warnings: Vec<Problem>,
}

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// `section.key`; of a group robot `dingtalk.group_robots.NAME.secret`.
    pub key: String,
    /// `***` for a secret that is set, else a TOML literal.
    pub value: String,
    /// `default`, `/etc/dingbot/dingbot.toml:12`, `environment OPENAI_API_KEY`,
    /// `credential llm-api_key`, `--listen`.
    pub origin: String,
}

/// Reads and validates the whole configuration.
///
/// The error holds every problem of every layer, and it is never empty.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Problem>> {
    let mut reading = Reading::default();
    for layer in file::read(sources) {
        reading.take(layer);
    }
    if let Some(directory) = &sources.credentials {
        reading.take(credentials::read(directory));
    }
    reading.take(environment::read(&sources.environment));
    reading.take(short_names::read(&sources.environment, &reading.merged));
    reading.take(overrides(&sources.overrides));
    reading.finish()
}

fn overrides(options: &[(String, String, String)]) -> Layer {
    let mut layer = Layer::default();
    for (key, value, origin) in options {
        layer.add_text(key, value, Origin::new(origin));
    }
    layer
}

#[derive(Default)]
struct Reading {
    merged: Merged,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Reading {
    fn take(&mut self, layer: Layer) {
        self.merged.lay(layer.entries);
        self.problems.extend(layer.problems);
        self.warnings.extend(layer.warnings);
    }

    fn finish(mut self) -> Result<Loaded, Vec<Problem>> {
        let Ok(settings) = self.merged.settings() else {
            // Serde's own words would repeat the value.
            let message = "each setting is valid alone, but not all together: please report this";
            self.problems.push(Problem::new(&Origin::new("configuration"), None, message));
            return Err(self.problems);
        };
        let (problems, warnings) = validate::validate(&settings, &self.merged);
        // A key whose value was refused has an earlier value here: what follows from that one
        // would only confuse.
        let refused: Vec<Option<String>> = self.problems.iter().map(|it| it.key.clone()).collect();
        self.problems.extend(problems.into_iter().filter(|it| !refused.contains(&it.key)));
        self.warnings.extend(warnings);
        if self.problems.is_empty() {
            let effective = effective(&settings, &self.merged);
            Ok(Loaded { settings, effective, warnings: self.warnings })
        } else {
            Err(self.problems)
        }
    }
}

fn effective(settings: &Settings, merged: &Merged) -> Vec<Effective> {
    let mut rows: Vec<Effective> = keys::flatten(settings)
        .into_iter()
        .map(|(key, value)| Effective {
            value: shown(&key, &value),
            origin: merged.origin(&key).to_string(),
            key,
        })
        .collect();
    if settings.dingtalk.group_robots.is_empty() {
        let origin = Origin::new("default").to_string();
        rows.push(Effective { key: GROUP_ROBOTS.into(), value: "[]".into(), origin });
    }
    for robot in &settings.dingtalk.group_robots {
        let fields = serde_json::to_value(robot).expect("settings are plain data with text keys");
        for field in keys::ROBOT_FIELDS {
            let key = keys::robot_key(&robot.name, field);
            let origin =
                if merged.is_set(&key) { merged.origin(&key) } else { Origin::new("default") };
            let value = shown(&key, &fields[field]);
            rows.push(Effective { key, value, origin: origin.to_string() });
        }
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// A value as a TOML literal, which for texts, numbers, switches and lists of them is also JSON.
fn shown(key: &str, value: &Value) -> String {
    let is_empty = value == "" || value.as_array().is_some_and(Vec::is_empty);
    if keys::is_secret(key) && !is_empty { MASK.to_owned() } else { value.to_string() }
}

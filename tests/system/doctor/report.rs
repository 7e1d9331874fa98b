//! What doctor said.

use std::time::Duration;

use serde_json::Value;

/// A run of `dingbot doctor --json`.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) json: Value,
    pub(super) took: Duration,
    pub(super) code: i32,
}

impl Report {
    /// The code of what is to be mended first; empty when there is nothing.
    pub(super) fn first(&self) -> &str {
        self.json["first"]["code"].as_str().unwrap_or_default()
    }

    /// Whether anything failed, or warns.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.with(&["failed", "warning"])
    }

    /// What failed.
    pub(super) fn failures(&self) -> Vec<String> {
        self.with(&["failed"])
    }

    fn with(&self, states: &[&str]) -> Vec<String> {
        self.findings()
            .filter(|it| states.iter().any(|state| it["state"] == *state))
            .map(|it| {
                let seen = it["seen"]["en"].as_str().unwrap_or_default();
                format!("{} {}: {seen}", it["state"].as_str().unwrap_or_default(), it["code"])
            })
            .collect()
    }

    /// Every finding.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Value> {
        let sections = self.json["sections"].as_array().into_iter().flatten();
        sections.flat_map(|section| section["findings"].as_array().into_iter().flatten())
    }

    /// The finding with this code.
    pub(super) fn finding(&self, code: &str) -> Option<&Value> {
        self.findings().find(|it| it["code"] == code)
    }

    /// What was seen first, in both languages.
    pub(super) fn seen(&self) -> String {
        let seen = &self.json["first"]["seen"];
        format!("{} / {}", text(&seen["zh"]), text(&seen["en"]))
    }

    /// The commands of the first finding.
    pub(super) fn commands(&self) -> Vec<String> {
        let commands = &self.json["first"]["remedy"]["commands"];
        commands.as_array().into_iter().flatten().map(text).collect()
    }

    /// Everything that the remedy of the first finding says.
    pub(super) fn remedy(&self) -> String {
        let words = &self.json["first"]["remedy"]["text"];
        let commands = self.commands().join("\n");
        format!("{}\n{}\n{commands}", text(&words["zh"]), text(&words["en"]))
    }

    /// All findings, a line each.
    pub(super) fn lines(&self) -> String {
        let line = |it: &Value| {
            let (state, code) = (text(&it["state"]), text(&it["code"]));
            let commands = it["remedy"]["commands"].as_array().cloned().unwrap_or_default();
            let commands: Vec<String> = commands.iter().map(text).collect();
            format!("  {state:8} {code}: {} {commands:?}", text(&it["seen"]["en"]))
        };
        self.findings().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

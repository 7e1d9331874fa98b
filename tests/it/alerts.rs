//! The rules and scrape configurations of etc/prometheus, judged by the real promtool.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::prometheus::{project, promtool};

const RULES: &str = "etc/prometheus/dingbot.rules.yml";
const CASES: &str = "tests/prometheus/dingbot.rules.test.yml";

/// Runs promtool on files of the project, which must satisfy it.
async fn satisfied(arguments: &[&str]) {
    let Some(said) = promtool(arguments, "").await else {
        return println!("skipped: promtool {}: promtool is not installed", arguments.join(" "));
    };
    let words = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success(), "{words}");
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The alerts by their names.
fn alerts() -> BTreeMap<String, Value> {
    let rules = yaml(RULES);
    let rules = list(&rules["groups"]).flat_map(|group| list(&group["rules"]));
    rules.filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule.clone()))).collect()
}

/// The names of metrics in an expression; those of recorded series too.
fn metrics(expression: &str) -> BTreeSet<&str> {
    let names = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let is_metric = |name: &&str| {
        ["dingbot_", "process_", "probe_", "instance:"].iter().any(|p| name.starts_with(p))
            || *name == "up"
    };
    names.filter(is_metric).collect()
}

#[tokio::test]
async fn rules_and_scrape_configurations_are_valid() {
    satisfied(&["check", "rules", RULES]).await;
    for file in ["etc/prometheus/dingbot.yml", "etc/prometheus/dingbot-https.yml"] {
        satisfied(&["check", "config", file]).await;
    }
}

#[tokio::test]
async fn every_case_comes_out_as_it_says() {
    satisfied(&["test", "rules", CASES]).await;
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() {
    let cases = yaml(CASES);
    let (mut firing, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for test in list(&cases["tests"]) {
        // A case without data proves nothing.
        assert!(list(&test["input_series"]).next().is_some(), "{}", test["name"]);
        for case in list(&test["alert_rule_test"]) {
            let name = case["alertname"].as_str().unwrap().to_owned();
            let fires = list(&case["exp_alerts"]).next().is_some();
            if fires {
                firing.insert(name)
            } else {
                quiet.insert(name)
            };
        }
    }
    let alerts: BTreeSet<String> = alerts().into_keys().collect();
    assert!(alerts.len() > 15, "{alerts:?}");
    assert_eq!(firing, alerts, "the cases that fire");
    assert_eq!(quiet, alerts, "the cases that do not");
}

#[test]
fn every_alert_says_what_it_means_in_both_languages_and_what_to_run() {
    let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let document = project("docs/monitoring.md");
    for (name, alert) in alerts() {
        assert!(name.starts_with("Dingbot"), "{name}");
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        let annotation =
            |of: &str| alert["annotations"][of].as_str().unwrap_or_default().to_owned();
        let summary = annotation("summary");
        let (chinese, english) = summary.split_once(" · ").unwrap_or_default();
        assert!(is_chinese(chinese) && !is_chinese(english) && !english.is_empty(), "{summary}");
        let description = annotation("description");
        let lines: Vec<&str> = description.lines().collect();
        assert!(is_chinese(lines[0]) && !is_chinese(lines[1]), "{name}: {lines:?}");
        assert!(!annotation("runbook").is_empty(), "{name}: what to run");
        let row = format!("| `{name}` | {severity} |");
        assert!(document.contains(&row), "docs/monitoring.md has no {row}");
    }
    let rows = document.lines().filter(|line| line.starts_with("| `Dingbot")).count();
    assert_eq!(rows, alerts().len(), "the document has an alert too many");
}

#[test]
fn rules_ask_only_for_metrics_that_exist() {
    let rules = yaml(RULES);
    let rules: Vec<&Value> =
        list(&rules["groups"]).flat_map(|group| list(&group["rules"])).collect();
    let recorded: BTreeSet<&str> = rules.iter().filter_map(|r| r["record"].as_str()).collect();
    let document = project("docs/monitoring.md");
    let outside = ["up", "probe_ssl_earliest_cert_expiry", "probe_success"];
    for rule in &rules {
        let expression = rule["expr"].as_str().unwrap();
        let asked = metrics(expression);
        assert!(!asked.is_empty(), "{expression}");
        for metric in asked {
            let family = metric.trim_end_matches("_bucket").trim_end_matches("_count");
            let known = recorded.contains(metric)
                || outside.contains(&metric)
                || document.contains(&format!("| `{family}` |"));
            assert!(known, "{metric} in {expression}");
        }
    }
}

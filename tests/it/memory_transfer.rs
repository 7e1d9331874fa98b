//! Memories taken out by `dingbot memory export` and brought in by `import`.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::settings::Settings;

async fn post(daemon: &Daemon, path: &str, body: Value) -> Value {
    let answer = daemon.client().post(daemon.url(path)).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path} {body}");
    answer.json().await.unwrap()
}

async fn add(daemon: &Daemon, text: &str, more: Value) -> String {
    let mut body = json!({"messages": text, "infer": false});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let added = post(daemon, "/v1/memories/", body).await;
    added[0]["id"].as_str().unwrap().to_owned()
}

async fn searched(daemon: &Daemon, query: &str, user: &str) -> Vec<String> {
    let body = json!({"query": query, "filters": {"user_id": user}});
    let found = post(daemon, "/v3/memories/search/", body).await;
    let found = found["results"].as_array().unwrap();
    found.iter().map(|it| it["memory"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_taken_out_comes_back_as_it_was() {
    let one = Daemon::start(Settings::bare()).await;
    let tea =
        add(&one, "我喜欢喝茶", json!({"user_id": "ann", "metadata": {"topic": ["茶", 1]}})).await;
    add(
        &one,
        "old\nnews \"\\\u{1F600}",
        json!({"user_id": "ann", "expiration_date": "2001-01-01"}),
    )
    .await;
    add(&one, "I run", json!({"user_id": "ann", "agent_id": "coach", "run_id": "r1"})).await;
    add(&one, "The chef likes basil", json!({"agent_id": "chef"})).await;
    let gone = add(&one, "a mistake", json!({"user_id": "ann"})).await;
    add(&one, "I am bob", json!({"user_id": "bob"})).await;
    let update = one.client().put(one.url(&format!("/v1/memories/{tea}/")));
    update.json(&json!({"text": "我爱喝茶"})).send().await.unwrap();
    one.client().delete(one.url(&format!("/v1/memories/{gone}/"))).send().await.unwrap();
    let opinion = json!({"memory_id": tea, "feedback": "NEGATIVE", "feedback_reason": "no"});
    post(&one, "/v1/feedback/", opinion).await;

    let file = one.state_directory().join("out.jsonl");
    let said = one.command(&["memory", "export", file.to_str().unwrap()]).await;
    assert!(said.trim().ends_with(": 5"), "{said}");
    let exported = std::fs::read_to_string(&file).unwrap();
    assert_eq!(one.command(&["memory", "export"]).await, exported, "the standard output");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!exported.contains("a mistake"));
    let bobs = one.command(&["memory", "export", "--user", "bob"]).await;
    assert_eq!(bobs.lines().count(), 2, "{bobs}");

    let two = Daemon::start(Settings::bare()).await;
    let file = file.to_str().unwrap();
    let said = two.command(&["memory", "import", "--dry-run", file]).await;
    assert!(said.contains("an export of dingbot") && said.contains("to be imported"), "{said}");
    assert_eq!(two.command(&["memory", "export"]).await.lines().count(), 1, "nothing was kept");
    let said = two.command(&["memory", "import", file]).await;
    assert!(said.contains("已导入 5"), "{said}");
    let said = two.command(&["memory", "import", file]).await;
    assert!(said.contains("已导入 0") && said.contains("已存在 5"), "{said}");
    assert_eq!(two.command(&["memory", "export"]).await, exported);
    assert_eq!(searched(&two, "喝茶", "ann").await, ["我爱喝茶"]);
    let history = two.get(&format!("/v1/memories/{tea}/history/")).await;
    assert!(history.body.contains("我喜欢喝茶"), "{}", history.body);
    // New ones go on counting where the old ones ended.
    two.command(&["memory", "add", "--user", "bob", "I am new"]).await;
    let listed = two.command(&["memory", "list", "--user", "bob"]).await;
    assert!(listed.contains("#2 ") && listed.contains("#1 "), "{listed}");

    // A memory of somebody else's id changes nothing.
    let stolen = exported.replace("\"user_id\":\"ann\"", "\"user_id\":\"eve\"");
    let path = two.state_directory().join("stolen.jsonl");
    std::fs::write(&path, stolen).unwrap();
    let output = two.attempt(&["memory", "import", path.to_str().unwrap()]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("somebody else"));
    assert_eq!(searched(&two, "喝茶", "ann").await, ["我爱喝茶"]);
}

#[tokio::test]
async fn the_files_of_others_are_brought_in() {
    let daemon = Daemon::start(Settings::bare()).await;
    let folder = daemon.state_directory();
    let import = async |name: &str, text: &str, more: &[&str]| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        let arguments = [&["memory", "import", path.to_str().unwrap()], more].concat();
        let output = daemon.attempt(&arguments).await;
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let messages = "{\"user_id\": \"u1\", \"content\": \"我喜欢猫\", \"timestamp\": 1767225600}\n\
                    {\"user_id\": \"u1\", \"content\": \"几点了？\", \"timestamp\": 1767225601}\n";
    let (ok, said) = import("dingbot_memory.jsonl", messages, &[]).await;
    assert!(ok && said.contains("messages of DingHook") && said.contains("已导入 1"), "{said}");
    assert!(said.contains("略过 1"), "{said}");
    let facts = "{\"u1\": [{\"fact\": \"在北京工作\"}], \"u2\": [\"喜欢狗\"]}";
    let (ok, said) = import("dingbot_fact.json", facts, &[]).await;
    assert!(ok && said.contains("facts of DingHook") && said.contains("已导入 2"), "{said}");
    let (ok, said) = import("dingbot_fact.json", facts, &[]).await;
    assert!(ok && said.contains("已存在 2"), "{said}");
    assert_eq!(searched(&daemon, "猫", "u1").await, ["我喜欢猫"]);
    assert_eq!(searched(&daemon, "北京", "u1").await, ["在北京工作"]);

    let mem0 = json!({"results": [
        {"id": "5f2b1f0e-8d53-4b0e-9f53-0d9f7f3a1b11", "memory": "Loves hiking", "user_id": "carol",
         "metadata": {"mood": "good", "user_id": "eve"}, "categories": ["hobby"],
         "created_at": "2025-03-01T09:00:00.123456-08:00", "updated_at": null},
        {"id": "not a uuid", "memory": "Eats no meat", "created_at": "2025-03-02T09:00:00"},
        {"id": "x", "memory": " "},
    ]});
    let (ok, said) = import("mem0.json", &mem0.to_string(), &["--user", "dave"]).await;
    assert!(!ok && said.contains("memories of Mem0") && said.contains("已导入 2"), "{said}");
    assert!(said.contains("3: memory is empty"), "{said}");
    let exported = daemon.command(&["memory", "export", "--user", "carol"]).await;
    let hiking: Value = serde_json::from_str(exported.lines().nth(1).unwrap()).unwrap();
    assert_eq!(hiking["created_at"], "2025-03-01T17:00:00.123Z");
    assert_eq!(hiking["metadata"], json!({"mood": "good"}));
    assert_eq!(searched(&daemon, "meat", "dave").await, ["Eats no meat"]);

    let (ok, said) = import("notes.txt", "buy milk", &[]).await;
    assert!(!ok && said.contains("none of the known forms"), "{said}");
    let (ok, said) = import("gone", "", &["--user", ""]).await;
    assert!(!ok, "{said}");
}

/// A memory as a line of an export, of odd texts and times.
fn line() -> impl Strategy<Value = Value> {
    let metadata = prop::collection::btree_map("\\PC{1,8}", "\\PC{0,20}", 0..3);
    let texts = ("[\\PC\n\t]{1,60}", prop::option::of("\\PC{1,20}"), metadata);
    let ids = (prop::sample::select(vec!["ann", "bob", "安娜/1"]), prop::option::of("[a-z]{1,5}"));
    let times = (0i64..4_000_000_000_000, 0i64..1_000_000);
    let past = prop::option::of(("\\PC{1,20}", "\\PC{1,20}"));
    let said =
        texts.prop_filter("a text that says something", |(text, ..)| !text.trim().is_empty());
    (any::<u128>(), said, ids, times, past, any::<Option<bool>>()).prop_map(
        |(id, (text, reason, metadata), (user, run), (said_at, later), past, good)| {
            let time = |millis| jiff::Timestamp::from_millisecond(millis).unwrap().to_string();
            let mut line = json!({
                "id": uuid::Uuid::from_u128(id).to_string(),
                "memory": text,
                "user_id": user,
                "number": 0,
                "created_at": time(said_at),
                "updated_at": time(said_at + later),
            });
            if let Some(run) = run {
                line["run_id"] = run.into();
            }
            let metadata: BTreeMap<String, String> = metadata;
            if !metadata.is_empty() {
                line["metadata"] = json!(metadata);
            }
            if let Some(good) = good {
                line["feedback"] = json!({"good": good});
                if let Some(reason) = reason {
                    line["feedback"]["reason"] = reason.into();
                }
            }
            if let Some((old, new)) = past {
                let at = time(said_at + later);
                line["replaced_at"] = at.clone().into();
                line["replaced_by"] = uuid::Uuid::from_u128(!id).to_string().into();
                line["history"] = json!([{
                    "event": "superseded", "old_memory": old, "new_memory": new,
                    "said_at": time(said_at), "at": at,
                }]);
            }
            line
        },
    )
}

/// Runs a command on a store of its own, with no daemon beside it.
fn dingbot(state: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dingbot"))
        .args(arguments)
        .env_clear()
        .env("DINGBOT_STORE__URL", format!("sqlite://{}", state.join("dingbot.db").display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_kept_comes_back_identical(lines in prop::collection::vec(line(), 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        for state in [&one, &two] {
            std::fs::create_dir(state).unwrap();
        }
        let file = folder.path().join("in.jsonl");
        let mut text = json!({"dingbot_export": 1}).to_string();
        for line in &lines {
            text.push_str(&format!("\n{line}"));
        }
        std::fs::write(&file, &text).unwrap();
        dingbot(&one, &["memory", "import", file.to_str().unwrap()]);
        let first = dingbot(&one, &["memory", "export"]);
        prop_assert_eq!(first.lines().count(), lines.len() + 1);
        for (line, kept) in lines.iter().zip(first.lines().skip(1)) {
            let mut kept: Value = serde_json::from_str(kept).unwrap();
            kept["number"] = 0.into();
            prop_assert_eq!(line, &kept);
        }
        std::fs::write(&file, &first).unwrap();
        dingbot(&two, &["memory", "import", file.to_str().unwrap()]);
        prop_assert_eq!(dingbot(&two, &["memory", "export"]), first);
    }
}

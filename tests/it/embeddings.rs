//! Recall by meaning through an endpoint of embeddings.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::model::{KEY, Model};
use crate::support::settings::Settings;

fn settings(model: &Model) -> Settings {
    Settings::bare()
        .text("llm.embedding.base_url", &model.base())
        .text("llm.embedding.api_key", KEY)
        .text("llm.embedding.model", "text-embedding-simulated")
}

async fn keep(daemon: &Daemon, texts: &[&str]) {
    for text in texts {
        let body = json!({"messages": text, "user_id": "ann", "infer": false});
        let added = daemon.client().post(daemon.url("/v1/memories/")).json(&body).send().await;
        assert_eq!(added.unwrap().status(), 200);
    }
}

async fn found(daemon: &Daemon, query: &str) -> Vec<String> {
    let body = json!({"query": query, "filters": {"user_id": "ann"}, "threshold": 0.3});
    let request = daemon.client().post(daemon.url("/v3/memories/search/")).json(&body);
    let found: Value = request.send().await.unwrap().json().await.unwrap();
    let results = found["results"].as_array().unwrap_or_else(|| panic!("{found}"));
    results.iter().map(|it| it["memory"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a question finds this first, which has no word of it.
async fn finds(daemon: &Daemon, query: &str, first: &str) {
    let wait = async {
        while found(daemon, query).await.first().is_none_or(|text| text != first) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, wait).await;
    assert!(found.is_ok(), "{query} does not find {first}");
}

async fn tells(daemon: &Daemon, part: &str) {
    let holds = |lines: &[String]| lines.iter().any(|line| line.contains(part));
    daemon.log().wait_for(holds, PATIENCE).await;
}

const MEMORIES: [&str; 4] = ["我养了一只猫", "我对花生过敏", "我在杭州上班", "公司年会在12月"];

#[tokio::test]
async fn what_has_no_word_of_the_question_is_found() {
    let model = Model::start().await;
    let daemon = Daemon::start(settings(&model)).await;
    keep(&daemon, &MEMORIES).await;
    finds(&daemon, "any pet?", "我养了一只猫").await;
    finds(&daemon, "宠物", "我养了一只猫").await;
    finds(&daemon, "does it make me sick", "我对花生过敏").await;

    // Said again, or asked again, it costs nothing.
    let before = model.embeddings().texts.load(Ordering::Relaxed);
    keep(&daemon, &["我养了一只猫"]).await;
    finds(&daemon, "宠物", "我养了一只猫").await;
    assert_eq!(model.embeddings().texts.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn more_texts_than_the_endpoint_takes_come_in_several_requests() {
    let model = Model::start().await;
    model.embeddings().most_texts.store(3, Ordering::Relaxed);
    model.embeddings().down.store(true, Ordering::Relaxed);
    let daemon = Daemon::start(settings(&model)).await;
    let many: Vec<String> = (0..40).map(|n| format!("第 {n} 件事")).collect();
    keep(&daemon, &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    keep(&daemon, &MEMORIES).await;
    tells(&daemon, "no vectors: memories are recalled by their words meanwhile").await;
    assert_eq!(found(&daemon, "花生").await, ["我对花生过敏"], "words still count");
    assert!(!found(&daemon, "宠物").await.contains(&"我养了一只猫".to_owned()));

    model.embeddings().down.store(false, Ordering::Relaxed);
    let mut daemon = daemon;
    daemon.restart().await;
    finds(&daemon, "宠物", "我养了一只猫").await;
}

#[tokio::test]
async fn another_model_makes_all_vectors_anew() {
    let model = Model::start().await;
    let mut daemon = Daemon::start(settings(&model)).await;
    keep(&daemon, &MEMORIES).await;
    finds(&daemon, "宠物", "我养了一只猫").await;
    let before = model.embeddings().texts.load(Ordering::Relaxed);
    let other = settings(&model).text("llm.embedding.model", "another");
    daemon.restart_with(other.set("llm.embedding.dimensions", "128")).await;
    finds(&daemon, "宠物", "我养了一只猫").await;
    let all = before + MEMORIES.len();
    assert!(model.embeddings().texts.load(Ordering::Relaxed) > all, "each was asked again");
    assert_eq!(found(&daemon, "花生").await[0], "我对花生过敏");
}

#[tokio::test]
async fn a_wrong_length_and_a_wrong_key_are_told_and_words_go_on() {
    let model = Model::start().await;
    let daemon = Daemon::start(settings(&model).text("llm.embedding.api_key", "sk-wrong")).await;
    keep(&daemon, &MEMORIES).await;
    tells(&daemon, "refused the key").await;
    assert_eq!(found(&daemon, "花生").await, ["我对花生过敏"]);
    assert!(daemon.log().all().iter().all(|line| !line.contains("sk-wrong")));
}

#[tokio::test]
async fn the_key_of_the_chat_model_is_for_its_own_host() {
    let (chat, other) = (Model::start().await, Model::start().await);
    let shared = Settings::bare().model(&chat).text("llm.embedding.model", "m");
    let daemon = Daemon::start(shared.clone()).await;
    keep(&daemon, &MEMORIES).await;
    finds(&daemon, "宠物", "我养了一只猫").await;
    drop(daemon);
    let elsewhere = shared.text("llm.embedding.base_url", &other.base());
    let daemon = Daemon::start(elsewhere).await;
    tells(&daemon, "refused the key").await;
    assert_eq!(other.embeddings().texts.load(Ordering::Relaxed), 0);
}

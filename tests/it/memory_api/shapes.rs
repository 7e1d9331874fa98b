//! What is answered to whom: statuses, shapes, refusals.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Api, texts};
use crate::support::daemon::Daemon;
use crate::support::settings::Settings;

fn ann() -> Value {
    json!({"user_id": "ann"})
}

#[tokio::test]
async fn the_server_and_the_platform_show_the_same_memories_in_their_own_shapes() {
    let api = Api::start().await;
    let body = json!({
        "messages": [{"role": "user", "content": "我对花生过敏", "name": "安妮"}],
        "user_id": "ann", "infer": false, "metadata": {"topic": "food", "user_id": "eve"},
        "expiration_date": "2999-12-31",
    });
    let added = api.post("/memories", body).await;
    assert_eq!(added.status, 200, "{added:?}");
    let item = &added.body["results"][0];
    assert_eq!(item["event"], "ADD");
    assert_eq!((&item["actor_id"], &item["role"]), (&json!("安妮"), &json!("user")));
    let id = item["id"].as_str().unwrap();

    let server = api.get(&format!("/memories/{id}")).await.body;
    let platform = api.get(&format!("/v1/memories/{id}/")).await.body;
    for shown in [&server, &platform] {
        assert_eq!(shown["memory"], "我对花生过敏");
        assert_eq!(shown["user_id"], "ann");
        assert_eq!(shown["metadata"], json!({"topic": "food"}), "it cannot say whose it is");
        assert_eq!(shown["expiration_date"], "2999-12-31");
        assert_eq!(shown["actor_id"], "安妮");
        let hash = shown["hash"].as_str().unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert!(shown["created_at"].as_str().unwrap().ends_with("+00:00"));
    }
    assert_eq!(server["score"], Value::Null);
    assert_eq!(platform["categories"], json!([]));
    assert_eq!(texts(&api.get("/memories?user_id=ann").await.body["results"]), ["我对花生过敏"]);
    assert_eq!(texts(&api.get("/v1/memories/?user_id=ann").await.body), ["我对花生过敏"]);
}

#[tokio::test]
async fn a_search_is_wrapped_as_its_version_says() {
    let api = Api::start().await;
    api.keep(&ann(), "I play the cello", json!({})).await;
    let asked = json!({"query": "cello", "filters": ann()});
    for (path, wrapped) in [
        ("/search", true),
        ("/v1/memories/search/", false),
        ("/v2/memories/search/", false),
        ("/v3/memories/search/", true),
        ("/v3/memories/search", true),
    ] {
        let came = api.post(path, asked.clone()).await;
        let results = if wrapped { &came.body["results"] } else { &came.body };
        assert_eq!(texts(results), ["I play the cello"], "{path}");
        let score = results[0]["score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score), "{score}");
    }
    let mut wrapped = asked.clone();
    wrapped["output_format"] = "v1.1".into();
    assert_eq!(texts(&api.post("/v2/memories/search/", wrapped).await.body["results"]).len(), 1);
    // Beside the filters, as older clients send it.
    let beside = json!({"query": "cello", "user_id": "ann", "limit": 1});
    assert_eq!(texts(&api.post("/v2/memories/search/", beside).await.body).len(), 1);
}

#[tokio::test]
async fn pages_follow_each_other_and_end() {
    let api = Api::start().await;
    for number in 1..=5 {
        api.keep(&ann(), &format!("number {number}"), json!({})).await;
    }
    let mut path = "/v3/memories/?page=1&page_size=2".to_owned();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = api.post(&path, json!({ "filters": ann() })).await.body;
        assert_eq!(page["count"], 5);
        seen.extend(texts(&page["results"]));
        let Some(next) = page["next"].as_str() else { break };
        path = next.split_once("/v3").map(|(_, rest)| format!("/v3{rest}")).unwrap();
    }
    assert_eq!(seen, ["number 5", "number 4", "number 3", "number 2", "number 1"]);
    assert_eq!(api.post("/v3/memories/?page=0", json!({ "filters": ann() })).await.status, 422);
}

#[tokio::test]
async fn an_edit_is_kept_with_what_it_was() {
    let api = Api::start().await;
    let id = api.keep(&ann(), "I live in Hangzhou", json!({"metadata": {"a": 1}})).await;
    let path = format!("/v1/memories/{id}/");
    let change = json!({"text": "I live in Shanghai", "metadata": {"b": 2}});
    let edited = api.send(Method::PUT, &path, Some(change)).await;
    assert_eq!(edited.body["memory"], "I live in Shanghai");
    assert_eq!(edited.body["metadata"], json!({"a": 1, "b": 2}));
    assert_eq!(api.found("Shanghai", ann()).await, ["I live in Shanghai"]);
    assert_eq!(api.found("Hangzhou", ann()).await, Vec::<String>::new());
    let history = api.get(&format!("{path}history/")).await.body;
    let events: Vec<_> = history.as_array().unwrap().iter().map(|it| &it["event"]).collect();
    assert_eq!(events, ["ADD", "UPDATE"]);
    assert_eq!(history[1]["old_memory"], "I live in Hangzhou");
    // Deleted, it keeps its history without the words.
    assert_eq!(api.delete(&path).await.status, 200);
    let history = api.get(&format!("/memories/{id}/history")).await.body;
    assert!(!history.to_string().contains("Shanghai"), "{history}");
    assert_eq!(history[2]["event"], "DELETE");
    assert_eq!(history[2]["is_deleted"], true);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let api = Api::start().await;
    let hello = json!([{"role": "user", "content": "hello there"}]);
    for (path, body, status, part) in [
        ("/v1/memories/", json!({ "messages": hello }), 400, "At least one identifier"),
        ("/memories", json!({"messages": hello, "user_id": "a b"}), 400, "whitespace"),
        ("/v1/memories/", json!({"user_id": "ann"}), 422, "messages"),
        ("/v1/memories/", json!({"messages": 7, "user_id": "ann"}), 422, "messages"),
        ("/v1/memories/", json!({"messages": "x".repeat(2_001), "user_id": "ann"}), 422, "2000"),
        (
            "/v1/memories/",
            json!({"messages": hello, "user_id": "ann", "expiration_date": "soon"}),
            400,
            "expiration_date",
        ),
        ("/search", json!({"filters": {"user_id": "ann"}}), 422, "query"),
        ("/search", json!({"query": " ", "filters": {"user_id": "ann"}}), 400, "query"),
        ("/search", json!({"query": "x"}), 400, "filters must contain"),
        ("/search", json!({"query": "x", "filters": {"x": 1}}), 400, "filters must contain"),
        (
            "/v3/memories/search/",
            json!({"query": "x", "filters": {"user_id": "ann", "mood": 1}}),
            400,
            "mood",
        ),
        (
            "/v3/memories/search/",
            json!({"query": "x", "filters": {"user_id": "ann"}, "threshold": 7}),
            400,
            "threshold",
        ),
        ("/v1/exports/", json!({"schema": {}, "filters": {"user_id": "ann"}}), 501, "by a model"),
        ("/v1/exports/", json!({"filters": {"user_id": "ann"}}), 422, "schema"),
        ("/v1/exports/", json!({"schema": "{", "filters": {"user_id": "ann"}}), 422, "JSON Schema"),
        ("/v1/exports/", json!({"schema": {}, "filters": {"user_id": "*"}}), 400, "name one"),
        ("/v1/exports/get/", json!({"memory_export_id": "0199"}), 404, "No memory export"),
        ("/v1/summary/", json!({"filters": {"user_id": "ann"}}), 501, "by a model"),
        ("/v1/summary/", json!({"filters": {}}), 400, "user_id"),
        ("/v2/profiles/jobs/", json!({}), 501, "by themselves"),
    ] {
        let came = api.post(path, body.clone()).await;
        assert_eq!(came.status, status, "{path} {body}: {came:?}");
        assert!(came.body["detail"].to_string().contains(part), "{path} {body}: {came:?}");
        assert!(came.body["error"].is_string());
    }
    let mut unknown = Vec::new();
    for (method, path) in [
        (Method::GET, "/v1/memories/0199/"),
        (Method::DELETE, "/v1/memories/0199/"),
        (Method::DELETE, "/memories/0199"),
        (Method::GET, "/v1/memories/0199/history/"),
        (Method::GET, "/v1/event/0199/"),
    ] {
        unknown.push(api.send(method, path, None).await.status);
    }
    assert_eq!(unknown, [404; 5]);
    assert_eq!(api.get("/memories/0199").await.body, Value::Null);
    assert_eq!(api.delete("/v1/memories/").await.status, 400);
    assert_eq!(api.send(Method::PATCH, "/v1/memories/", Some(json!({}))).await.status, 405);
}

#[tokio::test]
async fn deleting_counts_and_takes_what_a_list_does_not_show() {
    let api = Api::start().await;
    api.keep(&ann(), "one", json!({"expiration_date": "2001-01-01"})).await;
    api.keep(&ann(), "two", json!({})).await;
    api.keep(&json!({"user_id": "bob"}), "his", json!({})).await;
    assert_eq!(api.listed(ann()).await, ["two"], "the other is over");
    let gone = api.delete("/v1/memories/?user_id=ann").await.body;
    assert_eq!(gone["count"], 2);
    assert_eq!(api.listed(json!({"user_id": "bob"})).await, ["his"]);
    // As Python writes it.
    let gone = api.delete("/v1/memories/?filters=%7B%27user_id%27%3A+%27bob%27%7D").await.body;
    assert_eq!(gone["count"], 1);
    api.keep(&json!({"user_id": "alice/1"}), "hers", json!({})).await;
    assert_eq!(api.delete("/v2/entities/user/alice/1/").await.body["count"], 1);
}

#[tokio::test]
async fn an_event_tells_what_was_added() {
    let api = Api::start().await;
    let asked = json!({"messages": "我喜欢喝茶，住在杭州", "user_id": "ann"});
    let added = api.post("/v3/memories/add/", asked).await.body;
    assert_eq!(added["status"], "SUCCEEDED");
    let event = api.get(&format!("/v1/event/{}/", added["event_id"].as_str().unwrap())).await.body;
    assert_eq!(event["status"], "SUCCEEDED");
    assert_eq!(event["results"][0]["data"]["memory"], "我喜欢喝茶，住在杭州");
    assert_eq!(api.get("/v1/events/").await.body["count"], 1);
    // A question states nothing; it says so.
    let asked = json!({"messages": "你叫什么名字？", "user_id": "ann"});
    let added = api.post("/v3/memories/add/", asked).await.body;
    assert_eq!(added["results"], json!([]));
    assert!(added["message"].as_str().unwrap().contains("\"infer\": false"));
}

#[tokio::test]
async fn a_bad_verdict_lets_a_memory_sink() {
    let api = Api::start().await;
    let first = api.keep(&ann(), "tea tea tea", json!({})).await;
    api.keep(&ann(), "tea and other things to drink", json!({})).await;
    assert_eq!(api.found("tea", ann()).await[0], "tea tea tea");
    let verdict = json!({"memory_id": first, "feedback": "NEGATIVE", "feedback_reason": "no"});
    assert_eq!(api.post("/v1/feedback/", verdict).await.status, 200);
    assert_eq!(api.found("tea", ann()).await[1], "tea tea tea");
}

#[tokio::test]
async fn what_is_kept_is_kept_after_a_kill() {
    let mut api = Api::start().await;
    api.keep(&ann(), "我的工号是 A-1024", json!({})).await;
    api.daemon.kill9().await;
    api.daemon.restart().await;
    assert_eq!(api.found("A-1024", ann()).await, ["我的工号是 A-1024"]);
}

#[tokio::test]
async fn a_key_opens_it_and_a_page_of_a_stranger_does_not() {
    let settings = Settings::bare().set("server.api_keys", "[\"m0-key\"]");
    let daemon = Daemon::start(settings).await;
    let ask = |headers: &[(&'static str, &str)]| {
        let mut request = daemon.client().get(daemon.url("/v1/memories/?user_id=ann"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(ask(&[("authorization", "Token m0-key")]).await, 200);
    assert_eq!(ask(&[("authorization", "Bearer m0-key")]).await, 200);
    assert_eq!(ask(&[("x-api-key", "m0-key")]).await, 200);
    assert_eq!(ask(&[("x-api-key", "wrong")]).await, 401);
    assert_eq!(ask(&[]).await, 200, "from this host");
    assert_eq!(ask(&[("x-forwarded-for", "198.51.100.7")]).await, 401);
    assert_eq!(ask(&[("host", "evil.example")]).await, 403);
    // A form of a page cannot send JSON.
    let form = daemon.client().post(daemon.url("/reset")).body("x").send().await.unwrap();
    assert_eq!(form.status(), 415);
}

//! The Model Context Protocol as it goes over the wire; `memory_api::clients` has its clients.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::settings::Settings;

async fn post(daemon: &Daemon, path: &str, body: Value, key: Option<&str>) -> (u16, Value) {
    let mut request = daemon.client().post(daemon.url(path));
    request = request.header("accept", "application/json, text/event-stream").json(&body);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn call(name: &str, arguments: Value) -> Value {
    let params = json!({"name": name, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}

#[tokio::test]
async fn a_call_needs_no_session_and_is_counted_by_its_route() {
    let daemon = Daemon::start(Settings::bare()).await;
    let add = call("add_memories", json!({"text": "我喜欢喝茶"}));
    let (status, told) = post(&daemon, "/mcp/cursor/http/ann", add, None).await;
    assert_eq!(status, 200, "{told}");
    let text = told["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("我喜欢喝茶"), "{told}");
    let unknown = call("drop_tables", json!({}));
    let (_, told) = post(&daemon, "/mcp", unknown, None).await;
    assert!(told["error"]["message"].as_str().unwrap().contains("no tool called"), "{told}");
    let (_, told) =
        post(&daemon, "/mcp/cursor/http/ann", call("search_memories", json!({})), None).await;
    assert!(told["error"]["message"].as_str().unwrap().contains("no tool called"), "{told}");

    let metrics = daemon.metrics().await;
    let of = |route| metrics.sum("dingbot_http_requests_total", &[("route", route)]);
    assert_eq!((of("/mcp"), of("/mcp/{client}/http/{user}")), (1.0, 2.0));
}

#[tokio::test]
async fn who_may_not_call_the_api_may_not_call_a_tool() {
    let settings = Settings::bare().set("server.api_keys", "[\"right\"]");
    let daemon = Daemon::start(settings).await;
    let list = call("list_entities", json!({}));
    let (status, told) = post(&daemon, "/mcp", list.clone(), Some("wrong")).await;
    assert_eq!(status, 401, "{told}");
    let (status, told) = post(&daemon, "/mcp", list.clone(), Some("right")).await;
    assert_eq!((status, &told["result"]["isError"]), (200, &json!(false)), "{told}");
    // On this host without a key: what names somebody, and nothing else.
    let (_, told) = post(&daemon, "/mcp", list, None).await;
    assert_eq!(told["result"]["isError"], true, "{told}");
    assert!(told["result"]["content"][0]["text"].as_str().unwrap().contains("\"status\":403"));

    // A page in a browser on this host.
    let foreign = daemon.client().post(daemon.url("/mcp")).header("host", "evil.example");
    assert_eq!(foreign.json(&json!({})).send().await.unwrap().status(), 403);
    let form = daemon.client().post(daemon.url("/mcp")).header("content-type", "text/plain");
    assert_eq!(form.body("{}").send().await.unwrap().status(), 415);
}

#[tokio::test]
async fn what_is_no_call_is_told_so() {
    let daemon = Daemon::start(Settings::bare().set("server.max_body_bytes", "2048")).await;
    let (status, told) = post(&daemon, "/mcp/cursor/sse/ann", json!({}), None).await;
    assert_eq!(status, 501);
    assert!(told.to_string().contains("/mcp/{client}/http/{user}"), "{told}");
    let long = call("add_memory", json!({"text": "x".repeat(4_000)}));
    assert_eq!(post(&daemon, "/mcp", long, None).await.0, 413);
    for wrong in [json!(7), json!({"jsonrpc": "1.0"}), json!([])] {
        let (status, told) = post(&daemon, "/mcp", wrong.clone(), None).await;
        assert!((400..500).contains(&status), "{wrong}: {status} {told}");
    }
    for method in [Method::GET, Method::DELETE] {
        let request = daemon.client().request(method.clone(), daemon.url("/mcp"));
        let request = request.header("accept", "text/event-stream");
        assert_eq!(request.send().await.unwrap().status(), 405, "{method}: no session is kept");
    }
    assert_eq!(daemon.get("/mcp/cursor").await.status, 404);
}

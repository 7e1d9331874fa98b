//! The simulators themselves: what the other tests believe of DingTalk and of a model is true here.

mod dingtalk;
mod model;
mod openapi;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::daemon::ready_addresses;
use crate::support::dingtalk::DingTalk;
use crate::support::exposition::Exposition;
use crate::support::http::{self, Rude};

/// Posts JSON and reads the JSON that comes back.
async fn post(url: &str, body: &Value) -> (u16, Value) {
    let response = http::client().post(url).json(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn markdown(text: &str) -> Value {
    json!({ "msgtype": "markdown", "markdown": { "title": "标题", "text": text } })
}

#[test]
fn the_ready_line_is_understood() {
    let line = r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO",
        "fields":{"message":"ready","listen":"127.0.0.1:4000, [::1]:4000"},"target":"x"}"#;
    let expected = vec!["127.0.0.1:4000".parse().unwrap(), "[::1]:4000".parse().unwrap()];
    assert_eq!(ready_addresses(line), Some(expected.clone()));
    let flat = r#"{"message":"ready","listen":"127.0.0.1:4000,[::1]:4000"}"#;
    assert_eq!(ready_addresses(flat), Some(expected));
    for other in ["ready", r#"{"message":"ready"}"#, r#"{"message":"stopping","listen":"[::]:1"}"#]
    {
        assert_eq!(ready_addresses(other), None, "{other}");
    }
}

#[test]
fn metrics_are_summed_over_the_labels_not_named() {
    let text = "# HELP a_total Text.\n# TYPE a_total counter\n\
                a_total{x=\"1\",y=\"p\"} 2\na_total{x=\"1\",y=\"q\"} 3\na_total{x=\"2\",y=\"p\"} 0\n\
                b 1.5e3\n";
    let metrics = Exposition::read(text);
    assert_eq!(metrics.sum("a_total", &[("x", "1")]), 5.0);
    assert_eq!(metrics.sum("a_total", &[("x", "1"), ("y", "q")]), 3.0);
    assert_eq!(metrics.sum("b", &[]), 1500.0);
    assert_eq!(metrics.values_of("a_total", "x"), ["1", "1"]);
    assert!(metrics.has("b") && !metrics.has("a"));
}

#[tokio::test]
async fn the_rude_client_sends_what_it_is_told_and_reads_what_comes() {
    let dingtalk = DingTalk::start().await;
    let address = dingtalk.base().replace("http://", "").parse().unwrap();
    let mut rude = Rude::connect(address).await.unwrap();
    let head = b"POST /robot/send HTTP/1.1\r\nhost: x\r\n";
    rude.drip(head, Duration::from_millis(1)).await.unwrap();
    let rest = b"content-length: 2\r\n\r\n{}GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    rude.send(rest).await.unwrap();
    let first = rude.answer(PATIENCE).await.unwrap().unwrap();
    assert_eq!((first.status, first.header("content-type")), (200, "application/json"));
    assert!(String::from_utf8(first.body).unwrap().contains("40035"));
    assert_eq!(rude.answer(PATIENCE).await.unwrap().unwrap().status, 404, "the second of two");
    rude.send(b"nonsense\r\n\r\n").await.unwrap();
    assert_eq!(rude.answer(PATIENCE).await.unwrap().unwrap().status, 400);
    assert!(rude.closes(PATIENCE).await);
}

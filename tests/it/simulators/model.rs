//! The model endpoint.

use serde_json::{Value, json};

use crate::support::model::{KEY, Model, Reply};
use crate::support::{PATIENCE, http};

async fn ask(model: &Model, question: &str, stream: bool) -> reqwest::Response {
    let body = json!({
        "model": "m-1", "stream": stream, "stream_options": { "include_usage": true },
        "messages": [
            { "role": "system", "content": "be kind" }, { "role": "user", "content": question },
        ],
    });
    let url = format!("{}/chat/completions", model.base());
    http::client().post(url).bearer_auth(KEY).json(&body).send().await.unwrap()
}

/// The chunks of a streamed answer; checks that it ends by `[DONE]`.
fn chunks(body: &str) -> Vec<Value> {
    let mut events: Vec<&str> = body.split_terminator("\n\n").collect();
    assert_eq!(events.pop(), Some("data: [DONE]"));
    let chunk = |event: &&str| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
    events.iter().map(chunk).collect()
}

fn text_of(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn it_echoes_in_one_piece_and_streamed() {
    let model = Model::start().await;
    let whole: Value = ask(&model, "你好", false).await.json().await.unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "echo: 你好");
    assert_eq!(whole["usage"]["total_tokens"], 18);

    let streamed = ask(&model, "今天天气怎么样", true).await;
    assert_eq!(streamed.headers()["content-type"], "text/event-stream");
    let chunks = chunks(&streamed.text().await.unwrap());
    assert_eq!(text_of(&chunks), "echo: 今天天气怎么样");
    assert!(chunks.len() > 4, "it comes in several chunks");
    let (usage, finish) = (&chunks[chunks.len() - 1], &chunks[chunks.len() - 2]);
    assert_eq!((&usage["choices"], &usage["usage"]["prompt_tokens"]), (&json!([]), &json!(11)));
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");

    let asked = model.asked();
    assert_eq!((asked[0].streamed(), asked[1].streamed()), (false, true));
    assert_eq!(asked[1].question(), "今天天气怎么样");
    assert!(asked[1].prompt().contains("be kind"));
}

#[tokio::test]
async fn planned_replies_come_first_then_the_script() {
    let model = Model::start().await;
    model.answer_by(|asked| Reply::text(asked.question().to_uppercase()));
    model.answer_next([Reply::RateLimited(3), Reply::Status(503), Reply::Unauthorized]);
    let limited = ask(&model, "a", true).await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"3".parse().unwrap())
    );
    assert_eq!(ask(&model, "a", true).await.status(), 503);
    let refused = ask(&model, "a", true).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "invalid_api_key");
    let answer: Value = ask(&model, "a", false).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "A");
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let model = Model::start().await;
    let url = format!("{}/chat/completions", model.base());
    let body = json!({ "messages": [] });
    let request = http::client().post(url).bearer_auth("sk-wrong").json(&body);
    assert_eq!(request.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn broken_streams_break_after_their_first_half() {
    let model = Model::start().await;
    model.answer_next([Reply::BreakOff("0123456789".repeat(5)), Reply::Close]);
    let mut response = ask(&model, "a", true).await;
    let mut got = Vec::new();
    let error = loop {
        match response.chunk().await {
            Ok(Some(part)) => got.extend(part),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(error.is_some(), "the stream ends by an error");
    let got = String::from_utf8(got).unwrap();
    assert!(got.contains("0123456") && !got.contains("[DONE]"), "{got}");

    let body = json!({ "messages": [] });
    let url = format!("{}/chat/completions", model.base());
    assert!(http::client().post(url).bearer_auth(KEY).json(&body).send().await.is_err());
}

#[tokio::test]
async fn stalls_are_silent() {
    let model = Model::start().await;
    model.answer_next([Reply::Stall, Reply::StallMidway("0123456789".repeat(5))]);
    let brief = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(brief, ask(&model, "a", true)).await.is_err());
    let mut response = ask(&model, "a", true).await;
    let first = response.chunk().await.unwrap();
    assert!(first.is_some_and(|part| !part.is_empty()));
    let rest = async { while response.chunk().await.unwrap().is_some() {} };
    assert!(tokio::time::timeout(brief, rest).await.is_err(), "it neither goes on nor ends");
}

#[tokio::test]
async fn rubbish_is_rubbish() {
    let model = Model::start().await;
    model.answer_next([Reply::Html, Reply::BrokenJson, Reply::InvalidUtf8, Reply::ContentFilter]);
    assert!(ask(&model, "a", true).await.json::<Value>().await.is_err());
    assert!(ask(&model, "a", false).await.json::<Value>().await.is_err());
    let bytes = ask(&model, "a", true).await.bytes().await.unwrap();
    assert!(std::str::from_utf8(&bytes).is_err());
    let filtered = chunks(&ask(&model, "a", true).await.text().await.unwrap());
    assert_eq!(filtered[0]["choices"][0]["finish_reason"], "content_filter");
}

#[tokio::test]
async fn azure_begins_without_choices() {
    let model = Model::start().await;
    model.answer_next([Reply::Azure("早上好，世界".into())]);
    let chunks = chunks(&ask(&model, "a", true).await.text().await.unwrap());
    assert_eq!(chunks[0]["choices"], json!([]));
    assert_eq!(text_of(&chunks), "早上好，世界");
}

#[tokio::test]
async fn answers_are_held_until_they_are_released() {
    let model = Model::start().await;
    model.hold();
    let release = async {
        model.wait_for(|asked| asked.len() == 3, PATIENCE).await;
        model.release();
    };
    let (a, b, c, ()) = tokio::join!(
        ask(&model, "a", false),
        ask(&model, "b", false),
        ask(&model, "c", false),
        release
    );
    assert!([a, b, c].iter().all(|response| response.status() == 200));
    assert_eq!(model.most_at_once(), 3);
}

//! The bytes of the endpoint's answers.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use serde_json::{Value, json};

use super::{Asked, Reply};
use crate::support::server::{self, Body};

/// Characters of one chunk of a stream.
const CHUNK: usize = 7;
/// Most chunks of a stream; a longer text comes in longer ones.
const MAX_CHUNKS: usize = 64;

/// How a stream ends.
enum End {
    /// As it should: finish reason, usage, `[DONE]`.
    Whole,
    /// As it should, for want of tokens.
    OutOfTokens,
    /// It stays open and silent.
    Silence,
    /// The connection breaks.
    Break,
}

/// The response of a reply that has one.
pub(super) fn response(reply: &Reply, asked: &Asked) -> Response<Body> {
    match reply {
        Reply::Text(text) if asked.streamed() => stream_of(asked, deltas(text), End::Whole),
        Reply::Text(text) | Reply::Whole(text) => {
            server::json(200, &completion(asked, text, "stop"))
        }
        Reply::Azure(text) => stream_of(asked, azure(text), End::Whole),
        Reply::Reasoned(thought, text) => {
            let thinking = pieces(thought)
                .into_iter()
                .map(|piece| json!({ "delta": { "reasoning_content": piece, "content": null } }));
            stream_of(asked, thinking.chain(deltas(text)).collect(), End::Whole)
        }
        Reply::CutOff(text) if asked.streamed() => stream_of(asked, deltas(text), End::OutOfTokens),
        Reply::CutOff(text) => server::json(200, &completion(asked, text, "length")),
        Reply::StallMidway(text) => stream_of(asked, half(text), End::Silence),
        Reply::BreakOff(text) => stream_of(asked, half(text), End::Break),
        Reply::RateLimited(seconds) => {
            let mut response = error(429, "requests", "rate_limit_exceeded");
            response.headers_mut().insert("retry-after", (*seconds).into());
            response
        }
        Reply::Unauthorized => error(401, "invalid_request_error", "invalid_api_key"),
        Reply::Status(status) => error(*status, "server_error", "server_error"),
        Reply::TooLong => error(400, "invalid_request_error", "context_length_exceeded"),
        Reply::Html => server::whole(200, "text/html", "<html><body>Please log in</body></html>"),
        Reply::BrokenJson if asked.streamed() => {
            server::whole(200, "text/event-stream", "data: {\"id\":\"chatcmpl-1\",\"choi\n\n")
        }
        Reply::BrokenJson => {
            server::whole(200, "application/json", "{\"id\":\"chatcmpl-1\",\"choi")
        }
        Reply::InvalidUtf8 => {
            let bytes = b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\xc3\"}}]}\n\n";
            server::whole(200, "text/event-stream", Bytes::from_static(bytes))
        }
        Reply::ContentFilter if asked.streamed() => {
            let filtered = json!({ "delta": {}, "finish_reason": "content_filter" });
            stream_of(asked, vec![filtered], End::Whole)
        }
        Reply::ContentFilter => server::json(200, &completion(asked, "", "content_filter")),
        Reply::Stall | Reply::Close => unreachable!("these have no response"),
    }
}

/// An error object.
pub(super) fn error(status: u16, kind: &str, code: &str) -> Response<Body> {
    let message = format!("simulated: {code}");
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    server::json(status, &json!({ "error": error }))
}

/// A whole completion.
fn completion(asked: &Asked, text: &str, finish: &str) -> Value {
    json!({
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": asked.body["model"],
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": text },
            "finish_reason": finish,
        }],
        "usage": usage(),
    })
}

fn usage() -> Value {
    json!({ "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18 })
}

fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let size = CHUNK.max(characters.len().div_ceil(MAX_CHUNKS));
    characters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

fn deltas(text: &str) -> Vec<Value> {
    let first = json!({ "delta": { "role": "assistant", "content": "" } });
    let rest = pieces(text).into_iter().map(|piece| json!({ "delta": { "content": piece } }));
    std::iter::once(first).chain(rest).collect()
}

/// The first half of a text's chunks; never all of them.
fn half(text: &str) -> Vec<Value> {
    let mut deltas = deltas(text);
    deltas.truncate(deltas.len().div_ceil(2));
    deltas
}

/// `Null` stands for Azure's first chunk, the one without choices.
fn azure(text: &str) -> Vec<Value> {
    let filter = json!({ "hate": { "filtered": false, "severity": "safe" } });
    let filtered = deltas(text).into_iter().map(move |mut choice| {
        choice["content_filter_results"] = filter.clone();
        choice
    });
    std::iter::once(Value::Null).chain(filtered).collect()
}

fn stream_of(asked: &Asked, choices: Vec<Value>, end: End) -> Response<Body> {
    let mut events: Vec<String> =
        choices.into_iter().map(|choice| event(&chunk(asked, choice))).collect();
    if matches!(end, End::Whole | End::OutOfTokens) {
        let finished = events.iter().any(|event| event.contains("\"content_filter\""));
        if !finished {
            let reason = if matches!(end, End::Whole) { "stop" } else { "length" };
            events.push(event(&chunk(asked, json!({ "delta": {}, "finish_reason": reason }))));
        }
        if asked.body["stream_options"]["include_usage"] == true {
            let mut last = chunk(asked, Value::Null);
            last["usage"] = usage();
            events.push(event(&last));
        }
        events.push("data: [DONE]\n\n".into());
    }
    let sent = stream::iter(events).then(|event| async move {
        // hyper writes out what it has when the next event is not there at once.
        tokio::task::yield_now().await;
        Ok(Frame::data(Bytes::from(event)))
    });
    let body = StreamBody::new(sent.chain(ending(end)));
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(body.boxed_unsync())
        .expect("a valid header")
}

/// What follows the last event.
fn ending(end: End) -> BoxStream<'static, io::Result<Frame<Bytes>>> {
    match end {
        End::Whole | End::OutOfTokens => stream::empty().boxed(),
        End::Silence => stream::pending().boxed(),
        End::Break => stream::once(async {
            // The events before are to arrive, not to be lost with the connection.
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err(io::Error::other("broken off on purpose"))
        })
        .boxed(),
    }
}

fn event(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

/// A chunk with this choice; without any when it is `Null`.
fn chunk(asked: &Asked, mut choice: Value) -> Value {
    let choices = if choice.is_null() {
        json!([])
    } else {
        choice["index"] = 0.into();
        json!([choice])
    };
    json!({
        "id": "chatcmpl-simulated",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": asked.body["model"],
        "choices": choices,
    })
}

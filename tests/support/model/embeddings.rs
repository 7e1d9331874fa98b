//! Embeddings as OpenAI-compatible endpoints make them: "Create embeddings" of OpenAI's API
//! reference; the limit of texts a request as DashScope documents it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::KEY;
use super::wire;
use crate::support::server::{self, Answer, Received};

/// Words that mean the same have a number of their own in each vector.
const MEANINGS: &[&[&str]] = &[
    &["猫", "狗", "宠物", "cat", "pet"],
    &["花生", "过敏", "allergic", "sick"],
    &["杭州", "上海", "住", "城市", "live", "city"],
    &["茶", "咖啡", "喝", "drink"],
];

/// How it answers.
#[derive(Debug)]
pub struct Embeddings {
    /// Numbers in a vector.
    pub dimensions: AtomicUsize,
    /// Most texts a request.
    pub most_texts: AtomicUsize,
    /// Answers 503 instead.
    pub down: AtomicBool,
    /// Texts that were embedded so far.
    pub texts: AtomicUsize,
    /// Requests that came so far.
    pub requests: AtomicUsize,
}

impl Default for Embeddings {
    fn default() -> Self {
        Self {
            dimensions: AtomicUsize::new(64),
            most_texts: AtomicUsize::new(10),
            down: AtomicBool::new(false),
            texts: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        }
    }
}

pub(super) fn answer(embeddings: &Embeddings, request: &Received) -> Answer {
    embeddings.requests.fetch_add(1, Ordering::Relaxed);
    if request.header("authorization") != format!("Bearer {KEY}") {
        return Some(wire::error(401, "invalid_request_error", "invalid_api_key"));
    }
    if embeddings.down.load(Ordering::Relaxed) {
        return Some(wire::error(503, "server_error", "overloaded"));
    }
    let Some(body) = request.json() else {
        return Some(wire::error(400, "invalid_request_error", "invalid_body"));
    };
    let texts: Vec<&str> = match &body["input"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let too_many = texts.len() > embeddings.most_texts.load(Ordering::Relaxed);
    if texts.is_empty() || too_many || texts.iter().any(|text| text.is_empty()) {
        return Some(wire::error(400, "invalid_request_error", "InvalidParameter"));
    }
    embeddings.texts.fetch_add(texts.len(), Ordering::Relaxed);
    let own = embeddings.dimensions.load(Ordering::Relaxed);
    let dimensions = body["dimensions"].as_u64().map_or(own, |asked| asked as usize);
    // The order of the answer is not that of the question: `index` tells.
    let data = texts.iter().enumerate().rev().map(|(index, text)| {
        json!({"object": "embedding", "index": index, "embedding": vector(text, dimensions)})
    });
    let tokens = texts.len();
    Some(server::json(
        200,
        &json!({
            "object": "list",
            "data": data.collect::<Vec<_>>(),
            "model": body["model"],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }),
    ))
}

/// Texts with words of the same meaning are near each other, and those without far.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimensions];
    for (place, words) in MEANINGS.iter().enumerate() {
        if words.iter().any(|word| text.contains(word)) {
            vector[place % dimensions] += 4.0;
        }
    }
    for c in text.chars() {
        vector[(c as usize * 31) % dimensions] += 0.3;
    }
    vector
}

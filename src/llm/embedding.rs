//! What texts mean, as vectors, asked of an endpoint.
//!
//! The wire is "Create embeddings" of OpenAI's API reference, as Azure, DashScope, Ollama and vLLM
//! document it of their own compatible endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use prometheus::IntGauge;
use reqwest::Response;
use serde::{Deserialize, Serialize};

use super::breaker::Breaker;
use super::error::{Failure, LlmError, Retry};
use super::rejection;
use super::wire::Endpoint;
use crate::config::settings::Llm;
use crate::outbound::{self, ClientError};
use crate::telemetry::metrics::Metrics;

/// The operation in the metrics' labels.
const OPERATION: &str = "embedding";
/// Texts of one request. Some endpoints take fewer (DashScope: 10), and say so by a 400.
const MOST_TEXTS: usize = 32;
/// Attempts after the first one, in the background.
const MAX_RETRIES: usize = 2;
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// Longest wait that `Retry-After` is granted.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(20);
/// How long an endpoint that kept failing is left alone.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// Most bytes of an answer: 32 vectors of 4,096 numbers of 20 characters, twice.
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;
/// Longest text that is sent, in characters; models cut texts of some thousand tokens.
const MAX_CHARS: usize = 4_000;

/// An embedding model behind an OpenAI-compatible endpoint.
#[derive(Debug)]
pub struct EmbeddingModel {
    client: reqwest::Client,
    endpoint: Endpoint,
    name: String,
    dimensions: usize,
    timeout: Duration,
    /// Texts of a request that the endpoint took last, or may take.
    texts: AtomicUsize,
    breaker: Breaker,
    metrics: Arc<Metrics>,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Datum>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Datum {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
}

impl EmbeddingModel {
    /// The model that the settings name; `None`: they name none. Nothing is sent yet.
    ///
    /// # Errors
    /// The platform's TLS roots cannot be read.
    pub fn new(settings: &Llm, metrics: Arc<Metrics>) -> Result<Option<Self>, ClientError> {
        let embedding = &settings.embedding;
        if embedding.model.trim().is_empty() {
            return Ok(None);
        }
        // What it is to the chat models' gauge this circuit is nobody's business.
        let gauge = IntGauge::new("embedding_circuit_open", "1 while it is left alone");
        let gauge = gauge.unwrap_or_else(|_| metrics.llm_circuit_open.clone());
        Ok(Some(Self {
            client: outbound::client(settings.timeout)?,
            endpoint: Endpoint::of_embeddings(settings),
            name: embedding.model.trim().to_owned(),
            dimensions: embedding.dimensions,
            timeout: settings.timeout,
            texts: AtomicUsize::new(MOST_TEXTS),
            breaker: Breaker::new(OPEN_FOR, gauge),
            metrics,
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The vectors of texts, in their order, of unit length; tried again where that may help.
    ///
    /// # Errors
    /// As those of a question to a chat model.
    pub async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, LlmError> {
        let mut vectors = Vec::with_capacity(texts.len());
        while vectors.len() < texts.len() {
            let rest = &texts[vectors.len()..];
            let count = self.texts.load(Ordering::Relaxed).clamp(1, rest.len());
            match self.several(&rest[..count]).await {
                Ok(found) => vectors.extend(found),
                // Too many at once, perhaps; of a single one the complaint is meant.
                Err(LlmError::BadRequest(_)) if count > 1 => {
                    self.texts.store(if count > 10 { 10 } else { 1 }, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(vectors)
    }

    /// The vector of a question, for which somebody waits: asked once, and for no longer than
    /// `patience`.
    ///
    /// # Errors
    /// As those of [`embed`](Self::embed).
    pub async fn embed_now(&self, text: &str, patience: Duration) -> Result<Vec<f32>, LlmError> {
        let text = [text.to_owned()];
        let call = self.breaker.admit().ok_or(LlmError::CircuitOpen)?;
        let attempt = tokio::time::timeout(patience, self.attempt(&text)).await;
        match attempt.unwrap_or_else(|_| Err(Failure::timeout())) {
            Ok(mut vectors) => {
                call.succeeded();
                Ok(vectors.remove(0))
            }
            Err(failure) => {
                let failed = failure.error.blames_endpoint();
                if failed {
                    call.failed()
                } else {
                    call.succeeded()
                }
                Err(failure.error)
            }
        }
    }

    async fn several(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, LlmError> {
        let call = self.breaker.admit().ok_or(LlmError::CircuitOpen)?;
        let backoff = ExponentialBuilder::new()
            .with_min_delay(FIRST_DELAY)
            .with_max_times(MAX_RETRIES)
            .with_jitter();
        let result = (|| self.attempt(texts))
            .retry(backoff)
            .when(|failure: &Failure| failure.retry != Retry::Never)
            .adjust(|failure: &Failure, delay| {
                let asked = failure.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
                delay.map(|delay| delay.max(asked))
            })
            .await;
        match &result {
            Err(failure) if failure.error.blames_endpoint() => call.failed(),
            Ok(_) | Err(_) => call.succeeded(),
        }
        result.map_err(|failure| failure.error)
    }

    async fn attempt(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, Failure> {
        let started = Instant::now();
        let exchange = tokio::time::timeout(self.timeout, self.exchange(texts)).await;
        let result = exchange.unwrap_or_else(|_| Err(Failure::timeout()));
        let result = result.map_err(|failure| failure.redact(self.endpoint.key()));
        let outcome = result.as_ref().err().map_or("ok", |failure| failure.error.outcome());
        self.metrics.llm_request(OPERATION, outcome, started);
        result
    }

    async fn exchange(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, Failure> {
        let shown: Vec<String> = texts.iter().map(|text| shown(text)).collect();
        let body = Body {
            model: &self.name,
            input: &shown,
            encoding_format: "float",
            dimensions: (self.dimensions > 0).then_some(self.dimensions),
        };
        let response = self.endpoint.post(&self.client, &body)?.send().await?;
        if !response.status().is_success() {
            return Err(rejection::read(response).await);
        }
        let answer = read(response).await?;
        if let Some(usage) = answer.usage {
            self.metrics.llm_tokens.with_label_values(&["prompt"]).inc_by(usage.prompt_tokens);
        }
        self.vectors(answer.data, texts.len())
    }

    /// The vectors in the order of their texts.
    fn vectors(&self, data: Vec<Datum>, count: usize) -> Result<Vec<Vec<f32>>, Failure> {
        let mut vectors = vec![Vec::new(); count];
        for (place, datum) in data.into_iter().enumerate() {
            let Some(vector) = vectors.get_mut(datum.index.unwrap_or(place)) else {
                return Err(Failure::rubbish("it has more vectors than there were texts"));
            };
            *vector = unit(datum.embedding)
                .ok_or_else(|| Failure::rubbish("a vector has no length, or no numbers"))?;
        }
        let length = vectors[0].len();
        if vectors.iter().any(|vector| vector.is_empty() || vector.len() != length) {
            return Err(Failure::rubbish("it lacks a vector, or they are of several lengths"));
        }
        if self.dimensions > 0 && length != self.dimensions {
            let what = format!(
                "its vectors have {length} numbers, llm.embedding.dimensions is {}",
                self.dimensions
            );
            return Err(Failure::new(LlmError::BadRequest(what), Retry::Never));
        }
        Ok(vectors)
    }
}

/// What of a text is sent; some endpoints refuse an empty one.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(MAX_CHARS).collect();
    if text.trim().is_empty() { "-".into() } else { text }
}

async fn read(mut response: Response) -> Result<Answer, Failure> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > MAX_ANSWER_BYTES {
            return Err(Failure::rubbish("it is far too long"));
        }
        body.extend_from_slice(&part);
    }
    let value = serde_json::from_slice(&body)
        .map_err(|_| Failure::rubbish("it is no JSON of the embeddings interface"))?;
    if let Some(failure) = rejection::inside(&value) {
        return Err(failure);
    }
    serde_json::from_value(value).map_err(|_| Failure::rubbish("it has no list of embeddings"))
}

/// A vector made as long as one; `None`: it cannot be.
fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|it| f64::from(*it) * f64::from(*it)).sum::<f64>().sqrt();
    if !length.is_finite() || length < 1e-12 {
        return None;
    }
    vector.iter_mut().for_each(|it| *it = (f64::from(*it) / length) as f32);
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_made_as_long_as_one() {
        assert_eq!(unit(vec![3.0, 4.0]), Some(vec![0.6, 0.8]));
        for none in [vec![], vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY]] {
            assert_eq!(unit(none), None);
        }
    }

    #[test]
    fn what_is_sent_is_bounded_and_never_empty() {
        assert_eq!(shown(" "), "-");
        assert_eq!(shown(&"话".repeat(9_000)).chars().count(), MAX_CHARS);
    }
}

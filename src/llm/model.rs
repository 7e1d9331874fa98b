//! One question asked until it is answered or hopeless.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use tokio::sync::Semaphore;

use super::breaker::Breaker;
use super::chat::{ChatMessage, ChatRequest, Completion, Role};
use super::error::{Failure, LlmError, Retry};
use super::wire::{Dialect, Endpoint};
use super::{rejection, stream};
use crate::config::settings::Llm;
use crate::outbound::{self, ClientError};
use crate::telemetry::metrics::Metrics;

/// The operation in the metrics' labels.
const OPERATION: &str = "chat";
/// Longest attempt, in multiples of `llm.timeout`: comments that only keep a connection alive
/// break the silence without end.
const ATTEMPT_TIMEOUTS: u32 = 4;
/// Attempts after the first one.
const MAX_RETRIES: usize = 2;
/// Most changes to a request that an endpoint does not understand, within one attempt.
const MAX_CHANGES: usize = 2;

/// How patient the model is with its endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Wait before the second attempt, to be doubled and jittered from there on.
    pub(super) first_delay: Duration,
    /// Longest wait that `Retry-After` is granted.
    pub(super) max_retry_after: Duration,
    /// How long the circuit stays open.
    pub(super) open_for: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(500),
            max_retry_after: Duration::from_secs(20),
            open_for: Duration::from_secs(30),
        }
    }
}

/// A model behind an OpenAI-compatible endpoint; shared by reference, safe to ask from many tasks.
#[derive(Debug)]
pub struct ChatModel {
    client: reqwest::Client,
    endpoint: Endpoint,
    timeout: Duration,
    pace: Pace,
    permits: Semaphore,
    breaker: Breaker,
    /// What the endpoint understood last.
    dialect: Mutex<Dialect>,
    metrics: Arc<Metrics>,
}

impl ChatModel {
    /// The model that the settings name. Nothing is sent yet.
    ///
    /// # Errors
    /// The platform's TLS roots cannot be read.
    pub fn new(settings: &Llm, metrics: Arc<Metrics>) -> Result<Self, ClientError> {
        Self::with_pace(settings, metrics, Pace::default())
    }

    pub(super) fn with_pace(
        settings: &Llm,
        metrics: Arc<Metrics>,
        pace: Pace,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            client: outbound::client(settings.timeout)?,
            endpoint: Endpoint::new(settings),
            timeout: settings.timeout,
            pace,
            permits: Semaphore::new(settings.max_concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            breaker: Breaker::new(pace.open_for, metrics.llm_circuit_open.clone()),
            dialect: Mutex::default(),
            metrics,
        })
    }

    /// Whether [`complete`](Self::complete) would fail at once, because the model kept failing.
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Asks the model. Waits for its turn when `llm.max_concurrency` requests are under way, and
    /// tries again where that may help. Dropping the future gives the request up.
    ///
    /// # Errors
    /// Every kind but those of a refused request counts towards opening the circuit.
    pub async fn complete(&self, request: &ChatRequest) -> Result<Completion, LlmError> {
        if self.is_open() {
            return Err(LlmError::CircuitOpen);
        }
        let _permit = self.permits.acquire().await.expect("this semaphore is never closed");
        let call = self.breaker.admit().ok_or(LlmError::CircuitOpen)?;
        let result = self.ask(request).await;
        match &result {
            Err(error) if error.blames_endpoint() => call.failed(),
            Ok(_) | Err(_) => call.succeeded(),
        }
        result
    }

    /// Asks once, for a single token: whether the endpoint takes the key, knows the model and is
    /// paid for. The caller sets a limit to the time.
    ///
    /// # Errors
    /// As those of [`complete`](Self::complete), of one attempt.
    pub async fn probe(&self) -> Result<(), LlmError> {
        let messages = vec![ChatMessage::new(Role::User, "ping")];
        match self.attempt(&ChatRequest { messages, max_tokens: 1 }).await {
            Ok(_) => Ok(()),
            // One that thinks first has no token left to speak with.
            Err(failure) if failure.error == LlmError::OutOfTokens => Ok(()),
            Err(failure) => Err(failure.error),
        }
    }

    async fn ask(&self, request: &ChatRequest) -> Result<Completion, LlmError> {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(self.pace.first_delay)
            .with_max_times(MAX_RETRIES)
            .with_jitter();
        // Slow failures use up a person's patience as well as many: no attempt begins after the
        // time of one.
        let last_start = Instant::now() + self.longest_attempt();
        let mut once = true;
        let worth_it = |failure: &Failure| {
            let allowed = match failure.retry {
                Retry::Never => false,
                Retry::Once => std::mem::take(&mut once),
                Retry::Yes => true,
            };
            allowed && Instant::now() < last_start
        };
        (|| self.attempt(request))
            .retry(backoff)
            .when(worth_it)
            .adjust(|failure: &Failure, delay| {
                let asked = failure.retry_after.unwrap_or_default().min(self.pace.max_retry_after);
                delay.map(|delay| delay.max(asked))
            })
            .notify(|failure: &Failure, delay| {
                let (error_kind, delay_ms) = (failure.error.outcome(), delay.as_millis() as u64);
                tracing::warn!(
                    error = %failure.error,
                    error_kind,
                    delay_ms,
                    "the model did not answer, asking again"
                );
            })
            .await
            .map_err(|failure| failure.error)
    }

    /// One attempt, with the request changed until the endpoint understands it.
    async fn attempt(&self, request: &ChatRequest) -> Result<Completion, Failure> {
        let mut dialect = *self.dialect();
        let mut changes = 0;
        loop {
            let started = Instant::now();
            let exchange = self.exchange(request, dialect);
            let result = tokio::time::timeout(self.longest_attempt(), exchange).await;
            let result = result.unwrap_or_else(|_| Err(Failure::timeout()));
            let count = |outcome| self.metrics.llm_request(OPERATION, outcome, started);
            let failure = match result {
                Ok(completion) => {
                    count("ok");
                    self.count_tokens(&completion);
                    // Remembered only now: a request may name a parameter and be at fault itself.
                    *self.dialect() = dialect;
                    return Ok(completion);
                }
                Err(failure) => failure.redact(self.endpoint.key()),
            };
            let changed = failure.rejected.and_then(|parameter| dialect.without(parameter));
            match changed.filter(|_| changes < MAX_CHANGES) {
                Some(changed) => {
                    count("renegotiated");
                    tracing::info!(parameter = ?failure.rejected, "the model does not know a parameter");
                    dialect = changed;
                    changes += 1;
                }
                None => {
                    count(failure.error.outcome());
                    return Err(failure);
                }
            }
        }
    }

    async fn exchange(
        &self,
        request: &ChatRequest,
        dialect: Dialect,
    ) -> Result<Completion, Failure> {
        let response = self.endpoint.request(&self.client, request, dialect)?.send().await?;
        if response.status().is_success() {
            stream::read(response).await
        } else {
            Err(rejection::read(response).await)
        }
    }

    fn count_tokens(&self, completion: &Completion) {
        let Some(usage) = completion.usage else { return };
        let tokens = &self.metrics.llm_tokens;
        tokens.with_label_values(&["prompt"]).inc_by(usage.prompt_tokens);
        tokens.with_label_values(&["completion"]).inc_by(usage.completion_tokens);
    }

    fn longest_attempt(&self) -> Duration {
        self.timeout.saturating_mul(ATTEMPT_TIMEOUTS)
    }

    fn dialect(&self) -> MutexGuard<'_, Dialect> {
        // Copied in and out whole: there is no half-written one.
        self.dialect.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

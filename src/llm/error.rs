//! Why there is no answer, told to an operator; and whether another attempt may help.

use std::error::Error;
use std::time::Duration;

/// Why there is no answer. `Display` is a sentence for an operator that names the remedy; text of
/// the endpoint in it is one short line without the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// The model kept failing and is not asked for the moment.
    #[error(
        "the model kept failing and is not asked for a while: the failures logged before say why"
    )]
    CircuitOpen,
    /// Silence longer than `llm.timeout`, or an answer that took more than four times as long.
    #[error(
        "the model did not answer in time: raise llm.timeout / OPENAI_REQUEST_TIMEOUT, or choose \
         a faster llm.model"
    )]
    Timeout,
    /// No connection: refused, no such host, TLS, or none in time.
    #[error(
        "the model cannot be reached ({0}): check llm.base_url / OPENAI_API_BASE and the network"
    )]
    Unreachable(String),
    /// 429.
    #[error(
        "the model takes no more requests (429): lower llm.max_concurrency, or raise the \
         account's rate limit"
    )]
    RateLimited,
    /// An account without funds: 402 and its relatives.
    #[error("the model's account has no quota left: top it up, or set another llm.api_key")]
    OutOfQuota,
    /// 401 or 403.
    #[error("the model refused the key (401): check llm.api_key / OPENAI_API_KEY")]
    Unauthorized,
    /// 404: no such model, or no such address.
    #[error(
        "the model was not found (404): check llm.model / OPENAI_MODEL and llm.base_url / \
         OPENAI_API_BASE"
    )]
    ModelNotFound,
    /// The prompt and the answer asked for are more than the model takes.
    #[error(
        "the prompt is longer than the model takes: lower llm.prompt_tokens or llm.answer_tokens"
    )]
    ContextTooLong,
    /// The provider's content filter took offence at the prompt or at the answer.
    #[error(
        "the provider's content filter refused the message: rephrase it, or relax the filter there"
    )]
    Refused,
    /// Another 4xx, with what the endpoint said.
    #[error("the model refused the request ({0}): check llm.model and what its provider supports")]
    BadRequest(String),
    /// 5xx, with the status.
    #[error("the model's endpoint failed ({0}): see its log or its provider's status page")]
    Server(u16),
    /// The model thought until it had no token left, and said nothing.
    #[error("the model's thinking took all its tokens: raise llm.answer_tokens")]
    OutOfTokens,
    /// What came back is no answer: empty, broken off, or not this protocol.
    #[error(
        "the model's answer cannot be used ({0}): check llm.base_url / OPENAI_API_BASE and llm.model"
    )]
    BadAnswer(String),
}

impl LlmError {
    /// The label of this outcome in `dingbot_llm_requests_total`.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::RateLimited | Self::OutOfQuota => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::ModelNotFound => "model_not_found",
            Self::ContextTooLong => "context_too_long",
            Self::Refused => "refused",
            Self::BadRequest(_) => "bad_request",
            Self::Server(_) => "server_error",
            Self::OutOfTokens | Self::BadAnswer(_) => "bad_answer",
        }
    }

    /// Whether the next question would likely fail as well; an endpoint that says why it does not
    /// like this very question is in good health.
    pub(super) fn blames_endpoint(&self) -> bool {
        !matches!(self, Self::Refused | Self::BadRequest(_) | Self::ContextTooLong)
    }
}

/// Whether another attempt may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would fail in the same way.
    Never,
    /// A single other attempt is worth its price.
    Once,
    /// As often as the pace allows.
    Yes,
}

/// An optional part of a request that an endpoint may not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    /// `max_tokens`, or `max_completion_tokens` in its place.
    TokenLimit,
    /// `stream_options`.
    StreamOptions,
}

/// One attempt that brought no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) error: LlmError,
    pub(super) retry: Retry,
    /// How long the endpoint asked to be left alone (`Retry-After`).
    pub(super) retry_after: Option<Duration>,
    /// The parameter the endpoint took offence at.
    pub(super) rejected: Option<Parameter>,
}

impl Failure {
    pub(super) fn new(error: LlmError, retry: Retry) -> Self {
        Self { error, retry, retry_after: None, rejected: None }
    }

    /// Silence, or an answer without end: repeating it would keep the person waiting as long
    /// again, so it is final.
    pub(super) fn timeout() -> Self {
        Self::new(LlmError::Timeout, Retry::Never)
    }

    /// An answer that stopped in the middle.
    pub(super) fn broken_off() -> Self {
        Self::new(LlmError::BadAnswer("it broke off before its end".into()), Retry::Yes)
    }

    /// What is not this protocol; a proxy's hiccup more often than not.
    pub(super) fn rubbish(what: impl Into<String>) -> Self {
        Self::new(LlmError::BadAnswer(what.into()), Retry::Once)
    }

    /// Takes `secret` out of what the endpoint said: one that echoes the request must not carry
    /// the key into a log.
    pub(super) fn redact(mut self, secret: &str) -> Self {
        if let LlmError::Unreachable(text)
        | LlmError::BadRequest(text)
        | LlmError::BadAnswer(text) = &mut self.error
        {
            if !secret.is_empty() && text.contains(secret) {
                *text = text.replace(secret, "***");
            }
            *text = one_line(text);
        }
        self
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // A connection that could not be made in time is both; nothing was asked yet then.
        if error.is_connect() {
            Self::new(LlmError::Unreachable(root_cause(&error)), Retry::Yes)
        } else if error.is_timeout() {
            Self::timeout()
        } else if error.is_builder() {
            Self::new(LlmError::Unreachable(root_cause(&error)), Retry::Never)
        } else {
            Self::broken_off()
        }
    }
}

/// What lies at the bottom of an error: "connection refused" rather than "error sending request",
/// and without the address, whose query may hold a key.
fn root_cause(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else { return "the request could not be made".into() };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Most characters of an endpoint's own words in an error.
const MAX_QUOTED: usize = 200;

/// `text` as one line of at most [`MAX_QUOTED`] characters, without control characters.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_out_before_the_text_is_cut() {
        let said = format!("{}\nno such key: sk-secret-1234\u{1b}[31m", "a ".repeat(90));
        let failure =
            Failure::new(LlmError::BadRequest(said), Retry::Never).redact("sk-secret-1234");
        let shown = failure.error.to_string();
        assert!(shown.contains("no such"), "{shown}");
        assert!(!shown.contains("sk-secret"), "{shown}");
        assert!(!shown.contains(['\n', '\u{1b}']), "{shown:?}");
    }

    #[test]
    fn what_the_endpoint_says_is_kept_short() {
        let failure = Failure::rubbish("错".repeat(5_000)).redact("key");
        assert!(failure.error.to_string().chars().count() < 400);
    }

    #[test]
    fn a_refused_question_says_nothing_of_the_endpoints_health() {
        assert!(!LlmError::Refused.blames_endpoint());
        assert!(!LlmError::ContextTooLong.blames_endpoint());
        assert!(LlmError::Unauthorized.blames_endpoint());
        assert!(LlmError::Server(500).blames_endpoint());
    }
}

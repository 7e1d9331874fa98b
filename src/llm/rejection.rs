//! What an endpoint says when it does not answer, put into one of our kinds of error.
//!
//! There is no common shape: `{"error":{"message","code"}}` (OpenAI and most others),
//! `{"error":"…"}` (Ollama), `{"message":…}` (vLLM, Mistral), `{"detail":…}` (NVIDIA and what is
//! built on `FastAPI`), an array around any of them (Gemini), plain text, or a proxy's HTML page.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::error::{Failure, LlmError, Parameter, Retry};

/// Most bytes read of an error's body.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// Reads an answer whose status is not 2xx.
pub(super) async fn read(mut response: Response) -> Failure {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), Timestamp::now());
    let mut body = Vec::new();
    // A body that breaks off changes nothing about the status.
    while body.len() < MAX_ERROR_BYTES
        && let Ok(Some(part)) = response.chunk().await
    {
        body.extend_from_slice(&part);
    }
    body.truncate(MAX_ERROR_BYTES);
    let body = String::from_utf8_lossy(&body);
    let complaint = match serde_json::from_str(&body) {
        Ok(value) => Complaint::of(&value),
        Err(_) => Complaint::plain(&body),
    };
    Failure { retry_after, ..complaint.with_status(status) }
}

/// The error inside `value`, if it is one: an answer of status 200, or a part of a stream, may be.
pub(super) fn inside(value: &Value) -> Option<Failure> {
    let error = value.get("error").is_some_and(|e| !e.is_null() && *e != Value::Bool(false));
    // vLLM: `{"object":"error","message":…,"code":…}`.
    let object = value.get("object").and_then(Value::as_str) == Some("error");
    (error || object).then(|| reported(value))
}

/// The error that `value` is said to be (an SSE event named `error`).
pub(super) fn reported(value: &Value) -> Failure {
    let complaint = Complaint::of(value);
    match complaint.status {
        Some(status) => complaint.with_status(status),
        None => complaint.without_status(),
    }
}

/// What can be made out of an error's body.
#[derive(Debug, Default)]
struct Complaint {
    /// For an operator to read.
    message: String,
    /// Everything in which a word may tell the kind, in lower case.
    text: String,
    /// An HTTP status given as the code.
    status: Option<u16>,
}

impl Complaint {
    fn of(value: &Value) -> Self {
        let value = value.get(0).unwrap_or(value);
        let error = value.get("error").filter(|e| e.is_object() || e.is_string()).unwrap_or(value);
        let message = ["message", "detail", "error"]
            .iter()
            .find_map(|field| error.get(field))
            .unwrap_or(error);
        let status = ["code", "status"].iter().find_map(|field| error.get(field)?.as_u64());
        Self {
            message: message.as_str().map_or_else(|| message.to_string(), str::to_owned),
            text: value.to_string().to_lowercase(),
            status: status.and_then(|s| u16::try_from(s).ok()).filter(|s| (400..600).contains(s)),
        }
    }

    fn plain(body: &str) -> Self {
        let page = body.trim_start().starts_with('<');
        Self {
            message: if page { "it sent a web page".into() } else { body.trim().into() },
            text: body.to_lowercase(),
            status: None,
        }
    }

    fn with_status(self, status: u16) -> Failure {
        use LlmError as E;
        match status {
            300..400 => Failure::new(
                E::BadAnswer(format!("it is a redirect ({status}), and none is followed")),
                Retry::Never,
            ),
            401 => Failure::new(E::Unauthorized, Retry::Never),
            402 => Failure::new(E::OutOfQuota, Retry::Never),
            404 => Failure::new(E::ModelNotFound, Retry::Never),
            408 => Failure::new(E::Timeout, Retry::Yes),
            413 => Failure::new(E::ContextTooLong, Retry::Never),
            429 if self.mentions(OUT_OF_FUNDS) => Failure::new(E::OutOfQuota, Retry::Never),
            429 => Failure::new(E::RateLimited, Retry::Yes),
            500..600 => Failure::new(E::Server(status), Retry::Yes),
            400..500 => self.known().unwrap_or_else(|| {
                if status == 403 {
                    return Failure::new(E::Unauthorized, Retry::Never);
                }
                let rejected = self.rejected();
                let said = match self.message.as_str() {
                    "" => format!("{status}"),
                    message => format!("{status}: {message}"),
                };
                Failure { rejected, ..Failure::new(E::BadRequest(said), Retry::Never) }
            }),
            _ => Failure::rubbish(format!("status {status}")),
        }
    }

    /// An error inside an answer; when nothing tells its kind it is taken for a passing one.
    fn without_status(self) -> Failure {
        self.known().unwrap_or_else(|| {
            let said = format!("it is an error: {}", self.message);
            Failure::new(LlmError::BadAnswer(said), Retry::Yes)
        })
    }

    /// The kind that codes and phrases tell, whatever the status.
    fn known(&self) -> Option<Failure> {
        let kinds: [(&[&str], LlmError, Retry); 6] = [
            (FILTERED, LlmError::Refused, Retry::Never),
            (TOO_LONG, LlmError::ContextTooLong, Retry::Never),
            (OUT_OF_FUNDS, LlmError::OutOfQuota, Retry::Never),
            (TOO_FAST, LlmError::RateLimited, Retry::Yes),
            (BAD_KEY, LlmError::Unauthorized, Retry::Never),
            (NO_MODEL, LlmError::ModelNotFound, Retry::Never),
        ];
        let (_, error, retry) = kinds.into_iter().find(|(phrases, ..)| self.mentions(phrases))?;
        Some(Failure::new(error, retry))
    }

    /// The parameter of ours it does not like.
    fn rejected(&self) -> Option<Parameter> {
        if self.mentions(&["stream_options"]) {
            Some(Parameter::StreamOptions)
        } else if self.mentions(&["max_tokens", "max_completion_tokens"]) {
            Some(Parameter::TokenLimit)
        } else {
            None
        }
    }

    fn mentions(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.text.contains(phrase))
    }
}

// Codes and phrases, in lower case, as the providers' error tables and servers' sources have them.

/// OpenAI and Azure; DashScope; DeepSeek; Zhipu (1301).
const FILTERED: &[&str] = &[
    "content_filter",
    "content management policy",
    "data_inspection_failed",
    "datainspectionfailed",
    "content exists risk",
    "\"1301\"",
];
/// OpenAI, vLLM and DeepSeek; DashScope; llama.cpp.
const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "maximum context length",
    "maximum model length",
    "range of input length",
    "exceed_context_size",
    "exceeds the available context size",
];
/// OpenAI; DashScope; DeepSeek.
const OUT_OF_FUNDS: &[&str] =
    &["insufficient_quota", "exceeded your current quota", "arrearage", "insufficient balance"];
const TOO_FAST: &[&str] = &["rate_limit", "rate limit", "too many requests", "throttling"];
/// OpenAI and DashScope; Gemini.
const BAD_KEY: &[&str] = &["invalid_api_key", "incorrect api key", "api key not valid"];
/// OpenAI and DashScope; DeepSeek.
const NO_MODEL: &[&str] = &["model_not_found", "model not exist"];

/// How long `Retry-After` asks to wait: seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rejected(status: u16, body: Value) -> Failure {
        Complaint::of(&body).with_status(status)
    }

    #[test]
    fn the_message_is_found_in_every_shape() {
        for body in [
            json!({"error": {"message": "no such thing", "code": null}}),
            json!({"error": "no such thing"}),
            json!({"message": "no such thing", "object": "error"}),
            json!({"detail": "no such thing"}),
            json!([{"error": {"message": "no such thing", "status": "INVALID_ARGUMENT"}}]),
            json!("no such thing"),
        ] {
            let error = rejected(400, body).error;
            assert_eq!(error, LlmError::BadRequest("400: no such thing".into()));
        }
        let page = Complaint::plain("<html><body>Bad Request</body></html>").with_status(400);
        assert_eq!(page.error, LlmError::BadRequest("400: it sent a web page".into()));
        assert_eq!(Complaint::plain("").with_status(400).error, LlmError::BadRequest("400".into()));
    }

    #[test]
    fn codes_and_phrases_tell_the_kind() {
        let kinds = [
            (400, json!({"error": {"code": "content_filter"}}), LlmError::Refused),
            (
                400,
                json!({"error": {"code": "data_inspection_failed", "message": "inappropriate"}}),
                LlmError::Refused,
            ),
            (400, json!({"error": {"code": "context_length_exceeded"}}), LlmError::ContextTooLong),
            (
                400,
                json!({"message": "'max_tokens' is too large: 9000. This model's maximum context \
                                   length is 8192 tokens"}),
                LlmError::ContextTooLong,
            ),
            (400, json!({"error": {"message": "Model Not Exist"}}), LlmError::ModelNotFound),
            (400, json!([{"error": {"message": "API key not valid."}}]), LlmError::Unauthorized),
            (400, json!({"code": "Arrearage"}), LlmError::OutOfQuota),
            (403, json!({"message": "no access"}), LlmError::Unauthorized),
            (402, json!({"error": {"message": "Insufficient Balance"}}), LlmError::OutOfQuota),
        ];
        for (status, body, error) in kinds {
            let failure = rejected(status, body.clone());
            assert_eq!(failure.error, error, "{body}");
            assert_eq!(failure.retry, Retry::Never, "{body}");
            assert_eq!(failure.rejected, None, "{body}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert_eq!(rejected(429, json!({"error": "slow down"})).retry, Retry::Yes);
        assert_eq!(rejected(429, json!({"code": "insufficient_quota"})).retry, Retry::Never);
        assert_eq!(rejected(503, json!({})).retry, Retry::Yes);
        assert_eq!(rejected(418, json!({})).retry, Retry::Never);
    }

    #[test]
    fn the_parameter_at_fault_is_found() {
        let openai = json!({"error": {"message": "Unsupported parameter: 'max_tokens' is not \
            supported with this model. Use 'max_completion_tokens' instead."}});
        assert_eq!(rejected(400, openai).rejected, Some(Parameter::TokenLimit));
        let fastapi = json!({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs \
            are not permitted"}]});
        assert_eq!(rejected(422, fastapi).rejected, Some(Parameter::StreamOptions));
        assert_eq!(rejected(400, json!({"detail": "no such role"})).rejected, None);
    }

    #[test]
    fn an_error_inside_an_answer_is_seen() {
        assert_eq!(inside(&json!({"choices": [], "error": null})), None);
        let kind = |value| inside(&value).map(|failure| failure.error);
        assert_eq!(
            kind(json!({"error": {"code": 502, "message": "upstream"}})),
            Some(LlmError::Server(502))
        );
        assert_eq!(
            kind(json!({"object": "error", "message": "x", "code": 401})),
            Some(LlmError::Unauthorized)
        );
        assert_eq!(
            kind(json!({"error": {"code": "rate_limit_exceeded"}})),
            Some(LlmError::RateLimited)
        );
        let unknown = inside(&json!({"error": {"message": "boom"}})).unwrap();
        assert_eq!(unknown.error, LlmError::BadAnswer("it is an error: boom".into()));
        assert_eq!(unknown.retry, Retry::Yes);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2015-10-21T07:27:30Z".parse().unwrap();
        let wait = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        for value in ["-1", "inf", "soon", ""] {
            assert_eq!(wait(value), None, "{value}");
        }
    }
}

//! Errors as Mem0's clients read them: the text in `detail`.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::reply::Response;

use crate::http::error::ApiError;
use crate::memory::filter::BadFilter;
use crate::store::{BadId, StoreError};

/// What a caller is told to wait when the store failed.
const RETRY: Duration = Duration::from_secs(10);

/// An error of the memory API.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: Value,
    retry_after: Option<Duration>,
    challenge: bool,
    allow: Option<&'static str>,
}

impl Refusal {
    fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self { status, detail: detail.into(), retry_after: None, challenge: false, allow: None }
    }

    /// 400: the request makes no sense.
    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail.into().into_owned())
    }

    /// 422, as the open-source server words what a field is not: `at` is the field.
    pub(super) fn unprocessable(at: &str, message: &str) -> Self {
        let detail = json!([{"type": "value_error", "loc": ["body", at], "msg": message}]);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 404: there is none.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail.into())
    }

    /// 405: the path takes other methods.
    pub(super) fn method(allow: &'static str) -> Self {
        let detail = format!("This path does not take this method; use {allow}.");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// 501: known, and not supported.
    pub(super) fn unsupported(detail: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, detail)
    }

    /// 503: the model that would have to write the answer did not.
    pub(super) fn model_failed() -> Self {
        let detail = "The model gave no usable answer; try again, and see the log.";
        Self { retry_after: Some(RETRY), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// The status, and what the caller is told.
    pub(super) fn into_parts(self) -> (StatusCode, Value) {
        (self.status, self.detail)
    }

    pub(super) fn into_response(self) -> Response {
        // Some clients read one of the two, some the other.
        let text = match &self.detail {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let body = json!({"detail": self.detail, "error": text});
        let mut response = Response::new(body.to_string().into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = self.allow {
            headers.insert(warp::http::header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<BadId> for Refusal {
    fn from(error: BadId) -> Self {
        Self::bad_request(format!("Invalid {error}."))
    }
}

impl From<BadFilter> for Refusal {
    fn from(error: BadFilter) -> Self {
        Self::bad_request(format!("Invalid filters: {error}."))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let error_kind = error.kind();
        tracing::error!(%error, error_kind, "the memory API could not use the store");
        let detail = "The memories cannot be read or kept just now; try again.";
        let status = match error {
            StoreError::Full => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { retry_after: Some(RETRY), ..Self::new(status, detail) }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self {
            retry_after: error.retry_after,
            challenge: error.challenge,
            ..Self::new(error.status, error.message)
        }
    }
}

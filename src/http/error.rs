//! The one place where an error becomes an answer: `{"error":"<code>","message":"…"}`.
//!
//! A surface rejects with an [`ApiError`]; what warp itself rejects with is mapped here too, so
//! that no caller ever sees another shape.

use std::convert::Infallible;
use std::time::Duration;

use serde::Serialize;
use warp::http::header::{self, HeaderValue};
use warp::http::{Method, StatusCode};
use warp::reject::{self, Reject, Rejection};
use warp::reply::Response;

/// An error as a caller of the HTTP surfaces sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable name a program may branch on.
    pub code: &'static str,
    /// One sentence that says what to do.
    pub message: String,
    /// The methods the path takes; sent as `Allow`, which RFC 9110 requires of a 405.
    pub allow: Option<&'static [Method]>,
    /// When to try again; sent as `Retry-After` in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// Whether a key would help; sent as `WWW-Authenticate`, which RFC 9110 requires of a 401.
    pub challenge: bool,
    /// Whether the connection ends with this answer, because the request's body was not read.
    pub close: bool,
}

impl Reject for ApiError {}

/// What is sent: the fields and their order are the contract.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
            allow: None,
            retry_after: None,
            challenge: false,
            close: false,
        }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 401: the caller did not prove who it is.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// The same error, asking for a key.
    pub fn challenging(self) -> Self {
        Self { challenge: true, ..self }
    }

    /// 403: the caller may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404: there is nothing here.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405: the path exists and takes only `allowed`.
    pub fn method_not_allowed(allowed: &'static [Method]) -> Self {
        let message = format!("This path does not take this method; use {}.", list(allowed));
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        Self { allow: Some(allowed), ..error }
    }

    /// 408: the request's body did not arrive in time.
    pub fn timeout(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message);
        Self { close: true, ..error }
    }

    /// 413: the request's body is larger than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("The body is larger than {limit} bytes; send a shorter one.");
        let error = Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        Self { close: true, ..error }
    }

    /// 415: the body's media type is not understood.
    pub fn unsupported_media(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 429: the caller asks too often.
    pub fn too_many(retry_after: Duration, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 500: a fault of this program; the message tells the caller nothing of its inside.
    pub fn internal() -> Self {
        let message = "Something went wrong here; the log has the details under this request's \
                       X-Request-Id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503: not now.
    pub fn unavailable(retry_after: Duration, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 501: known, and not supported.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", message)
    }

    /// The error as a rejection of a warp filter.
    pub fn reject(self) -> Rejection {
        reject::custom(self)
    }

    /// The error as an answer.
    pub fn into_response(self) -> Response {
        let body = ErrorBody { error: self.code, message: &self.message };
        let body = serde_json::to_vec(&body).expect("two strings are always JSON");
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(allowed) = self.allow
            && let Ok(value) = HeaderValue::try_from(list(allowed))
        {
            headers.insert(header::ALLOW, value);
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds_up(wait).into());
        }
        if self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl warp::Reply for ApiError {
    fn into_response(self) -> Response {
        Self::into_response(self)
    }
}

/// Whole seconds, never earlier than asked.
fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn list(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

/// Turns a rejection, one of ours or of warp's own filters, into an answer.
///
/// # Errors
/// Never.
pub async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    Ok(known(&rejection).into_response())
}

fn known(rejection: &Rejection) -> ApiError {
    if let Some(error) = rejection.find::<ApiError>() {
        return error.clone();
    }
    if rejection.is_not_found() {
        return ApiError::not_found("There is nothing at this path; see /help for what there is.");
    }
    if rejection.find::<reject::PayloadTooLarge>().is_some() {
        let message = "The body is too large; send a shorter one.";
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
    }
    if rejection.find::<reject::LengthRequired>().is_some() {
        let message = "State the body's length in Content-Length.";
        return ApiError::new(StatusCode::LENGTH_REQUIRED, "length_required", message);
    }
    if rejection.find::<reject::UnsupportedMediaType>().is_some() {
        return ApiError::unsupported_media("Send the body as application/json.");
    }
    if rejection.find::<reject::InvalidQuery>().is_some() {
        return ApiError::bad_request("The query string cannot be read; check its parameters.");
    }
    if let Some(header) = rejection.find::<reject::MissingHeader>() {
        return ApiError::bad_request(format!("The header {} is missing; send it.", header.name()));
    }
    if let Some(header) = rejection.find::<reject::InvalidHeader>() {
        let message = format!("The header {} cannot be read; correct it.", header.name());
        return ApiError::bad_request(message);
    }
    if rejection.find::<warp::body::BodyDeserializeError>().is_some() {
        return ApiError::bad_request("The body is not the JSON this path expects.");
    }
    if rejection.find::<reject::MethodNotAllowed>().is_some() {
        let message = "This path does not take this method; see /help.";
        return ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    }
    tracing::error!(?rejection, error_kind = "rejection", "a rejection that no one maps");
    ApiError::internal()
}

#[cfg(test)]
mod tests {
    use warp::Filter;

    use super::*;

    const READ: &[Method] = &[Method::GET, Method::HEAD];

    #[test]
    fn a_405_names_the_methods_the_path_takes() {
        let response = ApiError::method_not_allowed(READ).into_response();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let response = ApiError::unavailable(Duration::from_millis(1_200), "The inbox is full.");
        assert_eq!(response.into_response().headers()["retry-after"], "2");
    }

    #[test]
    fn a_body_left_unread_ends_the_connection() {
        let response = ApiError::too_large(10).into_response();
        assert_eq!(response.status(), 413);
        assert_eq!(response.headers()["connection"], "close");
    }

    #[tokio::test]
    async fn an_error_wins_over_the_not_found_of_later_routes() {
        let refused = warp::path("a").and_then(|| async {
            Err::<String, _>(ApiError::forbidden("Set server.metrics_allow.").reject())
        });
        let other = warp::path("b").map(|| String::from("b"));
        let service = warp::service(refused.or(other).unify().recover(recover));
        let request =
            warp::http::Request::get("/a").body(warp::reply::Response::default().into_body());
        let response = tower::ServiceExt::oneshot(service, request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 403);
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(&body[..], br#"{"error":"forbidden","message":"Set server.metrics_allow."}"#);
    }

    #[tokio::test]
    async fn warps_own_rejections_take_the_same_shape() {
        let route = warp::header::<u64>("x-number").map(|n: u64| n.to_string());
        let service = warp::service(route.recover(recover));
        let request =
            warp::http::Request::get("/").body(warp::reply::Response::default().into_body());
        let response = tower::ServiceExt::oneshot(service, request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 400);
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert!(body.starts_with(br#"{"error":"bad_request","message":"The header x-number"#));
    }
}

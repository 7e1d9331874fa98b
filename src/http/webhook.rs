//! `POST /webhook`: a DingTalk robot callback.
//!
//! Who sends it is checked before its body is read; it is on disk before it is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::HeaderMap;
use warp::http::{Method, StatusCode, header};
use warp::path;
use warp::reject::Rejection;
use warp::reply::Response;

use super::body;
use super::client::ClientAddress;
use super::error::ApiError;
use super::methods;
use super::middleware::RequestId;
use super::refusals::RefusalLog;
use crate::bot::{self, Inbox, Message, Receipt};
use crate::config::{Secret, Settings};
use crate::dingtalk::callback::{self, Callback, Content};
use crate::dingtalk::{DingTalk, signature};
use crate::live::Live;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

const POST: &[Method] = &[Method::POST];
/// "No reply in this response": the answer goes to the session webhook.
const EMPTY: &[u8] = br#"{"msgtype":"empty"}"#;
/// What a caller is told to wait when a message could not be kept.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Longest time a caller is kept on the line; a model that is asked again and again takes less.
const LONGEST_ANSWER: Duration = Duration::from_secs(10 * 60);

/// What the callback surface needs of the house.
#[derive(Debug)]
pub struct Webhook {
    inbox: Inbox,
    dingtalk: Arc<DingTalk>,
    secret: Secret,
    allow_unsigned: bool,
    max_body: usize,
    body_timeout: Duration,
    clock: Clock,
    metrics: Arc<Metrics>,
    refusals: RefusalLog,
}

impl Webhook {
    /// A callback surface that puts messages into `inbox`.
    pub fn new(
        settings: &Settings,
        inbox: Inbox,
        dingtalk: Arc<DingTalk>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            inbox,
            dingtalk,
            secret: settings.dingtalk.client_secret.clone(),
            allow_unsigned: settings.dingtalk.allow_unsigned,
            max_body: settings.server.max_body_bytes,
            body_timeout: settings.server.header_timeout,
            clock,
            metrics,
            refusals: RefusalLog::default(),
        }
    }
}

/// A refused callback: why, for the metrics, and what the caller is told.
struct Refusal {
    reason: &'static str,
    error: ApiError,
}

/// The surface as a filter.
pub fn webhook(state: Live<Webhook>) -> BoxedFilter<(Response,)> {
    let guard = state.clone();
    let limits = state.clone();
    let limits = move || limits.read(|state| (state.max_body, state.body_timeout));
    let counted = state.clone();
    let body = body::limited(limits).or_else(move |rejection| {
        counted.read(|state| state.count_refusal("body"));
        std::future::ready(Err::<(Bytes,), _>(rejection))
    });
    path!("webhook")
        .and(methods(POST))
        .and(warp::ext::optional::<ClientAddress>())
        .and(warp::header::headers_cloned())
        .and_then(move |client, headers| {
            let state = guard.get();
            async move {
                state
                    .admit(client, &headers)
                    .map(|()| client)
                    .map_err(|refusal| state.refuse(refusal, client).reject())
            }
        })
        .and(body)
        .and(warp::ext::optional::<RequestId>())
        .and_then(move |client, body: Bytes, id: Option<RequestId>| {
            let state = state.get();
            async move {
                let answer = state.receive(&body, id).await;
                Ok::<_, Rejection>(
                    answer.unwrap_or_else(|r| state.refuse(r, client).into_response()),
                )
            }
        })
        .boxed()
}

impl Webhook {
    /// Lets DingTalk in, and the console's probe: an empty body without a useful signature.
    fn admit(&self, client: Option<ClientAddress>, headers: &HeaderMap) -> Result<(), Refusal> {
        if has_no_body(headers) {
            return Ok(());
        }
        if !self.secret.is_empty() {
            let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
            let now = self.clock.now_millis();
            signature::verify(header("timestamp"), header("sign"), &self.secret, now).map_err(
                |e| Refusal { reason: e.reason(), error: ApiError::unauthorized(e.to_string()) },
            )?;
        } else if !self.allow_unsigned && !client.is_some_and(|c| c.is_local()) {
            return Err(Refusal {
                reason: "unsigned",
                error: ApiError::forbidden(
                    "Unsigned callbacks are served on loopback only: set \
                     dingtalk.client_secret to the application's AppSecret (or \
                     dingtalk.allow_unsigned = true if something else guards this address).",
                ),
            });
        }
        if body::is_json(headers) {
            return Ok(());
        }
        Err(Refusal {
            reason: "content_type",
            error: ApiError::unsupported_media(
                "Send JSON: the Content-Type must be application/json.",
            ),
        })
    }

    async fn receive(&self, body: &[u8], id: Option<RequestId>) -> Result<Response, Refusal> {
        if body.is_empty() {
            return Ok(empty());
        }
        let callback = callback::parse(body).map_err(|e| Refusal {
            reason: "malformed",
            error: ApiError::bad_request(format!("Not a DingTalk callback: {e}.")),
        })?;
        if let Content::OverQuota { code, message } = &callback.content {
            self.count_refusal("over_quota");
            tracing::warn!(
                code,
                detail = message,
                error_kind = "quota",
                "DingTalk says the organisation is over its quota"
            );
            return Ok(empty());
        }
        self.check(&callback)?;
        let wait = callback.session_webhook.is_none();
        let mut message = Message::new(callback);
        message.request_id = id.map(|id| id.as_str().to_owned());
        let message_id = message.callback.message_id.clone();
        match self.inbox.accept(message, wait).await {
            Ok(receipt) => {
                let duplicate = matches!(receipt, Receipt::Duplicate);
                tracing::debug!(message_id, duplicate, "message accepted");
                match &receipt {
                    Receipt::Accepted(_) => {
                        self.metrics.message_received("webhook", self.clock.now_millis());
                    }
                    Receipt::Duplicate => self.count_refusal("duplicate"),
                }
                match receipt {
                    Receipt::Accepted(Some(answer)) => spoken(answer).await,
                    Receipt::Accepted(None) | Receipt::Duplicate => Ok(empty()),
                }
            }
            Err(bot::Rejection::Full { limit, retry_after }) => Err(Refusal {
                reason: "inbox_full",
                error: ApiError::unavailable(
                    retry_after,
                    format!("{limit} messages wait for an answer already; send it again later."),
                ),
            }),
            Err(bot::Rejection::Store(error)) => Err(Refusal {
                reason: "store",
                error: ApiError::unavailable(
                    STORE_RETRY_AFTER,
                    format!("The message could not be kept: {error}."),
                ),
            }),
        }
    }

    /// Refuses a callback that names nobody, or an address that is not DingTalk's.
    fn check(&self, callback: &Callback) -> Result<(), Refusal> {
        let sender = &callback.sender;
        let named = |id: &Option<String>| id.as_deref().is_some_and(|id| !id.trim().is_empty());
        if !named(&sender.staff_id) && !named(&sender.sender_id) {
            return Err(Refusal {
                reason: "malformed",
                error: ApiError::bad_request(
                    "Not a DingTalk callback: one of the fields `senderStaffId` and `senderId` \
                     must say who sent it.",
                ),
            });
        }
        let Some(session) = &callback.session_webhook else { return Ok(()) };
        self.dingtalk.check_session_webhook(&session.url).map_err(|e| Refusal {
            reason: "session_webhook",
            error: ApiError::forbidden(format!(
                "The field `sessionWebhook` was refused: {e}. It must be on \
                 https://*.dingtalk.com or on the origin of dingtalk.oapi_base.",
            )),
        })
    }

    fn count_refusal(&self, reason: &str) {
        self.metrics.message_rejected(reason, self.clock.now_millis());
    }

    /// Counts a refusal and writes it to the log; returns what the caller is told.
    fn refuse(&self, refusal: Refusal, client: Option<ClientAddress>) -> ApiError {
        self.count_refusal(refusal.reason);
        if let Some(unwritten) = self.refusals.admit(self.clock.now_millis()) {
            tracing::warn!(
                reason = refusal.reason,
                client = client.map(|c| c.client.to_string()),
                unwritten,
                error_kind = refusal.reason,
                error = refusal.error.message,
                "callback refused"
            );
        }
        refusal.error
    }
}

/// The answer to a caller that waits for it on the line.
async fn spoken(answer: oneshot::Receiver<String>) -> Result<Response, Refusal> {
    let answered = tokio::time::timeout(LONGEST_ANSWER, answer).await;
    let text = answered.ok().and_then(Result::ok).ok_or_else(|| Refusal {
        reason: "unanswered",
        error: ApiError::unavailable(
            STORE_RETRY_AFTER,
            "The message is kept, but there is no answer yet; it will not be sent again here.",
        ),
    })?;
    Ok(respond("text/plain; charset=utf-8", text.into()))
}

fn empty() -> Response {
    respond("application/json", Bytes::from_static(EMPTY))
}

fn respond(content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::OK;
    let content_type = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn has_no_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_none_or(|l| l.as_bytes() == b"0") && !headers.contains_key(header::TRANSFER_ENCODING)
}

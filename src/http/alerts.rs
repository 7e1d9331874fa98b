//! `POST /dingtalk/{robot}/send`: Alertmanager's webhook, by the path that prometheus-webhook-dingtalk
//! has.
//!
//! Who sends it and to which robot is checked before the body is read; the alerts are on disk before
//! it is answered. A 4xx is final for Alertmanager, a 503 is tried again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::http::header::HeaderMap;
use warp::path;
use warp::reject::Rejection;
use warp::reply::Response;

use super::auth::{self, ApiKeys, Denied};
use super::body;
use super::client::ClientAddress;
use super::error::ApiError;
use super::methods;
use super::refusals::RefusalLog;
use crate::bot::alerts::{Alerts, NotTaken};
use crate::config::Settings;
use crate::live::Live;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

const POST: &[Method] = &[Method::POST];
/// What a body may have however small `server.max_body_bytes` is: some ten thousand alerts. One that
/// is refused for its size is never sent again, at the moment when most is wrong; and who sends it
/// has shown who it is.
const LEAST_MAX_BODY: usize = 16 * 1024 * 1024;
/// What a caller is told to wait when alerts could not be kept.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Longest name of a robot that is repeated to a caller, in characters.
const MAX_NAME: usize = 64;

/// What the surface for alerts needs of the house.
#[derive(Debug)]
pub struct AlertReceiver {
    alerts: Alerts,
    max_body: usize,
    body_timeout: Duration,
    clock: Clock,
    metrics: Arc<Metrics>,
    refusals: RefusalLog,
}

impl AlertReceiver {
    /// A surface that hands what comes to `alerts`.
    pub fn new(settings: &Settings, alerts: Alerts, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            alerts,
            max_body: settings.server.max_body_bytes.max(LEAST_MAX_BODY),
            body_timeout: settings.server.header_timeout,
            clock,
            metrics,
            refusals: RefusalLog::default(),
        }
    }
}

/// Alerts that were not taken: why, for the metrics, and what the caller is told.
struct Refusal {
    reason: &'static str,
    error: ApiError,
}

/// The surface as a filter; `keys` open it, see [`auth`].
pub fn alerts(state: Live<AlertReceiver>, keys: Live<ApiKeys>) -> BoxedFilter<(Response,)> {
    let limits = state.clone();
    let limits = move || limits.read(|state| (state.max_body, state.body_timeout));
    let guarding = state.clone();
    let denied = move |denied: &Denied, client| {
        let refusal = Refusal { reason: denied.reason, error: denied.error.clone() };
        guarding.read(|state| state.refuse(refusal, client));
    };
    let admitting = state.clone();
    path!("dingtalk" / String / "send")
        .and(methods(POST))
        .and(auth::guard(keys, denied))
        .and(warp::ext::optional::<ClientAddress>())
        .and(warp::header::headers_cloned())
        .and_then(move |robot: String, client, headers: HeaderMap| {
            let state = admitting.get();
            async move {
                match state.admit(&robot, &headers) {
                    Ok(()) => Ok((robot, client)),
                    Err(refusal) => Err(state.refuse(refusal, client).reject()),
                }
            }
        })
        .untuple_one()
        .and(whole_body(limits))
        .then(move |robot: String, client, body: Result<Bytes, ApiError>| {
            let state = state.get();
            async move {
                match state.receive(&robot, body).await {
                    Ok(()) => Response::new(Bytes::from_static(b"OK").into()),
                    Err(refusal) => state.refuse(refusal, client).into_response(),
                }
            }
        })
        .boxed()
}

/// The body, or why there is none: that it was refused has to be written down here.
fn whole_body(
    limits: impl Fn() -> (usize, Duration) + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = (Result<Bytes, ApiError>,), Error = Rejection> + Clone + Send + Sync + 'static
{
    body::limited(limits).map(Ok).or_else(|rejection: Rejection| {
        let error = rejection.find::<ApiError>().cloned();
        std::future::ready(error.map(|error| (Err(error),)).ok_or(rejection))
    })
}

impl AlertReceiver {
    fn admit(&self, robot: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.alerts.robots().any(|known| known == robot) {
            return Err(self.unknown_robot(robot));
        }
        if !body::is_json(headers) {
            let message = "Send JSON: the Content-Type must be application/json.";
            let error = ApiError::unsupported_media(message);
            return Err(Refusal { reason: "content_type", error });
        }
        Ok(())
    }

    async fn receive(&self, robot: &str, body: Result<Bytes, ApiError>) -> Result<(), Refusal> {
        let body = body.map_err(|error| match error.code {
            "too_large" => {
                let message = format!(
                    "{} In Alertmanager, `max_alerts` of the webhook bounds it; so do smaller \
                     groups.",
                    error.message
                );
                Refusal { reason: "too_large", error: ApiError { message, ..error } }
            }
            _ => Refusal { reason: "body", error },
        })?;
        let taken = self.alerts.take(robot, body).await.map_err(|e| self.refusal(robot, e))?;
        let outcome = if taken.repeated { "repeated" } else { "accepted" };
        self.metrics.alert_notifications.with_label_values(&[outcome]).inc();
        if taken.repeated {
            tracing::info!(robot, "the same alerts came again; they are not sent twice");
            return Ok(());
        }
        for (status, count) in [("firing", taken.firing), ("resolved", taken.resolved)] {
            self.metrics.alerts_received.with_label_values(&[status]).inc_by(count as u64);
        }
        tracing::info!(
            robot,
            firing = taken.firing,
            resolved = taken.resolved,
            messages = taken.messages,
            left_out = taken.left_out,
            "alerts accepted"
        );
        Ok(())
    }

    fn refusal(&self, robot: &str, why: NotTaken) -> Refusal {
        match why {
            // A reload has taken it away meanwhile.
            NotTaken::UnknownRobot => self.unknown_robot(robot),
            NotTaken::Malformed(reason) => Refusal {
                reason: "malformed",
                error: ApiError::bad_request(format!(
                    "Not Alertmanager's webhook: {reason}; send its format, version \"4\"."
                )),
            },
            NotTaken::Full => Refusal {
                reason: "outbox_full",
                error: ApiError::unavailable(
                    RETRY_AFTER,
                    format!("{why}; `dingbot outbox list --all` shows why they do not arrive."),
                ),
            },
            NotTaken::Store(error) => Refusal {
                reason: "store",
                error: ApiError::unavailable(
                    RETRY_AFTER,
                    format!("The alerts could not be kept: {error}; they may be sent again."),
                ),
            },
            NotTaken::Panicked => Refusal { reason: "panic", error: ApiError::internal() },
        }
    }

    /// Whoever gets here was let in, and may know the names.
    fn unknown_robot(&self, robot: &str) -> Refusal {
        let known: Vec<&str> = self.alerts.robots().collect();
        let known = if known.is_empty() {
            "there is none yet".into()
        } else {
            format!("there is {}", known.join(", "))
        };
        let name: String = robot.chars().take(MAX_NAME).collect();
        let error = ApiError::not_found(format!(
            "No group robot is called `{name}`: add it to [[dingtalk.group_robots]], or correct the \
             address in Alertmanager; {known}."
        ));
        Refusal { reason: "unknown_robot", error }
    }

    /// Counts a refusal and writes it to the log; returns what the caller is told.
    fn refuse(&self, refusal: Refusal, client: Option<ClientAddress>) -> ApiError {
        self.metrics.alert_notifications.with_label_values(&[refusal.reason]).inc();
        if let Some(unwritten) = self.refusals.admit(self.clock.now_millis()) {
            tracing::warn!(
                reason = refusal.reason,
                client = client.map(|c| c.client.to_string()),
                unwritten,
                error_kind = refusal.reason,
                error = refusal.error.message,
                "alerts refused"
            );
        }
        refusal.error
    }
}

//! `/health`: whether the bot is well; and what every surface that reports on the daemon reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use url::form_urlencoded;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{StatusCode, header};
use warp::reply::Response;

use super::client::ClientAddress;
use super::error::ApiError;
use super::landing::Landing;
use super::pages::Pages;
use super::{READ, methods, state};
use crate::live::Live;
use crate::telemetry::callbacks::Callbacks;
use crate::telemetry::health::{Check, Health};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::ProcessCollector;

const HEALTHY: &[u8] = br#"{"status":"ok","message":"DingBot Server is healthy"}"#;
/// What a load balancer is told to wait before it asks an unhealthy bot again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What the surfaces that report on the daemon read.
#[derive(Debug)]
pub struct StatusState {
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) process: ProcessCollector,
    /// Networks that may read figures and checks; none: everyone.
    pub(super) metrics_allow: Live<Vec<ipnet::IpNet>>,
    pub(super) landing: Landing,
    pub(super) pages: Pages,
}

impl StatusState {
    /// `chat_help` is the help of the chat commands in Chinese and in English, as the bot has it.
    pub fn new(
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        process: ProcessCollector,
        metrics_allow: Live<Vec<ipnet::IpNet>>,
        landing: Landing,
        chat_help: (&'static str, &'static str),
    ) -> Self {
        Self { health, metrics, process, metrics_allow, landing, pages: Pages::new(chat_help) }
    }

    /// Refuses a client that may not read figures and checks.
    pub(super) fn authorize(&self, client: Option<ClientAddress>) -> Result<(), ApiError> {
        let may = |allow: &Vec<ipnet::IpNet>| {
            allow.is_empty() || client.is_some_and(|client| client.is_in(allow))
        };
        if self.metrics_allow.read(may) {
            return Ok(());
        }
        Err(ApiError::forbidden(
            "Your address may not read this; add its network to server.metrics_allow.",
        ))
    }
}

/// `GET /health`
pub(super) fn health(status: &Arc<StatusState>) -> BoxedFilter<(Response,)> {
    let query = warp::query::raw().map(Some).or(warp::any().map(|| None::<String>)).unify();
    warp::path("health")
        .and(warp::path::end())
        .and(methods(READ))
        .and(state(status))
        .and(query)
        .and(warp::ext::optional::<ClientAddress>())
        .map(|status: Arc<StatusState>, query: Option<String>, client| {
            if !query.is_some_and(|query| wants_detail(&query)) {
                return brief(&status.health);
            }
            match status.authorize(client) {
                Ok(()) => detailed(&status.health, Callbacks::of(&status.metrics)),
                Err(error) => error.into_response(),
            }
        })
        .boxed()
}

fn wants_detail(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .any(|(key, value)| key == "verbose" && matches!(&*value, "1" | "true" | ""))
}

/// The two fields of the contract, and no other.
#[derive(Serialize)]
struct Brief<'a> {
    status: &'static str,
    message: &'a str,
}

fn brief(health: &Health) -> Response {
    match health.fatal() {
        None => json(StatusCode::OK, Bytes::from_static(HEALTHY)),
        Some(message) => {
            let body = Brief { status: "error", message: &message };
            unhealthy(serde_json::to_vec(&body).expect("two strings are always JSON"))
        }
    }
}

#[derive(Serialize)]
struct Detailed {
    status: &'static str,
    message: String,
    version: &'static str,
    uptime_seconds: u64,
    checks: Vec<Check>,
    callbacks: Callbacks,
}

fn detailed(health: &Health, callbacks: Callbacks) -> Response {
    let snapshot = health.snapshot();
    let fatal = snapshot.fatal.is_some();
    let body = Detailed {
        status: if fatal { "error" } else { "ok" },
        message: snapshot.fatal.unwrap_or_else(|| "DingBot Server is healthy".into()),
        version: crate::VERSION,
        uptime_seconds: snapshot.uptime.as_secs(),
        checks: snapshot.checks,
        callbacks,
    };
    let body = serde_json::to_vec(&body).expect("strings, numbers and times are always JSON");
    if fatal { unhealthy(body) } else { json(StatusCode::OK, body.into()) }
}

fn unhealthy(body: Vec<u8>) -> Response {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, body.into());
    response.headers_mut().insert(header::RETRY_AFTER, ASK_AGAIN.as_secs().into());
    response
}

pub(super) fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;
    use crate::telemetry::clock::Clock;
    use crate::telemetry::health::Status;

    async fn body(response: Response) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn the_bodies_are_the_contract() {
        let health = Health::new(Clock::manual(0));
        let response = brief(&health);
        assert_eq!(response.status(), 200);
        assert_eq!(body(response).await, HEALTHY);

        health.set("store", Status::Error, "The disk is full; free some space");
        let response = brief(&health);
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        assert_eq!(
            body(response).await,
            br#"{"status":"error","message":"The disk is full; free some space"}"#[..]
        );
    }

    #[tokio::test]
    async fn detail_shows_every_check_and_degraded_is_not_fatal() {
        let health = Health::new(Clock::manual(1_700_000_000_000));
        health.set("model", Status::Degraded, "no answer");
        let response = detailed(&health, Callbacks::default());
        assert_eq!(response.status(), 200);
        let body: Value = serde_json::from_slice(&body(response).await).unwrap();
        assert_eq!(body["status"], "ok");
        assert_eq!(body["version"], crate::VERSION);
        assert!(body["uptime_seconds"].is_u64());
        assert_eq!(body["callbacks"]["accepted"], 0);
        assert_eq!(
            body["checks"][0],
            serde_json::json!({"name": "model", "status": "degraded", "message": "no answer",
                "since": "2023-11-14T22:13:20Z"})
        );
    }

    #[test]
    fn detail_is_asked_for_by_its_parameter() {
        assert!(wants_detail("verbose=1"));
        assert!(wants_detail("a=b&verbose=true"));
        assert!(!wants_detail("verbose=0"));
        assert!(!wants_detail("notverbose=1"));
        assert!(!wants_detail(""));
    }
}

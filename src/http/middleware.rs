//! What every request passes through: its id, its client's address, metrics, the access log, and a
//! net under panics.
//!
//! A request without trouble costs no lock and formats nothing but its id.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::body::Incoming;
use ipnet::IpNet;
use prometheus::{Histogram, IntCounter, IntGauge};
use tracing::{Instrument, Span};
use uuid::Uuid;
use warp::http::header::{HeaderMap, HeaderName, HeaderValue};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::client::ClientAddress;
use super::connection::Peer;
use super::error::ApiError;
use super::mcp;
use super::mem0::paths as mem0;
use crate::live::Live;
use crate::telemetry::metrics::Metrics;

/// The header that carries a request's id, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from a caller.
const MAX_ID: usize = 64;

/// The paths, as the label `route` has them: these, then those of the memory API. The last of these
/// stands for every other path.
const ROUTES: [&str; 10] = [
    "/health",
    "/webhook",
    "/metrics",
    "/",
    "/help",
    ALERTS,
    mcp::PATH,
    mcp::PERSON,
    "/openapi.json",
    "other",
];
/// How many labels there are.
const ALL_ROUTES: usize = ROUTES.len() + mem0::PATHS.len();
/// The path of alerts; the name of the robot is no label.
const ALERTS: &str = "/dingtalk/{robot}/send";
/// The methods, as the label `method` has them; the last stands for every other method.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];

/// The id of a request, in every answer as `X-Request-Id`; an extension of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Ids of this process: a random half, so that two processes or two runs do not share one, and a
/// counter.
#[derive(Debug)]
struct Ids {
    process: u32,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        Self { process: Uuid::new_v4().as_fields().0, next: AtomicU64::new(1) }
    }

    /// The caller's id if it is a sane one, else a new one.
    fn of(&self, headers: &HeaderMap) -> RequestId {
        let given = headers.get(REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            (1..=MAX_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
        });
        RequestId(given.cloned().unwrap_or_else(|| self.next()))
    }

    fn next(&self) -> HeaderValue {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let number = (u64::from(self.process) << 32) | (count & 0xffff_ffff);
        let mut digits = [0; 16];
        for (index, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * index)) as usize & 0xf];
        }
        HeaderValue::from_bytes(&digits).expect("hexadecimal digits are visible ASCII")
    }
}

/// The children of the metric families, looked up once rather than with every request.
struct Counters {
    metrics: Arc<Metrics>,
    in_flight: IntGauge,
    /// `http_request_duration_seconds`; of the memory API made when first needed, for its paths are
    /// many and most callers use few.
    durations: [OnceLock<Histogram>; ALL_ROUTES],
    /// `http_requests_total` with code 200; made when first needed, so that a combination that
    /// never occurs is not shown.
    ok: [[OnceLock<IntCounter>; METHODS.len()]; ALL_ROUTES],
}

impl Counters {
    fn new(metrics: Arc<Metrics>) -> Self {
        let counters = Self {
            in_flight: metrics.http_requests_in_flight.clone(),
            durations: [const { OnceLock::new() }; ALL_ROUTES],
            ok: [const { [const { OnceLock::new() }; METHODS.len()] }; ALL_ROUTES],
            metrics,
        };
        for route in 0..ROUTES.len() {
            counters.duration(route);
        }
        counters
    }

    fn duration(&self, route: usize) -> &Histogram {
        let family = &self.metrics.http_request_duration;
        self.durations[route].get_or_init(|| family.with_label_values(&[label(route)]))
    }

    fn count(&self, route: usize, method: usize, status: StatusCode, started: Instant) {
        self.duration(route).observe(started.elapsed().as_secs_f64());
        let child = |code: &str| {
            let labels = [label(route), METHODS[method], code];
            self.metrics.http_requests.with_label_values(&labels)
        };
        if status == StatusCode::OK {
            self.ok[route][method].get_or_init(|| child("200")).inc();
        } else {
            child(status.as_str()).inc();
        }
    }
}

/// The label of a route.
fn label(route: usize) -> &'static str {
    match route.checked_sub(ROUTES.len()) {
        None => ROUTES[route],
        Some(at) => mem0::PATHS[at],
    }
}

/// The index of a path's [`label`]; the surfaces take a trailing slash, and so does this.
fn route_index(path: &str) -> usize {
    let whole = path;
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let last = ROUTES.len() - 1;
    let robot = path.strip_prefix("/dingtalk/").and_then(|rest| rest.strip_suffix("/send"));
    let path = if robot.is_some_and(|name| !name.contains('/')) { ALERTS } else { path };
    let path = mcp::route(whole).unwrap_or(path);
    let of_mem0 = || mem0::index(whole).map(|at| ROUTES.len() + at);
    ROUTES[..last].iter().position(|route| *route == path).or_else(of_mem0).unwrap_or(last)
}

/// The index in [`METHODS`].
fn method_index(method: &Method) -> usize {
    let last = METHODS.len() - 1;
    METHODS[..last].iter().position(|name| *name == method.as_str()).unwrap_or(last)
}

/// Counts a request as under way until it is dropped, answered or not.
struct InFlight(IntGauge);

impl InFlight {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Shared {
    trusted: Live<Vec<IpNet>>,
    counters: Counters,
    ids: Ids,
}

/// The surfaces' service with everything around it.
pub(super) struct Middleware<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S: Clone> Clone for Middleware<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<S> Middleware<S> {
    pub(super) fn new(inner: S, trusted: Live<Vec<IpNet>>, metrics: Arc<Metrics>) -> Self {
        let shared = Shared { trusted, counters: Counters::new(metrics), ids: Ids::new() };
        Self { inner, shared: Arc::new(shared) }
    }
}

impl<S> hyper::service::Service<Request<Incoming>> for Middleware<S>
where
    S: tower::Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let started = Instant::now();
        let in_flight = InFlight::new(&self.shared.counters.in_flight);
        let shared = self.shared.clone();
        let mut inner = self.inner.clone();
        let route = route_index(request.uri().path());
        let method = method_index(request.method());
        let id = shared.ids.of(request.headers());
        let client = request.extensions_mut().remove::<Peer>().map(|Peer(peer)| {
            let trusted =
                |trusted: &Vec<IpNet>| ClientAddress::of(peer, request.headers(), trusted);
            let client = shared.trusted.read(trusted);
            request.extensions_mut().insert(client);
            client.client
        });
        request.extensions_mut().insert(id.clone());
        Box::pin(async move {
            // The routes that only look are asked too often to have one; a message's errors name
            // its request whatever `log.level` says.
            let span = match label(route) {
                "/health" | "/metrics" | "/" | "/help" => Span::none(),
                _ => tracing::error_span!("request", request_id = id.as_str()),
            };
            let answer = async move { inner.call(request).await }.instrument(span);
            let mut response = match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(Ok(response)) => response,
                Err(_) => {
                    tracing::error!(
                        request_id = id.as_str(),
                        route = label(route),
                        error_kind = "panic",
                        "a handler panicked"
                    );
                    ApiError::internal().into_response()
                }
            };
            let status = response.status();
            shared.counters.count(route, method, status, started);
            tracing::debug!(
                request_id = id.as_str(),
                method = METHODS[method],
                route = label(route),
                status = status.as_u16(),
                ms = started.elapsed().as_secs_f64() * 1e3,
                client = client.map(tracing::field::display),
                "request answered"
            );
            response.headers_mut().insert(REQUEST_ID, id.0);
            drop(in_flight);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, given.parse().unwrap());
        Ids::new().of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        assert_eq!(id_for("deploy-42/a.b"), "deploy-42/a.b");
        assert_eq!(id_for(&"x".repeat(64)), "x".repeat(64));
        assert_ne!(id_for(&"x".repeat(65)), "x".repeat(65));
        assert_ne!(id_for("two words"), "two words");
        assert_eq!(id_for("").len(), 16);
    }

    #[test]
    fn new_ids_differ() {
        let ids = Ids::new();
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert_eq!(first.as_bytes()[..8], second.as_bytes()[..8], "one process, one half");
    }

    #[test]
    fn labels_come_from_closed_sets() {
        assert_eq!(label(route_index("/health")), "/health");
        assert_eq!(label(route_index("/health/")), "/health");
        assert_eq!(label(route_index("/")), "/");
        assert_eq!(label(route_index("/health/x")), "other");
        assert_eq!(label(route_index("other")), "other");
        assert_eq!(label(route_index("/v1/memories/7f/")), "/v1/memories/{id}");
        assert_eq!(label(route_index("/v2/entities/user/a/b")), "/v2/entities/{type}/{*name}");
        assert_eq!(label(route_index("/dingtalk/ops/send")), ALERTS);
        assert_eq!(label(route_index("/dingtalk/any/send/")), ALERTS);
        for path in ["/dingtalk/a/b/send", "/dingtalk/send", "/dingtalk/ops", "/v1/memory"] {
            assert_eq!(label(route_index(path)), "other");
        }
        assert_eq!(METHODS[method_index(&Method::POST)], "POST");
        assert_eq!(METHODS[method_index(&Method::from_bytes(b"BREW").unwrap())], "other");
    }

    #[test]
    fn a_dropped_request_is_no_longer_in_flight() {
        let metrics = Metrics::new();
        let in_flight = InFlight::new(&metrics.http_requests_in_flight);
        assert_eq!(metrics.http_requests_in_flight.get(), 1);
        drop(in_flight);
        assert_eq!(metrics.http_requests_in_flight.get(), 0);
    }
}

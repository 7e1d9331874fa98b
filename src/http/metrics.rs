//! `/metrics`: the text format 0.0.4 of Prometheus.

use std::sync::Arc;

use prometheus::TextEncoder;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use super::client::ClientAddress;
use super::error::ApiError;
use super::status::StatusState;
use super::{READ, methods, state};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`
pub(super) fn metrics(status: &Arc<StatusState>) -> BoxedFilter<(Response,)> {
    warp::path("metrics")
        .and(warp::path::end())
        .and(methods(READ))
        .and(state(status))
        .and(warp::ext::optional::<ClientAddress>())
        .then(answer)
        .boxed()
}

async fn answer(status: Arc<StatusState>, client: Option<ClientAddress>) -> Response {
    if let Err(error) = status.authorize(client) {
        return error.into_response();
    }
    // Reading /proc blocks, and takes the longer the more files are open on kernels before 6.2.
    let text = tokio::task::spawn_blocking(move || {
        status.metrics.ready.set(i64::from(status.health.is_ok()));
        let mut families = status.metrics.registry().gather();
        families.extend(status.process.gather());
        TextEncoder::new().encode_to_string(&families)
    });
    match text.await {
        Ok(Ok(text)) => {
            let mut response = Response::new(text.into());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
            response
        }
        Ok(Err(error)) => {
            tracing::error!(%error, error_kind = "encoding", "cannot write the metrics");
            ApiError::internal().into_response()
        }
        Err(_) => {
            tracing::error!(error_kind = "panic", "gathering the metrics failed");
            ApiError::internal().into_response()
        }
    }
}

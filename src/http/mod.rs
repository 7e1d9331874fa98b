//! The HTTP server: what the outside reaches the daemon by.
//!
//! One file a surface (`landing`, `status`, `help`, `metrics`), composed of warp filters; around them the
//! middleware; below them our own accept loop ([`accept`]), which has the limits warp's server
//! lacks.
//!
//! Promises: a client that is slow, silent or one of too many cannot keep others from an answer;
//! no body is read past its limit; a request whose header arrived is answered, also while the
//! server stops and also when a handler panics; every error has one shape ([`error`]); a proxy on
//! this host does not make a stranger local ([`client`]).
//!
//! Does not know what a message is, nor DingTalk's wire, SQL or prompts: the room that takes
//! callbacks is handed in as a filter.

pub mod accept;
pub mod alerts;
pub mod auth;
pub mod body;
pub mod client;
mod connection;
mod endpoints;
pub mod error;
mod help;
pub mod keyring;
mod landing;
pub mod listener;
pub mod mcp;
pub mod mem0;
mod metrics;
mod middleware;
mod negotiation;
mod pages;
mod refusals;
pub mod status;
#[cfg(test)]
mod tests;
pub mod webhook;

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use ipnet::IpNet;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::reject::Rejection;
use warp::reply::Response;

pub use self::landing::Landing;
pub use self::middleware::RequestId;
pub use self::status::StatusState;
use crate::live::Live;
use crate::telemetry::metrics::Metrics;

/// The methods of a path that is only read.
pub(crate) const READ: &[Method] = &[Method::GET, Method::HEAD];

/// Every surface as one filter; `/health` comes first because it is asked most.
///
/// `received` answers what brings something to the bot: callbacks and alerts. Each matches its own
/// path, and [`methods`] gives it the right answer to other methods.
pub fn routes(
    status: Arc<StatusState>,
    received: BoxedFilter<(Response,)>,
) -> BoxedFilter<(Response,)> {
    status::health(&status)
        .or(received)
        .unify()
        .or(landing::root(&status))
        .unify()
        .or(metrics::metrics(&status))
        .unify()
        .or(help::help(&status))
        .unify()
        .recover(error::recover)
        .unify()
        .boxed()
}

/// The service that [`accept::serve`] drives: `routes` inside the middleware.
///
/// `X-Forwarded-For` is believed from `trusted_proxies` only.
pub fn service(
    routes: BoxedFilter<(Response,)>,
    trusted_proxies: Live<Vec<IpNet>>,
    metrics: Arc<Metrics>,
) -> impl Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future = BoxFuture<'static, Result<Response, Infallible>>,
> + Clone
+ Send
+ Unpin
+ 'static {
    middleware::Middleware::new(warp::service(routes), trusted_proxies, metrics)
}

/// Passes only requests with one of the `allowed` methods; to be put after the path, so that a
/// request for another path goes on to the other surfaces.
///
/// Rejects with [`error::ApiError::method_not_allowed`].
pub fn methods(
    allowed: &'static [Method],
) -> impl Filter<Extract = (), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::method()
        .and_then(move |method: Method| {
            let known = allowed.contains(&method);
            let refused = || error::ApiError::method_not_allowed(allowed).reject();
            std::future::ready(if known { Ok(()) } else { Err(refused()) })
        })
        .untuple_one()
}

fn state(
    status: &Arc<StatusState>,
) -> impl Filter<Extract = (Arc<StatusState>,), Error = Infallible> + Clone + Send + Sync + 'static
{
    let status = status.clone();
    warp::any().map(move || status.clone())
}

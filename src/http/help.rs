//! `GET /help`: the help, as text or as a page.

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{HeaderMap, HeaderValue, VARY};
use warp::reply::Response;

use super::negotiation::prefers_html;
use super::pages;
use super::status::StatusState;
use super::{READ, methods, state};

/// `GET /help`
pub(super) fn help(status: &Arc<StatusState>) -> BoxedFilter<(Response,)> {
    warp::path("help")
        .and(warp::path::end())
        .and(methods(READ))
        .and(state(status))
        .and(warp::header::headers_cloned())
        .map(|status: Arc<StatusState>, headers: HeaderMap| {
            let mut response = if prefers_html(&headers, "text/plain") {
                pages::html(&status.pages.help)
            } else {
                pages::text(&status.pages.help_text)
            };
            response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
            response
        })
        .boxed()
}

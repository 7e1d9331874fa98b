//! `/`: for a program one line that the server runs, for a browser the landing page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use minijinja::{Value, context};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, VARY};
use warp::reply::Response;

use super::client::ClientAddress;
use super::negotiation::prefers_html;
use super::pages;
use super::status::{StatusState, json};
use super::{READ, methods, state};
use crate::telemetry::health::{Snapshot, Status};
use crate::telemetry::traffic::{Counts, Minute, Traffic};

const RUNNING: &[u8] = br#"{"status":"ok","message":"DingBot Server is running"}"#;
/// Height of a chart, in its own units.
const HEIGHT: u64 = 40;

/// What only the landing page shows.
#[derive(Debug)]
pub struct Landing {
    /// Where the server listens.
    pub listen: Vec<SocketAddr>,
    /// The last minutes.
    pub traffic: Arc<Traffic>,
}

/// `GET /`
pub(super) fn root(status: &Arc<StatusState>) -> BoxedFilter<(Response,)> {
    warp::path::end()
        .and(methods(READ))
        .and(state(status))
        .and(warp::ext::optional::<ClientAddress>())
        .and(warp::header::headers_cloned())
        .map(|status: Arc<StatusState>, client, headers: HeaderMap| {
            let mut response = if prefers_html(&headers, "application/json") {
                page(&status, client)
            } else {
                json(StatusCode::OK, Bytes::from_static(RUNNING))
            };
            response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
            response
        })
        .boxed()
}

/// The page as it is now; who may not read figures sees what `/health` tells everybody.
fn page(status: &StatusState, client: Option<ClientAddress>) -> Response {
    let health = status.health.snapshot();
    let open = status.authorize(client).is_ok();
    let details = open.then(|| details(&status.landing, &health));
    let page = status.pages.landing(context! { state => verdict(&health, open), details });
    let mut response = pages::html(&page);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn verdict(health: &Snapshot, open: bool) -> Value {
    let degraded = open && health.checks.iter().any(|check| check.status == Status::Degraded);
    match &health.fatal {
        Some(message) => context! {
            class => "error",
            chinese => "不能接收消息",
            english => "messages cannot be accepted",
            message,
        },
        None if degraded => context! {
            class => "degraded", chinese => "运行中，但有问题", english => "running, with trouble",
        },
        None => context! { class => "ok", chinese => "运行正常", english => "running well" },
    }
}

fn details(landing: &Landing, health: &Snapshot) -> Value {
    let trouble = health.checks.iter().filter(|check| check.status != Status::Ok);
    let trouble: Vec<_> =
        trouble.map(|check| context! { name => check.name, message => &check.message }).collect();
    let minutes = landing.traffic.minutes();
    let chart = |class, chinese, english, of: fn(&Counts) -> u64| {
        context! { class, chinese, english, ..chart(&minutes, of) }
    };
    let charts = [
        chart("messages", "收到的消息", "messages", |counts| counts.messages),
        chart("answers", "送达的回答", "answers delivered", |counts| counts.answers),
        chart("failures", "失败", "failures", |counts| counts.failures),
    ];
    context! {
        listen => landing.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        uptime => uptime(health.uptime),
        trouble,
        minutes => minutes.len(),
        height => HEIGHT,
        charts => charts.to_vec(),
    }
}

/// Bars, the newest on the right; the highest fills the chart.
fn chart(minutes: &[Minute], of: fn(&Counts) -> u64) -> Value {
    let most = minutes.iter().map(|minute| of(&minute.counts)).max().unwrap_or(0);
    let bar = |(age, minute): (usize, &Minute)| {
        let count = of(&minute.counts);
        // What is not nothing can be seen.
        let height = if count == 0 { 0 } else { (count * HEIGHT / most).max(2) };
        context! { count, height, age }
    };
    let mut bars: Vec<Value> = minutes.iter().rev().enumerate().map(bar).collect();
    bars.reverse();
    let total: u64 = minutes.iter().map(|minute| of(&minute.counts)).sum();
    context! { bars, most, total }
}

/// A time in its two largest units.
fn uptime(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_two_units() {
        let of = |seconds| uptime(Duration::from_secs(seconds));
        assert_eq!(of(5), "5 s");
        assert_eq!(of(65), "1 min 5 s");
        assert_eq!(of(3_700), "1 h 1 min");
        assert_eq!(of(200_000), "2 d 7 h");
    }

    #[test]
    fn the_highest_bar_fills_the_chart_and_the_smallest_is_seen() {
        let minute = |messages| Minute {
            began: jiff::Timestamp::UNIX_EPOCH,
            counts: Counts { messages, ..Counts::default() },
        };
        let chart = chart(&[minute(0), minute(1), minute(1_000)], |counts| counts.messages);
        let heights: Vec<String> = (0..3_usize)
            .map(|bar| {
                let bars = chart.get_attr("bars").unwrap();
                bars.get_item_by_index(bar).unwrap().get_attr("height").unwrap().to_string()
            })
            .collect();
        assert_eq!(heights, ["0", "2", HEIGHT.to_string().as_str()]);
        assert_eq!(chart.get_attr("total").unwrap().to_string(), "1001");
    }
}

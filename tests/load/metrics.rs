//! How long `/metrics` takes with every series in use, against Prometheus' own.

use std::time::Instant;

use crate::statistics::{millis, quantile};
use crate::support::dingtalk::{Api, Fault};
use crate::support::http;
use crate::support::model::Reply;
use crate::support::prometheus::Prometheus;
use crate::support::stage::Stage;
use crate::table::{Row, Table, Target};

/// Scrapes of each side in a round.
const SCRAPES: usize = 200;
/// Messages that fill the series.
const MESSAGES: usize = 400;

pub(crate) async fn measure(table: &mut Table) {
    let stage = Stage::new().await;
    fill(&stage).await;
    let Some(peer) = Prometheus::start("global: { scrape_interval: 1h }").await else {
        return table.note("/metrics: left out, for prometheus is not installed.".into());
    };
    let client = http::client();
    let addresses = [stage.daemon.url("/metrics"), format!("{}/metrics", peer.origin())];
    let (mut times, mut bodies) = ([Vec::new(), Vec::new()], [String::new(), String::new()]);
    for _ in 0..crate::rounds() {
        for ((address, times), body) in addresses.iter().zip(&mut times).zip(&mut bodies) {
            for _ in 0..SCRAPES {
                let started = Instant::now();
                let answer = client.get(address).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                *body = answer.text().await.unwrap();
                times.push(millis(started.elapsed()));
            }
        }
    }
    let [own, of_peer] = bodies.map(|body| body.lines().filter(|l| !l.starts_with('#')).count());
    for (name, q, target) in [("p50", 0.5, Target::None), ("p99", 0.99, Target::AtMost(5.0))] {
        let [dingbot, by_prometheus] = [0, 1].map(|side| quantile(&times[side], q));
        table.add(Row {
            measurement: format!("/metrics, {own} series, {name}"),
            unit: "ms",
            dingbot,
            peer: Some((format!("Prometheus' own, {of_peer} series"), by_prometheus)),
            target,
        });
    }
    table.note(format!(
        "/metrics: {} scrapes of each side one after another over a kept connection, the whole \
         text read; after {MESSAGES} messages, some of which fail.",
        SCRAPES * crate::rounds(),
    ));
}

/// Has something of everything happen.
async fn fill(stage: &Stage) {
    let replies = [Reply::text("well"), Reply::Status(500), Reply::ContentFilter, Reply::TooLong];
    stage.model.answer_next(replies.into_iter().cycle().take(MESSAGES / 4));
    stage.dingtalk.fail_next(Api::Session, 20, Fault::ServerError);
    for number in 0..MESSAGES {
        let callback = stage.dingtalk.callback().from(&format!("staff{}", number % 40));
        let text = match number % 5 {
            0 => format!("/remember 第{number}件事"),
            1 => format!("/forget {}", number % 7),
            2 => "/memories".to_owned(),
            _ => format!("第{number}个问题？"),
        };
        let callback = match number % 20 {
            7 => callback.bad_sign(),
            13 => callback.dead_session(),
            _ => callback,
        };
        stage.daemon.post(callback.text(&text)).await;
    }
    for path in ["/", "/health", "/help", "/nothing", "/webhook"] {
        stage.daemon.get(path).await;
    }
    let handled = "dingbot_messages_handled_total";
    let done = |m: &crate::support::exposition::Exposition| {
        m.sum(handled, &[]) >= (MESSAGES - MESSAGES / 20) as f64
    };
    stage.daemon.wait_for_metrics("every message came to an end", done).await;
}

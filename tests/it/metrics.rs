//! The metrics: that each is true, that they are bounded, and that docs/monitoring.md names them.

mod document;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::dingtalk::{Api, Fault};
use crate::support::exposition::Exposition;
use crate::support::http::Rude;
use crate::support::model::Reply;
use crate::support::prometheus::promtool;
use crate::support::stage::Stage;

/// Random requests, and random callbacks, that one test sends.
const REQUESTS: usize = 300;
const CALLBACKS: usize = 60;

const DELIVERIES: &str = "dingbot_deliveries_total";

fn delivered(metrics: &Exposition) -> f64 {
    metrics.sum(DELIVERIES, &[("outcome", "delivered")])
}

async fn text(stage: &Stage) -> String {
    let answer = stage.daemon.get("/metrics").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn promtool_has_nothing_to_say() {
    let stage = Stage::new().await;
    stage.daemon.accepts(stage.dingtalk.callback().text("hello")).await;
    stage.daemon.wait_for_metrics("an answer", |metrics| delivered(metrics) == 1.0).await;
    let text = text(&stage).await;
    let Some(said) = promtool(&["check", "metrics"], &text).await else {
        return println!("skipped: promtool check metrics: promtool is not installed");
    };
    let words = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success() && words.is_empty(), "{words}");
    // It does find something.
    let bad = promtool(&["check", "metrics"], "# TYPE badTotal counter\nbadTotal 1\n").await;
    assert!(!bad.unwrap().status.success());
}

#[tokio::test]
async fn the_document_names_every_family_label_and_value() {
    let stage = Stage::new().await;
    let text = text(&stage).await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let found: BTreeSet<(String, String)> =
        types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    let families = document::families();
    let named: BTreeSet<(String, String)> =
        families.values().map(|family| (family.name.clone(), family.kind.clone())).collect();
    // A daemon that was asked nothing has answered nothing, and some limits are no limits.
    let late = ["dingbot_http_requests_total", "process_virtual_memory_max_bytes"];
    let missing: Vec<_> =
        named.difference(&found).filter(|(name, _)| !late.contains(&name.as_str())).collect();
    let unnamed: Vec<_> = found.difference(&named).collect();
    assert!(missing.is_empty() && unnamed.is_empty(), "not there {missing:?}, unnamed {unnamed:?}");
    assert!(named.len() > 40, "{}", named.len());

    let metrics = Exposition::read(&text);
    for family in families.values().filter(|family| !late.contains(&family.name.as_str())) {
        for (label, values) in &family.labels {
            let series: BTreeSet<&str> = metrics
                .series()
                .filter(|(name, ..)| family.owns(name))
                .filter_map(|(_, labels, _)| labels.get(label).map(String::as_str))
                .collect();
            for value in values {
                assert!(series.contains(&**value), "{}: no {label}={value}", family.name);
            }
        }
    }
}

/// A value of a strategy.
fn any_of<T: std::fmt::Debug>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).expect("a strategy that does not filter").current()
}

#[tokio::test]
async fn no_request_and_no_message_makes_a_series_that_is_not_in_the_document() {
    let stage = Stage::new().await;
    let mut runner = TestRunner::default();
    let known =
        prop::sample::select(vec!["/", "/health", "/webhook", "/metrics", "/help", "/dingtalk/"]);
    let path = prop_oneof![
        "/[!-~&&[^?#]]{0,60}",
        (known.clone(), "[!-~&&[^?#]]{0,20}").prop_map(|(known, rest)| format!("{known}{rest}")),
        known.prop_map(str::to_owned),
    ];
    let query = prop_oneof![Just(String::new()), "\\?[!-~&&[^#]]{0,60}"];
    let method = prop_oneof![
        prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
            .prop_map(str::to_owned),
        "[A-Z]{1,12}",
        "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,30}",
    ];
    let header = ("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", "[ -~]{0,60}");
    let headers = prop::collection::vec(header, 0..6);
    let request = (method, path, query, headers);
    for _ in 0..REQUESTS {
        let (method, path, query, headers) = any_of(&mut runner, &request);
        let mut text = format!("{method} {path}{query} HTTP/1.1\r\nhost: x\r\n");
        for (name, value) in &headers {
            text += &format!("x-{name}: {value}\r\n");
        }
        // One request a connection: a body that one declares is never sent.
        let mut rude = Rude::connect(stage.daemon.address()).await.unwrap();
        rude.send(format!("{text}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        rude.finish().await.unwrap();
        let _ = rude.answer(PATIENCE).await;
    }

    let mut replies = vec![
        Reply::text("well"),
        Reply::Close,
        Reply::Html,
        Reply::BrokenJson,
        Reply::ContentFilter,
        Reply::TooLong,
        Reply::Unauthorized,
    ]
    .into_iter()
    .cycle();
    stage.model.answer_next((0..4 * CALLBACKS).filter_map(|_| replies.next()));
    for fault in [Fault::ServerError, Fault::Errcode(-1), Fault::Errcode(300_001), Fault::Close] {
        stage.dingtalk.fail_next(Api::Session, 3, fault);
    }
    stage.dingtalk.fail_next(Api::Token, 2, Fault::Code(500, "a.code.nobody.knows"));
    let said = prop_oneof!["\\PC{0,80}", "/[a-z]{1,10} \\PC{0,40}", Just("/ping".to_owned())];
    let callback = (said, "\\PC{1,40}", "\\PC{0,40}", any::<[bool; 4]>());
    let mut sent = 0.0;
    // Chance may bring none that the model is asked about, nor one that it fails on.
    for text in ["今天吃什么", "明天呢", "后天呢"] {
        let answer = stage.daemon.post(stage.dingtalk.callback().text(text)).await;
        sent += f64::from(u8::from(answer.status == 200));
    }
    for _ in 0..CALLBACKS {
        let (text, who, group, [forged, unsigned, grouped, picture]) =
            any_of(&mut runner, &callback);
        let mut callback = stage.dingtalk.callback().from(&who).text(&text);
        callback = if grouped { callback.group(&group) } else { callback };
        callback = if picture { callback.picture() } else { callback };
        callback = match (forged, unsigned) {
            (true, true) => callback.bad_sign(),
            (false, true) => callback.unsigned(),
            _ => callback,
        };
        let answer = stage.daemon.post(callback).await;
        sent += f64::from(u8::from(answer.status == 200));
    }
    let handled = |metrics: &Exposition| metrics.sum("dingbot_messages_handled_total", &[]) >= sent;
    stage.daemon.wait_for_metrics("every message came to an end", handled).await;

    let families = document::families();
    let metrics = stage.daemon.metrics().await;
    for (name, labels, _) in metrics.series() {
        let family = families.values().find(|family| family.owns(name));
        let family = family.unwrap_or_else(|| panic!("{name} is not in the document"));
        for (label, value) in labels {
            assert!(family.allows(name, label, value), "{name}: {label}={value:?}");
        }
    }
    let seen = metrics.sum("dingbot_http_requests_total", &[]);
    // What is no HTTP at all comes to no route.
    assert!(seen > REQUESTS as f64 / 3.0, "{seen}");
    assert!(metrics.sum("dingbot_http_requests_total", &[("method", "other")]) > 0.0);
    assert!(metrics.sum("dingbot_http_requests_total", &[("route", "other")]) > 0.0);
    assert!(metrics.sum("dingbot_messages_rejected_total", &[]) > 0.0);
    let asked = metrics.sum("dingbot_llm_requests_total", &[]);
    let answered = metrics.sum("dingbot_llm_requests_total", &[("outcome", "ok")]);
    assert!(answered < asked, "some failed: {answered} of {asked}");
}

#[tokio::test]
async fn a_reload_resets_no_counter() {
    let mut stage = Stage::new().await;
    stage.daemon.accepts(stage.dingtalk.callback().text("我的车牌是沪A12345")).await;
    stage.daemon.wait_for_metrics("an answer", |metrics| delivered(metrics) == 1.0).await;
    let before = stage.daemon.metrics().await;
    stage.daemon.rewrite(|settings| {
        settings
            .text("llm.model", "simulated-2")
            .text("dingtalk.robot_code", "another")
            .text("log.level", "debug")
            .set("memory.recall_limit", "3")
            .set("bot.inbox_limit", "50")
            .set("server.metrics_allow", "[\"127.0.0.0/8\"]")
    });
    stage.daemon.signal(Signal::HUP);
    let at = "dingbot_config_last_reload_success_timestamp_seconds";
    let reloaded = |metrics: &Exposition| metrics.sum(at, &[]) > before.sum(at, &[]);
    stage.daemon.wait_for_metrics("it is reloaded", reloaded).await;
    let after = stage.daemon.metrics().await;
    let only_grows = |name: &str| {
        ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix))
    };
    let mut compared = 0;
    for (name, labels, value) in before.series().filter(|(name, ..)| only_grows(name)) {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (&**k, &**v)).collect();
        let now = after.sum(name, &labels);
        assert!(now >= value, "{name}{labels:?} was {value} and is {now}");
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
    // And they go on from there.
    stage.daemon.accepts(stage.dingtalk.callback().text("again")).await;
    stage.daemon.wait_for_metrics("another answer", |metrics| delivered(metrics) == 2.0).await;
    let metrics = stage.daemon.metrics().await;
    assert_eq!(metrics.sum("dingbot_llm_requests_total", &[("outcome", "ok")]), 2.0);
}

#[tokio::test]
async fn a_delivery_that_fails_is_counted_and_an_answer_in_parts_is_one_answer() {
    let stage = Stage::new().await;
    stage.dingtalk.fail_next(Api::Session, 1, Fault::ServerError);
    stage.model.answer_always(Reply::text("一段很长的话。\n\n".repeat(2_000)));
    stage.daemon.accepts(stage.dingtalk.callback().text("in detail")).await;
    let all = |metrics: &Exposition| {
        metrics.sum("dingbot_reply_duration_seconds_count", &[]) >= 1.0
            && delivered(metrics) == stage.dingtalk.messages().len() as f64
            && metrics.sum("dingbot_outbox_oldest_seconds", &[]) == 0.0
    };
    stage.daemon.wait_for_metrics("all of it", all).await;
    let metrics = stage.daemon.metrics().await;
    let parts = stage.dingtalk.messages().len() as f64;
    assert!(parts >= 3.0, "it has parts: {parts}");
    assert_eq!(metrics.sum(DELIVERIES, &[("outcome", "failed")]), 1.0);
    assert_eq!(metrics.sum("dingbot_reply_duration_seconds_count", &[]), 1.0);
}

#[tokio::test]
async fn a_message_pushed_again_and_a_body_too_large_are_counted() {
    let stage = Stage::with(|settings| settings.set("server.max_body_bytes", "2000")).await;
    let callback = stage.daemon.accepts(stage.dingtalk.callback().text("once")).await;
    assert_eq!(stage.daemon.post_callback(&callback).await.status, 200);
    let long = "很长".repeat(2_000);
    assert_eq!(stage.daemon.post(stage.dingtalk.callback().text(&long)).await.status, 413);
    let metrics = stage.daemon.metrics().await;
    for reason in ["duplicate", "body"] {
        let count = metrics.sum("dingbot_messages_rejected_total", &[("reason", reason)]);
        assert_eq!(count, 1.0, "{reason}");
    }
    assert_eq!(metrics.sum("dingbot_messages_received_total", &[]), 1.0);
}

#[tokio::test]
async fn ready_is_0_while_no_message_is_taken() {
    let stage = Stage::with(|settings| settings.set("bot.inbox_limit", "1")).await;
    assert_eq!(stage.daemon.metrics().await.sum("dingbot_ready", &[]), 1.0);
    stage.model.hold();
    stage.daemon.accepts(stage.dingtalk.callback().text("keep me")).await;
    let full = |metrics: &Exposition| {
        metrics.sum("dingbot_ready", &[]) == 0.0
            && metrics.sum("dingbot_inbox_oldest_seconds", &[]) > 0.0
    };
    stage.daemon.wait_for_metrics("the inbox is full", full).await;
    stage.model.release();
    let ready = |metrics: &Exposition| metrics.sum("dingbot_ready", &[]) == 1.0;
    stage.daemon.wait_for_metrics("there is room again", ready).await;
}

#[tokio::test]
async fn a_run_that_was_killed_is_counted_and_one_that_stopped_is_not() {
    let mut stage = Stage::new().await;
    let mark = stage.daemon.state_directory().join("dingbot.db.run");
    for killed in [1_u8, 2] {
        let expected = format!("{{\"running\":true,\"unclean_stops\":{}}}", killed - 1);
        let running = || std::fs::read_to_string(&mark).is_ok_and(|mark| mark == expected);
        for _ in 0..200 {
            if running() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(running(), "a run is marked");
        stage.daemon.kill9().await;
        stage.daemon.restart().await;
        let metrics = stage.daemon.metrics().await;
        assert_eq!(metrics.sum("dingbot_unclean_stops_total", &[]), f64::from(killed));
    }
    stage.daemon.restart().await;
    let metrics = stage.daemon.metrics().await;
    assert_eq!(metrics.sum("dingbot_unclean_stops_total", &[]), 2.0, "it was stopped");
}

#[tokio::test]
async fn the_room_on_the_disk_is_that_of_the_store() {
    let stage = Stage::new().await;
    let measured = |metrics: &Exposition| metrics.sum("dingbot_store_size_bytes", &[]) > 0.0;
    stage.daemon.wait_for_metrics("it is measured", measured).await;
    let metrics = stage.daemon.metrics().await;
    let disk = rustix::fs::statvfs(stage.daemon.state_directory()).unwrap();
    let size = (disk.f_blocks * disk.f_frsize) as f64;
    assert_eq!(metrics.sum("dingbot_store_disk_size_bytes", &[]), size);
    let (available, now) = (
        metrics.sum("dingbot_store_disk_available_bytes", &[]),
        (disk.f_bavail * disk.f_frsize) as f64,
    );
    // Others write too.
    assert!((available - now).abs() < size * 0.05, "{available} is not {now}");
    let file = std::fs::metadata(stage.daemon.state_directory().join("dingbot.db")).unwrap().len();
    assert!(metrics.sum("dingbot_store_size_bytes", &[]) >= file as f64);
}

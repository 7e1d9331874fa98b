//! On the way to the group: nothing is lost, nothing comes twice, and DingTalk's limits are kept.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;

use super::{firing, post, stage, takes};
use crate::support::PATIENCE;
use crate::support::dingtalk::{Api, Fault, Message};
use crate::support::stage::Stage;

/// Those of `names` that no message holds.
fn missing<'a>(names: &'a [String], messages: &[Message]) -> Vec<&'a String> {
    let there = |name: &&String| messages.iter().any(|m| m.text.contains(name.as_str()));
    names.iter().filter(|name| !there(name)).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("host-{number:04}.example")).collect()
}

/// How often `part` was sent.
fn count(messages: &[Message], part: &str) -> usize {
    messages.iter().map(|message| message.text.matches(part).count()).sum()
}

#[tokio::test]
async fn two_hundred_notifications_in_a_minute_are_merged_and_all_arrive() {
    let stage = stage().await;
    // So slow that most of them wait while one is under way, however busy the machine is.
    stage.dingtalk.set_latency(Duration::from_millis(500));
    let names = names(200);
    let bodies: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(number, name)| firing(&format!("Group{number}"), &[name]))
        .collect();
    join_all(bodies.iter().map(|body| takes(&stage, body))).await;
    let all = |messages: &[Message]| missing(&names, messages).is_empty();
    let messages = stage.dingtalk.wait_for(all, PATIENCE).await;
    assert!(messages.len() <= 20, "{} messages", messages.len());
    assert!(stage.dingtalk.refusals().is_empty(), "{:?}", stage.dingtalk.refusals());
    for name in &names {
        assert_eq!(count(&messages, &format!("instance：{name}")), 1, "{name}");
    }
    let merged = messages.iter().find(|m| m.title.as_deref().unwrap().contains("(alerts)"));
    let title = merged.expect("some were merged").title.as_deref().unwrap();
    let (_, said) = title.split_once("🔥 告警 ").unwrap();
    assert!(said.starts_with(|c: char| c.is_ascii_digit()), "{title}");
    println!("200 notifications: {} messages", messages.len());
}

#[tokio::test]
async fn thousands_of_alerts_are_counted_in_a_few_messages() {
    let stage = stage().await;
    let names = names(5_000);
    let instances: Vec<&str> = names.iter().map(String::as_str).collect();
    let body = firing("Down", &instances);
    assert!(body.to_string().len() > 1_048_576, "more than `server.max_body_bytes`");
    let began = Instant::now();
    takes(&stage, &body).await;
    let answered = began.elapsed();
    let last = stage.dingtalk.wait_for_text("条未列出").await;
    let messages = stage.dingtalk.messages();
    println!(
        "5,000 alerts in {} bytes: on disk and answered in {} ms, {} messages",
        body.to_string().len(),
        answered.as_millis(),
        messages.len()
    );
    assert!((2..=3).contains(&messages.len()), "{}", messages.len());
    let shown = count(&messages, "instance：host-");
    let left = format!("另有 {} 条未列出", 5_000 - shown);
    assert!(last.text.contains(&left), "{left}: {}", last.text);
    assert!(messages.iter().all(|message| message.raw.len() <= 20_000));
    assert!(messages[0].text.contains("5000 firing"));
    let calls: Vec<usize> = messages.iter().map(|message| message.called().len()).collect();
    assert_eq!(calls.iter().filter(|called| **called > 0).count(), 1, "once is enough: {calls:?}");
    assert!(stage.dingtalk.refusals().is_empty(), "{:?}", stage.dingtalk.refusals());
}

#[tokio::test]
async fn what_was_taken_survives_a_kill() {
    let mut stage = stage().await;
    let names = names(12);
    // Nothing gets through before the kill.
    stage.dingtalk.set_latency(10 * PATIENCE);
    for (number, name) in names.iter().enumerate() {
        takes(&stage, &firing(&format!("Group{number}"), &[name])).await;
        stage.daemon.kill9().await;
        if number + 1 == names.len() {
            assert!(stage.dingtalk.messages().is_empty(), "all of it is in the outbox alone");
            stage.dingtalk.set_latency(Duration::ZERO);
        }
        stage.daemon.restart().await;
    }
    let all = |messages: &[Message]| missing(&names, messages).is_empty();
    let messages = stage.dingtalk.wait_for(all, PATIENCE).await;
    for name in &names {
        assert_eq!(count(&messages, &format!("instance：{name}")), 1, "{name}");
    }
}

#[tokio::test]
async fn what_comes_again_because_the_answer_was_lost_is_sent_once() {
    let mut stage = stage().await;
    let body = firing("Down", &["host-a"]);
    takes(&stage, &body).await;
    stage.dingtalk.wait_for_text("host-a").await;
    stage.daemon.kill9().await;
    stage.daemon.restart().await;
    // Another Alertmanager of the cluster, which did not hear of the first.
    let mut other = body.clone();
    other["externalURL"] = "http://am-2.example:9093".into();
    join_all([&body, &other, &body].map(|body| takes(&stage, body))).await;
    // News of the same group is sent, and the old word after the news is news again.
    takes(&stage, &firing("Down", &["host-a", "host-b"])).await;
    stage.dingtalk.wait_for_text("host-b").await;
    takes(&stage, &body).await;
    let thrice = |messages: &[Message]| count(messages, "instance：host-a") >= 3;
    let messages = stage.dingtalk.wait_for(thrice, PATIENCE).await;
    assert_eq!(count(&messages, "instance：host-a"), 3);
    let metrics = stage.daemon.metrics().await;
    let outcome = |name| metrics.sum("dingbot_alert_notifications_total", &[("outcome", name)]);
    assert_eq!((outcome("accepted"), outcome("repeated")), (2.0, 3.0), "since the restart");
}

#[tokio::test]
async fn what_cannot_be_kept_is_503_and_may_come_again() {
    let stage = stage().await;
    let file = stage.daemon.state_directory().join("dingbot.db");
    let other = rusqlite::Connection::open(file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let body = firing("Down", &["host-a"]);
    let refused = post(&stage, &body).await;
    let message = refused.error(503);
    assert!(message.contains("could not be kept"), "{message}");
    assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    other.execute_batch("ROLLBACK").unwrap();
    takes(&stage, &body).await;
    stage.dingtalk.wait_for_text("host-a").await;
}

#[tokio::test]
async fn a_robot_that_is_shut_out_is_waited_for() {
    let stage = stage().await;
    // "Too fast", as DingTalk answers when somebody else sends by the same robot.
    stage.dingtalk.fail_next(Api::GroupRobot, 1, Fault::Errcode(410100));
    takes(&stage, &firing("Down", &["host-a"])).await;
    let held = |line: &String| line.contains("delivery held back").then_some(());
    assert!(stage.daemon.log().find(0, PATIENCE, held).await.is_some());
    let waiting = stage.daemon.command(&["outbox", "list", "--all"]).await;
    let lanes: BTreeSet<&str> =
        waiting.lines().filter(|line| line.contains("push:robot:ops")).collect();
    assert_eq!(lanes.len(), 1, "{waiting}");
}

#[tokio::test]
async fn reminders_and_alerts_share_the_minute_of_their_robot() {
    let stage = Stage::start(|dingtalk, model| {
        crate::support::settings::Settings::with_group_robot(dingtalk, model)
    })
    .await;
    stage.dingtalk.set_latency(Duration::from_millis(300));
    let callback = stage.dingtalk.callback().from("ann").text("/remember 1 喝水");
    stage.daemon.says(callback).await;
    stage.dingtalk.wait_for_text("喝水").await;
    let url = stage.daemon.url("/dingtalk/default/send");
    for number in 0..30 {
        let body = firing(&format!("Group{number}"), &[&format!("host-{number:02}")]);
        let answer = stage.daemon.client().post(&url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let both = |messages: &[Message]| {
        messages.iter().any(|m| m.title.as_deref().is_some_and(|t| t.contains("alerts, reminders")))
    };
    stage.dingtalk.wait_for(both, PATIENCE).await;
    assert!(stage.dingtalk.refusals().is_empty(), "{:?}", stage.dingtalk.refusals());
}

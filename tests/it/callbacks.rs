//! Callbacks that are refused, or accepted without an answer.

use crate::support::daemon::Daemon;
use crate::support::dingtalk::{CLIENT_SECRET, DingTalk, Message};
use crate::support::exposition::Exposition;
use crate::support::model::{KEY, Model, Reply};
use crate::support::settings::Settings;
use crate::support::stage::Stage;
use crate::support::{PATIENCE, http};

const REJECTED: &str = "dingbot_messages_rejected_total";
const HOUR: i64 = 3_600_000;

#[tokio::test]
async fn a_signature_missing_bad_or_old_is_refused_and_counted_by_reason() {
    let stage = Stage::new().await;
    let new = || stage.dingtalk.callback();
    let mut reasons = Vec::new();
    for (count, callback) in [
        new().unsigned(),
        new().bad_sign(),
        new().shifted(-HOUR - 60_000),
        new().shifted(HOUR + 60_000),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = stage.daemon.post(callback).await;
        assert!(matches!(answer.status, 401 | 403), "{answer:?}");
        answer.error(answer.status);
        let metrics = stage.daemon.metrics().await;
        assert_eq!(metrics.sum(REJECTED, &[]), count as f64 + 1.0);
        reasons = metrics.values_of(REJECTED, "reason");
    }
    reasons.sort();
    reasons.dedup();
    assert!(reasons.len() >= 2, "a bad signature and a wrong clock are told apart: {reasons:?}");
    assert!(stage.model.asked().is_empty());

    for shift in [-HOUR + 60_000, HOUR - 60_000] {
        stage.daemon.accepts(new().shifted(shift)).await;
    }
}

#[tokio::test]
async fn the_secret_and_the_signature_are_never_logged() {
    let stage = Stage::with(|settings| settings.text("log.level", "debug")).await;
    let good = stage.daemon.accepts(stage.dingtalk.callback().text("a private thought")).await;
    stage.dingtalk.wait_for_text("a private thought").await;
    let bad = stage.dingtalk.callback().bad_sign().build();
    assert!(stage.daemon.post_callback(&bad).await.status >= 400);
    let sign =
        |name: &str| good.headers.iter().find(|(found, _)| *found == name).unwrap().1.clone();
    let log = stage.daemon.log().all().join("\n");
    for secret in [CLIENT_SECRET, KEY, &sign("sign")] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn the_empty_probe_of_the_console_is_welcomed() {
    let stage = Stage::new().await;
    let answer = stage.daemon.post(stage.dingtalk.callback().probe()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn the_over_quota_push_is_accepted_and_not_answered() {
    let stage = Stage::new().await;
    let answer = stage.daemon.post(stage.dingtalk.callback().over_quota()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // A conversation is answered in order: an answer would come before this one.
    stage.daemon.accepts(stage.dingtalk.callback().text("still there?")).await;
    stage.dingtalk.wait_for_text("still there?").await;
    assert_eq!(stage.dingtalk.messages().len(), 1);
    assert_eq!(stage.model.asked().len(), 1);
}

#[tokio::test]
async fn a_session_webhook_elsewhere_is_refused_and_never_reached() {
    let stage = Stage::new().await;
    let trap = DingTalk::start().await;
    let trap_session = trap.callback().build();
    let trap_body: serde_json::Value = serde_json::from_slice(&trap_session.body).unwrap();
    let trap_webhook = trap_body["sessionWebhook"].as_str().unwrap().to_owned();
    let (_, trap_place) = trap_webhook.split_once("//").unwrap();
    let own_place = stage.dingtalk.base().replace("http://", "");
    for address in [
        trap_webhook.clone(),
        trap_webhook.replace("127.0.0.1", "localhost"),
        format!("http://{own_place}@{trap_place}"),
        format!("http://user:password@{own_place}/robot/sendBySession?session=1"),
        "file:///etc/passwd".into(),
        "not an address".into(),
    ] {
        let callback = stage.dingtalk.callback().session_webhook(&address);
        let answer = stage.daemon.post(callback).await;
        assert!((400..500).contains(&answer.status), "{address}: {answer:?}");
        assert!(answer.error(answer.status).contains("sessionWebhook"), "{address}: {answer:?}");
    }
    stage.daemon.accepts(stage.dingtalk.callback().text("a good one")).await;
    stage.dingtalk.wait_for_text("a good one").await;
    assert!(trap.messages().is_empty() && trap.refusals().is_empty());
    assert_eq!(stage.daemon.metrics().await.sum(REJECTED, &[]), 6.0);
}

#[tokio::test]
async fn without_a_secret_loopback_needs_no_signature() {
    let stage = Stage::with(|settings| {
        settings.unset("dingtalk.client_id").unset("dingtalk.client_secret")
    })
    .await;
    stage.daemon.accepts(stage.dingtalk.callback().unsigned().text("hello there")).await;
    stage.dingtalk.wait_for_text("hello there").await;
}

#[tokio::test]
async fn a_body_that_is_no_callback_is_refused_in_words() {
    let stage = Stage::new().await;
    let signed = stage.dingtalk.callback().build();
    for body in [
        &b"{"[..],
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"msgtype\":\"text\",\"text\":{\"content\":\"\xff\xfe\"}}",
        &[&b"{\"a\":"[..], &b"[".repeat(100_000)].concat(),
    ] {
        let mut callback = signed.clone();
        callback.body = body.to_vec().into();
        let answer = stage.daemon.post_callback(&callback).await;
        answer.error(400);
    }
    assert_eq!(stage.daemon.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_full_inbox_refuses_for_a_while_and_loses_nothing() {
    let stage = Stage::with(|settings| settings.set("bot.inbox_limit", "3")).await;
    stage.model.hold();
    for number in 0..3 {
        let callback = stage.dingtalk.callback().text(&format!("number {number}"));
        stage.daemon.accepts(callback).await;
    }
    let late = stage.dingtalk.callback().text("number 3").build();
    let answer = stage.daemon.post_callback(&late).await;
    answer.error(503);
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|s| s > 0), "{answer:?}");
    assert_eq!(stage.daemon.metrics().await.sum(REJECTED, &[]), 1.0);

    stage.model.release();
    stage.dingtalk.wait_for(|messages| messages.len() == 3, PATIENCE).await;
    let room = |metrics: &Exposition| metrics.sum("dingbot_messages_handled_total", &[]) >= 3.0;
    stage.daemon.wait_for_metrics("room in the inbox", room).await;
    // It was refused, not taken: the same message is accepted now.
    assert_eq!(stage.daemon.post_callback(&late).await.status, 200);
    let messages: Vec<Message> =
        stage.dingtalk.wait_for(|messages| messages.len() == 4, PATIENCE).await;
    assert!(messages[3].text.contains("number 3"));
}

#[tokio::test]
async fn a_bare_daemon_answers_offline() {
    // A fresh checkout: no key, no secret, no DingTalk.
    let daemon = Daemon::start(Settings::bare()).await;
    let say = async |text: &str| {
        let body = serde_json::json!({
            "msgtype": "text", "text": { "content": text }, "senderId": "u1", "senderNick": "me",
        });
        let request = http::client().post(daemon.url("/webhook")).json(&body);
        http::Answer::of(request.send().await.unwrap()).await
    };
    assert_eq!(say("/ping").await.body.trim(), "pong");
    assert_eq!(say("/remember I like green tea").await.status, 200);
    assert!(say("/memories").await.body.contains("green tea"));
    let answer = say("What tea do I like?").await;
    assert!(answer.status == 200 && !answer.body.trim().is_empty(), "{answer:?}");
}

#[tokio::test]
async fn the_key_can_come_from_the_environment() {
    let stage = Stage::start(|dingtalk, model: &Model| {
        Settings::new(dingtalk, model)
            .unset("llm.api_key")
            .unset("llm.base_url")
            .variable("OPENAI_API_KEY", KEY)
            .variable("OPENAI_API_BASE", &model.base())
    })
    .await;
    stage.model.answer_always(Reply::text("by the environment"));
    let answer = stage.daemon.says(stage.dingtalk.callback().text("hello")).await;
    assert_eq!(answer.trim(), "by the environment");
}

//! Callbacks that are forged, replayed, or come from somebody else.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;

use super::answers_in_time;
use crate::support::daemon::Daemon;
use crate::support::dingtalk::{CLIENT_SECRET, DingTalk, sign};
use crate::support::http::Answer;
use crate::support::settings::Settings;
use crate::support::stage::Stage;

const REJECTED: &str = "dingbot_messages_rejected_total";

#[tokio::test]
async fn a_forged_session_webhook_is_403_and_nothing_is_sent() {
    let stage = Stage::new().await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let own = stage.dingtalk.base().replace("http://", "");
    let addresses = [
        // Loopback at another port, in all its forms.
        format!("http://127.0.0.1:{port}/robot/sendBySession?session=1"),
        format!("http://localhost:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://0177.0.0.1:{port}/"),
        format!("http://0:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://[::ffff:7f00:1]:{port}/"),
        format!("http://[0:0:0:0:0:0:0:1]:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        // Private addresses and the metadata services.
        "http://10.0.0.1/".into(),
        "https://192.168.1.1/".into(),
        "http://172.16.0.1:8080/".into(),
        "http://169.254.169.254/latest/meta-data/".into(),
        "http://100.100.100.200/latest/meta-data/".into(),
        "https://100.100.100.200/".into(),
        "http://[fd00:ec2::254]/latest/meta-data/".into(),
        "http://[fe80::1]/".into(),
        // Somebody else's, and what only looks like DingTalk's.
        "https://evil.example/robot/sendBySession?session=1".into(),
        "https://oapi.dingtalk.com.evil.example/".into(),
        "https://evildingtalk.com/".into(),
        "http://oapi.dingtalk.com/robot/sendBySession?session=1".into(),
        "https://oapi.dingtalk.com:8443/".into(),
        "https://evil.example/oapi.dingtalk.com".into(),
        "https://evil.example?oapi.dingtalk.com".into(),
        "https://evil.example#oapi.dingtalk.com".into(),
        // A name or a password before the host.
        "https://oapi.dingtalk.com@evil.example/".into(),
        "https://oapi.dingtalk.com:443@evil.example/".into(),
        "https://user:password@oapi.dingtalk.com/".into(),
        "https://evil.example\\@oapi.dingtalk.com/".into(),
        format!("http://{own}@127.0.0.1:{port}/"),
        format!("http://user@{own}/robot/sendBySession?session=1"),
        // No web address.
        "file:///etc/passwd".into(),
        "gopher://127.0.0.1/".into(),
        "javascript:alert(1)".into(),
        "//oapi.dingtalk.com/".into(),
        "https://".into(),
        "not an address".into(),
    ];
    for address in &addresses {
        let callback = stage.dingtalk.callback().session_webhook(address);
        let message = stage.daemon.post(callback).await.error(403);
        assert!(message.contains("sessionWebhook"), "{address}: {message}");
    }
    let metrics = stage.daemon.metrics().await;
    let counted = metrics.sum(REJECTED, &[("reason", "session_webhook")]);
    assert_eq!(counted, addresses.len() as f64);
    // Conversations are answered in order: anything sent would have been before this.
    stage.daemon.accepts(stage.dingtalk.callback().text("a good one")).await;
    stage.dingtalk.wait_for_text("a good one").await;
    assert_eq!(stage.dingtalk.messages().len(), 1);
    assert!(stage.model.asked().len() == 1, "nobody's question is asked for a forger");
    let reached = tokio::time::timeout(Duration::from_millis(100), trap.accept()).await;
    assert!(reached.is_err(), "{reached:?}");
    answers_in_time(&stage.daemon).await;
}

#[tokio::test]
async fn a_replayed_callback_is_answered_once() {
    let stage = Stage::new().await;
    let callback = stage.daemon.accepts(stage.dingtalk.callback().text("just once")).await;
    for _ in 0..20 {
        assert_eq!(stage.daemon.post_callback(&callback).await.status, 200);
    }
    stage.dingtalk.wait_for_text("just once").await;
    for _ in 0..20 {
        assert_eq!(stage.daemon.post_callback(&callback).await.status, 200);
    }
    stage.daemon.accepts(stage.dingtalk.callback().text("the next one")).await;
    stage.dingtalk.wait_for_text("the next one").await;
    assert_eq!(stage.dingtalk.messages().len(), 2);
    assert_eq!(stage.model.asked().len(), 2);
    answers_in_time(&stage.daemon).await;
}

#[tokio::test]
async fn a_signature_that_is_old_or_of_another_secret_is_401() {
    let stage = Stage::new().await;
    let hour = 3_600_000;
    let callback = || stage.dingtalk.callback();
    stage.daemon.post(callback().shifted(-hour - 1_000)).await.error(401);
    stage.daemon.post(callback().shifted(hour + 10_000)).await.error(401);
    stage.daemon.post(callback().bad_sign()).await.error(401);

    // A good signature with another time, and times that are none.
    let good = callback().build();
    let replace = |name: &str, value: &str| {
        let mut forged = good.clone();
        let header = forged.headers.iter_mut().find(|(found, _)| *found == name).unwrap();
        header.1 = value.to_owned();
        forged
    };
    let signed = good.headers.iter().find(|(name, _)| *name == "timestamp").unwrap();
    let later = (signed.1.parse::<i64>().unwrap() + 1).to_string();
    for timestamp in [later.as_str(), "", "0", "-1", "1e12", "99999999999999999999", "今天"] {
        stage.daemon.post_callback(&replace("timestamp", timestamp)).await.error(401);
    }
    for sign in ["", "A", "AAAA", "=", &"A".repeat(8_000), &sign("", CLIENT_SECRET)] {
        stage.daemon.post_callback(&replace("sign", sign)).await.error(401);
    }
    assert!(stage.model.asked().is_empty() && stage.dingtalk.messages().is_empty());
    // The time it was signed at is good.
    assert_eq!(stage.daemon.post_callback(&good).await.status, 200);
    answers_in_time(&stage.daemon).await;
}

#[tokio::test]
async fn an_unsigned_callback_that_passed_a_proxy_is_403() {
    let dingtalk = DingTalk::start().await;
    let daemon = Daemon::start(Settings::bare().dingtalk(&dingtalk)).await;
    let body = json!({ "msgtype": "text", "text": { "content": "/ping" }, "senderId": "u" });
    let post = async |header: Option<(&str, &str)>| {
        let mut request = daemon.client().post(daemon.url("/webhook")).json(&body);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        Answer::of(request.send().await.unwrap()).await
    };
    for header in [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("via", "1.1 proxy"),
    ] {
        let message = post(Some(header)).await.error(403);
        assert!(message.contains("dingtalk.client_secret"), "{header:?}: {message}");
    }
    assert_eq!(post(None).await.body.trim(), "pong");
    answers_in_time(&daemon).await;
}

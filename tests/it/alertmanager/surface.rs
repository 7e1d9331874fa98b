//! What is taken, what is refused, and what the caller hears.

use serde_json::json;

use super::{ON_CALL, POSTED, firing, post, stage, takes, with};
use crate::support::PATIENCE;
use crate::support::dingtalk::{GROUP_SECRET, GROUP_TOKEN, Via};
use crate::support::http::{Answer, Rude};
use crate::support::service_manager::ServiceManager;
use crate::support::stage::Stage;

#[tokio::test]
async fn what_alertmanager_posts_arrives_with_a_call() {
    let stage = stage().await;
    takes(&stage, &serde_json::from_str(POSTED).unwrap()).await;
    let message = stage.dingtalk.wait_for_text("DiskWillFill").await;
    assert_eq!(message.via, Via::GroupRobot(GROUP_TOKEN.into()));
    assert_eq!(message.msgtype, "markdown");
    assert_eq!(message.title.as_deref(), Some("🔴 告警 1，恢复 1：DiskWillFill"));
    assert_eq!(message.called(), ON_CALL);
    assert!(!message.at.all);
    for part in [
        "🔥 告警 1 条，✅ 恢复 1 条 (1 firing, 1 resolved)",
        "**🔴 critical · DiskWillFill**",
        "> db-1 的 /data 将在 4 小时内写满",
        "开始 Start：2026-11-23 14:41:05 +08:00",
        "历时 12 分 30 秒",
        "[runbook\\_url](https://wiki.example.com/disk)",
        "[在 Alertmanager 中查看 open](http://am-1.example:9093/#/alerts?receiver=dingtalk)",
    ] {
        assert!(message.text.contains(part), "{part} is not in {}", message.text);
    }
    let metrics = stage.daemon.metrics().await;
    let received = |status| metrics.sum("dingbot_alerts_received_total", &[("status", status)]);
    assert_eq!((received("firing"), received("resolved")), (1.0, 1.0));
}

#[tokio::test]
async fn what_is_over_calls_nobody() {
    let stage = stage().await;
    let mut body = firing("Down", &["a"]);
    body["alerts"][0]["status"] = "resolved".into();
    body["alerts"][0]["endsAt"] = "2026-11-23T06:42:05.123Z".into();
    takes(&stage, &body).await;
    let message = stage.dingtalk.wait_for_text("Down").await;
    assert!(message.at.mobiles.is_empty() && !message.text.contains('@'), "{}", message.text);
    assert_eq!(message.title.as_deref(), Some("✅ 恢复 1：Down"));
}

#[tokio::test]
async fn everybody_is_called_when_the_settings_say_so() {
    let stage = Stage::with(|settings| {
        settings.mentioning_robot("ops", GROUP_TOKEN, GROUP_SECRET, &[], true)
    })
    .await;
    takes(&stage, &firing("Down", &["a"])).await;
    let message = stage.dingtalk.wait_for_text("Down").await;
    assert!(message.at.all && message.text.starts_with("@所有人\n\n"), "{}", message.text);
}

#[tokio::test]
async fn times_are_in_the_zone_of_the_settings() {
    let stage = with(|settings| settings.text("memory.time_zone", "America/New_York")).await;
    takes(&stage, &firing("Down", &["a"])).await;
    let message = stage.dingtalk.wait_for_text("Down").await;
    assert!(message.text.contains("2026-11-23 01:41:05 -05:00"), "{}", message.text);
}

#[tokio::test]
async fn a_label_makes_no_link_and_calls_nobody() {
    let stage = stage().await;
    let hostile = "@所有人 [急](http://198.51.100.1/)\n# 标题 ![](http://198.51.100.1/x.png)";
    takes(&stage, &firing(hostile, &["@all", "javascript:alert(1)"])).await;
    let message = stage.dingtalk.wait_for_text("198.51.100.1").await;
    assert!(!message.at.all);
    assert_eq!(message.called(), ON_CALL);
    let mut text = message.text.as_str();
    for called in ON_CALL {
        text = text.trim_start().strip_prefix(&format!("@{called}")).unwrap();
    }
    assert!(!text.contains('@'), "{text}");
    assert!(!text.contains("](http://198"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with('#')).count(), 2, "{text}");
    assert!(!message.title.unwrap().contains('@'));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let stage = with(|settings| settings.group_robot("night-shift", "t2", "")).await;
    let client = stage.daemon.client();
    let url = stage.daemon.url("/dingtalk/ops/send");
    let send =
        async |request: reqwest::RequestBuilder| Answer::of(request.send().await.unwrap()).await;
    let json = |body: &'static str| {
        client.post(&url).header("content-type", "application/json").body(body)
    };

    let message = send(json("{\"alerts\": ")).await.error(400);
    assert!(message.contains("line 1") && message.contains("version \"4\""), "{message}");
    send(json("{}")).await.error(400);
    send(json(r#"{"alerts": []}"#)).await.error(400);
    send(client.post(&url).body("{}")).await.error(415);
    let get = send(client.get(&url)).await;
    get.error(405);
    assert_eq!(get.header("allow"), "POST");

    let body = firing("Down", &["a"]);
    let unknown = client.post(stage.daemon.url("/dingtalk/opps/send")).json(&body);
    let message = send(unknown).await.error(404);
    for part in ["`opps`", "dingtalk.group_robots", "night-shift, ops"] {
        assert!(message.contains(part), "{message}");
    }
    let password = client.post(&url).json(&body).basic_auth("ops", Some("x"));
    let message = send(password).await.error(401);
    assert!(message.contains("authorization") && message.contains("Bearer"), "{message}");

    let metrics = stage.daemon.metrics().await;
    let outcome = |name| metrics.sum("dingbot_alert_notifications_total", &[("outcome", name)]);
    assert_eq!(outcome("malformed"), 3.0);
    for name in ["content_type", "unknown_robot", "credentials_unknown"] {
        assert_eq!(outcome(name), 1.0, "{name}");
    }
    let routes = metrics.values_of("dingbot_http_requests_total", "route");
    assert!(routes.iter().any(|route| route == "/dingtalk/{robot}/send"), "{routes:?}");
    assert!(!routes.iter().any(|route| route.contains("opps")), "{routes:?}");
    assert!(stage.dingtalk.messages().is_empty());
}

#[tokio::test]
async fn a_key_opens_and_a_wrong_one_does_not() {
    let stage = with(|settings| settings.set("server.api_keys", r#"["one", "two"]"#)).await;
    let ask = async |name: &'static str, value: &'static str| {
        let request = stage.daemon.client().post(stage.daemon.url("/dingtalk/ops/send"));
        let request = request.json(&firing(value, &["a"])).header(name, value);
        Answer::of(request.send().await.unwrap()).await
    };
    for (name, value) in
        [("authorization", "Bearer one"), ("authorization", "Token two"), ("x-api-key", "two")]
    {
        assert_eq!(ask(name, value).await.status, 200, "{value}");
    }
    for (name, value) in [("authorization", "Bearer three"), ("x-api-key", "on")] {
        let answer = ask(name, value).await;
        answer.error(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    // A proxy on this host that is not trusted: nobody knows who asks.
    ask("x-forwarded-for", "127.0.0.1").await.error(401);
    assert_eq!(post(&stage, &firing("Down", &["a"])).await.status, 200, "this host, no key");
    let log = stage.daemon.log().all().join("\n");
    assert!(log.contains("alerts refused") && !log.contains("three"), "{log}");
}

#[tokio::test]
async fn a_reload_changes_robots_mentions_and_keys() {
    let manager = ServiceManager::listen();
    let mut stage = with(|settings| manager.manages(settings)).await;
    takes(&stage, &firing("Before", &["a"])).await;
    assert_eq!(stage.dingtalk.wait_for_text("Before").await.called(), ON_CALL);
    stage.daemon.rewrite(|settings| {
        settings
            .without_group_robots()
            .mentioning_robot("ops", GROUP_TOKEN, GROUP_SECRET, &["13900000000"], false)
            .set("server.api_keys", r#"["new"]"#)
    });
    let printed = stage.daemon.command(&["reload"]).await;
    assert!(printed.contains("dingtalk.group_robots.ops, server.api_keys"), "{printed}");
    takes(&stage, &firing("After", &["a"])).await;
    assert_eq!(stage.dingtalk.wait_for_text("After").await.called(), ["13900000000"]);
    let request = stage.daemon.client().post(stage.daemon.url("/dingtalk/ops/send"));
    let request = request.json(&firing("After", &["b"])).bearer_auth("old");
    Answer::of(request.send().await.unwrap()).await.error(401);

    stage.daemon.rewrite(|settings| settings.without_group_robots());
    stage.daemon.command(&["reload"]).await;
    let message = post(&stage, &firing("Gone", &["a"])).await.error(404);
    assert!(message.contains("there is none yet"), "{message}");
}

#[tokio::test]
async fn what_is_larger_than_the_limit_is_refused_and_said_so() {
    let stage = with(|settings| settings.set("server.max_body_bytes", "1024")).await;
    let mut rude = Rude::connect(stage.daemon.address()).await.unwrap();
    let head = "POST /dingtalk/ops/send HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let length = 16 * 1024 * 1024 + 1;
    rude.send(format!("{head}content-length: {length}\r\n\r\n").as_bytes()).await.unwrap();
    let answer = rude.answer(PATIENCE).await.unwrap().unwrap();
    let message = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 413 && message.contains("max_alerts"), "{answer:?}");
    let refused = |line: &String| line.contains("alerts refused").then_some(());
    assert!(stage.daemon.log().find(0, PATIENCE, refused).await.is_some());
    // Alerts are not what `max_body_bytes` is small for.
    takes(&stage, &firing("Down", &["a", "b", "c", "d", "e", "f", "g", "h"])).await;
    // Nor does anybody without a right to it send a megabyte.
    let mut large = json!({ "alerts": [{}] });
    large["receiver"] = "x".repeat(2_000).into();
    let request = stage.daemon.client().post(stage.daemon.url("/webhook")).json(&large);
    assert_ne!(Answer::of(request.send().await.unwrap()).await.status, 200);
}

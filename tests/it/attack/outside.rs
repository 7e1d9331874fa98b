//! Attacks that could reach for an address outside loopback, in namespaces without a way out.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::answers_in_time;
use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::dingtalk::{CLIENT_SECRET, sign};
use crate::support::http::{self, Answer};
use crate::support::namespace::{HOST, Network};
use crate::support::settings::Settings;

/// Names in DingTalk's domain that somebody pointed elsewhere, and where to.
const TRAPS: [(&str, &str); 4] = [
    ("metadata.dingtalk.com", "100.100.100.200"),
    ("private.dingtalk.com", "10.0.0.1"),
    ("inside.dingtalk.com", "127.0.0.1"),
    ("linklocal.dingtalk.com", "169.254.169.254"),
];
/// A public address, of which there is none here.
const PUBLIC: (&str, &str) = ("oapi.dingtalk.com", "47.91.0.1");

/// Two namespaces in which every name of [`TRAPS`] leads to an address that can be reached.
fn network() -> Option<Network> {
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    for (name, address) in TRAPS.into_iter().chain([PUBLIC]) {
        hosts += &format!("{address} {name}\n");
    }
    let local = ["100.100.100.200/32", "10.0.0.1/32", "169.254.169.254/32"];
    Network::new(&hosts, &local)
        .inspect_err(|why| println!("skipped: attacks from outside: {why}"))
        .ok()
}

fn text(content: &str) -> Value {
    json!({ "msgtype": "text", "text": { "content": content }, "senderId": "somebody" })
}

async fn post(address: SocketAddr, body: &Value) -> Answer {
    let request = http::client().post(format!("http://{address}/webhook")).json(body);
    Answer::of(request.send().await.expect("the daemon answers")).await
}

#[test]
fn an_unsigned_callback_from_elsewhere_is_403() {
    let Some(network) = network() else { return };
    network.host.run(async {
        let settings = Settings::bare().listen("[::]:0").within(&network.host);
        let daemon = Daemon::start(settings).await;
        let port = daemon.address().port();
        let outside = SocketAddr::new(HOST.parse().unwrap(), port);
        let (refused, probed) = network.attacker.run(async {
            let probe = http::client().post(format!("http://{outside}/webhook")).send().await;
            (post(outside, &text("/ping")).await, Answer::of(probe.unwrap()).await)
        });
        let message = refused.error(403);
        assert!(message.contains("dingtalk.client_secret"), "{message}");
        // The console's probe of the address has no body, and is welcome from anywhere.
        assert_eq!(probed.status, 200);
        let inside = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(post(inside, &text("/ping")).await.body.trim(), "pong");
        // From this host, but not to loopback.
        post(outside, &text("/ping")).await.error(403);
        answers_in_time(&daemon).await;
    });
}

/// What Alertmanager posts, by `Authorization` or without.
async fn alert(address: SocketAddr, robot: &str, key: Option<&str>) -> Answer {
    let url = format!("http://{address}/dingtalk/{robot}/send");
    let body = json!({ "alerts": [{ "status": "firing", "labels": { "alertname": "Down" } }] });
    let request = http::client().post(url).json(&body);
    let request = match key {
        Some(key) => request.header("authorization", key),
        None => request,
    };
    Answer::of(request.send().await.expect("the daemon answers")).await
}

#[test]
fn alerts_from_elsewhere_need_a_key() {
    let Some(network) = network() else { return };
    network.host.run(async {
        for keys in [&[][..], &["a-key-of-the-test"]] {
            let settings = Settings::bare()
                .group_robot("ops", "token", "SECsecret")
                .text("dingtalk.oapi_base", "http://127.0.0.1:9")
                .set("server.api_keys", &format!("{keys:?}"))
                .listen("[::]:0")
                .within(&network.host);
            let daemon = Daemon::start(settings).await;
            let port = daemon.address().port();
            let outside = SocketAddr::new(HOST.parse().unwrap(), port);
            let refused = if keys.is_empty() { 403 } else { 401 };
            network.attacker.run(async {
                let mut answers = Vec::new();
                for robot in ["ops", "nobody"] {
                    for key in [None, Some("Bearer wrong"), Some("Basic b3BzOm9wcw==")] {
                        let answer = alert(outside, robot, key).await;
                        let status =
                            if key.is_some_and(|k| k.starts_with("Basic")) { 401 } else { refused };
                        let message = answer.error(status);
                        assert!(message.contains("server.api_keys"), "{message}");
                        let challenge = answer.header("www-authenticate");
                        assert_eq!(challenge, if status == 401 { "Bearer" } else { "" });
                        answers.push((key, answer.body));
                    }
                }
                // Nobody learns which robots there are.
                assert_eq!(answers[..3], answers[3..]);
                if let [key] = keys {
                    let answer = alert(outside, "ops", Some(&format!("Bearer {key}"))).await;
                    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
                }
            });
            // From this host, but not to loopback.
            alert(outside, "ops", None).await.error(refused);
            let inside = SocketAddr::from(([127, 0, 0, 1], port));
            assert_eq!(alert(inside, "ops", None).await.status, 200);
            let kept = daemon.command(&["outbox", "list", "--all"]).await;
            // The second says the same as the first.
            assert_eq!(kept.lines().count(), 1, "{kept}");
        }
    });
}

#[test]
fn a_name_of_dingtalk_that_leads_inside_is_never_connected_to() {
    let Some(network) = network() else { return };
    network.host.run(async {
        let settings = Settings::bare()
            .text("dingtalk.client_secret", CLIENT_SECRET)
            // Not the origin of the names here: that one is the operator's own word.
            .text("dingtalk.oapi_base", "https://configured.example")
            .within(&network.host);
        let daemon = Daemon::start(settings).await;
        // HTTPS on its own port is all that a session webhook may name.
        let traps = TRAPS.map(async |(_, address)| {
            let listener = TcpListener::bind((address, 443)).await.unwrap();
            // It would be noticed.
            TcpStream::connect((address, 443)).await.unwrap();
            listener.accept().await.unwrap();
            listener
        });
        let traps = futures_util::future::join_all(traps).await;
        let names = TRAPS.map(|(name, _)| name).into_iter().chain([PUBLIC.0]);
        let names: Vec<&str> = names.collect();
        for (number, name) in names.iter().enumerate() {
            let mut body = text("hello");
            body["msgId"] = format!("msg{number}").into();
            body["conversationId"] = format!("cid{number}").into();
            body["sessionWebhook"] = format!("https://{name}/robot/sendBySession?session=1").into();
            let now = jiff::Timestamp::now().as_millisecond().to_string();
            let request = daemon.client().post(daemon.url("/webhook")).json(&body);
            let request = request.header("sign", sign(&now, CLIENT_SECRET));
            let answer = request.header("timestamp", now).send().await.unwrap();
            // The name is DingTalk's: what is behind it shows when the answer is delivered.
            assert_eq!(answer.status(), 200, "{name}");
        }
        // Each was tried once the answer was there; the courier says what came of it.
        let mut given_up = 0;
        let all = daemon.log().find(0, PATIENCE, |line| {
            given_up += usize::from(line.contains("leads to no public address"));
            (given_up == TRAPS.len()).then_some(())
        });
        assert!(all.await.is_some(), "{given_up} given up");
        let unreachable = daemon.log().find(0, PATIENCE, |line| {
            (line.contains("delivery failed") && line.contains("unreachable")).then_some(())
        });
        assert!(unreachable.await.is_some(), "a public address is tried, and tried again");
        for (trap, (name, _)) in traps.iter().zip(TRAPS) {
            let reached = tokio::time::timeout(Duration::from_millis(50), trap.accept()).await;
            assert!(reached.is_err(), "{name} was connected to: {reached:?}");
        }
        // They stay in the outbox, for the operator to see.
        let left = daemon.command(&["outbox", "list", "--all", "--json"]).await;
        assert_eq!(left.lines().count(), names.len(), "{left}");
        answers_in_time(&daemon).await;
    });
}

//! What operators type, as they type it.

use std::time::Duration;

use serde_json::{Value, json};

use super::container::Container;
use super::engine::private;
use super::on_the_host;
use crate::support::http::{self, Answer};

/// `docker stop` kills after ten seconds; an idle daemon has no reason to come near.
const SOON: Duration = Duration::from_secs(5);

async fn get(url: &str) -> Answer {
    Answer::of(http::client().get(url).send().await.unwrap()).await
}

fn healthy() -> Value {
    json!({ "status": "ok", "message": "DingBot Server is healthy" })
}

#[test]
fn the_operators_commands_work_as_they_are_known() {
    on_the_host(|docker| async move {
        let bot = Container::run(&docker, "dingbot", &["-p", "9090:8080"]).await;
        let line = bot.becomes_healthy().await;
        assert!(line.contains("0.0.0.0:9090->8080/tcp"), "{line}");
        let ports = docker.docker(&["port", bot.name()]).await;
        assert!(ports.starts_with("8080/tcp -> 0.0.0.0:9090"), "{ports}");

        for host in ["localhost:9090", "127.0.0.1:9090", "[::1]:9090", "203.0.113.1:9090"] {
            let root = get(&format!("http://{host}/")).await;
            let running = json!({ "status": "ok", "message": "DingBot Server is running" });
            assert_eq!((root.status, root.json()), (200, running), "{host}");
            assert_eq!(get(&format!("http://{host}/health")).await.json(), healthy(), "{host}");
        }
        let help = get(&private(9090, "/help")).await;
        assert_eq!((help.status, help.header("content-type")), (200, "text/plain; charset=utf-8"));
        assert!(help.body.contains("/webhook"), "{}", help.body);

        // From another machine, by the private address.
        let outside = docker.network().attacker.run(get(&private(9090, "/health")));
        assert_eq!((outside.status, outside.json()), (200, healthy()));

        let ready = bot.logs("ready").await;
        assert_eq!((&ready["level"], &ready["listen"]), (&json!("INFO"), &json!("[::]:8080")));
        assert_eq!(ready["store"], "/data/dingbot.db");
        assert_eq!(bot.inspect("{{.State.Health.Status}}").await, "healthy");
        let network = docker.docker(&["network", "inspect", "bridge"]).await;
        assert!(network.contains(&format!("\"Name\": \"{}\"", bot.name())), "{network}");

        assert_eq!(docker.docker(&["exec", bot.name(), "bash", "-c", "id -u"]).await, "65532");
        assert!(bot.sh("dingbot health").await.contains("DingBot Server is healthy"));
        let config = bot.sh("dingbot config").await;
        assert!(config.contains("/etc/dingbot/dingbot.toml"), "{config}");

        docker.docker(&["restart", bot.name()]).await;
        bot.becomes_healthy().await;
        assert_eq!(get(&private(9090, "/health")).await.status, 200);

        let (code, took) = bot.stop().await;
        assert_eq!(code, "0", "{:?}", bot.output().await);
        assert!(took < SOON, "{took:?}");
        assert!(bot.log().await.iter().any(|event| event["message"] == "stopped"));
    });
}

#[test]
fn a_container_in_trouble_is_unhealthy() {
    on_the_host(|docker| async move {
        let options = ["--health-interval", "1s", "--health-retries", "1"];
        let options = [&options[..], &["--health-start-period", "0s"]].concat();
        let bot = Container::run(&docker, "dingbot-trouble", &options).await;
        bot.becomes_healthy().await;
        // Hung, as it is when the disk does not answer: it runs and says nothing.
        let pid = bot.inspect("{{.State.Pid}}").await;
        assert_ne!(pid, "0");
        docker.docker(&["kill", "--signal", "STOP", bot.name()]).await;
        bot.becomes("(unhealthy)").await;
        docker.docker(&["kill", "--signal", "CONT", bot.name()]).await;
        bot.becomes("(healthy)").await;
    });
}

//! The pages about the daemon itself, and how errors look.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::exposition::Exposition;
use crate::support::http::{Answer, Rude};
use crate::support::model::Reply;
use crate::support::settings::Settings;
use crate::support::stage::Stage;

async fn daemon() -> Daemon {
    Daemon::start(Settings::bare()).await
}

async fn send(daemon: &Daemon, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = daemon.client().request(method, daemon.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn root_and_health_are_exactly_what_operators_know() {
    let daemon = daemon().await;
    for (path, message) in
        [("/", "DingBot Server is running"), ("/health", "DingBot Server is healthy")]
    {
        let answer = daemon.get(path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("application/json"));
        assert_eq!(answer.json(), json!({ "status": "ok", "message": message }));
    }
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let daemon = daemon().await;
    for path in ["/", "/health", "/help"] {
        let get = daemon.get(path).await;
        let head = send(&daemon, Method::HEAD, path, &[]).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn verbose_health_names_its_checks() {
    let daemon = daemon().await;
    let health = daemon.get("/health?verbose=1").await.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_seconds"].as_f64().is_some_and(|seconds| seconds < 60.0));
    let checks = health["checks"].as_array().unwrap();
    assert!(!checks.is_empty());
    for check in checks {
        for field in ["name", "status"] {
            assert!(check[field].as_str().is_some_and(|text| !text.is_empty()), "{check}");
        }
        for field in ["message", "since"] {
            assert!(check.get(field).is_some(), "{check}");
        }
    }
}

#[tokio::test]
async fn help_is_chinese_first_and_names_everything() {
    let daemon = daemon().await;
    let help = daemon.get("/help").await;
    assert_eq!((help.status, help.header("content-type")), (200, "text/plain; charset=utf-8"));
    let chinese = help.body.find("显示帮助").unwrap();
    let english = help.body.find("show this help").unwrap();
    assert!(chinese < english, "{}", help.body);
    for name in [
        "/health",
        "/help",
        "/metrics",
        "/webhook",
        "/ping",
        "/time",
        "/remember",
        "/memories",
        "/forget",
        "/new",
        "/记住",
        "/记忆",
        "/忘记",
        "/帮助",
    ] {
        assert!(help.body.contains(name), "{name}");
    }
}

#[tokio::test]
async fn a_browser_gets_pages() {
    let daemon = daemon().await;
    let accept = [BROWSER];
    for path in ["/", "/help"] {
        let page = send(&daemon, Method::GET, path, &accept).await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"), "{path}: {page:?}");
    }
    let landing = send(&daemon, Method::GET, "/", &accept).await.body;
    for path in ["/health", "/help", "/metrics"] {
        assert!(landing.contains(path), "{path}");
    }
    for other in ["*/*", "application/json", "application/json, text/html;q=0.5"] {
        let answer = send(&daemon, Method::GET, "/", &[("accept", other)]).await;
        assert!(answer.header("content-type").starts_with("application/json"), "{other}");
    }
}

const BROWSER: (&str, &str) =
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

#[tokio::test]
async fn the_landing_page_shows_what_goes_on_to_those_who_may_see_it() {
    let mut stage = Stage::new().await;
    stage.model.answer_next([Reply::text("fine"), Reply::Unauthorized]);
    for text in ["one", "two"] {
        stage.daemon.accepts(stage.dingtalk.callback().text(text)).await;
    }
    let answered = "dingbot_reply_duration_seconds_count";
    stage.daemon.wait_for_metrics("answers", |metrics| metrics.sum(answered, &[]) == 2.0).await;
    let page = send(&stage.daemon, Method::GET, "/", &[BROWSER]).await;
    let address = stage.daemon.address().to_string();
    let figures = ["收到的消息: 2\"", "送达的回答: 2\"", "失败: 1\"", &address];
    for part in figures {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(page.body.contains("运行正常") && page.body.contains("running well"));
    assert!(!page.body.contains("<script") && !page.body.contains("src="), "{}", page.body);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                  frame-ancestors 'none'";
    assert_eq!(page.header("content-security-policy"), policy);
    assert_eq!((page.header("cache-control"), page.header("vary")), ("no-store", "accept"));
    let head = send(&stage.daemon, Method::HEAD, "/", &[BROWSER]).await;
    assert_eq!((head.status, head.header("content-type")), (200, page.header("content-type")));
    assert_eq!(head.body, "");

    // Who may not read figures gets a page without.
    let closed = |settings: Settings| settings.set("server.metrics_allow", "[\"192.0.2.0/24\"]");
    stage.daemon.rewrite(closed);
    stage.daemon.signal(Signal::HUP);
    let mut plain = page;
    for _ in 0..200 {
        plain = send(&stage.daemon, Method::GET, "/", &[BROWSER]).await;
        if !plain.body.contains(&address) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(plain.status, 200);
    for part in figures.iter().chain(&["<svg", "收到的消息"]) {
        assert!(!plain.body.contains(part), "{part}: {}", plain.body);
    }
    assert!(plain.body.contains("运行正常") && plain.body.contains("href=\"/health\""));
}

#[tokio::test]
async fn the_landing_page_says_what_is_wrong() {
    let stage = Stage::with(|settings| settings.set("bot.inbox_limit", "1")).await;
    stage.model.hold();
    stage.daemon.accepts(stage.dingtalk.callback().text("keep me")).await;
    let ready = |metrics: &Exposition| metrics.sum("dingbot_ready", &[]) == 0.0;
    stage.daemon.wait_for_metrics("the inbox is full", ready).await;
    let page = send(&stage.daemon, Method::GET, "/", &[BROWSER]).await;
    assert_eq!(page.status, 200, "the page is there");
    assert!(page.body.contains("不能接收消息"), "{}", page.body);
    assert!(page.body.contains("messages wait for an answer"), "{}", page.body);
    stage.model.release();
}

#[tokio::test]
async fn metrics_are_in_the_text_format() {
    let daemon = daemon().await;
    let answer = daemon.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"), "{answer:?}");
    daemon.get("/health").await;
    let metrics = daemon.metrics().await;
    for name in [
        "dingbot_build_info",
        "dingbot_ready",
        "dingbot_http_requests_in_flight",
        "dingbot_http_connections",
        "dingbot_inbox_oldest_seconds",
        "dingbot_memories",
        "dingbot_config_last_reload_successful",
        "dingbot_config_last_reload_success_timestamp_seconds",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(metrics.has(name), "{name}");
    }
    assert_eq!(metrics.sum("dingbot_ready", &[]), 1.0);
    assert_eq!(metrics.sum("dingbot_http_requests_total", &[("route", "/health")]), 1.0);
    let now = jiff::Timestamp::now().as_second() as f64;
    let started = metrics.sum("process_start_time_seconds", &[]);
    assert!((now - 60.0..=now + 2.0).contains(&started), "{started}");
    assert!(metrics.sum("process_resident_memory_bytes", &[]) > 1e6);
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let daemon = daemon().await;
    daemon.get("/nothing/here").await.error(404);
}

#[tokio::test]
async fn a_wrong_method_is_405_and_the_right_ones_are_named() {
    let daemon = daemon().await;
    for (method, path, allowed) in [
        (Method::POST, "/health", "GET"),
        (Method::DELETE, "/", "GET"),
        (Method::PUT, "/metrics", "GET"),
        (Method::GET, "/webhook", "POST"),
    ] {
        let answer = send(&daemon, method.clone(), path, &[]).await;
        answer.error(405);
        assert!(answer.header("allow").contains(allowed), "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_too_large_is_413() {
    let daemon = Daemon::start(Settings::bare().set("server.max_body_bytes", "1024")).await;
    let request = daemon.client().post(daemon.url("/webhook"));
    let request = request.header("content-type", "application/json").body("x".repeat(1_025));
    Answer::of(request.send().await.unwrap()).await.error(413);

    // Declared and not sent: refused by its header, without waiting for it.
    let mut rude = Rude::connect(daemon.address()).await.unwrap();
    let head = "POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 999999999\r\n\r\n";
    rude.send(head.as_bytes()).await.unwrap();
    assert_eq!(rude.answer(PATIENCE).await.unwrap().unwrap().status, 413);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_415() {
    let daemon = daemon().await;
    let request = daemon.client().post(daemon.url("/webhook"));
    let request = request.header("content-type", "text/xml").body("<xml/>");
    Answer::of(request.send().await.unwrap()).await.error(415);
}

#[tokio::test]
async fn one_port_serves_both_families() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("this host has no IPv6; only the fallback is checked");
    }
    let daemon = Daemon::start(Settings::bare().listen("[::]:0")).await;
    let port = daemon.address().port();
    let mut addresses = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    if daemon.address().is_ipv6() {
        addresses.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    }
    for address in addresses {
        let response = daemon.client().get(format!("http://{address}/health")).send().await;
        assert_eq!(response.unwrap().status(), 200, "{address}");
    }
}

#[tokio::test]
async fn half_a_header_is_not_waited_for_longer_than_configured() {
    let daemon = Daemon::start(Settings::bare().text("server.header_timeout", "1s")).await;
    let mut rude = Rude::connect(daemon.address()).await.unwrap();
    rude.send(b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    assert!(rude.closes(PATIENCE).await);
    assert_eq!(daemon.get("/health").await.status, 200);
}

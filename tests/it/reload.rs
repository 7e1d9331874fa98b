//! Reading the configuration again while running.

use std::process::Output;
use std::time::{Duration, Instant};

use dingbot::service::control::Report;
use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::service_manager::ServiceManager;
use crate::support::stage::Stage;

/// A daemon with a runtime directory, as a unit's has.
async fn managed() -> (Stage, ServiceManager) {
    let manager = ServiceManager::listen();
    let stage = Stage::with(|settings| manager.manages(settings)).await;
    (stage, manager)
}

/// Runs `dingbot reload`; the exit code and what it printed, without warnings: that everybody may
/// read the file of a test is true.
async fn reload(stage: &Stage) -> (i32, String) {
    let Output { status, stdout, stderr } = stage.daemon.attempt(&["reload"]).await;
    let printed = String::from_utf8([stdout, stderr].concat()).unwrap();
    let lines = printed.lines().filter(|line| !line.contains("warning: "));
    (status.code().unwrap(), lines.map(|line| format!("{line}\n")).collect())
}

async fn ask(stage: &Stage, question: &str) -> String {
    stage.daemon.says(stage.dingtalk.callback().from("ann").text(question)).await;
    let asked = stage.model.wait_for_question(question).await;
    asked.body["model"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_can_change_is_in_force_when_the_command_returns() {
    let (mut stage, _manager) = managed().await;
    assert_eq!(ask(&stage, "before it").await, "simulated-1");
    let before = stage.daemon.metrics().await;
    stage.daemon.rewrite(|s| s.text("llm.model", "simulated-2").text("log.level", "debug"));
    let (code, printed) = reload(&stage).await;
    assert_eq!(
        (code, printed.as_str()),
        (0, "configuration reloaded; now in force: llm.model, log.level\n")
    );
    assert_eq!(ask(&stage, "after it").await, "simulated-2");
    let metrics = stage.daemon.metrics().await;
    assert_eq!(metrics.sum("dingbot_config_last_reload_successful", &[]), 1.0);
    let at = "dingbot_config_last_reload_success_timestamp_seconds";
    assert!(metrics.sum(at, &[]) > before.sum(at, &[]));
    let debug = |line: &String| line.contains("request answered").then_some(());
    assert!(stage.daemon.log().find(0, PATIENCE, debug).await.is_some(), "the level is debug");
    assert_eq!(reload(&stage).await, (0, "configuration reloaded: nothing has changed\n".into()));
}

#[tokio::test]
async fn a_bad_configuration_leaves_everything_as_it_was() {
    let (mut stage, _manager) = managed().await;
    stage
        .daemon
        .rewrite(|s| s.text("llm.model", "simulated-2").text("server.max_body_bytes", "big"));
    let (code, printed) = reload(&stage).await;
    assert_eq!(code, 78, "{printed}");
    let place = printed.lines().find(|line| line.contains("server.max_body_bytes")).unwrap();
    assert!(place.contains("dingbot.toml:"), "the file and the line: {place}");
    assert!(printed.ends_with("the settings stay as they were\n"), "{printed}");
    assert_eq!(ask(&stage, "still the old one").await, "simulated-1");
    let failed = stage.daemon.metrics().await;
    assert_eq!(failed.sum("dingbot_config_last_reload_successful", &[]), 0.0);
    assert_eq!(stage.daemon.get("/health").await.status, 200);

    stage.daemon.rewrite(|s| s.unset("server.max_body_bytes"));
    assert_eq!(reload(&stage).await.0, 0);
    assert_eq!(ask(&stage, "now the new one").await, "simulated-2");
    let mended = stage.daemon.metrics().await;
    assert_eq!(mended.sum("dingbot_config_last_reload_successful", &[]), 1.0);
}

#[tokio::test]
async fn what_needs_a_restart_is_said_as_long_as_it_does() {
    let (mut stage, _manager) = managed().await;
    let elsewhere = stage.daemon.state_directory().join("other.db");
    stage.daemon.rewrite(|s| s.text("store.url", &format!("sqlite://{}", elsewhere.display())));
    for _ in 0..2 {
        let told = (0, "in force after a restart only: store.url\n".into());
        assert_eq!(reload(&stage).await, told);
    }
    ask(&stage, "kept where it was").await;
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn a_secret_is_replaced_without_being_shown() {
    let manager = ServiceManager::listen();
    let wrong = |settings| manager.manages(settings).text("dingtalk.client_secret", "not-this-one");
    let mut stage = Stage::with(wrong).await;
    let callback = stage.dingtalk.callback().from("ann").text("let me in").build();
    assert_eq!(stage.daemon.post_callback(&callback).await.status, 401);
    let right = crate::support::dingtalk::CLIENT_SECRET;
    stage.daemon.rewrite(|s| s.text("dingtalk.client_secret", right));
    let (code, printed) = reload(&stage).await;
    assert_eq!(code, 0);
    assert!(printed.contains("dingtalk.client_secret") && !printed.contains(right), "{printed}");
    assert_eq!(stage.daemon.post_callback(&callback).await.status, 200);
    let log = stage.daemon.log().all().join("\n");
    assert!(!log.contains(right) && !log.contains("not-this-one"));
}

#[tokio::test]
async fn a_limit_counts_for_the_next_request() {
    let (mut stage, _manager) = managed().await;
    stage.daemon.rewrite(|s| s.set("server.max_body_bytes", "1024"));
    assert_eq!(reload(&stage).await.0, 0);
    let long = stage.dingtalk.callback().from("ann").text(&"x".repeat(2_000)).build();
    assert_eq!(stage.daemon.post_callback(&long).await.status, 413);
    stage.daemon.rewrite(|s| s.set("server.metrics_allow", "[\"192.0.2.0/24\"]"));
    assert_eq!(reload(&stage).await.0, 0);
    assert_eq!(stage.daemon.get("/metrics").await.status, 403);
}

#[tokio::test]
async fn a_signal_does_it_too() {
    let mut stage = Stage::new().await;
    stage.daemon.rewrite(|s| s.text("llm.model", "simulated-2"));
    stage.daemon.signal(Signal::HUP);
    let reloaded = |line: &String| line.contains("configuration reloaded").then(|| line.clone());
    let line = stage.daemon.log().find(0, PATIENCE, reloaded).await.unwrap();
    assert!(line.contains("llm.model"), "{line}");
    assert_eq!(ask(&stage, "by the new one").await, "simulated-2");
}

#[tokio::test]
async fn without_a_unit_the_daemon_is_found_by_its_store() {
    let mut stage = Stage::new().await;
    stage.daemon.rewrite(|s| s.text("llm.model", "simulated-2"));
    assert_eq!(reload(&stage).await.0, 0);
    stage.daemon.sigterm();
    stage.daemon.wait_exit().await;
    let (code, printed) = reload(&stage).await;
    assert_eq!(code, 1);
    assert!(printed.contains("is `dingbot serve` running"), "{printed}");
    let left: Vec<_> = std::fs::read_dir(stage.daemon.state_directory()).unwrap().collect();
    assert!(
        left.iter().all(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            !name.to_string_lossy().ends_with(".sock")
        }),
        "{left:?}"
    );
}

#[tokio::test]
async fn messages_on_their_way_do_not_notice() {
    let (mut stage, _manager) = managed().await;
    let mut expected = Vec::new();
    for round in 0..10 {
        for person in 0..5 {
            let text = format!("question {round}-{person}");
            stage
                .daemon
                .accepts(stage.dingtalk.callback().from(&format!("p{person}")).text(&text))
                .await;
            expected.push(text);
        }
        stage.daemon.rewrite(|s| s.set("llm.max_concurrency", &(round + 1).to_string()));
        assert_eq!(reload(&stage).await.0, 0);
    }
    for text in &expected {
        stage.model.wait_for_question(text).await;
    }
    let all = |messages: &[_]| messages.len() >= expected.len();
    stage.dingtalk.record().wait_for(all, PATIENCE).await;
    // Whatever else it was about to send.
    stage.daemon.sigterm();
    stage.daemon.wait_exit().await;
    assert_eq!(stage.dingtalk.messages().len(), expected.len());
}

/// Makes the configuration one that cannot be read to its end: a reader of a FIFO waits for
/// somebody to write.
fn block(stage: &Stage) {
    let file = stage.daemon.configuration();
    std::fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
}

#[tokio::test]
async fn a_reload_that_hangs_does_not_keep_the_daemon_from_stopping() {
    let (mut stage, manager) = managed().await;
    block(&stage);
    stage.daemon.signal(Signal::HUP);
    let (at, _) = manager.hears(0, "RELOADING=1").await;
    // Queued behind it.
    let socket = manager.runtime_directory().join("control.sock");
    let queued = dingbot::service::control::reload(&socket);
    let stopping = async {
        assert_eq!(stage.daemon.get("/health").await.status, 200);
        stage.daemon.sigterm();
        manager.hears(at, "STOPPING=1").await;
        let since = Instant::now();
        assert_eq!(stage.daemon.wait_exit().await.code(), Some(0));
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    };
    let (report, ()) = tokio::join!(queued, stopping);
    // Unless it came too late to be heard at all.
    if let Ok(report) = report {
        assert_eq!(report, Report::Failed { reason: "the daemon is stopping".into() });
    }
}

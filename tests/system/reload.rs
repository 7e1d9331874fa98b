//! `systemctl reload`: new settings without a restart, or a clear no.

use crate::host::{Host, on_hosts};
use crate::support::exposition::Exposition;

on_hosts! {
    good_settings_are_in_force_when_systemctl_reload_returns: bookworm trixie;
    bad_settings_are_refused_by_name_and_the_old_ones_stay: bookworm trixie;
    what_needs_a_restart_is_said: bookworm;
}

const LAST_SUCCESSFUL: &str = "dingbot_config_last_reload_successful";

/// The model that the daemon asks for.
async fn model_asked(host: &Host, question: &str) -> String {
    host.accepts(host.callback().text(question)).await;
    let asked = host.model.wait_for_question(question).await;
    asked.body["model"].as_str().unwrap().to_owned()
}

async fn reloads(metrics: &Exposition) -> f64 {
    metrics.sum(LAST_SUCCESSFUL, &[])
}

async fn good_settings_are_in_force_when_systemctl_reload_returns(host: &Host) {
    host.with_service().await;
    assert_eq!(model_asked(host, "first").await, "simulated-1");
    let before = host.pid().await;
    // Five times: readiness that systemd sees only by luck would not be seen each time.
    for round in 2..7 {
        let name = format!("simulated-{round}");
        let level = if round % 2 == 0 { "debug" } else { "info" };
        host.configure(&host.settings().text("llm.model", &name).text("log.level", level));
        host.machine.succeeds("systemctl reload dingbot").await;
        assert_eq!(model_asked(host, &format!("round {round}")).await, name);
    }
    host.configure(&host.settings().text("log.level", "debug"));
    host.machine.succeeds("systemctl reload dingbot").await;
    let mark = host.machine.succeeds("journalctl --sync; date +%s.%N").await;
    host.get("/health").await;
    let since = format!("journalctl --sync; journalctl -u dingbot -o cat --since=@{}", mark.trim());
    let written = host.machine.succeeds(&since).await;
    assert!(written.contains("request answered"), "debug lines: {written:?}");

    let metrics = host.metrics().await;
    assert_eq!(reloads(&metrics).await, 1.0);
    assert!(metrics.sum("dingbot_config_last_reload_success_timestamp_seconds", &[]) > 1e9);
    assert_eq!(host.pid().await, before);
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "active");
}

async fn bad_settings_are_refused_by_name_and_the_old_ones_stay(host: &Host) {
    host.with_service().await;
    let bad = "llm.model = \"simulated-2\"\n\n[server]\nmax_connections = \"many\"\n";
    host.machine.publish("/etc/dingbot/conf.d/60-bad.toml", bad);
    let before = host.pid().await;
    host.machine.fails("systemctl reload dingbot").await;
    let said = host.machine.succeeds("journalctl --sync; journalctl -u dingbot -o cat").await;
    for part in ["60-bad.toml", "server.max_connections", "4"] {
        assert!(said.contains(part), "{part} is not named: {said}");
    }
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "active");
    assert_eq!(host.pid().await, before);
    assert_eq!(reloads(&host.metrics().await).await, 0.0);
    assert_eq!(model_asked(host, "still there?").await, "simulated-1");
    // The operator sees the same on the terminal.
    let terminal = host.machine.fails("dingbot reload").await;
    assert!(terminal.contains("60-bad.toml") && terminal.contains("max_connections"), "{terminal}");

    host.machine.succeeds("rm /etc/dingbot/conf.d/60-bad.toml").await;
    host.machine.succeeds("systemctl reload dingbot").await;
    assert_eq!(reloads(&host.metrics().await).await, 1.0);
}

async fn what_needs_a_restart_is_said(host: &Host) {
    host.with_service().await;
    host.configure(&host.settings().set("server.listen", "[\"[::]:8081\"]"));
    let said = host.machine.succeeds("dingbot reload 2>&1").await;
    assert!(said.contains("server.listen") && said.contains("restart"), "{said}");
    host.answers("at the old place").await;
}

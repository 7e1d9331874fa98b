//! A fresh host becomes one with a running bot.

use std::time::{Duration, Instant};

use crate::host::{Host, on_hosts};
use crate::package::Package;
use crate::repository::Repository;

on_hosts! {
    apt_install_from_the_signed_repository_is_all_it_takes: bookworm trixie;
    a_repository_signed_by_somebody_else_is_not_believed: bookworm;
}

async fn apt_install_from_the_signed_repository_is_all_it_takes(host: &Host) {
    let package = Package::current();
    let repository = Repository::publish(std::slice::from_ref(&package)).await;
    repository.add_to(host).await;
    let machine = &host.machine;

    let since = Instant::now();
    let terminal = machine.succeeds("apt-get install --yes dingbot 2>&1").await;
    let installed = since.elapsed();
    host.becomes_healthy().await;
    let healthy = machine.uptime();
    println!(
        "{}: `apt-get install dingbot` {:.1} s, of which the service's start {:.2} s; \
         from power on to healthy {:.1} s, all included",
        host.suite.name(),
        installed.as_secs_f64(),
        start(host).await.as_secs_f64(),
        healthy.as_secs_f64(),
    );
    let health = host.get("/health").await.json();
    assert_eq!(health["message"], "DingBot Server is healthy");
    assert_eq!(machine.succeeds("systemctl is-active dingbot").await.trim(), "active");
    assert_eq!(machine.succeeds("systemctl is-enabled dingbot").await.trim(), "enabled");
    // The socket is there and for whoever wants it.
    assert_eq!(machine.run("systemctl is-enabled dingbot.socket").await.stdout.trim(), "disabled");
    let failed = machine.succeeds("systemctl --failed --no-legend --plain").await;
    assert!(failed.is_empty(), "{failed}");
    assert_eq!(machine.property("dingbot", "NRestarts").await, "0");

    // What to do next: on the terminal, and for who looks later.
    let journal = machine.succeeds("journalctl -t dingbot --no-pager -o cat").await;
    for (place, text) in [("the terminal", &terminal), ("the journal", &journal)] {
        assert!(text.contains("/etc/dingbot/credentials"), "{place}: {text}");
    }
    assert!(journal.contains("next step 3 of 3"), "{journal}");
    assert!(terminal.contains("接下来") && terminal.contains("Three next steps"), "{terminal}");
    for file in [
        "/usr/share/man/man8/dingbot.8.gz",
        "/usr/share/man/man5/dingbot.toml.5.gz",
        "/usr/share/bash-completion/completions/dingbot",
        "/usr/share/zsh/vendor-completions/_dingbot",
        "/usr/share/fish/vendor_completions.d/dingbot.fish",
        "/usr/share/doc/dingbot/examples/prometheus/dingbot.yml",
        "/usr/share/doc/dingbot/examples/prometheus/dingbot.rules.yml",
        "/usr/share/doc/dingbot/examples/prometheus/targets/dingbot.yml",
        "/usr/share/doc/dingbot/examples/grafana/dingbot.json",
    ] {
        machine.succeeds(&format!("dpkg --search {file} | grep ^dingbot:")).await;
    }
    let modes = "stat -c '%a %U %n' /etc/dingbot/conf.d /etc/dingbot/credentials";
    let modes = machine.succeeds(modes).await;
    assert_eq!(modes, "755 root /etc/dingbot/conf.d\n700 root /etc/dingbot/credentials\n");
}

/// How long the service took from its start to being ready.
async fn start(host: &Host) -> Duration {
    let mut micros = [0; 2];
    let times = ["ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"];
    for (micros, time) in micros.iter_mut().zip(times) {
        *micros = host.machine.property("dingbot", time).await.parse().unwrap();
    }
    Duration::from_micros(micros[1] - micros[0])
}

async fn a_repository_signed_by_somebody_else_is_not_believed(host: &Host) {
    let package = Package::current();
    let trusted = Repository::publish(std::slice::from_ref(&package)).await;
    trusted.add_to(host).await;
    let other = Repository::publish(&[package]).await;
    let sources = host.machine.outside("/etc/apt/sources.list.d/dingbot.sources");
    let text = std::fs::read_to_string(&sources).unwrap();
    let moved = text.replace(&trusted.origin(), &other.origin());
    assert_ne!(moved, text);
    std::fs::write(&sources, moved).unwrap();
    let said = host.machine.fails("apt-get update --error-on=any").await;
    assert!(said.contains("NO_PUBKEY") || said.contains("not signed"), "{said}");
}

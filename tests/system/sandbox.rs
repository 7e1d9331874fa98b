//! The unit's sandbox: tight, and not so tight that the daemon cannot work.

use std::net::IpAddr;

use crate::dns::Dns;
use crate::host::{Host, on_hosts, outside};

on_hosts! {
    the_exposure_is_at_most_one: bookworm trixie;
    names_are_resolved_and_new_servers_found_without_a_restart: bookworm trixie;
    the_daemon_sees_and_changes_nothing_it_does_not_need: bookworm trixie;
}

/// The highest exposure, times ten.
const THRESHOLD: u32 = 10;

async fn the_exposure_is_at_most_one(host: &Host) {
    host.with_service().await;
    let check = format!("systemd-analyze security --no-pager --threshold={THRESHOLD} dingbot");
    let table = host.machine.succeeds(&check).await;
    let verdict = table.lines().last().unwrap_or_default().to_owned();
    println!("{}: {}", host.suite.name(), verdict.trim_start_matches(|c: char| !c.is_ascii()));
    // Not by a list of addresses that lists them all.
    let unit = host.machine.succeeds("systemctl cat dingbot").await;
    assert!(!unit.lines().any(|line| line.starts_with("IPAddressAllow")), "{unit}");
    // Manual pages are not on a minimal host.
    let verify = "systemd-analyze verify --man=no /usr/lib/systemd/system/dingbot.* 2>&1";
    assert_eq!(host.machine.run(verify).await.stdout, "");
}

async fn names_are_resolved_and_new_servers_found_without_a_restart(host: &Host) {
    let IpAddr::V4(here) = outside() else { panic!("the cable has IPv4 addresses") };
    let dns = Dns::start(outside(), &[("model.example", here), ("ding.example", here)]).await;
    let named = |base: String, name: &str| base.replace(&here.to_string(), name);
    let settings = host
        .settings()
        .text("llm.base_url", &named(host.model.base(), "model.example"))
        .text("dingtalk.api_base", &named(host.dingtalk.base(), "ding.example"));
    // As on a host whose network comes up after the service: no resolver yet.
    host.with_settings(&settings).await;
    host.accepts(host.callback().text("without a resolver")).await;
    host.dingtalk.wait_for(|messages| !messages.is_empty(), crate::support::PATIENCE).await;
    assert!(dns.asked().is_empty());

    // As programs that manage it do: another file under the same name.
    let replace = format!(
        "echo nameserver {here} > /etc/resolv.conf.new && \
         mv /etc/resolv.conf.new /etc/resolv.conf && chmod 644 /etc/resolv.conf"
    );
    host.machine.succeeds(&replace).await;
    host.answers("with a resolver").await;
    assert!(dns.asked().iter().any(|name| name == "model.example"), "{:?}", dns.asked());
}

async fn the_daemon_sees_and_changes_nothing_it_does_not_need(host: &Host) {
    host.with_service().await;
    let pid = host.pid().await;
    let status = host.machine.succeeds(&format!("cat /proc/{pid}/status")).await;
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    // What the daemon's own view holds, what of it can be written and what can be run: as root
    // sees it, so that it is the mounts that keep the daemon out and not only its user.
    for absent in ["/home", "/root", "/boot", "/srv", "/etc/dingbot/credentials"] {
        let seen = host.machine.run(&format!("ls -A /proc/{pid}/root{absent}")).await.stdout;
        assert_eq!(seen, "", "{absent}");
    }
    let write = format!("cd /proc/{pid}/root && touch x etc/x usr/x");
    let said = host.machine.fails(&write).await;
    assert_eq!(said.matches("Read-only file system").count(), 3, "{said}");
    // What can be written cannot be run.
    for place in ["/var/lib/dingbot", "/run/dingbot", "/tmp", "/var/tmp", "/dev/shm"] {
        let run = format!("cd /proc/{pid}/root{place} && cp /usr/bin/true . && ./true");
        let said = host.machine.fails(&run).await;
        assert!(said.contains("./true: Permission denied"), "{place}: {said}");
    }
}

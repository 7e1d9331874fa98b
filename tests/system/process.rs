//! The `process_*` metrics under the unit's sandbox, which hides most of `/proc` from the daemon:
//! compared with what systemd and root see from outside of it.

use crate::host::{Host, on_hosts};
use crate::support::prometheus::promtool;

on_hosts! {
    the_figures_of_the_process_are_those_seen_from_outside: bookworm trixie;
}

/// A number of a file of the process, as root sees it: the word after `key`.
async fn seen(host: &Host, file: &str, key: &str) -> f64 {
    let path = format!("/proc/{}/{file}", host.pid().await);
    let text = host.machine.succeeds(&format!("cat {path}")).await;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let word = line.unwrap_or_default().split_whitespace().next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("no {key} in {path}: {text}"))
}

/// Processor time in seconds: fields 14 and 15 of stat, in hundredths of a second.
async fn processor(host: &Host) -> f64 {
    let stat = host.machine.succeeds(&format!("cat /proc/{}/stat", host.pid().await)).await;
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(|f| f.parse().unwrap()).collect();
    (fields[0] + fields[1]) / 100.0
}

async fn the_figures_of_the_process_are_those_seen_from_outside(host: &Host) {
    host.with_service().await;
    assert_eq!(host.machine.property("dingbot", "ProcSubset").await, "pid", "it is hidden");
    for number in 0..50 {
        host.accepts(host.callback().text(&format!("/remember 第{number}件事"))).await;
    }
    let answered = |count: usize| async move { (count >= 50).then_some(()) };
    let all = async || answered(host.dingtalk.messages().len()).await;
    host.machine.wait("all are answered", crate::support::PATIENCE, all).await;

    let before = processor(host).await;
    let metrics = host.metrics().await;
    let after = processor(host).await;
    let used = metrics.sum("process_cpu_seconds_total", &[]);
    assert!((before - 0.011..=after + 0.011).contains(&used), "{used}: {before} to {after}");
    assert!(used > 0.0);
    // In whole seconds it would be one of two wrong values for most of a second.
    let mut fractions = used.fract() != 0.0;
    for _ in 0..20 {
        host.get("/help").await;
        fractions |= host.metrics().await.sum("process_cpu_seconds_total", &[]).fract() != 0.0;
    }
    assert!(fractions, "seconds with a fraction");

    let told = host
        .machine
        .succeeds("systemctl show dingbot --property=ExecMainStartTimestamp --timestamp=unix")
        .await;
    let began: f64 = told.trim().rsplit_once('@').unwrap().1.parse().unwrap();
    let said = metrics.sum("process_start_time_seconds", &[]);
    assert!((said - began).abs() < 3.0, "it says {said}, systemd {began}");

    let metrics = host.metrics().await;
    let files = host.machine.succeeds(&format!("ls /proc/{}/fd | wc -l", host.pid().await)).await;
    let files: f64 = files.trim().parse().unwrap();
    let said = metrics.sum("process_open_fds", &[]);
    // Connections come and go, and looking takes one.
    assert!((said - files).abs() <= 4.0, "{said} open files, {files} seen");
    let most = seen(host, "limits", "Max open files").await;
    assert_eq!(metrics.sum("process_max_fds", &[]), most);
    let resident = seen(host, "status", "VmRSS:").await * 1024.0;
    let said = metrics.sum("process_resident_memory_bytes", &[]);
    assert!((said / resident - 1.0).abs() < 0.25, "{said} bytes, {resident} seen");
    let mapped = seen(host, "status", "VmSize:").await * 1024.0;
    let said = metrics.sum("process_virtual_memory_bytes", &[]);
    assert!((said / mapped - 1.0).abs() < 0.1, "{said} bytes, {mapped} seen");
    let threads = seen(host, "status", "Threads:").await;
    let said = metrics.sum("process_threads", &[]);
    assert!((said - threads).abs() <= 3.0, "{said} threads, {threads} seen");

    let text = host.get("/metrics").await.body;
    match promtool(&["check", "metrics"], &text).await {
        Some(said) => assert!(said.status.success(), "{said:?}"),
        None => println!("skipped: promtool check metrics: promtool is not installed"),
    }
}

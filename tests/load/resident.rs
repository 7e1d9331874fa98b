//! Resident memory: idle after the start, and after 100,000 messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::caller::{self, Caller};
use crate::peers::Peer;
use crate::support::daemon::Daemon;
use crate::support::dingtalk::{self, DingTalk};
use crate::support::settings::Settings;
use crate::table::{Row, Table, Target};

const MESSAGES: usize = 100_000;
const PEOPLE: usize = 1_000;
const CONNECTIONS: usize = 16;
/// Most time for all of them, so that a slow machine ends too.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a process is left alone before it is called idle.
const REST: Duration = Duration::from_secs(3);
/// Messages between two readings of the resident memory.
const READING: usize = 10_000;

pub(crate) async fn measure(table: &mut Table) {
    let hyper = Peer::bare_hyper().await;
    let dingtalk = Arc::new(DingTalk::start().await);
    let settings = Settings::bare()
        .dingtalk(&dingtalk)
        .text("dingtalk.client_secret", dingtalk::CLIENT_SECRET);
    let daemon = Daemon::start(settings).await;
    tokio::time::sleep(REST).await;
    let idle = resident(daemon.pid(), "VmRSS:");
    table.add(Row {
        measurement: "resident memory, idle after the start".into(),
        unit: "MiB",
        dingbot: idle,
        peer: Some(("bare hyper".into(), resident(hyper.pid() as i32, "VmRSS:"))),
        target: Target::AtMost(20.0),
    });

    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (dingtalk, next) = (Arc::clone(&dingtalk), Arc::clone(&next));
            let (address, pid) = (daemon.address(), daemon.pid());
            tokio::spawn(async move {
                let mut caller = Caller::connect(address).await;
                let (mut refused, mut readings) = (0, Vec::new());
                while started.elapsed() < LONGEST {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= MESSAGES {
                        break;
                    }
                    if number.is_multiple_of(READING) {
                        readings.push((number, resident(pid, "VmRSS:")));
                    }
                    let callback = dingtalk.callback().from(&format!("staff{}", number % PEOPLE));
                    let text = format!("My order {number} is to be sent to Shanghai on Friday.");
                    let request = caller::request(&callback.text(&text).build());
                    refused += caller.deliver(&request).await;
                }
                (refused, readings)
            })
        })
        .collect();
    let (mut refused, mut readings) = (0, Vec::new());
    for task in tasks {
        let (times, read) = task.await.unwrap();
        refused += times;
        readings.extend(read);
    }
    let sent = next.load(Ordering::Relaxed).min(MESSAGES);
    dingtalk.wait_for(|answers| answers.len() >= sent, LONGEST).await;
    let took = started.elapsed();
    tokio::time::sleep(REST).await;
    let end = resident(daemon.pid(), "VmRSS:");
    table.add(Row {
        measurement: format!("resident memory after {sent} messages"),
        unit: "MiB",
        dingbot: end,
        peer: Some(("idle before them".into(), idle)),
        target: Target::None,
    });
    table.add(Row {
        measurement: "its peak on the way".into(),
        unit: "MiB",
        dingbot: resident(daemon.pid(), "VmHWM:"),
        peer: None,
        target: Target::None,
    });
    readings.sort_by_key(|(number, _)| *number);
    let course: Vec<String> = readings.iter().map(|(_, mib)| format!("{mib:.0}")).collect();
    let memories = daemon.metrics().await.sum("dingbot_memories", &[]);
    let folder = std::fs::read_dir(daemon.state_directory()).unwrap();
    let bytes: u64 = folder.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    table.note(format!(
        "Resident memory: {sent} messages of {PEOPLE} people over {CONNECTIONS} connections in \
         {:.0} s, answered offline, {memories:.0} memories made, 503 told {refused} times; every \
         {READING} messages it was {} MiB. The store grew to {:.0} MiB.",
        took.as_secs_f64(),
        course.join(", "),
        bytes as f64 / f64::from(1 << 20),
    ));
}

/// A field of `/proc/PID/status`, in MiB.
/// A figure of a process in MiB, by its name in `/proc/PID/status`.
pub(crate) fn resident(pid: i32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
    kib / 1024.0
}

//! Durable acknowledgements a second at 64 connections.
//!
//! The gain of sharing commits is measured at the store itself, which alone knows the difference;
//! what a caller of the daemon sees of it is measured over HTTP, while the daemon answers the
//! messages too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dingbot::store::sqlite::{Options, SqliteStore};
use dingbot::store::{InboxStore, NewMessage};
use dingbot::telemetry::metrics::Metrics;

use crate::caller::{self, Caller};
use crate::disk;
use crate::statistics::{median, millis, quantile};
use crate::support::daemon::Daemon;
use crate::support::dingtalk::{self, DingTalk};
use crate::support::settings::Settings;
use crate::table::{Row, Table, Target};

const CONNECTIONS: usize = 64;
const STORE_RUN: Duration = Duration::from_secs(4);
const HTTP_MESSAGES: usize = 20_000;
/// Most writes in a transaction, as the daemon has it.
const SHARED: usize = 256;
/// About as long as a callback of a text.
const PAYLOAD_BYTES: usize = 700;

pub(crate) async fn measure(table: &mut Table) {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..crate::rounds() {
        rates[0].push(kept_per_second(SHARED).await);
        rates[1].push(kept_per_second(1).await);
    }
    let [shared, single] = rates.map(|rates| median(&rates));
    table.add(Row {
        measurement: format!("messages kept, {CONNECTIONS} tasks, in the store"),
        unit: "/s",
        dingbot: shared,
        peer: Some(("one commit a message".into(), single)),
        target: Target::None,
    });
    over_http(table).await;
}

/// Messages a new store keeps a second.
async fn kept_per_second(max_batch: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(folder.path().join("store.db"), Arc::new(Metrics::new()));
    options.max_batch = max_batch;
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let started = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut kept = 0;
                while started.elapsed() < STORE_RUN {
                    let message = NewMessage {
                        key: Some(format!("message {task} {kept}")),
                        conversation: format!("conversation {task}"),
                        payload: "x".repeat(PAYLOAD_BYTES),
                        received_at: 0,
                    };
                    store.accept(message).await.unwrap();
                    kept += 1;
                }
                kept
            })
        })
        .collect();
    let mut kept = 0;
    for task in tasks {
        kept += task.await.unwrap();
    }
    let rate = f64::from(kept) / started.elapsed().as_secs_f64();
    let store = Arc::into_inner(store).expect("the tasks have ended");
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    rate
}

async fn over_http(table: &mut Table) {
    let dingtalk = DingTalk::start().await;
    let settings = Settings::bare()
        .dingtalk(&dingtalk)
        .text("dingtalk.client_secret", dingtalk::CLIENT_SECRET)
        .set("bot.inbox_limit", "1000000");
    let daemon = Daemon::start(settings).await;
    let requests: Vec<Vec<u8>> = (0..HTTP_MESSAGES)
        .map(|number| {
            let callback = dingtalk.callback().from(&format!("staff{}", number % 1_000));
            caller::request(&callback.text(&format!("Message {number}: what is new?")).build())
        })
        .collect();
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
            let address = daemon.address();
            tokio::spawn(async move {
                let mut caller = Caller::connect(address).await;
                let mut times = Vec::new();
                while let Some(request) =
                    requests.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    let sent = Instant::now();
                    assert_eq!(caller.exchange(request).await, 200);
                    times.push(millis(sent.elapsed()));
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let acknowledged = started.elapsed();
    dingtalk.wait_for(|answers| answers.len() == HTTP_MESSAGES, Duration::from_secs(120)).await;
    let answered = started.elapsed();
    let metrics = daemon.metrics().await;
    let commits = metrics.sum("dingbot_store_commits_total", &[]);
    let writes = metrics.sum("dingbot_store_commit_writes_sum", &[]);
    let count = HTTP_MESSAGES as f64;
    table.add(Row {
        measurement: format!("callbacks acknowledged, {CONNECTIONS} connections, over HTTP"),
        unit: "/s",
        dingbot: count / acknowledged.as_secs_f64(),
        peer: None,
        target: Target::None,
    });
    table.add(Row {
        measurement: "the same messages answered and delivered (offline)".into(),
        unit: "/s",
        dingbot: count / answered.as_secs_f64(),
        peer: None,
        target: Target::None,
    });
    table.note(format!(
        "Acknowledgements: {HTTP_MESSAGES} signed callbacks of 1,000 people with session webhooks; \
         p50 {:.1} ms, p99 {:.1} ms; {:.0} writes a commit while all were answered. Disk: {}.",
        median(&times),
        quantile(&times, 0.99),
        writes / commits,
        disk::describe(&daemon.state_directory()),
    ));
}

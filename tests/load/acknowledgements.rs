//! Durable acknowledgements a second at 64 connections.
//!
//! What sharing commits gains is measured at the way in alone, with the same code and the same
//! disk on both sides; then what the whole daemon does, which answers the messages meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::caller::{self, Caller};
use crate::disk;
use crate::doorstep::Doorstep;
use crate::statistics::{median, millis, quantile};
use crate::support::daemon::Daemon;
use crate::support::dingtalk::{self, DingTalk};
use crate::support::settings::Settings;
use crate::table::{Row, Table, Target};

const CONNECTIONS: usize = 64;
/// Time for one side of the comparison.
const TURN: Duration = Duration::from_secs(4);
const MESSAGES: usize = 20_000;
const PEOPLE: usize = 1_000;
const NO_END: Duration = Duration::from_secs(300);

pub(crate) async fn measure(table: &mut Table) {
    let dingtalk = DingTalk::start().await;
    let requests = Arc::new(requests(&dingtalk, 3 * MESSAGES));
    let (mut shared, mut single) = (Vec::new(), Vec::new());
    for _ in 0..crate::rounds() {
        for (max_batch, rates) in [(None, &mut shared), (Some(1), &mut single)] {
            let doorstep = Doorstep::open(&dingtalk, max_batch).await;
            let started = Instant::now();
            let times = post(doorstep.address, &requests, TURN).await;
            rates.push(times.len() as f64 / started.elapsed().as_secs_f64());
            assert_eq!(doorstep.close().await, times.len() as u64, "acknowledged is kept");
        }
    }
    table.add(Row {
        measurement: format!("callbacks on disk and acknowledged, {CONNECTIONS} connections"),
        unit: "/s",
        dingbot: median(&shared),
        peer: Some(("one commit a message".into(), median(&single))),
        target: Target::None,
    });
    drop(requests);
    by_the_daemon(table, &dingtalk).await;
}

async fn by_the_daemon(table: &mut Table, dingtalk: &DingTalk) {
    let settings = Settings::bare()
        .dingtalk(dingtalk)
        .text("dingtalk.client_secret", dingtalk::CLIENT_SECRET)
        .set("bot.inbox_limit", "1000000");
    let daemon = Daemon::start(settings).await;
    let requests = Arc::new(requests(dingtalk, MESSAGES));
    let started = Instant::now();
    let times = post(daemon.address(), &requests, NO_END).await;
    let acknowledged = started.elapsed();
    dingtalk.wait_for(|answers| answers.len() == MESSAGES, NO_END).await;
    let answered = started.elapsed();
    let metrics = daemon.metrics().await;
    let commits = metrics.sum("dingbot_store_commits_total", &[]);
    let writes = metrics.sum("dingbot_store_commit_writes_sum", &[]);
    let count = MESSAGES as f64;
    let row = |measurement: &str, time: Duration| Row {
        measurement: measurement.into(),
        unit: "/s",
        dingbot: count / time.as_secs_f64(),
        peer: None,
        target: Target::None,
    };
    table.add(row("the same while the daemon answers them offline", acknowledged));
    table.add(row("callbacks answered and the answer delivered", answered));
    table.note(format!(
        "Acknowledgements: signed callbacks of {PEOPLE} people with session webhooks; against one \
         commit a message with nothing behind the inbox, median of {} turns of {} s; then {MESSAGES} \
         callbacks to the whole daemon: acknowledged after p50 {:.1} ms, p99 {:.1} ms, {:.0} writes \
         a commit. Disk: {}.",
        crate::rounds(),
        TURN.as_secs(),
        median(&times),
        quantile(&times, 0.99),
        writes / commits,
        disk::describe(&daemon.state_directory()),
    ));
}

/// Callbacks made before the time is taken, for signing them costs as much as checking them.
fn requests(dingtalk: &DingTalk, count: usize) -> Vec<Vec<u8>> {
    let request = |number| {
        let callback = dingtalk.callback().from(&format!("staff{}", number % PEOPLE));
        caller::request(&callback.text(&format!("Message {number}: what is new?")).build())
    };
    (0..count).map(request).collect()
}

/// Posts the requests over 64 connections until they or the time are used up; milliseconds that
/// each acknowledgement took.
async fn post(address: SocketAddr, requests: &Arc<Vec<Vec<u8>>>, within: Duration) -> Vec<f64> {
    let (next, started) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let post = |requests: Arc<Vec<Vec<u8>>>, next: Arc<AtomicUsize>| async move {
        let mut caller = Caller::connect(address).await;
        let mut times = Vec::new();
        while started.elapsed() < within
            && let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let sent = Instant::now();
            assert_eq!(caller.exchange(request).await, 200);
            times.push(millis(sent.elapsed()));
        }
        times
    };
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(post(Arc::clone(requests), Arc::clone(&next))))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times
}

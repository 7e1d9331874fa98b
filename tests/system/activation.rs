//! With systemd's socket a restart refuses nobody.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::host::{Host, on_hosts};
use crate::load::{Outcome, load};

on_hosts! {
    twenty_restarts_under_load_refuse_and_reset_nobody: bookworm trixie;
    without_the_socket_a_restart_is_noticed: bookworm;
    the_first_caller_starts_the_service: bookworm;
}

const RESTARTS: usize = 20;
/// How long the service works between two restarts.
const BETWEEN: Duration = Duration::from_millis(200);

/// Gives the port to systemd.
async fn with_socket(host: &Host) {
    host.with_service().await;
    host.machine.succeeds("systemctl stop dingbot").await;
    host.machine.succeeds("systemctl enable --now dingbot.socket").await;
}

async fn twenty_restarts_under_load_refuse_and_reset_nobody(host: &Host) {
    with_socket(host).await;
    host.machine.succeeds("systemctl start dingbot").await;
    host.becomes_healthy().await;
    let since = Instant::now();
    let (outcome, restarts) = restart_under_load(host, RESTARTS).await;
    println!(
        "{}: {restarts} restarts in {:.0} s under load: {outcome}",
        host.suite.name(),
        since.elapsed().as_secs_f64(),
    );
    assert_eq!(restarts, RESTARTS);
    assert!(outcome.is_perfect(), "{outcome}: {:?}", outcome.other);
    assert!(outcome.answered > 100 * RESTARTS, "no load: {outcome}");
    host.answers("and the bot itself?").await;
}

/// What the test above would see if the socket did nothing.
async fn without_the_socket_a_restart_is_noticed(host: &Host) {
    host.with_service().await;
    let (outcome, _) = restart_under_load(host, 3).await;
    assert!(outcome.refused > 0 && !outcome.is_perfect(), "{outcome}");
}

/// Restarts the service while it is under load; what became of the requests, and how many new
/// processes there were.
async fn restart_under_load(host: &Host, times: usize) -> (Outcome, usize) {
    let enough = CancellationToken::new();
    let restarting = async {
        let mut pids = BTreeSet::from([host.pid().await]);
        for _ in 0..times {
            host.machine.succeeds("systemctl restart dingbot").await;
            pids.insert(host.pid().await);
            tokio::time::sleep(BETWEEN).await;
        }
        enough.cancel();
        pids.len() - 1
    };
    tokio::join!(load(host.address(), enough.clone()), restarting)
}

async fn the_first_caller_starts_the_service(host: &Host) {
    with_socket(host).await;
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "inactive");
    assert_eq!(host.get("/health").await.status, 200);
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "active");
}

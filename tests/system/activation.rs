//! With systemd's socket a restart refuses nobody.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::host::{Host, on_hosts};
use crate::load::load;

on_hosts! {
    twenty_restarts_under_load_refuse_and_reset_nobody: bookworm trixie;
    the_first_caller_starts_the_service: bookworm;
}

const RESTARTS: usize = 20;

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
    let enough = CancellationToken::new();
    let since = Instant::now();
    let restarting = async {
        let mut pids = std::collections::BTreeSet::from([host.pid().await]);
        for _ in 0..RESTARTS {
            host.machine.succeeds("systemctl restart dingbot").await;
            pids.insert(host.pid().await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        enough.cancel();
        pids.len() - 1
    };
    let (outcome, restarts) = tokio::join!(load(host.address(), enough.clone()), restarting);
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

async fn the_first_caller_starts_the_service(host: &Host) {
    with_socket(host).await;
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "inactive");
    assert_eq!(host.get("/health").await.status, 200);
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "active");
}

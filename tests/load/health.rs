//! Requests a second for `/health`, against nginx's static answer and a bare hyper server.

use std::net::SocketAddr;

use tokio::process::Command;

use crate::peers::Peer;
use crate::statistics::median;
use crate::support::daemon::Daemon;
use crate::support::settings::Settings;
use crate::table::{Row, Table, Target};

const CONNECTIONS: usize = 32;
/// Short turns and many of them: what else the machine does then weighs on all servers alike.
const SECONDS: usize = 2;
/// Turns of each server in a round.
const TURNS: usize = 3;

pub(crate) async fn measure(table: &mut Table) {
    let daemon = Daemon::start(Settings::bare()).await;
    let nginx = Peer::nginx().await;
    let hyper = Peer::bare_hyper().await;
    let servers = [daemon.address(), nginx.address, hyper.address];
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for address in servers {
        requests_per_second(address, 1).await; // Warm-up, not counted.
    }
    for _ in 0..crate::rounds() * TURNS {
        for (address, rates) in servers.iter().zip(&mut rates) {
            rates.push(requests_per_second(*address, SECONDS).await);
        }
    }
    let [dingbot, by_nginx, by_hyper] = rates.map(|rates| median(&rates));
    let row = |peer: &str, figure, target| Row {
        measurement: format!("/health, {CONNECTIONS} connections"),
        unit: "requests/s",
        dingbot,
        peer: Some((peer.to_owned(), figure)),
        target,
    };
    table.add(row("nginx return 200", by_nginx, Target::RatioAtLeast(0.9)));
    table.add(row("bare hyper", by_hyper, Target::None));
    nginx.stop().await;
}

async fn requests_per_second(address: SocketAddr, seconds: usize) -> f64 {
    let wrk = Command::new("wrk")
        .args(["-t2", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s")])
        .arg(format!("http://{address}/health"))
        .kill_on_drop(true)
        .output()
        .await
        .expect("wrk runs");
    let said = String::from_utf8_lossy(&wrk.stdout);
    let failed = ["Non-2xx", "Socket errors"].iter().any(|trouble| said.contains(trouble));
    assert!(!failed, "{said}");
    let rate = said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).unwrap_or_else(|| panic!("no rate in: {said}"))
}

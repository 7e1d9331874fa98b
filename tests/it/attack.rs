//! Under attack: each attack has its expected answer, costs bounded memory, and leaves a daemon
//! that answers `/health` in time.
//!
//! Over loopback, except for what could reach for an address outside of it: that runs in network
//! namespaces without a way out.

mod bodies;
mod connections;
mod forged;
mod outside;

use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;

/// The longest that `/health` may take, whatever else goes on.
const IN_TIME: Duration = Duration::from_secs(1);

/// Checks that the daemon answers `/health` in time.
#[track_caller]
fn answers_in_time(daemon: &Daemon) -> impl Future<Output = ()> + '_ {
    let caller = std::panic::Location::caller();
    async move {
        let asked = Instant::now();
        // A connection of its own: one that is kept may be closed as idle in the moment it is used.
        let request = daemon.client().get(daemon.url("/health")).header("connection", "close");
        assert_eq!(request.send().await.unwrap().status(), 200, "{caller}");
        let took = asked.elapsed();
        assert!(took < IN_TIME, "/health took {took:?} at {caller}");
    }
}

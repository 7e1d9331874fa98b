//! The watchdog: tells the service manager that the daemon works, while it does, and what it is
//! doing.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::notify::Notifier;

/// How often the status line is looked at, and its parts are asked when there is no watchdog.
const LOOK: Duration = Duration::from_secs(2);

/// Returns once a part has shown that it goes on; never, if it hangs.
type Sign = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A part of the daemon that must show progress.
#[allow(missing_debug_implementations, reason = "a closure has none")]
pub struct Part {
    name: &'static str,
    sign: Box<dyn Fn() -> Sign + Send + Sync>,
}

impl Part {
    /// The part `name`, and how to ask it for a sign of life.
    pub fn new<F>(name: &'static str, sign: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, sign: Box::new(move || Box::pin(sign())) }
    }
}

/// Pings while every part shows progress: a ping from a timer would prove nothing.
#[allow(missing_debug_implementations, reason = "a closure has none")]
pub struct Watchdog {
    notifier: Notifier,
    parts: Vec<Part>,
    status: Box<dyn Fn() -> String + Send + Sync>,
    /// How long the service manager waits for a ping; `None`: it does not.
    limit: Option<Duration>,
}

impl Watchdog {
    /// A watchdog over these parts; the unit's `WatchdogSec=` says how fast it has to be. `status`
    /// makes the line for `systemctl status`.
    pub fn new(
        notifier: Notifier,
        parts: Vec<Part>,
        status: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let limit = sd_notify::watchdog_enabled();
        Self { notifier, parts, status: Box::new(status), limit }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        // Half of the limit is what sd_watchdog_enabled(3) recommends; a third leaves one to miss.
        let every = self.limit.map_or(LOOK, |limit| (limit / 3).min(LOOK));
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = String::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = due.tick() => {}
            }
            let status = (self.status)();
            if status != told {
                self.notifier.status(&status);
                told = status;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.all_alive() => {}
            }
            if self.limit.is_some() {
                self.notifier.alive();
            }
        }
    }

    /// Returns once every part has shown progress; says meanwhile which has not.
    async fn all_alive(&self) {
        let patience = self.limit.map_or(LOOK * 5, |limit| limit / 2);
        let began = Instant::now();
        let alive = self.parts.iter().map(|part| async move {
            let sign = (part.sign)();
            tokio::pin!(sign);
            while timeout(patience, &mut sign).await.is_err() {
                let seconds = began.elapsed().as_secs();
                tracing::error!(part = part.name, seconds, error_kind = "stuck", "no progress");
            }
        });
        join_all(alive).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_part_that_hangs_is_enough() {
        let hangs = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&hangs);
        let parts = vec![
            Part::new("steady", || async {}),
            Part::new("store", move || {
                let hangs = state.load(Ordering::Relaxed);
                async move {
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                }
            }),
        ];
        let watchdog = Watchdog::new(Notifier::start(), parts, String::new);
        let minute = Duration::from_secs(60);
        assert!(timeout(minute, watchdog.all_alive()).await.is_ok());
        hangs.store(true, Ordering::Relaxed);
        assert!(timeout(minute, watchdog.all_alive()).await.is_err());
    }
}

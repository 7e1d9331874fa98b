//! What the service manager is told (`sd_notify(3)`); nothing when there is none.

use std::future::Future;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, interval};

/// Notices that may wait for the service manager to take them.
const WAITING: usize = 64;
/// How often more time is asked for, and how much each time.
const EXTENSION: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));

/// How long more time is asked for.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// How often it is said what takes so long.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// One datagram.
#[derive(Debug)]
enum Notice {
    Ready(String),
    Status(String),
    Reloading,
    Stopping(String),
    MoreTime(Duration),
    Alive,
}

/// Tells the service manager, by a thread of its own: one that does not read never holds up the
/// daemon.
#[derive(Debug, Clone)]
pub struct Notifier {
    /// `None`: there is nobody to tell.
    notices: Option<SyncSender<Notice>>,
}

impl Notifier {
    /// Tells whom `$NOTIFY_SOCKET` names.
    pub fn start() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { notices: None };
        }
        let (notices, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("notify".into()).spawn(move || {
            let mut failing = false;
            for notice in waiting {
                let sent = send(&notice);
                if let Err(error) = &sent
                    && !failing
                {
                    tracing::warn!(%error, error_kind = "io", "the service manager cannot be told");
                }
                failing = sent.is_err();
            }
        });
        match thread {
            Ok(_) => Self { notices: Some(notices) },
            Err(error) => {
                tracing::error!(
                    %error,
                    error_kind = "io",
                    "the service manager cannot be told anything"
                );
                Self { notices: None }
            }
        }
    }

    /// The daemon is ready, or its reload is over.
    pub fn ready(&self, status: &str) {
        self.tell(Notice::Ready(one_line(status)));
    }

    /// What it is doing, in one line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.tell(Notice::Status(one_line(status)));
    }

    /// It reads its configuration again; [`ready`](Self::ready) ends that.
    pub fn reloading(&self) {
        self.tell(Notice::Reloading);
    }

    /// It has begun to stop.
    pub fn stopping(&self, status: &str) {
        self.tell(Notice::Stopping(one_line(status)));
    }

    /// It works.
    pub fn alive(&self) {
        self.tell(Notice::Alive);
    }

    /// Runs a part of the start or of the stop that may take longer than the unit allows, and asks
    /// for more time while it goes on, for up to a quarter of an hour: what takes longer hangs.
    pub async fn taking_time<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let (every, more) = EXTENSION;
        let began = Instant::now();
        let mut due = interval(every);
        let mut said = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = due.tick() => {}
            }
            let taken = began.elapsed();
            if taken - said >= SAY_EVERY {
                said = taken;
                tracing::warn!(what, seconds = taken.as_secs(), "this takes long");
            }
            if taken < LONGEST {
                self.tell(Notice::MoreTime(more));
            }
        }
    }

    fn tell(&self, notice: Notice) {
        if let Some(notices) = &self.notices {
            // Full: a service manager that has not read 64 notices does not miss this one.
            let _ = notices.try_send(notice);
        }
    }
}

fn send(notice: &Notice) -> std::io::Result<()> {
    match notice {
        Notice::Ready(status) => {
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
        }
        Notice::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
        // The time is what `Type=notify-reload` waits for; older ones ignore it.
        Notice::Reloading => sd_notify::notify(&[
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now()?,
            NotifyState::Status("reading the configuration again"),
        ]),
        Notice::Stopping(status) => {
            sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)])
        }
        Notice::MoreTime(more) => {
            let micros = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
            sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(micros)])
        }
        Notice::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    }
}

/// A line break would begin another field of the datagram.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("a\nREADY=1\r\nb"), "a READY=1  b");
    }
}

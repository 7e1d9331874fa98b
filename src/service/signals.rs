//! Signals: the first SIGTERM or SIGINT asks the daemon to drain and stop, the second ends it at
//! once; SIGHUP asks it to reload.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_tokio::Signals as Stream;

/// Exit status when a second signal cuts the drain short.
const CUT_SHORT: i32 = 1;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Drain and stop; the name of the signal.
    Stop(&'static str),
    /// Read the configuration again.
    Reload,
}

/// The signals of this process.
#[allow(missing_debug_implementations, reason = "the stream inside has none")]
pub struct Signals {
    signals: Stream,
    /// Whether a reload was asked for during another one.
    reload_again: bool,
}

impl Signals {
    /// Listens from now on. A second signal to stop ends the process in the signal handler itself,
    /// so that it works however stuck the process is.
    pub fn listen() -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag down and raises it.
            flag::register_conditional_shutdown(signal, CUT_SHORT, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(&stopping))?;
        }
        Ok(Self { signals: Stream::new([SIGTERM, SIGINT, SIGHUP])?, reload_again: false })
    }

    /// Waits for the next signal; safe to drop and call again.
    pub async fn next(&mut self) -> Signal {
        if std::mem::take(&mut self.reload_again) { Signal::Reload } else { self.received().await }
    }

    /// Waits for a signal to stop, while a reload is under way: another one asked for meanwhile is
    /// the [`next`](Self::next) signal. Safe to drop and call again.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            match self.received().await {
                Signal::Stop(name) => return name,
                Signal::Reload => self.reload_again = true,
            }
        }
    }

    async fn received(&mut self) -> Signal {
        match self.signals.next().await {
            Some(SIGHUP) => Signal::Reload,
            Some(SIGINT) => Signal::Stop("SIGINT"),
            _ => Signal::Stop("SIGTERM"),
        }
    }
}

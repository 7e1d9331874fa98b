//! SIGTERM and SIGINT: the first asks the daemon to drain and stop, the second ends it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_tokio::Signals;

/// Exit status when a second signal cuts the drain short.
const CUT_SHORT: i32 = 1;

/// Signals that ask the daemon to stop.
#[allow(missing_debug_implementations, reason = "the stream inside has none")]
pub struct StopSignals {
    signals: Signals,
}

impl StopSignals {
    /// Listens from now on. A second signal ends the process in the signal handler itself, so that
    /// it works however stuck the process is.
    pub fn listen() -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag down and raises it.
            flag::register_conditional_shutdown(signal, CUT_SHORT, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(&stopping))?;
        }
        Ok(Self { signals: Signals::new([SIGTERM, SIGINT])? })
    }

    /// Waits for the first signal and returns its name.
    pub async fn stop(&mut self) -> &'static str {
        match self.signals.next().await {
            Some(SIGINT) => "SIGINT",
            _ => "SIGTERM",
        }
    }
}

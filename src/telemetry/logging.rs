//! Where log lines go, and in what form.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::settings::{Log, LogFormat};

/// Lines that may wait for a slow reader of standard error; past it lines are dropped rather than
/// anybody made to wait.
const WAITING_LINES: usize = 32_768;

/// Writes what is still waiting when it is dropped.
#[must_use = "log lines are lost without it"]
pub struct Logging {
    _flush: WorkerGuard,
    level: LevelHandle,
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logging")
    }
}

impl Logging {
    /// What changes the level while the daemon runs.
    pub fn level(&self) -> LevelHandle {
        self.level.clone()
    }
}

/// Changes what is logged.
#[derive(Debug, Clone)]
pub struct LevelHandle(reload::Handle<EnvFilter, Registry>);

impl LevelHandle {
    /// Logs at another level from now on.
    pub fn set_level(&self, level: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.reload(EnvFilter::try_new(level)?)?)
    }
}

/// Sends log lines to standard error, by a thread of its own: a reader that stops reading never
/// holds up the daemon.
///
/// A second call does nothing: the process has one subscriber.
pub fn start(settings: &Log) -> Logging {
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).finish(std::io::stderr());
    // The level was validated with the settings.
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let layer = layer(settings.format, writer);
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    Logging { _flush: guard, level: LevelHandle(handle) }
}

fn layer(format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = std::io::stderr().is_terminal();
    // The journal has the time already.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal && !journal,
    };
    let layer = fmt::layer().with_writer(writer).with_ansi(terminal);
    if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else if journal {
        layer.without_time().boxed()
    } else {
        layer.boxed()
    }
}

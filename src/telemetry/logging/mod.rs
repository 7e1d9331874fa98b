//! Where log lines go, and in what form.
//!
//! Whoever logs puts the event into a queue and goes on; one thread writes: to the journal, as
//! text to standard error, or as JSON to standard output. A reader that stops reading never holds
//! up the daemon: lines are dropped then, and counted.

mod capture;
mod journal;
mod level;
mod panics;
mod queue;
mod record;
mod replay;
mod stream;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::LazyLock;
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::capture::Capture;
use self::journal::Journal;
pub use self::level::{InvalidLevel, LevelHandle, filter};
use self::queue::{Queue, Sink};
use self::record::Record;
use self::stream::{Json, Text};
use crate::config::settings::{Log, LogFormat};

/// Lines that may wait for a slow reader.
const WAITING_LINES: usize = 16_384;
/// How long the end of the process waits for what is still to be written.
const LONGEST_FLUSH: Duration = Duration::from_secs(2);

/// The log of this process. Dropped, it writes what still waits.
#[must_use = "log lines are lost without it"]
#[derive(Debug)]
pub struct Logging {
    level: LevelHandle,
    queue: Queue,
}

impl Logging {
    /// What changes the level.
    pub fn level(&self) -> LevelHandle {
        self.level.clone()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // What cannot be written in that time has no reader.
        self.queue.finish(LONGEST_FLUSH);
    }
}

/// Whether standard error is the journal, which takes the priority of a line from its beginning.
pub fn standard_error_is_journal() -> bool {
    journal::is_standard_error()
}

/// Lines of this process that were lost, because nobody read fast enough or they could not be
/// written: a counter to be registered with the others.
pub fn dropped_lines() -> IntCounter {
    static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
        IntCounter::new(
            "dingbot_log_lines_dropped_total",
            "Log lines lost: nobody read fast enough, or they could not be written.",
        )
        .expect("a valid constant name")
    });
    DROPPED.clone()
}

/// Starts to log. It never fails: without a journal, lines are text on standard error; without a
/// thread to write them, there are none.
///
/// Once in a process; a second call does nothing.
pub fn start(settings: &Log) -> Logging {
    // The level was validated with the settings.
    let filter = filter(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, level) = LevelHandle::new(filter);
    let format = settings.format;
    let (queue, far_end) = Queue::new(WAITING_LINES, dropped_lines());
    let capture = Capture::new(queue.clone());
    if tracing_subscriber::registry().with(filter).with(capture).try_init().is_ok() {
        panics::log();
    }
    // Without a thread the far end is gone, and every line counts as dropped.
    let _ = far_end.start(move || open(format), report);
    Logging { level, queue }
}

/// Whatever lines are written to.
#[derive(Debug)]
enum Output {
    Journal(Journal),
    Text(Text<io::Stderr>),
    Json(Json<io::Stdout>),
}

impl Sink for Output {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        match self {
            Self::Journal(sink) => sink.write(record),
            Self::Text(sink) => sink.write(record),
            Self::Json(sink) => sink.write(record),
        }
    }
}

/// Runs on the thread that writes, which alone may wait for a journal that does not read.
fn open(format: LogFormat) -> Output {
    let journal = journal::is_standard_error();
    let format = match format {
        LogFormat::Auto if journal => LogFormat::Journald,
        LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    };
    match format {
        LogFormat::Journald => match Journal::open() {
            Ok(journal) => Output::Journal(journal),
            Err(error) => {
                tracing::warn!(
                    %error,
                    error_kind = "io",
                    "the journal cannot be reached; logging text to standard error"
                );
                text(journal)
            }
        },
        LogFormat::Text => text(journal),
        LogFormat::Json | LogFormat::Auto => Output::Json(Json::new(io::stdout())),
    }
}

fn text(journal: bool) -> Output {
    let output = io::stderr();
    let terminal = output.is_terminal();
    Output::Text(Text::new(output, terminal, journal))
}

fn report(lost: u64) {
    tracing::warn!(lines = lost, "log lines were dropped");
}

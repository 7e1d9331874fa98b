//! Lines of text on standard error, and of JSON on standard output.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::Layer;

use super::queue::Sink;
use super::record::{Record, Value};
use super::replay::Replay;

/// One line of text an event.
#[derive(Debug)]
pub(super) struct Text<W> {
    output: W,
    lines: Replay,
    /// What the layer has written of the present line.
    line: Shared<Vec<u8>>,
    /// When the present event happened.
    at: Shared<Timestamp>,
    /// Whether the output is the journal, which has the time, and takes the priority from the
    /// beginning of a line (sd-daemon(3)).
    journal: bool,
}

impl<W: Write> Text<W> {
    /// Lines written to `output`, which is a `terminal` or the `journal`.
    pub(super) fn new(output: W, terminal: bool, journal: bool) -> Self {
        let (line, at) = (Shared::default(), Shared::default());
        let layer = fmt::layer().with_writer({
            let line = line.clone();
            move || line.clone()
        });
        let layer = layer.with_ansi(terminal).log_internal_errors(false);
        let lines = if journal {
            Replay::new(layer.without_time().boxed())
        } else {
            Replay::new(layer.with_timer(at.clone()).boxed())
        };
        Self { output, lines, line, at, journal }
    }
}

impl<W: Write> Sink for Text<W> {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        *self.at.lock() = record.at;
        if self.journal {
            self.line.lock().extend_from_slice(priority(*record.metadata.level()));
        }
        self.lines.play(&record.on_one_line());
        let line = mem::take(&mut *self.line.lock());
        self.output.write_all(&line)
    }
}

/// The beginning of a line that tells the journal its priority.
fn priority(level: Level) -> &'static [u8] {
    match level {
        Level::ERROR => b"<3>",
        Level::WARN => b"<4>",
        Level::INFO => b"<6>",
        Level::DEBUG | Level::TRACE => b"<7>",
    }
}

/// What the sink and its layer both have.
#[derive(Debug, Default)]
struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        // One thread has both ends, and each change is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Write for Shared<Vec<u8>> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FormatTime for Shared<Timestamp> {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.6}", *self.lock())
    }
}

/// One JSON object an event.
#[derive(Debug)]
pub(super) struct Json<W> {
    output: W,
}

impl<W: Write> Json<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output }
    }
}

/// The fields of the event and of its spans stand beside those every line has, and never in their
/// place.
#[derive(Debug, Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(flatten)]
    fields: BTreeMap<&'static str, &'a Value>,
    target: &'static str,
}

const EVERY_LINE_HAS: [&str; 4] = ["timestamp", "level", "message", "target"];

impl<W: Write> Sink for Json<W> {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let message = record.message();
        let fields = record.flattened().filter(|(name, _)| !EVERY_LINE_HAS.contains(name));
        let mut line = serde_json::to_vec(&Line {
            timestamp: format!("{:.6}", record.at),
            level: record.metadata.level().as_str(),
            message: message.as_deref(),
            fields: fields.collect(),
            target: record.metadata.target(),
        })?;
        line.push(b'\n');
        self.output.write_all(&line)?;
        self.output.flush()
    }
}

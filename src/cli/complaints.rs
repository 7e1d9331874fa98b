//! Standard error: where a command says what is wrong.

use std::io::{self, Stderr, Write};

use crate::telemetry::logging;

/// Standard error for errors, a whole line or more at a time.
pub(super) fn errors() -> Complaints<Stderr> {
    Complaints::new(io::stderr(), "<3>")
}

/// Standard error for warnings, a whole line or more at a time.
pub(super) fn warnings() -> Complaints<Stderr> {
    Complaints::new(io::stderr(), "<4>")
}

/// Begins every line with its priority where that is understood: in the journal, which would take
/// the last words of a daemon that cannot start for information (`sd-daemon(3)`).
#[derive(Debug)]
pub(super) struct Complaints<W> {
    output: W,
    priority: &'static str,
    line: Vec<u8>,
}

impl<W: Write> Complaints<W> {
    fn new(output: W, priority: &'static str) -> Self {
        let priority = if logging::standard_error_is_journal() { priority } else { "" };
        Self { output, priority, line: Vec::new() }
    }
}

impl<W: Write> Write for Complaints<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.is_empty() {
                self.line.extend_from_slice(self.priority.as_bytes());
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.output.write_all(&self.line)?;
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_priority() {
        let mut page = Vec::new();
        let mut complaints = Complaints { output: &mut page, priority: "<3>", line: Vec::new() };
        for part in ["one", " line\ntwo\n", "three", "\n"] {
            write!(complaints, "{part}").unwrap();
        }
        assert_eq!(String::from_utf8(page).unwrap(), "<3>one line\n<3>two\n<3>three\n");
    }
}

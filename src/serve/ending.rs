//! How runs end: a mark beside the store says that one is under way, and is taken back when it
//! stops. A run that finds the mark follows one that was killed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::telemetry::metrics::Metrics;

/// What is in the file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    running: bool,
    /// Runs so far that did not stop.
    unclean_stops: u64,
}

/// A run, to be marked.
#[derive(Debug)]
pub(super) struct Run {
    path: PathBuf,
    mark: Mark,
}

impl Run {
    /// Looks how the last run on this store ended, and counts it. Reads a small file; nothing
    /// depends on it, so that one that cannot be read is only said.
    pub(super) fn after(store: &Path, metrics: &Metrics) -> Option<Self> {
        let path = beside(store, ".run");
        let mut mark = match std::fs::read(&path) {
            // Not ours: begin anew.
            Ok(bytes) => serde_json::from_slice::<Mark>(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Mark::default(),
            Err(error) => {
                warn(&path, &error);
                return None;
            }
        };
        if mark.running {
            mark.unclean_stops += 1;
            tracing::warn!(
                unclean_stops = mark.unclean_stops,
                "the last run was killed: nothing accepted is lost, but look for the reason"
            );
        }
        metrics.unclean_stops.inc_by(mark.unclean_stops);
        Some(Self { path, mark })
    }

    /// Marks that it is under way. Blocks until that is on the disk.
    pub(super) fn begin(self) -> Self {
        self.write(true);
        self
    }

    /// Says that it stopped as it should. Blocks until that is on the disk.
    pub(super) fn end(self) {
        self.write(false);
    }

    fn write(&self, running: bool) {
        if let Err(error) = replace(&self.path, Mark { running, ..self.mark }) {
            warn(&self.path, &error);
        }
    }
}

fn warn(path: &Path, error: &io::Error) {
    tracing::warn!(
        path = %path.display(),
        %error,
        error_kind = "io",
        "cannot mark how runs end; dingbot_unclean_stops_total does not count"
    );
}

/// Puts the file in place as a whole, and on the disk: it is for what happens when the power goes.
fn replace(path: &Path, mark: Mark) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = File::create(&new)?;
    serde_json::to_writer(&mut file, &mark)?;
    file.flush()?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins a run; how many were killed by then.
    fn begin(store: &Path) -> (Run, u64) {
        let metrics = Metrics::new();
        let run = Run::after(store, &metrics).unwrap().begin();
        (run, metrics.unclean_stops.get())
    }

    #[test]
    fn runs_that_were_killed_are_counted_and_the_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("dingbot.db");
        let (first, killed) = begin(&store);
        assert_eq!(killed, 0);
        first.end();
        assert_eq!(begin(&store).1, 0, "the first stopped");
        assert_eq!(begin(&store).1, 1, "the second did not");
        let (fourth, killed) = begin(&store);
        assert_eq!(killed, 2);
        fourth.end();
        assert_eq!(begin(&store).1, 2, "the count stays");
    }

    #[test]
    fn a_file_that_is_not_ours_and_a_folder_that_cannot_be_written_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("dingbot.db");
        std::fs::write(folder.path().join("dingbot.db.run"), "{\"runn").unwrap();
        assert_eq!(begin(&store).1, 0);
        assert_eq!(begin(&folder.path().join("nowhere").join("dingbot.db")).1, 0);
    }
}

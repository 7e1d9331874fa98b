//! `dingbot reload`: has the running daemon read its configuration again.

use std::io::{self, Write};
use std::process::ExitCode;

use super::check::BAD_CONFIGURATION;
use super::{complaints, workplace};
use crate::config::Sources;
use crate::service::control::{self, Report};

/// What to do when a daemon is there and does not answer as it should.
const LOOK: &str = "look at its log, and at `dingbot health`";

/// Asks, waits and prints what came of it. Exit code 0, 1 when no daemon could do it, or
/// [`BAD_CONFIGURATION`].
///
/// The daemon itself checks: only it knows its credentials and its environment. This process
/// reads the configuration to know where the daemon is.
pub(super) fn run(sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let path = match workplace::control_socket(sources) {
        Ok(path) => path,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(control::reload(&path)).map_err(|error| {
        let (place, kind) = (path.display(), error.kind());
        anyhow::Error::new(error).context(match kind {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!("no daemon listens at {place}: is `dingbot serve` running?")
            }
            io::ErrorKind::PermissionDenied => {
                format!("{place} is for root and the daemon's own user: use sudo")
            }
            io::ErrorKind::TimedOut => {
                format!("the daemon at {place} has not answered yet, and may still reload: {LOOK}")
            }
            _ => format!("the daemon at {place} gave no report: {LOOK}"),
        })
    })?;
    print(&report, out)
}

fn print(report: &Report, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match report {
        Report::Applied { changed, needs_restart, warnings } => {
            for warning in warnings {
                writeln!(complaints::warnings(), "dingbot: warning: {warning}")?;
            }
            if changed.is_empty() && needs_restart.is_empty() {
                writeln!(out, "configuration reloaded: nothing has changed")?;
            }
            if !changed.is_empty() {
                writeln!(out, "configuration reloaded; now in force: {}", changed.join(", "))?;
            }
            if !needs_restart.is_empty() {
                writeln!(out, "in force after a restart only: {}", needs_restart.join(", "))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Report::Invalid { problems } => {
            let mut err = complaints::errors();
            for problem in problems {
                writeln!(err, "{problem}")?;
            }
            writeln!(err, "configuration not reloaded: the settings stay as they were")?;
            Ok(ExitCode::from(BAD_CONFIGURATION))
        }
        Report::Failed { reason } => {
            anyhow::bail!("configuration not reloaded, the settings stay as they were: {reason}")
        }
    }
}

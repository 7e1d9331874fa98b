//! `dingbot reload`: has the running daemon read its configuration again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::check::BAD_CONFIGURATION;
use super::workplace;
use crate::config::{self, Sources};
use crate::service::control::{self, Report};

/// Where the packaged daemon has its socket, for an operator's shell.
const SERVICE_SOCKET: &str = "/run/dingbot/control.sock";

/// Asks, waits and prints what came of it. Exit code 0, 1 when no daemon could do it, or
/// [`BAD_CONFIGURATION`].
///
/// The daemon itself checks: only it knows its credentials and its environment. This process
/// reads the configuration to know where the daemon is.
pub(super) fn run(sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let path = match socket(sources) {
        Ok(path) => path,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(control::reload(&path)).with_context(|| {
        format!(
            "no daemon answers at {}: is `dingbot serve` running, and are you root or its user?",
            path.display()
        )
    })?;
    print(&report, out)
}

/// Where the daemon is: as the unit says; else the service of the package; else beside the store.
fn socket(sources: &Sources) -> Result<PathBuf, ExitCode> {
    if let Some(path) = control::in_runtime_directory(&sources.environment) {
        return Ok(path);
    }
    let service = Path::new(SERVICE_SOCKET);
    if sources.file.is_none() && service.exists() {
        return Ok(service.to_owned());
    }
    // A store of another place than the default is named in the configuration.
    let settings = workplace::settings(sources)?;
    Ok(control::path(&sources.environment, &config::state_path(&settings, &sources.environment)))
}

fn print(report: &Report, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match report {
        Report::Applied { changed, needs_restart, warnings } => {
            for warning in warnings {
                writeln!(io::stderr(), "dingbot: warning: {warning}")?;
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
            let mut err = io::stderr();
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

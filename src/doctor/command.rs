//! Programs of this host that know what a check wants to know.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// The longest a program may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// It is not installed.
    #[error("`{0}` is not installed")]
    Missing(String),
    /// It did not end in time.
    #[error("`{0}` gave no answer within {LIMIT:?}")]
    TimedOut(String),
    /// It ended with an error.
    #[error("`{0}`: {1}")]
    Failed(String, String),
}

/// What a program wrote to its standard output, in English.
///
/// Its directory is looked for where administrators' programs are, too: they are not in the `PATH`
/// of everybody.
pub(super) async fn output(program: &str, arguments: &[&str]) -> Result<String, CommandError> {
    let path = std::env::var("PATH").unwrap_or_default();
    let command = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let failed = |why: String| CommandError::Failed(program.to_owned(), why);
    let output = match tokio::time::timeout(LIMIT, command).await {
        Err(_) => return Err(CommandError::TimedOut(program.to_owned())),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
            return Err(CommandError::Missing(program.to_owned()));
        }
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    // nginx warns of this and that before it says what makes it fail.
    let decisive = words.lines().find(|line| line.contains("[emerg]"));
    let line = decisive.or(words.lines().next()).unwrap_or("it failed");
    Err(failed(line.trim().to_owned()))
}

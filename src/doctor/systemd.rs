//! The units of the bot, as systemd tells of them.

use std::collections::HashMap;

use serde_json::Value;

use super::command;

const SERVICE: &str = "dingbot.service";
const SOCKET: &str = "dingbot.socket";
/// Of the journal so many errors are read.
const ERRORS: &str = "5";

/// The service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// `active`, `failed`, `inactive`, `activating`, `deactivating`, `reloading`.
    pub(super) active: String,
    /// `running`, `dead`, `auto-restart`, …
    pub(super) sub: String,
    /// `enabled`, `disabled`, `masked`, `static`.
    pub(super) file: String,
    /// Why it ended: `success`, `exit-code`, `watchdog`, `oom-kill`, `start-limit-hit`, …
    pub(super) result: String,
    /// The exit status of the last run.
    pub(super) status: i32,
    /// How often systemd started it again by itself.
    pub(super) restarts: u64,
    /// What the bot says of itself.
    pub(super) words: String,
    /// Where `dingbot.socket` listens for it, when that is active.
    pub(super) sockets: Vec<String>,
    /// Whether `dingbot.socket` is enabled or active.
    pub(super) has_socket: bool,
    /// Its main process, when it runs.
    pub(super) pid: Option<i32>,
    /// What it gives its process.
    pub(super) environment: Vec<(String, String)>,
    /// The command line of its process.
    pub(super) command: Vec<String>,
}

/// Asks systemd; nothing where there is none, or no such unit.
pub(super) async fn find() -> Option<Unit> {
    let (service, socket) = tokio::join!(
        show(
            SERVICE,
            "LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NRestarts,StatusText,\
             MainPID,Environment,ExecStart",
        ),
        show(SOCKET, "LoadState,ActiveState,UnitFileState,Listen"),
    );
    let service = service?;
    let text =
        |name: &str| service.get(name).and_then(|it| it.first()).cloned().unwrap_or_default();
    let load = text("LoadState");
    if load != "loaded" && load != "masked" && load != "bad-setting" {
        return None;
    }
    let socket = socket.unwrap_or_default();
    let is = |name: &str, value: &str| socket.get(name).is_some_and(|it| it[0] == value);
    let is_active = is("ActiveState", "active");
    Some(Unit {
        active: text("ActiveState"),
        sub: text("SubState"),
        file: if load == "masked" { load } else { text("UnitFileState") },
        result: text("Result"),
        status: text("ExecMainStatus").parse().unwrap_or_default(),
        restarts: text("NRestarts").parse().unwrap_or_default(),
        words: text("StatusText"),
        sockets: socket
            .get("Listen")
            .into_iter()
            .flatten()
            .filter(|_| is_active)
            .filter_map(|it| it.strip_suffix(" (Stream)"))
            .map(str::to_owned)
            .collect(),
        has_socket: is_active || is("UnitFileState", "enabled"),
        pid: text("MainPID").parse().ok().filter(|pid| *pid > 0),
        environment: shlex::split(&text("Environment"))
            .into_iter()
            .flatten()
            .filter_map(|it| it.split_once('=').map(|(name, value)| (name.into(), value.into())))
            .collect(),
        command: command_line(&text("ExecStart")),
    })
}

/// The words of `{ path=… ; argv[]=/usr/bin/dingbot serve ; ignore_errors=no ; … }`.
fn command_line(start: &str) -> Vec<String> {
    let words = start.split_once("argv[]=").and_then(|(_, rest)| rest.split_once(" ; "));
    words.and_then(|(words, _)| shlex::split(words)).unwrap_or_default()
}

/// The properties of a unit; one that is a list comes on several lines.
async fn show(unit: &str, properties: &str) -> Option<HashMap<String, Vec<String>>> {
    let output = command::output("systemctl", &["show", unit, "--property", properties]).await;
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for line in output.ok()?.lines() {
        if let Some((name, value)) = line.split_once('=') {
            found.entry(name.to_owned()).or_default().push(value.to_owned());
        }
    }
    Some(found)
}

/// What the service said last of what went wrong; nothing where this user may not read it.
pub(super) async fn last_error() -> Option<String> {
    let arguments = ["-u", SERVICE, "-p", "err", "-n", ERRORS, "-o", "json", "--no-pager", "-q"];
    let output = command::output("journalctl", &arguments).await.ok()?;
    let entries = output.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    // systemd's own words say that it failed; the bot's say why.
    let own = |entry: &Value| entry["SYSLOG_IDENTIFIER"] != "systemd";
    let entries: Vec<Value> = entries.collect();
    let entry = entries.iter().find(|entry| own(entry)).or(entries.first())?;
    let message = entry["MESSAGE"].as_str()?;
    let error = entry["DINGBOT_ERROR"].as_str().map(|it| format!(": {it}")).unwrap_or_default();
    Some(format!("{message}{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read_as_systemd_prints_it() {
        let start = "{ path=/usr/bin/dingbot ; argv[]=/usr/bin/dingbot serve --listen 127.0.0.1:9 ; \
                     ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; \
                     status=0/0 }";
        let words = ["/usr/bin/dingbot", "serve", "--listen", "127.0.0.1:9"];
        assert_eq!(command_line(start), words);
        assert!(command_line("").is_empty());
    }
}

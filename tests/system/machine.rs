//! A booted Debian: a real systemd in a container of `systemd-nspawn`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::cgroup::Cgroup;
use crate::support::namespace::Namespace;
use crate::support::record::Record;

/// The longest a machine may take to boot; one second is usual.
const BOOT: Duration = Duration::from_secs(60);
/// The longest a command may take unless it is given more.
const COMMAND: Duration = Duration::from_secs(60);
/// How often is looked whether something came true.
const LOOK: Duration = Duration::from_millis(50);
/// How long is waited for the machine's last process to end.
const END: Duration = Duration::from_secs(10);
/// Moves into the groups named before `--` and becomes the command behind it.
const ENTER: &str = r#"
    while [ "$1" != -- ]; do echo $$ > "$1" || exit; shift; done
    shift; exec "$@""#;

/// A running machine; it is switched off when this is dropped, and nothing of it stays.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    nspawn: Child,
    /// The machine's first process, as this machine counts.
    init: Pid,
    switched_on: Instant,
    console: Arc<Record<String>>,
    reader: JoinHandle<()>,
    /// Removed last.
    _cgroup: Cgroup,
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    /// Boots from `root` in the network namespace, and waits until every unit has started.
    ///
    /// # Panics
    /// When it does not boot in time; the text holds what is on its console.
    pub(crate) async fn boot(root: &Path, network: &Namespace) -> Self {
        let name = network.name().to_owned();
        let cgroup = Cgroup::new(&name).expect("root may make a control group");
        let mut nspawn = Command::new("sh");
        nspawn.args(["-c", ENTER, "sh"]).args(cgroup.doors()).arg("--");
        // Ends with this thread, however that ends.
        nspawn.args(["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--boot"]);
        nspawn.arg("--directory").arg(root).args(["--volatile=overlay", "--read-only"]);
        nspawn.arg(format!("--network-namespace-path={}", network.path().display()));
        nspawn.arg(format!("--machine={name}"));
        nspawn.args(["--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"]);
        nspawn.args(["--resolv-conf=off", "--timezone=off"]);
        nspawn.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let since = Instant::now();
        let mut nspawn = nspawn.kill_on_drop(true).spawn().expect("sh can be started");
        let console = Arc::new(Record::default());
        let reader = tokio::spawn(read(
            nspawn.stdout.take().expect("it is piped"),
            nspawn.stderr.take().expect("it is piped"),
            Arc::clone(&console),
        ));
        let outer = nspawn.id().expect("it was just started");
        let init = loop {
            if let Some(init) = first_process(outer) {
                break init;
            }
            let ended = nspawn.try_wait().expect("its status can be asked for");
            let shown = || console.all().join("\n");
            assert!(
                ended.is_none() && since.elapsed() < BOOT,
                "no machine: {ended:?}\n{}",
                shown()
            );
            tokio::time::sleep(LOOK).await;
        };
        let machine =
            Self { name, nspawn, init, console, switched_on: since, reader, _cgroup: cgroup };
        machine
            .wait("the machine has booted", BOOT, async || {
                let state = machine.run("systemctl is-system-running").await;
                matches!(state.stdout.trim(), "running" | "degraded").then_some(())
            })
            .await;
        machine
    }

    /// How long ago it was switched on.
    pub(crate) fn uptime(&self) -> Duration {
        self.switched_on.elapsed()
    }

    /// Runs a script of bash.
    pub(crate) async fn run(&self, script: &str) -> Finished {
        self.run_within(COMMAND, script).await
    }

    /// As [`Machine::run`], with a time limit of its own.
    pub(crate) async fn run_within(&self, limit: Duration, script: &str) -> Finished {
        let output = self.enter(limit, script);
        let output = Command::from(output).kill_on_drop(true).output().await;
        let output = output.expect("nsenter can be started");
        Finished {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a script that must succeed; what it printed.
    pub(crate) async fn succeeds(&self, script: &str) -> String {
        let finished = self.run(script).await;
        assert_eq!(finished.status, 0, "{script}\n{}{}", finished.stdout, finished.stderr);
        finished.stdout
    }

    /// Runs a script that must fail; everything it wrote.
    pub(crate) async fn fails(&self, script: &str) -> String {
        let finished = self.run(script).await;
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(finished.status != 0, "this succeeded: {script}\n{said}");
        said
    }

    /// The command that runs a script in the machine. `timeout` inside, because what ends is then
    /// the script and not only `nsenter`.
    fn enter(&self, limit: Duration, script: &str) -> std::process::Command {
        let mut command = std::process::Command::new("nsenter");
        command.args(["--target", &self.init.to_string()]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]);
        command.args(["LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER="]);
        command.args(["timeout", "--kill-after=2", &limit.as_secs().to_string()]);
        command.args(["bash", "-c", script]).stdin(Stdio::null());
        command
    }

    /// Where this machine sees the file `path` of that one.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Writes a file that only root may read, and the folders it is in.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.write_with(0o600, path, content);
    }

    /// Writes a file that everyone may read.
    pub(crate) fn publish(&self, path: &str, content: impl AsRef<[u8]>) {
        self.write_with(0o644, path, content);
    }

    fn write_with(&self, mode: u32, path: &str, content: impl AsRef<[u8]>) {
        let outside = self.outside(path);
        let folder = outside.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("the machine's disk can be written");
        fs::write(&outside, content).expect("the machine's disk can be written");
        fs::set_permissions(&outside, fs::Permissions::from_mode(mode)).expect("it was written");
    }

    /// A property of a unit.
    pub(crate) async fn property(&self, unit: &str, name: &str) -> String {
        self.succeeds(&format!("systemctl show -P {name} {unit}")).await.trim().to_owned()
    }

    /// The journal of a unit, an object an entry.
    pub(crate) async fn journal(&self, unit: &str) -> Vec<Value> {
        let lines = self.succeeds(&format!("journalctl -u {unit} -o json --all")).await;
        let read = |line| serde_json::from_str(line).expect("journalctl prints JSON");
        lines.lines().map(read).collect()
    }

    /// Looks again and again until there is something; panics with `what` when there is not in
    /// time.
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let looking = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let found = tokio::time::timeout(within, looking).await;
        found.unwrap_or_else(|_| panic!("not in {within:?}: {what}"))
    }

    /// Shows what there is to know about a failure.
    fn show(&self) {
        const ASK: &str = "systemctl --failed; systemctl status --full --lines=0 dingbot; \
                           journalctl --no-pager --lines=60";
        println!("--- console of {}\n{}", self.name, self.console.all().join("\n"));
        if let Ok(output) = self.enter(Duration::from_secs(10), ASK).output() {
            println!("--- inside\n{}\n---", String::from_utf8_lossy(&output.stdout));
        }
    }
}

impl Drop for Machine {
    #[allow(clippy::disallowed_methods, reason = "nothing can be awaited in a drop")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        // With the first process the kernel ends all others.
        let _ = kill_process(self.init, Signal::KILL);
        let since = Instant::now();
        while matches!(self.nspawn.try_wait(), Ok(None)) {
            if since.elapsed() > END {
                let _ = self.nspawn.start_kill();
            }
            if since.elapsed() > 2 * END {
                eprintln!("left behind: the processes of {}", self.name);
                break;
            }
            std::thread::sleep(LOOK);
        }
        self.reader.abort();
    }
}

/// The child of `nspawn` that is the first process of its own namespace.
fn first_process(nspawn: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let is_first = |child: &&str| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let number = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        number.is_some_and(|number| number.split_whitespace().nth(1) == Some("1"))
    };
    let init = children.split_whitespace().find(is_first)?;
    Pid::from_raw(init.parse().ok()?)
}

async fn read(
    stdout: tokio::process::ChildStdout,
    stderr: tokio::process::ChildStderr,
    console: Arc<Record<String>>,
) {
    let mut stdout = BufReader::new(stdout).lines();
    let mut stderr = BufReader::new(stderr).lines();
    loop {
        // A console may hold bytes that are no text; what follows them is not needed.
        let line = tokio::select! {
            Ok(Some(line)) = stdout.next_line() => line,
            Ok(Some(line)) = stderr.next_line() => line,
            else => return,
        };
        console.push(line);
    }
}

//! The real daemon as a child process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::dingtalk::{Callback, SignedCallback};
use super::exposition::Exposition;
use super::http::{self, Answer};
use super::journal::{Entry, Journal};
use super::record::Record;
use super::settings::Settings;

/// How often a metric is read while a test waits for it; a scrape is the only way to see one.
const SCRAPE: Duration = Duration::from_millis(20);

/// The configuration file and the state directory within a daemon's directory.
const CONFIGURATION: &str = "dingbot.toml";
const STATE: &str = "state";
/// The first descriptor that is handed over (`sd_listen_fds(3)`).
const FIRST_HANDED: i32 = 3;

/// A daemon with a state directory of its own; killed when dropped. Its log is shown when the test
/// fails.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    settings: Settings,
    home: TempDir,
    client: reqwest::Client,
}

/// One run of the program.
#[derive(Debug)]
struct Process {
    child: Child,
    log: Arc<Record<String>>,
    /// The part of the log that came by standard error.
    errors: Arc<Record<String>>,
    journal: Option<Journal>,
    readers: Vec<JoinHandle<()>>,
    listen: Vec<SocketAddr>,
}

impl Daemon {
    /// Starts and waits until the daemon says that it is ready.
    ///
    /// # Panics
    /// When it ends before that, or is not ready in time; the text holds its log.
    pub async fn start(settings: Settings) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut process = Process::spawn(&settings, home.path());
        process.becomes_ready().await;
        Self { process, settings, home, client: http::client() }
    }

    /// Runs a daemon that is expected to end by itself; how it ended and what it wrote.
    pub async fn start_and_fail(settings: Settings) -> (ExitStatus, String) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut process = Process::spawn(&settings, home.path());
        let status = process.ends().await;
        (status, process.log.all().join("\n"))
    }

    /// Starts again with the same settings and state directory; stops first if it still runs.
    pub async fn restart(&mut self) {
        self.restart_with(self.settings.clone()).await;
    }

    /// Starts again with other settings and the same state directory.
    pub async fn restart_with(&mut self, settings: Settings) {
        if self.process.is_running() {
            self.sigterm();
            self.wait_exit().await;
        }
        self.settings = settings;
        self.process = Process::spawn(&self.settings, self.home.path());
        self.process.becomes_ready().await;
    }

    /// Starts again and kills it after `life`, ready or not.
    pub async fn restart_and_kill(&mut self, life: Duration) {
        self.process = Process::spawn(&self.settings, self.home.path());
        tokio::time::sleep(life).await;
        self.kill9().await;
    }

    /// Runs another command of the program on the same settings and state directory; what it
    /// printed.
    ///
    /// # Panics
    /// When it fails; the text holds what it wrote.
    pub async fn command(&self, arguments: &[&str]) -> String {
        let output = self.attempt(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("the program prints UTF-8")
    }

    /// Runs another command of the program, which may fail.
    pub async fn attempt(&self, arguments: &[&str]) -> Output {
        let home = self.home.path();
        let mut command = program(&self.settings, home);
        command.args(arguments).arg("--config").arg(home.join(CONFIGURATION));
        command.output().await.expect("the program starts")
    }

    /// Its configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.home.path().join(CONFIGURATION)
    }

    /// Writes other settings into the file of the running daemon, which does not look at it by
    /// itself.
    pub fn rewrite(&mut self, change: impl FnOnce(Settings) -> Settings) {
        self.settings = change(self.settings.clone());
        std::fs::write(self.configuration(), self.settings.toml())
            .expect("a writable temporary directory");
    }

    /// The address of `path`, on the first address it listens on.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// The first address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.process.listen[0]
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process.pid().as_raw_nonzero().get()
    }

    /// The directory of its database.
    pub fn state_directory(&self) -> PathBuf {
        self.home.path().join(STATE)
    }

    /// The client its requests are made with.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Posts a callback.
    pub async fn post(&self, callback: Callback<'_>) -> Answer {
        self.post_callback(&callback.build()).await
    }

    /// Posts a callback that was built before.
    pub async fn post_callback(&self, callback: &SignedCallback) -> Answer {
        self.try_post(callback).await.expect("the daemon answers")
    }

    /// Posts a callback to a daemon that may not live to answer.
    pub async fn try_post(&self, callback: &SignedCallback) -> reqwest::Result<Answer> {
        Answer::read(callback.request(&self.client, self.address()).send().await?).await
    }

    /// Posts a callback that must be accepted without an answer of its own.
    pub async fn accepts(&self, callback: Callback<'_>) -> SignedCallback {
        let callback = callback.build();
        let answer = self.post_callback(&callback).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["msgtype"], "empty");
        callback
    }

    /// Posts a callback without a session webhook, and returns the answer in the response.
    pub async fn says(&self, callback: Callback<'_>) -> String {
        let answer = self.post(callback.without_session()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        answer.body
    }

    /// Gets `path`.
    pub async fn get(&self, path: &str) -> Answer {
        let response = self.client.get(self.url(path)).send().await;
        Answer::of(response.expect("the daemon answers")).await
    }

    /// The metrics as they are now.
    pub async fn metrics(&self) -> Exposition {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Exposition::read(&answer.body)
    }

    /// Waits until `enough` holds of the metrics.
    ///
    /// # Panics
    /// When it does not in time; the text names `what`.
    pub async fn wait_for_metrics(&self, what: &str, enough: impl Fn(&Exposition) -> bool) {
        let wait = async {
            while !enough(&self.metrics().await) {
                tokio::time::sleep(SCRAPE).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in vain: {what}"));
    }

    /// The lines it has written in this run.
    pub fn log(&self) -> &Record<String> {
        &self.process.log
    }

    /// The lines it has written to standard error in this run.
    pub fn errors(&self) -> &Record<String> {
        &self.process.errors
    }

    /// Asks it to stop.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process.pid(), signal).expect("the daemon is running");
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill9(&mut self) {
        self.process.child.kill().await.expect("the daemon is running");
    }

    /// Waits until it ends by itself.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        self.process.ends().await
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

impl Process {
    fn spawn(settings: &Settings, home: &Path) -> Self {
        let file = home.join(CONFIGURATION);
        std::fs::create_dir_all(home.join(STATE)).expect("a writable temporary directory");
        std::fs::write(&file, settings.toml()).expect("a writable temporary directory");
        let (stderr, writer) = std::io::pipe().expect("a pipe");
        let mut program = program(settings, home);
        if settings.own_journal().is_some() {
            // systemd.exec(5): the device and the inode of what is the journal.
            let stream = rustix::fs::fstat(&writer).expect("an open pipe");
            program.env("JOURNAL_STREAM", format!("{}:{}", stream.st_dev, stream.st_ino));
        }
        let mut child = program
            .args(["serve", "--listen", settings.address(), "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(writer)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        // It holds the writing end, without which reading comes to an end.
        drop(program);
        let log = Arc::new(Record::default());
        let errors = Arc::new(Record::default());
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = pipe::Receiver::from_owned_fd(stderr.into()).expect("a pipe");
        let readers = vec![
            tokio::spawn(collect(stdout, vec![Arc::clone(&log)])),
            tokio::spawn(collect(stderr, vec![Arc::clone(&log), Arc::clone(&errors)])),
        ];
        let journal = settings.own_journal().cloned();
        Self { child, log, errors, journal, readers, listen: Vec::new() }
    }

    async fn becomes_ready(&mut self) {
        let ready = async {
            match &self.journal {
                None => self.log.find(0, PATIENCE, |line| ready_addresses(line)).await,
                Some(journal) => {
                    let ready = |entry: &Entry| {
                        let listen = entry.get("DINGBOT_LISTEN")?;
                        (entry["MESSAGE"] == ["ready"]).then(|| addresses(&listen[0]))?
                    };
                    journal.entries().find(0, PATIENCE, ready).await
                }
            }
        };
        let ended = tokio::select! {
            found = ready => {
                self.listen = found.unwrap_or_else(|| panic!("not ready in {PATIENCE:?}"));
                return;
            }
            status = self.child.wait() => status.expect("its status can be asked for"),
        };
        self.read_to_end().await;
        let log = self.log.all().join("\n");
        panic!("the daemon ended before it was ready ({ended}):\n{log}");
    }

    async fn ends(&mut self) -> ExitStatus {
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("the daemon still runs after {PATIENCE:?}"))
            .expect("its status can be asked for");
        self.read_to_end().await;
        status
    }

    /// Waits for the last lines of a process that ended.
    async fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.await.expect("reading lines does not panic");
        }
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().expect("the daemon is running");
        Pid::from_raw(id as i32).expect("a process id is not 0")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.with(|lines| eprintln!("--- the daemon's log\n{}\n---", lines.join("\n")));
        }
        // The next one may want its port and its store, which it has until it has ended. Who drops
        // it collects its status, too.
        let Some(id) = self.child.id() else { return };
        let _ = self.child.start_kill();
        if let Some(pid) = Pid::from_raw(id.cast_signed()) {
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        }
    }
}

/// The program with the environment of these settings and no other: the one built with the tests,
/// unless `DINGBOT_PROGRAM` names another, such as the one that is shipped.
fn program(settings: &Settings, home: &Path) -> Command {
    let path = std::env::var_os("DINGBOT_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_dingbot").into(), PathBuf::from);
    let mut program = match (settings.own_journal(), settings.namespace()) {
        (None, None) => Command::new(path),
        (Some(journal), _) => {
            let wrapper = journal.wrapper();
            let mut unshare = Command::new(&wrapper[0]);
            unshare.args(&wrapper[1..]).arg(path);
            unshare
        }
        (None, Some(namespace)) => {
            // Becomes the program: its process id is the program's.
            let mut ip = Command::new("ip");
            ip.args(["netns", "exec", namespace]).arg(path);
            ip
        }
    };
    program
        .env_clear()
        .env("STATE_DIRECTORY", home.join(STATE))
        .envs(settings.environment().iter().map(|(name, value)| (name, value)))
        .current_dir(home);
    if let Some(socket) = settings.handed_over() {
        let socket = socket.try_clone().expect("a descriptor to spare");
        let handed = vec![FdMapping { parent_fd: socket.into(), child_fd: FIRST_HANDED }];
        program.fd_mappings(handed).expect("one mapping");
    }
    program
}

async fn collect(pipe: impl AsyncRead + Unpin, records: Vec<Arc<Record<String>>>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        records.iter().for_each(|record| record.push(line.clone()));
    }
}

/// The addresses in the log line that says the daemon is ready: a JSON event with the message
/// `ready` and the field `listen`, one address or several with commas between.
pub fn ready_addresses(line: &str) -> Option<Vec<SocketAddr>> {
    let event: Value = serde_json::from_str(line).ok()?;
    let fields = if event["fields"].is_object() { &event["fields"] } else { &event };
    if fields["message"] != "ready" {
        return None;
    }
    addresses(fields["listen"].as_str()?)
}

fn addresses(listen: &str) -> Option<Vec<SocketAddr>> {
    listen.split(',').map(|address| address.trim().parse().ok()).collect()
}

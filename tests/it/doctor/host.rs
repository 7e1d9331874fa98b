//! A host in a namespace, and the Internet in the one at the other end of the cable; nothing
//! leaves the two.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::namespace::{ATTACKER, Network, ip};
use crate::support::settings::Settings;

/// The longest a run may take, whatever does not answer.
const IN_TIME: Duration = Duration::from_secs(5);
/// A run that does not end by itself is ended.
const TOO_LONG: Duration = Duration::from_secs(30);

/// The host, and the home of who calls.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) network: Network,
    home: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) errors: String,
}

/// Runs a test at the other end of the cable; or says why it cannot.
pub(super) fn on_a_host(test: impl AsyncFnOnce(&Host) + Send) {
    let network = match Network::new("127.0.0.1 localhost\n", &[]) {
        Ok(network) => network,
        Err(why) => return println!("skipped: dingbot doctor: {why}"),
    };
    let host = Host { network, home: tempfile::tempdir().expect("a temporary directory") };
    host.network.attacker.run_made(|| test(&host));
}

impl Host {
    /// A way to everywhere, on which everything is dropped without a word.
    pub(super) fn is_dropped_outside(&self) {
        let (host, outside) = (self.network.host.name(), self.network.attacker.name());
        let silent = "echo 0 > /proc/sys/net/ipv4/ip_forward";
        ip(&["netns", "exec", outside, "sh", "-c", silent]).unwrap();
        ip(&["-n", host, "route", "add", "default", "via", ATTACKER]).unwrap();
    }

    /// A file in the home of who calls.
    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A bot on this host that the cable reaches.
    pub(super) async fn bot(&self, settings: Settings) -> Daemon {
        Daemon::start(settings.listen("0.0.0.0:9090").within(&self.network.host)).await
    }

    /// A bot that listens where its file says, once somebody answers at `address`.
    pub(super) async fn serve(&self, settings: &Settings, address: &str) -> Child {
        let file = self.file("bot/dingbot.toml", &settings.toml());
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.network.host.name(), env!("CARGO_BIN_EXE_dingbot")]);
        command.args(["serve", "--config"]).arg(&file).env_clear();
        command.env("STATE_DIRECTORY", file.parent().unwrap()).kill_on_drop(true);
        let child = command.stdout(Stdio::null()).spawn().expect("it starts");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < deadline, "nobody answers at {address}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child
    }

    /// The call of doctor, with nothing of this machine in its environment.
    pub(super) fn command(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.network.host.name()]);
        command.args([env!("CARGO_BIN_EXE_dingbot"), "doctor"]).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.home.path()).env("LANG", "en_US.UTF-8");
        // Docker of this machine is not that of the host.
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        command.envs(variables.iter().copied()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs doctor.
    pub(super) async fn doctor(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
        let output = in_time(self.command(variables, arguments)).await;
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("it was not killed");
        Run { code, out: text(output.stdout), errors: text(output.stderr) }
    }
}

/// Runs it to its end.
async fn in_time(mut command: Command) -> Output {
    let began = Instant::now();
    let output = tokio::time::timeout(TOO_LONG, command.output());
    let output = output.await.expect("it ends").expect("it starts");
    println!("doctor took {:.2} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < IN_TIME, "it took {:?}", began.elapsed());
    output
}

impl Run {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// All findings of a report.
pub(super) fn findings(report: &Value) -> Vec<&Value> {
    let sections = report["sections"].as_array().unwrap();
    sections.iter().flat_map(|section| section["findings"].as_array().unwrap()).collect()
}

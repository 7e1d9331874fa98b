//! The host with its firewall, and somebody outside: two namespaces with a cable between them.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::caller::{self, Answer, PORT};
use crate::docker::engine::{Engine, installed};
use crate::support::namespace::{ATTACKER, HOST, Network, ip, outside};

/// How long the caller waits, and how long when it matters.
const PATIENCE: Duration = Duration::from_millis(400);
const MORE_PATIENCE: Duration = Duration::from_secs(4);
/// The longest any program may take.
const COMMAND: Duration = Duration::from_secs(30);
/// Where Docker takes networks from that nobody asks for.
const POOL: &str = "base=10.201.0.0/16,size=24";
/// Who would be asked for names.
const NAMES: &str = "127.0.0.1";

/// The place.
#[derive(Debug)]
pub(super) struct Place {
    docker: Option<Arc<Engine>>,
    network: Arc<Network>,
    home: TempDir,
    /// The rules that are there without ours, as iptables saves them.
    before: OnceLock<String>,
}

/// What doctor says of the firewall.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) code: String,
    pub(super) seen: String,
    pub(super) commands: Vec<String>,
    pub(super) took: Duration,
}

impl Place {
    /// A host without Docker.
    pub(super) fn new() -> Result<Self, String> {
        for (program, package) in [("nft", "nftables"), ("iptables-restore", "iptables")] {
            if !installed(program) {
                return Err(format!("`{program}` is not installed (package {package})"));
            }
        }
        let network = Network::new("127.0.0.1 localhost\n", &[])?;
        let host = network.host.name();
        network.host.write("resolv.conf", &format!("nameserver {NAMES}\noptions attempts:1\n"))?;
        // The name that operators write in their rules; and every refusal is to be seen.
        let rename = "device=$(ls /sys/class/net | grep ^dh); ip link set $device down; \
             ip link set $device name eth0; ip link set eth0 up; \
             echo 0 > /proc/sys/net/ipv4/icmp_ratelimit";
        ip(&["netns", "exec", host, "sh", "-ec", rename])?;
        let home = tempfile::Builder::new().prefix("dingbot-firewall-").tempdir().unwrap();
        let settings = format!(
            "[server]\nlisten = [\"0.0.0.0:{PORT}\"]\n[llm]\nprovider = \"offline\"\n\
             [dingtalk]\napi_base = \"http://127.0.0.1:1\"\noapi_base = \"http://127.0.0.1:1\"\n\
             [store]\nurl = \"sqlite://{}/dingbot.db\"\n",
            home.path().display()
        );
        std::fs::write(home.path().join("dingbot.toml"), settings).unwrap();
        Ok(Self { docker: None, network: Arc::new(network), home, before: OnceLock::new() })
    }

    /// A host with Docker.
    pub(super) fn with_docker() -> Result<Self, String> {
        let place = Self::new()?;
        let docker = Engine::start_in(place.network.host.name(), NAMES, POOL)?;
        Ok(Self { docker: Some(Arc::new(docker)), ..place })
    }

    /// Does this on the host.
    pub(super) fn within(self, work: impl AsyncFnOnce(&Self) + Send) {
        let network = Arc::clone(&self.network);
        network.host.run_made(|| async move { work(&self).await });
    }

    /// The rules that are there now stay.
    pub(super) async fn keep(&self) {
        let saved = self.sh("iptables-save").await.expect("it is installed");
        self.before.set(saved).expect("this is done once");
    }

    /// Its Docker.
    pub(super) fn docker(&self) -> &Arc<Engine> {
        self.docker.as_ref().expect("it was started with one")
    }

    /// Adds rules: each part for a program that reads it from its standard input.
    pub(super) async fn load(&self, parts: &[(&[&str], String)]) -> Result<(), String> {
        for (program, script) in parts {
            let output = self.run(program, script).await;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{}: {why}", program.join(" ")));
            }
        }
        Ok(())
    }

    /// Takes away whatever was added.
    pub(super) async fn clear(&self) {
        self.sh("nft flush ruleset").await.expect("nft works");
        let before = self.before.get().expect("they were kept");
        let output = self.run(&["iptables-restore"], before).await;
        assert!(output.status.success(), "{output:?}");
    }

    /// What a caller gets.
    pub(super) async fn call(&self) -> Answer {
        outside(&self.network, caller::call(HOST, PATIENCE)).await
    }

    /// As [`Place::call`], with more time.
    pub(super) async fn call_patiently(&self) -> Answer {
        outside(&self.network, caller::call(HOST, MORE_PATIENCE)).await
    }

    /// What doctor says of this caller's way.
    pub(super) async fn verdict(&self) -> Verdict {
        let program: PathBuf = env!("CARGO_BIN_EXE_dingbot").into();
        let program = program.to_str().expect("a path in UTF-8");
        let file = self.home.path().join("dingbot.toml");
        let mut command = vec![program, "doctor", "--json", "--source", ATTACKER];
        if self.docker.is_none() {
            command.extend(["--config", file.to_str().expect("a path in UTF-8")]);
        }
        let began = Instant::now();
        let output = self.run(&command, "").await;
        let took = began.elapsed();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let sections = report["sections"].as_array().expect("a list");
        let findings: Vec<&Value> = sections
            .iter()
            .filter(|section| section["area"] == "firewall")
            .flat_map(|section| section["findings"].as_array().expect("a list"))
            .collect();
        assert_eq!(findings.len(), 1, "one door, one verdict: {findings:?}");
        let commands = findings[0]["remedy"]["commands"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Verdict {
            code: text(&findings[0]["code"]),
            seen: text(&findings[0]["seen"]["en"]),
            commands: commands.map(text).map(|it| it.replacen("sudo ", "", 1)).collect(),
            took,
        }
    }

    /// All rules as they are now.
    pub(super) async fn shown(&self) -> String {
        self.sh("nft list ruleset; iptables-save").await.unwrap_or_else(|why| why)
    }

    /// Runs a shell command on the host.
    pub(super) async fn sh(&self, command: &str) -> Result<String, String> {
        let output = self.run(&["sh", "-c", command], "").await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{command}: {}", text(&output.stderr))),
        }
    }

    async fn run(&self, command: &[&str], input: &str) -> Output {
        let mut run = tokio::process::Command::new("setpriv");
        run.args(["--pdeathsig", "KILL", "ip", "netns", "exec", self.network.host.name()]);
        let docker = self.docker.as_ref().map(|docker| docker.environment()[0].1.clone());
        let docker = docker.unwrap_or_else(|| "unix:///nonexistent/docker.sock".into());
        run.args(command)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.home.path())
            .env("DOCKER_HOST", docker)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = run.spawn().expect("setpriv can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that ends without reading has closed it.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let ended = tokio::time::timeout(COMMAND, child.wait_with_output()).await;
        ended.unwrap_or_else(|_| panic!("{command:?} still runs")).expect("it was started")
    }
}

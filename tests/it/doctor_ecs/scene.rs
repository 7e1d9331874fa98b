//! An ECS instance in a namespace, and Alibaba Cloud in the one at the other end of the cable.
//!
//! There is no way out of the two. What has no address in the second one is dropped there without
//! a word, as packets on the Internet are.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::support::ecs::{Api, Key, METADATA, PUBLIC_ENDPOINT, VPC_ENDPOINT};
use crate::support::namespace::{ATTACKER, HOST, Network};
use crate::support::tls::Certificate;

/// Where the names of the API lead to.
pub(super) const PUBLIC: &str = "198.51.100.80";
pub(super) const VPC: &str = "198.51.100.81";
/// The key of most tests.
pub(super) const ID: &str = "LTAI5tTestAccessKeyId";
pub(super) const SECRET: &str = "TestAccessKeySecret0000000000";
/// The longest a run may take, whatever does not answer.
pub(super) const IN_TIME: Duration = Duration::from_secs(5);

/// The two namespaces, and the home of who calls.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) network: Network,
    home: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) errors: String,
    pub(super) took: Duration,
}

/// Runs a test where Alibaba Cloud is, which has the addresses `cloud`; or says why it cannot.
pub(super) fn on_ecs(cloud: &[&str], test: impl AsyncFnOnce(&Scene) + Send) {
    let scene = match Scene::new(cloud) {
        Ok(scene) => scene,
        Err(why) => return println!("skipped: an ECS instance: {why}"),
    };
    scene.network.attacker.run_made(|| test(&scene));
}

impl Scene {
    fn new(cloud: &[&str]) -> Result<Self, String> {
        if let Some(why) = Certificate::missing() {
            return Err(why);
        }
        let hosts =
            format!("127.0.0.1 localhost\n{PUBLIC} {PUBLIC_ENDPOINT}\n{VPC} {VPC_ENDPOINT}\n");
        let network = Network::new(&hosts, &[])?;
        let (host, cloud_name) = (network.host.name(), network.attacker.name());
        for address in cloud {
            ip(&["-n", cloud_name, "address", "add", &format!("{address}/32"), "dev", "lo"]);
        }
        ip(&["-n", host, "route", "add", "default", "via", ATTACKER]);
        let silent = "echo 0 > /proc/sys/net/ipv4/ip_forward";
        ip(&["netns", "exec", cloud_name, "sh", "-c", silent]);
        let home = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(home.path().join("dingbot.toml"), "[server]\nlisten = [\"0.0.0.0:9090\"]\n")
            .expect("a writable temporary directory");
        Ok(Self { network, home })
    }

    /// Other settings than a listener at 0.0.0.0:9090.
    pub(super) fn settings(&self, text: &str) {
        std::fs::write(self.home.path().join("dingbot.toml"), text).unwrap();
    }

    /// Gives an interface of the instance an address more.
    pub(super) fn give_address(&self, address: &str) {
        let host = self.network.host.name();
        ip(&["-n", host, "link", "add", "eth1", "type", "veth", "peer", "name", "eth2"]);
        ip(&["-n", host, "link", "set", "eth1", "up"]);
        ip(&["-n", host, "address", "add", address, "dev", "eth1", "nodad"]);
    }

    /// The file of `aliyun`.
    pub(super) fn profile(&self, text: &str) {
        let folder = self.home.path().join(".aliyun");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), text).unwrap();
    }

    /// Starts a call of doctor, as `sh` would have it.
    fn command(
        &self,
        program: &[&str],
        api: Option<&Api>,
        variables: &[(&str, &str)],
    ) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", self.network.host.name()]).args(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.home.path()).env("LANG", "en_US.UTF-8");
        // Docker of this machine is not that of the instance.
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        if let Some(api) = api {
            command.env("SSL_CERT_FILE", api.certificate().authority());
        }
        command.envs(variables.iter().copied()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn file(&self) -> String {
        self.home.path().join("dingbot.toml").to_str().unwrap().to_owned()
    }

    /// Runs doctor.
    pub(super) async fn doctor(
        &self,
        api: Option<&Api>,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Run {
        let file = self.file();
        let program = [env!("CARGO_BIN_EXE_dingbot"), "doctor", "--config", &file];
        let command = self.command(&[&program[..], arguments].concat(), api, variables);
        finish(command, None).await
    }

    /// Runs doctor on a terminal, at which somebody types.
    pub(super) async fn typed(
        &self,
        api: &Api,
        variables: &[(&str, &str)],
        arguments: &[&str],
        text: &str,
    ) -> Run {
        let line = format!(
            "{} doctor --config {} {}",
            env!("CARGO_BIN_EXE_dingbot"),
            self.file(),
            arguments.join(" ")
        );
        let program = ["script", "-qec", &line, "/dev/null"];
        let mut command = self.command(&program, Some(api), variables);
        command.stdin(Stdio::piped());
        finish(command, Some(text)).await
    }

    /// Runs doctor with [`ID`] in the environment, and reads the report.
    pub(super) async fn report(&self, api: &Api, arguments: &[&str]) -> Report {
        let arguments = [&["--json"], arguments].concat();
        Report::of(self.doctor(Some(api), &key(), &arguments).await)
    }
}

/// [`ID`] as the environment has it.
pub(super) fn key() -> [(&'static str, &'static str); 2] {
    [("ALIBABA_CLOUD_ACCESS_KEY_ID", ID), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)]
}

/// The API with the key [`ID`] and these groups.
pub(super) async fn api(groups: &[(&str, Vec<Value>)]) -> Api {
    Api::start(PUBLIC.parse::<IpAddr>().unwrap(), vec![Key::new(ID, SECRET)], groups).await
}

/// All addresses of the cloud. That of the instance itself refuses, which is sooner told than
/// silence.
pub(super) const CLOUD: [&str; 4] = [METADATA, PUBLIC, VPC, "8.222.215.42"];

async fn finish(mut command: tokio::process::Command, typed: Option<&str>) -> Run {
    let began = Instant::now();
    let mut child = command.spawn().expect("it starts");
    if let (Some(text), Some(mut stdin)) = (typed, child.stdin.take()) {
        stdin.write_all(text.as_bytes()).await.expect("it reads");
        // The terminal is kept until the end.
        let output = child.wait_with_output().await.expect("it ends");
        return run(output, began.elapsed());
    }
    let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output());
    run(output.await.expect("it ends in time").expect("it ends"), began.elapsed())
}

fn run(output: std::process::Output, took: Duration) -> Run {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    for secret in [SECRET, "TestRoleSecret", "TestSecurityToken"] {
        assert!(!out.contains(secret) && !errors.contains(secret), "a secret in {out}{errors}");
    }
    Run { code: output.status.code().expect("it was not killed"), out, errors, took }
}

/// A report of doctor.
#[derive(Debug)]
pub(super) struct Report {
    json: Value,
}

impl Report {
    pub(super) fn of(run: Run) -> Self {
        println!("doctor took {:.2} s", run.took.as_secs_f64());
        assert!(run.took < IN_TIME, "it took {:?}", run.took);
        let json = serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {run:?}"));
        Self { json }
    }

    /// The findings of an area.
    fn area(&self, area: &str) -> Vec<&Value> {
        let sections = self.json["sections"].as_array().unwrap();
        let section = sections.iter().find(|section| section["area"] == area);
        section.map_or(Vec::new(), |it| it["findings"].as_array().unwrap().iter().collect())
    }

    /// The codes and states of the findings about the security group.
    pub(super) fn groups(&self) -> Vec<(&str, &str)> {
        self.area("security_group")
            .into_iter()
            .filter_map(|finding| finding["code"].as_str().zip(finding["state"].as_str()))
            .collect()
    }

    /// The codes of the findings about the machine; the test itself may run in a container.
    pub(super) fn machine(&self) -> Vec<&str> {
        let codes = self.area("machine").into_iter().filter_map(|it| it["code"].as_str());
        codes.filter(|code| *code != "in_container").collect()
    }

    /// The finding with this code.
    #[track_caller]
    pub(super) fn finding(&self, code: &str) -> &Value {
        let all = ["machine", "security_group"].into_iter().flat_map(|area| self.area(area));
        let mut found = all.filter(|finding| finding["code"] == code);
        found.next().unwrap_or_else(|| panic!("no {code} in {:#}", self.json))
    }

    /// What was seen, in English, after a look at the Chinese.
    #[track_caller]
    pub(super) fn seen(&self, code: &str) -> String {
        let finding = self.finding(code);
        let chinese = finding["seen"]["zh"].as_str().unwrap();
        assert!(chinese.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{chinese}");
        finding["seen"]["en"].as_str().unwrap().to_owned()
    }

    /// The commands that mend it.
    #[track_caller]
    pub(super) fn commands(&self, code: &str) -> Vec<String> {
        serde_json::from_value(self.finding(code)["remedy"]["commands"].clone()).unwrap_or_default()
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// A listener in the instance, which keeps a port as a proxy does.
pub(super) fn listen(scene: &Scene, port: u16) -> std::net::TcpListener {
    scene.network.host.run(async move {
        std::net::TcpListener::bind((HOST, port)).expect("nobody else listens there")
    })
}

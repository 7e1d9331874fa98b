//! The guide by way of apt, on a booted Debian 12; the test is the laptop and the rest of the world.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hyper::Response;
use tempfile::TempDir;
use tokio::process::Command;

use super::aliyun::Aliyun;
use super::document::{Place, Way};
use super::session::{Placeholder, Session, Terminal};
use crate::host::{Host, on_hosts, outside};
use crate::machine::{Finished, Machine};
use crate::package::{Package, printed};
use crate::repository::Repository;
use crate::support::dingtalk;
use crate::support::model;
use crate::support::namespace::HOST;
use crate::support::server::{self, Body, Received, Server};

on_hosts! {
    the_guide_by_way_of_apt: stocked;
}

/// The longest a block may take: one installs Prometheus.
const BLOCK: Duration = Duration::from_secs(120);
/// The private address of the guide.
const PRIVATE: &str = "172.24.223.120";
/// Where the guide has a certificate put.
const CERTIFICATE: &str = "/etc/letsencrypt/live/bot.example.com/fullchain.pem";
/// What the metadata service gives out.
const TOKEN: &str = "a-token-of-the-metadata-service";

/// The booted machine and the laptop.
struct Terminals<'a> {
    machine: &'a Machine,
    laptop: Laptop,
}

impl Terminal for Terminals<'_> {
    async fn run(&self, place: Place, locale: &str, script: &str) -> Finished {
        match place {
            Place::Host => {
                let script = format!("export LANG={locale}; unset LC_ALL\n{script}");
                self.machine.run_within(BLOCK, &script).await
            }
            Place::Laptop => {
                // The one that was made for the site, in place of a CA's.
                if let Ok(certificate) = std::fs::read(self.machine.outside(CERTIFICATE)) {
                    self.laptop.trust(&certificate);
                }
                self.laptop.run(locale, script).await
            }
            Place::NotRun => unreachable!("it is not run"),
        }
    }
}

/// A machine elsewhere with a folder of its own: this one, seen through its own mounts.
#[derive(Debug)]
pub(crate) struct Laptop {
    folder: TempDir,
    aliyun: Aliyun,
}

impl Laptop {
    /// What it lacks: a reason to skip the test.
    pub(crate) fn missing() -> Option<String> {
        let programs = ["curl", "openssl", "python3", "unshare"];
        let missing = programs.iter().find(|name| !Path::new("/usr/bin").join(name).exists())?;
        Some(format!("`{missing}` is not installed"))
    }

    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("dingbot-guide-").tempdir().unwrap();
        for name in ["bin", "run"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let program = std::env::var_os("DINGBOT_PROGRAM")
            .map_or_else(|| env!("CARGO_BIN_EXE_dingbot").into(), PathBuf::from);
        std::os::unix::fs::symlink(program, folder.path().join("bin/dingbot")).unwrap();
        let aliyun = Aliyun::install(&folder.path().join("bin"));
        std::fs::write(folder.path().join("hosts"), format!("{HOST} bot.example.com\n")).unwrap();
        Self { folder, aliyun }
    }

    /// Makes it trust this certificate, and no other.
    fn trust(&self, certificate: &[u8]) {
        std::fs::write(self.folder.path().join("trusted.pem"), certificate).unwrap();
    }

    /// Runs a script in the network of the calling thread.
    pub(crate) async fn run(&self, locale: &str, script: &str) -> Finished {
        let folder = self.folder.path().display();
        let mounts = format!("mount --bind {folder}/hosts /etc/hosts; exec bash -c \"$0\"");
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-ec", &mounts, script])
            .env("PATH", format!("{folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
            .env("CURL_CA_BUNDLE", self.folder.path().join("trusted.pem"))
            .env("GUIDE", self.folder.path().join("run"))
            .env("LANG", locale)
            .env_remove("LC_ALL")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(BLOCK, output).await.expect("it ends").unwrap();
        Finished {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks what it asked of ECS.
    pub(crate) fn check_aliyun(&self) {
        self.aliyun.check(&[
            "DescribeInstances",
            "DescribeSecurityGroupAttribute",
            "AuthorizeSecurityGroup",
            "RevokeSecurityGroup",
        ]);
    }
}

/// The metadata service of the instance: a token first, as in hardened mode.
async fn metadata(request: Received) -> Option<Response<Body>> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let answer = match (request.method.as_str(), request.path.as_str()) {
        ("PUT", "/latest/api/token")
            if header("x-aliyun-ecs-metadata-token-ttl-seconds").is_some() =>
        {
            (200, TOKEN)
        }
        ("GET", "/latest/meta-data/eipv4")
            if header("x-aliyun-ecs-metadata-token") == Some(TOKEN) =>
        {
            (200, "8.222.215.42")
        }
        ("GET", _) => (403, "a token first\n"),
        _ => (404, "no such item\n"),
    };
    Some(server::whole(answer.0, "text/plain", answer.1))
}

/// What every way fills in alike.
pub(crate) fn placeholders(model: &str, metadata: &Server) -> Vec<Placeholder> {
    [
        ("8.222.215.42", HOST.to_owned()),
        ("http://100.100.100.200", metadata.origin()),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", model.to_owned()),
        ("qwen-plus", "simulated-1".to_owned()),
    ]
    .map(|(written, here)| Placeholder { written, here })
    .into()
}

/// What is typed into a prompt that both ways have.
pub(crate) fn secret() -> Placeholder {
    Placeholder { written: "read -rs SECRET", here: dingtalk::CLIENT_SECRET.into() }
}

/// A metadata service at this end of the cable.
pub(crate) async fn start_metadata(ip: std::net::IpAddr) -> Server {
    Server::start(ip, metadata).await
}

async fn the_guide_by_way_of_apt(host: &Host) {
    if let Some(why) = Laptop::missing() {
        return println!("skipped: the guide by way of apt: {why}");
    }
    let repository = Repository::publish(&[Package::current()]).await;
    let metadata = start_metadata(outside()).await;
    let mut placeholders = placeholders(&host.model.base(), &metadata);
    for (written, here) in [
        ("https://apt.example.com/dingbot", repository.origin()),
        ("client_id = \"dingxxxxxxxx\"", format!("client_id = {:?}", dingtalk::CLIENT_ID)),
    ] {
        placeholders.push(Placeholder { written, here });
    }
    let mut typed: Vec<_> = [
        ("/dingtalk-client_secret", dingtalk::CLIENT_SECRET),
        ("/llm-api_key", model::KEY),
        ("/dingtalk-group_robots-default-access_token", dingtalk::GROUP_TOKEN),
        ("/dingtalk-group_robots-default-secret", dingtalk::GROUP_SECRET),
    ]
    .map(|(written, here)| Placeholder { written, here: here.into() })
    .into();
    typed.push(secret());
    // As an instance has one: Alertmanager does not start without.
    let add = format!(
        "ip address add {PRIVATE}/20 dev $(ip -o -4 route show to {HOST}/24 | awk '{{print $3}}')"
    );
    host.machine.succeeds(&add).await;
    let name = format!("echo {HOST} bot.example.com >> /etc/hosts");
    host.machine.succeeds(&name).await;
    printed(std::process::Command::new("ip").args(["route", "add", PRIVATE, "via", HOST]));
    // Where DingTalk is; nothing of the guide.
    let base = host.dingtalk.base();
    host.machine.publish(
        "/etc/dingbot/conf.d/00-simulators.toml",
        format!("[dingtalk]\napi_base = {base:?}\noapi_base = {base:?}\n"),
    );
    let terminals = Terminals { machine: &host.machine, laptop: Laptop::new() };
    let guide = Session::new(terminals, Way::Apt, placeholders, typed);

    for section in 0..=5 {
        guide.follow(section).await;
    }
    guide.terminal().laptop.check_aliyun();
    guide.follow(6).await;
    host.answers("what the guide has led to").await;

    guide.follow(7).await;
    assert!(host.try_get("/health").await.is_none(), "it listens on loopback alone");
    guide.follow(8).await;
    let alert = host.machine.wait("the alert is in the group", BLOCK, async || {
        let mut messages = host.dingtalk.messages().into_iter();
        messages.find(|message| format!("{message:?}").contains("DingbotTest"))
    });
    let alert = alert.await;
    assert_eq!(alert.via, dingtalk::Via::GroupRobot(dingtalk::GROUP_TOKEN.into()), "{alert:?}");
    let up = "curl -fsS 'http://127.0.0.1:9095/api/v1/query?query=up' | grep -F '\"1\"'";
    host.machine
        .wait("Prometheus scrapes it", BLOCK, async || {
            let asked = host.machine.run(up).await;
            (asked.status == 0).then_some(())
        })
        .await;
    guide.follow(9).await;
    guide.follow(10).await;
    guide.follow(11).await;
}

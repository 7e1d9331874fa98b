//! The guide for ECS by way of Docker: what it says is typed on the host of a real Docker.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::engine::Engine;
use super::on_the_host;
use crate::guide::apt::{Laptop, placeholders, secret, start_metadata};
use crate::guide::document::{Place, Way};
use crate::guide::session::{Placeholder, Session, Terminal};
use crate::machine::Finished;
use crate::support::dingtalk::{self, DingTalk};
use crate::support::http::{self, Answer};
use crate::support::model::{self, Model};
use crate::support::namespace::HOST;

/// The longest a block may take.
const BLOCK: Duration = Duration::from_secs(90);
/// Folders of the host that the guide writes to; here each is one of the test's own.
const WRITTEN: [&str; 3] = ["/root", "/opt", "/usr/local/bin"];

/// The host of the Docker, and the laptop.
struct Terminals {
    docker: Arc<Engine>,
    folder: TempDir,
    laptop: Laptop,
}

impl Terminals {
    fn new(docker: &Arc<Engine>) -> Self {
        let folder = tempfile::Builder::new().prefix("dingbot-guide-").tempdir().unwrap();
        for written in WRITTEN {
            std::fs::create_dir_all(folder.path().join(&written[1..])).unwrap();
        }
        std::fs::create_dir(folder.path().join("state")).unwrap();
        Self { docker: Arc::clone(docker), folder, laptop: Laptop::new() }
    }

    async fn on_the_host(&self, locale: &str, script: &str) -> Finished {
        let folder = self.folder.path();
        let mount = |written: &str| format!("mount --bind {}{written} {written}", folder.display());
        let mounts = WRITTEN.map(mount).join("; ");
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-ec"])
            .arg(format!("{mounts}; cd /root; exec bash -c \"$0\""))
            .arg(script)
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("GUIDE", folder.join("state"))
            .env("LANG", locale)
            .env_remove("LC_ALL")
            .envs(self.docker.environment())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        finished(tokio::time::timeout(BLOCK, output).await.expect("it ends").unwrap())
    }

    /// As on the laptop, whose network is the other one.
    async fn on_the_laptop(&self, locale: &str, script: &str) -> Finished {
        let network = self.docker.network().attacker.path();
        let into = format!("nsenter --net={} bash -c \"$SCRIPT\"", network.display());
        let script = format!(
            "SCRIPT=$(cat <<'END OF SCRIPT'\n{script}\nEND OF SCRIPT\n)\nexport SCRIPT\n{into}"
        );
        self.laptop.run(locale, &script).await
    }
}

impl Terminal for Terminals {
    async fn run(&self, place: Place, locale: &str, script: &str) -> Finished {
        match place {
            Place::Host => self.on_the_host(locale, script).await,
            Place::Laptop => self.on_the_laptop(locale, script).await,
            Place::NotRun => unreachable!("it is not run"),
        }
    }
}

impl Drop for Terminals {
    fn drop(&mut self) {
        for container in ["dingbot", "dingbot-files"] {
            self.docker.remove(container);
        }
        let mut volume = std::process::Command::new("docker");
        volume.envs(self.docker.environment()).args(["volume", "rm", "--force", "dingbot"]);
        let _ = volume.output();
    }
}

fn finished(output: std::process::Output) -> Finished {
    Finished {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a callback to this port of the host is answered, and what is said in the conversation.
async fn converse(dingtalk: &DingTalk, port: u16, text: &str) {
    let callback = dingtalk.callback().text(text).build();
    let address = format!("{HOST}:{port}").parse().unwrap();
    let answer = Answer::of(callback.request(&http::client(), address).send().await.unwrap()).await;
    assert_eq!(answer.json()["msgtype"], "empty", "{answer:?}");
    dingtalk.wait_for_text(text).await;
}

#[test]
fn the_guide_by_way_of_docker() {
    on_the_host(|docker| async move {
        if let Some(why) = Laptop::missing() {
            return println!("skipped: the guide by way of Docker: {why}");
        }
        assert!(Path::new("/usr/bin/docker").exists(), "the client of docker.io");
        let here = HOST.parse().unwrap();
        let (dingtalk, model) = tokio::join!(DingTalk::start_at(here), Model::start_at(here));
        let metadata = start_metadata(here).await;
        let base = dingtalk.base();
        let [(_, address), _] = docker.environment();
        let socket = Path::new(address.trim_start_matches("unix://"));
        let mut placeholders = placeholders(&model.base(), &metadata);
        for (written, here) in [
            ("172.24.223.120", HOST.to_owned()),
            ("/var/run/docker.sock:", format!("{}:", socket.display())),
            (
                "CLIENT_ID=dingxxxxxxxx",
                format!(
                    "CLIENT_ID={}\nDINGBOT_DINGTALK__API_BASE={base}\n\
                     DINGBOT_DINGTALK__OAPI_BASE={base}",
                    dingtalk::CLIENT_ID
                ),
            ),
            ("xxxxxxxx-client-secret", dingtalk::CLIENT_SECRET.to_owned()),
            ("sk-xxxxxxxx", model::KEY.to_owned()),
            ("xxxxxxxx-access-token", dingtalk::GROUP_TOKEN.to_owned()),
            ("SECxxxxxxxx", dingtalk::GROUP_SECRET.to_owned()),
        ] {
            placeholders.push(Placeholder { written, here });
        }
        let terminals = Terminals::new(&docker);
        let guide = Session::new(terminals, Way::Docker, placeholders, vec![secret()]);

        for section in 0..=5 {
            guide.follow(section).await;
        }
        guide.terminal().laptop.check_aliyun();
        guide.follow(6).await;
        converse(&dingtalk, 9090, "what the guide has led to").await;
        guide.follow(7).await;
        let outside = format!("http://{HOST}:9090/health");
        assert!(http::client().get(outside).send().await.is_err(), "published on loopback alone");
        for section in 8..=11 {
            guide.follow(section).await;
        }
        converse(&dingtalk, 8888, "at another port").await;
    });
}

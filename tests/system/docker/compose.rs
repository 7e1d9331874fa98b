//! `packaging/docker/compose.yaml`, by whichever Compose there is.

use std::process::{Output, Stdio};
use std::sync::Arc;

use super::engine::{Engine, IMAGE, installed, private};
use super::on_the_host;
use crate::support::http::{self, Answer};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/docker/compose.yaml");
const PROJECT: &str = "dingbot-compose";

/// The services of the file; taken down when this is dropped.
struct Composition {
    docker: Arc<Engine>,
    command: Vec<&'static str>,
}

impl Composition {
    /// Finds Compose: a plugin of Docker, or the program of its own that it was before.
    async fn of(docker: &Arc<Engine>) -> Option<Self> {
        let plugin = docker.try_docker(&["compose", "version"]).await;
        let command = if plugin.status.success() {
            vec!["docker", "compose"]
        } else if installed("docker-compose") {
            vec!["docker-compose"]
        } else {
            return None;
        };
        Some(Self { docker: Arc::clone(docker), command })
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(self.command[0]);
        command
            .args(&self.command[1..])
            .args(["-f", FILE, "-p", PROJECT])
            .args(arguments)
            .envs(self.docker.environment())
            .env("DINGBOT_IMAGE", IMAGE)
            .env("OPENAI_MODEL", "model-of-the-environment")
            .env_remove("OPENAI_API_KEY")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }
}

impl Drop for Composition {
    fn drop(&mut self) {
        let _ = self.command(&["down", "--volumes"]).output();
    }
}

#[test]
fn compose_brings_it_up_sealed_and_takes_it_down() {
    on_the_host(|docker| async move {
        let Some(compose) = Composition::of(&docker).await else {
            println!("skipped: docker compose: neither `docker compose` nor `docker-compose`");
            return;
        };
        compose.run(&["up", "-d", "--no-build"]);
        let id = String::from_utf8(compose.run(&["ps", "-q", "dingbot"]).stdout).unwrap();
        let bot = super::container::Container::known(&docker, id.trim());
        bot.becomes_healthy().await;
        let answer = http::client().get(private(9090, "/health")).send().await.unwrap();
        assert_eq!(Answer::of(answer).await.status, 200);

        let host = bot.inspect("{{json .HostConfig}}").await;
        let host: serde_json::Value = serde_json::from_str(&host).unwrap();
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["CapDrop"][0], "ALL");
        assert_eq!(host["SecurityOpt"][0], "no-new-privileges:true");
        assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped");
        assert_eq!(host["LogConfig"]["Config"]["max-size"], "10m");
        assert_eq!(bot.inspect("{{.Config.StopTimeout}}").await, "40");

        // What is set is passed on, what is not is not, and what is written there is in force.
        let config = bot.sh("dingbot config").await;
        let line = |key: &str| config.lines().find(|line| line.contains(key)).unwrap_or_default();
        assert!(line("llm.model = ").contains("model-of-the-environment"), "{config}");
        assert!(line("drain_timeout").contains("20s"), "{config}");
        let environment = bot.inspect("{{json .Config.Env}}").await;
        assert!(!environment.contains("OPENAI_API_KEY="), "{environment}");

        compose.run(&["stop"]);
        assert_eq!(bot.inspect("{{.State.ExitCode}}").await, "0");
    });
}

//! The containers of this host, as the Docker Engine tells of them.
//!
//! Asked over its socket, so that no Docker client is needed: doctor may itself run in a container
//! that has the socket mounted. Source: Docker Engine API, version 1.41.

mod inspected;
mod logs;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

pub(super) use self::inspected::{Container, Published, State};
use super::facts::Facts;
use crate::outbound;

/// The longest an answer may take.
const LIMIT: Duration = Duration::from_millis(1_500);
/// Where the engine listens unless `DOCKER_HOST` names another place.
const SOCKET: &str = "/var/run/docker.sock";
/// The version of the API, which engines have had since 2020.
const API: &str = "http://docker/v1.41";
/// Of all containers so many are looked into.
const MOST: usize = 8;
/// Parts of names by which a container of the bot is known, that of the replaced service too.
const NAMES: [&str; 2] = ["dingbot", "dinghook"];
/// Commands of the program that are no bot.
const ONCE: [&str; 8] =
    ["chat", "check", "config", "doctor", "generate", "health", "memory", "outbox"];

/// Docker on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Docker {
    /// There is none.
    Absent,
    /// There is one, and this user may not ask it.
    Forbidden(PathBuf),
    /// There is one, and it does not answer as it should.
    Broken(String),
    /// The containers of the bot, running or not.
    Containers(Vec<Container>),
}

impl Docker {
    /// The containers; none where they cannot be seen.
    pub(super) fn containers(&self) -> &[Container] {
        match self {
            Self::Containers(containers) => containers,
            Self::Absent | Self::Forbidden(_) | Self::Broken(_) => &[],
        }
    }
}

/// Asks the engine.
pub(super) async fn find(facts: &Facts) -> Docker {
    let socket = match facts.variable("DOCKER_HOST") {
        None => PathBuf::from(SOCKET),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            // An engine on another host is not the one that has our port.
            None => return Docker::Absent,
        },
    };
    match UnixStream::connect(&socket).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Docker::Forbidden(socket);
        }
        Err(_) => return Docker::Absent,
    }
    match Engine::new(socket) {
        Ok(engine) => engine.containers().await.unwrap_or_else(Docker::Broken),
        Err(error) => Docker::Broken(error.to_string()),
    }
}

/// A container, as the list has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    labels: Option<std::collections::HashMap<String, String>>,
}

impl Listed {
    /// Whether it runs the bot: by its image's label, or by what it is called.
    fn is_bot(&self) -> bool {
        if self.runs_once() {
            return false;
        }
        let label = self.labels.as_ref().and_then(|it| it.get("org.opencontainers.image.title"));
        if label.is_some_and(|title| title == "dingbot") {
            return true;
        }
        let named = |text: &str| NAMES.iter().any(|name| text.to_lowercase().contains(name));
        self.names.iter().any(|name| named(name)) || named(&self.image) || named(&self.command)
    }

    /// Whether it runs another command of the program: doctor itself, for one.
    fn runs_once(&self) -> bool {
        let mut words = self.command.split_whitespace();
        let program = words.next().unwrap_or_default();
        program.ends_with("dingbot") && words.next().is_some_and(|word| ONCE.contains(&word))
    }
}

struct Engine(reqwest::Client);

impl Engine {
    fn new(socket: PathBuf) -> Result<Self, outbound::ClientError> {
        Ok(Self(outbound::socket_client(socket, LIMIT)?))
    }

    async fn containers(&self) -> Result<Docker, String> {
        let listed: Vec<Listed> = self.get("/containers/json?all=1").await?;
        let bots: Vec<Listed> = listed.into_iter().filter(Listed::is_bot).take(MOST).collect();
        let containers = bots.iter().map(|it| self.inspect(&it.id));
        let containers = join_all(containers).await.into_iter().flatten().collect();
        Ok(Docker::Containers(containers))
    }

    /// What the engine knows of a container, with its last words when it does not run.
    async fn inspect(&self, id: &str) -> Option<Container> {
        let inspected: inspected::Inspected =
            self.get(&format!("/containers/{id}/json")).await.ok()?;
        let mut container = Container::from(inspected);
        if container.state != State::Running {
            container.last_words = self.last_words(id).await;
        }
        Some(container)
    }

    async fn last_words(&self, id: &str) -> Option<String> {
        let path = format!("{API}/containers/{id}/logs?stdout=1&stderr=1&tail=20");
        let answer = self.0.get(path).send().await.ok()?;
        logs::last_words(&answer.bytes().await.ok()?)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let answer = self.0.get(format!("{API}{path}")).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let read = async { answer?.json().await };
        read.await.map_err(|error: reqwest::Error| error.without_url().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bot_is_known_by_its_label_or_its_name() {
        let listed = |json| serde_json::from_value::<Listed>(json).unwrap().is_bot();
        assert!(listed(serde_json::json!({"Id": "1", "Names": ["/web"], "Image": "r/x",
            "Labels": {"org.opencontainers.image.title": "dingbot"}})));
        assert!(listed(serde_json::json!({"Id": "1", "Names": ["/dinghook-mem0-container"]})));
        assert!(listed(serde_json::json!({"Id": "1", "Image": "registry/DingBot:1"})));
        for (command, bot) in [("serve", true), ("doctor --json", false), ("check", false)] {
            let command = format!("/usr/bin/dingbot {command}");
            assert_eq!(
                listed(serde_json::json!({"Id": "1", "Image": "dingbot", "Command": command,
                "Labels": {"org.opencontainers.image.title": "dingbot"}})),
                bot
            );
        }
        assert!(!listed(serde_json::json!({"Id": "1", "Names": ["/redis"], "Image": "redis",
            "Command": "redis-server", "Labels": null})));
    }
}

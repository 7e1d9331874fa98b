//! The containers of this host, as the Docker Engine tells of them.
//!
//! Asked over its socket, so that no Docker client is needed: doctor may itself run in a container
//! that has the socket mounted. Source: Docker Engine API, versions 1.41 to 1.52.

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
use super::command;
use super::facts::Facts;
use crate::outbound;

/// The longest an answer may take.
const LIMIT: Duration = Duration::from_millis(1_500);
/// Where the engine listens unless `DOCKER_HOST` names another place.
const SOCKET: &str = "/var/run/docker.sock";
/// The API of the engine behind the socket.
const API: &str = "http://docker";
/// The version that is asked for when the engine names none; engines have had it since 2020.
const VERSION: &str = "1.41";
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
    /// There is one, and it does not run.
    Stopped,
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
            Self::Absent | Self::Forbidden(_) | Self::Stopped | Self::Broken(_) => &[],
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
        Err(_) if is_stopped().await => return Docker::Stopped,
        Err(_) => return Docker::Absent,
    }
    let engine = match Engine::new(socket) {
        Ok(engine) => engine,
        Err(error) => return Docker::Broken(error.to_string()),
    };
    match engine.containers().await {
        Ok(containers) => Docker::Containers(containers),
        Err(why) => Docker::Broken(why),
    }
}

/// Whether Docker is installed as a service that does not run.
async fn is_stopped() -> bool {
    let arguments = ["show", "docker.service", "--property", "LoadState,ActiveState"];
    let state = command::output("systemctl", &arguments).await.unwrap_or_default();
    let is = |line: &str| state.lines().any(|it| it == line);
    is("LoadState=loaded") && !is("ActiveState=active")
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

/// Of these containers those that run the bot.
fn bots(listed: Vec<Listed>) -> Vec<Listed> {
    let listed: Vec<Listed> = listed.into_iter().filter(|it| !it.runs_once()).collect();
    // What stands beside a bot is often called after it, such as `dingbot-nginx-1`.
    let is = if listed.iter().any(Listed::is_bot) { Listed::is_bot } else { Listed::is_called_so };
    listed.into_iter().filter(is).collect()
}

impl Listed {
    /// Whether it runs the bot, by its image or by its program.
    fn is_bot(&self) -> bool {
        let program = self.command.split_whitespace().next().unwrap_or_default();
        let repository = self.image.rsplit('/').next().unwrap_or_default();
        self.label("org.opencontainers.image.title") == Some("dingbot")
            || is_name(repository)
            || is_name(program.rsplit('/').next().unwrap_or_default())
    }

    /// Whether its name says so; in a project of Compose the name of its service.
    fn is_called_so(&self) -> bool {
        match self.label("com.docker.compose.service") {
            Some(service) => is_name(service),
            None => self.names.iter().any(|name| is_name(name)),
        }
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Whether it runs another command of the program: doctor itself, for one.
    fn runs_once(&self) -> bool {
        let mut words = self.command.split_whitespace();
        let program = words.next().unwrap_or_default();
        program.ends_with("dingbot") && words.next().is_some_and(|word| ONCE.contains(&word))
    }
}

/// Whether it is a name of the bot, or contains one.
fn is_name(text: &str) -> bool {
    NAMES.iter().any(|name| text.to_lowercase().contains(name))
}

struct Engine(reqwest::Client);

impl Engine {
    fn new(socket: PathBuf) -> Result<Self, outbound::ClientError> {
        Ok(Self(outbound::socket_client(socket, LIMIT)?))
    }

    /// The address of the API in the engine's own version: newer ones refuse what was usual.
    async fn api(&self) -> Result<String, String> {
        let answer = self.0.get(format!("{API}/_ping")).send().await;
        let answer = answer.map_err(|error| error.without_url().to_string())?;
        let version = answer.headers().get("api-version").and_then(|it| it.to_str().ok());
        Ok(format!("{API}/v{}", version.unwrap_or(VERSION)))
    }

    async fn containers(&self) -> Result<Vec<Container>, String> {
        let api = self.api().await?;
        let listed: Vec<Listed> = self.get(&format!("{api}/containers/json?all=1")).await?;
        let bots: Vec<Listed> = bots(listed).into_iter().take(MOST).collect();
        let containers = bots.iter().map(|it| self.inspect(&api, &it.id));
        Ok(join_all(containers).await.into_iter().flatten().collect())
    }

    /// What the engine knows of a container, with its last words when it does not run.
    async fn inspect(&self, api: &str, id: &str) -> Option<Container> {
        let inspected: inspected::Inspected =
            self.get(&format!("{api}/containers/{id}/json")).await.ok()?;
        let mut container = Container::from(inspected);
        if container.state != State::Running {
            container.last_words = self.last_words(api, id).await;
        }
        Some(container)
    }

    async fn last_words(&self, api: &str, id: &str) -> Option<String> {
        let path = format!("{api}/containers/{id}/logs?stdout=1&stderr=1&tail=20");
        // Some keep the log where the engine cannot read it.
        let answer = self.0.get(path).send().await.ok()?.error_for_status().ok()?;
        logs::last_words(&answer.bytes().await.ok()?)
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let answer = self.0.get(url).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let read = async { answer?.json().await };
        read.await.map_err(|error: reqwest::Error| error.without_url().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listed: serde_json::Value) -> Vec<String> {
        let listed: Vec<Listed> = serde_json::from_value(listed).unwrap();
        bots(listed).into_iter().map(|it| it.id).collect()
    }

    #[test]
    fn the_bot_is_known_by_its_label_or_its_name() {
        let listed = |json| !of(serde_json::json!([json])).is_empty();
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

    #[test]
    fn what_is_called_after_the_bot_is_none() {
        let beside = |name: &str, image: &str| {
            serde_json::json!({"Id": name, "Names": [format!("/dingbot-{name}-1")], "Image": image,
                "Command": "/entrypoint.sh", "Labels": {"com.docker.compose.project": "dingbot",
                "com.docker.compose.service": name}})
        };
        let bot = serde_json::json!({"Id": "bot", "Names": ["/web"], "Image": "hub/dingbot:1"});
        assert_eq!(of(serde_json::json!([beside("nginx", "nginx:1"), bot])), ["bot"]);
        // A bot of one's own image, which only its name tells.
        let own = beside("dinghook", "sha256:0123");
        assert_eq!(of(serde_json::json!([beside("redis", "redis:7"), own])), ["dinghook"]);
    }
}

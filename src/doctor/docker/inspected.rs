//! A container, as the engine describes it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// A container that was started again so lately may be about to end once more.
const FRESH: SignedDuration = SignedDuration::from_secs(15);

/// The label by which Compose says which files it was told of.
const COMPOSE_FILE: &str = "com.docker.compose.project.config_files";

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum State {
    Created,
    Running,
    Restarting,
    Paused,
    Exited,
}

/// A port of the host that leads into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct Published {
    /// The port inside.
    pub(in crate::doctor) inside: u16,
    /// The port of the host.
    pub(in crate::doctor) port: u16,
    /// The addresses of the host it is open at.
    pub(in crate::doctor) bound: Vec<IpAddr>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct Container {
    pub(in crate::doctor) id: String,
    pub(in crate::doctor) name: String,
    pub(in crate::doctor) image: String,
    pub(in crate::doctor) state: State,
    /// What its health check says: `healthy`, `unhealthy`, `starting`; none: it has none.
    pub(in crate::doctor) health: Option<String>,
    /// What the last health check printed.
    pub(in crate::doctor) health_words: Option<String>,
    pub(in crate::doctor) restarts: u64,
    pub(in crate::doctor) exit_code: i64,
    pub(in crate::doctor) out_of_memory: bool,
    /// The file of Compose that made it.
    pub(in crate::doctor) compose: Option<String>,
    /// Why it could not be started.
    pub(in crate::doctor) error: String,
    /// Its first process, as the engine numbers it; none: it does not run.
    pub(in crate::doctor) pid: Option<i32>,
    pub(in crate::doctor) environment: Vec<(String, String)>,
    pub(in crate::doctor) published: Vec<Published>,
    /// Whether it has the host's own network.
    pub(in crate::doctor) host_network: bool,
    /// Its addresses in the networks of this host.
    pub(in crate::doctor) addresses: Vec<IpAddr>,
    /// From where this host's own connections to it come, as it sees them.
    pub(in crate::doctor) gateways: Vec<IpAddr>,
    /// What of the host is mounted where inside.
    pub(in crate::doctor) mounts: Vec<(String, String)>,
    /// The last error it wrote, when it does not run.
    pub(in crate::doctor) last_words: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    id: String,
    #[serde(default)]
    name: String,
    state: InspectedState,
    #[serde(default)]
    restart_count: u64,
    config: Config,
    host_config: HostConfig,
    network_settings: NetworkSettings,
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    status: String,
    #[serde(default)]
    pid: i32,
    #[serde(default)]
    exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    out_of_memory: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    started_at: String,
    health: Option<Health>,
}

impl InspectedState {
    /// Whether it runs, and was started a moment ago.
    fn is_fresh(&self) -> bool {
        let started = self.started_at.parse::<Timestamp>();
        started.is_ok_and(|at| Timestamp::now().duration_since(at) < FRESH)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: String,
    #[serde(default)]
    log: Option<Vec<HealthLog>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthLog {
    #[serde(default)]
    output: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    image: String,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

type Ports = BTreeMap<String, Option<Vec<Binding>>>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
    #[serde(default)]
    port_bindings: Option<Ports>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    ports: Option<Ports>,
    #[serde(default)]
    networks: Option<BTreeMap<String, Endpoint>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default, rename = "IPAddress")]
    v4: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    v6: String,
    #[serde(default, rename = "Gateway")]
    gateway: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
}

impl From<Inspected> for Container {
    fn from(inspected: Inspected) -> Self {
        let Inspected { state, config, host_config, .. } = inspected;
        // What is in force while it runs; what is asked for when it does not.
        let in_force = inspected.network_settings.ports.filter(|ports| !ports.is_empty());
        let ports = in_force.or(host_config.port_bindings).unwrap_or_default();
        let networks = inspected.network_settings.networks.unwrap_or_default();
        let endpoints = networks.values().flat_map(|it| [&it.v4, &it.v6]);
        let addresses = endpoints.filter_map(|address| address.parse().ok()).collect();
        let gateways = networks.values().filter_map(|it| it.gateway.parse().ok()).collect();
        let is_fresh = state.is_fresh();
        let health = state.health.filter(|health| health.status != "none");
        let last = health.as_ref().and_then(|it| it.log.as_ref()?.last());
        let is_healthy = health.as_ref().is_some_and(|it| it.status == "healthy");
        let restarts_on = inspected.restart_count > 0 && !is_healthy;
        let health_words = last.map(|log| log.output.trim().to_owned());
        let environment = config.env.unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        Self {
            id: inspected.id,
            name: inspected.name.trim_start_matches('/').to_owned(),
            image: config.image,
            state: match state.status.as_str() {
                // One that ends soon after each start is now and then seen to run.
                "running" if restarts_on && is_fresh => State::Restarting,
                "running" => State::Running,
                "restarting" => State::Restarting,
                "paused" => State::Paused,
                "created" => State::Created,
                _ => State::Exited,
            },
            health: health.as_ref().map(|health| health.status.clone()),
            health_words: health_words.filter(|words| !words.is_empty()),
            restarts: inspected.restart_count,
            exit_code: state.exit_code,
            out_of_memory: state.out_of_memory,
            compose: labels.get(COMPOSE_FILE).cloned().filter(|file| !file.is_empty()),
            error: state.error,
            pid: (state.pid > 0).then_some(state.pid),
            environment: environment
                .iter()
                .filter_map(|it| it.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            published: published(&ports),
            host_network: host_config.network_mode == "host",
            addresses,
            gateways,
            mounts: inspected.mounts.into_iter().map(|it| (it.source, it.destination)).collect(),
            last_words: None,
        }
    }
}

/// The TCP ports, one entry for each port of the host.
fn published(ports: &Ports) -> Vec<Published> {
    let mut published: Vec<Published> = Vec::new();
    for (inside, bindings) in ports {
        let Some(inside) = inside.strip_suffix("/tcp").and_then(|it| it.parse().ok()) else {
            continue;
        };
        for binding in bindings.iter().flatten() {
            let Ok(port) = binding.host_port.parse() else { continue };
            let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let bound = binding.host_ip.parse().unwrap_or(any);
            match published.iter_mut().find(|it| it.port == port && it.inside == inside) {
                Some(known) => known.bound.push(bound),
                None => published.push(Published { inside, port, bound: vec![bound] }),
            }
        }
    }
    published
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(state: serde_json::Value, ports: serde_json::Value) -> Container {
        let inspected: Inspected = serde_json::from_value(json!({
            "Id": "0123", "Name": "/dingbot", "RestartCount": 2, "State": state,
            "Config": {"Image": "dingbot:1", "Env": ["PORT=8080", "A=b=c", "odd"],
                "Labels": {"com.docker.compose.project.config_files": "/srv/compose.yaml"}},
            "HostConfig": {"NetworkMode": "default",
                "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9090"}]}},
            "NetworkSettings": {"Ports": ports,
                "Networks": {"bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": "",
                    "Gateway": "172.17.0.1"}}},
            "Mounts": [{"Source": "/srv/dingbot.toml", "Destination": "/etc/dingbot/dingbot.toml"}],
        }))
        .unwrap();
        Container::from(inspected)
    }

    #[test]
    fn a_running_container_is_open_where_the_engine_says() {
        let running = container(
            json!({"Status": "running", "Pid": 7, "Health": {"Status": "unhealthy",
                "Log": [{"Output": "old"}, {"Output": "no answer\n"}]}}),
            json!({"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "9090"},
                {"HostIp": "::", "HostPort": "9090"}], "53/udp": [{"HostPort": "53"}]}),
        );
        assert_eq!(
            (running.state, running.pid, &*running.name),
            (State::Running, Some(7), "dingbot")
        );
        assert_eq!(running.health_words.as_deref(), Some("no answer"));
        let bound = vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
        assert_eq!(running.published, [Published { inside: 8080, port: 9090, bound }]);
        assert_eq!(running.addresses, ["172.17.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(running.gateways, ["172.17.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(running.compose.as_deref(), Some("/srv/compose.yaml"));
        assert_eq!(running.environment[1], ("A".to_owned(), "b=c".to_owned()));
    }

    #[test]
    fn one_that_does_not_run_is_asked_to_be_open_where_it_was_told() {
        let exited = container(json!({"Status": "exited", "ExitCode": 78, "Pid": 0}), json!({}));
        assert_eq!((exited.state, exited.exit_code, exited.pid), (State::Exited, 78, None));
        let bound = vec!["127.0.0.1".parse().unwrap()];
        assert_eq!(exited.published, [Published { inside: 8080, port: 9090, bound }]);
    }
}

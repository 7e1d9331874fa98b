//! Where the bot can be knocked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::docker::{Container, Docker, Published, State};
use super::facts::Facts;

/// The port that the bot listens on when nothing says otherwise.
const PORT: u16 = 8080;

/// A port of this host that leads to a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The port of the host.
    pub port: u16,
    /// The addresses of the host it is open at, as they are configured.
    pub bound: Vec<IpAddr>,
    /// The container behind it; none: a process of this host.
    pub container: Option<Behind>,
}

/// What a published port leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The container's name.
    pub name: String,
    /// The port inside.
    pub port: u16,
}

impl Door {
    /// Where it is reached from this host: on loopback, if it is open there.
    pub(super) fn local_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.bound.iter().map(|bound| match bound {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
            }
            bound => SocketAddr::new(*bound, self.port),
        })
    }

    /// Whether nobody outside can come in by it.
    pub fn is_local(&self) -> bool {
        self.bound.iter().all(IpAddr::is_loopback)
    }
}

/// All doors: of the containers, and of the process on this host: where it listens, or where it
/// would.
pub(super) async fn find(facts: &Facts) -> Vec<Door> {
    let (docker, unit, sockets) = tokio::join!(facts.docker(), facts.unit(), facts.sockets());
    let mut doors: Vec<Door> = docker.containers().iter().flat_map(of_container).collect();
    // The bot's own sockets tell best. But the ones that it was given belong to its socket unit.
    let listening: Vec<SocketAddr> = sockets.of_bots().map(|listener| listener.address).collect();
    let given = || unit.into_iter().flat_map(|unit| &unit.sockets).filter_map(|it| it.parse().ok());
    let own: Vec<SocketAddr> = if listening.is_empty() { given().collect() } else { listening };
    // A host with containers alone has no other bot.
    let configured =
        docker.containers().is_empty() || unit.is_some_and(|unit| unit.active != "inactive");
    if !own.is_empty() {
        doors.extend(joined(own));
    } else if configured {
        let examined = facts.examined().await;
        let mut told = joined(examined.settings().server.listen.clone());
        // Where settings or containers are hidden, the bot may as well listen elsewhere.
        if examined.closed.is_some() || matches!(docker, Docker::Forbidden(_)) {
            told.retain(|door| sockets.on(door.port).next().is_some());
        }
        // Of sockets whose processes are hidden at least the addresses are seen.
        for door in &mut told {
            let hidden = sockets.on(door.port).filter(|listener| listener.owners.is_empty());
            let bound: Vec<IpAddr> = hidden.map(|listener| listener.address.ip()).collect();
            if !bound.is_empty() {
                door.bound = bound;
            }
        }
        doors.extend(told);
    }
    doors
}

/// The doors of a container. Of one that publishes its ports only those count that lead to the bot,
/// unless none does.
fn of_container(container: &Container) -> Vec<Door> {
    let inside = inside(container);
    if container.host_network {
        let bound = vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let behind = Behind { name: container.name.clone(), port: inside };
        return vec![Door { port: inside, bound, container: Some(behind) }];
    }
    let leads = |it: &&Published| it.inside == inside;
    let right: Vec<&Published> = container.published.iter().filter(leads).collect();
    let all = container.published.iter().collect();
    let published = if right.is_empty() { all } else { right };
    published
        .into_iter()
        .filter(|_| container.state == State::Running || container.error.is_empty())
        .map(|it| Door {
            port: it.port,
            bound: it.bound.clone(),
            container: Some(Behind { name: container.name.clone(), port: it.inside }),
        })
        .collect()
}

/// The port that the bot listens on inside, as its environment says.
pub(super) fn inside(container: &Container) -> u16 {
    let variable = |name: &str| {
        let mut all = container.environment.iter();
        all.find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value)
    };
    let listen = variable("DINGBOT_SERVER__LISTEN").and_then(|listen| {
        let address = listen.trim_matches(['[', ']', '"', ' ']);
        address.rsplit(':').next()?.parse().ok()
    });
    variable("PORT").and_then(|port| port.parse().ok()).or(listen).unwrap_or(PORT)
}

/// One door for each port.
fn joined(addresses: Vec<SocketAddr>) -> Vec<Door> {
    let mut doors: Vec<Door> = Vec::new();
    for address in addresses {
        match doors.iter_mut().find(|door| door.port == address.port()) {
            Some(door) if door.bound.contains(&address.ip()) => {}
            Some(door) => door.bound.push(address.ip()),
            None => {
                let bound = vec![address.ip()];
                doors.push(Door { port: address.port(), bound, container: None });
            }
        }
    }
    doors
}

//! Where the bot can be knocked at.

use std::net::IpAddr;

use super::facts::Facts;

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

/// All doors: those of containers, of the socket unit, or of the settings.
pub(super) async fn find(facts: &Facts) -> Vec<Door> {
    let listen = &facts.settings().server.listen;
    listen
        .iter()
        .map(|address| Door { port: address.port(), bound: vec![address.ip()], container: None })
        .collect()
}

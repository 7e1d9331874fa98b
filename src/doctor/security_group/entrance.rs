//! The ports the outside comes in by: the bot's own, and those of a proxy before it.

use std::net::IpAddr;

use procfs::net::{TcpNetEntry, TcpState};

use crate::doctor::facts::Facts;

/// The ports of the web, where proxies listen; the one people should use first.
pub(super) const FRONT: [u16; 2] = [443, 80];

/// The ports by which the bot may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entrances {
    /// The bot's own ports.
    pub(super) own: Vec<Own>,
    /// Those of [`FRONT`] that somebody else listens on.
    pub(super) front: Vec<u16>,
    /// Whether the bot counts on a proxy before it.
    pub(super) proxied: bool,
}

/// A port of the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) port: u16,
    /// Whether it is open at an IPv6 address.
    pub(super) v6: bool,
    /// Whether it is open at loopback addresses alone.
    pub(super) inside: bool,
}

pub(super) async fn find(facts: &Facts) -> Entrances {
    let mut own: Vec<Own> = Vec::new();
    for door in facts.doors().await {
        let bound = |is: fn(&IpAddr) -> bool| door.bound.iter().any(is);
        let found = Own {
            port: door.port,
            v6: bound(IpAddr::is_ipv6),
            inside: !door.bound.is_empty() && door.bound.iter().all(IpAddr::is_loopback),
        };
        match own.iter_mut().find(|known| known.port == found.port) {
            Some(known) => {
                known.v6 |= found.v6;
                known.inside &= found.inside;
            }
            None => own.push(found),
        }
    }
    let listening = listening();
    let is_own = |port: u16| own.iter().any(|own| own.port == port);
    let front = FRONT.into_iter().filter(|port| listening.contains(port) && !is_own(*port));
    let front: Vec<u16> = front.collect();
    let inside = !own.is_empty() && own.iter().all(|own| own.inside);
    let trusts = !facts.examined().await.settings().server.trusted_proxies.is_empty();
    Entrances { proxied: inside || trusts, front, own }
}

/// The ports at which somebody listens for more than loopback.
fn listening() -> Vec<u16> {
    let read = |entries: procfs::ProcResult<Vec<TcpNetEntry>>| entries.unwrap_or_default();
    let all = read(procfs::net::tcp()).into_iter().chain(read(procfs::net::tcp6()));
    all.filter(|entry| entry.state == TcpState::Listen)
        .filter(|entry| !entry.local_address.ip().is_loopback())
        .map(|entry| entry.local_address.port())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_for_the_outside_is_seen() {
        let outside = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let inside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listening();
        assert!(listening.contains(&outside.local_addr().unwrap().port()));
        let inside = inside.local_addr().unwrap().port();
        if outside.local_addr().unwrap().port() != inside {
            assert!(!listening.contains(&inside));
        }
    }
}

//! The packet whose way is followed: the first of a new TCP connection from outside.

use std::net::IpAddr;

use ipnet::IpNet;

/// The packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    /// Where it comes from; none: from anywhere, so that a rule for some addresses does not match.
    pub(super) source: Option<IpAddr>,
    /// Whether it is IPv6.
    pub(super) v6: bool,
    /// The port it asks for, on this leg of its way.
    pub(super) port: u16,
    /// The address it asks for, on this leg, when it is known.
    pub(super) destination: Option<IpAddr>,
    /// The interfaces it may come in by; none known: any that leads outside.
    pub(super) from: Vec<String>,
    /// Whether it goes on to a container.
    pub(super) forwarded: bool,
}

/// Whether a packet matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// It depends on what is not known here, or the test is not understood.
    Perhaps,
}

impl Match {
    pub(super) fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Perhaps, _) | (_, Self::Perhaps) => Self::Perhaps,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    /// Either.
    pub(super) fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    /// The opposite.
    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
        }
    }
}

/// Names of interfaces that lead into this host.
const INSIDE: [&str; 4] = ["lo", "docker", "br-", "veth"];

impl Packet {
    /// Whether it comes from `network`.
    pub(super) fn is_from(&self, network: IpNet) -> Match {
        match self.source {
            Some(source) => Match::of(network.contains(&source)),
            None => Match::of(network.prefix_len() == 0 && network.addr().is_ipv6() == self.v6),
        }
    }

    /// Whether it goes to `network`.
    pub(super) fn is_to(&self, network: IpNet) -> Match {
        match self.destination {
            Some(destination) => Match::of(network.contains(&destination)),
            None if network.addr().is_loopback() => Match::No,
            None if network.addr().is_ipv6() != self.v6 => Match::No,
            None if network.prefix_len() == 0 => Match::Yes,
            None => Match::Perhaps,
        }
    }

    /// Whether it comes in by an interface of this name; `*` and `+` end a prefix.
    pub(super) fn comes_by(&self, name: &str) -> Match {
        match self.from.iter().filter(|known| is_named(known, name)).count() {
            0 if !self.from.is_empty() || is_inside(name) => Match::No,
            0 => Match::Perhaps,
            count => {
                if count == self.from.len() {
                    Match::Yes
                } else {
                    Match::Perhaps
                }
            }
        }
    }

    /// Whether it goes out by an interface of this name.
    pub(super) fn goes_by(&self, name: &str) -> Match {
        if !self.forwarded {
            return Match::No;
        }
        // To which of the bridges of containers is not known.
        if is_inside(name) && name != "lo" { Match::Yes } else { Match::No }
    }
}

/// The interfaces by which callers come in: those of the way out, else all that lead outside.
pub(super) fn outer_interfaces(v6: bool) -> Vec<String> {
    let mut outer: Vec<String> = if_addrs::get_if_addrs()
        .into_iter()
        .flatten()
        .filter(|it| it.ip().is_ipv6() == v6 && !is_inside(&it.name) && !it.is_link_local())
        .map(|it| it.name)
        .collect();
    outer.sort();
    outer.dedup();
    let routes = procfs::net::route().unwrap_or_default();
    let default = |name: &String| {
        routes.iter().any(|route| route.iface == *name && route.mask.is_unspecified())
    };
    if !v6 && outer.iter().any(default) {
        outer.retain(default);
    }
    outer
}

fn is_inside(name: &str) -> bool {
    INSIDE.iter().any(|inside| name.starts_with(inside))
}

fn is_named(known: &str, name: &str) -> bool {
    match name.strip_suffix(['*', '+']) {
        Some(prefix) => known.starts_with(prefix),
        None => known == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_matches_when_all_that_lead_outside_do() {
        let by = |from: &[&str], name: &str| {
            let from = from.iter().map(|it| (*it).to_owned()).collect();
            let packet = Packet {
                source: None,
                v6: false,
                port: 80,
                destination: None,
                from,
                forwarded: false,
            };
            packet.comes_by(name)
        };
        assert_eq!(by(&["eth0"], "eth0"), Match::Yes);
        assert_eq!(by(&["eth0"], "eth*"), Match::Yes);
        assert_eq!(by(&["eth0"], "eth1"), Match::No);
        assert_eq!(by(&["eth0", "ens5"], "eth+"), Match::Perhaps);
        assert_eq!(by(&["eth0"], "lo"), Match::No);
        assert_eq!(by(&[], "lo"), Match::No);
        assert_eq!(by(&[], "eth0"), Match::Perhaps);
    }
}

//! A packet whose way is followed, and what a rule can ask about it.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::interfaces::{is_inside, is_named};

/// Which packet of a TCP connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first one, from the caller.
    Opening,
    /// The answer to it.
    Answer,
    /// What the caller sends then.
    Following,
}

/// The packet, on one leg of its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) stage: Stage,
    /// Whether it is IPv6.
    pub(super) v6: bool,
    pub(super) source: Addresses,
    pub(super) destination: Addresses,
    /// None: one that the caller's system chose.
    pub(super) source_port: Option<u16>,
    pub(super) port: Option<u16>,
    /// The interfaces it may come in by; nothing: by none, on this leg.
    pub(super) from: Option<Vec<String>>,
    /// The interfaces it may go out by; nothing: by none, on this leg.
    pub(super) to: Option<Vec<String>>,
    /// What the caller asked for, before it was translated.
    pub(super) asked: u16,
    /// Whether it goes on to a container, or comes from there.
    pub(super) forwarded: bool,
    /// Whether the kernel knows yet which connection it belongs to.
    pub(super) tracked: bool,
    /// Whether some rule may have given it a mark; from outside comes none.
    pub(super) marked: bool,
}

/// Where a packet comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Anywhere outside: a rule for some addresses is not for this one.
    Anywhere,
    /// One of these.
    OneOf(Vec<IpAddr>),
}

/// Some addresses, as a rule names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    Prefix(IpNet),
    Range(IpAddr, IpAddr),
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

impl Network {
    fn is_v6(&self) -> bool {
        match self {
            Self::Prefix(network) => network.addr().is_ipv6(),
            Self::Range(first, _) => first.is_ipv6(),
        }
    }

    fn holds(&self, address: IpAddr) -> bool {
        match self {
            Self::Prefix(network) => network.contains(&address),
            Self::Range(first, last) => {
                address.is_ipv6() == first.is_ipv6() && (*first..=*last).contains(&address)
            }
        }
    }

    fn is_everything(&self) -> bool {
        matches!(self, Self::Prefix(network) if network.prefix_len() == 0)
    }
}

impl From<IpNet> for Network {
    fn from(network: IpNet) -> Self {
        Self::Prefix(network)
    }
}

impl Addresses {
    /// Whether they are in `network`.
    fn are_in(&self, network: Network, v6: bool) -> Match {
        if network.is_v6() != v6 {
            return Match::No;
        }
        match self {
            _ if network.is_everything() => Match::Yes,
            Self::Anywhere => Match::No,
            Self::OneOf(addresses) => {
                of_some(addresses.iter().map(|address| network.holds(*address)))
            }
        }
    }
}

/// The ports that systems choose for those who call.
const CHOSEN: RangeInclusive<u16> = 1024..=u16::MAX;
/// Of a few ports none is chosen.
const FEW: usize = 4096;

impl Packet {
    /// Whether it comes from `network`.
    pub(super) fn is_from(&self, network: Network) -> Match {
        self.source.are_in(network, self.v6)
    }

    /// Whether it goes to `network`.
    pub(super) fn is_to(&self, network: Network) -> Match {
        self.destination.are_in(network, self.v6)
    }

    /// Whether it goes to one of these ports.
    pub(super) fn is_for(&self, ports: RangeInclusive<u16>) -> Match {
        is_among(self.port, &ports)
    }

    /// Whether it comes from one of these ports.
    pub(super) fn is_from_port(&self, ports: RangeInclusive<u16>) -> Match {
        is_among(self.source_port, &ports)
    }

    /// Whether it comes in by an interface of this name; `*` and `+` end a prefix.
    pub(super) fn comes_by(&self, name: &str) -> Match {
        passes_by(self.from.as_deref(), name)
    }

    /// Whether it goes out by an interface of this name.
    pub(super) fn goes_by(&self, name: &str) -> Match {
        passes_by(self.to.as_deref(), name)
    }

    /// Whether this is a state of its connection, in small letters.
    pub(super) fn has_state(&self, state: &str) -> Match {
        Match::of(match state {
            "new" => self.tracked && self.stage == Stage::Opening,
            "established" => self.tracked && self.stage != Stage::Opening,
            // What has no connection yet is taken for one that has a wrong one.
            "invalid" => !self.tracked,
            // Docker's translation of the address makes it so.
            "dnat" => self.tracked && self.forwarded,
            _ => false,
        })
    }

    /// Whether this is its mark, or a part of it.
    pub(super) fn has_mark(&self, mark: u64) -> Match {
        if self.marked { Match::Perhaps } else { Match::of(mark == 0) }
    }

    /// Whether it is on its way from who began the connection.
    pub(super) fn is_from_caller(&self) -> bool {
        self.stage != Stage::Answer
    }

    /// The flags of its TCP header that are set.
    pub(super) fn flags(&self) -> &'static [&'static str] {
        match self.stage {
            Stage::Opening => &["syn"],
            Stage::Answer => &["syn", "ack"],
            Stage::Following => &["ack"],
        }
    }
}

fn passes_by(interfaces: Option<&[String]>, name: &str) -> Match {
    match interfaces {
        None => Match::No,
        Some([]) if is_inside(name) || name == "lo" => Match::No,
        Some(known) => of_some(known.iter().map(|known| is_named(known, name))),
    }
}

/// What is so of all is so, and what is so of none is not.
fn of_some(each: impl Iterator<Item = bool>) -> Match {
    each.map(Match::of)
        .reduce(|one, other| if one == other { one } else { Match::Perhaps })
        .unwrap_or(Match::Perhaps)
}

fn is_among(port: Option<u16>, ports: &RangeInclusive<u16>) -> Match {
    match port {
        Some(port) => Match::of(ports.contains(&port)),
        None if ports.start() <= CHOSEN.start() && ports.end() == CHOSEN.end() => Match::Yes,
        None if ports.len() < FEW || ports.end() < CHOSEN.start() => Match::No,
        None => Match::Perhaps,
    }
}

#[cfg(test)]
impl Packet {
    /// The first packet of a caller from anywhere, to this port.
    pub(super) fn to_port(port: u16) -> Self {
        Self {
            stage: Stage::Opening,
            v6: false,
            source: Addresses::Anywhere,
            destination: Addresses::OneOf(Vec::new()),
            source_port: None,
            port: Some(port),
            from: Some(Vec::new()),
            to: None,
            asked: port,
            forwarded: false,
            tracked: true,
            marked: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_matches_when_all_that_lead_outside_do() {
        let by = |from: &[&str], name: &str| {
            let from = Some(from.iter().map(|it| (*it).to_owned()).collect());
            Packet { from, ..Packet::to_port(80) }.comes_by(name)
        };
        assert_eq!(by(&["eth0"], "eth0"), Match::Yes);
        assert_eq!(by(&["eth0"], "eth*"), Match::Yes);
        assert_eq!(by(&["eth0"], "eth1"), Match::No);
        assert_eq!(by(&["eth0", "eth1"], "eth+"), Match::Yes);
        assert_eq!(by(&["eth0", "ens5"], "eth+"), Match::Perhaps);
        assert_eq!(by(&["eth0", "ens5"], "lo"), Match::No);
        assert_eq!(by(&["eth0"], "lo"), Match::No);
        assert_eq!(by(&[], "lo"), Match::No);
        assert_eq!(by(&[], "docker0"), Match::No);
        assert_eq!(by(&[], "eth0"), Match::Perhaps);
        // What is for this host does not go out again.
        assert_eq!(Packet::to_port(80).goes_by("eth0"), Match::No);
    }

    #[test]
    fn addresses_match_when_all_of_them_do() {
        let to = |own: &[&str], network: &str| {
            let own = own.iter().map(|it| it.parse().unwrap()).collect();
            let packet = Packet { destination: Addresses::OneOf(own), ..Packet::to_port(80) };
            packet.is_to(network.parse::<IpNet>().unwrap().into())
        };
        assert_eq!(to(&["192.0.2.1"], "192.0.2.1/32"), Match::Yes);
        assert_eq!(to(&["192.0.2.1", "198.51.100.1"], "192.0.2.0/24"), Match::Perhaps);
        assert_eq!(to(&["192.0.2.1"], "127.0.0.0/8"), Match::No);
        assert_eq!(to(&["192.0.2.1"], "::/0"), Match::No);
        assert_eq!(to(&[], "0.0.0.0/0"), Match::Yes);
        let range = Network::Range("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
        let from = |source: &str| {
            let source = Addresses::OneOf(vec![source.parse().unwrap()]);
            Packet { source, ..Packet::to_port(80) }.is_from(range)
        };
        assert_eq!((from("10.0.0.9"), from("10.0.0.10")), (Match::Yes, Match::No));
        assert_eq!(Packet::to_port(80).is_from(range), Match::No);
    }

    #[test]
    fn the_callers_port_is_one_that_systems_choose() {
        let packet = Packet::to_port(80);
        assert_eq!(packet.is_from_port(1024..=65535), Match::Yes);
        assert_eq!(packet.is_from_port(0..=1023), Match::No);
        assert_eq!(packet.is_from_port(9000..=9099), Match::No);
        assert_eq!(packet.is_from_port(32768..=65535), Match::Perhaps);
    }
}

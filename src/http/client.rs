//! Who asks: the address a request comes from, through reverse proxies that are trusted.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use warp::http::HeaderMap;

/// The list of addresses a request passed through, as proxies write it.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Headers by which a proxy gives itself away.
const PROXY_HEADERS: [&str; 6] =
    ["forwarded", FORWARDED_FOR, "x-real-ip", "x-forwarded-host", "x-forwarded-proto", "via"];

/// Where a request comes from; an extension of every request, read with `warp::ext::get`.
///
/// A reverse proxy that adds no header at all cannot be told from a local program; that is why the
/// documentation asks for `X-Forwarded-For`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The client: the peer, or the nearest hop before the trusted proxies.
    pub client: IpAddr,
    /// Whether the request passed through a proxy.
    pub forwarded: bool,
    /// Whether `client` is known: it is the peer itself, or a trusted proxy named it.
    vouched: bool,
}

impl ClientAddress {
    /// The client of a request that came from `peer` with `headers`. `X-Forwarded-For` is believed
    /// from `trusted` networks only, and from right to left only as far as those reach.
    pub fn of(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let address = peer.ip().to_canonical();
        let forwarded = PROXY_HEADERS.iter().any(|name| headers.contains_key(*name));
        let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(&ip));
        let told = (forwarded && is_trusted(address))
            .then(|| nearest_stranger(headers, is_trusted))
            .flatten();
        Self {
            peer,
            client: told.unwrap_or(address),
            forwarded,
            vouched: !forwarded || told.is_some(),
        }
    }

    /// Whether the client is a program on this host.
    ///
    /// A request through a proxy on this host that is not trusted, or that does not say for whom it
    /// asks, is a stranger's.
    pub fn is_local(&self) -> bool {
        self.vouched && self.client.is_loopback()
    }

    /// Whether the client is known to be in one of `networks`.
    pub fn is_in(&self, networks: &[IpNet]) -> bool {
        self.vouched && networks.iter().any(|network| network.contains(&self.client))
    }
}

/// The rightmost hop that is not a trusted proxy, or the first hop if all are. Nothing if a hop
/// that has to be believed cannot be read.
fn nearest_stranger(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut first = None;
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        for hop in line.to_str().ok()?.rsplit(',') {
            let hop = parse_hop(hop.trim())?;
            if !is_trusted(hop) {
                return Some(hop);
            }
            first = Some(hop);
        }
    }
    first
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|s| s.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> ClientAddress {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        ClientAddress::of(peer.parse().unwrap(), &map, &trusted)
    }

    fn client(peer: &str, forwarded_for: &str, trusted: &[&str]) -> String {
        of(peer, &[(FORWARDED_FOR, forwarded_for)], trusted).client.to_string()
    }

    #[test]
    fn a_direct_client_is_its_peer() {
        let local = of("127.0.0.1:5", &[], &[]);
        assert!(local.is_local() && !local.forwarded);
        assert!(of("[::1]:5", &[], &[]).is_local());
        assert!(of("[::ffff:127.0.0.1]:5", &[], &[]).is_local());
        assert!(!of("192.0.2.7:5", &[], &[]).is_local());
    }

    #[test]
    fn a_proxy_on_this_host_does_not_make_strangers_local() {
        for header in PROXY_HEADERS {
            let stranger = of("127.0.0.1:5", &[(header, "127.0.0.1")], &[]);
            assert!(stranger.forwarded && !stranger.is_local(), "{header}");
            assert!(!stranger.is_in(&["127.0.0.0/8".parse().unwrap()]), "{header}");
        }
        // A trusted proxy that does not say for whom, or says it unreadably.
        let trusted = ["127.0.0.0/8"];
        assert!(!of("127.0.0.1:5", &[("x-real-ip", "127.0.0.1")], &trusted).is_local());
        assert!(!of("127.0.0.1:5", &[(FORWARDED_FOR, "unknown")], &trusted).is_local());
        assert!(!of("127.0.0.1:5", &[(FORWARDED_FOR, "127.0.0.1, ")], &trusted).is_local());
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        assert!(of("127.0.0.1:5", &[(FORWARDED_FOR, "::1")], &["127.0.0.0/8"]).is_local());
        assert_eq!(client("127.0.0.1:5", "198.51.100.9", &["127.0.0.0/8"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1:5", "198.51.100.9", &["127.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn the_rightmost_stranger_counts_not_what_it_claims() {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"];
        assert_eq!(
            client("127.0.0.1:5", "127.0.0.1, 198.51.100.9, 10.0.0.3", &trusted),
            "198.51.100.9"
        );
        let lines = [(FORWARDED_FOR, "127.0.0.1"), (FORWARDED_FOR, "198.51.100.9")];
        assert_eq!(of("10.0.0.1:5", &lines, &trusted).client.to_string(), "198.51.100.9");
    }

    #[test]
    fn addresses_come_in_several_forms() {
        let trusted = ["127.0.0.0/8"];
        for (text, address) in [
            ("198.51.100.9:4711", "198.51.100.9"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:198.51.100.9", "198.51.100.9"),
        ] {
            assert_eq!(client("127.0.0.1:5", text, &trusted), address);
        }
    }
}

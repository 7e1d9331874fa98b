//! The interfaces of this host: those that callers come in by, and those that lead to containers.

use std::net::IpAddr;

use if_addrs::{IfAddr, Interface};
use ipnet::IpNet;

use crate::doctor::machine;

/// The kernel's table of IPv6 routes: destination, its length, …, flags, name of the interface.
const V6_ROUTES: &str = "/proc/net/ipv6_route";
/// A destination that is everything, and the length of it.
const V6_DEFAULT: (&str, &str) = ("00000000000000000000000000000000", "00");

/// The interfaces by which callers come in: those of the way out, else all that lead outside.
pub(super) fn outer(v6: bool) -> Vec<String> {
    let mut outer: Vec<String> = all()
        .into_iter()
        .filter(|it| it.ip().is_ipv6() == v6 && !it.is_loopback() && !it.is_link_local())
        .map(|it| it.name)
        .filter(|name| !is_inside(name))
        .collect();
    outer.sort();
    outer.dedup();
    let defaults = if v6 { v6_defaults() } else { v4_defaults() };
    if outer.iter().any(|name| defaults.contains(name)) {
        outer.retain(|name| defaults.contains(name));
    }
    outer
}

fn v4_defaults() -> Vec<String> {
    let routes = procfs::net::route().unwrap_or_default();
    let defaults = routes.into_iter().filter(|route| route.mask.is_unspecified());
    defaults.map(|route| route.iface).collect()
}

fn v6_defaults() -> Vec<String> {
    let routes = std::fs::read_to_string(V6_ROUTES).unwrap_or_default();
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (first, last) = (words.first_chunk::<2>()?, words.last()?);
        // The kernel has one for what it refuses, too.
        ((first[0], first[1]) == V6_DEFAULT && *last != "lo").then(|| (*last).to_owned())
    };
    routes.lines().filter_map(of_line).collect()
}

/// The interface whose network `address` is in.
pub(super) fn towards(address: IpAddr) -> Option<String> {
    let is_on = |interface: &Interface| {
        let length = match &interface.addr {
            IfAddr::V4(own) => own.prefixlen,
            IfAddr::V6(own) => own.prefixlen,
        };
        IpNet::new(interface.ip(), length).is_ok_and(|network| network.contains(&address))
    };
    all().into_iter().find(is_on).map(|it| it.name)
}

fn all() -> Vec<Interface> {
    if_addrs::get_if_addrs().unwrap_or_default()
}

/// Whether an interface of this name leads to containers and virtual machines of this host.
pub(super) fn is_inside(name: &str) -> bool {
    machine::INSIDE.iter().any(|inside| name.starts_with(inside))
}

/// Whether a name is the one in a rule, where `*` and `+` end a prefix.
pub(super) fn is_named(known: &str, name: &str) -> bool {
    match name.strip_suffix(['*', '+']) {
        Some(prefix) => known.starts_with(prefix),
        None => known == name,
    }
}

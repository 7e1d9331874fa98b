//! The tests in a rule, and what they give for a packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_json::Value;

use crate::doctor::firewall::chains::Action;
use crate::doctor::firewall::packet::{Match, Network, Packet};

/// The elements of sets and maps, by family and table, and by name.
pub(super) type Sets<'a> = HashMap<(String, &'a str), &'a Value>;

/// What a statement decides; nothing, when it decides nothing.
pub(super) fn verdict(statement: &Value) -> Option<Action> {
    let (kind, value) = statement.as_object()?.iter().next()?;
    let target = || value["target"].as_str().unwrap_or_default().to_owned();
    Some(match kind.as_str() {
        // A chain that translates is done with it.
        "accept" | "dnat" | "snat" | "masquerade" | "redirect" | "tproxy" => Action::Accept,
        "drop" => Action::Drop,
        "reject" => Action::Reject,
        "return" => Action::Return,
        "continue" => Action::Continue,
        "jump" => Action::Jump(target()),
        "goto" => Action::Goto(target()),
        _ => return None,
    })
}

/// Whether a test is met.
pub(super) fn matched(test: &Value, table: &str, sets: &Sets<'_>, packet: &Packet) -> Match {
    let (left, right) = (&test["left"], &test["right"]);
    // What it has not is not different either.
    if !is_asked(left, packet) {
        return Match::No;
    }
    let holds = || any(right, table, sets, &|value| compare(left, value, packet));
    match test["op"].as_str() {
        Some("==" | "in") => holds(),
        Some("!=") => holds().not(),
        Some(order @ ("<" | "<=" | ">" | ">=")) => ordered(left, order, right, packet),
        _ => Match::Perhaps,
    }
}

/// Whether a packet has what is asked for: a test of IPv6 is for no packet of IPv4, however it ends.
fn is_asked(left: &Value, packet: &Packet) -> bool {
    if let Some(parts) = left["concat"].as_array() {
        return parts.iter().all(|part| is_asked(part, packet));
    }
    if let Some(ct) = left.get("ct") {
        return packet.tracked || matches!(ct["key"].as_str(), Some("state" | "status"));
    }
    let payload = if left.get("&").is_some() { &left["&"][0]["payload"] } else { &left["payload"] };
    match payload["protocol"].as_str() {
        Some("ip" | "arp") => !packet.v6,
        Some("ip6") => packet.v6,
        Some("udp" | "udplite" | "icmp" | "icmpv6" | "sctp" | "dccp") => false,
        _ => true,
    }
}

/// `tcp dport >= 1024`
fn ordered(left: &Value, order: &str, right: &Value, packet: &Packet) -> Match {
    let Some(number) = right.as_u64().and_then(|it| u16::try_from(it).ok()) else {
        return Match::Perhaps;
    };
    let empty: RangeInclusive<u16> = RangeInclusive::new(1, 0);
    let ports = match order {
        "<" => number.checked_sub(1).map_or(empty, |last| 0..=last),
        "<=" => 0..=number,
        ">" => number.checked_add(1).map_or(empty, |first| first..=u16::MAX),
        _ => number..=u16::MAX,
    };
    among(left, ports, packet)
}

/// Whether the port on the left is one of these.
fn among(left: &Value, ports: RangeInclusive<u16>, packet: &Packet) -> Match {
    let payload = &left["payload"];
    match (payload["protocol"].as_str(), payload["field"].as_str()) {
        (Some("tcp" | "th"), Some("dport")) => packet.is_for(ports),
        (Some("tcp" | "th"), Some("sport")) => packet.is_from_port(ports),
        _ => Match::Perhaps,
    }
}

/// What a verdict map says; no action: nothing.
pub(super) fn mapped(
    map: &Value,
    table: &str,
    sets: &Sets<'_>,
    packet: &Packet,
) -> (Match, Option<Action>) {
    if !is_asked(&map["key"], packet) {
        return (Match::No, None);
    }
    let named = map["data"].as_str().and_then(|name| name.strip_prefix('@'));
    let elements = match named {
        Some(name) => sets.get(&(table.to_owned(), name)).copied().unwrap_or(&Value::Null),
        None => &map["data"]["set"],
    };
    let mut found = Match::No;
    let mut otherwise = None;
    for element in elements.as_array().into_iter().flatten() {
        let (key, action) = (&element[0], verdict(&element[1]));
        if key == "*" || key["elem"]["val"] == "*" {
            otherwise = action;
            continue;
        }
        let matches = any(key, table, sets, &|value| compare(&map["key"], value, packet));
        if matches == Match::Yes {
            return (Match::Yes, action);
        }
        found = found.or(matches);
    }
    match otherwise {
        Some(action) if found == Match::No => (Match::Yes, Some(action)),
        _ => (found, None),
    }
}

/// Whether one of the values on the right side holds.
fn any(right: &Value, table: &str, sets: &Sets<'_>, holds: &dyn Fn(&Value) -> Match) -> Match {
    if let Some(name) = right.as_str().and_then(|name| name.strip_prefix('@')) {
        return match sets.get(&(table.to_owned(), name)) {
            Some(elements) => any(elements, table, sets, holds),
            None => Match::Perhaps,
        };
    }
    let list = right.as_array().or_else(|| right["set"].as_array());
    match list {
        Some(values) => {
            let each = values.iter().map(|it| any(it, table, sets, holds));
            each.fold(Match::No, Match::or)
        }
        // An element with a time-out or a counter.
        None if right.get("elem").is_some() => holds(&right["elem"]["val"]),
        None if right.is_null() => Match::No,
        None => holds(right),
    }
}

/// Whether what is on the left side of a test has this value.
fn compare(left: &Value, value: &Value, packet: &Packet) -> Match {
    if let Some(parts) = left["concat"].as_array() {
        let values = value["concat"].as_array().filter(|values| values.len() == parts.len());
        let Some(values) = values else { return Match::Perhaps };
        let each = parts.iter().zip(values).map(|(part, value)| compare(part, value, packet));
        return each.fold(Match::Yes, Match::and);
    }
    if let Some(payload) = left.get("payload") {
        return header(payload, left, value, packet);
    }
    if let Some([tested, mask]) = left["&"].as_array().map(Vec::as_slice) {
        if tested["payload"]["field"] == "flags" {
            return flags(mask, value, packet);
        }
        let is_mark = tested["meta"]["key"] == "mark" || tested["ct"]["key"] == "mark";
        let mark = value.as_u64().filter(|_| is_mark);
        return mark.map_or(Match::Perhaps, |mark| packet.has_mark(mark));
    }
    if let Some(meta) = left.get("meta") {
        return known(meta["key"].as_str().unwrap_or_default(), value, packet);
    }
    if let Some(ct) = left.get("ct") {
        return connection(ct, value, packet);
    }
    if let Some(fib) = left.get("fib") {
        let of = |flag: &str| fib["flags"].as_array().is_some_and(|all| all == &[flag]);
        // Of the addresses of this host, and of others.
        let (from_here, to_here) = match (packet.forwarded, packet.is_from_caller()) {
            (true, _) => (false, false),
            (false, true) => (false, true),
            (false, false) => (true, false),
        };
        let kind = |here: bool| if here { "local" } else { "unicast" };
        return match fib["result"].as_str() {
            Some("type") if of("daddr") => is_one_of(value, &[kind(to_here)]),
            Some("type") if of("saddr") => is_one_of(value, &[kind(from_here)]),
            _ => Match::Perhaps,
        };
    }
    Match::Perhaps
}

/// Something in the packet itself.
fn header(payload: &Value, left: &Value, value: &Value, packet: &Packet) -> Match {
    let field = payload["field"].as_str().unwrap_or_default();
    match (payload["protocol"].as_str().unwrap_or_default(), field) {
        ("tcp" | "th", "dport" | "sport") => {
            ports(value).map_or(Match::Perhaps, |ports| among(left, ports, packet))
        }
        // One of these is set.
        ("tcp", "flags") => {
            value.as_str().map_or(Match::Perhaps, |flag| Match::of(packet.flags().contains(&flag)))
        }
        ("ip" | "ip6", "saddr") => network(value).map_or(Match::Perhaps, |it| packet.is_from(it)),
        ("ip" | "ip6", "daddr") => network(value).map_or(Match::Perhaps, |it| packet.is_to(it)),
        ("ip", "protocol") | ("ip6", "nexthdr") => is_one_of(value, &["tcp", "6"]),
        _ => Match::Perhaps,
    }
}

/// `tcp flags & (fin|syn|rst|ack) == syn`
fn flags(mask: &Value, value: &Value, packet: &Packet) -> Match {
    let (Some(mask), Some(value)) = (names(mask), names(value)) else { return Match::Perhaps };
    let set = |flag: &&str| mask.contains(flag) && packet.flags().contains(flag);
    Match::of(mask.iter().chain(&value).all(|flag| set(flag) == value.contains(flag)))
}

/// The names of flags: one, several, or several joined by `|`.
fn names(value: &Value) -> Option<Vec<&str>> {
    if let Some(name) = value.as_str() {
        return Some(vec![name]);
    }
    if value == 0 {
        return Some(Vec::new());
    }
    let parts = value.as_array().or_else(|| value["|"].as_array())?;
    let parts: Option<Vec<Vec<&str>>> = parts.iter().map(names).collect();
    parts.map(|parts| parts.concat())
}

/// Something that the kernel knows about the packet.
fn known(key: &str, value: &Value, packet: &Packet) -> Match {
    let name = value.as_str().unwrap_or_default();
    match key {
        "iifname" | "iif" => packet.comes_by(name),
        "oifname" | "oif" => packet.goes_by(name),
        "l4proto" => is_one_of(value, &["tcp", "6"]),
        "nfproto" => is_one_of(value, if packet.v6 { &["ipv6"] } else { &["ipv4"] }),
        "protocol" => is_one_of(value, if packet.v6 { &["ip6"] } else { &["ip"] }),
        "mark" => value.as_u64().map_or(Match::Perhaps, |mark| packet.has_mark(mark)),
        "pkttype" => is_one_of(value, &["host", "unicast"]),
        _ => Match::Perhaps,
    }
}

/// Something that the kernel knows about the connection.
fn connection(ct: &Value, value: &Value, packet: &Packet) -> Match {
    match ct["key"].as_str().unwrap_or_default() {
        "state" => value.as_str().map_or(Match::Perhaps, |state| packet.has_state(state)),
        "status" => match value.as_str() {
            Some("dnat") => packet.has_state("dnat"),
            _ => Match::Perhaps,
        },
        "mark" => value.as_u64().map_or(Match::Perhaps, |mark| packet.has_mark(mark)),
        "direction" => {
            is_one_of(value, if packet.is_from_caller() { &["original"] } else { &["reply"] })
        }
        "proto-dst" if ct["dir"] == "original" => {
            ports(value).map_or(Match::Perhaps, |ports| Match::of(ports.contains(&packet.asked)))
        }
        _ => Match::Perhaps,
    }
}

fn is_one_of(value: &Value, known: &[&str]) -> Match {
    match value {
        Value::String(text) => Match::of(known.contains(&text.as_str())),
        Value::Number(number) => Match::of(known.contains(&number.to_string().as_str())),
        _ => Match::Perhaps,
    }
}

fn ports(value: &Value) -> Option<RangeInclusive<u16>> {
    let number = |value: &Value| match value.as_str() {
        Some(name) => named_port(name),
        None => value.as_u64()?.try_into().ok(),
    };
    match value.get("range") {
        Some(range) => Some(number(&range[0])?..=number(&range[1])?),
        None => number(value).map(|port| port..=port),
    }
}

/// Older versions of nft write the names of some.
fn named_port(name: &str) -> Option<u16> {
    Some(match name {
        "ssh" => 22,
        "http" => 80,
        "https" => 443,
        "http-alt" => 8080,
        _ => return name.parse().ok(),
    })
}

fn network(value: &Value) -> Option<Network> {
    let address = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some(prefix) = value.get("prefix") {
        let length = prefix["len"].as_u64()?.try_into().ok()?;
        return IpNet::new(address(&prefix["addr"])?, length).ok().map(Network::from);
    }
    if let Some(range) = value.get("range") {
        return Some(Network::Range(address(&range[0])?, address(&range[1])?));
    }
    let text = value.as_str()?;
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.ok().map(Network::from)
}

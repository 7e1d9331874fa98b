//! What `nft --json list ruleset` says (libnftables-json(5)), judged for one packet.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::chains::{Action, Base, Chain, Hook, Keeper, Rule};
use super::packet::{Match, Packet};

/// Sets and maps, by family, table and name.
type Sets<'a> = HashMap<(String, &'a str), &'a Value>;

/// The chains of a ruleset. `listing` is what `nft -a list ruleset` says, for the text of rules.
///
/// Tables that iptables keeps are left out: it hides what is in their rules.
pub(super) fn chains(ruleset: &Value, listing: &str, packet: &Packet) -> Vec<Chain> {
    let objects = || ruleset["nftables"].as_array().into_iter().flatten();
    let texts = texts(listing);
    let mut sets: Sets<'_> = HashMap::new();
    for object in objects() {
        for kind in ["set", "map"] {
            let Some(set) = object.get(kind) else { continue };
            if let Some(name) = set["name"].as_str() {
                sets.insert((table(set), name), &set["elem"]);
            }
        }
    }
    let mut chains: Vec<Chain> = objects()
        .filter_map(|object| object.get("chain"))
        .filter(|it| concerns(it["family"].as_str().unwrap_or_default(), packet))
        .filter_map(|it| {
            Some(Chain {
                keeper: Keeper::Nftables,
                table: table(it),
                name: it["name"].as_str()?.to_owned(),
                base: base(it),
                rules: Vec::new(),
            })
        })
        .collect();
    let iptables: Vec<String> = chains
        .iter()
        .filter(|chain| chain.base.is_some() && is_of_iptables(chain))
        .map(|chain| chain.table.clone())
        .collect();
    chains.retain(|chain| !iptables.contains(&chain.table));
    for rule in objects().filter_map(|object| object.get("rule")) {
        let (table, chain) = (table(rule), rule["chain"].as_str().unwrap_or_default());
        let Some(chain) = chains.iter_mut().find(|it| it.table == table && it.name == chain) else {
            continue;
        };
        let (matches, action) = judged(rule, &table, &sets, packet);
        let handle = rule["handle"].as_u64().unwrap_or_default();
        let text = texts.get(&(table, handle)).cloned();
        let text = text.unwrap_or_else(|| format!("handle {handle}"));
        chain.rules.push(Rule { matches, action, text });
    }
    chains
}

fn table(object: &Value) -> String {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let name = if object.get("table").is_some() { text("table") } else { text("name") };
    format!("{} {name}", text("family"))
}

/// Whether chains of this family see the packet.
fn concerns(family: &str, packet: &Packet) -> bool {
    matches!((family, packet.v6), ("inet", _) | ("ip", false) | ("ip6", true))
}

/// Its base chains are in capitals.
fn is_of_iptables(chain: &Chain) -> bool {
    ["INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"].contains(&chain.name.as_str())
        && !chain.table.starts_with("inet ")
}

fn base(chain: &Value) -> Option<Base> {
    let hook = match chain["hook"].as_str()? {
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        _ => Hook::Other,
    };
    // A chain of another type does not decide what passes.
    let hook = if chain["type"] == "filter" { hook } else { Hook::Other };
    let drops = chain["policy"] == "drop";
    Some(Base { hook, priority: chain["prio"].as_i64().unwrap_or_default(), drops })
}

/// The text of each rule, by its table and handle.
fn texts(listing: &str) -> HashMap<(String, u64), String> {
    let mut texts = HashMap::new();
    let mut table = String::new();
    for line in listing.lines() {
        let Some((text, handle)) = line.rsplit_once("# handle ") else { continue };
        let text = text.trim();
        if let Some(name) = text.strip_prefix("table ") {
            table = name.trim_end_matches('{').trim().to_owned();
        } else if let Ok(handle) = handle.trim().parse() {
            texts.insert((table.clone(), handle), text.to_owned());
        }
    }
    texts
}

/// Whether the packet matches, and what happens then.
fn judged(rule: &Value, table: &str, sets: &Sets<'_>, packet: &Packet) -> (Match, Action) {
    let mut matches = Match::Yes;
    for statement in rule["expr"].as_array().into_iter().flatten() {
        let Some((kind, value)) = statement.as_object().and_then(|it| it.iter().next()) else {
            continue;
        };
        match kind.as_str() {
            "match" => matches = matches.and(matched(value, table, sets, packet)),
            "vmap" => {
                let (found, action) = mapped(value, table, sets, packet);
                if let Some(action) = action {
                    return (matches.and(found), action);
                }
                if found == Match::Perhaps {
                    return (Match::Perhaps, Action::Accept);
                }
            }
            // They change or note something, and let go on.
            "counter" | "log" | "comment" | "mangle" | "notrack" | "set" | "meta" | "ct helper" => {
            }
            _ => match verdict(statement) {
                Some(action) => return (matches, action),
                // Such as a limit.
                None => matches = matches.and(Match::Perhaps),
            },
        }
    }
    (matches, Action::Continue)
}

fn verdict(statement: &Value) -> Option<Action> {
    let (kind, value) = statement.as_object()?.iter().next()?;
    let target = || value["target"].as_str().unwrap_or_default().to_owned();
    Some(match kind.as_str() {
        "accept" => Action::Accept,
        "drop" => Action::Drop,
        "reject" => Action::Reject,
        "return" => Action::Return,
        "continue" => Action::Continue,
        "jump" => Action::Jump(target()),
        "goto" => Action::Goto(target()),
        _ => return None,
    })
}

fn matched(test: &Value, table: &str, sets: &Sets<'_>, packet: &Packet) -> Match {
    let holds = any(&test["right"], table, sets, &|value| compare(&test["left"], value, packet));
    match test["op"].as_str() {
        Some("==" | "in") => holds,
        Some("!=") => holds.not(),
        // Comparisons of order are rare, and of no weight here.
        _ => Match::Perhaps,
    }
}

/// What a verdict map says; no action: nothing.
fn mapped(map: &Value, table: &str, sets: &Sets<'_>, packet: &Packet) -> (Match, Option<Action>) {
    let named = map["data"].as_str().and_then(|name| name.strip_prefix('@'));
    let elements = match named {
        Some(name) => sets.get(&(table.to_owned(), name)).copied().unwrap_or(&Value::Null),
        None => &map["data"]["set"],
    };
    let mut found = Match::No;
    for element in elements.as_array().into_iter().flatten() {
        let (key, action) = (&element[0], verdict(&element[1]));
        let matches = any(key, table, sets, &|value| compare(&map["key"], value, packet));
        if matches == Match::Yes {
            return (Match::Yes, action);
        }
        found = found.or(matches);
    }
    (found, None)
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
    if let Some(payload) = left.get("payload") {
        let field = payload["field"].as_str().unwrap_or_default();
        return match (payload["protocol"].as_str().unwrap_or_default(), field) {
            ("tcp" | "th", "dport") => port(value, packet.port),
            ("udp" | "icmp" | "icmpv6" | "sctp", _) => Match::No,
            ("ip", _) if packet.v6 => Match::No,
            ("ip6", _) if !packet.v6 => Match::No,
            ("ip" | "ip6", "saddr") => {
                network(value).map_or(Match::Perhaps, |it| packet.is_from(it))
            }
            ("ip" | "ip6", "daddr") => network(value).map_or(Match::Perhaps, |it| packet.is_to(it)),
            ("ip", "protocol") | ("ip6", "nexthdr") => is_one_of(value, &["tcp", "6"]),
            _ => Match::Perhaps,
        };
    }
    if let Some(meta) = left.get("meta") {
        let name = value.as_str().unwrap_or_default();
        return match meta["key"].as_str().unwrap_or_default() {
            "iifname" | "iif" => packet.comes_by(name),
            "oifname" | "oif" => packet.goes_by(name),
            "l4proto" => is_one_of(value, &["tcp", "6"]),
            "nfproto" => is_one_of(value, if packet.v6 { &["ipv6"] } else { &["ipv4"] }),
            "protocol" => is_one_of(value, if packet.v6 { &["ip6"] } else { &["ip"] }),
            _ => Match::Perhaps,
        };
    }
    if let Some(ct) = left.get("ct") {
        return match ct["key"].as_str().unwrap_or_default() {
            "state" => is_one_of(value, &["new"]),
            // Docker's translation of the address makes it so.
            "status" => match value.as_str() {
                Some("dnat") => Match::of(packet.forwarded),
                _ => Match::Perhaps,
            },
            "direction" => is_one_of(value, &["original"]),
            _ => Match::Perhaps,
        };
    }
    if let Some(fib) = left.get("fib") {
        if fib["result"] == "type" && !packet.forwarded {
            return is_one_of(value, &["local"]);
        }
        return Match::Perhaps;
    }
    // Flags of the first packet of a connection: `tcp flags & (…) == syn` has an `&` on the left.
    Match::Perhaps
}

fn is_one_of(value: &Value, known: &[&str]) -> Match {
    match value {
        Value::String(text) => Match::of(known.contains(&text.as_str())),
        Value::Number(number) => Match::of(known.contains(&number.to_string().as_str())),
        _ => Match::Perhaps,
    }
}

fn port(value: &Value, port: u16) -> Match {
    let number = |value: &Value| value.as_u64().or_else(|| named_port(value.as_str()?));
    if let Some(range) = value.get("range") {
        let (Some(low), Some(high)) = (number(&range[0]), number(&range[1])) else {
            return Match::Perhaps;
        };
        return Match::of((low..=high).contains(&u64::from(port)));
    }
    number(value).map_or(Match::Perhaps, |number| Match::of(number == u64::from(port)))
}

/// Older versions of nft write the names of some.
fn named_port(name: &str) -> Option<u64> {
    Some(match name {
        "ssh" => 22,
        "http" => 80,
        "https" => 443,
        "http-alt" => 8080,
        _ => return name.parse().ok(),
    })
}

fn network(value: &Value) -> Option<IpNet> {
    if let Some(prefix) = value.get("prefix") {
        let address: IpAddr = prefix["addr"].as_str()?.parse().ok()?;
        return IpNet::new(address, prefix["len"].as_u64()?.try_into().ok()?).ok();
    }
    if let Some(address) = value.as_str() {
        return address.parse::<IpAddr>().map(IpNet::from).ok().or_else(|| address.parse().ok());
    }
    // A range of addresses.
    None
}

//! What `iptables-save` says (iptables-save(8), iptables-extensions(8)), judged for one packet.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::chains::{Action, Base, Chain, Hook, Keeper, Rule};
use super::packet::{Addresses, Match, Network, Packet};

/// Tables that decide what passes, with the priority of their chains.
const TABLES: [(&str, i64); 4] = [("raw", -300), ("mangle", -150), ("filter", 0), ("security", 50)];
/// A prefix of sets that hold the bridges of Docker's containers.
const BRIDGES: &str = "docker-ext-bridges-";

/// What the options of modules that count begin with.
const COUNTING: [&str; 3] = ["--limit-burst", "--hashlimit-", "--connlimit-"];

/// The chains of the tables that decide what passes, but for those that are `others`.
pub(super) fn chains(
    saved: &str,
    packet: &Packet,
    is_others: impl Fn(&str) -> bool,
    number: impl Fn(&str, &str) -> usize,
) -> Vec<Chain> {
    let family = if packet.v6 { "ip6" } else { "ip" };
    let mut chains: Vec<Chain> = Vec::new();
    let mut current = None;
    for line in saved.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            let table = format!("{family} {name}");
            let known = TABLES.iter().find(|(known, _)| *known == name);
            current = known.filter(|_| !is_others(&table)).map(|(_, priority)| (table, *priority));
            continue;
        }
        let Some((table, priority)) = &current else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (Some(chain), Some(policy)) = (words.next(), words.next()) else { continue };
            let hook = match chain {
                "PREROUTING" => Hook::Prerouting,
                "INPUT" => Hook::Input,
                "FORWARD" => Hook::Forward,
                "OUTPUT" => Hook::Output,
                "POSTROUTING" => Hook::Postrouting,
                _ => Hook::Other,
            };
            let number = number(table, chain);
            let base = Base { hook, priority: *priority, number, drops: policy == "DROP" };
            chains.push(Chain {
                keeper: Keeper::Iptables,
                table: table.clone(),
                name: chain.to_owned(),
                base: (policy != "-").then_some(base),
                rules: Vec::new(),
            });
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let Some(words) = shlex::split(rule) else { continue };
            let Some((chain, words)) = words.split_first() else { continue };
            let mut all = chains.iter_mut();
            if let Some(chain) = all.find(|it| it.table == *table && it.name == *chain) {
                chain.rules.push(judged(words, line, packet));
            }
        }
    }
    let known: HashSet<(String, String)> =
        chains.iter().map(|it| (it.table.clone(), it.name.clone())).collect();
    for chain in &mut chains {
        for rule in &mut chain.rules {
            // A target that is no chain changes or notes something, and lets go on.
            if let Action::Jump(target) = &rule.action
                && !known.contains(&(chain.table.clone(), target.clone()))
            {
                rule.action = Action::Continue;
            }
        }
    }
    chains
}

/// A rule, from the words after its chain.
fn judged(words: &[String], line: &str, packet: &Packet) -> Rule {
    let mut read = Reading {
        rule: Rule {
            matches: Match::Yes,
            action: Action::Continue,
            is_for_port: false,
            text: line.to_owned(),
        },
        is_limited: false,
    };
    let mut words = words.iter().map(String::as_str);
    let mut negated = false;
    while let Some(option) = words.next() {
        if option == "!" {
            negated = true;
            continue;
        }
        let known = read.option(option, &mut words, packet);
        let known = if negated { known.not() } else { known };
        read.rule.matches = read.rule.matches.and(known);
        negated = false;
    }
    let Reading { mut rule, is_limited } = read;
    // The first packets of many pass what limits their rate.
    if is_limited && !matches!(rule.action, Action::Drop | Action::Reject) {
        rule.matches = rule.matches.and(Match::Perhaps);
    }
    rule
}

/// A rule that is being read.
struct Reading {
    rule: Rule,
    /// Whether it is for so many packets and no more.
    is_limited: bool,
}

impl Reading {
    /// Whether the packet meets an option, whose values are the next words.
    fn option<'a>(
        &mut self,
        option: &str,
        words: &mut impl Iterator<Item = &'a str>,
        packet: &Packet,
    ) -> Match {
        let mut value = || words.next().unwrap_or_default();
        match option {
            "-s" | "--source" => of_network(value(), |it| packet.is_from(it)),
            "-d" | "--destination" => of_network(value(), |it| packet.is_to(it)),
            "--src-range" => of_range(value(), |it| packet.is_from(it)),
            "--dst-range" => of_range(value(), |it| packet.is_to(it)),
            "-i" | "--in-interface" => packet.comes_by(value()),
            "-o" | "--out-interface" => packet.goes_by(value()),
            "-p" | "--protocol" => Match::of(matches!(value(), "tcp" | "all" | "6" | "0")),
            "-f" => Match::No,
            "--sport" | "--sports" => of_ports(value(), |ports| packet.is_from_port(ports)),
            "--dport" | "--dports" => {
                let known = of_ports(value(), |ports| packet.is_for(ports));
                self.rule.is_for_port |= known == Match::Yes;
                known
            }
            "--ports" => {
                let ports = value();
                let to = of_ports(ports, |ports| packet.is_for(ports));
                to.or(of_ports(ports, |ports| packet.is_from_port(ports)))
            }
            "--syn" => of_flags("FIN,SYN,RST,ACK", "SYN", packet),
            "--tcp-flags" => {
                let mask = value();
                of_flags(mask, value(), packet)
            }
            "--ctstate" | "--state" => value()
                .split(',')
                .map(|state| packet.has_state(&state.to_ascii_lowercase()))
                .fold(Match::No, Match::or),
            "--ctstatus" => match value() {
                "DNAT" => packet.has_state("dnat"),
                _ => Match::Perhaps,
            },
            "--ctorigdstport" => {
                let known = of_ports(value(), |ports| Match::of(ports.contains(&packet.asked)));
                self.rule.is_for_port |= known == Match::Yes;
                known.and(Match::of(packet.tracked))
            }
            "--ctdir" => Match::of((value() == "ORIGINAL") == packet.is_from_caller()),
            "--dst-type" => {
                let here = !packet.forwarded && packet.is_from_caller();
                of_kind(value(), here)
            }
            "--src-type" => of_kind(value(), !packet.forwarded && !packet.is_from_caller()),
            "--mark" => of_mark(value(), packet),
            "--match-set" => {
                let name = value();
                of_set(name, value(), packet)
            }
            // How many packets there may be, alone or of each caller: this one is the first.
            "--limit" | "--hashlimit-upto" | "--connlimit-upto" => {
                let _ = value();
                self.is_limited = true;
                Match::Yes
            }
            "--hashlimit-above" | "--connlimit-above" => {
                let _ = value();
                Match::No
            }
            "-m" | "--match" => of_module(value()),
            "--comment" | "--reject-with" | "--log-prefix" | "--log-level" => {
                let _ = value();
                Match::Yes
            }
            "-j" | "--jump" => {
                self.rule.action = match value() {
                    "ACCEPT" => Action::Accept,
                    "DROP" => Action::Drop,
                    "REJECT" => Action::Reject,
                    "RETURN" => Action::Return,
                    target => Action::Jump(target.to_owned()),
                };
                Match::Yes
            }
            "-g" | "--goto" => {
                self.rule.action = Action::Goto(value().to_owned());
                Match::Yes
            }
            // How they are counted.
            option if COUNTING.iter().any(|prefix| option.starts_with(prefix)) => Match::Yes,
            // Not understood: of its match, or an option of its target that does not matter.
            option if option.starts_with('-') && self.rule.action == Action::Continue => {
                Match::Perhaps
            }
            // The value of such an option.
            _ => Match::Yes,
        }
    }
}

/// Modules whose options are understood, or say nothing about the packet. The others test what is
/// not known here: a time, a length, a text.
fn of_module(name: &str) -> Match {
    match name {
        "tcp" | "multiport" | "conntrack" | "state" | "addrtype" | "comment" | "limit"
        | "hashlimit" | "connlimit" | "iprange" | "set" | "mark" | "connmark" => Match::Yes,
        "udp" | "udplite" | "icmp" | "icmp6" | "ipv6-icmp" | "sctp" | "dccp" | "esp" | "ah" => {
            Match::No
        }
        _ => Match::Perhaps,
    }
}

fn of_network(text: &str, holds: impl Fn(Network) -> Match) -> Match {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_or(Match::Perhaps, |network| holds(network.into()))
}

/// `10.0.0.1-10.0.0.9`
fn of_range(text: &str, holds: impl Fn(Network) -> Match) -> Match {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => holds(Network::Range(first, last)),
        _ => Match::Perhaps,
    }
}

/// `80`, `8000:8010`, `22,80,8000:8010`.
fn of_ports(text: &str, holds: impl Fn(RangeInclusive<u16>) -> Match) -> Match {
    let each = text.split(',').map(|part| {
        let (low, high) = part.split_once(':').unwrap_or((part, part));
        let bound = |text: &str, open: u16| if text.is_empty() { Ok(open) } else { text.parse() };
        match (bound(low, 0), bound(high, u16::MAX)) {
            (Ok(low), Ok(high)) => holds(low..=high),
            _ => Match::Perhaps,
        }
    });
    each.fold(Match::No, Match::or)
}

/// `FIN,SYN,RST,ACK SYN`: of those first, these alone are set.
fn of_flags(mask: &str, value: &str, packet: &Packet) -> Match {
    let all = ["fin", "syn", "rst", "psh", "ack", "urg"];
    let has = |text: &str, flag: &str| {
        text == "ALL" || text.split(',').any(|it| it.eq_ignore_ascii_case(flag))
    };
    let mut tested = all.into_iter().filter(|flag| has(mask, flag));
    Match::of(tested.all(|flag| packet.flags().contains(&flag) == has(value, flag)))
}

/// Addresses of this host, of others, of many at once.
fn of_kind(kinds: &str, here: bool) -> Match {
    let kind = if here { "LOCAL" } else { "UNICAST" };
    Match::of(kinds.split(',').any(|it| it == kind))
}

/// `0x8000/0xff00`: of these bits those are set.
fn of_mark(text: &str, packet: &Packet) -> Match {
    let value = text.split('/').next().unwrap_or_default();
    let value = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => value.parse(),
    };
    value.map_or(Match::Perhaps, |value| packet.has_mark(value))
}

/// A set of addresses is for some callers, and not for this one.
fn of_set(name: &str, directions: &str, packet: &Packet) -> Match {
    match directions.split(',').next() {
        Some("src") if packet.source == Addresses::Anywhere => Match::No,
        Some("dst") if name.starts_with(BRIDGES) => Match::of(packet.forwarded),
        Some("dst") if packet.destination == Addresses::Anywhere => Match::No,
        _ => Match::Perhaps,
    }
}

//! What `iptables-save` says (iptables-save(8), iptables-extensions(8)), judged for one packet.

use ipnet::IpNet;

use super::chains::{Action, Base, Chain, Hook, Keeper, Rule};
use super::packet::{Match, Packet};

/// Tables that decide what passes, with the priority of their chains.
const TABLES: [(&str, i64); 3] = [("raw", -300), ("mangle", -150), ("filter", 0)];

/// The chains of the tables that decide what passes.
pub(super) fn chains(saved: &str, packet: &Packet) -> Vec<Chain> {
    let family = if packet.v6 { "ip6" } else { "ip" };
    let mut chains: Vec<Chain> = Vec::new();
    let mut table = None;
    for line in saved.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            table = TABLES.iter().find(|(known, _)| *known == name);
            continue;
        }
        let Some((name, priority)) = table else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (Some(chain), Some(policy)) = (words.next(), words.next()) else { continue };
            let hook = match chain {
                "PREROUTING" => Hook::Prerouting,
                "INPUT" => Hook::Input,
                "FORWARD" => Hook::Forward,
                _ => Hook::Other,
            };
            let is_base = policy != "-";
            let base = Base { hook, priority: *priority, drops: policy == "DROP" };
            chains.push(Chain {
                keeper: Keeper::Iptables,
                table: format!("{family} {name}"),
                name: chain.to_owned(),
                base: is_base.then_some(base),
                rules: Vec::new(),
            });
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let Some(words) = shlex::split(rule) else { continue };
            let Some((chain, words)) = words.split_first() else { continue };
            let table = format!("{family} {name}");
            if let Some(chain) = chains.iter_mut().find(|it| it.table == table && it.name == *chain)
            {
                chain.rules.push(judged(words, line, packet));
            }
        }
    }
    let known: Vec<(String, String)> =
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
    let mut rule = Rule { matches: Match::Yes, action: Action::Continue, text: line.to_owned() };
    let mut words = words.iter().map(String::as_str).peekable();
    let mut negated = false;
    while let Some(option) = words.next() {
        if option == "!" {
            negated = true;
            continue;
        }
        let mut value = || words.next().unwrap_or_default();
        let known = match option {
            "-s" | "--source" => of_network(value(), |it| packet.is_from(it)),
            "-d" | "--destination" => of_network(value(), |it| packet.is_to(it)),
            "-i" | "--in-interface" => packet.comes_by(value()),
            "-o" | "--out-interface" => packet.goes_by(value()),
            "-p" | "--protocol" => Match::of(matches!(value(), "tcp" | "all" | "6" | "0")),
            "--dport" | "--dports" | "--destination-ports" => of_ports(value(), packet.port),
            "--syn" => Match::Yes,
            "--ctstate" | "--state" => Match::of(value().split(',').any(|it| it == "NEW")),
            "--dst-type" if packet.forwarded => {
                let _ = value();
                Match::Perhaps
            }
            "--dst-type" => Match::of(value().split(',').any(|it| it == "LOCAL")),
            "-m" | "--match" => of_module(value()),
            "--comment" | "--reject-with" | "--log-prefix" | "--log-level" => {
                let _ = value();
                Match::Yes
            }
            "-j" | "--jump" => {
                rule.action = match value() {
                    "ACCEPT" => Action::Accept,
                    "DROP" => Action::Drop,
                    "REJECT" => Action::Reject,
                    "RETURN" => Action::Return,
                    target => Action::Jump(target.to_owned()),
                };
                Match::Yes
            }
            "-g" | "--goto" => {
                rule.action = Action::Goto(value().to_owned());
                Match::Yes
            }
            // Not understood: of its match, or an option of its target that does not matter.
            option if option.starts_with('-') && rule.action == Action::Continue => Match::Perhaps,
            // The value of such an option.
            _ => Match::Yes,
        };
        rule.matches = rule.matches.and(if negated { known.not() } else { known });
        negated = false;
    }
    rule
}

/// Modules whose options are understood, or say nothing about the packet. The others test what is
/// not known here: a rate, a time, a set.
fn of_module(name: &str) -> Match {
    match name {
        "tcp" | "multiport" | "conntrack" | "state" | "addrtype" | "comment" => Match::Yes,
        "udp" | "icmp" | "icmp6" | "sctp" => Match::No,
        _ => Match::Perhaps,
    }
}

fn of_network(text: &str, holds: impl Fn(IpNet) -> Match) -> Match {
    let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    network.map_or(Match::Perhaps, holds)
}

/// `80`, `8000:8010`, `22,80,8000:8010`.
fn of_ports(text: &str, port: u16) -> Match {
    let each = text.split(',').map(|part| {
        let (low, high) = part.split_once(':').unwrap_or((part, part));
        let bound = |text: &str, open: u16| if text.is_empty() { Ok(open) } else { text.parse() };
        match (bound(low, 0), bound(high, u16::MAX)) {
            (Ok(low), Ok(high)) => Match::of((low..=high).contains(&port)),
            _ => Match::Perhaps,
        }
    });
    each.fold(Match::No, Match::or)
}

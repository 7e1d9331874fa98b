//! What `nft --json list ruleset` says (libnftables-json(5)), judged for one packet.

mod expression;

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use self::expression::{Sets, mapped, matched, verdict};
use super::chains::{Action, Base, Chain, Hook, Keeper, Rule};
use super::packet::{Match, Packet};

/// The ruleset, as it was printed.
#[derive(Debug, Default)]
pub(super) struct Ruleset {
    objects: Vec<Value>,
    /// What only the text says.
    listing: Listing,
}

/// What `nft --handle list ruleset` says beyond.
#[derive(Debug, Default)]
struct Listing {
    /// The text of each rule, by its table and handle.
    rules: HashMap<(String, u64), String>,
    /// Tables that are turned off.
    dormant: HashSet<String>,
    /// The devices of a chain, by its table and name.
    devices: HashMap<(String, String), Vec<String>>,
}

impl Ruleset {
    /// Of both ways to print it.
    pub(super) fn new(mut json: Value, listing: &str) -> Self {
        let objects = match json["nftables"].take() {
            Value::Array(objects) => objects,
            _ => Vec::new(),
        };
        Self { objects, listing: Listing::read(listing) }
    }

    /// Whether there is a rule, or a chain that drops what no rule is for.
    pub(super) fn is_empty(&self) -> bool {
        !self.of("rule").any(|_| true) && !self.of("chain").any(|it| it["policy"] == "drop")
    }

    /// Everything of a kind.
    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter_map(move |object| object.get(kind))
    }

    /// Whether there is a table of this family and name.
    pub(super) fn has(&self, table_of: &str) -> bool {
        self.of("chain").any(|it| table(it) == table_of)
    }

    /// Tables that iptables keeps and has `saved`, such as `ip filter`: this program does not know
    /// all that is in their rules.
    ///
    /// Those of others may have the same names. iptables prints them as well, without the tests it
    /// does not know.
    pub(super) fn of_iptables(&self, saved: &[String; 2]) -> HashSet<String> {
        let capital = |it: &&Value| {
            let name = it["name"].as_str().unwrap_or_default();
            it.get("hook").is_some() && is_capital(name)
        };
        let mut tables: HashSet<String> = self.of("chain").filter(capital).map(table).collect();
        for rule in self.of("rule").filter(|rule| is_native(rule)) {
            tables.remove(&table(rule));
        }
        tables.retain(|table| {
            let (saved, name) = match table.split_once(' ') {
                Some(("ip", name)) => (&saved[0], name),
                Some(("ip6", name)) => (&saved[1], name),
                _ => return false,
            };
            saved.lines().any(|line| line.strip_prefix('*') == Some(name))
        });
        tables
    }

    /// Which of all chains this one is in the kernel's list.
    pub(super) fn number(&self, table_of: &str, name: &str) -> usize {
        let is = |it: &Value| it["name"] == name && table(it) == table_of;
        self.of("chain").position(is).unwrap_or_default()
    }

    /// The chains, without those of the tables that are `others`.
    pub(super) fn chains(&self, packet: &Packet, others: &HashSet<String>) -> Vec<Chain> {
        let mut sets: Sets<'_> = HashMap::new();
        for set in self.of("set").chain(self.of("map")) {
            if let Some(name) = set["name"].as_str() {
                sets.insert((table(set), name), &set["elem"]);
            }
        }
        let mut chains: Vec<Chain> = self
            .of("chain")
            .enumerate()
            .filter(|(_, it)| concerns(it["family"].as_str().unwrap_or_default(), packet))
            .filter(|(_, it)| !others.contains(&table(it)))
            .filter(|(_, it)| !self.listing.dormant.contains(&table(it)))
            .filter_map(|(number, it)| {
                Some(Chain {
                    keeper: Keeper::Nftables,
                    table: table(it),
                    name: it["name"].as_str()?.to_owned(),
                    base: self.base(it, number, packet),
                    rules: Vec::new(),
                })
            })
            .collect();
        let places: HashMap<(String, String), usize> = chains
            .iter()
            .enumerate()
            .map(|(at, chain)| ((chain.table.clone(), chain.name.clone()), at))
            .collect();
        for rule in self.of("rule") {
            let chain = rule["chain"].as_str().unwrap_or_default();
            let Some(at) = places.get(&(table(rule), chain.to_owned())) else { continue };
            let judged = self.judged(rule, &sets, packet);
            chains[*at].rules.push(judged);
        }
        chains
    }

    fn base(&self, chain: &Value, number: usize, packet: &Packet) -> Option<Base> {
        let hook = match chain["hook"].as_str()? {
            "ingress" => Hook::Ingress,
            "prerouting" => Hook::Prerouting,
            "input" => Hook::Input,
            "forward" => Hook::Forward,
            "output" => Hook::Output,
            "postrouting" => Hook::Postrouting,
            _ => Hook::Other,
        };
        let name = chain["name"].as_str().unwrap_or_default().to_owned();
        let devices = self.listing.devices.get(&(table(chain), name));
        let elsewhere =
            devices.is_some_and(|all| all.iter().all(|it| packet.comes_by(it) == Match::No));
        let hook = if hook == Hook::Ingress && elsewhere { Hook::Other } else { hook };
        let drops = chain["policy"] == "drop";
        let priority = chain["prio"].as_i64().unwrap_or_default();
        Some(Base { hook, priority, number, drops })
    }

    /// A rule: whether the packet matches, and what happens then.
    fn judged(&self, rule: &Value, sets: &Sets<'_>, packet: &Packet) -> Rule {
        let table = table(rule);
        let (matches, action, is_for_port) = judge(rule, &table, sets, packet);
        let handle = rule["handle"].as_u64().unwrap_or_default();
        let text = self.listing.rules.get(&(table, handle)).cloned();
        let text = text.unwrap_or_else(|| format!("handle {handle}"));
        Rule { matches, action, is_for_port, text }
    }
}

impl Listing {
    fn read(listing: &str) -> Self {
        let mut read = Self::default();
        let (mut table, mut chain) = (String::new(), String::new());
        for line in listing.lines().map(str::trim) {
            let (text, handle) = line.rsplit_once("# handle ").unwrap_or((line, ""));
            let text = text.trim();
            let name = |kind: &str| Some(text.strip_prefix(kind)?.strip_suffix('{')?.trim());
            if let Some(name) = name("table ") {
                name.clone_into(&mut table);
            } else if let Some(name) = name("chain ") {
                name.clone_into(&mut chain);
            } else if text == "flags dormant" {
                read.dormant.insert(table.clone());
            } else if let (true, Some(device)) = (text.starts_with("type "), text.find(" device")) {
                let devices = text[device..].split('"').skip(1).step_by(2).map(str::to_owned);
                read.devices.insert((table.clone(), chain.clone()), devices.collect());
            } else if let Ok(handle) = handle.trim().parse() {
                read.rules.insert((table.clone(), handle), text.to_owned());
            }
        }
        read
    }
}

/// The table of something, or a table's own name.
fn table(object: &Value) -> String {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    format!("{} {}", text("family"), text("table"))
}

/// Whether chains of this family see the packet.
fn concerns(family: &str, packet: &Packet) -> bool {
    matches!((family, packet.v6), ("inet" | "netdev", _) | ("ip", false) | ("ip6", true))
}

/// iptables writes its base chains so.
fn is_capital(name: &str) -> bool {
    ["INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"].contains(&name)
}

/// Whether iptables cannot have written this rule: it counts what each of its rules sees, and knows
/// neither sets nor maps.
fn is_native(rule: &Value) -> bool {
    let expressions = rule["expr"].as_array();
    let has = |kind: &str| expressions.into_iter().flatten().any(|it| it.get(kind).is_some());
    let of_set = |test: &Value| {
        let right = &test["right"];
        right.get("set").is_some() || right.as_str().is_some_and(|name| name.starts_with('@'))
    };
    let mut tests = expressions.into_iter().flatten().filter_map(|it| it.get("match"));
    !has("counter") || has("vmap") || has("set") || (tests.any(of_set) && !has("xt"))
}

/// Whether the packet matches, what happens then, and whether the rule is for its port.
fn judge(rule: &Value, table: &str, sets: &Sets<'_>, packet: &Packet) -> (Match, Action, bool) {
    let mut matches = Match::Yes;
    // The first packets of many pass what limits their rate.
    let mut is_limited = false;
    let mut is_for_port = false;
    for statement in rule["expr"].as_array().into_iter().flatten() {
        let Some((kind, value)) = statement.as_object().and_then(|it| it.iter().next()) else {
            continue;
        };
        match kind.as_str() {
            "match" => {
                let matched = matched(value, table, sets, packet);
                is_for_port |= is_of_port(value) && matched == Match::Yes;
                matches = matches.and(matched);
            }
            "vmap" => {
                let (found, action) = mapped(value, table, sets, packet);
                if let Some(action) = action {
                    return (matches.and(found), action, is_for_port);
                }
                if found == Match::Perhaps {
                    return (Match::Perhaps, Action::Accept, is_for_port);
                }
            }
            "limit" | "ct count" | "set" | "meter" => match rate(kind, value) {
                Some(Rate::Over) => matches = Match::No,
                Some(Rate::Within) => is_limited = true,
                None => {}
            },
            // What iptables wrote into a table of others; only its name is shown.
            "xt" => match hidden(value) {
                Hidden::Nothing => {}
                Hidden::Test => {
                    is_for_port = true;
                    matches = matches.and(Match::Perhaps);
                }
                Hidden::Reject => return (matches, Action::Reject, is_for_port),
            },
            // They change or note something, and let go on.
            "counter" | "log" | "comment" | "mangle" | "notrack" | "meta" | "ct helper"
            | "ct timeout" | "ct expectation" | "flow" | "dup" | "last" | "map" => {}
            _ => match verdict(statement) {
                Some(action) => {
                    let ends = matches!(action, Action::Drop | Action::Reject);
                    let certain = if is_limited && !ends { Match::Perhaps } else { Match::Yes };
                    return (matches.and(certain), action, is_for_port);
                }
                // Such as a quota.
                None => matches = matches.and(Match::Perhaps),
            },
        }
    }
    (matches, Action::Continue, is_for_port)
}

/// What iptables hides.
enum Hidden {
    Nothing,
    Test,
    Reject,
}

fn hidden(extension: &Value) -> Hidden {
    match (extension["type"].as_str(), extension["name"].as_str()) {
        (Some("match"), Some("comment")) => Hidden::Nothing,
        (Some("target"), Some("REJECT")) => Hidden::Reject,
        // It changes or notes something.
        (Some("target"), _) => Hidden::Nothing,
        _ => Hidden::Test,
    }
}

fn is_of_port(test: &Value) -> bool {
    let of = |it: &Value| it["payload"]["field"] == "dport" || it["ct"]["key"] == "proto-dst";
    let left = &test["left"];
    of(left) || left["concat"].as_array().is_some_and(|parts| parts.iter().any(of))
}

/// How many packets a rule is for.
enum Rate {
    /// Those that come too fast.
    Over,
    /// Those that do not.
    Within,
}

/// Of a statement that counts, alone or for each element of a set.
fn rate(kind: &str, value: &Value) -> Option<Rate> {
    let counts = match kind {
        "limit" | "ct count" => Some(value),
        _ => {
            let nested = value["stmt"].as_array().into_iter().flatten().chain([&value["stmt"]]);
            let mut counts = nested.filter_map(|it| it.get("limit").or(it.get("ct count")));
            counts.next()
        }
    };
    counts.map(|it| if it["inv"] == true { Rate::Over } else { Rate::Within })
}

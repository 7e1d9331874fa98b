//! The host's packet filter: whether the first packet of a new connection from outside passes, and
//! which rule ends it if not.
//!
//! The rules are read from nftables and iptables, whoever wrote them, and the packet's way through
//! them is followed. A test that is not understood is taken as not met; when it might have let the
//! packet pass, the finding says so.

mod chains;
mod interfaces;
mod iptables;
mod nft;
mod packet;
mod remedy;
#[cfg(test)]
mod tests;
mod way;

use std::net::{IpAddr, SocketAddr};

use self::chains::{Fate, Keeper, Place};
use self::packet::Stage;
use self::remedy::Manager;
use self::way::{Leg, Way};
use super::command::{self, CommandError};
use super::door::Door;
use super::facts::Facts;
use super::finding::{Depth, Finding, Remedy, Text};

/// Tables of the older kind, which only their own program shows.
const LEGACY: [&str; 2] = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
/// Whether the host passes packets on, which containers need.
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// The rules of this host.
#[derive(Debug, Default)]
struct Rules {
    nft: nft::Ruleset,
    /// As text: it has addresses the way people write them.
    listing: String,
    iptables: [String; 2],
    legacy: [String; 2],
    manager: Option<Manager>,
}

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let doors = facts.doors().await;
    if !facts.is_root() {
        return vec![unseen().await];
    }
    let rules = match Rules::read().await {
        Ok(rules) => rules,
        Err(error) => return vec![unreadable(&error)],
    };
    let v6 = has_ipv6(facts).await;
    let outer: Vec<Door> = doors.iter().filter(|door| !door.is_local()).cloned().collect();
    let mut ways = Vec::new();
    for door in &outer {
        ways.push(Way::of(facts, door, false).await);
        if v6 && door.bound.iter().any(|bound| bound.is_ipv6()) {
            ways.push(Way::of(facts, door, true).await);
        }
    }
    // Sets of addresses can be long.
    let judge = move || {
        let mut findings: Vec<Finding> = Vec::new();
        for door in &outer {
            let mut ways = ways.iter().filter(|way| way.door == *door);
            findings.extend(ways.find_map(|way| way.obstacle(&rules)));
        }
        if findings.is_empty() && !outer.is_empty() {
            findings.push(open(&rules, &outer));
        }
        findings
    };
    match tokio::task::spawn_blocking(judge).await {
        Ok(findings) => findings,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Whether the host has an address that the outside reaches by IPv6.
async fn has_ipv6(facts: &Facts) -> bool {
    let is_global = |ip: &IpAddr| ip.is_ipv6() && crate::outbound::is_public(*ip);
    facts.private_addresses().await.iter().any(is_global)
}

impl Rules {
    async fn read() -> Result<Self, CommandError> {
        let save = |v6: bool| async move {
            let legacy = std::fs::read_to_string(LEGACY[usize::from(v6)]);
            let programs = if v6 {
                ["ip6tables-save", "ip6tables-legacy-save"]
            } else {
                ["iptables-save", "iptables-legacy-save"]
            };
            let saved = command::output(programs[0], &[]).await.unwrap_or_default();
            let legacy = match legacy {
                Ok(tables) if !tables.trim().is_empty() => {
                    command::output(programs[1], &[]).await.unwrap_or_default()
                }
                _ => String::new(),
            };
            // Where the older kind is the usual one, both say the same.
            (saved.clone(), if legacy == saved { String::new() } else { legacy })
        };
        let (nft, listing, v4, v6, manager) = tokio::join!(
            command::output("nft", &["--json", "list", "ruleset"]),
            command::output("nft", &["--handle", "list", "ruleset"]),
            save(false),
            save(true),
            Manager::find(),
        );
        let nft = match nft {
            Ok(json) => serde_json::from_str(&json).unwrap_or_default(),
            Err(CommandError::Missing(_)) => serde_json::Value::Null,
            Err(error) => return Err(error),
        };
        let listing = listing.unwrap_or_default();
        let nft = nft::Ruleset::new(nft, &listing);
        let (iptables, legacy) = ([v4.0, v6.0], [v4.1, v6.1]);
        Ok(Self { nft, listing, iptables, legacy, manager })
    }

    /// What becomes of a packet on a leg of its way.
    fn fate(&self, Leg { hook, priorities, packet }: &Leg) -> Fate {
        let family = usize::from(packet.v6);
        let theirs = self.nft.of_iptables(&self.iptables);
        let is_others = |table: &str| self.nft.has(table) && !theirs.contains(table);
        let number = |table: &str, name: &str| self.nft.number(table, name);
        let mut chains = self.nft.chains(packet, &theirs);
        chains.extend(iptables::chains(&self.iptables[family], packet, is_others, number));
        match chains::fate(&chains, *hook, priorities) {
            Fate::Passes(perhaps) => {
                let legacy = iptables::chains(&self.legacy[family], packet, |_| false, |_, _| 0);
                match chains::fate(&legacy, *hook, priorities) {
                    Fate::Passes(other) => Fate::Passes(perhaps.or(other)),
                    fate => fate,
                }
            }
            fate => fate,
        }
    }

    /// Whether some rule sends connections on to this place.
    fn translate(&self, address: IpAddr, port: u16) -> bool {
        let place = SocketAddr::new(address, port).to_string();
        let texts = self.iptables.iter().chain(&self.legacy).chain([&self.listing]);
        texts.into_iter().any(|text| {
            text.match_indices(&place).any(|(at, _)| {
                !text[at + place.len()..].starts_with(|next: char| next.is_ascii_digit())
            })
        })
    }

    /// Whether some rule gives packets a mark.
    fn mark(&self) -> bool {
        let saved = self.iptables.iter().chain(&self.legacy);
        let marks =
            |text: &String| ["MARK --", "mark set"].iter().any(|words| text.contains(words));
        saved.chain([&self.listing]).any(marks)
    }

    /// Whether nothing could stop anything.
    fn is_empty(&self) -> bool {
        let mut saved = self.iptables.iter().chain(&self.legacy);
        let stops = |saved: &String| saved.contains("\n-A ") || saved.contains(" DROP [");
        self.nft.is_empty() && !saved.any(stops)
    }
}

impl Way {
    /// Where the way ends before the door, or might.
    fn obstacle(&self, rules: &Rules) -> Option<Finding> {
        let container = self.container(|address, port| rules.translate(address, port));
        let mut perhaps = None;
        for leg in self.legs(container, rules.mark()) {
            let (rejected, place) = match rules.fate(&leg) {
                Fate::Passes(Some(place)) => {
                    perhaps.get_or_insert((leg, place));
                    continue;
                }
                Fate::Passes(None) => continue,
                Fate::Dropped(place) => (false, place),
                Fate::Rejected(place) => (true, place),
            };
            return Some(self.stopped(rules, &leg, rejected, &place));
        }
        let forwards = std::fs::read_to_string(FORWARDING);
        let forwards = forwards.map_or(true, |value| value.trim() != "0");
        if container.is_some() && !self.v6 && !forwards {
            return Some(no_forwarding(self.door.port));
        }
        perhaps.map(|(leg, place)| self.unclear(rules, &leg, &place))
    }

    fn stopped(&self, rules: &Rules, leg: &Leg, rejected: bool, place: &Place) -> Finding {
        let (by, rule) = (by(rules, place), words_of(place));
        let (zh, en) = if rejected { ("拒绝", "rejects") } else { ("丢弃", "drops") };
        let what = self.what(leg);
        let seen = Text::new(
            format!("主机防火墙（{by}）{zh}{}：{rule}", what.0),
            format!("the host's firewall ({by}) {en} {}: {rule}", what.1),
        );
        let remedy = remedy::to_pass(rules.manager, place, &leg.packet);
        if let Some(doubt) = &place.doubt {
            let seen = Text::new(
                format!("{}；不过这一条可能放行，这里判断不了：{doubt}", seen.chinese()),
                format!(
                    "{}; this may let it pass, and is not understood here: {doubt}",
                    seen.english()
                ),
            );
            return Finding::unseen("firewall_unclear", seen, remedy);
        }
        // The caller is not told that an answer was rejected: that is between the host and itself.
        let is_told = rejected && leg.packet.is_from_caller();
        let code = match (leg.packet.forwarded, is_told) {
            (true, _) => "forwarding_dropped",
            (false, true) => "firewall_rejects",
            (false, false) => "firewall_drops",
        };
        Finding::failed(code, Depth::Firewall, seen, remedy)
    }

    fn unclear(&self, rules: &Rules, leg: &Leg, place: &Place) -> Finding {
        let (by, rule) = (by(rules, place), words_of(place));
        let what = self.what(leg);
        Finding::unseen(
            "firewall_unclear",
            Text::new(
                format!("主机防火墙（{by}）可能拦截{}，这里判断不了：{rule}", what.0),
                format!(
                    "the host's firewall ({by}) may stop {}, which is not understood here: {rule}",
                    what.1
                ),
            ),
            remedy::to_pass(rules.manager, place, &leg.packet),
        )
    }

    /// Which packets, in Chinese and in English.
    fn what(&self, leg: &Leg) -> (String, String) {
        let port = self.door.port;
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        let (zh, en) =
            if leg.packet.forwarded { ("容器", " of the container") } else { ("", "") };
        let on = if leg.packet.forwarded {
            ("转发给容器的", "on to the container ")
        } else {
            ("", "")
        };
        match leg.packet.stage {
            Stage::Opening => (
                format!("{}发往 TCP {port} 的新连接（{family}）", on.0),
                format!("new connections {}to TCP {port} ({family})", on.1),
            ),
            Stage::Answer => (
                format!("{zh}从 TCP {port} 发出的应答（{family}）"),
                format!("the answers{en} from TCP {port} ({family})"),
            ),
            Stage::Following => (
                format!("{}发往 TCP {port} 的后续报文（{family}），连接建立后就不通", on.0),
                format!("what follows in connections {}to TCP {port} ({family})", on.1),
            ),
        }
    }
}

/// Who keeps the rule.
fn by(rules: &Rules, place: &Place) -> String {
    let by = match place.keeper {
        Keeper::Nftables => "nftables",
        Keeper::Iptables => "iptables",
    };
    rules.manager.map_or_else(|| by.to_owned(), |manager| format!("{}, {by}", manager.name()))
}

/// The rule, with where it stands.
fn words_of(place: &Place) -> String {
    let Place { table, chain, .. } = place;
    match &place.rule {
        Some(rule) => format!("{table} {chain}: {rule}"),
        None => format!("{table} {chain}: policy drop"),
    }
}

fn no_forwarding(port: u16) -> Finding {
    Finding::failed(
        "forwarding_dropped",
        Depth::Firewall,
        Text::new(
            format!("内核没有开启转发（net.ipv4.ip_forward = 0），端口 {port} 到不了容器"),
            format!(
                "the kernel passes nothing on (net.ipv4.ip_forward = 0), so that port {port} does \
                 not lead to the container"
            ),
        ),
        Remedy::new(Text::new(
            "开启转发；写进 /etc/sysctl.d/ 才能在重启后保持",
            "Turn it on; a file in /etc/sysctl.d/ keeps it so after a reboot",
        ))
        .command("sudo sysctl -w net.ipv4.ip_forward=1"),
    )
}

fn open(rules: &Rules, doors: &[Door]) -> Finding {
    let ports: Vec<String> = doors.iter().map(|door| door.port.to_string()).collect();
    let ports = ports.join(", ");
    if rules.is_empty() {
        return Finding::fine(
            "firewall_open",
            Text::new("主机上没有防火墙规则", "there are no firewall rules on this host"),
        );
    }
    let manager = rules.manager.map_or(String::new(), |it| format!(" ({})", it.name()));
    Finding::fine(
        "firewall_open",
        Text::new(
            format!("主机防火墙{manager}放行 TCP {ports}"),
            format!("the host's firewall{manager} lets TCP {ports} pass"),
        ),
    )
}

/// Without root the rules are hidden; whether there are some is not.
async fn unseen() -> Finding {
    let units = ["ufw", "firewalld", "nftables"];
    let state = command::output("systemctl", &["is-active", units[0], units[1], units[2]]).await;
    let state = match &state {
        Ok(state) => state.clone(),
        // It ends with an error when one of them is not active.
        Err(_) => String::new(),
    };
    let active = units.iter().zip(state.lines()).filter(|(_, state)| *state == "active");
    let active: Vec<&str> = active.map(|(unit, _)| *unit).collect();
    let (zh, en) = if active.is_empty() {
        Default::default()
    } else {
        let active = active.join(", ");
        (format!("（{active} 正在运行）"), format!(" ({active} is active)"))
    };
    Finding::unseen(
        "firewall_unseen",
        Text::new(
            format!("没有 root 权限，看不到主机防火墙的规则{zh}"),
            format!("the rules of the host's firewall are hidden from this user{en}"),
        ),
        Remedy::new(Text::new("用 root 运行", "Run it as root")).command("sudo dingbot doctor"),
    )
}

fn unreadable(error: &CommandError) -> Finding {
    Finding::unseen(
        "firewall_unseen",
        Text::new(
            format!("读不到主机防火墙的规则：{error}"),
            format!("the rules of the host's firewall cannot be read: {error}"),
        ),
        Remedy::new(Text::new("手动查看", "Look at them by hand")).command("sudo nft list ruleset"),
    )
}

//! The host's packet filter: whether the first packet of a new connection from outside passes, and
//! which rule ends it if not.
//!
//! The rules are read from nftables and iptables, whoever wrote them, and the packet's way through
//! them is followed. A test that is not understood is taken as not met; when it might have let the
//! packet pass, the finding says so.

mod chains;
mod iptables;
mod nft;
mod packet;
mod remedy;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use self::chains::{Fate, Hook, Keeper, Place};
use self::packet::Packet;
use self::remedy::Manager;
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
    nft: serde_json::Value,
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
    let mut findings = Vec::new();
    for door in doors.iter().filter(|door| !door.is_local()) {
        let mut ways = vec![Way::of(facts, door, false).await];
        if v6 && door.bound.iter().any(|bound| bound.is_ipv6()) {
            ways.push(Way::of(facts, door, true).await);
        }
        findings.extend(ways.iter().filter_map(|way| way.obstacle(&rules)));
    }
    if findings.is_empty() && doors.iter().any(|door| !door.is_local()) {
        findings.push(open(&rules, doors));
    }
    findings
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
        let (iptables, legacy) = ([v4.0, v6.0], [v4.1, v6.1]);
        Ok(Self { nft, listing, iptables, legacy, manager })
    }

    /// What becomes of a packet at `hook`.
    fn fate(&self, packet: &Packet, hook: Hook) -> Fate {
        let family = usize::from(packet.v6);
        let mut chains = nft::chains(&self.nft, &self.listing, packet);
        chains.extend(iptables::chains(&self.iptables[family], packet));
        match chains::fate(&chains, hook) {
            Fate::Passes => {
                let legacy = iptables::chains(&self.legacy[family], packet);
                chains::fate(&legacy, hook)
            }
            fate => fate,
        }
    }

    /// How many base chains there are that could stop something.
    fn is_empty(&self) -> bool {
        let rules = self.nft["nftables"]
            .as_array()
            .is_some_and(|all| all.iter().any(|object| object.get("rule").is_some()));
        let saved = self.iptables.iter().chain(&self.legacy);
        !rules && !saved.into_iter().any(|saved| saved.contains("\n-A "))
    }
}

/// The way of a packet to a door: its legs, each with the hook that it passes.
struct Way<'a> {
    door: &'a Door,
    v6: bool,
    legs: Vec<(Hook, Packet)>,
    forwarded: bool,
}

impl<'a> Way<'a> {
    async fn of(facts: &Facts, door: &'a Door, v6: bool) -> Self {
        let packet = Packet {
            source: facts.visitor().map(|network| network.addr()).filter(|it| it.is_ipv6() == v6),
            v6,
            port: door.port,
            destination: None,
            from: packet::outer_interfaces(v6),
            forwarded: false,
        };
        let containers = facts.docker().await.containers();
        let behind = door.container.as_ref().and_then(|behind| {
            let container = containers.iter().find(|it| it.name == behind.name)?;
            let address = container.addresses.iter().copied().find(|it| it.is_ipv6() == v6)?;
            (!container.host_network).then_some((address, behind.port))
        });
        let mut legs = vec![(Hook::Prerouting, packet.clone())];
        match behind {
            // Docker's own rules translate the address; then the packet is passed on.
            Some((address, port)) => legs.push((
                Hook::Forward,
                Packet { port, destination: Some(address), forwarded: true, ..packet },
            )),
            // A process of this host takes it, docker-proxy or the bot.
            None => legs.push((Hook::Input, packet)),
        }
        Self { door, v6, legs, forwarded: behind.is_some() }
    }

    /// Where the way ends before the door.
    fn obstacle(&self, rules: &Rules) -> Option<Finding> {
        for (hook, packet) in &self.legs {
            let (rejected, place) = match rules.fate(packet, *hook) {
                Fate::Passes => continue,
                Fate::Dropped(place) => (false, place),
                Fate::Rejected(place) => (true, place),
            };
            return Some(self.stopped(rules, *hook, packet, rejected, &place));
        }
        let forwards = std::fs::read_to_string(FORWARDING);
        let forwards = forwards.map_or(true, |value| value.trim() != "0");
        (self.forwarded && !self.v6 && !forwards).then(|| no_forwarding(self.door.port))
    }

    fn stopped(
        &self,
        rules: &Rules,
        hook: Hook,
        packet: &Packet,
        rejected: bool,
        place: &Place,
    ) -> Finding {
        let port = self.door.port;
        let who = rules.manager.map_or("", Manager::name);
        let by = match place.keeper {
            Keeper::Nftables => "nftables",
            Keeper::Iptables => "iptables",
        };
        let by = if who.is_empty() { by.to_owned() } else { format!("{who}, {by}") };
        let rule = match &place.rule {
            Some(rule) => format!("{} {}: {rule}", place.table, place.chain),
            None => format!("{} {}: policy drop", place.table, place.chain),
        };
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        let (zh, en) = if rejected { ("拒绝", "rejects") } else { ("丢弃", "drops") };
        let what = if hook == Hook::Forward {
            ("转发给容器的", "on to the container ")
        } else {
            ("", "")
        };
        let seen = Text::new(
            format!("主机防火墙（{by}）{zh}{}发往 TCP {port} 的新连接（{family}）：{rule}", what.0),
            format!(
                "the host's firewall ({by}) {en} new connections {}to TCP {port} ({family}): {rule}",
                what.1
            ),
        );
        let remedy = remedy::to_pass(rules.manager, place, packet, hook);
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
        let code = match (hook, rejected) {
            (Hook::Forward, _) => "forwarding_dropped",
            (_, true) => "firewall_rejects",
            (_, false) => "firewall_drops",
        };
        Finding::failed(code, Depth::Firewall, seen, remedy)
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
    let ports: Vec<String> =
        doors.iter().filter(|door| !door.is_local()).map(|door| door.port.to_string()).collect();
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

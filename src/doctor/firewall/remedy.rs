//! What lets the packet pass, in the words of whoever keeps the rules.

use super::chains::{Keeper, Place};
use super::packet::{Packet, Stage};
use crate::doctor::command;
use crate::doctor::finding::{Remedy, Text};

/// A program that writes the rules for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    Ufw,
    Firewalld,
}

impl Manager {
    /// The one that is active.
    pub(super) async fn find() -> Option<Self> {
        let (ufw, firewalld) = tokio::join!(
            command::output("ufw", &["status"]),
            command::output("firewall-cmd", &["--state"]),
        );
        if ufw.is_ok_and(|status| status.starts_with("Status: active")) {
            return Some(Self::Ufw);
        }
        firewalld.is_ok_and(|state| state.trim() == "running").then_some(Self::Firewalld)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
        }
    }

    /// Whether this place is one of its own.
    fn wrote(self, place: &Place) -> bool {
        match self {
            Self::Ufw => {
                place.keeper == Keeper::Iptables
                    && (place.chain.starts_with("ufw") || place.rule.is_none())
            }
            Self::Firewalld => place.table.ends_with(" firewalld"),
        }
    }
}

/// What lets `packet` pass at `place`.
pub(super) fn to_pass(manager: Option<Manager>, place: &Place, packet: &Packet) -> Remedy {
    let keep = |how: &str, file: &str| {
        let (zh, en) = match packet.stage {
            Stage::Opening => ("放行这个端口", "Let the port pass"),
            _ => ("放行已建立的连接", "Let connections go on that are established"),
        };
        Text::new(
            format!("{zh}；{how}，重启后才不会丢"),
            format!("{en}; {file} keeps it so after a reboot"),
        )
    };
    let port = packet.port.or(packet.source_port).unwrap_or(packet.asked);
    match (manager.filter(|manager| manager.wrote(place)), place.keeper) {
        (Some(Manager::Ufw), _) => {
            let command = if packet.forwarded {
                format!("sudo ufw route allow proto tcp from any to any port {port}")
            } else {
                format!("sudo ufw allow {port}/tcp")
            };
            Remedy::new(Text::new("在 ufw 里放行这个端口", "Allow the port in ufw"))
                .command(command)
        }
        (Some(Manager::Firewalld), _) => {
            Remedy::new(Text::new("在 firewalld 里放行这个端口", "Allow the port in firewalld"))
                .command(format!("sudo firewall-cmd --permanent --add-port={port}/tcp"))
                .command("sudo firewall-cmd --reload")
        }
        (None, Keeper::Nftables) => {
            let text = keep("把规则写进 /etc/nftables.conf", "a line in /etc/nftables.conf");
            let (table, chain) = (&place.table, &place.base);
            let test = match (packet.stage, packet.tracked) {
                (Stage::Opening, _) | (Stage::Following, false) => format!("tcp dport {port}"),
                (Stage::Answer, false) => format!("tcp sport {port}"),
                (_, true) => "ct state established,related".to_owned(),
            };
            Remedy::new(text).command(format!("sudo nft insert rule {table} {chain} {test} accept"))
        }
        (None, Keeper::Iptables) => {
            let text = keep("用 netfilter-persistent save 保存", "netfilter-persistent save");
            let program = if packet.v6 { "ip6tables" } else { "iptables" };
            let table = place.table.rsplit(' ').next().unwrap_or("filter");
            let table = if table == "filter" { String::new() } else { format!("-t {table} ") };
            let test = match (packet.stage, packet.tracked) {
                (Stage::Opening, _) | (Stage::Following, false) => format!("-p tcp --dport {port}"),
                (Stage::Answer, false) => format!("-p tcp --sport {port}"),
                (_, true) => "-m conntrack --ctstate RELATED,ESTABLISHED".to_owned(),
            };
            let chain = &place.base;
            Remedy::new(text).command(format!("sudo {program} {table}-I {chain} {test} -j ACCEPT"))
        }
    }
}

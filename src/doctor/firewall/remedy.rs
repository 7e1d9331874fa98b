//! What lets the packet pass, in the words of whoever keeps the rules.

use super::chains::{Hook, Keeper, Place};
use super::packet::Packet;
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
pub(super) fn to_pass(
    manager: Option<Manager>,
    place: &Place,
    packet: &Packet,
    hook: Hook,
) -> Remedy {
    let port = packet.port;
    let keep = |how: &str, file: &str| {
        Text::new(
            format!("放行这个端口；{how}，重启后才不会丢"),
            format!("Let the port pass; {file} keeps it so after a reboot"),
        )
    };
    match (manager.filter(|manager| manager.wrote(place)), place.keeper) {
        (Some(Manager::Ufw), _) => {
            let command = match hook {
                Hook::Forward => {
                    format!("sudo ufw route allow proto tcp from any to any port {port}")
                }
                _ => format!("sudo ufw allow {port}/tcp"),
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
            let command = format!("sudo nft insert rule {table} {chain} tcp dport {port} accept");
            Remedy::new(text).command(command)
        }
        (None, Keeper::Iptables) => {
            let text = keep("用 netfilter-persistent save 保存", "netfilter-persistent save");
            let program = if packet.v6 { "ip6tables" } else { "iptables" };
            let table = place.table.rsplit(' ').next().unwrap_or("filter");
            let table = if table == "filter" { String::new() } else { format!("-t {table} ") };
            let chain = &place.base;
            let command =
                format!("sudo {program} {table}-I {chain} -p tcp --dport {port} -j ACCEPT");
            Remedy::new(text).command(command)
        }
    }
}

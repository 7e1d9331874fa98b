//! The way of a connection through this host to a door: which packet passes which chains.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::chains::Hook;
use super::interfaces;
use super::packet::{Addresses, Packet, Stage};
use crate::doctor::door::Door;
use crate::doctor::facts::Facts;

/// Chains before the kernel looks for the connection of a packet, and those behind
/// (`NF_IP_PRI_CONNTRACK`).
const UNTRACKED: RangeInclusive<i64> = i64::MIN..=-201;
const TRACKED: RangeInclusive<i64> = -200..=i64::MAX;
/// Of the latter those before the address is translated, and behind (`NF_IP_PRI_NAT_DST`).
const UNTRANSLATED: RangeInclusive<i64> = -200..=-101;
const TRANSLATED: RangeInclusive<i64> = -100..=i64::MAX;
/// Everything at a hook.
const ALL: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// One leg of the way: chains, and the packet as they see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) hook: Hook,
    pub(super) priorities: RangeInclusive<i64>,
    pub(super) packet: Packet,
}

/// The way to a door.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) door: Door,
    pub(super) v6: bool,
    /// The container's address and port, if the way can lead to one.
    container: Option<(IpAddr, u16)>,
    /// The opening packet, before anything is done to it.
    packet: Packet,
}

impl Way {
    pub(super) async fn of(facts: &Facts, door: &Door, v6: bool) -> Self {
        let source = facts.visitor().map(|network| network.addr());
        let own = facts.private_addresses().await.into_iter();
        // Of those the door is open at, if it is not open at all.
        let is_open =
            |ip: &IpAddr| door.bound.iter().any(IpAddr::is_unspecified) || door.bound.contains(ip);
        let own = own.filter(|ip| ip.is_ipv6() == v6 && is_open(ip)).collect();
        let packet = Packet {
            stage: Stage::Opening,
            v6,
            source: match source.filter(|it| it.is_ipv6() == v6) {
                Some(source) => Addresses::OneOf(vec![source]),
                None => Addresses::Anywhere,
            },
            destination: Addresses::OneOf(own),
            source_port: None,
            port: Some(door.port),
            from: Some(interfaces::outer(v6)),
            to: None,
            asked: door.port,
            forwarded: false,
            tracked: true,
            marked: false,
        };
        let containers = facts.docker().await.containers();
        let container = door.container.as_ref().and_then(|behind| {
            let container = containers.iter().find(|it| it.name == behind.name)?;
            let address = container.addresses.iter().copied().find(|it| it.is_ipv6() == v6)?;
            (!container.host_network).then_some((address, behind.port))
        });
        Self { door: door.clone(), v6, container, packet }
    }

    /// Where the rules of `is_translated` send the packet: on to the container, or, when they do
    /// not, to a process of this host, docker-proxy or the bot.
    pub(super) fn container(
        &self,
        is_translated: impl Fn(IpAddr, u16) -> bool,
    ) -> Option<(IpAddr, u16)> {
        self.container.filter(|(address, port)| is_translated(*address, *port))
    }

    /// The legs, in the order in which they are passed; `marked`: some rule gives marks.
    pub(super) fn legs(&self, container: Option<(IpAddr, u16)>, marked: bool) -> Vec<Leg> {
        let mut legs = Vec::new();
        for stage in [Stage::Opening, Stage::Answer, Stage::Following] {
            let packet = Packet { stage, marked, ..self.packet.clone() };
            legs.extend(match (container, stage) {
                (None, Stage::Answer) => answered(packet),
                (None, _) => received(packet),
                (Some(container), Stage::Answer) => sent_back(packet, container),
                (Some(container), _) => sent_on(packet, container),
            });
        }
        legs
    }
}

fn leg(hook: Hook, priorities: RangeInclusive<i64>, packet: &Packet) -> Leg {
    let tracked = hook != Hook::Ingress && priorities != UNTRACKED;
    Leg { hook, priorities, packet: Packet { tracked, ..packet.clone() } }
}

/// A process of this host gets it.
fn received(packet: Packet) -> Vec<Leg> {
    vec![
        leg(Hook::Ingress, ALL, &packet),
        leg(Hook::Prerouting, UNTRACKED, &packet),
        leg(Hook::Prerouting, TRACKED, &packet),
        leg(Hook::Input, ALL, &packet),
    ]
}

/// A process of this host answers.
fn answered(packet: Packet) -> Vec<Leg> {
    let packet = Packet { to: packet.from.clone(), from: None, ..turned(packet) };
    vec![
        leg(Hook::Output, UNTRACKED, &packet),
        leg(Hook::Output, TRACKED, &packet),
        leg(Hook::Postrouting, ALL, &packet),
    ]
}

/// A container gets it.
fn sent_on(packet: Packet, (address, port): (IpAddr, u16)) -> Vec<Leg> {
    let translated = Packet {
        destination: Addresses::OneOf(vec![address]),
        port: Some(port),
        forwarded: true,
        ..packet.clone()
    };
    let routed = Packet { to: Some(inner(address)), ..translated.clone() };
    vec![
        leg(Hook::Ingress, ALL, &packet),
        leg(Hook::Prerouting, UNTRACKED, &packet),
        leg(Hook::Prerouting, UNTRANSLATED, &packet),
        leg(Hook::Prerouting, TRANSLATED, &translated),
        leg(Hook::Forward, ALL, &routed),
        leg(Hook::Postrouting, ALL, &routed),
    ]
}

/// A container answers.
fn sent_back(packet: Packet, (address, port): (IpAddr, u16)) -> Vec<Leg> {
    let outer = packet.from.clone();
    let packet = Packet {
        source: Addresses::OneOf(vec![address]),
        source_port: Some(port),
        from: Some(inner(address)),
        forwarded: true,
        ..turned(packet)
    };
    let routed = Packet { to: outer, ..packet.clone() };
    vec![
        leg(Hook::Prerouting, UNTRACKED, &packet),
        leg(Hook::Prerouting, TRACKED, &packet),
        leg(Hook::Forward, ALL, &routed),
        leg(Hook::Postrouting, ALL, &routed),
    ]
}

/// Who sent it gets it.
fn turned(packet: Packet) -> Packet {
    Packet {
        source: packet.destination,
        destination: packet.source,
        source_port: packet.port,
        port: packet.source_port,
        ..packet
    }
}

/// The interface that leads to a container.
fn inner(address: IpAddr) -> Vec<String> {
    interfaces::towards(address).into_iter().collect()
}

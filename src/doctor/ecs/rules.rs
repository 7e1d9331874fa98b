//! The rules of security groups, and what they come to, as ECS evaluates them.
//!
//! The rules of all groups of an instance are one list. The lower number goes first, and of the
//! same number a rule that drops; the first rule that matches decides, and what none matches is
//! dropped ("Security group rules", `AuthorizeSecurityGroup`). Basic and enterprise groups differ
//! in what their own instances may do to each other, which is nothing to the outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::doctor) enum Policy {
    /// Goes first among rules of one priority.
    Drop,
    /// Lets it in.
    Accept,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum Sources {
    /// These networks: one that is written in the rule, or those of a prefix list.
    Networks(Vec<IpNet>),
    /// Instances of another group, by their private addresses.
    Group(String),
    /// A prefix list, or a port list, whose content could not be read.
    Unknown(String),
}

/// A rule for incoming packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct Rule {
    /// `sgr-…`; groups of old have rules without one.
    pub(in crate::doctor) id: String,
    /// The group it belongs to.
    pub(in crate::doctor) group: String,
    pub(in crate::doctor) policy: Policy,
    /// 1 to 100; the lower one goes first.
    pub(in crate::doctor) priority: u8,
    /// Whether it is about TCP.
    pub(in crate::doctor) tcp: bool,
    /// The ports, as ranges from first to last.
    pub(in crate::doctor) ports: Vec<(u16, u16)>,
    pub(in crate::doctor) sources: Sources,
}

/// The family of addresses a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Family {
    V4,
    V6,
}

/// From where a port is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct Opening<'a> {
    /// The networks it is open to, the fewest there can be, in order.
    pub(in crate::doctor) open: Vec<IpNet>,
    /// What each rule decides of; the rule that decides of most goes first. What is not in here
    /// matches no rule.
    pub(in crate::doctor) decided: Vec<(&'a Rule, Vec<IpNet>)>,
    /// Rules about the port that let in, and are overruled in all they say.
    pub(in crate::doctor) overruled: Vec<&'a Rule>,
    /// Rules about the port whose sources are not known by address.
    pub(in crate::doctor) by_group: Vec<&'a Rule>,
    /// Rules that may be about the port, and could not be read to their end.
    pub(in crate::doctor) unknown: Vec<&'a Rule>,
}

/// The first and the last address of a stretch, as numbers.
type Stretch = (u128, u128);

impl Rule {
    /// Whether it is about this port.
    fn is_about(&self, port: u16) -> bool {
        self.tcp && self.ports.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    fn order(&self) -> (u8, Policy) {
        (self.priority, self.policy)
    }
}

/// From where `port` is open.
pub(in crate::doctor) fn opening(rules: &[Rule], port: u16, family: Family) -> Opening<'_> {
    let mut about: Vec<&Rule> = rules.iter().filter(|rule| rule.is_about(port)).collect();
    about.sort_by_key(|rule| rule.order());
    let mut opening = Opening {
        open: Vec::new(),
        decided: Vec::new(),
        overruled: Vec::new(),
        by_group: Vec::new(),
        unknown: Vec::new(),
    };
    let mut open = Vec::new();
    let mut taken: Vec<Stretch> = Vec::new();
    let mut decided: Vec<(&Rule, Vec<Stretch>)> = Vec::new();
    for rule in about {
        let networks = match &rule.sources {
            Sources::Networks(networks) => networks,
            Sources::Group(_) => {
                opening.by_group.push(rule);
                continue;
            }
            Sources::Unknown(_) => {
                opening.unknown.push(rule);
                continue;
            }
        };
        let own = networks.iter().filter(|network| of(**network) == family);
        let own = merged(own.map(|network| stretch(*network)).collect());
        if own.is_empty() {
            continue;
        }
        let new = without(&own, &taken);
        if new.is_empty() {
            if rule.policy == Policy::Accept {
                opening.overruled.push(rule);
            }
            continue;
        }
        if rule.policy == Policy::Accept {
            open.extend(&new);
        }
        taken.extend(&new);
        taken = merged(taken);
        decided.push((rule, new));
    }
    decided.sort_by(|(_, one), (_, other)| size(other).total_cmp(&size(one)));
    opening.open = networks(merged(open), family);
    opening.decided = decided
        .into_iter()
        .map(|(rule, stretches)| (rule, networks(merged(stretches), family)))
        .collect();
    opening
}

impl<'a> Opening<'a> {
    /// Whether all of `source` is let in.
    pub(in crate::doctor) fn lets_in(&self, source: IpNet) -> bool {
        // The networks are the fewest there can be, so none is made of several.
        self.open.iter().any(|open| open.contains(&source))
    }

    /// The rule that decides of the largest part of `source`.
    pub(in crate::doctor) fn decides(&self, source: IpNet) -> Option<&'a Rule> {
        let (start, end) = stretch(source);
        let part = |networks: &[IpNet]| {
            let same = networks.iter().filter(|network| of(**network) == of(source));
            let common = same.map(|network| stretch(*network));
            let common = common.map(|(first, last)| (first.max(start), last.min(end)));
            size(&common.filter(|(first, last)| first <= last).collect::<Vec<_>>())
        };
        let parts = self.decided.iter().map(|(rule, networks)| (part(networks), *rule));
        let parts = parts.filter(|(part, _)| *part > 0.0);
        parts.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, rule)| rule)
    }

    /// Whether it is open to the Internet at large: to more than half of all addresses.
    pub(in crate::doctor) fn is_wide(&self, family: Family) -> bool {
        let open: Vec<Stretch> = self.open.iter().map(|network| stretch(*network)).collect();
        size(&open) * 2.0 > size(&[stretch(everywhere(family))])
    }
}

/// The network of all addresses.
pub(in crate::doctor) fn everywhere(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
        Family::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

/// The family of a network.
pub(in crate::doctor) fn of(network: IpNet) -> Family {
    match network {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

fn stretch(network: IpNet) -> Stretch {
    match network {
        IpNet::V4(v4) => (u32::from(v4.network()).into(), u32::from(v4.broadcast()).into()),
        IpNet::V6(v6) => (v6.network().into(), v6.broadcast().into()),
    }
}

/// How many addresses there are, as near as a number of floating point says it: all of IPv6 is
/// one more than the largest integer.
fn size(stretches: &[Stretch]) -> f64 {
    stretches.iter().map(|(first, last)| (last - first) as f64 + 1.0).sum()
}

/// The same addresses in order, in the fewest stretches.
fn merged(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    let mut merged: Vec<Stretch> = Vec::with_capacity(stretches.len());
    for (first, last) in stretches {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// What of `own` is not in `taken`; both are merged.
fn without(own: &[Stretch], taken: &[Stretch]) -> Vec<Stretch> {
    let mut left = Vec::new();
    for &(first, last) in own {
        let mut from = Some(first);
        for &(start, end) in taken {
            let Some(at) = from.filter(|at| *at <= last) else { break };
            if end < at || start > last {
                continue;
            }
            if start > at {
                left.push((at, start - 1));
            }
            from = end.checked_add(1);
        }
        if let Some(at) = from.filter(|at| *at <= last) {
            left.push((at, last));
        }
    }
    left
}

/// The fewest networks of these stretches.
fn networks(stretches: Vec<Stretch>, family: Family) -> Vec<IpNet> {
    let cut = |(first, last): Stretch| -> Vec<IpNet> {
        match family {
            Family::V4 => {
                let address = |number| Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX));
                Ipv4Subnets::new(address(first), address(last), 0).map(IpNet::V4).collect()
            }
            Family::V6 => {
                let (first, last) = (Ipv6Addr::from(first), Ipv6Addr::from(last));
                Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
            }
        }
    };
    stretches.into_iter().flat_map(cut).collect()
}

/// A network as ECS writes it: with its length, or one address alone.
pub(in crate::doctor) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().map(|network| network.trunc()).or_else(one)
}

/// A range of ports as ECS writes it; `-1/-1` is all of them.
pub(in crate::doctor) fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.trim().split_once('/')?;
    let (first, last): (i32, i32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    if (first, last) == (-1, -1) {
        return Some((0, u16::MAX));
    }
    let range = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
    (range.0 <= range.1).then_some(range)
}

#[cfg(test)]
mod tests;

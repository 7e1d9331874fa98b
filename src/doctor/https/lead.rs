//! Where a site leads to: to the bot, to a port of this host at which somebody else or nobody
//! listens, or elsewhere.

use std::net::{IpAddr, SocketAddr};

use super::site::{Host, Passage, Site, Target};
use crate::doctor::door::Door;
use crate::doctor::facts::Facts;
use crate::doctor::reach::serves;
use crate::doctor::sockets::Sockets;

/// What a site that is meant for the bot has in its names or paths.
const MARKS: [&str; 4] = ["dingbot", "dinghook", "dingtalk", "webhook"];

/// What is known of this host's ports.
#[derive(Debug)]
pub(super) struct Ports<'a> {
    doors: &'a [Door],
    sockets: &'a Sockets,
    /// All addresses of this host.
    own: Vec<IpAddr>,
    /// The addresses of the bot's containers, with the ports inside and those from which this host
    /// comes to them.
    containers: Vec<Inside>,
}

#[derive(Debug)]
struct Inside {
    name: String,
    addresses: Vec<IpAddr>,
    gateways: Vec<IpAddr>,
    host_network: bool,
}

/// Who is asked at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lead<'a> {
    /// The bot.
    Bot(&'a Door),
    /// Nobody: nothing listens there.
    Nobody(SocketAddr),
    /// Somebody else of this host; the name of the program, where it is known.
    Stranger(SocketAddr, Option<String>),
    /// Another host, or what cannot be told from here.
    Elsewhere,
}

impl<'a> Ports<'a> {
    pub(super) async fn of(facts: &'a Facts) -> Self {
        let (doors, sockets) = tokio::join!(facts.doors(), facts.sockets());
        let mut own: Vec<IpAddr> =
            if_addrs::get_if_addrs().unwrap_or_default().iter().map(|it| it.ip()).collect();
        own.extend(facts.private_addresses().await);
        let containers = facts.docker().await.containers().iter().map(|it| Inside {
            name: it.name.clone(),
            addresses: it.addresses.clone(),
            gateways: it.gateways.clone(),
            host_network: it.host_network,
        });
        Self { doors, sockets, own, containers: containers.collect() }
    }

    #[cfg(test)]
    pub(super) fn new(doors: &'a [Door], sockets: &'a Sockets, own: Vec<IpAddr>) -> Self {
        Self { doors, sockets, own, containers: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn with_container(mut self, name: &str, address: &str, gateway: IpAddr) -> Self {
        self.containers.push(Inside {
            name: name.into(),
            addresses: address.parse().into_iter().collect(),
            gateways: vec![gateway],
            host_network: false,
        });
        self
    }

    /// The doors of the bot.
    pub(super) fn doors(&self) -> &'a [Door] {
        self.doors
    }

    /// Whether nobody outside comes to the bot but through a proxy.
    pub(super) fn are_inside(&self) -> bool {
        !self.doors.is_empty() && self.doors.iter().all(Door::is_local)
    }

    fn lead(&self, address: SocketAddr) -> Lead<'a> {
        let (ip, port) = (address.ip(), address.port());
        let inside = |door: &&Door| {
            let behind = door.container.as_ref().filter(|behind| behind.port == port);
            behind.is_some_and(|behind| {
                let mut all = self.containers.iter();
                all.any(|it| it.name == behind.name && it.addresses.contains(&ip))
            })
        };
        if let Some(door) = self.doors.iter().find(inside) {
            return Lead::Bot(door);
        }
        if self.containers.iter().any(|it| it.addresses.contains(&ip)) {
            return Lead::Nobody(address);
        }
        if !ip.is_loopback() && !self.own.contains(&ip) {
            return Lead::Elsewhere;
        }
        let open = |door: &&Door| door.port == port && door.bound.iter().any(|it| serves(*it, ip));
        if let Some(door) = self.doors.iter().find(open) {
            return Lead::Bot(door);
        }
        let mut listeners = self.sockets.on(port).filter(|it| serves(it.address.ip(), ip));
        match listeners.next() {
            Some(listener) => {
                let name = listener.owners.first().map(|owner| owner.name.clone());
                Lead::Stranger(address, name)
            }
            None => Lead::Nobody(address),
        }
    }

    /// Who is asked at a target.
    pub(super) fn of_target(&self, target: &Target) -> Lead<'a> {
        let leads: Vec<Lead<'a>> =
            target.addresses().into_iter().map(|address| self.lead(address)).collect();
        // Of both loopback addresses nginx takes the one that answers.
        let is_bot = |it: &&Lead<'a>| matches!(it, Lead::Bot(_));
        leads.iter().find(is_bot).or(leads.first()).cloned().unwrap_or(Lead::Elsewhere)
    }

    /// Who is asked by a `proxy_pass`: of several targets the bot.
    pub(super) fn of_passage(&self, passage: &Passage) -> Lead<'a> {
        let leads: Vec<Lead<'a>> =
            passage.targets.iter().map(|target| self.of_target(target)).collect();
        let is_bot = |it: &&Lead<'a>| matches!(it, Lead::Bot(_));
        leads.iter().find(is_bot).or(leads.first()).cloned().unwrap_or(Lead::Elsewhere)
    }

    /// From which addresses the bot behind `door` sees nginx come when it asks this target.
    pub(super) fn sources(&self, passage: &Passage, target: &Target, door: &Door) -> Vec<IpAddr> {
        if let Some(source) = passage.source {
            return vec![source];
        }
        let container = door.container.as_ref();
        let container = container.and_then(|it| self.containers.iter().find(|c| c.name == it.name));
        if let Some(container) = container.filter(|it| !it.host_network) {
            return container.gateways.clone();
        }
        // Who asks an own address does it from that address.
        let asked = target.addresses().into_iter().map(|it| it.ip());
        asked.filter(|ip| door.bound.iter().any(|bound| serves(*bound, *ip))).collect()
    }

    /// The sites for the bot, with those of their passages that lead there, or should: those that
    /// lead to it, or else those that are clearly meant to.
    pub(super) fn chosen(&self, sites: &[Site]) -> Vec<Site> {
        let leading = pick(sites, |_, passage| {
            let mut leads = passage.targets.iter().map(|target| self.of_target(target));
            leads.any(|lead| matches!(lead, Lead::Bot(_)))
        });
        if !leading.is_empty() {
            return leading;
        }
        let inside = self.are_inside();
        pick(sites, |site, passage| {
            let vacant = matches!(self.of_passage(passage), Lead::Nobody(_));
            is_marked(site, passage) || vacant && inside
        })
    }

    /// Whether a site may lead to the bot in a way that is not understood.
    pub(super) fn is_unclear(&self, sites: &[Site]) -> bool {
        let mut targets = sites.iter().flat_map(|it| &it.passages).flat_map(|it| &it.targets);
        targets.any(|target| matches!(target.host, Host::Unclear | Host::Name(_)))
    }
}

fn pick(sites: &[Site], is: impl Fn(&Site, &Passage) -> bool) -> Vec<Site> {
    let picked = sites.iter().map(|site| {
        let passages = site.passages.iter().filter(|passage| is(site, passage)).cloned();
        Site { passages: passages.collect(), ..site.clone() }
    });
    picked.filter(|site| !site.passages.is_empty()).collect()
}

fn is_marked(site: &Site, passage: &Passage) -> bool {
    let file = site.at.file.rsplit('/').next().unwrap_or_default();
    let texts = [file, passage.path.as_str()].into_iter().chain(passage.upstream.as_deref());
    let mut texts = texts.chain(site.names.iter().map(String::as_str));
    texts.any(|text| MARKS.iter().any(|mark| text.to_lowercase().contains(mark)))
}

//! A site of nginx, asked by its names from this host.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::certificate::{self, Shown};
use super::lead::Ports;
use super::nginx::Nginx;
use super::passing::{self, Case};
use super::site::{Listen, Site};
use super::visit::{self, Visit};
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Remedy, State, Text};
use crate::doctor::probe::{Failure, Knock, Outcome};

/// A site is asked by so many of its names, and so many targets are asked without it.
const NAMES: usize = 2;
const TARGETS: usize = 4;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// What is to be said of its certificates.
    pub(super) certificates: Vec<Finding>,
    /// Why callbacks do not come to the bot.
    pub(super) obstacle: Option<Finding>,
    /// They do.
    pub(super) passes: Option<Finding>,
    /// Whether they may be meant to: some sites are for the memory API alone.
    pub(super) meant: bool,
}

pub(super) async fn ask(
    facts: &Facts,
    site: &Site,
    ports: &Ports<'_>,
    nginx: &Nginx,
    deadline: Instant,
) -> Asked {
    let Some(listen) = entrance(site) else {
        return Asked { obstacle: Some(announced(site)), ..Asked::default() };
    };
    let address = visit::address(listen, facts.sockets().await);
    let names = names(site, address);
    let visits = names.iter().take(NAMES).map(|name| {
        let path = |path: &str| visit::outside(&site.passages, path);
        Visit::to((address, listen.tls), name, [path("/health"), path("/webhook")], deadline)
    });
    let (mut visits, direct) = tokio::join!(join_all(visits), direct(site, deadline));
    if direct.iter().any(|(_, outcome)| !matches!(outcome, Outcome::Failed(_))) {
        join_all(visits.iter_mut().map(|visit| visit.again(deadline))).await;
    }
    let mut asked = Asked { meant: is_for_callbacks(site), ..Asked::default() };
    let mut ends = None;
    for (name, visit) in names.iter().zip(&visits) {
        let Some(certificate) = visit.certificate() else { continue };
        let shown = Shown { certificate, name, site: Some(site), nginx: Some(nginx) };
        // An address is asked only where there is no name.
        let nameless = name.parse::<IpAddr>().is_ok();
        let finding = shown.finding();
        let finding = finding.filter(|it| !nameless || it.code != "certificate_wrong_name");
        let known = |it: &Finding| asked.certificates.iter().any(|known| known.code == it.code);
        let finding = finding.filter(|it| !known(it));
        asked.certificates.extend(finding.map(|it| match it.state {
            State::Failed if site.balanced => Finding { state: State::Warning, ..it },
            _ => it,
        }));
        ends = ends.or(shown.end());
    }
    let https = |it: &&Listen| it.port == 443 && !it.tls && !it.announced;
    if let Some(bare) = site.listens.iter().find(https).filter(|_| !site.certificates.is_empty()) {
        asked.certificates.push(passing::plain(site, bare.port, nginx));
    }
    // Of several names one may lead to another.
    if visits.iter().any(Visit::passes) {
        asked.passes = Some(passes(site, &names, ends.as_deref()));
    } else {
        let mut cases =
            visits.iter().map(|visit| Case { site, listen, nginx, ports, visit, direct: &direct });
        asked.obstacle = cases.find_map(|case| case.finding());
    }
    asked
}

fn is_for_callbacks(site: &Site) -> bool {
    let takes = |path: &str| site.passages.iter().any(|it| it.outside(path).is_some());
    let by_pattern = site.passages.iter().any(|it| it.modifier.starts_with('~'));
    by_pattern || ["/", "/health", "/webhook"].into_iter().any(takes)
}

/// The way in to be asked: by HTTPS where there is one.
pub(super) fn entrance(site: &Site) -> Option<Listen> {
    let mut open = site.listens.iter().filter(|it| !it.announced);
    let first = open.clone().next();
    open.find(|it| it.tls).or(first).copied()
}

/// Names by which a site is asked for. One without a name is asked by one of its certificate, or by
/// its address.
pub(super) fn names(site: &Site, address: SocketAddr) -> Vec<String> {
    let named = site.names.iter().filter_map(|name| match name.strip_prefix("*.") {
        Some(rest) => Some(format!("dingbot.{rest}")),
        None => {
            let name = name.strip_prefix('.').unwrap_or(name);
            let usable = name.contains('.') && !name.starts_with('~') && !name.contains(['*', '$']);
            usable.then(|| name.to_owned())
        }
    });
    let mut names: Vec<String> = named.collect();
    if names.is_empty() {
        names = certificate::names_on_disk(site).into_iter().take(1).collect();
    }
    if names.is_empty() {
        names.push(address.ip().to_string());
    }
    names
}

/// What the targets of a site answer when they are asked without nginx.
async fn direct(site: &Site, deadline: Instant) -> Vec<(SocketAddr, Outcome)> {
    let plain = site.passages.iter().filter(|passage| !passage.tls);
    let mut addresses: Vec<SocketAddr> =
        plain.flat_map(|it| &it.targets).flat_map(|it| it.addresses()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(TARGETS);
    let asked = addresses.into_iter().map(|address| async move {
        let knock = Knock::health(address);
        let outcome = timeout_at(deadline, knock.outcome()).await;
        (address, outcome.unwrap_or(Outcome::Failed(Failure::Silent)))
    });
    join_all(asked).await
}

fn passes(site: &Site, names: &[String], ends: Option<&str>) -> Finding {
    let (name, at) = (names.first().map_or("_", String::as_str), &site.at);
    let (zh, en) = match ends {
        Some(ends) => {
            (format!("，证书有效期到 {ends}"), format!("; its certificate lasts until {ends}"))
        }
        None => Default::default(),
    };
    Finding::fine(
        "proxy_passes",
        Text::new(
            format!("nginx 站点 {name}（{at}）把回调转给 dingbot{zh}"),
            format!("the nginx site {name} ({at}) passes callbacks on to dingbot{en}"),
        ),
    )
}

fn announced(site: &Site) -> Finding {
    let at = &site.at;
    Finding::unseen(
        "proxy_unseen",
        Text::new(
            format!("站点 {at} 用 PROXY protocol，只能从负载均衡访问，这里看不到"),
            format!("the site at {at} takes the PROXY protocol: only a load balancer can ask it"),
        ),
        Remedy::new(Text::new(
            "在另一台机器上经过负载均衡检查",
            "Look from another machine, through the load balancer",
        ))
        .command("dingbot doctor --target https://NAME"),
    )
}

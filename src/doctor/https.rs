//! A proxy before the bot: its certificate, where it passes requests on to, and whether the bot
//! learns from it who asks.
//!
//! nginx's configuration says which sites are for the bot. Each is then asked from here, by its
//! name, as DingTalk asks it. Of other servers, and of an nginx that cannot be read, only what they
//! show at port 443 is known; what does not speak as the bot is none of its business.

mod certificate;
mod configuration;
mod forwarded;
mod front;
mod lead;
mod nginx;
mod passing;
mod site;
#[cfg(test)]
mod tests;
mod visit;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use self::certificate::Shown;
use self::configuration::Configuration;
use self::lead::Ports;
use self::nginx::{Nginx, Unread};
use self::passing::Case;
use self::site::{Listen, Site};
use self::visit::Visit;
use super::LIMIT;
use super::facts::Facts;
use super::finding::{Depth, Finding, Remedy, Text};
use super::probe::{Failure, Knock, Outcome};

/// What is left of the limit of a check when it has asked all.
const MARGIN: Duration = Duration::from_millis(400);
/// Of the sites for the bot so many are asked, each by so many names, and so many targets.
const SITES: usize = 3;
const NAMES: usize = 2;
const TARGETS: usize = 4;

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let deadline = Instant::now() + LIMIT - MARGIN;
    let read = async {
        let nginx = nginx::find().await?;
        let configuration = nginx.configuration().await;
        Some((nginx, configuration))
    };
    let (ports, read) = tokio::join!(Ports::of(facts), read);
    match read {
        None => {
            let mut findings = front::findings(facts, &ports, deadline).await;
            findings.extend(stopped(facts, &ports).await);
            findings
        }
        Some((nginx, Ok(configuration))) => {
            known(facts, &ports, &nginx, &configuration, deadline).await
        }
        Some((nginx, Err(unread))) => {
            let mut findings = front::findings(facts, &ports, deadline).await;
            findings.push(unreadable(&nginx, unread));
            findings
        }
    }
}

/// What is to be said when nginx's configuration is known.
async fn known(
    facts: &Facts,
    ports: &Ports<'_>,
    nginx: &Nginx,
    configuration: &Configuration,
    deadline: Instant,
) -> Vec<Finding> {
    let all = site::all(&configuration.statements);
    let mut sites = ports.chosen(&all);
    let mut findings = Vec::new();
    if !configuration.unread.is_empty() {
        findings.push(not_understood(nginx, &configuration.unread));
    } else if sites.is_empty() && ports.are_inside() && !ports.is_unclear(&all) {
        return vec![absent(facts, ports, nginx).await].into_iter().flatten().collect();
    }
    findings.extend(forwarded::findings(facts, &sites, ports, nginx).await);
    sites.truncate(SITES);
    let looks = sites.iter().map(|site| judged(facts, site, ports, nginx, deadline));
    findings.extend(join_all(looks).await.into_iter().flatten());
    findings
}

/// A site, asked by its names.
async fn judged(
    facts: &Facts,
    site: &Site,
    ports: &Ports<'_>,
    nginx: &Nginx,
    deadline: Instant,
) -> Vec<Finding> {
    let Some(listen) = entrance(site) else { return vec![announced(site)] };
    let address = visit::address(listen, facts.sockets().await);
    let names = names(site, address);
    let visits = names.iter().take(NAMES).map(|name| {
        let path = |path: &str| visit::outside(&site.passages, path);
        Visit::to((address, listen.tls), name, [path("/health"), path("/webhook")], deadline)
    });
    let (visits, direct) = tokio::join!(join_all(visits), direct(site, deadline));
    let mut findings: Vec<Finding> = Vec::new();
    let mut ends = None;
    for (name, visit) in names.iter().zip(&visits) {
        let case = Case { site, listen, nginx, ports, visit, direct: &direct };
        let mut found = Vec::new();
        if let Some(certificate) = visit.certificate() {
            let shown = Shown { certificate, name, site: Some(site), nginx: Some(nginx) };
            // An address is asked only where there is no name.
            let nameless = name.parse::<std::net::IpAddr>().is_ok();
            let finding = shown.finding();
            found.extend(finding.filter(|it| !nameless || it.code != "certificate_wrong_name"));
            ends = shown.end();
        }
        if !visit.passes() {
            found.extend(case.finding());
        }
        for finding in found {
            if !findings.iter().any(|known| known.code == finding.code) {
                findings.push(finding);
            }
        }
    }
    if findings.is_empty() && visits.iter().any(Visit::passes) {
        findings.push(passes(site, &names, ends.as_deref()));
    }
    findings
}

/// The way in to be asked: by HTTPS where there is one.
fn entrance(site: &Site) -> Option<Listen> {
    let mut open = site.listens.iter().filter(|it| !it.announced);
    let first = open.clone().next();
    open.find(|it| it.tls).or(first).copied()
}

/// Names by which a site is asked for. One without a name is asked by one of its certificate, or by
/// its address.
fn names(site: &Site, address: SocketAddr) -> Vec<String> {
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
        let chains = certificate::on_disk(site);
        let leaves = chains.iter().filter_map(|(_, chain)| chain.first());
        names = leaves.flat_map(certificate::names).take(1).collect();
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

/// No site leads to a bot that has no other way in.
async fn absent(facts: &Facts, ports: &Ports<'_>, nginx: &Nginx) -> Option<Finding> {
    facts.sockets().await.web_server()?;
    let port = ports.doors().first()?.port;
    Some(Finding::failed(
        "proxy_site_missing",
        Depth::Proxy,
        Text::new(
            format!("dingbot 只在本机监听端口 {port}，而 nginx 没有任何站点转发到它"),
            format!(
                "dingbot listens on port {port} for this host alone, and no site of nginx passes \
                 requests on to it"
            ),
        ),
        Remedy::new(Text::new(
            "启用 dingbot 的站点（见 /usr/share/doc/dingbot/examples/nginx/dingbot.conf 和 \
             docs/nginx.md），再重新加载 nginx",
            "Enable a site for dingbot (see /usr/share/doc/dingbot/examples/nginx/dingbot.conf and \
             docs/nginx.md), and reload nginx",
        ))
        .command(nginx.reload()),
    ))
}

/// No web server runs, though the bot has no other way in, and an nginx is set up for it.
async fn stopped(facts: &Facts, ports: &Ports<'_>) -> Option<Finding> {
    if !ports.are_inside() || facts.sockets().await.web_server().is_some() {
        return None;
    }
    let nginx = Nginx::installed();
    let sites = match nginx.configuration().await {
        Ok(configuration) => ports.chosen(&site::all(&configuration.statements)),
        Err(Unread::Invalid(why)) => return Some(unstartable(&nginx, &why)),
        Err(_) => return None,
    };
    let site = sites.first()?;
    let (name, at) = (site.names.first().map_or("_", String::as_str), &site.at);
    Some(Finding::failed(
        "proxy_stopped",
        Depth::Service,
        Text::new(
            format!("nginx 没有运行；站点 {name}（{at}）由它转发给 dingbot"),
            format!("nginx does not run; its site {name} ({at}) passes requests on to dingbot"),
        ),
        Remedy::new(Text::new("启动 nginx", "Start nginx")).command(nginx.start()),
    ))
}

/// An nginx that cannot start, which may be the one for the bot.
fn unstartable(nginx: &Nginx, why: &str) -> Finding {
    Finding::warning(
        "proxy_configuration_invalid",
        Depth::Service,
        Text::new(
            format!("nginx 没有运行，它的配置文件有错：{why}"),
            format!("nginx does not run, and does not accept its configuration: {why}"),
        ),
        Remedy::new(Text::new(
            "如果 dingbot 由 nginx 转发：改正后启动",
            "If dingbot is behind nginx: correct it, and start it",
        ))
        .command(nginx.start()),
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

fn not_understood(nginx: &Nginx, unread: &[String]) -> Finding {
    let first = unread.first().map_or("", String::as_str);
    Finding::unseen(
        "proxy_unseen",
        Text::new(
            format!("nginx 的配置有看不懂的地方：{first}"),
            format!("nginx's configuration is not all understood: {first}"),
        ),
        Remedy::new(Text::new("手动核对", "Look at it by hand")).command(nginx.dump()),
    )
}

fn unreadable(nginx: &Nginx, unread: Unread) -> Finding {
    match unread {
        Unread::Invalid(why) => Finding::warning(
            "proxy_configuration_invalid",
            Depth::Proxy,
            Text::new(
                format!("nginx 现在的配置文件有错，下次重新加载或重启会失败：{why}"),
                format!(
                    "nginx does not accept its files as they are now; its next start fails: {why}"
                ),
            ),
            Remedy::new(Text::new("改正后检查", "Correct it, and check")).command(nginx.reload()),
        ),
        Unread::Closed => Finding::unseen(
            "proxy_unseen",
            Text::new(
                "nginx 在运行；没有 root 权限，看不到它的配置",
                "nginx runs; its configuration is hidden from this user",
            ),
            Remedy::new(Text::new("用 root 运行", "Run it as root")).command("sudo dingbot doctor"),
        ),
        Unread::Failed(why) => Finding::unseen(
            "proxy_unseen",
            Text::new(
                format!("nginx 在运行，但读不到它的配置：{why}"),
                format!("nginx runs, and its configuration cannot be read: {why}"),
            ),
            Remedy::new(Text::new("手动查看", "Look at it by hand")).command(nginx.dump()),
        ),
    }
}

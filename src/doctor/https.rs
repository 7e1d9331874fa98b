//! A proxy before the bot: its certificate, where it passes requests on to, and whether the bot
//! learns from it who asks.
//!
//! nginx's configuration says which sites are for the bot. Each is then asked from here, by its
//! name, as DingTalk asks it. Of other servers, and of an nginx that cannot be read, only what they
//! show at port 443 is known; what does not speak as the bot is none of its business.

mod asked;
mod certificate;
mod configuration;
mod edit;
mod forwarded;
mod front;
mod lead;
mod nginx;
mod passing;
mod site;
#[cfg(test)]
mod tests;
mod visit;

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use self::asked::Asked;
pub(super) use self::certificate::expiring;
use self::configuration::Configuration;
use self::lead::Ports;
use self::nginx::{Nginx, Unread};
use self::passing::UNREACHED;
use super::LIMIT;
use super::facts::Facts;
use super::finding::{Depth, Finding, Remedy, State, Text};
use super::sockets::Listener;

/// What is left of the limit of a check when it has asked all.
const MARGIN: Duration = Duration::from_millis(400);
/// The ports of the web.
const FRONT: [u16; 2] = [80, 443];
/// Of the sites for the bot so many are asked.
const SITES: usize = 3;

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
    // nginx may be on other ports, and somebody else before the bot.
    if !others(facts).await.is_empty() {
        findings.extend(front::findings(facts, ports, deadline).await);
    }
    findings.extend(forwarded::findings(facts, &sites, ports, nginx).await);
    sites.truncate(SITES);
    let looks = sites.iter().map(|site| asked::ask(facts, site, ports, nginx, deadline));
    findings.extend(weighed(join_all(looks).await, ports.are_inside()));
    findings
}

/// What counts of what the sites showed: one that is not for callbacks need not pass them on when
/// they have another way.
fn weighed(asked: Vec<Asked>, inside: bool) -> Vec<Finding> {
    let passed = asked.iter().any(|it| it.passes.is_some());
    let mut findings = Vec::new();
    for Asked { certificates, obstacle, passes, meant } in asked {
        findings.extend(passes.filter(|_| certificates.is_empty()));
        findings.extend(certificates);
        let obstacle = obstacle.filter(|it| it.code != UNREACHED || !passed);
        findings.extend(obstacle.and_then(|it| match it.code {
            UNREACHED if inside => Some(it),
            UNREACHED => meant.then_some(Finding { state: State::Warning, ..it }),
            _ => Some(it),
        }));
    }
    findings
}

/// Who else than nginx takes callers from outside at the ports of the web.
async fn others(facts: &Facts) -> Vec<&Listener> {
    let web = facts.sockets().await.listeners.iter();
    let outer = web.filter(|it| FRONT.contains(&it.address.port()) && !it.is_local());
    outer.filter(|it| !it.owners.iter().any(|owner| owner.name == "nginx")).collect()
}

/// No site leads to a bot that has no other way in.
async fn absent(facts: &Facts, ports: &Ports<'_>, nginx: &Nginx) -> Option<Finding> {
    let others = others(facts).await;
    facts.sockets().await.web_server().filter(|_| others.is_empty())?;
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
        Unread::Outside => Finding::unseen(
            "proxy_unseen",
            Text::new(
                "nginx 在主机上运行；doctor 在容器里，看不到它的配置",
                "nginx runs on the host; from this container its configuration is not seen",
            ),
            Remedy::new(Text::new("在主机上运行", "Run it on the host"))
                .command("sudo dingbot doctor"),
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

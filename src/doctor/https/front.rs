//! A server at port 443 whose configuration is not known: what it shows.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;
use hyper::Method;
use tokio::time::Instant;

use super::certificate::{self, Shown};
use super::lead::Ports;
use super::site::Listen;
use super::visit::{self, Visit};
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::doctor::probe::Knock;

/// The port of HTTPS.
const PORT: u16 = 443;
/// Of the names of a certificate so many are asked for.
const NAMES: usize = 3;
/// Programs that say who asks unless they are told not to.
const TELLING: [&str; 4] = ["caddy", "apache2", "httpd", "traefik"];

/// Who listens for a server in a container: Docker, or in the host's own network nginx itself.
const CONTAINED: [&str; 2] = ["docker-proxy", "nginx"];

/// What is to be said of a server that passes requests on to the bot; nothing of any other.
pub(super) async fn findings(facts: &Facts, ports: &Ports<'_>, deadline: Instant) -> Vec<Finding> {
    let sockets = facts.sockets().await;
    let Some(listener) = sockets.on(PORT).next() else { return Vec::new() };
    if ports.doors().iter().any(|door| door.port == PORT) {
        return Vec::new();
    }
    let own = listener.address.ip();
    let own = Some(own).filter(|ip| !ip.is_unspecified());
    let listen = Listen { address: own, port: PORT, tls: true, announced: false };
    let address = visit::address(listen, sockets);
    let names = names(address, deadline).await;
    let visits = names.iter().map(|name| {
        Visit::to((address, true), name, ["/health".into(), "/webhook".into()], deadline)
    });
    let visits = join_all(visits).await;
    let who = listener.owners.first().map_or("", |owner| owner.name.as_str());
    let mut findings = Vec::new();
    for (name, visit) in names.iter().zip(&visits).filter(|(_, visit)| visit.speaks()) {
        let shown = visit.certificate().map(|certificate| Shown {
            certificate,
            name,
            site: None,
            nginx: None,
        });
        findings.extend(shown.as_ref().and_then(Shown::finding));
        if !visit.passes() {
            findings.push(unreached(visit));
        } else if findings.is_empty() {
            findings.push(passes(name, who, shown.and_then(|it| it.end())));
        }
    }
    let trusts = facts.examined().await;
    let known = trusts.configuration.is_ok() && trusts.closed.is_none();
    let stranger = known && trusts.settings().server.trusted_proxies.is_empty();
    if !findings.is_empty() && stranger && TELLING.contains(&who) {
        findings.push(not_trusted(who));
    }
    if !findings.is_empty() && CONTAINED.contains(&who) {
        findings.push(contained());
    }
    findings
}

/// The names by which the server may be asked for: those of the certificate it shows to somebody who
/// asks for none.
async fn names(address: SocketAddr, deadline: Instant) -> Vec<String> {
    let knock =
        Knock { tls: true, method: Method::HEAD, path: "/".into(), ..Knock::health(address) };
    let answer = visit::ask(&knock, deadline).await;
    let certificate = answer.ok().and_then(|answer| answer.certificate);
    let leaf = certificate.as_ref().and_then(|it| it.chain.first());
    let mut names = leaf.map(certificate::names).unwrap_or_default();
    names.retain(|name| name.parse::<IpAddr>().is_err());
    names.truncate(NAMES);
    names
}

fn passes(name: &str, who: &str, ends: Option<String>) -> Finding {
    let ends = ends.unwrap_or_else(|| "—".into());
    let who = if who.is_empty() { String::new() } else { format!(" ({who})") };
    Finding::fine(
        "proxy_passes",
        Text::new(
            format!("https://{name}{who} 把回调转给 dingbot，证书有效期到 {ends}"),
            format!(
                "https://{name}{who} passes callbacks on to dingbot; its certificate lasts until \
                 {ends}"
            ),
        ),
    )
}

fn unreached(visit: &Visit) -> Finding {
    let url = visit.callback.url();
    Finding::failed(
        "webhook_unreached",
        Depth::Proxy,
        Text::new(
            format!("/health 正常，但 {url} 没有转给机器人"),
            format!("/health is fine, and {url} is not passed on to the bot"),
        ),
        Remedy::new(Text::new(
            "让反向代理把 /webhook 也转给机器人",
            "Have the reverse proxy pass /webhook on to the bot, too",
        ))
        .command(format!("curl -i -X POST {url}")),
    )
}

fn contained() -> Finding {
    Finding::unseen(
        "proxy_unseen",
        Text::new(
            "反向代理在容器里，看不到它的配置：上游和 X-Forwarded-For 没有检查",
            "the reverse proxy is in a container, and its configuration is not seen: upstream and \
             X-Forwarded-For were not checked",
        ),
        Remedy::new(Text::new(
            "找到它的容器，用 docker exec 容器名 nginx -T 手动核对 proxy_set_header X-Forwarded-For",
            "Find its container, and check proxy_set_header X-Forwarded-For by docker exec NAME \
             nginx -T",
        ))
        .command("docker ps --filter publish=443"),
    )
}

fn not_trusted(who: &str) -> Finding {
    Finding::warning(
        "proxy_not_trusted",
        Depth::Proxy,
        Text::new(
            format!("{who} 转来的 X-Forwarded-For 不被采信：server.trusted_proxies 是空的"),
            format!("X-Forwarded-For from {who} is not believed: server.trusted_proxies is empty"),
        ),
        Remedy::new(Text::new(
            "在配置文件的 [server] 里写：trusted_proxies = [\"127.0.0.1/32\"]（用 Docker 时是网桥的网段），\
             再重新加载 dingbot",
            "Set in [server] of the configuration: trusted_proxies = [\"127.0.0.1/32\"] (with Docker, \
             the bridge's network), and reload dingbot",
        )),
    )
}

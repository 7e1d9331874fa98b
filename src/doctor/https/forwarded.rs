//! Whether the bot learns from nginx who asks, and believes it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::configuration::Place;
use super::edit::{self, Side};
use super::lead::{Lead, Ports};
use super::nginx::Nginx;
use super::site::{Passage, Site};
use crate::doctor::door::Door;
use crate::doctor::examined::{Examined, Starter};
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};

/// The header from which the bot takes the address of the caller.
const HEADER: &str = "X-Forwarded-For";
/// Others by which the bot knows at least that a proxy asks, and takes nobody for a program of this
/// host.
const MARKS: [&str; 5] = ["Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto", "Via"];

/// What is to be said of the headers of the sites for the bot.
pub(super) async fn findings(
    facts: &Facts,
    sites: &[Site],
    ports: &Ports<'_>,
    nginx: &Nginx,
) -> Vec<Finding> {
    let examined = facts.examined().await;
    let mut findings = Vec::new();
    let mut mute: Vec<(&Passage, Option<Place>)> = Vec::new();
    let mut strangers: Vec<(IpAddr, &Door)> = Vec::new();
    for passage in sites.iter().flat_map(|site| &site.passages) {
        let mut doors = passage.targets.iter().filter_map(|target| {
            let Lead::Bot(door) = ports.of_target(target) else { return None };
            Some((target, door))
        });
        if passage.header(HEADER).is_none() {
            let last = passage.headers.last().map(|header| header.at.clone());
            // Said once of a level that several locations inherit.
            let known = mute.iter().any(|(_, other)| last.is_some() && *other == last);
            if doors.next().is_some() && !known {
                mute.push((passage, last));
            }
            continue;
        }
        for (target, door) in doors {
            let sources = ports.sources(passage, target, door).into_iter();
            strangers
                .extend(sources.filter(|ip| is_stranger(examined, door, *ip)).map(|ip| (ip, door)));
        }
    }
    findings.extend(
        mute.iter().map(|(passage, last)| missing(passage, last.as_ref(), nginx, examined)),
    );
    strangers.sort_by_key(|(ip, _)| *ip);
    strangers.dedup_by_key(|(ip, _)| *ip);
    if !strangers.is_empty() {
        findings.push(not_trusted(&strangers, examined));
    }
    findings
}

/// Whether the bot behind `door` surely does not believe `ip`.
fn is_stranger(examined: &Examined, door: &Door, ip: IpAddr) -> bool {
    let behind = door.container.as_ref().map(|it| it.name.as_str());
    let same = match &examined.starter {
        Starter::Container(name) => behind == Some(name),
        Starter::Unit | Starter::Hand => behind.is_none(),
    };
    let known = same && examined.configuration.is_ok() && examined.closed.is_none();
    known && !examined.settings().server.trusted_proxies.iter().any(|it| it.contains(&ip))
}

fn missing(passage: &Passage, last: Option<&Place>, nginx: &Nginx, examined: &Examined) -> Finding {
    let at = &passage.at;
    let seen = Text::new(
        format!(
            "nginx 转给 dingbot 的请求没有 {HEADER}（{at}）：dingbot 不知道是谁在访问，日志里都是 nginx 的地址"
        ),
        format!(
            "nginx passes requests on without {HEADER} ({at}): dingbot does not know who asks, and \
             its log has nginx's address"
        ),
    );
    let line = format!("proxy_set_header {HEADER} $remote_addr;");
    let text = match last {
        Some(place) => Text::new(
            format!(
                "在 {place} 后面加上：{line}（某一层写了 proxy_set_header，外层的就全部失效），再重新加载 nginx"
            ),
            format!(
                "Add after {place}: {line} (a level with a proxy_set_header of its own inherits \
                 none), and reload nginx"
            ),
        ),
        None => Text::new(
            format!("在 {at} 的 proxy_pass 前加上：{line}，再重新加载 nginx"),
            format!("Add before proxy_pass at {at}: {line}, and reload nginx"),
        ),
    };
    let edit = match last {
        Some(place) => edit::added(place, Side::After, &line),
        None => edit::added(at, Side::Before, &line),
    };
    let remedy = edit.into_iter().fold(Remedy::new(text), Remedy::command).command(nginx.reload());
    let code = "forwarded_headers_missing";
    if MARKS.iter().any(|name| passage.header(name).is_some()) {
        return Finding::warning(code, Depth::Proxy, seen, remedy);
    }
    // Without any such header every caller is a program of this host.
    let settings = examined.settings();
    let open = settings.server.api_keys.is_empty();
    if !open {
        return Finding::warning(code, Depth::Proxy, seen, remedy);
    }
    let seen = Text::new(
        format!("{}；而且外面的人都被当作本机程序，可以不用密钥读写记忆", seen.chinese()),
        format!(
            "{}; everybody outside is taken for a program of this host, too, and may read and write \
             memories without a key",
            seen.english()
        ),
    );
    Finding::failed(code, Depth::Proxy, seen, remedy)
}

fn not_trusted(strangers: &[(IpAddr, &Door)], examined: &Examined) -> Finding {
    let sources = strangers.iter().map(|(ip, _)| ip.to_string()).collect::<Vec<_>>().join(", ");
    let mut trusted = examined.settings().server.trusted_proxies.clone();
    trusted.extend(strangers.iter().map(|(ip, _)| IpNet::from(*ip)));
    let listed: Vec<String> = trusted.iter().map(ToString::to_string).collect();
    let line = format!("trusted_proxies = {listed:?}");
    let (place, command) = match &examined.starter {
        Starter::Container(_) => {
            let joined = listed.join(",");
            let variable = format!("-e DINGBOT_SERVER__TRUSTED_PROXIES={joined}");
            (
                Text::new(
                    format!("重建容器时加上 {variable}"),
                    format!("Create the container with {variable}"),
                ),
                None,
            )
        }
        Starter::Unit | Starter::Hand => {
            let unit = examined.starter == Starter::Unit;
            let command = if unit { "sudo systemctl reload dingbot" } else { "dingbot reload" };
            (
                Text::new(
                    format!("在配置文件的 [server] 里写：{line}，再重新加载 dingbot"),
                    format!("Set in [server] of the configuration: {line}, and reload dingbot"),
                ),
                Some(command),
            )
        }
    };
    let remedy = command.into_iter().fold(Remedy::new(place), Remedy::command);
    Finding::warning(
        "proxy_not_trusted",
        Depth::Proxy,
        Text::new(
            format!(
                "nginx 从 {sources} 转来的 {HEADER} 不被采信（server.trusted_proxies 里没有它）：\
                 来访地址都算作 nginx 的"
            ),
            format!(
                "{HEADER} from nginx at {sources} is not believed (server.trusted_proxies lacks it): \
                 all callers count as nginx"
            ),
        ),
        remedy,
    )
}

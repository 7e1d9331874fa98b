//! A server seen from another machine: its name, the way to it, its certificate, its answer.
//!
//! Nothing is known here of the host on the other side; what comes back tells which side to look
//! at.

mod remedy;

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::Method;
use hyper::header::ALLOW;
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use self::remedy::remedy;
use super::finding::{Area, Depth, Finding, Remedy, Text};
use super::https;
use super::probe::{Failure, Knock, Outcome, Voice};
use super::report::{Report, Section};

/// The longest a name may take to be resolved.
const RESOLVE: Duration = Duration::from_millis(1_500);
/// The longest everything may take.
const LIMIT: Duration = Duration::from_millis(4_500);
/// Of a name's addresses, so many are tried.
const ADDRESSES: usize = 6;
/// Variables by which other programs go through a proxy, which this one does not.
pub(super) const PROXIES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The server to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    tls: bool,
    host: Host,
    port: u16,
}

/// Why a text names no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a server; write http://ADDRESS:PORT or https://NAME")]
pub struct NoTarget;

impl FromStr for Target {
    type Err = NoTarget;

    /// A URL, or without its scheme `HOST` or `HOST:PORT`. The path does not matter.
    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let text = text.trim();
        // `http:/host` would be read as the host `http`.
        let lower = text.to_ascii_lowercase();
        let scheme = ["http:", "https:"].iter().find_map(|scheme| lower.strip_prefix(scheme));
        if scheme.is_some_and(|rest| !rest.starts_with("//")) {
            return Err(NoTarget);
        }
        let url = match text.contains("://") {
            true => Url::parse(text),
            // An IPv6 address without its brackets.
            false if text.parse::<std::net::Ipv6Addr>().is_ok() => {
                Url::parse(&format!("http://[{text}]"))
            }
            false => Url::parse(&format!("http://{text}")),
        };
        let url = url.map_err(|_| NoTarget)?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(NoTarget),
        };
        let host = url.host().ok_or(NoTarget)?.to_owned();
        let port = url.port_or_known_default().ok_or(NoTarget)?;
        // It is printed in commands, and a shell would run what a URL allows in a name.
        if matches!(&host, Host::Domain(name) if !name.chars().all(in_a_name)) {
            return Err(NoTarget);
        }
        // Who asks by name and password asks for more than a look.
        if port == 0 || !url.username().is_empty() || url.password().is_some() {
            return Err(NoTarget);
        }
        Ok(Self { tls, host, port })
    }
}

/// What a name holds, and no shell takes for anything else.
fn in_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

impl Target {
    fn name(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    fn knock(&self, ip: IpAddr, deadline: Instant) -> Knock {
        let health = Knock::health(SocketAddr::new(ip, self.port));
        let deadline = health.deadline.min(deadline);
        Knock { host: self.name(), tls: self.tls, deadline, ..health }
    }
}

impl Target {
    /// Where it leads, when that is this host by HTTPS.
    fn by_https(&self, outcome: &Outcome) -> Option<Self> {
        let Outcome::Said(Voice::Redirected(_, to), _) = outcome else { return None };
        let there: Self = to.parse().ok()?;
        (!self.tls && there.tls && there.host == self.host).then_some(there)
    }
}

/// Looks at a server from here. `variable` reads the environment.
pub async fn examine<'a>(target: &Target, variable: impl Fn(&str) -> Option<&'a str>) -> Report {
    let mut findings = Vec::new();
    if let Some(name) = PROXIES.iter().find(|name| variable(name).is_some()) {
        findings.push(Finding::fine(
            "proxy_not_used",
            Text::new(
                format!("环境变量 {name} 设置了代理；这里直接连接，不经过它"),
                format!("{name} names a proxy; this connects directly, without it"),
            ),
        ));
    }
    let deadline = Instant::now() + LIMIT;
    match resolve(target).await {
        Err(finding) => findings.push(*finding),
        Ok((addresses, note)) => {
            findings.extend(note);
            let looks = addresses.iter().map(|ip| look(target, *ip, deadline));
            let mut found: Vec<Seen> = join_all(looks).await.into_iter().flatten().collect();
            let one_is_well = found.iter().any(|it| it.well);
            found.iter_mut().filter(|it| it.no_route && one_is_well).for_each(Seen::excuse);
            findings.extend(found.into_iter().map(|it| it.finding));
        }
    }
    Report::new(vec![Section { area: Area::Target, findings }])
}

/// What was seen at one address.
struct Seen {
    finding: Finding,
    /// The bot answered, well.
    well: bool,
    /// This machine has no way there, by IPv6.
    no_route: bool,
}

impl Seen {
    fn of(finding: Finding) -> Self {
        Self { finding, well: false, no_route: false }
    }

    /// A machine without IPv6 does not miss the address that others reach by it.
    fn excuse(&mut self) {
        let remedy = self.finding.remedy.take();
        let text =
            Text::new("从有 IPv6 的机器上再看一次", "Look once more from a machine that has IPv6");
        let remedy = remedy
            .map_or_else(|| Remedy::new(text.clone()), |it| Remedy { text: text.clone(), ..it });
        self.finding = Finding::unseen(self.finding.code, self.finding.seen.clone(), remedy);
    }
}

/// Knocks at one address; where HTTP leads to HTTPS of the same name, there as well.
async fn look(target: &Target, ip: IpAddr, deadline: Instant) -> Vec<Seen> {
    let knock = target.knock(ip, deadline);
    let outcome = knock.outcome().await;
    if let Some(there) = target.by_https(&outcome) {
        let knock = there.knock(ip, deadline);
        let mut seen = vec![Seen::of(leads_to_https(target, &there))];
        seen.extend(look_by(&knock, &knock.outcome().await).await);
        return seen;
    }
    look_by(&knock, &outcome).await
}

async fn look_by(knock: &Knock, outcome: &Outcome) -> Vec<Seen> {
    let unreachable = matches!(outcome, Outcome::Failed(Failure::Unreachable(_)));
    let no_route = unreachable && knock.address.is_ipv6();
    let well = outcome.is_well();
    let mut seen = vec![Seen { finding: finding(knock, outcome), well, no_route }];
    if let Outcome::Said(_, answer) = outcome
        && let Some(certificate) = &answer.certificate
    {
        seen.extend(https::expiring(certificate, &knock.host).map(Seen::of));
    }
    if well {
        seen.push(Seen::of(callbacks(knock).await));
    }
    seen
}

fn leads_to_https(target: &Target, there: &Target) -> Finding {
    let (from, to) = (target.port, there.port);
    Finding::fine(
        "redirected",
        Text::new(
            format!("HTTP（{from}）跳转到 HTTPS（{to}），接着看那里"),
            format!("HTTP ({from}) leads to HTTPS ({to}), which is looked at next"),
        ),
    )
}

/// The addresses of the target; of a name, with what was seen.
async fn resolve(target: &Target) -> Result<(Vec<IpAddr>, Option<Finding>), Box<Finding>> {
    let name = match &target.host {
        Host::Ipv4(address) => return Ok((vec![(*address).into()], None)),
        Host::Ipv6(address) => return Ok((vec![(*address).into()], None)),
        Host::Domain(name) => name,
    };
    let looked_up = timeout(RESOLVE, tokio::net::lookup_host((name.as_str(), target.port))).await;
    let mut addresses: Vec<IpAddr> = match &looked_up {
        Ok(Ok(_)) => Vec::new(),
        Ok(Err(error)) => return Err(Box::new(not_resolved(name, &error.to_string()))),
        Err(_) => {
            let why = format!("no answer within {RESOLVE:?}");
            return Err(Box::new(not_resolved(name, &why)));
        }
    };
    for address in looked_up.into_iter().flatten().flatten() {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    addresses.truncate(ADDRESSES);
    let listed = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let note = Finding::fine(
        "name_resolved",
        Text::new(format!("{name} 解析到 {listed}"), format!("{name} is {listed}")),
    );
    Ok((addresses, Some(note)))
}

fn not_resolved(name: &str, why: &str) -> Finding {
    Finding::failed(
        "name_not_resolved",
        Depth::Network,
        Text::new(
            format!("域名 {name} 解析不了：{why}"),
            format!("the name {name} does not resolve: {why}"),
        ),
        Remedy::new(Text::new(
            "检查拼写；在云解析 DNS 控制台确认有指向公网 IP 的 A 记录；新加的记录要等几分钟。\
             先用 IP 试：dingbot doctor --target http://公网IP:端口",
            "Check its spelling; in the DNS console, see that it has an A record with the public \
             address; a new one takes minutes. Try the address itself meanwhile: dingbot doctor \
             --target http://ADDRESS:PORT",
        ))
        .command(format!("nslookup {name}")),
    )
}

fn finding(knock: &Knock, outcome: &Outcome) -> Finding {
    let (url, seen, ip) = (knock.url(), outcome.seen(), knock.address.ip());
    let place = if knock.host == ip.to_string() { url } else { format!("{url} ({ip})") };
    let seen =
        Text::new(format!("{place}：{}", seen.chinese()), format!("{place}: {}", seen.english()));
    if outcome.is_well() {
        return Finding::fine("healthy", seen);
    }
    let code = match outcome {
        Outcome::Failed(Failure::Refused) => "connect_refused",
        Outcome::Failed(Failure::ConnectTimedOut) => "connect_timed_out",
        other => other.code(),
    };
    Finding::failed(code, Depth::Reach, seen, remedy(knock, outcome))
}

/// Whether callbacks get through: `/webhook` takes `POST` alone, and says so.
async fn callbacks(knock: &Knock) -> Finding {
    let knock = Knock { path: "/webhook".into(), ..knock.clone() };
    let url = knock.url();
    let status = match knock.ask().await {
        Ok(answer) => {
            let post =
                answer.headers.get(ALLOW).is_some_and(|allow| allow == Method::POST.as_str());
            if answer.status.as_u16() == 405 && post {
                return Finding::fine(
                    "webhook_reached",
                    Text::new(
                        format!("{url} 可以接收钉钉回调"),
                        format!("{url} can take DingTalk's callbacks"),
                    ),
                );
            }
            format!("HTTP {}", answer.status.as_u16())
        }
        // Once `/health` has answered, silence is a matter of time.
        Err(Failure::Silent | Failure::ConnectTimedOut | Failure::BrokenOff) => {
            return Finding::unseen(
                "webhook_unseen",
                Text::new(
                    format!("没有来得及看 {url}"),
                    format!("{url} did not answer in the time there was"),
                ),
                Remedy::new(Text::new("再运行一次", "Run it again")),
            );
        }
        Err(failure) => failure.to_string(),
    };
    Finding::failed(
        "webhook_unreached",
        Depth::Proxy,
        Text::new(
            format!("/health 正常，但 {url} 没有到达机器人：{status}"),
            format!("/health is fine, and {url} does not lead to the bot: {status}"),
        ),
        Remedy::new(Text::new(
            "让反向代理把 /webhook 也转给机器人",
            "Have the reverse proxy pass /webhook on to the bot, too",
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Option<(bool, String, u16)> {
        let target: Target = text.parse().ok()?;
        Some((target.tls, target.name(), target.port))
    }

    #[test]
    fn a_server_is_named_in_many_ways() {
        let plain = Some((false, "8.222.215.42".to_owned(), 9090));
        for text in [
            "http://8.222.215.42:9090",
            "8.222.215.42:9090",
            " http://8.222.215.42:9090/health?x=1",
        ] {
            assert_eq!(target(text), plain, "{text}");
        }
        assert_eq!(target("https://bot.example.com"), Some((true, "bot.example.com".into(), 443)));
        assert_eq!(target("bot.example.com"), Some((false, "bot.example.com".into(), 80)));
        assert_eq!(target("[2001:db8::1]:9090"), Some((false, "2001:db8::1".into(), 9090)));
        assert_eq!(target("2001:db8::1"), Some((false, "2001:db8::1".into(), 80)));
        for nonsense in [
            "",
            "ftp://x",
            "http://",
            "http://a b",
            "8.222.215.42:90900",
            "file:///x",
            "8.222.215.42:0",
            "http:/x",
            "https:x",
            "http://u:p@x",
        ] {
            assert_eq!(target(nonsense), None, "{nonsense}");
        }
    }
}

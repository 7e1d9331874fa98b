//! The way to an upstream, step by step: its name, a connection, TLS, an answer.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::header::DATE;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use super::Upstream;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::doctor::probe::{Answer, Failure, Knock, Outcome, Trouble};

/// The longest a name may take to resolve.
const RESOLVE: Duration = Duration::from_millis(1_500);
/// Of a name's addresses so many are tried.
const ADDRESSES: usize = 3;

/// A way to an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) upstream: Upstream,
    host: Host,
    port: u16,
    tls: bool,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Went {
    pub(super) upstream: Upstream,
    /// What is to be told of it.
    pub(super) findings: Vec<Finding>,
    /// By how much the clock there is ahead of this one.
    pub(super) ahead: Option<SignedDuration>,
}

impl Went {
    /// Whether nothing gets through.
    pub(super) fn blocked(&self) -> bool {
        !self.findings.is_empty()
    }
}

impl Way {
    /// To where `url` leads.
    pub(super) fn new(upstream: Upstream, url: &Url) -> Option<Self> {
        let host = url.host()?.to_owned();
        let port = url.port_or_known_default()?;
        Some(Self { upstream, host, port, tls: url.scheme() == "https" })
    }

    /// Goes it, by all addresses at once.
    pub(super) async fn go(&self, deadline: Instant) -> Went {
        let addresses = match self.resolve().await {
            Ok(addresses) => addresses,
            Err(why) => return self.went(vec![self.unknown(&why)], None),
        };
        // Side by side, so that silent ones take no longer than one; the first that answers counts.
        let mut knocks: FuturesUnordered<_> = addresses
            .into_iter()
            .map(|ip| async move {
                let health = Knock::health((ip, self.port).into());
                let (host, deadline) = (self.name(), health.deadline.min(deadline));
                let knock = Knock { host, tls: self.tls, path: "/".into(), deadline, ..health };
                (ip, knock.outcome().await)
            })
            .collect();
        let mut last = None;
        while let Some((ip, outcome)) = knocks.next().await {
            match &outcome {
                Outcome::Said(_, answer) => return self.went(Vec::new(), ahead(answer)),
                Outcome::Distrusted(trouble, answer) => {
                    return self.went(vec![self.distrusted(trouble)], ahead(answer));
                }
                Outcome::Failed(failure) => last = Some(self.unreachable(ip, failure, &outcome)),
            }
        }
        let nothing = || self.unknown("it has no address");
        self.went(vec![last.unwrap_or_else(nothing)], None)
    }

    fn went(&self, findings: Vec<Finding>, ahead: Option<SignedDuration>) -> Went {
        Went { upstream: self.upstream, findings, ahead }
    }

    fn name(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// The origin, as people write it.
    fn shown(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    async fn resolve(&self) -> Result<Vec<IpAddr>, String> {
        let name = match &self.host {
            Host::Ipv4(address) => return Ok(vec![(*address).into()]),
            Host::Ipv6(address) => return Ok(vec![(*address).into()]),
            Host::Domain(name) => name,
        };
        match timeout(RESOLVE, tokio::net::lookup_host((name.as_str(), self.port))).await {
            Err(_) => Err(format!("no answer within {RESOLVE:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(found)) => {
                // IPv4 first: a host without IPv6 would wait for it in vain.
                let mut found: Vec<IpAddr> = found.map(|it| it.ip()).collect();
                found.sort_by_key(IpAddr::is_ipv6);
                found.dedup();
                found.truncate(ADDRESSES);
                Ok(found)
            }
        }
    }

    fn depth(&self) -> Depth {
        match self.upstream {
            Upstream::DingTalk => Depth::DingTalk,
            Upstream::Model => Depth::Model,
        }
    }

    fn unknown(&self, why: &str) -> Finding {
        let (name, (chinese, english)) = (self.name(), self.upstream.named());
        let remedy = Remedy::new(Text::new(
            "看 /etc/resolv.conf 里的 DNS 服务器通不通（ECS 内网 DNS 是 100.100.2.136 和 \
             100.100.2.138）；只有这一个名字不行时，检查它的拼写",
            "See whether the DNS servers of /etc/resolv.conf answer (those of ECS are \
             100.100.2.136 and 100.100.2.138); when only this name fails, its spelling",
        ));
        Finding::failed(
            "dns_fails",
            Depth::Network,
            Text::new(
                format!("{chinese}的域名 {name} 解析不了：{why}"),
                format!("{name}, the name of {english}, does not resolve: {why}"),
            ),
            remedy.command(format!("cat /etc/resolv.conf; getent hosts {name}")),
        )
    }

    fn unreachable(&self, ip: IpAddr, failure: &Failure, outcome: &Outcome) -> Finding {
        let (chinese, english) = self.upstream.named();
        let (place, seen) = (self.shown(), outcome.seen());
        let place = if self.name() == ip.to_string() { place } else { format!("{place} ({ip})") };
        let seen = Text::new(
            format!("连不上{chinese} {place}：{}", seen.chinese()),
            format!("{english} is not reached at {place}: {}", seen.english()),
        );
        if let Failure::Tls(_) | Failure::NotTls = failure {
            return Finding::failed(self.tls_code(), self.depth(), seen, intercepted());
        }
        let (code, setting) = match self.upstream {
            Upstream::DingTalk => {
                ("dingtalk_unreachable", "dingtalk.api_base / dingtalk.oapi_base")
            }
            Upstream::Model => ("model_unreachable", "llm.base_url (OPENAI_API_BASE)"),
        };
        let text = match failure {
            Failure::Refused => Text::new(
                format!("那里没有服务在听：检查 {setting}；自建的模型要先启动"),
                format!("Nothing listens there: check {setting}; start a server of your own"),
            ),
            Failure::IsTls => Text::new(
                format!("那里是 HTTPS：把 {setting} 改成 https://"),
                format!("It speaks HTTPS: write https:// in {setting}"),
            ),
            _ => Text::new(
                format!(
                    "这台主机出不去：ECS 没有公网 IP 时要绑定 EIP 或配置 NAT 网关；检查安全组的出方向规则、\
                     主机防火墙的 OUTPUT，以及 {setting}。需要代理时设 HTTPS_PROXY"
                ),
                format!(
                    "This host gets nowhere: without a public address ECS needs an EIP or a NAT \
                     gateway; look at the outbound rules of the security group, at OUTPUT of the \
                     host firewall, and at {setting}. If you need a proxy, set HTTPS_PROXY"
                ),
            ),
        };
        let command = format!("curl -sv -o /dev/null --max-time 5 {}", self.shown());
        Finding::failed(code, self.depth(), seen, Remedy::new(text).command(command))
    }

    fn tls_code(&self) -> &'static str {
        match self.upstream {
            Upstream::DingTalk => "dingtalk_tls",
            Upstream::Model => "model_tls",
        }
    }

    fn distrusted(&self, trouble: &Trouble) -> Finding {
        let ((chinese, english), place) = (self.upstream.named(), self.shown());
        let why = trouble.named();
        let seen = Text::new(
            format!("{chinese} {place} 的证书不可信：{}", why.chinese()),
            format!("the certificate of {english} at {place}: {}", why.english()),
        );
        let remedy = match trouble {
            Trouble::Expired | Trouble::NotYetValid => Remedy::new(Text::new(
                "先看本机时钟对不对；时钟没错，就是对方的证书要换",
                "See first whether this clock is right; if it is, their certificate must be renewed",
            ))
            .command("timedatectl status"),
            _ => intercepted(),
        };
        Finding::failed(self.tls_code(), self.depth(), seen, remedy)
    }
}

/// Somebody else shows a certificate, or this host knows no authority.
fn intercepted() -> Remedy {
    Remedy::new(Text::new(
        "多半有代理或防火墙在中间解密 HTTPS：让它放过这个域名，或把它的根证书装到本机；\
         本机缺少根证书时安装 ca-certificates",
        "Most often a proxy or a firewall opens the HTTPS in between: have it leave this name alone, \
         or install its root certificate; if this host has no authorities, install ca-certificates",
    ))
    .command("sudo apt install ca-certificates && sudo update-ca-certificates")
}

/// By how much the clock of who answered is ahead, by the `Date` of the answer.
fn ahead(answer: &Answer) -> Option<SignedDuration> {
    let date = answer.headers.get(DATE)?.to_str().ok()?;
    let there = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(there.duration_since(Timestamp::now()))
}

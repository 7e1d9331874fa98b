//! What the rules come to for the bot's ports.

use std::net::IpAddr;

use ipnet::IpNet;

use super::entrance::{self, Entrances, Own};
use super::words;
use crate::doctor::ecs::Instance;
use crate::doctor::ecs::rules::{self, Family, Opening, Policy, Rule};
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};

/// Networks that nobody on the Internet is in.
const PRIVATE: [&str; 6] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7"];

/// What is judged.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) region: &'a str,
    /// Whether the instance has a public IPv4 address, and a global IPv6 one.
    pub(super) public: (bool, bool),
    pub(super) entrances: &'a Entrances,
    /// The groups; an instance is in one at least.
    pub(super) groups: Vec<String>,
    pub(super) rules: &'a [Rule],
    /// Whose access is asked about.
    pub(super) visitor: Option<IpNet>,
    /// Where the person at the terminal comes from.
    pub(super) operator: Option<IpNet>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        facts: &Facts,
        instance: &'a Instance,
        entrances: &'a Entrances,
        groups: Vec<String>,
        rules: &'a [Rule],
    ) -> Self {
        let has = |is: fn(&IpAddr) -> bool| instance.public.iter().any(is);
        Self {
            region: &instance.region,
            public: (has(IpAddr::is_ipv4), has(IpAddr::is_ipv6)),
            entrances,
            groups,
            rules,
            visitor: facts.visitor(),
            operator: facts.variable("SSH_CLIENT").and_then(operator),
        }
    }

    /// What is to be said of all ports.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for finding in self.entrances.own.iter().flat_map(|own| self.of_own(*own)) {
            // Several ports may have one proxy before them.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        if self.entrances.own.is_empty() {
            let family = self.visitor.map_or(Family::V4, rules::of);
            findings.extend(self.of_front(family));
        }
        findings
    }

    fn of_own(&self, own: Own) -> Vec<Finding> {
        let port = own.port;
        let family = self.visitor.map_or(Family::V4, rules::of);
        let opening = rules::opening(self.rules, port, family);
        if own.inside {
            // Nobody reaches it there, whatever the rules say; the proxy is what counts.
            return self.of_front(family).into_iter().collect();
        }
        let mut findings = vec![self.of_port(port, family, &opening)];
        if family == Family::V4 && own.v6 && self.public.1 {
            let sixth = rules::opening(self.rules, port, Family::V6);
            if sixth.is_wide(Family::V6)
                && !opening.is_wide(Family::V4)
                && !entrance::FRONT.contains(&port)
            {
                findings.push(self.wide(port, Family::V6, &sixth));
            } else if sixth.open.is_empty() && !opening.open.is_empty() {
                findings.push(self.sixth_closed(port));
            }
        }
        findings
    }

    /// The bot's own port.
    fn of_port(&self, port: u16, family: Family, opening: &Opening<'_>) -> Finding {
        if let Some(visitor) = self.visitor {
            let front = self.of_front(family).filter(|_| self.entrances.proxied);
            return match front {
                Some(front) if !opening.lets_in(visitor) => front,
                _ => self.of_visitor(port, visitor, opening),
            };
        }
        if opening.is_wide(family) {
            // Everybody is meant to come by the ports of the web.
            let is_web = entrance::FRONT.contains(&port);
            return if is_web { open(port, opening) } else { self.wide(port, family, opening) };
        }
        if !opening.open.is_empty() {
            if opening.open.iter().any(|network| !is_private(*network)) {
                return open(port, opening);
            }
            if self.entrances.proxied || !self.public.0 {
                return open(port, opening);
            }
            return self.only_private(port, opening);
        }
        match self.of_front(family) {
            Some(finding) if self.entrances.proxied => finding,
            Some(finding) if finding.code == "security_group_open" => self.perhaps_proxied(port),
            _ => self.closed(port, family, opening),
        }
    }

    /// The ports of a proxy: the first that is open, or the first that should be.
    fn of_front(&self, family: Family) -> Option<Finding> {
        let openings = self.entrances.front.iter();
        let openings: Vec<_> =
            openings.map(|port| (*port, rules::opening(self.rules, *port, family))).collect();
        let lets_in = |opening: &Opening<'_>| match self.visitor {
            Some(visitor) => opening.lets_in(visitor),
            None => !opening.open.is_empty(),
        };
        if let Some((port, opening)) = openings.iter().find(|(_, opening)| lets_in(opening)) {
            return Some(open(*port, opening));
        }
        let (port, opening) = openings.first()?;
        Some(match self.visitor {
            Some(visitor) => self.of_visitor(*port, visitor, opening),
            None => self.closed(*port, family, opening),
        })
    }

    fn of_visitor(&self, port: u16, visitor: IpNet, opening: &Opening<'_>) -> Finding {
        if opening.lets_in(visitor) {
            return open(port, opening);
        }
        let family = rules::of(visitor);
        if opening.open.is_empty() {
            return self.closed(port, family, opening);
        }
        let by = match opening.decides(visitor) {
            Some(rule) if rule.policy == Policy::Drop => {
                let rule = words::rule(rule);
                (format!("，被规则 {rule} 拒绝"), format!(" and is dropped by rule {rule}"))
            }
            _ => (String::new(), String::new()),
        };
        let from = words::networks(&opening.open);
        Finding::failed(
            "security_group_other_source",
            Depth::SecurityGroup,
            Text::new(
                format!(
                    "安全组 {} 的 TCP {port} 只对 {from} 开放，{visitor} 不在其中{}",
                    self.ids(),
                    by.0
                ),
                format!(
                    "security group {} opens TCP {port} to {from} only; {visitor} is not among them{}",
                    self.ids(),
                    by.1
                ),
            ),
            self.add(port, visitor),
        )
    }

    fn only_private(&self, port: u16, opening: &Opening<'_>) -> Finding {
        let from = words::networks(&opening.open);
        Finding::warning(
            "security_group_other_source",
            Depth::SecurityGroup,
            Text::new(
                format!(
                    "安全组 {} 的 TCP {port} 只对内网 {from} 开放：来自公网的连接（包括钉钉回调）会超时",
                    self.ids()
                ),
                format!(
                    "security group {} opens TCP {port} to private networks only ({from}): connections from the Internet, DingTalk's callbacks included, time out",
                    self.ids()
                ),
            ),
            self.add(port, rules::everywhere(Family::V4)),
        )
    }

    /// Nobody is let in.
    fn closed(&self, port: u16, family: Family, opening: &Opening<'_>) -> Finding {
        let source = self.visitor.unwrap_or_else(|| rules::everywhere(family));
        if let Some(unknown) = opening.unknown.first() {
            let rule = words::rule(unknown);
            return Finding::unseen(
                "security_group_unseen",
                Text::new(
                    format!(
                        "安全组 {} 的规则 {rule} 引用的列表读不到，不能确定 TCP {port} 对谁开放",
                        self.ids()
                    ),
                    format!(
                        "rule {rule} of security group {} names a list that cannot be read: to whom TCP {port} is open is not certain",
                        self.ids()
                    ),
                ),
                self.add(port, source),
            );
        }
        let drop = opening.decides(source).filter(|rule| rule.policy == Policy::Drop);
        if let Some(drop) = drop
            && (!opening.overruled.is_empty() || drop.priority == 1)
        {
            return self.dropped(port, drop, opening.overruled.first().copied());
        }
        let known = self.rules.len();
        let by_group = match opening.by_group.first() {
            Some(rule) => {
                let rule = words::rule(rule);
                (
                    format!("；只有规则 {rule} 授权了另一个安全组"),
                    format!("; rule {rule} lets in another group only"),
                )
            }
            None => (String::new(), String::new()),
        };
        let seen = Text::new(
            format!(
                "安全组 {}（共 {known} 条入方向规则）没有允许 TCP {port} 的规则{}：外部连接会被丢弃，表现为超时",
                self.ids(),
                by_group.0
            ),
            format!(
                "security group {} ({known} inbound rules) has no rule that allows TCP {port}{}: connections from outside are dropped, and time out",
                self.ids(),
                by_group.1
            ),
        );
        self.fault("security_group_closed", seen, self.add(port, source))
    }

    /// A rule drops it, and goes before one that would let in.
    fn dropped(&self, port: u16, drop: &Rule, accept: Option<&Rule>) -> Finding {
        let rule = words::rule(drop);
        let over = match accept {
            Some(accept) => {
                let accept = words::rule(accept);
                (format!("，排在允许规则 {accept} 之前"), format!(", which goes before {accept}"))
            }
            None => (String::new(), String::new()),
        };
        let seen = Text::new(
            format!(
                "TCP {port} 被安全组规则 {rule} 拒绝{}（数字小的优先，同优先级拒绝优先）",
                over.0
            ),
            format!(
                "TCP {port} is dropped by rule {rule}{} (the lower number goes first; at the same priority drop does)",
                over.1
            ),
        );
        let remedy = self.overrule(port, drop, accept);
        self.fault("security_group_drops", seen, remedy)
    }

    /// Open to everybody.
    fn wide(&self, port: u16, family: Family, opening: &Opening<'_>) -> Finding {
        let wide = opening.decided.iter().find(|(rule, _)| rule.policy == Policy::Accept);
        let all = rules::everywhere(family);
        let rule = wide.map(|(rule, _)| words::rule(rule)).unwrap_or_default();
        let seen = Text::new(
            format!("TCP {port} 对 {all}（整个互联网）开放，规则 {rule}"),
            format!("TCP {port} is open to {all}, the whole Internet, by rule {rule}"),
        );
        let remedy = self.narrow(port, family, wide.map(|(rule, _)| *rule));
        Finding::warning("security_group_wide_open", Depth::Note, seen, remedy)
    }

    /// Closed, while a port at which proxies listen is open.
    fn perhaps_proxied(&self, port: u16) -> Finding {
        let front: Vec<String> = self.entrances.front.iter().map(u16::to_string).collect();
        let front = front.join(", ");
        Finding::unseen(
            "security_group_behind_proxy",
            Text::new(
                format!(
                    "安全组没有开放 TCP {port}，但开放了本机另一个服务监听的 {front}：如果它是转发到机器人的反向代理，这样正好"
                ),
                format!(
                    "the security group does not open TCP {port}, but {front}, where another service of this host listens: right, if that is a proxy before the bot"
                ),
            ),
            self.add(port, rules::everywhere(Family::V4)),
        )
    }

    fn sixth_closed(&self, port: u16) -> Finding {
        Finding::warning(
            "security_group_ipv6_closed",
            Depth::SecurityGroup,
            Text::new(
                format!(
                    "TCP {port} 对 IPv4 开放，但安全组 {} 没有允许它的 IPv6 规则，而本机有公网 IPv6 地址：域名有 AAAA 记录时访问会超时",
                    self.ids()
                ),
                format!(
                    "TCP {port} is open by IPv4, but security group {} has no IPv6 rule for it, and this host has a global IPv6 address: callers of a name with an AAAA record time out",
                    self.ids()
                ),
            ),
            self.add(port, rules::everywhere(Family::V6)),
        )
    }

    /// A fault, as far as anybody could come from outside.
    fn fault(&self, code: &'static str, seen: Text, remedy: Remedy) -> Finding {
        if self.public.0 || self.visitor.is_some() {
            Finding::failed(code, Depth::SecurityGroup, seen, remedy)
        } else {
            Finding::warning(code, Depth::SecurityGroup, seen, remedy)
        }
    }

    fn ids(&self) -> String {
        self.groups.join(", ")
    }
}

/// It is open, and to whom.
fn open(port: u16, opening: &Opening<'_>) -> Finding {
    let from = words::networks(&opening.open);
    let accept = opening.decided.iter().find(|(rule, _)| rule.policy == Policy::Accept);
    let rule = accept.map(|(rule, _)| words::rule(rule)).unwrap_or_default();
    Finding::fine(
        "security_group_open",
        Text::new(
            format!("TCP {port} 对 {from} 开放，规则 {rule}"),
            format!("TCP {port} is open to {from}, by rule {rule}"),
        ),
    )
}

fn is_private(network: IpNet) -> bool {
    let private = PRIVATE.iter().filter_map(|private| private.parse::<IpNet>().ok());
    private.into_iter().any(|private| private.contains(&network))
}

/// The address before the first space, if somebody on the Internet has it.
fn operator(client: &str) -> Option<IpNet> {
    let address: IpAddr = client.split_whitespace().next()?.parse().ok()?;
    Some(IpNet::from(address)).filter(|network| !is_private(*network) && !address.is_loopback())
}

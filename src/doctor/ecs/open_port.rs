//! Opens a port in the security group of the instance: what would be added, and adding it.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::acs3::sha256;
use super::rules::{self, Policy, Rule, Sources};
use super::{Api, ApiError, Authorize, CredentialsError, Ecs, credentials};
use crate::doctor::facts::Facts;
use crate::doctor::finding::Text;
use crate::doctor::security_group::words;
use crate::printed::visible;

/// Longest `ClientToken` the API takes, in characters.
const TOKEN: usize = 64;
/// How long a rule that was added may take to be listed, and how often it is looked for.
const LISTED: Duration = Duration::from_millis(500);
const LOOKS: u32 = 4;

/// Why nothing can be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub Text);

/// A rule that may be added.
#[derive(Debug)]
pub struct Proposal {
    api: Api,
    group: String,
    region: String,
    port: u16,
    source: IpNet,
    state: State,
    notes: Vec<Text>,
}

/// How it is with the rule that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is none of it.
    New,
    /// There is a rule that lets all of this in already.
    Open(Text),
    /// A rule drops it that would go before the new one.
    Overruled(Text),
}

/// Reads the networks a port is opened to: one address, or a network without host bits.
///
/// # Errors
/// A text that says what is wrong with it, and how it is right.
pub fn source(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("`{text}` is no address and no network; write 203.0.113.7 or 203.0.113.0/24")
    })?;
    let whole = network.trunc();
    if whole != network {
        return Err(format!("`{text}` has host bits set; the network is {whole}"));
    }
    Ok(network)
}

/// The port to open: the one asked for, or the only one that leads to the bot.
///
/// # Errors
/// A text that names the ports there are.
pub async fn port(facts: &Facts, asked: Option<u16>) -> Result<u16, Refusal> {
    if let Some(port) = asked {
        return Ok(port);
    }
    let mut ports: Vec<u16> = facts.doors().await.iter().map(|door| door.port).collect();
    ports.sort_unstable();
    ports.dedup();
    match ports[..] {
        [port] => Ok(port),
        _ => {
            let listed = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            Err(Refusal(Text::new(
                format!("请用 --port 指定端口（机器人的端口：{listed}）"),
                format!("name the port with --port (the bot is at: {listed})"),
            )))
        }
    }
}

/// What would be added to let `source` in at `port`.
///
/// # Errors
/// Why nothing can be: no instance, no credentials, or what the API says.
pub async fn propose(facts: &Facts, port: u16, source: IpNet) -> Result<Proposal, Refusal> {
    let Ecs::Instance { instance, metadata } = facts.ecs().await else {
        return Err(Refusal(Text::new(
            "这台主机不是 ECS 实例，或元数据服务 100.100.100.200 没有应答：不知道该修改哪个安全组",
            "this host is no ECS instance, or its metadata service 100.100.100.200 does not answer: there is no telling which security group it is in",
        )));
    };
    let credentials = credentials(facts, metadata).await.map_err(|error| without(&error))?;
    let api = Api::new(&instance.region, credentials).map_err(|error| refused(&error))?;
    let groups = api.groups_of(&instance.id).await.map_err(|error| refused(&error))?;
    let mut rules = Vec::new();
    for group in &groups {
        rules.extend(api.group(group).await.map_err(|error| refused(&error))?.rules);
    }
    let Some(group) = groups.first().cloned() else {
        return Err(Refusal(Text::new(
            format!("实例 {} 没有安全组", instance.id),
            format!("instance {} is in no security group", instance.id),
        )));
    };
    let mut notes = Vec::new();
    if groups.len() > 1 {
        let all = groups.join(", ");
        notes.push(Text::new(
            format!("实例有多个安全组（{all}），规则合并生效；加到第一个：{group}"),
            format!("the instance is in several groups ({all}), whose rules add up; it is added to the first: {group}"),
        ));
    }
    if source == rules::everywhere(rules::of(source)) {
        notes.push(Text::new(
            format!("⚠️ {source} 表示对整个互联网开放 {port} 端口；只给固定来源使用时，请改为它的网段"),
            format!("⚠️ {source} opens port {port} to the whole Internet; where callers are known, give their network instead"),
        ));
    }
    let state = state(&rules, port, source);
    let region = instance.region.clone();
    Ok(Proposal { api, group, region, port, source, state, notes })
}

/// How it is with the rule among those there are.
fn state(rules: &[Rule], port: u16, source: IpNet) -> State {
    let opening = rules::opening(rules, port, rules::of(source));
    let everywhere = rules::everywhere(rules::of(source));
    let decides = opening.decides(source);
    // A rule for everybody is one that should go: what is let in by it alone may well want its own.
    let own = rules.iter().find(|rule| is(rule, port, source));
    let enough = decides.filter(|rule| source == everywhere || !is_about(rule, everywhere));
    if opening.lets_in(source)
        && let Some(rule) = own.or(enough)
    {
        let rule = words::rule(rule);
        return State::Open(Text::new(
            format!("{source} 已经可以访问 TCP {port}（{rule}），无需修改"),
            format!("{source} may reach TCP {port} already ({rule}): nothing to do"),
        ));
    }
    let before = opening.decided.iter().find(|(rule, networks)| {
        let overlap = |network: &IpNet| network.contains(&source) || source.contains(network);
        rule.policy == Policy::Drop && rule.priority == 1 && networks.iter().any(overlap)
    });
    match before {
        Some((rule, _)) => {
            let rule = words::rule(rule);
            State::Overruled(Text::new(
                format!(
                    "规则 {rule} 拒绝该来源；同优先级时拒绝优先，新加的允许规则不会生效。请先在控制台删除它或调低它的优先级"
                ),
                format!(
                    "rule {rule} drops it, and at the same priority drop goes first: a new rule would have no effect. Delete it or lower its priority first"
                ),
            ))
        }
        None => State::New,
    }
}

/// Whether it is the rule that is asked for.
fn is(rule: &Rule, port: u16, source: IpNet) -> bool {
    rule.policy == Policy::Accept
        && rule.priority == 1
        && rule.tcp
        && rule.ports == [(port, port)]
        && is_about(rule, source)
}

/// Whether it is about this network and no other.
fn is_about(rule: &Rule, network: IpNet) -> bool {
    rule.sources == Sources::Networks(vec![network])
}

impl Proposal {
    /// How it is with the rule.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What should be known before it is added.
    pub fn notes(&self) -> &[Text] {
        &self.notes
    }

    /// The rule, in words.
    pub fn words(&self) -> Text {
        let Self { group, region, port, source, .. } = self;
        Text::new(
            format!(
                "安全组 {group}（{region}）入方向：允许，优先级 1，TCP {port}/{port}，授权对象 {source}，描述 dingbot"
            ),
            format!(
                "security group {group} ({region}), inbound: allow, priority 1, TCP {port}/{port}, source {source}, description dingbot"
            ),
        )
    }

    /// The same by `aliyun`.
    pub fn command(&self) -> String {
        words::command(&self.region, &self.group, self.port, self.source)
    }

    /// Adds the rule, and sees whether it is there.
    ///
    /// # Errors
    /// What the API says.
    pub async fn add(&self) -> Result<Text, Refusal> {
        let Self { api, group, port, source, .. } = self;
        let wish = format!("{}|{group}|tcp|{port}|{source}|accept|1", self.region);
        let token: String = sha256(wish.as_bytes()).chars().take(TOKEN).collect();
        let fresh = uuid::Uuid::new_v4().to_string();
        // With a token that it knows, the API says for some time that all is done, also when
        // somebody has deleted the rule since.
        for client_token in [token, fresh] {
            let rule =
                Authorize { group, port: *port, source: *source, client_token: &client_token };
            api.authorize(&rule).await.map_err(|error| refused(&error))?;
            for _ in 0..LOOKS {
                let rules = api.group(group).await.map_err(|error| refused(&error))?.rules;
                if rules.iter().any(|rule| is(rule, *port, *source)) {
                    return Ok(Text::new(
                        format!("已添加：{source} 可以访问 TCP {port}，1～2 分钟内生效"),
                        format!(
                            "added: {source} may reach TCP {port}; it takes effect within 1 to 2 minutes"
                        ),
                    ));
                }
                tokio::time::sleep(LISTED).await;
            }
        }
        Err(Refusal(Text::new(
            format!("接口接受了规则，但安全组 {group} 的规则列表里没有它；请到控制台查看"),
            format!("the API took the rule, but group {group} does not list it; see the console"),
        )))
    }
}

fn without(error: &CredentialsError) -> Refusal {
    let (chinese, english) = words::no_credentials(error);
    Refusal(Text::new(
        format!("没有可用的访问凭证：{}", visible(&chinese)),
        format!("there are no credentials: {}", visible(&english)),
    ))
}

fn refused(error: &ApiError) -> Refusal {
    let (chinese, english) = words::api_error(error);
    Refusal(Text::new(visible(&chinese), visible(&english)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_networks_without_host_bits() {
        for (text, network) in [
            ("203.0.113.7", "203.0.113.7/32"),
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("2408::1", "2408::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(source(text), Ok(network.parse().unwrap()), "{text}");
        }
        assert_eq!(
            source("203.0.113.7/24").unwrap_err(),
            "`203.0.113.7/24` has host bits set; the network is 203.0.113.0/24"
        );
        for text in ["", "everyone", "203.0.113.0/33", "203.0.113", "203.0.113.0/24 10.0.0.0/8"] {
            assert!(source(text).unwrap_err().contains("203.0.113.0/24"), "{text}");
        }
    }

    fn rule(policy: Policy, priority: u8, source: &str) -> Rule {
        Rule {
            id: format!("sgr-{priority}"),
            group: "sg-1".into(),
            policy,
            priority,
            tcp: true,
            ports: vec![(9090, 9090)],
            sources: Sources::Networks(vec![source.parse().unwrap()]),
        }
    }

    #[test]
    fn a_rule_that_would_change_nothing_is_not_proposed() {
        let of = |rules: &[Rule]| state(rules, 9090, "203.0.113.0/24".parse().unwrap());
        assert_eq!(of(&[]), State::New);
        assert!(matches!(of(&[rule(Policy::Accept, 5, "203.0.112.0/22")]), State::Open(_)));
        // One that lets in everybody should go, and then this one is wanted.
        let everybody = rule(Policy::Accept, 1, "0.0.0.0/0");
        assert_eq!(of(std::slice::from_ref(&everybody)), State::New);
        let both = [everybody.clone(), rule(Policy::Accept, 1, "203.0.113.0/24")];
        assert!(matches!(of(&both), State::Open(_)));
        let all = state(&[everybody], 9090, "0.0.0.0/0".parse().unwrap());
        assert!(matches!(all, State::Open(_)));
        assert_eq!(of(&[rule(Policy::Accept, 5, "203.0.113.7/32")]), State::New);
        assert!(matches!(of(&[rule(Policy::Drop, 1, "203.0.113.7/32")]), State::Overruled(_)));
        assert_eq!(of(&[rule(Policy::Drop, 2, "0.0.0.0/0")]), State::New);
    }
}

//! DingTalk and the model: the way there, and whether they take what the settings hold.
//!
//! The way is gone first, with nothing secret; the keys are tried beside it, by the clients of the
//! bot itself. What fails on the way is what is told.

mod clock;
mod dingtalk;
mod model;
mod second;
mod way;

use futures_util::future::join_all;

use self::way::Way;
use super::examined::Examined;
use super::facts::Facts;
use super::finding::{Finding, Remedy, Text};
use super::target::PROXIES;

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let bot = facts.examined().await;
    let mut findings = second::look(facts, bot).await;
    if let Some(name) = other_proxy(facts, bot) {
        findings.push(through_proxy(name));
        return findings;
    }
    let ways = ways(bot);
    let proxied = PROXIES.iter().any(|name| bot.variable(name).is_some());
    let go = async {
        // A proxy goes the way in the bot's place.
        if proxied {
            return Vec::new();
        }
        join_all(ways.iter().map(|way| way.go(facts.deadline()))).await
    };
    let (went, dingtalk, model) =
        tokio::join!(go, dingtalk::look(bot, facts.deadline()), model::look(bot, facts.deadline()));
    let blocked = |upstream| went.iter().any(|it| it.upstream == upstream && it.blocked());
    findings.extend(clock::look(&went));
    // What keeps from getting there at all explains why nobody takes the keys.
    let (no_dingtalk, no_model) = (blocked(Upstream::DingTalk), blocked(Upstream::Model));
    findings.extend(went.into_iter().flat_map(|it| it.findings));
    findings.extend(dingtalk.into_iter().filter(|_| !no_dingtalk));
    findings.extend(model.into_iter().filter(|_| !no_model));
    if let Some(closed) = &bot.closed {
        findings.push(keys_unseen(&closed.display().to_string()));
    }
    findings
}

/// Whom the bot depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upstream {
    DingTalk,
    Model,
}

impl Upstream {
    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::DingTalk => ("钉钉", "DingTalk"),
            Self::Model => ("模型", "the model"),
        }
    }
}

/// The ways that the settings need, each origin once.
fn ways(bot: &Examined) -> Vec<Way> {
    let settings = bot.settings();
    let dingtalk = &settings.dingtalk;
    let has_app = !dingtalk.client_secret.is_empty();
    let mut ways: Vec<Way> = Vec::new();
    let mut add = |upstream, url: &url::Url| {
        let way = Way::new(upstream, url);
        if let Some(way) = way.filter(|way| !ways.contains(way)) {
            ways.push(way);
        }
    };
    if has_app && !dingtalk.client_id.is_empty() {
        add(Upstream::DingTalk, &dingtalk.api_base);
    }
    if has_app || !dingtalk.group_robots.is_empty() {
        add(Upstream::DingTalk, &dingtalk.oapi_base);
    }
    if !settings.llm.is_offline() {
        add(Upstream::Model, &settings.llm.base_url);
    }
    ways
}

/// A proxy that the bot goes through, and that this process knows nothing of, or the reverse.
fn other_proxy(facts: &Facts, bot: &Examined) -> Option<&'static str> {
    PROXIES.into_iter().find(|name| bot.variable(name) != facts.variable(name))
}

fn through_proxy(name: &str) -> Finding {
    Finding::unseen(
        "upstreams_behind_proxy",
        Text::new(
            format!("机器人和这个终端的 {name} 不同，走的不是同一个代理，没有检查钉钉和模型"),
            format!(
                "the bot and this terminal differ in {name}, and so in the proxy they go through: \
                 DingTalk and the model were not tried"
            ),
        ),
        Remedy::new(Text::new(
            format!("让这里的 {name} 与机器人一致后再运行"),
            format!("Run it with the {name} of the bot"),
        )),
    )
}

fn keys_unseen(closed: &str) -> Finding {
    Finding::unseen(
        "keys_unseen",
        Text::new(
            format!("没有权限读取 {closed}，密钥没有全部试过"),
            format!("{closed} is closed to this user: not every key was tried"),
        ),
        Remedy::new(Text::new("用 root 运行", "Run it as root")).command("sudo dingbot doctor"),
    )
}

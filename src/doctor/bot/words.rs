//! What the running bot says of itself: its checks, and what became of callbacks.

use serde::Deserialize;

use super::callbacks;
use super::store::damaged;
use crate::doctor::door::Door;
use crate::doctor::examined::Examined;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::doctor::probe::Knock;
use crate::printed::one_line;
use crate::store::StoreError;
use crate::telemetry::callbacks::Callbacks;

/// `/health?verbose=1`; a bot of an older version says less.
#[derive(Debug, Deserialize)]
struct Words {
    checks: Vec<Check>,
    callbacks: Option<Callbacks>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    status: String,
    message: String,
}

/// Asks the bot. One that does not answer says nothing; that it does not is another check's.
pub(super) async fn look(facts: &Facts, bot: &Examined) -> Vec<Finding> {
    let doors = facts.doors().await;
    // As seen from the host itself: the first that answers is the bot that is examined.
    for address in doors.iter().flat_map(Door::local_addresses) {
        let health = Knock::health(address);
        let deadline = health.deadline.min(facts.deadline());
        let knock = Knock { path: "/health?verbose=1".into(), deadline, ..health };
        let Ok(answer) = knock.ask().await else { continue };
        if answer.status == 403 {
            return vec![closed()];
        }
        if let Ok(words) = serde_json::from_str::<Words>(&answer.body) {
            return understood(&words, bot, address.port());
        }
    }
    Vec::new()
}

fn understood(words: &Words, bot: &Examined, port: u16) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        words.checks.iter().filter_map(|check| finding(check, bot)).collect();
    if let Some(told) = &words.callbacks {
        findings.push(callbacks::finding(told, bot, port));
    }
    findings
}

fn finding(check: &Check, bot: &Examined) -> Option<Finding> {
    if check.status == "ok" {
        return None;
    }
    let message = one_line(&check.message);
    let said = |chinese: &str, english: &str| {
        Text::new(format!("{chinese}：{message}"), format!("{english}: {message}"))
    };
    let list = bot.command("outbox list");
    let found = match check.name.as_str() {
        "store" if check.message == StoreError::Full.to_string() => Finding::failed(
            "disk_full",
            Depth::Storage,
            said("机器人无法保存消息", "the bot cannot keep messages"),
            Remedy::new(Text::new("腾出磁盘空间", "Make room on the disk")).command("df -h"),
        ),
        "store_integrity" => damaged(bot, &bot.store(), &message),
        "store" => Finding::failed(
            "store_unwritable",
            Depth::Storage,
            said("机器人无法保存消息", "the bot cannot keep messages"),
            Remedy::new(Text::new(
                "看数据库所在的磁盘和目录权限",
                "Look at the disk of the store, and at who may write there",
            ))
            .command(bot.restart()),
        ),
        "inbox" => Finding::failed(
            "inbox_stuck",
            Depth::Bot,
            said("消息积压，没有得到回答", "messages wait and are not answered"),
            Remedy::new(Text::new(
                "多半是模型慢或不通（看“钉钉与模型”一节）；调大 llm.max_concurrency，或换快一点的模型",
                "Most often the model is slow or not reached (see “DingTalk and model”); raise \
                 llm.max_concurrency, or take a faster model",
            ))
            .command(bot.log()),
        ),
        "outbox" => Finding::warning(
            "dead_letters",
            Depth::Bot,
            said("有消息没能送达钉钉", "messages that could not be delivered to DingTalk"),
            Remedy::new(Text::new(
                "看原因，改正后重新投递（retry），或丢弃（drop）",
                "See why; deliver them again once that is mended (retry), or drop them",
            ))
            .command(list)
            .command(bot.command("outbox retry --all")),
        ),
        "model" => Finding::warning(
            "model_failing",
            Depth::Model,
            said("模型连续失败，暂时不再请求", "the model kept failing, and is left alone for now"),
            Remedy::new(Text::new(
                "按“钉钉与模型”一节的结果处理",
                "Mend what “DingTalk and model” names",
            ))
            .command(bot.log()),
        ),
        "dingtalk" => Finding::warning(
            "delivery_failing",
            Depth::DingTalk,
            said("最近一次投递到钉钉失败", "the last delivery to DingTalk failed"),
            Remedy::new(Text::new(
                "按给出的原因处理；会自动重试",
                "Mend what it names; it is tried again by itself",
            ))
            .command(list),
        ),
        name => Finding::failed(
            "part_failed",
            Depth::Bot,
            Text::new(
                format!("机器人的 {} 部分停止了工作：{message}", one_line(name)),
                format!("the part {} of the bot has failed: {message}", one_line(name)),
            ),
            Remedy::new(Text::new("重启它，并报告这个错误", "Restart it, and report this error"))
                .command(bot.restart()),
        ),
    };
    Some(found)
}

fn closed() -> Finding {
    Finding::unseen(
        "checks_closed",
        Text::new(
            "机器人不让本机查看它的各项检查（server.metrics_allow）",
            "the bot does not show its checks to this host (server.metrics_allow)",
        ),
        Remedy::new(Text::new(
            "在 server.metrics_allow 里加上 127.0.0.1/32 后重新加载；从 Docker 主机上看，\
             要加网桥的网段",
            "Add 127.0.0.1/32 to server.metrics_allow and reload; for a container, the network of \
             its bridge",
        ))
        .command("sudo systemctl reload dingbot"),
    )
}

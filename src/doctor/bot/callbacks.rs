//! Whether DingTalk's callbacks come, and why they are refused.

use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::doctor::examined::{Examined, Starter};
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::printed::one_line;
use crate::telemetry::callbacks::{Callbacks, Rejected};

/// Where a robot's address is set.
const CONSOLE: &str = "https://open-dev.dingtalk.com";

/// What became of the callbacks since the start.
pub(super) fn finding(callbacks: &Callbacks, bot: &Examined, port: u16) -> Finding {
    if let Some(refused) = last_refused(callbacks) {
        return rejected(refused, callbacks, bot);
    }
    match callbacks.last_accepted {
        Some(last) => {
            let (count, last) = (callbacks.accepted, local(last));
            Finding::fine(
                "callbacks_received",
                Text::new(
                    format!("启动以来收到 {count} 条消息，最近一条在 {last}"),
                    format!("{count} messages received since the start, the last at {last}"),
                ),
            )
        }
        None => none_yet(bot, port),
    }
}

/// The refusal after which no message was accepted: the one that tells why the bot hears nothing.
/// Who sends no signature, or no callback at all, is not DingTalk.
fn last_refused(callbacks: &Callbacks) -> Option<&Rejected> {
    let telling =
        ["signature_mismatch", "signature_skew", "unsigned", "session_webhook", "over_quota"];
    let refused = callbacks.rejected.iter().filter(|it| telling.contains(&it.reason.as_str()));
    refused.max_by_key(|it| it.last).filter(|it| it.last > callbacks.last_accepted)
}

fn rejected(refused: &Rejected, callbacks: &Callbacks, bot: &Examined) -> Finding {
    let (why, remedy) = reason(&refused.reason, bot);
    let (count, accepted) = (refused.count, callbacks.accepted);
    let last = refused.last.map(local).unwrap_or_default();
    let code = one_line(&refused.reason);
    let seen = Text::new(
        format!(
            "启动以来拒绝了 {count} 个回调，最近一个在 {last}，原因 {code}：{}；收下 {accepted} 条",
            why.chinese()
        ),
        format!(
            "{count} callbacks refused since the start, the last at {last}, for {code}: {}; \
             {accepted} accepted",
            why.english()
        ),
    );
    // Where messages were accepted the settings are right: somebody else may have called.
    if accepted > 0 {
        Finding::warning("callbacks_rejected", Depth::Bot, seen, remedy)
    } else {
        Finding::failed("callbacks_rejected", Depth::Bot, seen, remedy)
    }
}

/// What a reason means, and what mends it.
fn reason(reason: &str, bot: &Examined) -> (Text, Remedy) {
    let secret = bot.set("dingtalk.client_secret");
    let (secret_zh, secret_en) = (secret.chinese(), secret.english());
    let (why, remedy) = match reason {
        "signature_mismatch" => (
            Text::new(
                "签名对不上，dingtalk.client_secret 不是这个应用的 AppSecret，或请求不是钉钉发的",
                "the signature does not match: dingtalk.client_secret is not the AppSecret of this \
                 application, or DingTalk did not send it",
            ),
            Text::new(
                format!(
                    "在 {CONSOLE} → 应用开发 → 你的应用 → 凭证与基础信息 复制 Client Secret (AppSecret)，\
                     填到 {secret_zh}"
                ),
                format!(
                    "Copy the Client Secret (AppSecret) from {CONSOLE} → your application → \
                     Credentials to {secret_en}"
                ),
            ),
        ),
        "signature_skew" => (
            Text::new(
                "签名的时间与本机时钟相差超过 1 小时",
                "its time is more than an hour from this clock",
            ),
            Text::new("校准本机时钟", "Set the clock of this host right"),
        ),
        "unsigned" => (
            Text::new(
                "没有配置 dingtalk.client_secret，只接受本机的回调",
                "without dingtalk.client_secret only callbacks from this host are accepted",
            ),
            Text::new(
                format!(
                    "把 {CONSOLE} → 应用开发 → 你的应用 → 凭证与基础信息 里的 Client Secret 填到 \
                     {secret_zh}"
                ),
                format!(
                    "Copy the Client Secret of {CONSOLE} → your application → Credentials to \
                     {secret_en}"
                ),
            ),
        ),
        "session_webhook" => (
            Text::new(
                "sessionWebhook 不是钉钉的地址",
                "its sessionWebhook is not an address of DingTalk's",
            ),
            Text::new(
                "专有钉钉要把 dingtalk.oapi_base 设为它的地址；否则是有人伪造",
                "A DingTalk of your own needs its address in dingtalk.oapi_base; else it is forged",
            ),
        ),
        _ => (
            Text::new(
                "钉钉说企业的 API 调用额度已用完",
                "DingTalk says that the organisation is over its quota",
            ),
            Text::new(
                format!("在 {CONSOLE} 购买或等下个月的额度"),
                format!("Buy more at {CONSOLE}, or wait for the next month"),
            ),
        ),
    };
    let remedy = Remedy::new(remedy);
    let remedy = match (reason, &bot.starter) {
        ("signature_skew", _) => remedy
            .command("timedatectl status")
            .command("sudo timedatectl set-ntp true && sudo systemctl restart chrony"),
        ("signature_mismatch" | "unsigned", Starter::Unit) => remedy
            .command(
                "sudo install -m 0600 /dev/stdin /etc/dingbot/credentials/dingtalk-client_secret",
            )
            .command(bot.restart()),
        (_, Starter::Container(_)) => remedy,
        _ => remedy.command(bot.restart()),
    };
    (why, remedy)
}

fn none_yet(bot: &Examined, port: u16) -> Finding {
    let follow = match &bot.starter {
        Starter::Container(name) => format!("docker logs -f --tail 5 {name}"),
        Starter::Unit | Starter::Hand => "journalctl -u dingbot -f".into(),
    };
    Finding::unseen(
        "no_callback_yet",
        Text::new(
            "启动以来还没有收到钉钉的消息",
            "no message of DingTalk's has come since the start",
        ),
        Remedy::new(Text::new(
            format!(
                "给机器人发一条消息试试。没有反应时，检查 {CONSOLE} → 应用开发 → 你的应用 → 机器人 → \
                 消息接收模式（HTTP）→ 消息接收地址：http(s)://公网地址或域名:{port}/webhook，\
                 并且应用版本已发布"
            ),
            format!(
                "Write to the robot. If nothing comes, look at {CONSOLE} → your application → Robot \
                 → Message receiving mode (HTTP) → address: http(s)://public address or \
                 domain:{port}/webhook, and whether that version is released"
            ),
        ))
        .command(follow),
    )
}

/// A time as the operator's clock shows it.
fn local(time: Timestamp) -> String {
    let zoned: Zoned = time.to_zoned(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(second).unwrap())
    }

    fn refused(reason: &str, last: i64) -> Rejected {
        Rejected { reason: reason.into(), count: 1, last: at(last) }
    }

    #[test]
    fn only_a_refusal_after_the_last_message_tells() {
        let tells = |accepted: Option<Timestamp>, rejected: Vec<Rejected>| {
            let callbacks = Callbacks { accepted: 1, last_accepted: accepted, rejected };
            last_refused(&callbacks).map(|it| it.reason.clone())
        };
        let mismatch = || refused("signature_mismatch", 20);
        assert_eq!(tells(at(10), vec![mismatch()]).as_deref(), Some("signature_mismatch"));
        assert_eq!(tells(None, vec![mismatch()]).as_deref(), Some("signature_mismatch"));
        assert_eq!(tells(at(30), vec![mismatch()]), None);
        // Who scans the Internet sends no signature, and DingTalk repeats itself.
        assert_eq!(tells(None, vec![refused("signature_missing", 40)]), None);
        assert_eq!(tells(at(10), vec![refused("duplicate", 40)]), None);
        let both = vec![mismatch(), refused("signature_skew", 21)];
        assert_eq!(tells(at(10), both).as_deref(), Some("signature_skew"));
    }
}

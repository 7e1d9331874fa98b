//! Whether DingTalk takes the application's credentials, and knows its robot.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::dingtalk::{DingTalk, Objection, SendError, SendErrorKind};
use crate::doctor::examined::Examined;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::printed::one_line;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// The longest the two requests may take.
const LIMIT: Duration = Duration::from_millis(3_500);
/// Where the application's values are.
const CONSOLE: &str = "https://open-dev.dingtalk.com";

pub(super) async fn look(bot: &Examined, deadline: Instant) -> Vec<Finding> {
    let settings = &bot.settings().dingtalk;
    if settings.client_id.is_empty() || settings.client_secret.is_empty() {
        return if bot.closed.is_some() { Vec::new() } else { vec![not_configured()] };
    }
    let dingtalk = DingTalk::new(settings, Arc::new(Metrics::new()), Clock::System);
    let Ok(dingtalk) = dingtalk else { return Vec::new() };
    let checked = timeout_at(deadline.min(Instant::now() + LIMIT), dingtalk.check()).await;
    let (id, base) = (&settings.client_id, settings.api_base.as_str());
    match checked {
        Ok(Ok(())) => vec![Finding::fine(
            "dingtalk_accepts",
            Text::new(
                format!("钉钉接受了 client_id {} 和 client_secret", one_line(id)),
                format!("DingTalk takes client_id {} and client_secret", one_line(id)),
            ),
        )],
        Ok(Err(Objection::Credentials(error))) => vec![credentials(bot, &error)],
        Ok(Err(Objection::Robot(error))) => vec![robot(bot, &error)],
        Ok(Err(Objection::Permission(error))) => vec![permission(&error)],
        Ok(Err(Objection::Other(error))) if error.kind == SendErrorKind::Quota => {
            vec![quota(&error)]
        }
        Ok(Err(Objection::Other(error))) => {
            vec![unreachable(base, &one_line(&error.detail))]
        }
        Err(_) => vec![unreachable(base, &format!("no answer within {LIMIT:?}"))],
    }
}

fn not_configured() -> Finding {
    Finding::fine(
        "dingtalk_not_configured",
        Text::new(
            "没有配置 dingtalk.client_id 和 client_secret，不检查钉钉的凭证",
            "dingtalk.client_id and client_secret are not set: DingTalk's credentials are not tried",
        ),
    )
}

fn credentials(bot: &Examined, error: &SendError) -> Finding {
    let (id, detail) = (one_line(&bot.settings().dingtalk.client_id), one_line(&error.detail));
    let secret = bot.set("dingtalk.client_secret");
    let (secret_zh, secret_en) = (secret.chinese(), secret.english());
    Finding::failed(
        "dingtalk_credentials_refused",
        Depth::DingTalk,
        Text::new(
            format!("钉钉不接受 client_id {id} 和它的 client_secret：{detail}"),
            format!("DingTalk refuses client_id {id} with its client_secret: {detail}"),
        ),
        Remedy::new(Text::new(
            format!(
                "在 {CONSOLE} → 应用开发 → 你的应用 → 凭证与基础信息 复制 Client ID (AppKey) 和 Client Secret \
                 (AppSecret)，填到 dingtalk.client_id 和 {secret_zh}"
            ),
            format!(
                "Copy Client ID (AppKey) and Client Secret (AppSecret) from {CONSOLE} → your \
                 application → Credentials to dingtalk.client_id and {secret_en}"
            ),
        ))
        .command(format!("{} | grep dingtalk", bot.command("config"))),
    )
}

fn robot(bot: &Examined, error: &SendError) -> Finding {
    let robot_code = one_line(bot.settings().dingtalk.robot_code());
    let detail = one_line(&error.detail);
    let set = bot.set("dingtalk.robot_code");
    let (set_zh, set_en) = (set.chinese(), set.english());
    Finding::failed(
        "robot_not_found",
        Depth::DingTalk,
        Text::new(
            format!("这个应用没有机器人 {robot_code}，或它已停用：{detail}"),
            format!("the application has no robot {robot_code}, or it is stopped: {detail}"),
        ),
        Remedy::new(Text::new(
            format!(
                "在 {CONSOLE} → 应用开发 → 你的应用 → 机器人 复制 RobotCode，填到 {set_zh}；\
                 企业内部应用通常与 Client ID 相同，可以留空。还没有机器人时先添加并发布"
            ),
            format!(
                "Copy the RobotCode from {CONSOLE} → your application → Robot to \
                 {set_en}; that of an internal application is mostly its Client ID, and \
                 may be left empty. Without a robot, add one and release it"
            ),
        ))
        .command(format!("{} | grep robot_code", bot.command("config"))),
    )
}

fn permission(error: &SendError) -> Finding {
    let detail = one_line(&error.detail);
    Finding::warning(
        "robot_not_permitted",
        Depth::DingTalk,
        Text::new(
            format!("应用没有发送机器人消息的权限，提醒和会话过期后的回答送不到：{detail}"),
            format!(
                "the application may not send a robot's messages: reminders, and answers after a \
                 session has expired, do not arrive: {detail}"
            ),
        ),
        Remedy::new(Text::new(
            format!(
                "在 {CONSOLE} → 应用开发 → 你的应用 → 权限管理 申请 qyapi_robot_sendmsg\
                 （企业内机器人发送消息权限）"
            ),
            format!("Grant qyapi_robot_sendmsg at {CONSOLE} → your application → Permissions"),
        )),
    )
}

fn quota(error: &SendError) -> Finding {
    let detail = one_line(&error.detail);
    Finding::failed(
        "dingtalk_quota",
        Depth::DingTalk,
        Text::new(
            format!("企业这个月的钉钉 API 调用额度用完了：{detail}"),
            format!(
                "the organisation's calls of DingTalk's API are used up for this month: {detail}"
            ),
        ),
        Remedy::new(Text::new(
            format!("在 {CONSOLE} 购买额度，或等下个月"),
            format!("Buy more at {CONSOLE}, or wait for the next month"),
        )),
    )
}

fn unreachable(base: &str, why: &str) -> Finding {
    Finding::failed(
        "dingtalk_unreachable",
        Depth::DingTalk,
        Text::new(
            format!("{base} 没有像钉钉那样应答：{why}"),
            format!("{base} does not answer as DingTalk does: {why}"),
        ),
        Remedy::new(Text::new(
            "看中间有没有代理、登录门户或防火墙代为应答，以及 dingtalk.api_base 对不对；\
             偶尔一次可能是钉钉繁忙，稍后再试",
            "See whether a proxy, a login portal or a firewall answers in its place, and whether \
             dingtalk.api_base is right; once in a while DingTalk is busy: try again",
        ))
        .command(format!("curl -si --max-time 5 {base} | head -20")),
    )
}

//! Whether the model's endpoint takes the key, knows the model, and is paid for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::settings::Llm;
use crate::doctor::examined::Examined;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::llm::{ChatModel, LlmError};
use crate::printed::one_line;
use crate::telemetry::metrics::Metrics;

/// The longest a single token may take.
const LIMIT: Duration = Duration::from_millis(3_500);

/// Asks for one token, the only way to see whether the account is paid for.
pub(super) async fn look(bot: &Examined, deadline: Instant) -> Option<Finding> {
    let settings = &bot.settings().llm;
    if settings.is_offline() {
        return bot.closed.is_none().then(offline);
    }
    let model = ChatModel::new(settings, Arc::new(Metrics::new())).ok()?;
    Some(match timeout_at(deadline.min(Instant::now() + LIMIT), model.probe()).await {
        Err(_) | Ok(Err(LlmError::Timeout)) => slow(bot),
        Ok(Ok(())) => answers(settings),
        // It takes the key and knows the model: what it does not like is the question.
        Ok(Err(LlmError::Refused | LlmError::ContextTooLong | LlmError::OutOfTokens)) => {
            answers(settings)
        }
        Ok(Err(error)) => failed(bot, &error),
    })
}

fn offline() -> Finding {
    Finding::fine(
        "model_not_configured",
        Text::new(
            "没有配置模型（llm.api_key），机器人离线回答",
            "no model is set (llm.api_key): the bot answers offline",
        ),
    )
}

fn answers(settings: &Llm) -> Finding {
    let (model, base) = (one_line(&settings.model), &settings.base_url);
    Finding::fine(
        "model_answers",
        Text::new(
            format!("模型 {model} 可用（{base}）"),
            format!("the model {model} answers at {base}"),
        ),
    )
}

fn slow(bot: &Examined) -> Finding {
    let settings = &bot.settings().llm;
    let (model, limit) = (one_line(&settings.model), settings.timeout);
    Finding::unseen(
        "model_slow",
        Text::new(
            format!(
                "模型 {model} 在 {LIMIT:?} 内没有答出第一个字；可能只是慢（llm.timeout 是 {limit:?}）"
            ),
            format!(
                "the model {model} said nothing within {LIMIT:?}; it may only be slow (llm.timeout \
                 is {limit:?})"
            ),
        ),
        Remedy::new(Text::new("用一句话试试它", "Try it with a question"))
            .command(bot.command("chat")),
    )
}

fn failed(bot: &Examined, error: &LlmError) -> Finding {
    let settings = &bot.settings().llm;
    let (key, name) = (bot.set("llm.api_key"), bot.set("llm.model"));
    let (key_zh, key_en) = (key.chinese(), key.english());
    let (name_zh, name_en) = (name.chinese(), name.english());
    let (model, base) = (one_line(&settings.model), &settings.base_url);
    let (code, chinese, english, remedy) = match error {
        LlmError::Unauthorized => (
            "model_key_refused",
            format!("{base} 不接受密钥（401）"),
            format!("{base} refuses the key (401)"),
            Text::new(
                format!("确认密钥属于 llm.base_url 这一家，填到 {key_zh}"),
                format!("Take the key of the provider of llm.base_url: set {key_en}"),
            ),
        ),
        LlmError::ModelNotFound => (
            "model_not_found",
            format!("{base} 没有模型 {model}（404）"),
            format!("{base} has no model {model} (404)"),
            Text::new(
                format!(
                    "换成它有的名字，例如下面命令列出的（llm.base_url 多半以 /v1 结尾）：{name_zh}"
                ),
                format!(
                    "Take a name it has, such as those that this lists (llm.base_url mostly ends in \
                     /v1): set {name_en}"
                ),
            ),
        ),
        LlmError::OutOfQuota => (
            "model_quota",
            format!("{base} 的账户没有额度了"),
            format!("the account at {base} has no quota left"),
            Text::new(
                "到模型服务商的控制台充值或提高额度；或换一个密钥（llm.api_key）",
                "Top up, or raise the quota, in the provider's console; or set another llm.api_key",
            ),
        ),
        LlmError::RateLimited => {
            let seen = Text::new(
                format!("{base} 正在限流（429）"),
                format!("{base} takes no more requests for the moment (429)"),
            );
            let remedy = Remedy::new(Text::new(
                "稍后再试；经常这样就调小 llm.max_concurrency，或提高账户的速率限制",
                "Try again later; if it is often so, lower llm.max_concurrency or raise the \
                 account's rate limit",
            ));
            return Finding::warning("model_rate_limited", Depth::Model, seen, remedy);
        }
        LlmError::Unreachable(why) => (
            "model_unreachable",
            format!("连不上模型 {base}：{}", one_line(why)),
            format!("the model is not reached at {base}: {}", one_line(why)),
            Text::new(
                "检查 llm.base_url (OPENAI_API_BASE) 和出方向的网络",
                "Check llm.base_url (OPENAI_API_BASE) and the way out",
            ),
        ),
        other => {
            let why = one_line(&other.to_string());
            (
                "model_fails",
                format!("模型 {model}（{base}）不能正常回答：{why}"),
                format!("the model {model} at {base} gives no proper answer: {why}"),
                Text::new(
                    "检查 llm.base_url 和 llm.model；服务端出错时看它的日志或状态页",
                    "Check llm.base_url and llm.model; if the endpoint fails, its log or status page",
                ),
            )
        }
    };
    let list =
        settings.base_url.as_str().trim_end_matches('/').trim_end_matches("/chat/completions");
    let list = format!(
        "curl -s -H \"Authorization: Bearer $OPENAI_API_KEY\" {list}/models | head -c 2000"
    );
    Finding::failed(
        code,
        Depth::Model,
        Text::new(chinese, english),
        Remedy::new(remedy).command(list),
    )
}

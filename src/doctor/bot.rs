//! The bot itself: its configuration, its store, and what it says of messages and callbacks.

mod callbacks;
mod store;
mod words;

use std::collections::HashSet;

use super::examined::{Examined, Starter};
use super::facts::Facts;
use super::finding::{Depth, Finding, Remedy, Text};

/// Of many problems so many are shown.
const SHOWN: usize = 5;

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let examined = facts.examined().await;
    let (store, words) =
        tokio::join!(store::look(examined, facts.is_root()), words::look(facts, examined));
    let mut findings = configuration(examined);
    findings.extend(store);
    findings.extend(words);
    // The bot may say what was seen from here as well.
    let mut known = HashSet::new();
    findings.retain(|finding| known.insert(finding.code));
    findings
}

/// Whether the next start will find its settings in order.
fn configuration(bot: &Examined) -> Vec<Finding> {
    if let Some(closed) = &bot.closed {
        let closed = closed.display();
        return vec![Finding::unseen(
            "configuration_unseen",
            Text::new(
                format!("没有权限读取 {closed}，机器人实际的设置看不全"),
                format!("{closed} is closed to this user: not all settings of the bot are seen"),
            ),
            as_root(),
        )];
    }
    match &bot.configuration {
        Err(_) => vec![invalid(bot)],
        Ok(loaded) if loaded.warnings.is_empty() => vec![Finding::fine(
            "configuration_valid",
            Text::new("配置有效", "the configuration is valid"),
        )],
        Ok(loaded) => {
            let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
            let warnings = listed(&warnings);
            let seen = Text::new(
                format!("配置有效，但有警告：{warnings}"),
                format!("the configuration is valid, with warnings: {warnings}"),
            );
            let remedy = Text::new("看这些设置是不是写对了", "See whether that is what you mean");
            let remedy = check(bot, Remedy::new(remedy));
            vec![Finding::warning("configuration_warning", Depth::Note, seen, remedy)]
        }
    }
}

fn invalid(bot: &Examined) -> Finding {
    let problems = listed(&bot.problems());
    let remedy = check(
        bot,
        Remedy::new(Text::new(
            "改正列出的每一项；下面的命令列出全部，改好后不再有输出，再启动",
            "Mend each of them; this lists them all, and nothing once they are mended. Then start it",
        )),
    );
    if bot.runs {
        let seen = Text::new(
            format!("正在运行的机器人还用着旧配置，但现在的配置无效，下次启动会失败：{problems}"),
            format!(
                "the bot runs with older settings; those of now are not valid, and its next start \
                 will fail: {problems}"
            ),
        );
        return Finding::warning("configuration_invalid", Depth::Configuration, seen, remedy);
    }
    let seen = Text::new(
        format!("配置无效：{problems}"),
        format!("not a valid configuration: {problems}"),
    );
    Finding::failed("configuration_invalid", Depth::Configuration, seen, remedy)
}

fn check(bot: &Examined, remedy: Remedy) -> Remedy {
    match &bot.starter {
        // One that does not run cannot be asked; it has said why in its log.
        Starter::Container(_) if !bot.runs => remedy.command(bot.log()),
        _ => remedy.command(bot.command("check")),
    }
}

fn listed(lines: &[String]) -> String {
    let mut shown: Vec<&str> = lines.iter().take(SHOWN).map(String::as_str).collect();
    let more = format!("… (+{})", lines.len().saturating_sub(SHOWN));
    if lines.len() > SHOWN {
        shown.push(&more);
    }
    shown.join("; ")
}

fn as_root() -> Remedy {
    Remedy::new(Text::new("用 root 运行", "Run it as root")).command("sudo dingbot doctor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_problems_the_first_are_shown() {
        let lines: Vec<String> = (1..=7).map(|number| number.to_string()).collect();
        assert_eq!(listed(&lines), "1; 2; 3; 4; 5; … (+2)");
        assert_eq!(listed(&lines[..2]), "1; 2");
    }
}

//! The chat commands: what they are, and how they are read.

use std::time::Duration;

use strsim::damerau_levenshtein;

use crate::language::is_han;

/// The chat commands for a person to read, in Chinese.
pub const HELP_CHINESE: &str = "\
/help 显示帮助（/帮助）
/ping 检查机器人是否在线
/time 当前时间
/remember 内容 记住一件事（/记住）
/remember 间隔 内容 按间隔提醒，间隔为秒数或 30m、2h、1d（/提醒）
/memories [关键词] 查看或搜索我的记忆和提醒（/记忆）
/forget 编号 忘记一条记忆或提醒（/忘记）
/forget all 忘记全部（会先确认）
/new 开始新对话，保留记忆（/新对话）";

/// The chat commands for a person to read, in English.
pub const HELP_ENGLISH: &str = "\
/help show this help
/ping check that the bot is alive
/time the present time
/remember TEXT remember something
/remember INTERVAL TEXT remind you at an interval: seconds, or 30m, 2h, 1d
/memories [QUERY] list or search your memories and reminders
/forget ID forget a memory or a reminder
/forget all forget everything (asks first)
/new start a new conversation, keep memories";

/// Shortest time between two of a reminder's times.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time between two of a reminder's times.
pub const MAX_INTERVAL: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What a person can order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `/help`
    Help,
    /// `/ping`
    Ping,
    /// `/time`
    Time,
    /// `/remember TEXT`
    Remember(String),
    /// `/remember INTERVAL TEXT`
    Remind {
        /// Time between two of its times.
        interval: Duration,
        /// What is to be said.
        text: String,
    },
    /// `/memories [QUERY]`
    Memories(Option<String>),
    /// `/forget ID`
    Forget(i64),
    /// `/forget all`
    ForgetAll,
    /// `/new`
    New,
    /// A command that is lacking something.
    Malformed(Usage),
    /// No command at all, though it looks like one; with the nearest there is.
    Unknown(Option<&'static str>),
}

/// What was wrong with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// `/remember` without anything to remember.
    RememberNothing,
    /// A reminder's interval is shorter or longer than allowed.
    Interval,
    /// `/forget` without a number.
    ForgetWhat,
}

/// Every name of every command, for reading and for suggesting.
const NAMES: &[(&str, &str)] = &[
    ("/help", "help"),
    ("/帮助", "help"),
    ("/ping", "ping"),
    ("/time", "time"),
    ("/时间", "time"),
    ("/remember", "remember"),
    ("/记住", "remember"),
    ("/提醒", "remind"),
    ("/memories", "memories"),
    ("/记忆", "memories"),
    ("/forget", "forget"),
    ("/忘记", "forget"),
    ("/new", "new"),
    ("/新对话", "new"),
];

/// Reads a command; `None`: the text is none.
pub fn parse(text: &str) -> Option<Command> {
    let text = text.trim();
    let rest = text.strip_prefix(['/', '／'])?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, argument) = (rest[..end].to_lowercase(), rest[end..].trim());
    let name = NAMES.iter().find(|(alias, _)| alias[1..] == word).map(|(_, name)| *name);
    Some(match name {
        Some("help") => Command::Help,
        Some("ping") => Command::Ping,
        Some("time") => Command::Time,
        Some("remember") => remember(argument),
        Some("remind") => remind(argument),
        Some("memories") => Command::Memories((!argument.is_empty()).then(|| argument.to_owned())),
        Some("forget") => forget(argument),
        Some("new") => Command::New,
        _ if looks_like_a_command(&word) => Command::Unknown(nearest(&word)),
        _ => return None,
    })
}

/// What of a command a person chose to say: a Chinese name of it, and its text without interval,
/// number or `all`.
pub(super) fn free_words(text: &str) -> String {
    let mut words = text.split_whitespace();
    let name = words.next().filter(|name| name.chars().any(is_han));
    let said = words.filter(|word| *word != "all" && interval(word).is_none());
    name.into_iter().chain(said).collect::<Vec<_>>().join(" ")
}

/// `/etc/hosts` and `/ 3` are no commands.
fn looks_like_a_command(word: &str) -> bool {
    !word.is_empty() && word.chars().count() <= 16 && word.chars().all(char::is_alphabetic)
}

fn nearest(word: &str) -> Option<&'static str> {
    NAMES
        .iter()
        .map(|(alias, _)| (damerau_levenshtein(&alias[1..], word), *alias))
        .filter(|(distance, alias)| *distance <= 2 && *distance < alias.chars().count() - 1)
        .min()
        .map(|(_, alias)| alias)
}

fn remember(argument: &str) -> Command {
    if argument.is_empty() {
        return Command::Malformed(Usage::RememberNothing);
    }
    let end = argument.find(char::is_whitespace).unwrap_or(argument.len());
    let (first, text) = (&argument[..end], argument[end..].trim());
    match interval(first) {
        None if meant_as_interval(first) => Command::Malformed(Usage::Interval),
        None => Command::Remember(argument.to_owned()),
        // A telephone number or an article number: longer than any interval.
        Some(interval) if interval > MAX_INTERVAL && is_number(first) => {
            Command::Remember(argument.to_owned())
        }
        Some(_) if text.is_empty() => Command::Malformed(Usage::RememberNothing),
        Some(interval) if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) => {
            Command::Malformed(Usage::Interval)
        }
        Some(interval) => Command::Remind { interval, text: text.to_owned() },
    }
}

/// `/提醒` always is about a time.
fn remind(argument: &str) -> Command {
    match remember(argument) {
        Command::Remember(_) => Command::Malformed(Usage::Interval),
        other => other,
    }
}

/// `30分钟后`, `每天` and `0.5h` speak of a time that is no interval here: kept as a memory they
/// would be waited for in vain.
fn meant_as_interval(word: &str) -> bool {
    let units = ["秒", "分", "分钟", "小时", "天", "周", "月", "年", "s", "m", "h", "d", "w"];
    let core = word.trim_start_matches('每').trim_end_matches(['后', '前']);
    let number = core.trim_end_matches(|c: char| c.is_alphabetic());
    let counted = number.parse::<f64>().is_ok();
    let every = number.is_empty() && word.starts_with('每');
    units.contains(&&core[number.len()..]) && (counted || every)
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit())
}

/// Seconds, or a number with a unit: `90`, `30m`, `1h30m`, `2小时`, `每30分钟`.
fn interval(word: &str) -> Option<Duration> {
    let word = word.strip_prefix('每').unwrap_or(word);
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if is_number(word) {
        // More digits than a u64 holds are too long an interval, not a text.
        return Some(Duration::from_secs(word.parse().unwrap_or(u64::MAX)));
    }
    let units = [("分钟", "m"), ("小时", "h"), ("秒", "s"), ("分", "m"), ("天", "d")];
    let latin = units.iter().fold(word.to_lowercase(), |w, (han, unit)| w.replace(han, unit));
    let plain = latin.chars().all(|c| c.is_ascii_digit() || "smhd".contains(c));
    if plain { humantime::parse_duration(&latin).ok() } else { None }
}

fn forget(argument: &str) -> Command {
    match argument.to_lowercase().as_str() {
        "all" | "全部" | "所有" => Command::ForgetAll,
        number => match number.trim_start_matches('#').parse() {
            Ok(number) => Command::Forget(number),
            Err(_) => Command::Malformed(Usage::ForgetWhat),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remind(seconds: u64, text: &str) -> Option<Command> {
        Some(Command::Remind { interval: Duration::from_secs(seconds), text: text.into() })
    }

    #[test]
    fn commands_have_chinese_and_english_names() {
        assert_eq!(parse("/help"), Some(Command::Help));
        assert_eq!(parse(" ／帮助 "), Some(Command::Help));
        assert_eq!(parse("/PING"), Some(Command::Ping));
        assert_eq!(parse("/记住 我喜欢茶"), Some(Command::Remember("我喜欢茶".into())));
        assert_eq!(parse("/记忆"), Some(Command::Memories(None)));
        assert_eq!(parse("/memories 茶"), Some(Command::Memories(Some("茶".into()))));
        assert_eq!(parse("/忘记 #3"), Some(Command::Forget(3)));
        assert_eq!(parse("/forget ALL"), Some(Command::ForgetAll));
        assert_eq!(parse("/new"), Some(Command::New));
    }

    #[test]
    fn an_interval_makes_it_a_reminder() {
        assert_eq!(parse("/remember 90 喝水"), remind(90, "喝水"));
        assert_eq!(parse("/remember 30m drink water"), remind(1_800, "drink water"));
        assert_eq!(parse("/remember 2h 开会"), remind(7_200, "开会"));
        assert_eq!(parse("/remember 1d x"), remind(86_400, "x"));
        assert_eq!(parse("/remember 1h30m x"), remind(5_400, "x"));
        assert_eq!(parse("/记住 30分钟 喝水"), remind(1_800, "喝水"));
        assert_eq!(parse("/提醒 每30分钟 喝水"), remind(1_800, "喝水"));
        assert_eq!(parse("/remember 3点开会"), Some(Command::Remember("3点开会".into())));
        assert_eq!(
            parse("/remember 2nd floor is mine"),
            Some(Command::Remember("2nd floor is mine".into()))
        );
    }

    #[test]
    fn the_words_of_a_command_tell_the_language() {
        assert_eq!(free_words("/remember 30m drink water"), "drink water");
        assert_eq!(free_words("/忘记 all"), "/忘记");
        assert_eq!(free_words("/forget all"), "");
        assert_eq!(free_words("/forget 3"), "");
    }

    #[test]
    fn what_is_lacking_is_named() {
        assert_eq!(parse("/remember"), Some(Command::Malformed(Usage::RememberNothing)));
        assert_eq!(parse("/remember 30m"), Some(Command::Malformed(Usage::RememberNothing)));
        assert_eq!(parse("/remember 0 x"), Some(Command::Malformed(Usage::Interval)));
        for never in [
            "/提醒 30分钟后 开会",
            "/remember 0.5h x",
            "/记住 每天 喝水",
            "/提醒 喝水",
            "/记住 1周 x",
        ] {
            assert_eq!(parse(never), Some(Command::Malformed(Usage::Interval)), "{never}");
        }
        for text in ["13800138000 是我的电话", "99999999999999999999999 x", "天气很好"] {
            let kept = Some(Command::Remember(text.into()));
            assert_eq!(parse(&format!("/remember {text}")), kept);
        }
        assert_eq!(parse("/forget"), Some(Command::Malformed(Usage::ForgetWhat)));
        assert_eq!(parse("/forget x"), Some(Command::Malformed(Usage::ForgetWhat)));
    }

    #[test]
    fn a_path_is_no_command_and_a_typo_is_told() {
        assert_eq!(parse("/etc/hosts 是什么"), None);
        assert_eq!(parse("hello /help"), None);
        assert_eq!(parse("/"), None);
        assert_eq!(parse("/halp"), Some(Command::Unknown(Some("/help"))));
        assert_eq!(parse("/rember x"), Some(Command::Unknown(Some("/remember"))));
        assert_eq!(parse("/quux"), Some(Command::Unknown(None)));
    }
}

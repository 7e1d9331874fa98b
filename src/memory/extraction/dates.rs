//! The calendar dates that a message means by "明天", "下周三" or "two days ago".
//!
//! Models count days and weeks badly, so what can be counted for certain is counted here and told
//! to them. What people mean in different ways ("周三", "next Friday", "月底") is left to the
//! model and the person's other words.

use jiff::ToSpan;
use jiff::civil::Date;

use super::check::numerals;

/// Most dates that one message is told.
const MAX_DATES: usize = 6;
/// Most days or weeks that are counted.
const MAX_COUNT: u64 = 999;

const CHINESE_DAYS: &[(&str, i64)] = &[
    ("大前天", -3),
    ("前天", -2),
    ("昨天", -1),
    ("昨日", -1),
    ("昨晚", -1),
    ("今天", 0),
    ("今日", 0),
    ("今晚", 0),
    ("今早", 0),
    ("大后天", 3),
    ("后天", 2),
    ("明天", 1),
    ("明日", 1),
    ("明晚", 1),
    ("明早", 1),
];
const ENGLISH_DAYS: &[(&str, i64)] = &[
    ("the day before yesterday", -2),
    ("yesterday", -1),
    ("today", 0),
    ("tonight", 0),
    ("the day after tomorrow", 2),
    ("tomorrow", 1),
];
/// Weeks from this one.
const WEEKS: &[(&str, i64)] =
    &[("上上", -2), ("上", -1), ("下下", 2), ("下", 1), ("这", 0), ("本", 0)];
const WEEKDAYS: &str = "一二三四五六日";

/// Words by which a day may be named otherwise, or counted on from.
const OF_TIME: &[&str] = &[
    "周", "星期", "礼拜", "月", "号", "日", "天", "年", "节", "末", "初", "底", "day", "week",
    "month", "year", "end", "night", "until", "since", "next", "last",
];

/// An expression of a message and the day it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meant<'a> {
    pub(super) expression: &'a str,
    pub(super) date: Date,
}

/// What a message of that day means by its expressions, in their order, each once.
pub(super) fn meant(message: &str, day: Date) -> Vec<Meant<'_>> {
    let mut found: Vec<Meant<'_>> = Vec::new();
    let mut at = 0;
    while at < message.len() && found.len() < MAX_DATES {
        let (length, days) = match expression(message, at, day) {
            Some(one) => one,
            None => {
                at += message[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
        };
        let expression = &message[at..at + length];
        at += length;
        let Ok(date) = day.checked_add(days.days()) else { continue };
        if !found.iter().any(|meant| meant.expression == expression) {
            found.push(Meant { expression, date });
        }
    }
    found
}

/// The days that a message means, if it names no day in another way: then every date in a
/// statement of it is one of them.
pub(super) fn all_meant(message: &str, day: Date) -> Option<Vec<Meant<'_>>> {
    let meant = meant(message, day);
    if meant.is_empty() || meant.len() == MAX_DATES {
        return None;
    }
    let mut rest = message.to_owned();
    for Meant { expression, .. } in &meant {
        rest = rest.replace(expression, " ");
    }
    let rest = rest.to_lowercase();
    let other = rest.contains(|c: char| c.is_ascii_digit())
        || OF_TIME.iter().any(|word| rest.contains(word))
        || rest.contains(numerals::is_chinese);
    (!other).then_some(meant)
}

/// The length of an expression that begins there, and its days from that day.
fn expression(message: &str, at: usize, day: Date) -> Option<(usize, i64)> {
    let text = &message[at..];
    let starts = || CHINESE_DAYS.iter().find(|(word, _)| text.starts_with(word));
    if let Some((word, days)) = starts() {
        return Some((word.len(), *days));
    }
    if let Some(one) = of_week(text, day) {
        // "每个下周一" is a habit, "天下周一" a name.
        let before = message[..at].chars().next_back();
        return (!matches!(before, Some('每' | '天' | '以' | '之'))).then_some(one);
    }
    let starts_word = !message[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
    let english = starts_word.then(|| english(text)).flatten();
    english.or_else(|| counted(message, at))
}

/// 下周三, 上个星期天.
fn of_week(text: &str, day: Date) -> Option<(usize, i64)> {
    let (prefix, weeks) = WEEKS.iter().find(|(prefix, _)| text.starts_with(prefix))?;
    let rest = &text[prefix.len()..];
    let rest = rest.strip_prefix('个').unwrap_or(rest);
    let rest = ["周", "星期", "礼拜"].iter().find_map(|week| rest.strip_prefix(week))?;
    let name = rest.chars().next()?;
    let name_in_week = if name == '天' { '日' } else { name };
    let weekday = i64::try_from(WEEKDAYS.chars().position(|c| c == name_in_week)?).ok()?;
    let length = text.len() - rest.len() + name.len_utf8();
    // "下周三四" and "下周一到周三": the second is the model's to see.
    let today = i64::from(day.weekday().to_monday_zero_offset());
    Some((length, weeks * 7 + weekday - today))
}

/// 三天后, 2周前, 10 天以后.
fn counted(message: &str, at: usize) -> Option<(usize, i64)> {
    let text = &message[at..];
    let is_count = |c: char| c.is_ascii_digit() || numerals::is_chinese(c);
    // Not in the middle of a number.
    if message[..at].ends_with(|c: char| is_count(c) || c == '第' || c == '.') {
        return None;
    }
    let count = &text[..text.find(|c: char| !is_count(c))?];
    let number = match count.parse::<u64>() {
        Ok(number) => number,
        Err(_) if count.chars().all(numerals::is_chinese) => numerals::value(count),
        Err(_) => return None,
    };
    if count.is_empty() || number > MAX_COUNT {
        return None;
    }
    let rest = text[count.len()..].trim_start_matches(' ');
    let (rest, unit) = [("天", 1), ("个星期", 7), ("个礼拜", 7), ("星期", 7), ("周", 7)]
        .iter()
        .find_map(|(word, days)| Some((rest.strip_prefix(word)?, *days)))?;
    let ends = [("之后", 1), ("以后", 1), ("后", 1), ("之前", -1), ("以前", -1), ("前", -1)];
    let (rest, sign) = ends.iter().find_map(|(end, s)| Some((rest.strip_prefix(end)?, *s)))?;
    let days = i64::try_from(number).ok()? * unit * sign;
    Some((text.len() - rest.len(), days))
}

/// tomorrow, in two weeks, 3 days ago.
fn english(text: &str) -> Option<(usize, i64)> {
    let longest = text.char_indices().nth(40).map_or(text.len(), |(at, _)| at);
    let lower = text[..longest].to_ascii_lowercase();
    let is_whole = |length: usize| !lower[length..].starts_with(|c: char| c.is_alphanumeric());
    for (words, days) in ENGLISH_DAYS {
        if lower.starts_with(words) && is_whole(words.len()) {
            return Some((words.len(), *days));
        }
    }
    let (rest, ahead) = match lower.strip_prefix("in ") {
        Some(rest) => (rest, true),
        None => (lower.as_str(), false),
    };
    let mut words = rest.splitn(3, ' ');
    let (count, unit, behind) = (words.next()?, words.next()?, words.next());
    if !count.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let number = match count {
        "a" => 1,
        count => match count.parse::<u64>() {
            Ok(number) => number,
            Err(_) => numerals::spelled(count).into_iter().next_back()?,
        },
    };
    let word = unit.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    let days = match word {
        "day" | "days" => 1,
        "week" | "weeks" => 7,
        _ => return None,
    };
    let days = i64::try_from(number.min(MAX_COUNT)).ok()? * days;
    let length = lower.len() - rest.len() + count.len() + 1 + word.len();
    let ago = behind.and_then(|behind| behind.strip_prefix("ago")).filter(|_| word == unit);
    let ago = ago.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
    match (ahead, ago) {
        (true, false) => Some((length, days)),
        (false, true) => Some((length + " ago".len(), -days)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday.
    const TODAY: Date = jiff::civil::date(2026, 11, 23);

    fn told(message: &str, day: Date) -> Vec<String> {
        meant(message, day).iter().map(|m| format!("{} {}", m.expression, m.date)).collect()
    }

    #[test]
    fn what_is_certain_is_counted() {
        for (message, expected) in [
            ("明天去北京，后天回来", vec!["明天 2026-11-24", "后天 2026-11-25"]),
            ("大后天和大前天", vec!["大后天 2026-11-26", "大前天 2026-11-20"]),
            ("下周三出差", vec!["下周三 2026-12-02"]),
            ("上个星期天", vec!["上个星期天 2026-11-22"]),
            ("本周五，下下礼拜一", vec!["本周五 2026-11-27", "下下礼拜一 2026-12-07"]),
            ("三天后体检，2周前搬家", vec!["三天后 2026-11-26", "2周前 2026-11-09"]),
            ("十二天以后", vec!["十二天以后 2026-12-05"]),
            ("See you tomorrow, not today", vec!["tomorrow 2026-11-24", "today 2026-11-23"]),
            ("The day after tomorrow", vec!["The day after tomorrow 2026-11-25"]),
            ("I fly in two weeks.", vec!["in two weeks 2026-12-07"]),
            (
                "We moved three days ago, a week ago",
                vec!["three days ago 2026-11-20", "a week ago 2026-11-16"],
            ),
            ("3 days ago, and in 10 days", vec!["3 days ago 2026-11-20", "in 10 days 2026-12-03"]),
            ("明天，明天，还是明天", vec!["明天 2026-11-24"]),
        ] {
            assert_eq!(told(message, TODAY), expected, "{message}");
        }
        // On a Sunday the week is the one that ends.
        let sunday = jiff::civil::date(2026, 11, 22);
        assert_eq!(told("下周一", sunday), ["下周一 2026-11-23"]);
        assert_eq!(told("这周一", sunday), ["这周一 2026-11-16"]);
    }

    #[test]
    fn what_is_not_is_left_to_the_model() {
        for message in [
            "周三开会",
            "每周三开会",
            "下周出差",
            "next Friday",
            "第三天后来下雨了",
            "in a while",
            "3.14天后",
            "两天",
            "yesterdays",
            "I waited 3 days",
            "in the day",
            "我在天下周一饭店",
        ] {
            assert_eq!(told(message, TODAY), Vec::<String>::new(), "{message}");
        }
    }

    #[test]
    fn all_of_them_are_known_only_if_nothing_else_names_a_day() {
        assert_eq!(all_meant("下周三去上海", TODAY).map(|m| m.len()), Some(1));
        assert_eq!(all_meant("I fly tomorrow", TODAY).map(|m| m.len()), Some(1));
        for message in [
            "去上海",
            "下周三开始休三天",
            "明天到周五",
            "明天是我生日",
            "下周三改到5号",
            "I fly tomorrow until Friday",
        ] {
            assert_eq!(all_meant(message, TODAY), None, "{message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_message_breaks_it(message in "(\\PC|[上下周一三天后前大明0-9 ]|in |week|days| ago){0,40}") {
            for meant in meant(&message, Date::MAX).iter().chain(&meant(&message, Date::MIN)) {
                proptest::prop_assert!(message.contains(meant.expression));
            }
        }
    }
}

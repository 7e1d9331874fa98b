//! Numbers, codes and dates of a statement that nobody said.
//!
//! A model that makes one up makes up a phone number or an order. What it may do is resolve
//! ("明天" to a date), spell otherwise ("三" to "3", "1,000" to "1000", "下午三点" to "15:00") and
//! round out what a known memory tells. Where it is not certain that a figure was made up, it is
//! believed: a false refusal loses a memory.

use std::collections::{BTreeSet, HashSet};

use jiff::Zoned;
use jiff::civil::Date;

use super::figure::{
    Figure, canonical, digit_runs, figures, is_joiner, is_range, normal, scale_of, spaced,
};
use super::numerals::spelled;
use super::script::{Script, squeezed};

/// How far from the day of the message a date may be that it only hints at, in days.
const HINTED_DAYS: i32 = 400;
/// How far if the message has dates of its own: then a date is one of them, or "明天" beside them.
const BESIDE_DAYS: std::ops::RangeInclusive<i32> = -14..=21;
/// How far if only its month or only its day is new.
const BESIDE_MONTHS_DAYS: i32 = 62;
/// Number words of other languages than Chinese and English are not known: numbers to this one
/// are believed in their alphabets.
const COUNTED_ON_FINGERS: u64 = 12;
/// Words that hardly any English text does without, and other languages have not.
const ENGLISH: &[&str] = &["the", "and", "my", "i'm", "i've", "have", "you", "that", "with", "was"];

/// The figures that were said.
#[derive(Debug)]
pub(super) struct Said {
    /// In one form: see [`canonical`].
    written: HashSet<String>,
    /// Letters and digits of all of it, without what is between.
    squeezed: String,
    spelled: BTreeSet<u64>,
    day: Date,
    /// The message has a date in figures.
    dated: bool,
    /// In an alphabet and not in English: its number words are not known.
    unknown_numerals: bool,
}

impl Said {
    /// What a message has, said at that time, and the known memories that it may refer to.
    pub(super) fn new<'a>(
        message: &str,
        known: impl IntoIterator<Item = &'a str>,
        said_at: &Zoned,
    ) -> Self {
        let mut said = Self {
            written: HashSet::new(),
            squeezed: String::new(),
            spelled: spelled(message),
            day: said_at.date(),
            dated: false,
            unknown_numerals: has_unknown_numerals(message),
        };
        let message = normal(message);
        said.dated = figures(&message).iter().any(Figure::is_in_date);
        said.take(&message);
        for text in known {
            said.take(&normal(text));
            said.spelled.extend(spelled(text));
        }
        said
    }

    /// What texts have that are not resolved any more: a date is one of theirs.
    pub(super) fn literally<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut said = Self::new("", texts, &Zoned::default());
        said.dated = true;
        said
    }

    fn take(&mut self, normal: &str) {
        let figures = figures(normal);
        for figure in &figures {
            self.written.insert(canonical(figure.text));
            self.written.extend(figure.text.split(is_joiner).map(canonical));
            self.written.extend(digit_runs(figure.text).map(canonical));
            if let Some(scaled) = figure.scaled() {
                self.written.insert(scaled.to_string());
            }
        }
        // "1米75", "3块5", "2万5".
        for (first, second) in figures.iter().zip(figures.iter().skip(1)) {
            let Some(unit) = first.unit_before(second) else { continue };
            let (first_text, second_text) = (first.text, second.text);
            self.written.insert(canonical(&format!("{first_text}{second_text}")));
            self.written.insert(canonical(&format!("{first_text}.{second_text}")));
            let digit = second_text.parse::<u64>().ok().filter(|digit| *digit < 10);
            if let (Some(scale), Some(digit), Some(whole)) = (scale_of(unit), digit, first.scaled())
            {
                self.written.insert(whole.saturating_add(digit * (scale / 10)).to_string());
            }
        }
        if normal.contains('半') {
            let halves = spelled(normal).into_iter().filter(|number| *number < 100);
            self.written.extend(halves.chain([0]).map(|number| format!("{number}.5")));
        }
        self.squeezed.push_str(&squeezed(normal));
        self.squeezed.push('\n');
        self.written.extend(spaced(&figures).into_iter().map(|(_, whole)| whole));
    }

    /// The first figure of a statement that was not said.
    pub(super) fn made_up(&self, statement: &str) -> Option<String> {
        let statement = normal(statement);
        let figures = figures(&statement);
        let spaced = spaced(&figures);
        let in_groups = |at: usize| {
            spaced.iter().any(|(range, whole)| range.contains(&at) && self.written.contains(whole))
        };
        (0..figures.len())
            .find(|at| {
                let before = at.checked_sub(1).and_then(|before| figures.get(before));
                !in_groups(*at) && !self.has(before, &figures[*at], figures.get(at + 1))
            })
            .map(|at| figures[at].text.to_owned())
    }

    fn has(
        &self,
        previous: Option<&Figure<'_>>,
        figure: &Figure<'_>,
        next: Option<&Figure<'_>>,
    ) -> bool {
        let text = figure.text;
        self.written.contains(&canonical(text))
            || self.has_code(text)
            || self.has_date(text)
            || self.has_time(text)
            || (is_range(text) && text.split(['-', '/']).all(|end| self.has_number(end, figure)))
            || self.has_in_date(previous, figure, next)
            || self.has_number(text, figure)
    }

    /// `iphone15` where the message has `iPhone 15`.
    fn has_code(&self, text: &str) -> bool {
        let code = squeezed(text);
        let letters = code.contains(|c: char| c.is_ascii_alphabetic());
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        letters
            && self.squeezed.match_indices(&code).any(|(at, _)| {
                let (before, after) = (&self.squeezed[..at], &self.squeezed[at + code.len()..]);
                let cut_before = digit(code.chars().next()) && digit(before.chars().next_back());
                let cut_after = digit(code.chars().next_back()) && digit(after.chars().next());
                !cut_before && !cut_after
            })
    }

    /// A number by itself, or with its unit: `3`, `3pm`, `15th`, `2.5kg`.
    fn has_number(&self, text: &str, figure: &Figure<'_>) -> bool {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        if text.len() - number.len() > 4 {
            return false;
        }
        if self.written.contains(&canonical(number)) {
            return true;
        }
        let Ok(value) = number.replace(',', "").parse::<u64>() else {
            return figure.scaled().is_some_and(|scaled| self.has_value(scaled));
        };
        let unit = format!("{}{}", &text[number.len()..], figure.after);
        let hour = ["点", "时", "pm"].iter().any(|mark| unit.starts_with(mark));
        self.has_value(value)
            || (hour && (12..24).contains(&value) && self.has_value(value - 12))
            // "A week", "有个女儿".
            || value <= 1
            || (self.unknown_numerals && value <= COUNTED_ON_FINGERS)
            || figure.scaled().is_some_and(|scaled| self.has_value(scaled))
    }

    fn has_value(&self, value: u64) -> bool {
        self.spelled.contains(&value) || self.written.contains(&value.to_string())
    }

    /// `2026-11-25`, `2026/11`, `11/25`, with a time behind it or not.
    fn has_date(&self, text: &str) -> bool {
        let (date, time) = match text.split_once('t') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        // "2.5" is a number until there is a year.
        let decimal = date.matches('.').count() == 1;
        let parts: Option<Vec<i16>> =
            date.split(['-', '/', '.']).map(|part| part.parse().ok()).collect();
        let parts = parts.filter(|_| !decimal);
        let has = match parts.as_deref() {
            Some(&[year, month, day]) if year > 31 => self.is_meant(Some(year), month, Some(day)),
            Some(&[year, month]) if year > 31 => self.is_meant(Some(year), month, None),
            Some(&[month, day]) => self.is_meant(None, month, Some(day)),
            _ => false,
        };
        has && time.is_none_or(|time| self.has_time(time))
    }

    /// `15:00`: not if the message has no number at all.
    fn has_time(&self, text: &str) -> bool {
        let mut parts = text.split(':');
        let hour = parts.next().and_then(|h| h.parse::<u8>().ok()).is_some_and(|hour| hour <= 24);
        let minutes = parts.clone().count();
        let rest = parts.all(|part| part.len() == 2 && part.parse::<u8>().is_ok_and(|m| m < 60));
        let told = !self.spelled.is_empty() || !self.written.is_empty();
        hour && rest && (1..=2).contains(&minutes) && told
    }

    /// `11月25日`, `2026年`, `25号`, `November 25`, `25th of May`.
    fn has_in_date(
        &self,
        previous: Option<&Figure<'_>>,
        figure: &Figure<'_>,
        next: Option<&Figure<'_>>,
    ) -> bool {
        let Some(value) = digit_runs(figure.text).next().and_then(|d| d.parse::<i16>().ok()) else {
            return false;
        };
        if digit_runs(figure.text).count() > 1 {
            return false;
        }
        if figure.after.starts_with('年') || figure.text.len() == 4 {
            return self.is_year_meant(value);
        }
        if figure.after.starts_with('月') {
            let day = next.filter(|next| next.before.ends_with('月') && next.is_day());
            let day = day.and_then(|day| day.text.parse().ok());
            return self.is_meant(None, value, day);
        }
        if let Some(month) = figure.month_beside() {
            return self.is_meant(None, month, Some(value));
        }
        let month = previous.filter(|_| figure.before.ends_with('月'));
        match month.and_then(|month| month.text.parse().ok()) {
            Some(month) => self.is_meant(None, month, Some(value)),
            None => figure.is_day() && self.is_day_meant(value),
        }
    }

    /// Whether a date may be what the message means. Its parts in figures may be those of the
    /// message, whatever the day.
    fn is_meant(&self, year: Option<i16>, month: i16, day: Option<i16>) -> bool {
        let (Ok(month), Ok(day_of_month)) = (i8::try_from(month), i8::try_from(day.unwrap_or(1)))
        else {
            return false;
        };
        let this_year = self.day.year();
        let years = year.map_or(this_year - 1..=this_year + 1, |year| year..=year);
        let dates = years.filter_map(|year| Date::new(year, month, day_of_month).ok());
        let said = self.has_value(month as u64)
            && day.is_none_or(|day| self.has_value(day as u64))
            && year.is_none_or(|year| self.is_year_meant(year));
        let day_said = day.is_some_and(|day| self.has_value(day as u64));
        let near = |date: Date| {
            let days = self.days_to(date);
            // "15 号" is one of the next or the last.
            if day_said && days.abs() <= BESIDE_MONTHS_DAYS {
                return true;
            }
            if !self.dated {
                days.abs() <= HINTED_DAYS
            } else if day.is_some() {
                BESIDE_DAYS.contains(&days)
            } else {
                days.abs() <= BESIDE_MONTHS_DAYS
            }
        };
        let mut dates = dates.peekable();
        dates.peek().is_some() && (said || dates.any(near))
    }

    fn is_day_meant(&self, day: i16) -> bool {
        if !self.dated {
            return (1..=31).contains(&day);
        }
        BESIDE_DAYS
            .filter_map(|days| self.day.checked_add(jiff::Span::new().days(days)).ok())
            .any(|date| i16::from(date.day()) == day)
    }

    /// The year of the message or one beside it, one that it has, or one as many years away as it
    /// says.
    fn is_year_meant(&self, year: i16) -> bool {
        let Ok(away) = u64::try_from((year - self.day.year()).abs()) else { return false };
        let short =
            u64::try_from(year % 100).is_ok_and(|short| self.written.contains(&short.to_string()));
        away <= 1 || self.has_value(away) || self.has_value(year as u64) || (away < 100 && short)
    }

    fn days_to(&self, date: Date) -> i32 {
        self.day.until(date).map_or(i32::MAX, |span| span.get_days())
    }
}

fn has_unknown_numerals(message: &str) -> bool {
    if matches!(Script::of(message), Some(Script::Chinese | Script::Japanese)) {
        return false;
    }
    let lower = message.to_lowercase().replace('’', "'");
    let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'');
    !words.any(|word| ENGLISH.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday.
    const NOW: &str = "2026-11-23T09:30:00+08:00[Asia/Shanghai]";

    fn made_up(statement: &str, message: &str) -> Option<String> {
        Said::new(message, [], &NOW.parse().unwrap()).made_up(statement)
    }

    #[test]
    fn what_was_said_otherwise_is_believed() {
        for (statement, message) in [
            ("订单 A-1024 改成 3 台", "订单A-1024改成三台"),
            ("我的手机号是 138-0013-8000", "手机 13800138000"),
            ("我的手机号是 13800138000", "手机 138 0013 8000"),
            ("我的手机号是 138 0013 8000", "手机是13800138000，记一下"),
            ("预算 1000 元", "预算 1,000 元"),
            ("预算 30000 元", "预算3万"),
            ("预算 3万", "预算 30000 元"),
            ("预算 2.5万", "预算两万五"),
            ("工号 7", "工号007"),
            ("我 2026-12-02 去上海", "下周三去上海"),
            ("我 2026年12月2日 15:00 去上海", "下周三下午三点去上海"),
            ("我12月2日15点30分开会", "下周三下午三点半开会"),
            ("我 2025 年去过日本", "去年去过日本"),
            ("我 2023 年毕业", "我三年前毕业"),
            ("我女儿 2020 年出生", "我女儿6岁了"),
            ("我的生日是 5月8日", "我生日5.8"),
            ("我的生日是 1990-05-08", "我90年5月8号生的"),
            ("我二十五号搬家", "25 号搬家"),
            ("我 25 号搬家", "二十五号搬家"),
            ("I have 2 dogs", "I have two dogs"),
            ("I fly on 2026-11-24 at 3pm", "I fly tomorrow at three"),
            ("I fly on November 24, 2026", "I fly tomorrow"),
            ("My exam is on the 1st of December", "My exam is next Tuesday, the first"),
            ("I have a daughter, 1 year old", "I have a daughter, she turned one"),
            ("I have 2 sons", "I am the father of twins"),
            ("Ich habe 3 Katzen", "Ich habe drei Katzen"),
            ("服务器是 10.0.0.12:8080", "服务器 10.0.0.12:8080 归我管"),
            ("My mail is Bob.Lee2@example.com", "my mail is bob.lee2@example.com"),
            ("我 2026-11-24 到 2026-11-26 出差", "明天到周四出差"),
            ("我用 iPhone15", "我用的iPhone 15"),
            ("会议每周 3-5 点", "会议每周三点到五点"),
            ("我喜欢咖啡", "我喜欢咖啡"),
        ] {
            assert_eq!(made_up(statement, message), None, "{statement} from {message}");
        }
    }

    #[test]
    fn what_nobody_said_is_not() {
        for (statement, message, figure) in [
            ("订单 A-1025 改成 3 台", "订单 A-1024 改成 3 台", "a-1025"),
            ("订单 A-1024 改成 5 台", "订单 A-1024 改成 3 台", "5"),
            ("我的手机号是 13800138001", "手机 13800138000", "13800138001"),
            ("我有 4 只猫", "我有三只猫", "4"),
            ("我的生日是 5月3日", "我生日是5月8日", "3"),
            ("我 15:00 开会", "我明天开会", "15:00"),
            ("我今年 35 岁", "我是工程师", "35"),
            ("I was born in 1987", "I was born in Berlin", "1987"),
            ("服务器是 10.0.0.13", "服务器 10.0.0.12 归我管", "10.0.0.13"),
            ("我 2029-01-01 退休", "我快退休了", "2029-01-01"),
            ("I have 3 dogs", "I have two dogs", "3"),
            ("I have 25 dogs", "I have two dogs", "25"),
        ] {
            assert_eq!(made_up(statement, message).as_deref(), Some(figure), "{statement}");
        }
    }

    #[test]
    fn a_known_memory_may_be_referred_to() {
        let now: Zoned = NOW.parse().unwrap();
        let said = Said::new("那个订单取消了", ["订单 A-1024 是 5 台"], &now);
        assert_eq!(said.made_up("订单 A-1024 取消了"), None);
        assert!(said.made_up("订单 A-1025 取消了").is_some());
    }
}

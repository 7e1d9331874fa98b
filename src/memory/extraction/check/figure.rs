//! The numbers, codes and dates in a text, and the forms in which they are compared.

use unicode_normalization::UnicodeNormalization;

use crate::language::is_han;

const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const CHINESE_SCALES: &[(&str, u64)] = &[
    ("百", 100),
    ("千", 1_000),
    ("k", 1_000),
    ("万", 10_000),
    ("w", 10_000),
    ("m", 1_000_000),
    ("million", 1_000_000),
    ("thousand", 1_000),
    ("亿", 100_000_000),
];

/// A number, code or date in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure<'a> {
    pub(super) text: &'a str,
    /// The rest of the line on each side of it, without white space between.
    pub(super) before: &'a str,
    pub(super) after: &'a str,
}

impl Figure<'_> {
    pub(super) fn is_in_date(&self) -> bool {
        let parts = digit_runs(self.text).count();
        let numeric = self.text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'/');
        (numeric && (2..=3).contains(&parts))
            || self.after.starts_with('月')
            || self.is_day()
            || self.month_beside().is_some()
    }

    pub(super) fn is_day(&self) -> bool {
        self.after.starts_with(['日', '号'])
    }

    /// The month whose English name stands beside it.
    pub(super) fn month_beside(&self) -> Option<i16> {
        let letters = |c: char| !c.is_ascii_alphabetic();
        let before = self.before.trim_end().rsplit(letters).next().unwrap_or_default();
        let after = self.after.trim_start_matches("of ").split(letters).next().unwrap_or_default();
        [before, after].into_iter().find_map(|word| {
            let at = MONTHS.iter().position(|month| word.starts_with(month))?;
            i16::try_from(at + 1).ok()
        })
    }

    /// The one character between this and the next figure.
    pub(super) fn unit_before(&self, next: &Figure<'_>) -> Option<char> {
        let mut between = self.after.strip_suffix(next.after)?.trim_end().chars();
        let unit = between.next().filter(|c| is_han(*c))?;
        (between.as_str() == next.text).then_some(unit)
    }

    /// What `3万` and `2.5k` come to.
    pub(super) fn scaled(&self) -> Option<u64> {
        let number = self.text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = format!("{}{}", &self.text[number.len()..], self.after);
        let (_, scale) = CHINESE_SCALES.iter().find(|(mark, _)| unit.starts_with(mark))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = u32::try_from(fraction.len()).ok()?;
        let value: u64 = format!("{whole}{fraction}").parse().ok()?;
        Some(value.checked_mul(*scale)? / 10u64.checked_pow(digits)?)
    }
}

/// What a unit multiplies by.
pub(super) fn scale_of(unit: char) -> Option<u64> {
    CHINESE_SCALES.iter().find(|(mark, _)| mark.chars().eq([unit])).map(|(_, scale)| *scale)
}

pub(super) fn normal(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).collect()
}

pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '#' | '+' | ',')
}

/// Words with a digit in them, what joins their parts included.
pub(super) fn figures(normal: &str) -> Vec<Figure<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    let next = |at: usize| normal[at..].chars().next();
    for (at, c) in normal.char_indices().chain([(normal.len(), '\0')]) {
        let inside = c.is_ascii_alphanumeric()
            || (is_joiner(c)
                && start.is_some()
                && next(at + c.len_utf8()).is_some_and(|n| match c {
                    ',' => {
                        n.is_ascii_digit() && normal[..at].ends_with(|p: char| p.is_ascii_digit())
                    }
                    _ => n.is_ascii_alphanumeric(),
                }));
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                let text = &normal[from..at];
                if text.bytes().any(|b| b.is_ascii_digit()) {
                    let (before, after) = (normal[..from].trim_end(), normal[at..].trim_start());
                    found.push(Figure { text, before, after });
                }
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// The groups of digits with spaces between them, as phone numbers are written, with their whole.
pub(super) fn spaced(figures: &[Figure<'_>]) -> Vec<(std::ops::Range<usize>, String)> {
    let all_digits = |figure: &Figure<'_>| {
        figure.text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'+')
    };
    let mut groups = Vec::new();
    let mut at = 0;
    while at < figures.len() {
        let mut end = at + 1;
        while end < figures.len()
            && all_digits(&figures[end - 1])
            && all_digits(&figures[end])
            && figures[end].before.ends_with(figures[end - 1].text)
        {
            end += 1;
        }
        if end > at + 1 {
            let whole: String = figures[at..end].iter().map(|figure| figure.text).collect();
            groups.push((at..end, canonical(&whole)));
        }
        at = end;
    }
    groups
}

pub(super) fn digit_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty())
}

pub(super) fn is_range(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'/')
        && digit_runs(text).count() == 2
}

/// One form for what is written in several: without what joins the parts of a code or groups
/// digits, and without zeros in front of a number.
pub(super) fn canonical(text: &str) -> String {
    let bare: String = text.chars().filter(|c| *c == '.' || !is_joiner(*c)).collect();
    if bare.bytes().all(|b| b.is_ascii_digit()) {
        let number = bare.trim_start_matches('0');
        return if number.is_empty() { "0".into() } else { number.into() };
    }
    bare
}

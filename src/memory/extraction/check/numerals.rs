//! Numbers written as words, in Chinese and in English: a statement may have "3" where the message
//! has "三" or "three".

use std::collections::BTreeSet;

const ENGLISH: &[(&str, u64)] = &[
    ("zero", 0),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("sixty", 60),
    ("seventy", 70),
    ("eighty", 80),
    ("ninety", 90),
    ("first", 1),
    ("second", 2),
    ("third", 3),
    ("fourth", 4),
    ("fifth", 5),
    ("sixth", 6),
    ("seventh", 7),
    ("eighth", 8),
    ("ninth", 9),
    ("tenth", 10),
    ("once", 1),
    ("twice", 2),
    ("eleventh", 11),
    ("twelfth", 12),
    ("thirteenth", 13),
    ("fifteenth", 15),
    ("twentieth", 20),
    ("thirtieth", 30),
    ("both", 2),
    ("pair", 2),
    ("twins", 2),
    ("triplets", 3),
    ("couple", 2),
    ("dozen", 12),
    ("half", 30),
    ("quarter", 15),
    ("noon", 12),
    ("midnight", 0),
];
const SCALES: &[(&str, u64)] = &[("hundred", 100), ("thousand", 1_000), ("million", 1_000_000)];

/// The numbers that a text says in words, those of half and quarter hours included.
pub(in crate::memory::extraction) fn spelled(text: &str) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    english(&text.to_lowercase(), &mut numbers);
    chinese(text, &mut numbers);
    numbers
}

fn english(text: &str, numbers: &mut BTreeSet<u64>) {
    // What a row of number words has come to, and its last word's part in it.
    let (mut sum, mut last) = (0u64, 0u64);
    for word in text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
        let value = |list: &[(&str, u64)]| list.iter().find(|(w, _)| *w == word).map(|w| w.1);
        if let Some(unit) = value(ENGLISH) {
            sum = if last >= 20 && unit < 10 || last >= 100 {
                sum.saturating_add(unit)
            } else {
                unit
            };
            last = unit;
            numbers.extend([unit, sum]);
        } else if let Some(scale) = value(SCALES) {
            sum = sum.max(1).saturating_mul(scale);
            last = scale;
            numbers.insert(sum);
        } else if word != "and" {
            (sum, last) = (0, 0);
        }
    }
}

fn chinese(text: &str, numbers: &mut BTreeSet<u64>) {
    for run in text.split(|c: char| !is_chinese(c)).filter(|run| !run.is_empty()) {
        numbers.insert(value(run));
        // "二零二六" is read digit by digit.
        if run.chars().all(|c| digit(c).is_some()) {
            let digits = run.chars().filter_map(digit);
            numbers.insert(digits.fold(0, |n: u64, d| n.saturating_mul(10).saturating_add(d)));
            // And "七八个" is seven or eight.
            numbers.extend(run.chars().filter_map(digit));
        }
        // "三四十".
        let characters: Vec<char> = run.chars().collect();
        for around in characters.windows(3) {
            if let (Some(low), Some(_), Some(unit)) =
                (digit(around[0]), digit(around[1]), unit(around[2]))
            {
                numbers.insert(low * unit);
            }
        }
    }
    for (word, number) in [
        ("俩", 2),
        ("仨", 3),
        ("双胞胎", 2),
        ("半", 30),
        ("半年", 6),
        ("一刻", 15),
        ("三刻", 45),
        ("中午", 12),
        ("正午", 12),
        ("午夜", 0),
    ] {
        if text.contains(word) {
            numbers.insert(number);
        }
    }
}

/// Whether `c` is part of a Chinese number.
pub(in crate::memory::extraction) fn is_chinese(c: char) -> bool {
    digit(c).is_some() || unit(c).is_some()
}

fn digit(c: char) -> Option<u64> {
    let digits = ["零〇", "一壹", "二两贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖"];
    (0..).zip(digits).find(|(_, forms)| forms.contains(c)).map(|(value, _)| value)
}

fn unit(c: char) -> Option<u64> {
    match c {
        '十' | '拾' => Some(10),
        '百' | '佰' => Some(100),
        '千' | '仟' => Some(1_000),
        '万' => Some(10_000),
        '亿' => Some(100_000_000),
        _ => None,
    }
}

/// What a Chinese number comes to: "两千零二十五", "三万五".
pub(in crate::memory::extraction) fn value(run: &str) -> u64 {
    let (mut total, mut section, mut number, mut last) = (0u64, 0u64, 0u64, 1u64);
    for c in run.chars() {
        match (digit(c), unit(c)) {
            (Some(d), _) => {
                number = d;
                if d == 0 {
                    last = 1;
                }
            }
            (_, Some(scale)) if scale >= 10_000 => {
                let part = section.saturating_add(number);
                // "一亿两千万" adds the second part, "一万亿" multiplies the first.
                total = if total > scale {
                    total.saturating_add(part.saturating_mul(scale))
                } else {
                    total.saturating_add(part).max(1).saturating_mul(scale)
                };
                (section, number, last) = (0, 0, scale);
            }
            (_, Some(scale)) => {
                section = section.saturating_add(number.max(1).saturating_mul(scale));
                (number, last) = (0, scale);
            }
            (None, None) => {}
        }
    }
    // A last digit without its unit is one of the next smaller: "三万五", "两百五".
    let rest = if last >= 100 { number * (last / 10) } else { number };
    total.saturating_add(section).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_numerals() {
        for (text, number) in [
            ("三只猫", 3),
            ("两个孩子", 2),
            ("十二月", 12),
            ("二十五号", 25),
            ("一百零三", 103),
            ("两千零二十五", 2_025),
            ("三万五", 35_000),
            ("两百五", 250),
            ("二零二六年", 2_026),
            ("三点半", 30),
            ("一亿两千万", 120_000_000),
        ] {
            assert!(spelled(text).contains(&number), "{text}: {:?}", spelled(text));
        }
        assert!(spelled("我喜欢咖啡").is_empty());
        assert!(!spelled(&"九亿".repeat(20)).is_empty());
    }

    #[test]
    fn english_number_words() {
        for (text, number) in [
            ("I have two dogs", 2),
            ("Twenty-five people", 25),
            ("three hundred and twelve", 312),
            ("two thousand", 2_000),
            ("half past six", 30),
        ] {
            assert!(spelled(text).contains(&number), "{text}: {:?}", spelled(text));
        }
        assert!(spelled("someone often attended").is_empty());
        let endless = format!("{}one", "million ".repeat(20));
        assert!(spelled(&endless).contains(&u64::MAX));
    }
}

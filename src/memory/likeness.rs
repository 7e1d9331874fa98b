//! When two statements say the same.
//!
//! Only what differs in nothing that carries meaning is the same: spelling, punctuation, and words
//! such as "very". One that differs in a number, a name, a negation or the order of its words is
//! another.

use unicode_normalization::UnicodeNormalization;

use crate::language::is_han;

/// Characters and words without which a statement says the same.
const CHINESE: &[char] =
    &['的', '了', '啊', '呀', '哦', '呢', '吧', '也', '很', '就', '还', '是', '都'];
const ENGLISH: &[&str] =
    &["a", "an", "the", "is", "am", "are", "really", "very", "also", "just", "that", "so", "too"];

/// Whether two statements say the same.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (core(one), core(other));
    !one.is_empty() && one == other
}

/// What carries the meaning of a statement, in order: characters of Chinese, words of others.
fn core(text: &str) -> Vec<String> {
    let normal: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let normal = normal.replace("i'm", "i").replace("it's", "it");
    let mut parts: Vec<String> = Vec::new();
    let mut word = String::new();
    let end = |word: &mut String, parts: &mut Vec<String>| {
        let whole = std::mem::take(word);
        let whole = whole.trim_matches(|c: char| !c.is_alphanumeric() && c != '%');
        if !whole.is_empty() && !ENGLISH.contains(&whole) {
            parts.push(whole.to_owned());
        }
    };
    for c in normal.chars() {
        if is_han(c) {
            end(&mut word, &mut parts);
            if !CHINESE.contains(&c) {
                parts.push(c.to_string());
            }
        } else if c.is_alphanumeric()
            || matches!(c, '.' | '-' | '_' | '@' | '/' | ':' | '+' | '#' | '\'' | '%')
        {
            // Within a number or a code these carry meaning.
            word.push(c);
        } else {
            end(&mut word, &mut parts);
        }
    }
    end(&mut word, &mut parts);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_and_little_words_say_nothing() {
        for (one, other) in [
            ("我喜欢喝茶", "我很喜欢喝茶。"),
            ("我住在杭州了", "我住在 杭州！"),
            ("I'm a vegan", "i am vegan."),
            ("I really like ＴＥＡ", "I like tea"),
            ("我的车牌是沪A12345", "我的车牌沪 a12345"),
        ] {
            assert!(is_same(one, other), "{one} / {other}");
        }
    }

    #[test]
    fn a_number_a_name_a_negation_or_the_order_does() {
        for (one, other) in [
            ("订单 A-1024 是 3 台", "订单 A-1024 是 5 台"),
            ("订单 A-1024", "订单 A1024"),
            ("版本 1.2", "版本 12"),
            ("我住在杭州", "我住在广州"),
            ("我喜欢喝茶", "我不喜欢喝茶"),
            ("I can swim", "I can't swim"),
            ("小明借给小红钱", "小红借给小明钱"),
            ("折扣 5%", "折扣 5"),
            ("的", "了"),
        ] {
            assert!(!is_same(one, other), "{one} / {other}");
        }
    }
}

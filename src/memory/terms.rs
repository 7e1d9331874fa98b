//! The terms of a text, for lexical recall.
//!
//! Chinese, Japanese and Korean: pairs of neighbouring characters, which need no dictionary and
//! find a word wherever it stands, and the characters themselves, for words of one. Latin and other alphabets: stems of words. Numbers, codes and
//! addresses (`A-1024`, `10.0.0.1`, `bob@example.com`): whole, and their parts.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;

use crate::language::is_han;
use crate::store::Words;

/// Words too common in English to tell one memory from another.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "did", "do", "does", "for", "had",
    "has", "have", "he", "her", "his", "i", "if", "in", "into", "is", "it", "its", "me", "my",
    "no", "not", "of", "on", "or", "our", "she", "so", "such", "that", "the", "their", "then",
    "there", "these", "they", "this", "to", "was", "we", "were", "what", "when", "where", "which",
    "who", "will", "with", "you", "your",
];

/// Longest name, in characters.
const MOST_OF_NAME: usize = 30;

/// The different terms of a text, with how often each occurs. A text of stop words alone keeps
/// them: it has nothing better.
pub fn counted(text: &str) -> Vec<(String, u32)> {
    let stemmer = Stemmer::create(Algorithm::English);
    let normal: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let mut counts: HashMap<String, u32> = HashMap::new();
    let mut common: HashMap<String, u32> = HashMap::new();
    for run in runs(&normal) {
        match run {
            Run::Pairs(characters) => {
                for part in pairs(characters).into_iter().chain(singles(characters)) {
                    *counts.entry(part.to_owned()).or_default() += 1;
                }
            }
            Run::Word(word) if STOP_WORDS.contains(&word) => {
                *common.entry(word.to_owned()).or_default() += 1;
            }
            Run::Word(word) => {
                for term in word_terms(word, &stemmer) {
                    *counts.entry(term).or_default() += 1;
                }
            }
        }
    }
    let counts = if counts.is_empty() { common } else { counts };
    counts.into_iter().collect()
}

/// By what a text is found that `actor` said, or the person it is kept for.
pub fn words(text: &str, actor: Option<&str>) -> Words {
    let speaker = said_by(text).or(actor).map(|name| {
        let mut terms: Vec<String> = counted(name).into_iter().map(|(term, _)| term).collect();
        terms.sort_unstable();
        terms.join(" ")
    });
    Words { terms: counted(text), speaker: speaker.filter(|terms| !terms.is_empty()) }
}

/// Who speaks in a text, if it says so as transcripts do: `Anna: I am off`, `小王：我请假`.
fn said_by(text: &str) -> Option<&str> {
    let at = text.find([':', '：'])?;
    let (name, rest) = text.split_at(at);
    let said = rest.strip_prefix('：').or_else(|| rest[1..].strip_prefix(' '))?;
    let is_name = |c: char| c.is_alphabetic() || matches!(c, ' ' | '.' | '\'' | '-' | '·');
    let starts = name.chars().next().is_some_and(|c| is_han(c) || c.is_uppercase());
    let short = name.chars().count() <= MOST_OF_NAME && name.split(' ').count() <= 3;
    (starts && short && name.chars().all(is_name) && !said.trim().is_empty()).then_some(name)
}

/// Whether a term is one character of a script whose terms are pairs.
pub fn is_single(term: &str) -> bool {
    let mut characters = term.chars();
    characters.next().is_some_and(|c| kind(c) == Kind::Pairs) && characters.next().is_none()
}

/// A stretch of text that is cut the same way.
enum Run<'a> {
    /// Characters of a script without spaces.
    Pairs(&'a str),
    /// A word, a number or a code.
    Word(&'a str),
}

#[derive(PartialEq, Clone, Copy)]
enum Kind {
    Pairs,
    Word,
    Joiner,
    Gap,
}

fn kind(c: char) -> Kind {
    if is_han(c) || is_kana_or_hangul(c) {
        Kind::Pairs
    } else if c.is_alphanumeric() {
        Kind::Word
    } else if matches!(c, '.' | '-' | '_' | '@' | '/' | ':' | '+' | '#' | '\'') {
        Kind::Joiner
    } else {
        Kind::Gap
    }
}

fn is_kana_or_hangul(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ac00}'..='\u{d7a3}')
}

/// Cuts a text where the kind of its characters changes. A joiner belongs to a word only between
/// two of its characters.
fn runs(text: &str) -> Vec<Run<'_>> {
    let mut found = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some((start, c)) = characters.next() {
        let first = kind(c);
        if matches!(first, Kind::Gap | Kind::Joiner) {
            continue;
        }
        let mut end = start + c.len_utf8();
        while let Some(&(at, next)) = characters.peek() {
            let joined = first == Kind::Word
                && kind(next) == Kind::Joiner
                && text[at + next.len_utf8()..].chars().next().is_some_and(|n| kind(n) == first);
            if kind(next) != first && !joined {
                break;
            }
            end = at + next.len_utf8();
            characters.next();
        }
        let run = &text[start..end];
        found.push(if first == Kind::Pairs { Run::Pairs(run) } else { Run::Word(run) });
    }
    found
}

/// Pairs of neighbours.
fn pairs(run: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = run.char_indices().map(|(at, _)| at).collect();
    starts.push(run.len());
    starts.windows(3).map(|w| &run[w[0]..w[2]]).collect()
}

/// Every character by itself.
fn singles(run: &str) -> impl Iterator<Item = &str> {
    run.char_indices().map(|(at, c)| &run[at..at + c.len_utf8()])
}

/// A word's stem; a code whole and in parts.
fn word_terms(word: &str, stemmer: &Stemmer) -> Vec<String> {
    let stem = |part: &str| {
        let ascii_word = part.bytes().all(|b| b.is_ascii_lowercase());
        if ascii_word { stemmer.stem(part).into_owned() } else { part.to_owned() }
    };
    let parts: Vec<&str> = word.split(|c| kind(c) == Kind::Joiner).collect();
    match parts.as_slice() {
        [only] => vec![stem(only)],
        // "don't", "Anna's": the first part says it.
        [first, rest] if word.contains('\'') && rest.len() <= 2 => vec![stem(first)],
        parts => std::iter::once(word.to_owned())
            .chain(parts.iter().filter(|p| !STOP_WORDS.contains(p)).map(|p| stem(p)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        let mut terms: Vec<String> = counted(text).into_iter().map(|(t, _)| t).collect();
        terms.sort();
        terms
    }

    #[test]
    fn chinese_is_cut_into_pairs() {
        let expected = ["咖", "咖啡", "啡", "喜", "喜欢", "我", "我喜", "欢", "欢咖"];
        assert_eq!(terms("我喜欢咖啡"), expected);
        assert_eq!(terms("猫"), ["猫"]);
        assert_eq!(terms("猫，狗"), ["狗", "猫"]);
    }

    #[test]
    fn english_is_stemmed_and_common_words_are_left_out() {
        assert_eq!(terms("I was running the races"), ["race", "run"]);
        assert_eq!(terms("who are you"), ["are", "who", "you"]);
        assert_eq!(terms("Anna's cats don't run"), ["anna", "cat", "don", "run"]);
    }

    #[test]
    fn codes_and_numbers_stay_whole() {
        assert!(terms("工单 A-1024 已关闭").contains(&"a-1024".to_owned()));
        assert!(terms("ssh 10.0.0.1:22").contains(&"10.0.0.1:22".to_owned()));
        assert!(terms("mail bob@example.com.").contains(&"bob@example.com".to_owned()));
        assert!(terms("版本3.14发布").contains(&"3.14".to_owned()));
        assert!(!terms("A-1024").contains(&"a-1025".to_owned()));
    }

    #[test]
    fn who_speaks_is_known_from_a_transcript() {
        for (text, name) in [
            ("Anna: I am off on Friday", "Anna"),
            ("Anna Li: yes", "Anna Li"),
            ("小王：我明天请假", "小王"),
            ("Øyvind: hei", "Øyvind"),
        ] {
            assert_eq!(said_by(text), Some(name), "{text}");
        }
        for text in [
            "http://example.com is down",
            "the port is: 8080",
            "at 10:30 we meet",
            "C:\\temp",
            "Anna:",
            "：空",
            "",
        ] {
            assert_eq!(said_by(text), None, "{text}");
        }
        let speaker = |text: &str, actor| words(text, actor).speaker;
        assert_eq!(speaker("I am off", Some("Bob Li")).as_deref(), Some("bob li"));
        assert_eq!(speaker("Anna: I am off", Some("bob")).as_deref(), Some("anna"));
        assert_eq!(speaker("I am off", Some("小王")).as_deref(), Some("小 小王 王"));
        assert_eq!((speaker("I am off", Some("?!")), speaker("I am off", None)), (None, None));
    }

    #[test]
    fn forms_of_a_character_are_one() {
        assert_eq!(terms("ＡＢＣ１２３"), terms("abc123"));
    }

    #[test]
    fn a_word_of_one_character_is_found_in_what_holds_it() {
        assert!(terms("我每天喝茶").contains(&"茶".to_owned()));
        assert!(is_single("茶") && !is_single("喝茶") && !is_single("t"));
    }

    #[test]
    fn a_term_is_counted() {
        assert_eq!(counted("coffee coffee"), [("coffe".to_owned(), 2)]);
        assert!(counted(" ，。!").is_empty());
    }
}

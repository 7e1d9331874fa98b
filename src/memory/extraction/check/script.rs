//! In which script a text is written, and whether a statement is in that of its message.
//!
//! A script stands for a language where only one is written in it. What a translation between two
//! languages of one script did (English for German) cannot be seen here.

use unicode_normalization::UnicodeNormalization;
use unicode_script::{Script as Letters, UnicodeScript};

/// What a character of Chinese, Japanese or Korean counts in letters of an alphabet: it says
/// about as much.
const CJK_WEIGHT: usize = 3;

/// The script of most of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::memory::extraction) enum Script {
    Chinese,
    Japanese,
    Korean,
    Latin,
    /// Another one.
    Other(Letters),
}

impl Script {
    /// The script of most of `text`; `None` if it has no letter.
    pub(in crate::memory::extraction) fn of(text: &str) -> Option<Self> {
        let mut weights: Vec<(Self, usize)> = Vec::new();
        let (mut han, mut kana) = (0, 0);
        for letters in text.chars().map(|c| c.script()) {
            match letters {
                Letters::Han => han += 1,
                Letters::Hiragana | Letters::Katakana => kana += 1,
                letters => add(&mut weights, letters),
            }
        }
        // Japanese has kana everywhere; a shop's name in a Chinese sentence does not make it so.
        let cjk = if kana * 5 >= han { Self::Japanese } else { Self::Chinese };
        weights.push((cjk, (han + kana) * CJK_WEIGHT));
        weights.into_iter().filter(|(_, weight)| *weight > 0).max_by_key(|(_, w)| *w).map(|s| s.0)
    }

    /// The one language that is written in it.
    pub(in crate::memory::extraction) fn language(self) -> Option<&'static str> {
        match self {
            Self::Chinese => Some("Chinese (中文)"),
            Self::Japanese => Some("Japanese (日本語)"),
            Self::Korean => Some("Korean (한국어)"),
            Self::Latin | Self::Other(_) => None,
        }
    }

    fn has(self, c: char) -> bool {
        match (self, c.script()) {
            (Self::Chinese, letters) => letters == Letters::Han,
            (Self::Japanese, letters) => {
                matches!(letters, Letters::Han | Letters::Hiragana | Letters::Katakana)
            }
            (Self::Korean, letters) => letters == Letters::Hangul,
            (Self::Latin, letters) => letters == Letters::Latin,
            (Self::Other(own), letters) => letters == own,
        }
    }

    /// Whether words of it are not set apart by spaces.
    pub(in crate::memory::extraction) fn is_cjk(self) -> bool {
        matches!(self, Self::Chinese | Self::Japanese | Self::Korean)
    }
}

fn add(weights: &mut Vec<(Script, usize)>, letters: Letters) {
    let (script, weight) = match letters {
        Letters::Common | Letters::Inherited | Letters::Unknown => return,
        Letters::Latin => (Script::Latin, 1),
        Letters::Hangul => (Script::Korean, CJK_WEIGHT),
        other => (Script::Other(other), 1),
    };
    match weights.iter_mut().find(|(known, _)| *known == script) {
        Some((_, sum)) => *sum += weight,
        None => weights.push((script, weight)),
    }
}

/// What was said, as statements of it are held against it.
#[derive(Debug)]
pub(in crate::memory::extraction) struct Original {
    pub(in crate::memory::extraction) script: Option<Script>,
    squeezed: String,
}

impl Original {
    pub(in crate::memory::extraction) fn new(text: &str) -> Self {
        Self { script: Script::of(text), squeezed: squeezed(text) }
    }

    /// Whether most of a statement is in a script in which this does not say it.
    pub(in crate::memory::extraction) fn is_translated_in(&self, statement: &str) -> bool {
        let (Some(own), Some(asked)) = (Script::of(statement), self.script) else { return false };
        if own == asked {
            return false;
        }
        // A message of two languages: each statement may be in that in which it was said.
        let words = words(statement, own);
        let quoted = words.iter().filter(|word| self.has(word)).count();
        quoted * 2 < words.len()
    }

    /// A word of a statement in another script than the rest of it, which this does not have: a
    /// name or a term that was translated.
    pub(super) fn word_translated_in(&self, statement: &str) -> Option<String> {
        let own = Script::of(statement)?;
        let others = statement.split(|c: char| {
            let digit = c.is_ascii_digit();
            !c.is_alphanumeric() || own.has(c) || (!digit && c.script() == Letters::Common)
        });
        // One with a digit is a code, or a number with its unit: no word.
        let foreign = |word: &&str| {
            let letters = word.chars().filter(|c| c.is_alphabetic()).count();
            letters > 1 && !word.contains(|c: char| c.is_ascii_digit()) && !self.has(word)
        };
        others.filter(|word| !word.is_empty()).find(foreign).map(str::to_owned)
    }

    fn has(&self, word: &str) -> bool {
        self.squeezed.contains(&squeezed(word))
    }
}

/// The words of a script in a text; characters, where there are no words to be seen.
fn words(text: &str, script: Script) -> Vec<String> {
    if script.is_cjk() {
        return text.chars().filter(|c| script.has(*c)).map(String::from).collect();
    }
    let runs = text.split(|c: char| !script.has(c) && c != '\'');
    runs.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The letters and digits of a text alone, in one form: `VS Code` and `vscode` are one.
pub(super) fn squeezed(text: &str) -> String {
    let normal = text.nfkc().flat_map(char::to_lowercase);
    normal.filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_translated(statement: &str, message: &str) -> bool {
        Original::new(message).is_translated_in(statement)
    }

    fn translated_word(statement: &str, message: &str) -> Option<String> {
        Original::new(message).word_translated_in(statement)
    }

    #[test]
    fn the_script_of_most_of_it() {
        for (text, script) in [
            ("我用 Rust 写程序", Script::Chinese),
            ("I met 张伟 in Berlin last year", Script::Latin),
            ("東京に住んでいます", Script::Japanese),
            ("我喜欢去那家叫鲜の屋的小店吃饭", Script::Chinese),
            ("저는 Seoul에 살아요", Script::Korean),
            ("Я живу в Москве", Script::Other(Letters::Cyrillic)),
        ] {
            assert_eq!(Script::of(text), Some(script), "{text}");
        }
        assert_eq!(Script::of("12:30 👍"), None);
    }

    #[test]
    fn a_translation_is_seen() {
        for (statement, message) in [
            ("The user lives in Hangzhou", "我住在杭州"),
            ("User uses Rust", "我平时用 Rust 写程序"),
            ("我住在柏林", "I live in Berlin"),
            ("I live in Moscow", "Я живу в Москве"),
            ("I live in Tokyo", "東京に住んでいます"),
            ("我的朋友住在柏林", "My friend 张伟 lives in Berlin and works there"),
        ] {
            assert!(is_translated(statement, message), "{statement}");
        }
    }

    #[test]
    fn what_was_said_in_two_languages_stays() {
        for (statement, message) in [
            ("我住在杭州", "我住在杭州"),
            ("I work at Google in London", "我叫张三，是工程师。I work at Google in London now."),
            ("bob@example.com", "我的邮箱是 bob@example.com"),
            ("My friend 张伟 lives in Berlin", "My friend 张伟 lives in Berlin"),
            ("我叫 Christopher Alexander", "叫我 Christopher Alexander"),
            ("2026-11-25", "我下周三去"),
        ] {
            assert!(!is_translated(statement, message), "{statement}");
        }
    }

    #[test]
    fn a_translated_name_is_seen() {
        assert_eq!(
            translated_word("我在 Alibaba Cloud 上班", "我在阿里云上班").as_deref(),
            Some("Alibaba")
        );
        assert_eq!(translated_word("我用 VS Code", "我用vscode"), None);
        assert_eq!(translated_word("我用 ｒｕｓｔ", "我用 Rust"), None);
        assert_eq!(translated_word("我 2026-11-25 15:00 开会", "我下周三开会"), None);
        assert_eq!(
            translated_word("I met Zhang Wei (张伟)", "I met Zhang Wei").as_deref(),
            Some("张伟")
        );
    }
}

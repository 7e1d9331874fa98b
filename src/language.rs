//! The two languages the bot speaks, and which one a person wrote in.

/// A language the bot speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Chinese; what the bot speaks when it cannot tell.
    #[default]
    Chinese,
    /// English.
    English,
}

impl Language {
    /// The language of `text`: Chinese if it has a Han character, English if it has only Latin
    /// letters, Chinese if it has no letter at all.
    pub fn of(text: &str) -> Self {
        let mut latin = false;
        for c in text.chars() {
            if is_han(c) {
                return Self::Chinese;
            }
            latin |= c.is_ascii_alphabetic();
        }
        if latin { Self::English } else { Self::Chinese }
    }

    /// The text for this language.
    pub fn pick<T>(self, chinese: T, english: T) -> T {
        match self {
            Self::Chinese => chinese,
            Self::English => english,
        }
    }
}

/// Whether `c` is a Han character (Unicode blocks of the CJK unified ideographs).
pub fn is_han(c: char) -> bool {
    matches!(c,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_han_character_makes_it_chinese() {
        assert_eq!(Language::of("我用 Rust"), Language::Chinese);
        assert_eq!(Language::of("I use Rust"), Language::English);
        assert_eq!(Language::of("12345 👍"), Language::Chinese);
        assert_eq!(Language::of(""), Language::Chinese);
    }
}

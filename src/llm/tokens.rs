//! How long a prompt is, without the model's own tokenizer.

use crate::language::is_han;

/// Bytes of UTF-8 that make one token outside of Chinese, Japanese and Korean.
const BYTES_PER_TOKEN: usize = 4;

/// About how many tokens `text` is: one for each Chinese, Japanese or Korean character (their
/// punctuation included), and one for every four bytes of anything else, rounded up.
///
/// It is an estimate for a prompt's budget, made to be above the truth rather than below it for
/// Chinese: today's tokenizers take 0.5 to 1 token a character there. Each model has a tokenizer
/// of its own, so the exact number could only be had for some.
pub fn estimate_tokens(text: &str) -> usize {
    let (mut tokens, mut bytes) = (0, 0);
    for c in text.chars() {
        if is_cjk(c) { tokens += 1 } else { bytes += c.len_utf8() }
    }
    tokens + bytes.div_ceil(BYTES_PER_TOKEN)
}

/// Han, kana, hangul, and the punctuation and full-width forms that go with them.
fn is_cjk(c: char) -> bool {
    is_han(c)
        || matches!(c,
            '\u{2e80}'..='\u{31ff}' | '\u{ac00}'..='\u{d7af}' | '\u{fe30}'..='\u{fe4f}'
            | '\u{ff00}'..='\u{ffef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_counts_by_character_and_english_by_four_bytes() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("我喜欢咖啡。"), 6);
        assert_eq!(estimate_tokens("abcd"), 1);
        assert_eq!(estimate_tokens("abcde"), 2);
        assert_eq!(estimate_tokens("用 Rust 写"), 2 + 2);
    }
}

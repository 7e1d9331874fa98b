//! Text of other people on the operator's terminal.

/// A text on one line: white space as spaces, and control characters made visible, so that nobody's
/// message can move the cursor, change the title or repaint what was printed.
pub fn one_line(text: &str) -> String {
    visible(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A text with its lines, and with every other control character made visible.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() && c != '\n') || turns_text(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character changes the direction of the text that follows (Unicode Standard Annex #9):
/// what is shown would not be what is there.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(visible("a\u{1b}]0;x\u{7}\nb\u{9b}"), "a\\u{1b}]0;x\\u{7}\nb\\u{9b}");
        assert_eq!(visible("a\u{202e}b\u{2066}"), "a\\u{202e}b\\u{2066}");
        assert_eq!(one_line("我 \n\t喜欢\u{1b}[31m茶"), "我 喜欢\\u{1b}[31m茶");
    }
}

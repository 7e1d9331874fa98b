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

/// JSON as it was, with the characters that a terminal obeys written as escapes. JSON itself
/// demands that only of those below U+0020, which it holds nowhere but between its tokens.
pub fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if (c.is_control() && c != '\n') || turns_text(c) {
            // None of them lies beyond U+FFFF.
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
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
        assert_eq!(visible_json("\"a\u{9b}b\u{7f}\u{202e}\"\n"), "\"a\\u009bb\\u007f\\u202e\"\n");
        assert_eq!(one_line("我 \n\t喜欢\u{1b}[31m茶"), "我 喜欢\\u{1b}[31m茶");
    }
}

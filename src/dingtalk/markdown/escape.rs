//! Text from elsewhere, put into markdown as nothing but text.

/// What means something inside a line of markdown.
const MARKS: [char; 10] = ['\\', '`', '*', '_', '[', ']', '<', '>', '~', '|'];

/// `text` on one line, in markdown that shows its characters and does nothing else: no emphasis, no
/// link, no picture, no heading or list, no mention.
///
/// White space, line ends included, becomes single spaces; control characters and those that turn
/// the direction of writing are left out. An `@` becomes `＠` unless it stands in an address
/// (`ops@example.com`), so that nobody seems to be mentioned.
pub fn escape(text: &str) -> String {
    let words: Vec<String> = words(text).collect();
    let mut escaped = String::with_capacity(text.len() + 8);
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            escaped.push(' ');
        } else if let Some(at) = block_mark(word, words.len() == 1) {
            // At the front of a line it would begin a heading, a quote or a list.
            push_word(&mut escaped, &word[..at]);
            escaped.push('\\');
            push_word(&mut escaped, &word[at..]);
            continue;
        }
        push_word(&mut escaped, word);
    }
    escaped
}

/// `text` on one line, for where there is no markdown: a title. White space, control characters and
/// mentions are treated as by [`escape`].
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for (index, word) in words(text).enumerate() {
        if index > 0 {
            line.push(' ');
        }
        let seen = |(at, c)| if c == '@' && !in_an_address(&word, at) { '＠' } else { c };
        line.extend(word.char_indices().map(seen));
    }
    line
}

/// What of a text can be seen, word by word.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .map(|word| word.chars().filter(|&c| !is_invisible(c)).collect::<String>())
        .filter(|word| !word.is_empty())
}

fn push_word(escaped: &mut String, word: &str) {
    for (at, c) in word.char_indices() {
        match c {
            '@' if !in_an_address(word, at) => escaped.push('＠'),
            // A client that knows no backslash must not see a link either.
            '(' if word[..at].ends_with(']') => escaped.push_str("\\("),
            '&' if is_entity(&word[at..]) => escaped.push_str("\\&"),
            c if MARKS.contains(&c) => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
}

/// Where in the first word of a line a character begins a block. What [`MARKS`] has is escaped
/// anyway. `alone`: the line has no other word.
fn block_mark(word: &str, alone: bool) -> Option<usize> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &word[digits..];
    if digits > 0 {
        return matches!(rest, "." | ")").then_some(digits);
    }
    let heading = rest.bytes().all(|byte| byte == b'#');
    let line = alone && (rest.bytes().all(|b| b == b'-') || rest.bytes().all(|b| b == b'='));
    (heading || line || matches!(rest, "-" | "+")).then_some(0)
}

/// Whether the `@` at `at` is that of an address: a letter or digit before it, and a dot with more
/// behind it.
fn in_an_address(word: &str, at: usize) -> bool {
    let before = word[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
    let domain = word[at + 1..]
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-')
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    before && domain.find('.').is_some_and(|dot| dot > 0)
}

/// Whether `text`, which begins with `&`, could be read as a character's name or number.
fn is_entity(text: &str) -> bool {
    let name = text[1..].split(|c: char| !c.is_ascii_alphanumeric() && c != '#').next();
    name.is_some_and(|name| !name.is_empty() && text[1 + name.len()..].starts_with(';'))
}

/// Characters that are not seen and turn the text around them, or pretend to be nothing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;

    /// What a reader of the markdown sees; nothing, if it does anything but show text.
    fn shown(markdown: &str) -> Option<String> {
        let mut text = String::new();
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_FOOTNOTES;
        for event in Parser::new_ext(markdown, options) {
            match event {
                Event::Text(part) => text.push_str(&part),
                Event::Start(Tag::Paragraph) | Event::End(_) => {}
                _ => return None,
            }
        }
        Some(text)
    }

    #[test]
    fn text_stays_readable() {
        assert_eq!(escape("node_exporter on 10.0.0.1:9100"), "node\\_exporter on 10.0.0.1:9100");
        assert_eq!(escape("two\nlines\tand\u{7} more "), "two lines and more");
        assert_eq!(escape("-5.3% #1"), "-5.3% #1");
        assert_eq!(escape(" \n\u{202e}"), "");
    }

    #[test]
    fn a_title_has_no_marks_of_its_own() {
        assert_eq!(one_line(" node_exporter\r\n@all\u{202e} "), "node_exporter ＠all");
    }

    #[test]
    fn nothing_is_done() {
        for hostile in [
            "[click](http://198.51.100.1)",
            "![](http://198.51.100.1/x.png)",
            "<http://198.51.100.1>",
            "# big",
            "- list",
            "+ list",
            "1. list",
            "12) list",
            "> quote",
            "---",
            "===",
            "**bold** _it_ `code` ~~gone~~",
            "```",
            "&nbsp;&#91;x",
            "[x]: http://198.51.100.1",
        ] {
            let escaped = escape(hostile);
            assert_eq!(shown(&escaped).as_deref(), Some(hostile), "{escaped}");
        }
    }

    #[test]
    fn nothing_is_done_where_a_backslash_is_only_a_backslash() {
        assert_eq!(escape("[a](b) **c** __d__"), r"\[a\]\(b) \*\*c\*\* \_\_d\_\_");
    }

    #[test]
    fn nobody_is_mentioned_and_addresses_stay() {
        assert_eq!(escape("@所有人 @all @13800000000"), "＠所有人 ＠all ＠13800000000");
        assert_eq!(escape("x@all y@13800000000, z@."), "x＠all y＠13800000000, z＠.");
        assert_eq!(
            escape("ops@example.com,root@db-1.example."),
            "ops@example.com,root@db-1.example."
        );
    }

    proptest! {
        #[test]
        fn any_text_is_shown_and_does_nothing(text in r"[ -~你\n＠]{0,60}") {
            let expected = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let escaped = escape(&text);
            let seen = shown(&escaped);
            prop_assert!(seen.is_some(), "{escaped}");
            prop_assert_eq!(seen.unwrap().replace('＠', "@"), expected.replace('＠', "@"));
        }
    }
}

//! A model's markdown, made to fit DingTalk.
//!
//! DingTalk documents headings by `#`, quotes, bold, italic, links, images and lists, and limits of
//! bytes for a message. [`fit`] rewrites what it does not document, [`title`] takes the preview of
//! the list of chats from the text, and [`split`] cuts what is too long for one message. [`escape`]
//! puts text from elsewhere into markdown as nothing but text.

mod escape;
mod fit;
mod split;

use pulldown_cmark::{Event, Parser, TagEnd};

pub use escape::{escape, one_line};
pub use fit::fit;
pub use split::{json_bytes, split};

/// Largest part that fits every way a message can go, in bytes of its JSON string: a webhook's
/// body may have 20,000 bytes, the OpenAPI's `msgParam` 15,000, title and mention included.
pub const PART_BYTES: usize = 14_000;
/// Longest title, in characters.
const TITLE_CHARS: usize = 40;

/// A title for `text`: its first words without markup, at most 40 characters, never empty.
///
/// The list of chats and the notification show the title, not the text.
pub fn title(text: &str) -> String {
    let mut words = String::new();
    for event in Parser::new(text) {
        match event {
            Event::Text(text) | Event::Code(text) => words.push_str(&text),
            Event::SoftBreak | Event::HardBreak => words.push(' '),
            // The first block that says something is enough.
            Event::End(
                TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::CodeBlock | TagEnd::Item,
            ) if !words.trim().is_empty() => break,
            _ => {}
        }
        if words.len() > TITLE_CHARS * 8 {
            break;
        }
    }
    let words =
        words.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "…".into();
    }
    if line.chars().count() <= TITLE_CHARS {
        return line;
    }
    line.chars().take(TITLE_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_title_is_the_first_words_without_markup() {
        assert_eq!(title("# 你好，**小明**\n\n正文"), "你好，小明");
        assert_eq!(
            title("用 `cargo` 见[文档](https://example.net)\n第二行"),
            "用 cargo 见文档 第二行"
        );
        assert_eq!(title("- 第一\n- 第二"), "第一");
        assert_eq!(title("```\nlet x = 1;\n```"), "let x = 1;");
    }

    #[test]
    fn a_title_is_short_and_never_empty() {
        let long = title(&"长".repeat(100));
        assert_eq!(long.chars().count(), 40);
        assert!(long.ends_with('…'));
        for blank in ["", " \n", "---", "![](https://example.net/a.png)"] {
            assert_eq!(title(blank), "…", "{blank:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_title(text in "(?s).*") {
            let title = title(&text);
            prop_assert!(!title.trim().is_empty());
            prop_assert!(title.chars().count() <= TITLE_CHARS);
        }
    }
}

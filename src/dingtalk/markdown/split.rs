//! Cutting a text that is too long for one message.

/// Bytes below which a limit makes no sense: a character, a fence around it, the quotes.
const MIN_LIMIT: usize = 128;
/// Longest opening line of a code fence that is repeated in the next part, in bytes of JSON; a
/// longer one is not worth the room.
const MAX_FENCE_BYTES: usize = 32;

/// `text` in parts whose JSON strings, quotes included, have at most `limit` bytes each (no fewer
/// than 128).
///
/// Parts end at line ends; a line that is too long for a part of its own is cut after a sentence,
/// else after a space, else between two characters. A code fence that is cut is closed, and opened
/// again in the next part. Apart from those lines the parts hold the text, whole and in order;
/// parts of white space alone are left out, so a blank text has none.
pub fn split(text: &str, limit: usize) -> Vec<String> {
    let mut parts = Parts::new(limit.max(MIN_LIMIT));
    for line in text.split_inclusive('\n') {
        parts.push_line(line);
    }
    parts.finish()
}

/// A code fence that is open.
struct Fence<'a> {
    /// Its opening line, without the line end.
    line: &'a str,
    /// What closes it, indentation included.
    closing: &'a str,
}

impl<'a> Fence<'a> {
    /// The fence that `line` opens, if it does. Any indentation will do: in a list it is deep.
    fn opened_by(line: &'a str) -> Option<Self> {
        if json_bytes(line) > MAX_FENCE_BYTES {
            return None;
        }
        let line = line.trim_end();
        let rest = line.trim_start_matches([' ', '\t']);
        let mark = rest.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let info = rest.trim_start_matches(mark);
        let opens = rest.len() - info.len() >= 3 && !(mark == '`' && info.contains('`'));
        opens.then(|| Self { line, closing: &line[..line.len() - info.len()] })
    }

    /// Whether `line` closes this fence.
    fn closed_by(&self, line: &str) -> bool {
        let (mark, line) = (self.closing.trim_start(), line.trim());
        line.starts_with(mark) && line.trim_start_matches(&mark[..1]).is_empty()
    }
}

struct Parts<'a> {
    limit: usize,
    done: Vec<String>,
    current: String,
    /// Bytes of `current` in a JSON string, quotes included.
    bytes: usize,
    /// Where in `current` the fence was opened, as long as nothing follows.
    opened_at: Option<usize>,
    fence: Option<Fence<'a>>,
}

impl<'a> Parts<'a> {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            done: Vec::new(),
            current: String::new(),
            bytes: 2,
            opened_at: None,
            fence: None,
        }
    }

    fn push_line(&mut self, line: &'a str) {
        let closes = self.fence.as_ref().is_some_and(|fence| fence.closed_by(line));
        let opened = if self.fence.is_none() { Fence::opened_by(line) } else { None };
        // What must still fit behind the line if the part ended there.
        let reserve = opened.as_ref().or(self.fence.as_ref()).map_or(0, closing_bytes);
        if self.bytes + json_bytes(line) + reserve > self.limit && self.has_content() {
            self.cut();
        }
        let mut rest = line;
        while self.bytes + json_bytes(rest) + reserve > self.limit {
            let room = self.limit.saturating_sub(self.bytes + reserve);
            let (head, tail) = rest.split_at(cut_point(rest, room));
            self.push(head);
            self.cut();
            rest = tail;
        }
        self.push(rest);
        if closes {
            self.fence = None;
        } else if opened.is_some() {
            self.opened_at = Some(self.current.len() - rest.len());
            self.fence = opened;
        }
    }

    /// Whether the current part would be worth sending.
    fn has_content(&self) -> bool {
        !self.current.is_empty() && self.opened_at != Some(0)
    }

    fn push(&mut self, text: &str) {
        self.current.push_str(text);
        self.bytes += json_bytes(text);
        self.opened_at = None;
    }

    /// Ends the current part, and opens the fence again in the next.
    fn cut(&mut self) {
        let mut part = std::mem::take(&mut self.current);
        self.bytes = 2;
        if let Some(fence) = &self.fence {
            match self.opened_at {
                // Nothing in it yet: it begins in the next part.
                Some(at) => part.truncate(at),
                None => {
                    if !part.ends_with('\n') {
                        part.push('\n');
                    }
                    part.push_str(fence.closing);
                }
            }
            self.opened_at = Some(0);
            self.current = format!("{}\n", fence.line);
            self.bytes += json_bytes(&self.current);
        }
        if !part.trim().is_empty() {
            self.done.push(part);
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.has_content() && !self.current.trim().is_empty() {
            self.done.push(self.current);
        }
        self.done
    }
}

/// Bytes that closing `fence` costs: a line end if there is none, and its mark.
fn closing_bytes(fence: &Fence<'_>) -> usize {
    json_bytes("\n") + json_bytes(fence.closing)
}

/// Where to cut a line so that at most `room` bytes of JSON are before the cut; at least one
/// character is.
fn cut_point(line: &str, room: usize) -> usize {
    let mut used = 0;
    let (mut hard, mut space, mut sentence) = (0, 0, 0);
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        used += json_char_bytes(c);
        if used > room && at > 0 {
            break;
        }
        hard = at + c.len_utf8();
        let before_space = chars.peek().is_none_or(|(_, next)| next.is_whitespace());
        match c {
            '。' | '！' | '？' | '；' => sentence = hard,
            '.' | '!' | '?' | ';' if before_space => sentence = hard,
            '，' | '、' | '：' => space = hard,
            c if c.is_whitespace() => space = hard,
            _ => {}
        }
    }
    // A cut far from the end would make many short parts.
    [sentence, space].into_iter().find(|&at| at > hard / 2).unwrap_or(hard)
}

/// Bytes of `text` inside a JSON string as `serde_json` writes it.
pub fn json_bytes(text: &str) -> usize {
    text.chars().map(json_char_bytes).sum()
}

fn json_char_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(part: &str) -> usize {
        serde_json::to_string(part).unwrap().len()
    }

    #[test]
    fn what_fits_stays_whole() {
        assert_eq!(split("你好\n世界", 128), ["你好\n世界"]);
        assert!(split("", 128).is_empty());
        assert!(split(" \n \n", 128).is_empty());
    }

    #[test]
    fn parts_end_at_line_ends() {
        let text = format!("{}\n{}\n{}\n", "a".repeat(60), "b".repeat(60), "c".repeat(60));
        assert_eq!(
            split(&text, 128),
            [format!("{}\n{}\n", "a".repeat(60), "b".repeat(60)), format!("{}\n", "c".repeat(60))]
        );
    }

    #[test]
    fn a_long_line_is_cut_after_a_sentence_or_a_word() {
        let parts = split(&format!("{}。{}", "好".repeat(35), "坏".repeat(35)), 128);
        assert!(parts[0].ends_with('。'));
        let parts = split(&format!("{} {}", "a".repeat(100), "b".repeat(100)), 128);
        assert_eq!(parts[0], format!("{} ", "a".repeat(100)));
        assert_eq!(split(&"x".repeat(300), 128).len(), 3);
    }

    #[test]
    fn a_cut_fence_is_closed_and_opened_again() {
        let code = "let a = 1;\n".repeat(15);
        let parts = split(&format!("Code:\n```rust\n{code}```\nEnd"), 128);
        assert!(parts.len() > 1);
        assert!(parts[0].starts_with("Code:\n```rust\n"));
        assert!(parts[1].starts_with("```rust\nlet a"));
        for part in &parts {
            assert_eq!(part.matches("```").count(), 2, "{part}");
            assert!(written(part) <= 128);
        }
        assert!(parts.last().unwrap().ends_with("```\nEnd"));
    }

    #[test]
    fn a_long_line_in_a_fence_stays_in_a_fence() {
        let parts = split(&format!("~~~\n{}\n~~~\n", "y".repeat(300)), 128);
        for part in &parts {
            assert!(part.starts_with("~~~\ny"), "{part}");
            assert!(part.trim_end().ends_with("\n~~~"), "{part}");
        }
    }

    proptest! {
        #[test]
        fn every_part_is_within_the_limit(
            text in "(?s)([a-z \"\\\\\n\u{1}你。]|```|~~~~|  ```rust\n){0,400}",
            limit in 128_usize..700,
        ) {
            for part in split(&text, limit) {
                prop_assert!(written(&part) <= limit);
                prop_assert!(!part.trim().is_empty());
            }
        }

        #[test]
        fn nothing_but_fences_and_white_space_is_added_or_lost(
            text in "(?s)([a-z \"\\\\\n你。]|\n```x?\n){0,400}",
            limit in 128_usize..300,
        ) {
            let kept = |text: &str| {
                let lines = text.lines().filter(|line| !line.trim_start().starts_with("```"));
                lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect::<String>()
            };
            prop_assert_eq!(kept(&split(&text, limit).concat()), kept(&text));
        }
    }
}

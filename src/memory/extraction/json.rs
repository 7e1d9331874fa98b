//! The JSON in what a model said: between chatter, in fences, broken off, or in a dialect.
//!
//! The crate `jsonrepair-rs` mends one document (quotes, commas, comments, Python's literals). What
//! it does not do is done here: finding the documents, telling where one was cut off, and what
//! models that write Chinese add to the dialects (full-width punctuation, curly quotes).

use std::borrow::Cow;

use serde_json::Value;

/// Longest answer that is looked into, in bytes; far more than was asked for.
const MAX_ANSWER_BYTES: usize = 32 * 1024;
/// Most beginnings of a document that are tried: each may cost a reading of the whole answer.
const MAX_TRIES: usize = 16;
/// Most brackets within each other; what nests deeper is no list of statements.
const MAX_DEPTH: usize = 16;

/// A document in what a model said.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) value: Value,
    /// It ends before its end: what it holds is whole, but may not be all.
    pub(super) cut_off: bool,
    /// It has quotes: `[sic]` is a word in brackets, and no list of texts.
    pub(super) quoted: bool,
}

/// The JSON objects and arrays of a text, in their order; none inside another.
pub(super) fn documents(text: &str) -> Vec<Document> {
    let mut end = text.len().min(MAX_ANSWER_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = without_lone_surrogates(&text[..end]);
    let mut found = Vec::new();
    let mut at = 0;
    for _ in 0..MAX_TRIES {
        let Some(start) = text[at..].find(['{', '[']).map(|offset| at + offset) else { break };
        let (document, length) = document(&text[start..]);
        at = start + length;
        found.extend(document);
    }
    found
}

/// The document that `text` begins with, and how far it goes.
fn document(text: &str) -> (Option<Document>, usize) {
    let mut strict = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    if let Some(Ok(value)) = strict.next() {
        let length = strict.byte_offset();
        let quoted = text[..length].contains('"');
        return (Some(Document { value, cut_off: false, quoted }), length);
    }
    let span = Span::of(text);
    match span.mended() {
        Some(value) => {
            let document = Document { value, cut_off: span.cut_off, quoted: span.quoted };
            (Some(document), span.length)
        }
        // Something inside of it may still be one.
        None => (None, 1),
    }
}

/// A stretch of text from an opening bracket to its closing one, or to the end.
#[derive(Debug)]
struct Span {
    /// Bytes of the original.
    length: usize,
    /// The text with the plain characters of JSON's syntax.
    plain: String,
    /// It has no end.
    cut_off: bool,
    /// Length of `plain` up to the end of the last whole element of the outermost array.
    whole: Option<usize>,
    quoted: bool,
    /// It nests too deep to be looked into.
    deep: bool,
}

impl Span {
    fn of(text: &str) -> Self {
        let mut open: Vec<char> = Vec::new();
        let mut string: Option<char> = None;
        let mut before = '[';
        let mut span = Self {
            length: text.len(),
            plain: String::with_capacity(text.len()),
            cut_off: true,
            whole: None,
            quoted: false,
            deep: false,
        };
        let mut characters = text.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            let rest = &text[at + c.len_utf8()..];
            if let Some(end) = string {
                if c == '\\' {
                    let escaped = characters.next().map(|(_, escaped)| escaped);
                    span.escape(escaped);
                } else if c == end && ends_here(rest) {
                    span.plain.push('"');
                    string = None;
                    before = '"';
                    span.element_ends(&open);
                } else {
                    // One that ends nothing was to be escaped.
                    if c == '"' {
                        span.plain.push('\\');
                    }
                    span.plain.push(c);
                }
                continue;
            }
            let c = match c {
                '：' => ':',
                '，' => ',',
                other => other,
            };
            match c {
                '"' | '\'' | '“' | '‘' if matches!(before, '{' | '[' | ',' | ':' | '"') => {
                    let end = match c {
                        '“' => '”',
                        '‘' => '’',
                        other => other,
                    };
                    string = Some(end);
                    span.quoted = true;
                    span.plain.push('"');
                    continue;
                }
                '{' => open.push('}'),
                '[' => open.push(']'),
                '}' | ']' => {
                    // One of the wrong kind closes what it can: the repair makes sense of it.
                    open.pop();
                    span.plain.push(c);
                    span.element_ends(&open);
                    if open.is_empty() {
                        span.length = at + c.len_utf8();
                        span.cut_off = false;
                        return span;
                    }
                    before = c;
                    continue;
                }
                _ => {}
            }
            if open.len() > MAX_DEPTH {
                span.deep = true;
                return span;
            }
            span.plain.push(c);
            if !c.is_whitespace() {
                before = c;
            }
        }
        span
    }

    /// Takes an escape of a string in; a backslash that escapes nothing is one the model meant.
    fn escape(&mut self, escaped: Option<char>) {
        match escaped {
            Some(c @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u')) => {
                self.plain.extend(['\\', c]);
            }
            Some('\'') => self.plain.push('\''),
            Some(other) => self.plain.extend(['\\', '\\', other]),
            None => {}
        }
    }

    fn element_ends(&mut self, open: &[char]) {
        let outermost = open.iter().position(|closer| *closer == ']');
        if outermost.is_some_and(|at| at + 1 == open.len()) {
            self.whole = Some(self.plain.len());
        }
    }

    fn mended(&self) -> Option<Value> {
        if self.deep {
            return None;
        }
        let text = match (self.cut_off, self.whole) {
            (false, _) => &self.plain[..],
            (true, Some(end)) => &self.plain[..end],
            // Not one element came to its end.
            (true, None) => return None,
        };
        let mended = jsonrepair_rs::jsonrepair(text).ok()?;
        serde_json::from_str(&mended).ok()
    }
}

/// Whether a quote ends its string: what follows is syntax again, or nothing. A comma of the text
/// itself, after words in quotes, is followed by words.
fn ends_here(rest: &str) -> bool {
    let following = rest.trim_start();
    let comma_missing = following.len() < rest.len() && following.starts_with(['"', '“']);
    let comment = following.starts_with("//") || following.starts_with("/*");
    let mut following = following.chars();
    match following.next() {
        None | Some('}' | ']' | ':') => true,
        Some(',' | '，' | '：') => following
            .find(|c| !c.is_whitespace())
            .is_none_or(|c| c.is_ascii_alphanumeric() || "\"'“‘{[}]/-".contains(c)),
        Some(_) => comma_missing || comment,
    }
}

/// `text` without the escapes of half a surrogate pair: they stand for no character, and JSON
/// with one cannot be read at all.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(start) = text[at..].find('\\').map(|offset| at + offset) {
        at = match unicode_escape(&text[start..]) {
            Some(0xd800..=0xdbff)
                if matches!(unicode_escape(&text[start + 6..]), Some(0xdc00..=0xdfff)) =>
            {
                start + 12
            }
            Some(0xd800..=0xdfff) => {
                kept.push_str(&text[copied..start]);
                copied = start + 6;
                copied
            }
            // Whatever is escaped: it may be a backslash.
            _ => start + 1 + text[start + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[copied..]);
    Cow::Owned(kept)
}

/// The code unit that `text` begins with, written as `\uXXXX`.
fn unicode_escape(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        documents(text).into_iter().map(|document| document.value).collect()
    }

    #[test]
    fn documents_are_found_between_other_text() {
        assert_eq!(values("none at all"), Vec::<Value>::new());
        assert_eq!(values("Sure! ```json\n{\"a\": [1]}\n``` done"), [json!({"a": [1]})]);
        assert_eq!(values(r#"{"a":1} then {"b":2}"#), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(
            values(r#"In {braces}: {"a": "```x```"}"#),
            [json!({"a": "```x```"})],
            "a fence inside of a text is its own"
        );
    }

    #[test]
    fn dialects_are_mended() {
        let expected = [json!({"a": "x", "b": [1, null, true]})];
        for said in [
            r#"{"a": "x", "b": [1, null, true,],}"#,
            r#"{'a': 'x', 'b': [1, None, True]}"#,
            r#"{a: "x", b: [1, null, true]}"#,
            r#"{"a": "x" "b": [1, null, true]}"#,
            r#"{“a”：“x”，“b”：[1，null，true]}"#,
            r#"{\"a\": \"x\", \"b\": [1, null, true]}"#,
            "{\"a\": \"x\", // why\n\"b\": [1, null, true]}",
        ] {
            assert_eq!(values(said), expected, "{said}");
        }
    }

    #[test]
    fn quotes_inside_of_a_text_stay() {
        for (said, text) in [
            (r#"["他说"你好"就走了"]"#, "他说\"你好\"就走了"),
            (r#"['I don't eat "nuts"']"#, "I don't eat \"nuts\""),
            (r#"["猫叫"豆豆"，五岁, 很胖"]"#, "猫叫\"豆豆\"，五岁, 很胖"),
            (r#"[“她叫"小红"”]"#, "她叫\"小红\""),
            (r#"["我喜欢“西湖”，也喜欢山",]"#, "我喜欢“西湖”，也喜欢山"),
            (r#"["路径是 D:\data\qa"]"#, "路径是 D:\\data\\qa"),
        ] {
            assert_eq!(values(said), [json!([text])], "{said}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_left_out() {
        assert_eq!(values(r#"["a\ud83d b"]"#), [json!(["a b"])]);
        assert_eq!(values(r#"["\ude00a\ud83d\ude00\ud83d"]"#), [json!(["a😀"])]);
        assert_eq!(values(r#"["C:\\ud83d"]"#), [json!(["C:\\ud83d"])]);
        assert_eq!(values(r#"["\ud8"]"#).len(), 0);
    }

    #[test]
    fn what_is_cut_off_keeps_what_came_to_its_end() {
        for (said, kept) in [
            (r#"{"m": [{"t": "a"}, {"t": "b, and the re"#, json!({"m": [{"t": "a"}]})),
            (
                r#"{"m": [{"t": "a", "n": [1]}, {"t": "b", "n": [1"#,
                json!({"m": [{"t": "a", "n": [1]}]}),
            ),
            (r#"["a", "b", "c"#, json!(["a", "b"])),
            (r#"["a", "b""#, json!(["a", "b"])),
        ] {
            let found = documents(said);
            assert_eq!(found.len(), 1, "{said}");
            assert_eq!(found[0].value, kept, "{said}");
            assert!(found[0].cut_off, "{said}");
        }
        assert!(documents(r#"{"m": [{"t": "b, and"#).is_empty());
        assert!(!documents(r#"{"m": ["a",]}"#)[0].cut_off);
    }

    #[test]
    fn nothing_makes_it_slow() {
        for hostile in ["[", "{\"a\":", "[\"", "[\"a\" ", "{'", "[{},", "[\\\"", "[“"] {
            let started = std::time::Instant::now();
            documents(&hostile.repeat(100_000));
            assert!(started.elapsed().as_secs() < 2, "{hostile}: {:?}", started.elapsed());
        }
    }
}

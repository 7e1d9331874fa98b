//! Reading what a model answered as statements, whatever shape it gave them.

#[cfg(test)]
mod dresses;

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::json::{self, Document};
use crate::memory::MAX_STATEMENT_CHARS;

/// Most statements of one message; what is said beyond is a model that does not end.
pub const MAX_STATEMENTS: usize = 20;

/// What models call the list, the name asked for first.
const LIST_KEYS: &[&str] = &[
    "memories",
    "memory",
    "facts",
    "statements",
    "items",
    "results",
    "output",
    "data",
    "记忆",
    "事实",
    "陈述",
];
/// What they call the words of one statement.
const TEXT_KEYS: &[&str] =
    &["text", "statement", "memory", "fact", "content", "value", "内容", "记忆", "事实", "陈述"];
const SUPERSEDES_KEYS: &[&str] =
    &["supersedes", "superseded", "replaces", "updates", "contradicts"];
const REPEATS_KEYS: &[&str] = &["repeats", "repeat", "duplicates", "duplicate_of", "same_as"];
/// Ways to say that there is nothing, in place of an empty list.
const NOTHING: &[&str] = &[
    "none",
    "null",
    "nil",
    "nothing",
    "empty",
    "n/a",
    "no memories",
    "no facts",
    "no statements",
    "no new memories",
    "no new facts",
    "nothing to remember",
    "nothing worth keeping",
    "nothing is worth keeping",
    "无",
    "没有",
    "空",
    "暂无",
    "无内容",
    "无需记忆",
    "没有内容",
    "没有需要记住的内容",
    "没有值得记住的内容",
    "没有可提取的内容",
];
/// How deep in other objects the list may be.
const MAX_WRAPPERS: usize = 3;

/// Something a person said about themselves or their world, in a sentence of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The sentence, at most [`MAX_STATEMENT_CHARS`] characters.
    pub text: String,
    /// Numbers of the known memories that hold no longer now.
    pub supersedes: Vec<usize>,
    /// Number of the known memory that says the same already.
    pub repeats: Option<usize>,
}

impl Statement {
    /// A person's own words, of which nobody knows what they outdate.
    pub(in crate::memory) fn verbatim(text: String) -> Self {
        Self { text, supersedes: Vec::new(), repeats: None }
    }
}

/// An answer in which no list of statements could be found; `Display` tells the model why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(pub(super) &'static str);

/// A list of statements, possibly not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What could be read.
    pub statements: Vec<Statement>,
    /// Whether the answer broke off, or some of its statements are of the wrong type.
    pub partial: bool,
}

/// The statements of an answer; none if the model says that there are none.
///
/// # Errors
/// There is no JSON in the answer, or it holds something else.
pub fn read(answer: &str) -> Result<Reading, NotUnderstood> {
    let answer = answer.trim();
    // The whole answer as a JSON string, as a tool's argument often is.
    if let Ok(inner) = serde_json::from_str::<String>(answer) {
        return read_documents(&inner);
    }
    read_documents(answer)
}

fn read_documents(answer: &str) -> Result<Reading, NotUnderstood> {
    if says_nothing(answer) {
        return Ok(Reading { statements: Vec::new(), partial: false });
    }
    let documents = json::documents(answer);
    // Thinking and chatter may hold drafts and examples: the list that was asked for counts more
    // than a bare one, and the last more than those before.
    if let Some((document, list)) = last(&documents, named_list) {
        return elements(&list, document.cut_off);
    }
    let single: Vec<&Value> =
        documents.iter().map(|d| &d.value).filter(|value| is_statement(value)).collect();
    if !single.is_empty() {
        return elements(&single, documents.iter().any(|document| document.cut_off));
    }
    if let Some((document, list)) = last(&documents, bare_list) {
        return elements(&list, document.cut_off);
    }
    if documents.iter().any(|document| is_empty(&document.value)) {
        return Ok(Reading { statements: Vec::new(), partial: false });
    }
    Err(NotUnderstood(match documents.is_empty() {
        true => "it holds no complete JSON object",
        false => "its JSON has no list \"memories\"",
    }))
}

/// The last document in which `find` finds a list.
fn last(
    documents: &[Document],
    find: fn(&Document) -> Option<Vec<&Value>>,
) -> Option<(&Document, Vec<&Value>)> {
    documents.iter().rev().find_map(|document| Some((document, find(document)?)))
}

/// A document that is itself a list of texts.
fn bare_list(document: &Document) -> Option<Vec<&Value>> {
    let list = document.value.as_array().filter(|_| document.quoted)?;
    let texts = list.iter().any(|element| element.is_string() || is_statement(element));
    texts.then(|| list.iter().collect())
}

/// The list under one of its names, in the document or in an object within it.
fn named_list(document: &Document) -> Option<Vec<&Value>> {
    list_within(&document.value, MAX_WRAPPERS)
}

fn list_within(value: &Value, wrappers: usize) -> Option<Vec<&Value>> {
    let object = value.as_object()?;
    let named = LIST_KEYS.iter().filter_map(|key| object.get(*key));
    for value in named {
        match value {
            Value::Array(list) => return Some(list.iter().collect()),
            Value::Null => return Some(Vec::new()),
            Value::Object(inner) if !has_list(inner) => {
                return Some(if is_statement(value) {
                    vec![value]
                } else {
                    inner.values().collect()
                });
            }
            Value::String(text) if says_nothing(text) => return Some(Vec::new()),
            // Its words, where the list's name is that of a statement.
            Value::String(_) if !is_statement(&Value::Object(object.clone())) => {
                return Some(vec![value]);
            }
            _ => {}
        }
    }
    let deeper = wrappers.checked_sub(1)?;
    object.values().find_map(|inner| list_within(inner, deeper))
}

fn has_list(object: &Map<String, Value>) -> bool {
    LIST_KEYS.iter().any(|key| object.get(*key).is_some_and(Value::is_array))
}

fn is_statement(value: &Value) -> bool {
    words(value).is_some() && value.is_object()
}

/// The words of an element.
fn words(element: &Value) -> Option<&str> {
    match element {
        Value::String(text) => Some(text),
        Value::Object(object) => {
            TEXT_KEYS.iter().find_map(|key| object.get(*key).and_then(Value::as_str))
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// What the elements of a list state.
fn elements(list: &[&Value], cut_off: bool) -> Result<Reading, NotUnderstood> {
    let mut statements: Vec<Statement> = Vec::new();
    let mut seen = HashSet::new();
    let mut wrong = 0;
    for element in list {
        let Some(text) = words(element) else {
            wrong += usize::from(!element.is_null());
            continue;
        };
        let text = tidy(text);
        // Some answer in the manner of a list of changes, what stays as it is included.
        let event = element.get("event").and_then(Value::as_str).unwrap_or_default();
        let stays = ["NONE", "NOOP", "DELETE"].iter().any(|e| e.eq_ignore_ascii_case(event));
        if stays || says_nothing(&text) || !seen.insert(text.clone()) {
            continue;
        }
        let supersedes = numbers(element, SUPERSEDES_KEYS);
        // What is outdated is not said again: storing both is the safer reading.
        let repeats = numbers(element, REPEATS_KEYS).into_iter().next();
        let repeats = repeats.filter(|number| !supersedes.contains(number));
        statements.push(Statement { text, supersedes, repeats });
        if statements.len() == MAX_STATEMENTS {
            break;
        }
    }
    if statements.is_empty() && wrong > 0 {
        return Err(NotUnderstood("the elements of its list have no \"text\""));
    }
    Ok(Reading { statements, partial: cut_off || wrong > 0 })
}

/// The numbers under one of these keys, written in any way.
fn numbers(element: &Value, keys: &[&str]) -> Vec<usize> {
    let found = keys.iter().find_map(|key| element.get(*key)).filter(|value| !value.is_null());
    let mut numbers = Vec::new();
    let mut take = |value: &Value| match value {
        Value::Number(number) => {
            numbers.extend(number.as_u64().and_then(|n| usize::try_from(n).ok()));
        }
        Value::String(text) => {
            let runs = text.split(|c: char| !c.is_ascii_digit());
            numbers.extend(runs.filter_map(|digits| digits.parse::<usize>().ok()));
        }
        _ => {}
    };
    match found {
        Some(Value::Array(list)) => {
            for value in list {
                take(value.get("number").or(value.get("id")).unwrap_or(value));
            }
        }
        Some(value) => take(value),
        None => {}
    }
    numbers.dedup();
    numbers
}

/// One line, without a list's mark, and no longer than a statement may be.
fn tidy(text: &str) -> String {
    let decoded = escaped_twice(text);
    let text = decoded.as_deref().unwrap_or(text);
    let line = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = line.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let bare = line.strip_prefix("- ").or_else(|| line.strip_prefix("• ")).unwrap_or(&line);
    bare.chars().take(MAX_STATEMENT_CHARS).collect()
}

/// What `\\u6211` was meant to be.
fn escaped_twice(text: &str) -> Option<String> {
    let (_, after) = text.split_once("\\u")?;
    let escape = after.get(..4)?.bytes().all(|b| b.is_ascii_hexdigit());
    let decoded = json::documents(&format!("[\"{text}\"]")).into_iter().next()?.value;
    escape.then(|| Some(decoded.get(0)?.as_str()?.to_owned()))?
}

fn says_nothing(text: &str) -> bool {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || ".。!！`\"'“”*()（）".contains(c));
    NOTHING.contains(&bare.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(answer: &str) -> Vec<String> {
        read(answer).unwrap().statements.into_iter().map(|s| s.text).collect()
    }

    #[test]
    fn the_shape_asked_for_is_read_whole() {
        let answer = r#"{"memories":[{"text":"我住在上海","supersedes":[2],"repeats":null},
            {"text":"我叫张三","supersedes":[],"repeats":1}]}"#;
        let reading = read(answer).unwrap();
        assert!(!reading.partial);
        let moved =
            Statement { text: "我住在上海".into(), supersedes: vec![2], repeats: None };
        let named = Statement { text: "我叫张三".into(), supersedes: vec![], repeats: Some(1) };
        assert_eq!(reading.statements, [moved, named]);
    }

    #[test]
    fn other_shapes_are_read_too() {
        for answer in [
            r#"["我叫张三"]"#,
            r#"{"facts": ["我叫张三"]}"#,
            r#"{"memory": [{"id": "0", "text": "我叫张三", "event": "ADD"}]}"#,
            r#"[{"fact": "我叫张三"}]"#,
            r#"{"text": "我叫张三"}"#,
            r#"{"memory": "我叫张三"}"#,
            r#"{"memories": "我叫张三"}"#,
            r#"{"memories": {"1": "我叫张三"}}"#,
            r#"{"memories": {"text": "我叫张三"}}"#,
            r#"{"memories": {"facts": ["我叫张三"]}}"#,
            r#"{"name": "save", "arguments": {"memories": [{"text": "我叫张三"}]}}"#,
            r#"{"记忆": [{"内容": "- 我叫张三\n"}]}"#,
            r#"{"memories": [{"text": "\\u6211\\u53eb\\u5f20\\u4e09"}]}"#,
            r#""{\"memories\": [{\"text\": \"我叫张三\"}]}""#,
            r#"{"memories": ["我叫张三", "我叫张三", null, "none"]}"#,
        ] {
            assert_eq!(texts(answer), ["我叫张三"], "{answer}");
        }
        let lines = "{\"text\":\"I am Ann\"}\n{\"text\":\"I have a dog\"}";
        assert_eq!(texts(lines), ["I am Ann", "I have a dog"]);
    }

    #[test]
    fn nothing_is_understood_as_nothing() {
        for answer in [
            r#"{"memories": []}"#,
            r#"{"memories": null}"#,
            r#"{"memories": "none"}"#,
            r#"{"memory": [{"text": "我叫张三", "event": "NONE"}]}"#,
            "[]",
            "{}",
            "Nothing to remember.",
            "无。",
            "```json\n{\"facts\": []}\n```",
        ] {
            assert_eq!(texts(answer), Vec::<String>::new(), "{answer}");
        }
    }

    #[test]
    fn what_is_no_answer_is_not_understood() {
        for answer in [
            "I'm sorry, I can't help with that.",
            "[Note] there is something.",
            r#"{"memories": [1, 2]}"#,
            r#"{"memories": [{"name": "张三"}]}"#,
            r#"{"memories": [{"text": "我"#,
            r#"{"error": "overloaded"}"#,
            "[1, 2]",
            "",
        ] {
            assert!(read(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_draft_gives_way_to_the_answer() {
        let answer = r#"I might say ["draft one"], or {"memories": [{"text": "draft two"}]}.
            {"memories": [{"text": "我叫张三"}]} Left out: ["hello"]."#;
        assert_eq!(texts(answer), ["我叫张三"]);
    }

    #[test]
    fn what_is_missing_is_told() {
        assert!(read(r#"{"memories": [{"text": "a b"}, {"text": "c"#).unwrap().partial);
        assert!(read(r#"{"memories": [{"text": "a b"}, 7]}"#).unwrap().partial);
        assert!(!read(r#"{"memories": [{"text": "a b"}, null]}"#).unwrap().partial);
    }

    #[test]
    fn numbers_are_read_in_any_dress() {
        let supersedes = |json: &str| {
            read(&format!(r#"[{{"text": "a b", "supersedes": {json}}}]"#)).unwrap().statements[0]
                .supersedes
                .clone()
        };
        for (json, expected) in [
            ("[1, 2]", vec![1, 2]),
            ("3", vec![3]),
            ("\"3\"", vec![3]),
            ("[\"#1\", \"[2]\"]", vec![1, 2]),
            ("[{\"number\": 4}]", vec![4]),
            ("\"1, 2\"", vec![1, 2]),
            ("true", vec![]),
            ("\"none\"", vec![]),
            ("[-1, 1.5]", vec![]),
            ("{}", vec![]),
        ] {
            assert_eq!(supersedes(json), expected, "{json}");
        }
        let both = r#"[{"text": "a b", "supersedes": [1], "repeats": 1}]"#;
        assert_eq!(read(both).unwrap().statements[0].repeats, None);
    }

    #[test]
    fn an_endless_answer_is_bounded() {
        let many: Vec<String> = (0..500).map(|n| format!("{n} {}", "长".repeat(5_000))).collect();
        let few: Vec<_> = many[..30].iter().map(|t| t.replace('长', "x")).collect();
        let statements = texts(&serde_json::to_string(&few).unwrap());
        assert!(statements.len() <= MAX_STATEMENTS);
        assert!(statements.iter().all(|t| t.chars().count() <= MAX_STATEMENT_CHARS));
        assert!(read(&serde_json::to_string(&many).unwrap()).unwrap().partial);
    }
}

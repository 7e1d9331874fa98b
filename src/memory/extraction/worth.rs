//! Which messages are worth a model call.

use crate::memory::{MAX_STATEMENT_CHARS, statements};

/// Words by which a clause speaks of the person.
const OF_ONESELF: &[&str] = &["我", "俺", "咱", "本人", "吾"];
const OF_ONESELF_ENGLISH: &[&str] =
    &["i", "i'm", "i've", "i'll", "i'd", "my", "me", "mine", "we", "we're", "our", "us"];

/// Whether a message may hold a statement. Commands, questions, requests, thanks and greetings
/// alone do not; a clause about the person in a request or a question does.
pub(in crate::memory) fn is_asked_about(text: &str) -> bool {
    let text = text.trim();
    if text.starts_with(['/', '／']) {
        return false;
    }
    // The rule of thumb takes no text of this length; a model does.
    text.chars().count() > MAX_STATEMENT_CHARS
        || statements::of(text).is_some()
        || clauses(text).any(|clause| is_of_oneself(clause) && statements::of(clause).is_some())
}

fn clauses(text: &str) -> impl Iterator<Item = &str> {
    text.split(['，', ',', '；', ';', '。', '、', '\n', '!', '！', '?', '？'])
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
}

fn is_of_oneself(clause: &str) -> bool {
    let lower = clause.to_lowercase().replace('’', "'");
    let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'');
    OF_ONESELF.iter().any(|word| lower.contains(word))
        || words.any(|word| OF_ONESELF_ENGLISH.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_statement_costs_no_call() {
        for text in [
            "",
            "👍",
            "你好",
            "谢谢！",
            "Thanks!",
            "/remember 我叫张三",
            "／帮助",
            "我叫什么名字？",
            "今天天气怎么样？",
            "你好，今天天气怎么样？",
            "帮我写一首诗，关于春天",
            "What is Rust, and why is it fast?",
            "Write a poem about spring, with four lines",
            "请把这句话翻译成英文",
        ] {
            assert!(!is_asked_about(text), "{text}");
        }
    }

    #[test]
    fn a_statement_beside_something_else_is_asked_about() {
        for text in [
            "我叫张三，在杭州工作",
            "My dog is called Rex.",
            "帮我订一张去北京的票，我下周三出差",
            "我对花生过敏，这个能吃吗？",
            "What should I cook, my wife is vegan",
            "请记住我叫李雷",
            "Спасибо, я живу в Москве",
        ] {
            assert!(is_asked_about(text), "{text}");
        }
        assert!(is_asked_about(&"很长的一段话。".repeat(400)));
    }
}

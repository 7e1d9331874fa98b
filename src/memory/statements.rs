//! What a person stated, apart from what they asked or ordered.
//!
//! A rule of thumb that needs no model: sentence by sentence, questions, requests and greetings
//! are left out, the rest is kept word for word. It errs towards keeping.

use unicode_segmentation::UnicodeSegmentation;

use super::MAX_STATEMENT_CHARS;
use crate::language::is_han;

/// Ends of a Chinese question without a question mark.
const QUESTION_ENDINGS: &[&str] = &["吗", "呢", "么", "嘛"];
/// Words that make a Chinese sentence a question.
const QUESTION_WORDS: &[&str] = &[
    "什么",
    "怎么",
    "怎样",
    "为何",
    "为什么",
    "哪里",
    "哪个",
    "哪些",
    "哪天",
    "多少",
    "几点",
    "是不是",
    "能不能",
    "可不可以",
    "有没有",
    "会不会",
    "要不要",
    "记不记得",
];
/// First words of an English question or request.
const ENGLISH_OPENINGS: &[&str] = &[
    "who",
    "what",
    "when",
    "where",
    "why",
    "how",
    "which",
    "whose",
    "is",
    "are",
    "am",
    "was",
    "were",
    "do",
    "does",
    "did",
    "can",
    "could",
    "would",
    "should",
    "shall",
    "have",
    "has",
    "please",
    "tell",
    "show",
    "write",
    "translate",
    "explain",
    "summarize",
    "summarise",
    "give",
    "help",
    "list",
    "find",
    "make",
    "create",
    "generate",
    "let's",
];
/// First words of a Chinese request.
const CHINESE_OPENINGS: &[&str] = &[
    "帮我",
    "帮忙",
    "请",
    "给我",
    "麻烦",
    "告诉我",
    "翻译",
    "总结",
    "写一",
    "写个",
    "解释",
    "列出",
    "介绍",
    "推荐",
    "查一下",
    "说说",
    "讲讲",
];
/// Openings that ask for what follows to be kept: more of a statement than any.
const ASKED_TO_REMEMBER: &[&str] = &[
    "请记住",
    "请记得",
    "记住",
    "记得",
    "帮我记住",
    "帮我记一下",
    "请叫我",
    "叫我",
    "以后叫我",
    "please remember",
    "remember that",
    "please call me",
    "call me",
    "please note",
    "note that",
];
/// What is said out of courtesy.
const COURTESIES: &[&str] = &[
    "你好",
    "您好",
    "早上好",
    "晚上好",
    "下午好",
    "谢谢",
    "多谢",
    "好的",
    "好吧",
    "再见",
    "辛苦了",
    "收到",
    "知道了",
    "明白了",
    "没事",
    "哈哈",
    "hi",
    "hello",
    "hey",
    "thanks",
    "thank you",
    "ok",
    "okay",
    "bye",
    "goodbye",
    "good morning",
    "good night",
    "yes",
    "no",
    "sure",
    "great",
    "test",
    "测试",
    "在吗",
];

/// The statements of a text, word for word; `None` if it makes none.
pub fn of(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with(['/', '／']) || text.chars().count() > MAX_STATEMENT_CHARS {
        return None;
    }
    let kept: Vec<&str> = text
        .split_sentence_bounds()
        .map(str::trim)
        .filter(|sentence| is_statement(sentence))
        .collect();
    (!kept.is_empty()).then(|| kept.join(" "))
}

fn is_statement(sentence: &str) -> bool {
    if sentence.ends_with(['?', '？']) {
        return false;
    }
    let bare = sentence.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let bare = bare.trim_start_matches(|c: char| !c.is_alphanumeric());
    if COURTESIES.contains(&bare) || !says_something(bare) {
        return false;
    }
    if ASKED_TO_REMEMBER.iter().any(|opening| bare.starts_with(opening)) {
        return !QUESTION_ENDINGS.iter().any(|ending| bare.ends_with(ending));
    }
    if bare.chars().any(is_han) {
        // "他是谁" asks; "我是谁不重要" does not.
        let asks = QUESTION_ENDINGS.iter().any(|e| bare.ends_with(e))
            || bare.ends_with('谁')
            || bare.starts_with('谁')
            || QUESTION_WORDS.iter().any(|w| bare.contains(w));
        return !asks && !CHINESE_OPENINGS.iter().any(|o| bare.starts_with(o));
    }
    let first = bare.split(|c: char| !c.is_alphanumeric() && c != '\'').next().unwrap_or("");
    !ENGLISH_OPENINGS.contains(&first)
}

/// Three Han characters, or two words.
fn says_something(sentence: &str) -> bool {
    let han = sentence.chars().filter(|c| is_han(*c)).count();
    let words = sentence.split_whitespace().count();
    han >= 3 || (han == 0 && words >= 2) || (han > 0 && words >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_kept_word_for_word() {
        for text in [
            "我叫张三，在杭州工作",
            "My dog is called Rex.",
            "下周三我要去上海出差！",
            "工单 A-1024 归我管",
            "I'm allergic to peanuts",
            "请记住我叫李雷",
            "请叫我老王",
            "记住，工号 1024 是我",
            "我是谁不重要",
            "Please remember that my son is called Tim",
            "May is my wife",
        ] {
            assert_eq!(of(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn questions_requests_and_courtesies_are_not() {
        for text in [
            "我叫什么名字？",
            "你记得我的狗叫什么",
            "我的猫还好吗",
            "记得我的名字吗",
            "那个人是谁",
            "What is my dog called",
            "Can you help me",
            "帮我写一首诗",
            "请把这句话翻译成英文",
            "Please write a poem",
            "你好",
            "谢谢！",
            "Thanks!",
            "ok",
            "👍",
            "",
            "/remember 我是张三",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_question_beside_a_statement_is_left_out() {
        assert_eq!(of("我住在西湖边。今天天气怎么样？").as_deref(), Some("我住在西湖边。"));
        assert_eq!(of("My name is Ann. What can you do?").as_deref(), Some("My name is Ann."));
        assert_eq!(of("版本是 3.14。对吗？").as_deref(), Some("版本是 3.14。"));
    }
}

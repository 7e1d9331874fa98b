//! Answers without a model: what the person said before, and no pretence of more.

use crate::language::Language;

/// What there is to answer, and from what.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What the person wrote.
    pub text: &'a str,
    /// What they said before that has to do with it, best first.
    pub recalled: &'a [String],
    /// Whether the text itself was kept as something to remember.
    pub remembered: bool,
    /// The language to answer in.
    pub language: Language,
    /// Say what to configure; the caller sees to it that this is said once.
    pub first: bool,
}

/// The answer, as markdown: what was kept, what is known, or that nothing is.
pub fn answer(q: &Question<'_>) -> String {
    let known = list(q);
    let mut parts = Vec::new();
    match (q.remembered, known.is_empty()) {
        (true, true) => {
            parts.push(q.language.pick("好的，记住了。", "Got it, I'll remember that.").into())
        }
        (true, false) => {
            let lead = q.language.pick("记住了。你还告诉过我：", "Got it. You also told me:");
            parts.extend([lead.into(), known]);
        }
        (false, false) => {
            parts.extend([q.language.pick("你告诉过我：", "You told me:").into(), known]);
        }
        (false, true) => {
            let nothing = q.language.pick(
                "这个我还不知道，我的记忆里没有相关的内容。",
                "I don't know that yet: there is nothing about it in my memory.",
            );
            parts.push(nothing.into());
        }
    }
    if q.first {
        let hint = q.language.pick(
            "（我现在没有连接模型，只凭记忆和命令回答。管理员设置 OPENAI_API_KEY，即 llm.api_key，就能接入模型。）",
            "(I'm offline: no model is connected, so I answer from memory and commands alone. \
             Setting OPENAI_API_KEY, that is llm.api_key, connects one.)",
        );
        parts.push(hint.into());
    }
    parts.join("\n\n")
}

/// What was recalled as a markdown list, each memory on one line. What was kept just now is left
/// out: nobody asked for it.
fn list(q: &Question<'_>) -> String {
    let just_kept = if q.remembered { q.text.trim() } else { "" };
    let lines = q.recalled.iter().map(|memory| memory.trim());
    lines
        .filter(|memory| !memory.is_empty() && *memory != just_kept)
        .map(|memory| {
            let words: Vec<_> = memory.split_whitespace().collect();
            format!("- {}", words.join(" "))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask<'a>(text: &'a str, recalled: &'a [String], remembered: bool) -> Question<'a> {
        Question { text, recalled, remembered, language: Language::of(text), first: false }
    }

    #[test]
    fn what_was_recalled_is_listed() {
        let recalled = ["我喜欢\n喝咖啡".to_owned(), "我住在杭州".to_owned()];
        assert_eq!(
            answer(&ask("我喜欢什么？", &recalled, false)),
            "你告诉过我：\n\n- 我喜欢 喝咖啡\n- 我住在杭州"
        );
        let recalled = ["I like tea".to_owned()];
        assert_eq!(
            answer(&ask("What do I like?", &recalled, false)),
            "You told me:\n\n- I like tea"
        );
    }

    #[test]
    fn a_statement_is_confirmed_only_if_it_was_kept() {
        let itself = ["我喜欢茶".to_owned()];
        assert_eq!(answer(&ask("我喜欢茶", &itself, true)), "好的，记住了。");
        let answered = answer(&ask("我喜欢茶", &[], false));
        assert!(!answered.contains("记住了"), "{answered}");
        assert!(answered.contains("没有相关"), "{answered}");
        assert!(answer(&ask("I like tea", &[], true)).starts_with("Got it"));
    }

    #[test]
    fn other_memories_stand_beside_the_confirmation() {
        let recalled = ["我喜欢茶".to_owned(), "我喜欢咖啡".to_owned()];
        assert_eq!(
            answer(&ask(" 我喜欢茶 ", &recalled, true)),
            "记住了。你还告诉过我：\n\n- 我喜欢咖啡"
        );
    }

    #[test]
    fn what_to_configure_is_said_when_asked_for() {
        for text in ["你好", "hello"] {
            let q = ask(text, &[], false);
            assert!(!answer(&q).contains("OPENAI_API_KEY"));
            let told = answer(&Question { first: true, ..q });
            assert!(told.contains("OPENAI_API_KEY") && told.contains("llm.api_key"), "{told}");
        }
    }
}

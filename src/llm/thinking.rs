//! The thinking that some models write into their answer.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// `text` without the thinking before the answer, and without white space around it.
///
/// DeepSeek R1, Qwen and their relatives think between `<think>` and `</think>`; with some chat
/// templates the opening mark is part of the prompt, so that only the closing one is seen. A mark
/// further on, or one in backquotes, is what the answer is about and stays.
pub(super) fn without_thinking(text: &str) -> &str {
    let mut answer = text.trim();
    while let Some(thought) = answer.strip_prefix(OPEN) {
        // Without its end the whole text is thinking.
        answer = thought.split_once(CLOSE).map_or("", |(_, rest)| rest).trim_start();
    }
    match answer.split_once(CLOSE) {
        Some((before, rest)) if !before.contains(OPEN) && !before.ends_with('`') => rest.trim(),
        _ => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinking_before_the_answer_is_left_out() {
        assert_eq!(without_thinking("\n<think>\nhm\n</think>\n\n你好"), "你好");
        assert_eq!(without_thinking("<think>a</think> <think>b</think> yes \n"), "yes");
        assert_eq!(without_thinking("hm, a greeting\n</think>\n\nHello"), "Hello");
        assert_eq!(without_thinking("<think>cut off in the mid"), "");
        assert_eq!(without_thinking("<think></think>"), "");
    }

    #[test]
    fn an_answer_about_the_marks_is_left_alone() {
        for answer in
            ["Write `<think>` and `</think>`.", "`</think>` ends it", "a <think>b</think>"]
        {
            assert_eq!(without_thinking(answer), answer);
        }
    }
}

//! The sentences the bot says of its own accord, in both languages.

use crate::language::Language;

/// Said when the model cannot be reached.
pub(super) fn model_down(language: Language) -> &'static str {
    language.pick(
        "抱歉，我暂时连不上模型，请稍后再试。",
        "Sorry, I cannot reach my model right now. Please try again later.",
    )
}

/// Said when the model, or its provider, declines.
pub(super) fn model_refused(language: Language) -> &'static str {
    language.pick(
        "抱歉，模型没有回答这个问题，换个说法试试？",
        "Sorry, the model declined to answer this. Could you put it another way?",
    )
}

/// Said when the question is longer than the model reads.
pub(super) fn too_long(language: Language) -> &'static str {
    language.pick(
        "抱歉，这段话太长了，模型读不完，请缩短后再发。",
        "Sorry, this is longer than the model can read. Please send a shorter version.",
    )
}

/// Said when something in the bot went wrong.
pub(super) fn failed(language: Language) -> &'static str {
    language.pick(
        "抱歉，处理这条消息时出错，已记入日志。",
        "Sorry, something went wrong with this message. It has been logged.",
    )
}

/// Added to an answer that the model did not finish.
pub(super) fn cut_off(language: Language) -> &'static str {
    language.pick("（回答太长，到此为止。）", "(The answer was too long and ends here.)")
}

/// Said to a mention without words.
pub(super) fn greeting(language: Language) -> &'static str {
    language
        .pick("在的，请说。发送 /help 看看我会什么。", "I'm here. Send /help to see what I can do.")
}

/// Said to a picture.
pub(super) fn picture() -> &'static str {
    "暂时还看不懂图片，请用文字告诉我。(I cannot read pictures yet; please tell me in words.)"
}

/// Added when pictures came with a text.
pub(super) fn pictures_unseen(language: Language) -> &'static str {
    language
        .pick("（我只读了文字，图片还看不懂。）", "(I read the text only; not the pictures yet.)")
}

/// Said to a voice message without a transcript.
pub(super) fn voice() -> &'static str {
    "这段语音没有识别出文字，请打字告诉我。(This voice message came without a transcript; please type it.)"
}

/// Said to a video.
pub(super) fn video() -> &'static str {
    "暂时还看不了视频，请用文字告诉我。(I cannot watch videos yet; please tell me in words.)"
}

/// Said to a file.
pub(super) fn file(name: Option<&str>) -> String {
    let name = name.map(|n| format!("「{n}」")).unwrap_or_default();
    format!(
        "暂时还不能读取文件{name}，请把要点发给我。(I cannot read files yet; please send me the essentials.)"
    )
}

/// Said to a kind of message the bot does not know.
pub(super) fn unknown_kind() -> &'static str {
    "暂不支持这种类型的消息，请用文字告诉我。(I do not know this kind of message yet; please send text.)"
}

//! A message to DingTalk, and its JSON on each way it can go.

use serde::{Deserialize, Serialize};

/// A markdown message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Shown in the list of chats and in notifications; not empty.
    pub title: String,
    /// Markdown in DingTalk's subset, see [`markdown`](super::markdown).
    pub text: String,
    /// Who is mentioned. Webhooks alone can mention; the OpenAPI ignores it.
    pub mention: Vec<Mention>,
}

/// Who is mentioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mention {
    /// By `userId`, the callback's `senderStaffId`.
    User(String),
    /// By the callback's `senderId`, for a person from outside the organisation. Undocumented, but
    /// widely used.
    Sender(String),
    /// By mobile number; from elsewhere than mainland China `+852-12345678`.
    Mobile(String),
    /// Everybody in the group.
    All,
}

/// Most people a message mentions ("custom-robot-access").
const MAX_MENTIONED: usize = 50;

/// Body of `robot/sendBySession` and `robot/send`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookBody<'a> {
    msgtype: &'static str,
    markdown: Markdown<'a>,
    #[serde(skip_serializing_if = "At::is_empty")]
    at: At<'a>,
    /// Makes a message that is sent twice arrive once; `robot/send` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_uuid: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Markdown<'a> {
    title: &'a str,
    text: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct At<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at_user_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at_dingtalk_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at_mobiles: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_at_all: bool,
}

impl<'a> At<'a> {
    fn of(mentions: &'a [Mention]) -> Self {
        let mut at = Self::default();
        for mention in mentions.iter().take(MAX_MENTIONED) {
            match mention {
                Mention::User(id) => at.at_user_ids.push(id),
                Mention::Sender(id) => at.at_dingtalk_ids.push(id),
                Mention::Mobile(number) => at.at_mobiles.push(number),
                Mention::All => at.is_at_all = true,
            }
        }
        at
    }

    fn is_empty(&self) -> bool {
        let people = [&self.at_user_ids, &self.at_dingtalk_ids, &self.at_mobiles];
        !self.is_at_all && people.into_iter().all(Vec::is_empty)
    }
}

impl Message {
    pub(super) fn webhook_body<'a>(&'a self, msg_uuid: Option<&'a str>) -> WebhookBody<'a> {
        let at = At::of(&self.mention);
        let text = mentioning(&self.text, &at);
        WebhookBody {
            msgtype: "markdown",
            markdown: Markdown { title: &self.title, text },
            at,
            msg_uuid,
        }
    }

    /// `msgParam` of the OpenAPI's `sampleMarkdown`: JSON in a string.
    pub(super) fn msg_param(&self) -> String {
        serde_json::json!({ "title": self.title, "text": self.text }).to_string()
    }
}

/// `text` with an `@userId` or `@mobile` in front for each that `at` names and it does not hold:
/// without it, DingTalk does not highlight a mention in markdown. An encrypted `senderId` is left
/// out: shown to people it would be noise.
fn mentioning(text: &str, at: &At<'_>) -> String {
    let everybody = at.is_at_all.then_some(&"所有人");
    let missing: Vec<String> = everybody
        .into_iter()
        .chain(&at.at_user_ids)
        .chain(&at.at_mobiles)
        .map(|name| format!("@{name}"))
        .filter(|mention| !holds_word(text, mention))
        .collect();
    if missing.is_empty() {
        return text.to_owned();
    }
    // A paragraph of its own, lest a heading or a list at the front of the text lose its meaning.
    format!("{}\n\n{text}", missing.join(" "))
}

/// Whether `text` holds `word` with no letter or digit behind it.
fn holds_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[at + word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(text: &str, mention: Vec<Mention>) -> serde_json::Value {
        let message = Message { title: "t".into(), text: text.into(), mention };
        serde_json::to_value(message.webhook_body(None)).unwrap()
    }

    #[test]
    fn a_plain_message_has_no_at() {
        assert_eq!(
            body("**2**", vec![]),
            json!({"msgtype": "markdown", "markdown": {"title": "t", "text": "**2**"}})
        );
    }

    #[test]
    fn a_mention_is_in_the_text_too() {
        let body = body("# 2", vec![Mention::User("s1".into()), Mention::Sender("$:L".into())]);
        assert_eq!(body["markdown"]["text"], "@s1\n\n# 2");
        assert_eq!(body["at"], json!({"atUserIds": ["s1"], "atDingtalkIds": ["$:L"]}));
    }

    #[test]
    fn mobiles_and_everybody_are_in_the_text_too() {
        let mention = vec![
            Mention::Mobile("13800000000".into()),
            Mention::Mobile("+852-12345678".into()),
            Mention::All,
        ];
        let body = body("# 2", mention);
        assert_eq!(body["markdown"]["text"], "@所有人 @13800000000 @+852-12345678\n\n# 2");
        assert_eq!(
            body["at"],
            json!({"atMobiles": ["13800000000", "+852-12345678"], "isAtAll": true})
        );
    }

    #[test]
    fn no_more_people_are_mentioned_than_dingtalk_takes() {
        let many = (0..60).map(|n| Mention::Mobile(format!("138{n:08}"))).collect();
        let body = body("x", many);
        assert_eq!(body["at"]["atMobiles"].as_array().unwrap().len(), 50);
        assert_eq!(body["markdown"]["text"].as_str().unwrap().matches('@').count(), 50);
    }

    #[test]
    fn a_mention_in_the_text_is_not_repeated() {
        let user = || vec![Mention::User("s1".into())];
        assert_eq!(body("你好 @s1，", user())["markdown"]["text"], "你好 @s1，");
        assert_eq!(body("@s12 你好", user())["markdown"]["text"], "@s1\n\n@s12 你好");
    }
}

//! A robot callback: what somebody said to the bot.
//!
//! [`parse`] accepts what DingTalk sends ("receive messages" and "robot message types" in the open
//! platform's documentation, and captures of 2026, which differ in small ways), and the short body
//! that scripts send: `msgtype`, `text.content`, who, and nothing else. It trusts nothing: a wrong
//! type or an over-long identifier is an error that names the field.

mod wire;

use serde::{Deserialize, Serialize};

pub use wire::parse;

/// Longest identifier that is kept, in bytes; real ones have fewer than 100.
pub const MAX_ID_BYTES: usize = 512;
/// Longest session webhook that is kept, in bytes; real ones have about 100.
pub const MAX_URL_BYTES: usize = 2_048;

/// Why a body is no callback.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// It is not text.
    #[error("the body is not valid UTF-8")]
    Utf8,
    /// It is not a JSON object, or one nested too deep.
    #[error("the body is not a JSON object: {0}")]
    Json(String),
    /// One field is not as documented.
    #[error("the field `{field}` {problem}")]
    Field {
        /// Its name in the body, dotted.
        field: &'static str,
        /// What is wrong with it, and what is expected.
        problem: String,
    },
}

impl CallbackError {
    fn field(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field { field, problem: problem.into() }
    }
}

/// One message to the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// `msgId`: the same message pushed again has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// `robotCode`: absent for custom robots with an outgoing address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robot_code: Option<String>,
    /// `chatbotCorpId`: the organisation the robot belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corp_id: Option<String>,
    /// Where it was said.
    pub conversation: Conversation,
    /// Who said it.
    pub sender: Sender,
    /// Where the answer goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_webhook: Option<SessionWebhook>,
    /// `createAt`: when it was said, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at_millis: Option<i64>,
    /// What was said.
    pub content: Content,
}

impl Callback {
    /// A text that one person says to the bot, outside of any conversation DingTalk knows.
    pub fn text(text: &str, staff_id: &str) -> Self {
        Self {
            message_id: None,
            robot_code: None,
            corp_id: None,
            conversation: Conversation { id: None, kind: ConversationKind::Single, title: None },
            sender: Sender { staff_id: Some(staff_id.to_owned()), ..Sender::default() },
            session_webhook: None,
            created_at_millis: None,
            content: Content::Text(text.trim().to_owned()),
        }
    }
}

/// Where a message was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// `conversationId`: for a group, what the OpenAPI calls `openConversationId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `conversationType`.
    pub kind: ConversationKind,
    /// `conversationTitle`: the group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Between two, or in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// One person and the bot.
    Single,
    /// A group; the bot was mentioned.
    Group,
}

/// Who said it. Which of the identifiers are there depends on the person: a stranger to the
/// organisation has no `staff_id`, and neither has anybody before the application is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// `senderStaffId`, or `userid` in the body of a script: what the OpenAPI calls `userId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staff_id: Option<String>,
    /// `senderId`: encrypted, but the same for the same person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<String>,
    /// `senderUnionId`: the same person across the applications of one developer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub union_id: Option<String>,
    /// `senderNick`: a name for the eye, chosen by the person, unique to nobody; cut to
    /// [`MAX_ID_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nick: Option<String>,
}

/// Where an answer may be posted for a while. It comes from outside: check it with
/// [`DingTalk::check_session_webhook`](super::DingTalk::check_session_webhook).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionWebhook {
    /// `sessionWebhook`; whoever has it can write to the conversation.
    pub url: String,
    /// `sessionWebhookExpiredTime`, in milliseconds since the Unix epoch; 90 minutes after the
    /// message in every capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_millis: Option<i64>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Text, trimmed: a mention in a group leaves a space in front.
    Text(String),
    /// Text with pictures in it.
    RichText {
        /// The text, trimmed.
        text: String,
        /// How many pictures there were.
        pictures: usize,
    },
    /// A picture.
    Picture,
    /// A voice message.
    Audio {
        /// What DingTalk understood.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recognition: Option<String>,
    },
    /// A video.
    Video,
    /// A file.
    File {
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// No message at all: the organisation's number of pushes is used up and DingTalk says so.
    OverQuota {
        /// `errorCode`, 20001 as documented.
        code: i64,
        /// `errorMessage`.
        message: String,
    },
    /// Something this version does not know.
    Other {
        /// `msgtype`.
        kind: String,
    },
}

#[cfg(test)]
mod tests;

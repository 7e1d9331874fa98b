//! A message as the inbox keeps it.

use serde::{Deserialize, Serialize};

use crate::dingtalk::callback::{Callback, Content, ConversationKind};
use crate::memory::Scope;

/// A message to the bot, and whether somebody waits for the answer on the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What came in.
    pub callback: Callback,
    /// Names the caller that waits, when the answer goes back in the same HTTP response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiter: Option<String>,
    /// The HTTP request it came in, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Message {
    /// A message whose answer goes to its session webhook.
    pub fn new(callback: Callback) -> Self {
        Self { callback, waiter: None, request_id: None }
    }

    /// The person: the staff id where there is one, else DingTalk's encrypted id.
    ///
    /// The nick is never used: people choose it, and two may have the same.
    pub fn user_id(&self) -> Option<&str> {
        let sender = &self.callback.sender;
        let ids = [sender.staff_id.as_deref(), sender.sender_id.as_deref()];
        ids.into_iter().flatten().find(|id| !id.trim().is_empty())
    }

    /// Whose memories this message may see.
    pub fn scope(&self) -> Option<Scope> {
        self.user_id().and_then(Scope::user)
    }

    /// What makes it the same message when it is pushed again.
    pub fn key(&self) -> Option<String> {
        let id = self.callback.message_id.as_deref()?;
        Some(format!("{}:{id}", self.callback.robot_code.as_deref().unwrap_or_default()))
    }

    /// The conversation in which messages are answered in order.
    pub fn conversation(&self) -> String {
        match &self.callback.conversation.id {
            Some(id) => id.clone(),
            None => format!("direct:{}", self.user_id().unwrap_or_default()),
        }
    }

    /// One person in one conversation: what the bot looks back on. In a group nobody's words are
    /// put before the model for somebody else.
    pub fn thread(&self) -> String {
        format!("{}|{}", self.conversation(), self.user_id().unwrap_or_default())
    }

    /// Whether it was said in a group.
    pub fn in_group(&self) -> bool {
        self.callback.conversation.kind == ConversationKind::Group
    }

    /// The words, of whatever kind of message they came in; `None`: there are none.
    pub fn text(&self) -> Option<&str> {
        let text = match &self.callback.content {
            Content::Text(text) | Content::RichText { text, .. } => text,
            Content::Audio { recognition } => recognition.as_deref()?,
            _ => return None,
        };
        Some(text.trim()).filter(|t| !t.is_empty())
    }
}

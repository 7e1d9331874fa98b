//! The body of a message, and what is recorded of one.

use bytes::Bytes;
use serde_json::Value;

use super::Errcode;

/// Largest body of a webhook's message, in bytes ("custom-robot-access").
pub(super) const MAX_BODY: usize = 20_000;

/// Most people a message mentions ("custom-robot-access").
const MAX_MENTIONED: usize = 50;

/// How a message came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// By the session webhook of this conversation.
    Session {
        /// The `session` of its address.
        session: String,
        /// The conversation's id.
        conversation: String,
    },
    /// By the group robot of this `access_token`.
    GroupRobot(String),
    /// By the OpenAPI to these persons.
    Persons(Vec<String>),
    /// By the OpenAPI to this group.
    Group(String),
}

/// Who is mentioned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    pub user_ids: Vec<String>,
    pub dingtalk_ids: Vec<String>,
    pub mobiles: Vec<String>,
    pub all: bool,
}

/// A message that was accepted.
#[derive(Debug, Clone)]
pub struct Message {
    /// How it came.
    pub via: Via,
    /// `msgtype`, or the OpenAPI's `msgKey`.
    pub msgtype: String,
    /// The title, of the types that have one.
    pub title: Option<String>,
    /// The text, whatever the type calls it.
    pub text: String,
    /// Who is mentioned.
    pub at: Mentions,
    /// `msgUuid` of a group robot's message.
    pub uuid: Option<String>,
    /// When, in milliseconds since the Unix epoch by the simulator's clock.
    pub received: i64,
    /// The request's body.
    pub raw: Bytes,
}

impl Message {
    /// The conversation whose session webhook it came by; empty for any other way.
    pub fn conversation(&self) -> &str {
        match &self.via {
            Via::Session { conversation, .. } => conversation,
            _ => "",
        }
    }

    /// The mobile numbers of those who are called: DingTalk calls nobody who is not in the text, too
    /// ("custom-robot-access").
    pub fn called(&self) -> Vec<&str> {
        let called = |mobile: &&String| self.text.contains(&format!("@{mobile}"));
        self.at.mobiles.iter().filter(called).map(String::as_str).collect()
    }
}

/// A webhook's message after its checks.
pub(super) struct Content {
    pub(super) msgtype: String,
    pub(super) title: Option<String>,
    pub(super) text: String,
    pub(super) at: Mentions,
    pub(super) uuid: Option<String>,
}

impl Content {
    /// Checks a webhook's body: size, JSON, type and the type's own fields.
    pub(super) fn read(body: &Bytes) -> Result<Self, Errcode> {
        if body.len() > MAX_BODY {
            return Err(Errcode(
                460101,
                "description: body 大小不合法;solution:请保持大小在 20000bytes 以内;",
            ));
        }
        let body: Value = match serde_json::from_slice(body) {
            Ok(body @ Value::Object(_)) => body,
            _ => return Err(Errcode(40035, "缺少参数 json")),
        };
        let msgtype = body["msgtype"].as_str().unwrap_or_default().to_owned();
        let inner = &body[&msgtype];
        let (title, text) = match msgtype.as_str() {
            "text" => (None, required(inner, "content")?),
            "markdown" => (Some(required(inner, "title")?), required(inner, "text")?),
            "link" => {
                required(inner, "messageUrl")?;
                (Some(required(inner, "title")?), required(inner, "text")?)
            }
            "actionCard" => (Some(required(inner, "title")?), required(inner, "text")?),
            "feedCard" if inner["links"].is_array() => (None, inner["links"].to_string()),
            "feedCard" => return Err(missing()),
            "empty" => (None, String::new()),
            _ => return Err(Errcode(400105, "不支持的消息类型")),
        };
        let at = mentions(&body["at"]);
        if at.user_ids.len() + at.dingtalk_ids.len() + at.mobiles.len() > MAX_MENTIONED {
            // Which code a message with more has is not documented.
            return Err(Errcode(40035, "不合法的参数"));
        }
        let uuid = body["msgUuid"].as_str().map(str::to_owned);
        Ok(Self { msgtype, title, text, at, uuid })
    }

    /// The record of it.
    pub(super) fn into_message(self, via: Via, received: i64, raw: &Bytes) -> Message {
        let Self { msgtype, title, text, at, uuid } = self;
        Message { via, msgtype, title, text, at, uuid, received, raw: raw.clone() }
    }
}

fn required(object: &Value, field: &str) -> Result<String, Errcode> {
    match object[field].as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(missing()),
    }
}

/// The code for a missing field of a known type is not documented; this is the documented one of
/// a missing parameter.
fn missing() -> Errcode {
    Errcode(40035, "缺少参数")
}

fn mentions(at: &Value) -> Mentions {
    let list = |field: &str| {
        let items = at[field].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    Mentions {
        user_ids: list("atUserIds"),
        dingtalk_ids: list("atDingtalkIds"),
        mobiles: list("atMobiles"),
        all: at["isAtAll"].as_bool().unwrap_or_default(),
    }
}

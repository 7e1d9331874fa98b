//! The JSON of a callback, and its way into [`Callback`].

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Callback, CallbackError, Content, Conversation, ConversationKind, MAX_ID_BYTES, MAX_URL_BYTES,
    Sender, SessionWebhook,
};

/// The fields that are looked at. Each is any JSON at first, so that a wrong type is reported with
/// the field's name; the fields that are not listed are skipped without being kept.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    msgtype: Value,
    msg_id: Value,
    create_at: Value,
    conversation_type: Value,
    conversation_id: Value,
    conversation_title: Value,
    sender_id: Value,
    sender_staff_id: Value,
    userid: Value,
    sender_union_id: Value,
    sender_nick: Value,
    chatbot_corp_id: Value,
    robot_code: Value,
    session_webhook: Value,
    session_webhook_expired_time: Value,
    text: Value,
    content: Value,
    error_code: Value,
    error_message: Value,
}

/// Reads a callback's body.
///
/// Empty strings and `null` count as absent; numbers of milliseconds may be strings; `content`
/// may be an object or a string that holds one.
pub fn parse(body: &[u8]) -> Result<Callback, CallbackError> {
    let body = std::str::from_utf8(body).map_err(|_| CallbackError::Utf8)?;
    // serde would take an array for a struct, its elements for the fields in order.
    if !body.trim_start().starts_with('{') {
        return Err(CallbackError::Json("it does not begin with `{`".into()));
    }
    let wire: Wire =
        serde_json::from_str(body).map_err(|error| CallbackError::Json(error.to_string()))?;
    let staff_id = id("senderStaffId", &wire.sender_staff_id)?.or(id("userid", &wire.userid)?);
    Ok(Callback {
        message_id: id("msgId", &wire.msg_id)?,
        robot_code: id("robotCode", &wire.robot_code)?,
        corp_id: id("chatbotCorpId", &wire.chatbot_corp_id)?,
        conversation: Conversation {
            id: id("conversationId", &wire.conversation_id)?,
            kind: conversation_kind(&wire.conversation_type)?,
            title: name("conversationTitle", &wire.conversation_title)?,
        },
        sender: Sender {
            staff_id,
            sender_id: id("senderId", &wire.sender_id)?,
            union_id: id("senderUnionId", &wire.sender_union_id)?,
            nick: name("senderNick", &wire.sender_nick)?,
        },
        session_webhook: session_webhook(&wire)?,
        created_at_millis: number("createAt", &wire.create_at)?,
        content: content(&wire)?,
    })
}

fn conversation_kind(value: &Value) -> Result<ConversationKind, CallbackError> {
    match number("conversationType", value)? {
        // A script's short body is one person talking to the bot.
        None | Some(1) => Ok(ConversationKind::Single),
        Some(2) => Ok(ConversationKind::Group),
        Some(other) => {
            let problem = format!("is {other}; expected \"1\" (single chat) or \"2\" (group)");
            Err(CallbackError::field("conversationType", problem))
        }
    }
}

fn session_webhook(wire: &Wire) -> Result<Option<SessionWebhook>, CallbackError> {
    let Some(url) = bounded("sessionWebhook", &wire.session_webhook, MAX_URL_BYTES)? else {
        return Ok(None);
    };
    let expires_at_millis =
        number("sessionWebhookExpiredTime", &wire.session_webhook_expired_time)?;
    Ok(Some(SessionWebhook { url, expires_at_millis }))
}

fn content(wire: &Wire) -> Result<Content, CallbackError> {
    if wire.text.is_null()
        && wire.content.is_null()
        && let Some(code) = number("errorCode", &wire.error_code)?
    {
        let message = name("errorMessage", &wire.error_message)?.unwrap_or_default();
        return Ok(Content::OverQuota { code, message });
    }
    let kind = id("msgtype", &wire.msgtype)?
        .ok_or_else(|| CallbackError::field("msgtype", "is missing; expected \"text\""))?;
    match kind.as_str() {
        "text" => text(&wire.text),
        "richText" => rich_text(&details(&wire.content)?),
        "picture" => Ok(Content::Picture),
        "audio" => {
            let recognition =
                string("content.recognition", details(&wire.content)?.get("recognition"))?
                    .map(|text| text.trim().to_owned())
                    .filter(|text| !text.is_empty());
            Ok(Content::Audio { recognition })
        }
        "video" => Ok(Content::Video),
        "file" => {
            let details = details(&wire.content)?;
            let name = name("content.fileName", details.get("fileName").unwrap_or(&Value::Null))?;
            Ok(Content::File { name })
        }
        _ => Ok(Content::Other { kind }),
    }
}

fn text(value: &Value) -> Result<Content, CallbackError> {
    let Value::Object(text) = value else {
        let problem = format!("is {}; expected {{\"content\":\"…\"}}", type_name(value));
        return Err(CallbackError::field("text", problem));
    };
    match text.get("content") {
        Some(Value::String(content)) => Ok(Content::Text(content.trim().to_owned())),
        other => {
            let problem =
                format!("is {}; expected a string", type_name(other.unwrap_or(&Value::Null)));
            Err(CallbackError::field("text.content", problem))
        }
    }
}

fn rich_text(details: &Map<String, Value>) -> Result<Content, CallbackError> {
    let Some(Value::Array(parts)) = details.get("richText") else {
        let problem = "is missing or no array; expected the parts of the text";
        return Err(CallbackError::field("content.richText", problem));
    };
    let mut text = String::new();
    let mut pictures = 0;
    for part in parts {
        if let Some(words) = string("content.richText[].text", part.get("text"))? {
            text.push_str(words);
        } else if part.get("downloadCode").is_some() {
            pictures += 1;
        }
    }
    Ok(Content::RichText { text: text.trim().to_owned(), pictures })
}

/// The object of `content`; an absent one is empty, a string is read as JSON.
fn details(value: &Value) -> Result<Map<String, Value>, CallbackError> {
    let problem = |what: &str| {
        CallbackError::field(
            "content",
            format!("is {what}; expected an object, or one in a string"),
        )
    };
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(map) => Ok(map.clone()),
        Value::String(json) if json.is_empty() => Ok(Map::new()),
        Value::String(json) => serde_json::from_str(json)
            .map_err(|_| problem("a string that does not hold a JSON object")),
        other => Err(problem(type_name(other))),
    }
}

/// An identifier: short, without control characters.
fn id(field: &'static str, value: &Value) -> Result<Option<String>, CallbackError> {
    bounded(field, value, MAX_ID_BYTES)
}

fn bounded(
    field: &'static str,
    value: &Value,
    limit: usize,
) -> Result<Option<String>, CallbackError> {
    let Some(text) = string(field, Some(value))? else { return Ok(None) };
    if text.len() > limit {
        let problem = format!("has {} bytes; at most {limit} are accepted", text.len());
        return Err(CallbackError::field(field, problem));
    }
    if text.chars().any(char::is_control) {
        return Err(CallbackError::field(field, "holds a control character"));
    }
    Ok(Some(text.to_owned()))
}

/// A name for the eye: on one line, cut rather than refused.
fn name(field: &'static str, value: &Value) -> Result<Option<String>, CallbackError> {
    Ok(string(field, Some(value))?.map(|text| {
        let cut: String = text
            .char_indices()
            .take_while(|(at, c)| at + c.len_utf8() <= MAX_ID_BYTES)
            .map(|(_, c)| c)
            .collect();
        cut.replace(char::is_control, " ")
    }))
}

fn string<'a>(
    field: &'static str,
    value: Option<&'a Value>,
) -> Result<Option<&'a str>, CallbackError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            Err(CallbackError::field(field, format!("is {}; expected a string", type_name(other))))
        }
    }
}

/// A whole number, or a string that holds one.
fn number(field: &'static str, value: &Value) -> Result<Option<i64>, CallbackError> {
    let found = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    found.map(Some).ok_or_else(|| CallbackError::field(field, "is not a whole number"))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "missing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

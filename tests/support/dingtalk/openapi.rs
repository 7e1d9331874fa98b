//! The robot OpenAPI: access tokens, messages to persons and to groups.
//!
//! Follows "obtain-access-token", "batchSendOTO", "orgGroupSend" and "robot-message-type": 20
//! persons and 15,000 bytes of `msgParam` a message, an error is HTTP 4xx with a `code`, a person
//! who does not exist is listed in an answer of HTTP 200. The codes for a wrong `robotCode` and a
//! wrong `msgKey` are not in these pages; the simulator's are of the same form.

use serde_json::{Value, json};

use super::content::{Mentions, Message, Via};
use super::{ApiError, CLIENT_ID, CLIENT_SECRET, State, lock};
use crate::support::server::Received;

/// Most persons of one message.
const MAX_PERSONS: usize = 20;
/// Largest `msgParam`, in bytes.
const MAX_PARAM: usize = 15_000;
/// Milliseconds an access token is valid.
const TOKEN_LIFE: i64 = 7_200_000;

/// The access token that is valid, if any.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    current: Option<(String, i64)>,
}

impl Tokens {
    pub(super) fn revoke(&mut self) {
        self.current = None;
    }

    /// The valid token, renewed, or a new one.
    fn issue(&mut self, now: i64) -> String {
        let token = match self.current.take() {
            Some((token, expires)) if now < expires => token,
            _ => uuid::Uuid::new_v4().simple().to_string(),
        };
        self.current = Some((token.clone(), now + TOKEN_LIFE));
        token
    }

    fn accepts(&self, token: &str, now: i64) -> bool {
        self.current.as_ref().is_some_and(|(valid, expires)| valid == token && now < *expires)
    }
}

pub(super) fn token(state: &State, request: &Received) -> Result<Value, ApiError> {
    let body = body(request)?;
    if body["appKey"] != CLIENT_ID || body["appSecret"] != CLIENT_SECRET {
        return Err(ApiError {
            status: 400,
            code: "invalidClientIdOrSecret",
            message: "无效的clientId或者clientSecret",
        });
    }
    let token = lock(&state.tokens).issue(state.now());
    Ok(json!({ "accessToken": token, "expireIn": TOKEN_LIFE / 1000 }))
}

pub(super) fn send_to_persons(state: &State, request: &Received) -> Result<Value, ApiError> {
    let body = authorized(state, request)?;
    let users: Option<Vec<String>> = serde_json::from_value(body["userIds"].clone()).ok();
    let users = match users {
        Some(users) if (1..=MAX_PERSONS).contains(&users.len()) => users,
        _ => return Err(invalid("invalidParameter.userIds.invalid")),
    };
    let (msgtype, title, text) = message(&body)?;
    let strangers = lock(&state.strangers);
    let (unknown, known): (Vec<_>, Vec<_>) =
        users.into_iter().partition(|user| strangers.contains(user));
    drop(strangers);
    if !known.is_empty() {
        record(state, Via::Persons(known), (msgtype, title, text), request);
    }
    Ok(json!({
        "processQueryKey": uuid::Uuid::new_v4().simple().to_string(),
        "invalidStaffIdList": unknown,
        "flowControlledStaffIdList": [],
    }))
}

pub(super) fn send_to_group(state: &State, request: &Received) -> Result<Value, ApiError> {
    let body = authorized(state, request)?;
    let group = body["openConversationId"].as_str().unwrap_or_default();
    if !group.starts_with("cid") {
        return Err(invalid("invalidParameter.openConversationId.invalid"));
    }
    record(state, Via::Group(group.to_owned()), message(&body)?, request);
    Ok(json!({ "processQueryKey": uuid::Uuid::new_v4().simple().to_string() }))
}

fn record(
    state: &State,
    via: Via,
    (msgtype, title, text): (String, Option<String>, String),
    request: &Received,
) {
    state.messages.push(Message {
        via,
        msgtype,
        title,
        text,
        at: Mentions::default(),
        uuid: None,
        received: state.now(),
        raw: request.body.clone(),
    });
}

/// The body of a call with a valid token for the simulated robot.
fn authorized(state: &State, request: &Received) -> Result<Value, ApiError> {
    let token = request.header("x-acs-dingtalk-access-token");
    if token.is_empty() {
        return Err(ApiError {
            status: 400,
            code: "InvalidAuthentication",
            message: "缺少 access_token",
        });
    }
    if !lock(&state.tokens).accepts(token, state.now()) {
        return Err(ApiError {
            status: 401,
            code: "InvalidAuthentication",
            message: "不合法的access_token",
        });
    }
    let body = body(request)?;
    if body["robotCode"] != CLIENT_ID {
        return Err(ApiError {
            status: 400, code: "robot.oto.notExist", message: "机器人不存在"
        });
    }
    Ok(body)
}

fn body(request: &Received) -> Result<Value, ApiError> {
    request
        .declares_json()
        .then(|| request.json())
        .flatten()
        .filter(Value::is_object)
        .ok_or_else(|| invalid("invalidParameter.body"))
}

/// `msgKey`, the title and the text of `msgParam`.
fn message(body: &Value) -> Result<(String, Option<String>, String), ApiError> {
    let key = body["msgKey"].as_str().unwrap_or_default();
    let param = body["msgParam"].as_str().unwrap_or_default();
    if param.len() > MAX_PARAM {
        return Err(invalid("invalidParameter.msgParam.tooLong"));
    }
    let param: Value =
        serde_json::from_str(param).map_err(|_| invalid("invalidParameter.msgParam.invalid"))?;
    let field = |name: &str| match param[name].as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(invalid("invalidParameter.msgParam.invalid")),
    };
    let (title, text) = match key {
        "sampleText" => (None, field("content")?),
        "sampleMarkdown" | "sampleActionCard" | "sampleLink" => {
            (Some(field("title")?), field("text")?)
        }
        _ => return Err(invalid("invalidParameter.msgKey.invalid")),
    };
    Ok((key.to_owned(), title, text))
}

fn invalid(code: &'static str) -> ApiError {
    ApiError { status: 400, code, message: "参数不合法" }
}

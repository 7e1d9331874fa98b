//! `api.dingtalk.com`: the access token and the robot's messages.
//!
//! Errors are HTTP 4xx or 5xx with a `code`, which decides. A message to people can fail with HTTP
//! 200, too: the answer then lists those it did not reach.

use std::sync::Arc;
use std::time::Instant;

use moka::future::Cache;
use serde_json::{Value, json};
use url::Url;

use super::error::{Objection, SendError, SendErrorKind, kind_of_openapi_code};
use super::exchange::{Answer, exchange};
use super::message::Message;
use crate::config::Secret;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Header that carries the access token.
const TOKEN_HEADER: &str = "x-acs-dingtalk-access-token";
/// How long before its end a token is replaced, in milliseconds.
const REFRESH_EARLY_MILLIS: i64 = 300_000;
/// Documented life of a token, in seconds; taken when the answer does not say.
const TOKEN_LIFE_SECONDS: i64 = 7_200;
/// Documented limit of `msgParam`, in bytes.
const MSG_PARAM_BYTES: usize = 15_000;
/// The `code` that asks for another token.
const INVALID_AUTHENTICATION: &str = "InvalidAuthentication";

/// The OpenAPI of one application.
#[derive(Debug)]
pub(super) struct OpenApi {
    client: reqwest::Client,
    base: Url,
    client_id: String,
    client_secret: Secret,
    /// One entry: the token, or why the last fetch failed. moka lets one fetch run at a time and
    /// hands its result, failures included, to all who wait for it.
    token: Cache<(), Result<Token, SendError>>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

#[derive(Debug, Clone)]
struct Token {
    value: Secret,
    refresh_at_millis: i64,
}

impl OpenApi {
    pub(super) fn new(
        client: reqwest::Client,
        base: Url,
        client_id: String,
        client_secret: Secret,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let token = Cache::new(1);
        Self { client, base, client_id, client_secret, token, metrics, clock }
    }

    /// `oToMessages/batchSend` to one person.
    pub(super) async fn send_to_user(
        &self,
        robot_code: &str,
        staff_id: &str,
        message: &Message,
    ) -> Result<(), SendError> {
        let body = json!({
            "robotCode": robot_code,
            "userIds": [staff_id],
            "msgKey": "sampleMarkdown",
            "msgParam": msg_param(message)?,
        });
        let path = "/v1.0/robot/oToMessages/batchSend";
        let answer = self.call("user_message", path, &body, reached_everyone).await?;
        tracing::debug!(query_key = answer.text("processQueryKey"), "message to a person accepted");
        Ok(())
    }

    /// `groupMessages/send`.
    pub(super) async fn send_to_group(
        &self,
        robot_code: &str,
        open_conversation_id: &str,
        message: &Message,
    ) -> Result<(), SendError> {
        let body = json!({
            "robotCode": robot_code,
            "openConversationId": open_conversation_id,
            "msgKey": "sampleMarkdown",
            "msgParam": msg_param(message)?,
        });
        let path = "/v1.0/robot/groupMessages/send";
        let answer = self.call("group_message", path, &body, |_| Ok(())).await?;
        tracing::debug!(query_key = answer.text("processQueryKey"), "message to a group accepted");
        Ok(())
    }

    /// Fetches a token, and asks for a message to nobody: what DingTalk says of that tells whether
    /// it knows the robot. Nobody is written to.
    pub(super) async fn check(&self, robot_code: &str) -> Result<(), Objection> {
        let token = self.token(None).await.map_err(|error| match error.kind {
            SendErrorKind::Refused => Objection::Credentials(error),
            _ => Objection::Other(error),
        })?;
        let body = json!({
            "robotCode": robot_code,
            "userIds": [],
            "msgKey": "sampleText",
            "msgParam": json!({ "content": "" }).to_string(),
        });
        let mut url = self.base.clone();
        url.set_path("/v1.0/robot/oToMessages/batchSend");
        let request = self.client.post(url).header(TOKEN_HEADER, token.expose()).json(&body);
        let answer = exchange(request).await.map_err(Objection::Other)?;
        let secrets = [self.client_secret.expose(), token.expose()];
        objection(&answer, &secrets).map_or(Ok(()), Err)
    }

    /// Posts `body` with a token; if DingTalk does not take the token, once more with a new one.
    async fn call(
        &self,
        api: &str,
        path: &str,
        body: &Value,
        check: fn(&Answer) -> Result<(), SendError>,
    ) -> Result<Answer, SendError> {
        let token = self.token(None).await?;
        match self.post(api, path, Some(&token), body, check).await {
            Err(Failure::TokenRefused) => {
                tracing::debug!(api, "access token refused, fetching another");
                let token = self.token(Some(&token)).await?;
                Ok(self.post(api, path, Some(&token), body, check).await?)
            }
            result => Ok(result?),
        }
    }

    /// The token, fetched if there is none, if its end is near, or if it is `refused`.
    async fn token(&self, refused: Option<&Secret>) -> Result<Secret, SendError> {
        let now = self.clock.now_millis();
        let useless = |cached: &Result<Token, SendError>| match cached {
            Ok(token) => {
                now >= token.refresh_at_millis
                    || refused.is_some_and(|refused| refused.expose() == token.value.expose())
            }
            Err(_) => true,
        };
        let entry = self.token.entry(()).or_insert_with_if(self.fetch_token(), useless).await;
        entry.into_value().map(|token| token.value)
    }

    /// `oauth2/accessToken`; within its life DingTalk gives the same token again, renewed.
    async fn fetch_token(&self) -> Result<Token, SendError> {
        let body = json!({ "appKey": self.client_id, "appSecret": self.client_secret.expose() });
        let path = "/v1.0/oauth2/accessToken";
        let answer = self.post("access_token", path, None, &body, holds_token).await?;
        let life = answer.number("expireIn").unwrap_or(TOKEN_LIFE_SECONDS);
        let life_millis = life.clamp(0, TOKEN_LIFE_SECONDS) * 1_000;
        // A token on its last minutes is used for half of what it has left.
        let use_millis = (life_millis - REFRESH_EARLY_MILLIS).max(life_millis / 2);
        Ok(Token {
            value: Secret::from(answer.text("accessToken")),
            refresh_at_millis: self.clock.now_millis().saturating_add(use_millis),
        })
    }

    async fn post(
        &self,
        api: &str,
        path: &str,
        token: Option<&Secret>,
        body: &Value,
        check: fn(&Answer) -> Result<(), SendError>,
    ) -> Result<Answer, Failure> {
        let mut url = self.base.clone();
        url.set_path(path);
        let mut request = self.client.post(url).json(body);
        if let Some(token) = token {
            request = request.header(TOKEN_HEADER, token.expose());
        }
        let started = Instant::now();
        let result = match exchange(request).await {
            Ok(answer) => judge(answer, check),
            Err(error) => Err(Failure::Other(error)),
        };
        let outcome = match &result {
            Ok(_) => "ok",
            Err(Failure::TokenRefused) => SendErrorKind::Refused.label(),
            Err(Failure::Other(error)) => error.kind.label(),
        };
        self.metrics.dingtalk_request(api, outcome, started);
        let secrets = [self.client_secret.expose(), token.map_or("", Secret::expose)];
        result.map_err(|failure| match failure {
            Failure::Other(error) => Failure::Other(error.presentable(&secrets)),
            Failure::TokenRefused => Failure::TokenRefused,
        })
    }
}

/// What an answer to a message to nobody says against the application or its robot; that there is
/// nobody to write to is nothing against them.
fn objection(answer: &Answer, secrets: &[&str]) -> Option<Objection> {
    if (200..300).contains(&answer.status) {
        return None;
    }
    let code = answer.text("code");
    let kind = kind_of_openapi_code(code, answer.status);
    let detail = format!("HTTP {} {code}: {}", answer.status, answer.text("message"));
    let error = SendError::new(kind, detail).presentable(secrets);
    let lower = code.to_ascii_lowercase();
    match kind {
        SendErrorKind::Refused if lower.contains("accessdenied") => {
            Some(Objection::Permission(error))
        }
        SendErrorKind::Refused if lower.contains("robot") || lower.starts_with("bot.") => {
            Some(Objection::Robot(error))
        }
        SendErrorKind::Refused if code == INVALID_AUTHENTICATION => {
            Some(Objection::Credentials(error))
        }
        SendErrorKind::Refused => None,
        _ => Some(Objection::Other(error)),
    }
}

/// Why a call failed.
enum Failure {
    /// Another token may help.
    TokenRefused,
    Other(SendError),
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TokenRefused => Self::new(
                SendErrorKind::Refused,
                format!("{INVALID_AUTHENTICATION}: a new access token is refused, too"),
            ),
            Failure::Other(error) => error,
        }
    }
}

fn judge(answer: Answer, check: fn(&Answer) -> Result<(), SendError>) -> Result<Answer, Failure> {
    if (200..300).contains(&answer.status) {
        return check(&answer).map(|()| answer).map_err(Failure::Other);
    }
    let code = answer.text("code");
    if code == INVALID_AUTHENTICATION {
        return Err(Failure::TokenRefused);
    }
    let kind = kind_of_openapi_code(code, answer.status);
    let detail = format!("HTTP {} {code}: {}", answer.status, answer.text("message"));
    Err(Failure::Other(SendError::new(kind, detail)))
}

/// Whether an answer holds a token that can stand in a header.
fn holds_token(answer: &Answer) -> Result<(), SendError> {
    let token = answer.text("accessToken");
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(SendError::new(SendErrorKind::Temporary, "the answer holds no usable accessToken"))
}

/// Whether the message reached all it was for; `batchSend` says so beside HTTP 200.
fn reached_everyone(answer: &Answer) -> Result<(), SendError> {
    let some_in = |list: &str| {
        answer.fields.get(list).and_then(Value::as_array).is_some_and(|ids| !ids.is_empty())
    };
    if some_in("invalidStaffIdList") {
        let detail = "the person is not in the organisation (invalidStaffIdList)";
        return Err(SendError::new(SendErrorKind::Refused, detail));
    }
    if some_in("flowControlledStaffIdList") {
        let detail = "too many messages to this person (flowControlledStaffIdList)";
        return Err(SendError::new(SendErrorKind::RateLimited { retry_after: None }, detail));
    }
    Ok(())
}

fn msg_param(message: &Message) -> Result<String, SendError> {
    let param = message.msg_param();
    if param.len() > MSG_PARAM_BYTES {
        let detail =
            format!("the message has {} bytes, the OpenAPI takes {MSG_PARAM_BYTES}", param.len());
        return Err(SendError::new(SendErrorKind::TooLarge, detail));
    }
    Ok(param)
}

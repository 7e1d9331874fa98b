//! `oapi.dingtalk.com`: session webhooks and the custom robots of groups.
//!
//! Both take the same body and answer errors with HTTP 200; `errcode` alone decides, never the
//! status and never `errmsg`.

use std::time::Instant;

use url::Url;

use super::error::{SendError, SendErrorKind, Webhook, kind_of_errcode};
use super::exchange::exchange;
use super::message::WebhookBody;
use super::signature;
use crate::config::Secret;
use crate::config::settings::GroupRobot;
use crate::telemetry::metrics::Metrics;

/// Shortest value of a query that is taken for a secret; blotting out a `1` would blot out errors.
const MIN_SECRET_BYTES: usize = 4;

impl Webhook {
    /// The value of the metric label `api`.
    fn label(self) -> &'static str {
        match self {
            Self::Session => "session_webhook",
            Self::GroupRobot => "group_robot",
        }
    }
}

/// Posts `body` to `url`; its query and `secret` are kept out of every error.
pub(super) async fn post(
    client: &reqwest::Client,
    webhook: Webhook,
    url: Url,
    secret: &Secret,
    body: &WebhookBody<'_>,
    metrics: &Metrics,
) -> Result<(), SendError> {
    let query: Vec<String> = url
        .query_pairs()
        .map(|(_, value)| value.into_owned())
        .filter(|value| value.len() >= MIN_SECRET_BYTES)
        .collect();
    let started = Instant::now();
    let result = send(client, webhook, url, body).await;
    let outcome = result.as_ref().map_or_else(|error| error.kind.label(), |()| "ok");
    metrics.dingtalk_request(webhook.label(), outcome, started);
    let mut secrets: Vec<&str> = query.iter().map(String::as_str).collect();
    secrets.push(secret.expose());
    result.map_err(|error| error.presentable(&secrets))
}

async fn send(
    client: &reqwest::Client,
    webhook: Webhook,
    url: Url,
    body: &WebhookBody<'_>,
) -> Result<(), SendError> {
    let answer = exchange(client.post(url).json(body)).await?;
    match answer.number("errcode") {
        Some(0) => Ok(()),
        Some(code) => {
            let detail = format!("errcode {code}: {}", answer.text("errmsg"));
            Err(SendError::new(kind_of_errcode(webhook, code), detail))
        }
        None => {
            let detail = format!("HTTP {} without an errcode", answer.status);
            Err(SendError::new(SendErrorKind::Temporary, detail))
        }
    }
}

/// The address of `robot` for one request: the signature in it is good for an hour, so it is made
/// anew each time.
pub(super) fn group_robot_url(oapi_base: &Url, robot: &GroupRobot, now_millis: i64) -> Url {
    let mut url = oapi_base.clone();
    url.set_path("/robot/send");
    url.set_query(None);
    let mut query = url.query_pairs_mut();
    query.append_pair("access_token", robot.access_token.expose());
    if !robot.secret.is_empty() {
        let timestamp = now_millis.to_string();
        let sign = signature::sign(&timestamp, robot.secret.expose());
        query.append_pair("timestamp", &timestamp).append_pair("sign", &sign);
    }
    drop(query);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_url_encoded() {
        let robot = GroupRobot {
            name: "default".into(),
            access_token: Secret::from("T"),
            secret: Secret::from("SECabc123"),
            ..GroupRobot::default()
        };
        let base = Url::parse("https://oapi.dingtalk.com").unwrap();
        assert_eq!(
            group_robot_url(&base, &robot, 1_700_000_000_000).as_str(),
            "https://oapi.dingtalk.com/robot/send?access_token=T&timestamp=1700000000000\
             &sign=N5P09a4%2Bp1AMJIJWnIvQd2Yxw9%2Bfu%2FoEBnPrjCcsLXk%3D"
        );
    }
}

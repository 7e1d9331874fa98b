//! DingTalk: the protocol and nothing else.
//!
//! What comes in: [`callback`] reads a robot callback, [`signature`] tells whether DingTalk sent
//! it. What goes out: [`DingTalk`] sends a [`Message`] to a session webhook, by a group's custom
//! robot, or by the robot OpenAPI; [`markdown`] makes a text fit.
//!
//! Promises that an error says what to do about it ([`SendErrorKind`]) and holds no secret, that
//! every request ends in bounded time with a bounded answer, and that nothing is posted to an
//! address from outside that is not DingTalk's. One call is one try, save for an access token that
//! has to be renewed: when to try again is the caller's business.
//!
//! Does not know memory, models or storage, nor who is answered and why.

pub mod callback;
mod error;
mod exchange;
pub mod markdown;
mod message;
mod openapi;
pub mod signature;
#[cfg(test)]
mod tests;
mod webhook;

use std::sync::Arc;

use url::Url;

pub use callback::{
    Callback, CallbackError, Content, Conversation, ConversationKind, Sender, SessionWebhook,
};
pub use error::{Objection, SendError, SendErrorKind};
pub use message::{Mention, Message};
pub use signature::SignatureError;

use crate::config::Secret;
use crate::config::settings::{self, GroupRobot};
use crate::outbound::{self, AllowedDestinations};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;
use error::Webhook;
use openapi::OpenApi;

/// Domain that a session webhook may be on, beside the configured origin.
const DOMAIN: &str = "dingtalk.com";

/// The ways to DingTalk that the settings open.
#[derive(Debug)]
pub struct DingTalk {
    /// For the configured origins.
    client: reqwest::Client,
    /// For addresses from outside.
    guarded: reqwest::Client,
    destinations: AllowedDestinations,
    oapi_base: Url,
    group_robots: Vec<GroupRobot>,
    robot_code: String,
    openapi: Option<OpenApi>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl DingTalk {
    /// A client for what `settings` names; nothing is sent yet.
    pub fn new(
        settings: &settings::DingTalk,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self, outbound::ClientError> {
        let client = outbound::client(exchange::READ_TIMEOUT)?;
        let has_credentials = !settings.client_id.is_empty() && !settings.client_secret.is_empty();
        let openapi = has_credentials.then(|| {
            OpenApi::new(
                client.clone(),
                settings.api_base.clone(),
                settings.client_id.clone(),
                settings.client_secret.clone(),
                Arc::clone(&metrics),
                clock.clone(),
            )
        });
        Ok(Self {
            client,
            guarded: outbound::guarded_client(exchange::READ_TIMEOUT)?,
            destinations: AllowedDestinations::new(settings.oapi_base.clone(), DOMAIN),
            oapi_base: settings.oapi_base.clone(),
            group_robots: settings.group_robots.clone(),
            robot_code: settings.robot_code().to_owned(),
            openapi,
            metrics,
            clock,
        })
    }

    /// Whether a session webhook may be posted to: it is on `dingtalk.oapi_base`, or on
    /// `https://*.dingtalk.com`.
    pub fn check_session_webhook(&self, address: &str) -> Result<(), outbound::Refused> {
        self.destinations.check(address).map(drop)
    }

    /// Posts `message` to a session webhook, which is checked again.
    pub async fn send_to_session(&self, webhook: &str, message: &Message) -> Result<(), SendError> {
        let destination = self.destinations.check(webhook).map_err(|refused| {
            SendError::new(SendErrorKind::Refused, format!("the session webhook: {refused}"))
        })?;
        let client = if destination.configured { &self.client } else { &self.guarded };
        let body = message.webhook_body(None);
        let secret = Secret::default();
        webhook::post(client, Webhook::Session, destination.url, &secret, &body, &self.metrics)
            .await
    }

    /// Sends `message` by the custom robot that the settings call `robot`.
    ///
    /// `msg_uuid` is the message's own: DingTalk shows a message once that is sent twice with the
    /// same.
    pub async fn send_by_group_robot(
        &self,
        robot: &str,
        message: &Message,
        msg_uuid: &str,
    ) -> Result<(), SendError> {
        let robot = self.group_robot(robot).ok_or_else(|| {
            let detail =
                format!("no robot `{robot}` with an access_token in dingtalk.group_robots");
            SendError::new(SendErrorKind::Refused, detail)
        })?;
        let url = webhook::group_robot_url(&self.oapi_base, robot, self.clock.now_millis());
        let body = message.webhook_body(Some(msg_uuid));
        let secret = &robot.secret;
        webhook::post(&self.client, Webhook::GroupRobot, url, secret, &body, &self.metrics).await
    }

    /// Whether the settings name a custom robot `name` with a token.
    pub fn has_group_robot(&self, name: &str) -> bool {
        self.group_robot(name).is_some()
    }

    /// Whether the settings hold what the OpenAPI needs: `client_id` and `client_secret`.
    pub fn has_openapi(&self) -> bool {
        self.openapi.is_some()
    }

    /// Sends `message` to one person by the OpenAPI; `robot_code` is the callback's, by default
    /// the settings'.
    pub async fn send_to_user(
        &self,
        robot_code: Option<&str>,
        staff_id: &str,
        message: &Message,
    ) -> Result<(), SendError> {
        let robot_code = robot_code.unwrap_or(&self.robot_code);
        self.openapi()?.send_to_user(robot_code, staff_id, message).await
    }

    /// Sends `message` to a group by the OpenAPI, which cannot mention anybody.
    pub async fn send_to_group(
        &self,
        robot_code: Option<&str>,
        open_conversation_id: &str,
        message: &Message,
    ) -> Result<(), SendError> {
        let robot_code = robot_code.unwrap_or(&self.robot_code);
        self.openapi()?.send_to_group(robot_code, open_conversation_id, message).await
    }

    /// Whether DingTalk takes the application's credentials and knows its robot. Writes to nobody.
    pub async fn check(&self) -> Result<(), Objection> {
        let openapi = self.openapi().map_err(Objection::Credentials)?;
        openapi.check(&self.robot_code).await
    }

    fn group_robot(&self, name: &str) -> Option<&GroupRobot> {
        self.group_robots.iter().find(|robot| robot.name == name && !robot.access_token.is_empty())
    }

    fn openapi(&self) -> Result<&OpenApi, SendError> {
        self.openapi.as_ref().ok_or_else(|| {
            let detail = "the OpenAPI needs dingtalk.client_id and dingtalk.client_secret";
            SendError::new(SendErrorKind::Refused, detail)
        })
    }
}

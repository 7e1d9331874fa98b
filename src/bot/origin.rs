//! What the log knows a message by, from its callback to the delivery of its answer.

use serde::{Deserialize, Serialize};
use tracing::Span;
use tracing::field::Empty;

use super::message::Message;
use super::outgoing::{Outgoing, Route};
use crate::store::InboxId;

/// Where a message came from, as the fields of log lines name it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The request it came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// `msgId` of the callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The conversation, as messages are kept in order by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// The robot it was said to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robot: Option<String>,
}

impl Message {
    /// What the log knows it by.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            request_id: self.request_id.clone(),
            message_id: self.callback.message_id.clone(),
            conversation: Some(self.conversation()),
            robot: self.callback.robot_code.clone(),
        }
    }

    /// Everything logged within names this message.
    ///
    /// At the level of errors, so that an error names it whatever `log.level` says.
    pub(super) fn span(&self, inbox_id: InboxId) -> Span {
        let origin = self.origin();
        tracing::error_span!(
            "message",
            inbox_id,
            message_id = origin.message_id,
            conversation = origin.conversation,
            robot = origin.robot,
            request_id = origin.request_id,
        )
    }
}

impl Outgoing {
    /// Everything logged within names this delivery, and the message it answers.
    pub(super) fn span(&self, lane: &str) -> Span {
        let span = tracing::error_span!(
            "delivery",
            lane,
            message_id = Empty,
            conversation = Empty,
            robot = self.robot(),
            request_id = Empty,
        );
        if let Some(origin) = &self.origin {
            span.record("message_id", origin.message_id.as_deref());
            span.record("conversation", origin.conversation.as_deref());
            span.record("request_id", origin.request_id.as_deref());
        }
        span
    }

    /// The robot that says it: the name of a group's own robot, else the code of an application's.
    fn robot(&self) -> Option<&str> {
        let of_route = self.routes.iter().find_map(|route| match route {
            Route::GroupRobot { name } => Some(name.as_str()),
            Route::User { robot_code, .. } | Route::Group { robot_code, .. } => {
                robot_code.as_deref()
            }
            Route::Session { .. } => None,
        });
        of_route.or_else(|| self.origin.as_ref()?.robot.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a version wrote it that did not know of origins.
    fn kept_before(routes: &str) -> Outgoing {
        serde_json::from_str(&format!(r#"{{"title":"t","text":"t","routes":{routes}}}"#)).unwrap()
    }

    #[test]
    fn a_delivery_names_its_robot() {
        let push = kept_before(r#"[{"group_robot":{"name":"default"}}]"#);
        assert_eq!(push.robot(), Some("default"));
        let session = r#"{"session":{"url":"u","expires_at_millis":null}}"#;
        let person = r#"{"user":{"robot_code":"ding1","staff_id":"s"}}"#;
        assert_eq!(kept_before(&format!("[{session},{person}]")).robot(), Some("ding1"));
        let mut answer = kept_before(&format!("[{session}]"));
        assert_eq!(answer.robot(), None);
        answer.origin = Some(Origin { robot: Some("ding2".into()), ..Origin::default() });
        assert_eq!(answer.robot(), Some("ding2"));
    }
}

//! Why a message was not delivered, and what DingTalk's codes mean for the sender.

use std::time::Duration;

/// Documented penalty of a custom robot that sent more than 20 messages in a minute.
const GROUP_ROBOT_PENALTY: Duration = Duration::from_secs(600);
/// Documented pause after a queries-per-second limit of an application.
const QPS_PAUSE: Duration = Duration::from_secs(1);
/// Longest part of DingTalk's own words that is kept in an error, in characters.
const DETAIL_CHARS: usize = 300;

/// What kind of failure it was; it decides whether, when and how the message is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendErrorKind {
    /// The session webhook is past its time: another way to the person is needed.
    Expired,
    /// Never deliverable this way: bad signature or token, robot stopped, group dissolved,
    /// permission missing, destination not allowed, person unknown.
    Refused,
    /// Over DingTalk's size limit.
    TooLarge,
    /// DingTalk's content check refused the text.
    Content,
    /// Sent too fast.
    RateLimited {
        /// How long DingTalk stays closed, where that is known.
        retry_after: Option<Duration>,
    },
    /// The organisation's monthly number of calls is used up.
    Quota,
    /// The other side or the way to it is out of order: worth another try.
    Temporary,
}

impl SendErrorKind {
    /// The value of the metric label `outcome`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Content => "content",
            Self::RateLimited { .. } => "rate_limited",
            Self::Quota => "quota",
            Self::Temporary => "temporary",
        }
    }
}

/// A message that was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// What the sender acts on.
    pub kind: SendErrorKind,
    /// What happened, for the operator; never holds a token, a secret or a session.
    pub detail: String,
}

/// What DingTalk has against the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// `client_id` and `client_secret` do not open the OpenAPI.
    #[error("{0}")]
    Credentials(SendError),
    /// There is no robot of this `robot_code`, or it is stopped.
    #[error("{0}")]
    Robot(SendError),
    /// The application may not send a robot's messages.
    #[error("{0}")]
    Permission(SendError),
    /// Nothing: there was no answer that tells.
    #[error("{0}")]
    Other(SendError),
}

impl SendError {
    pub(super) fn new(kind: SendErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// Whether sending the same message the same way again cannot succeed.
    pub fn is_permanent(&self) -> bool {
        match self.kind {
            SendErrorKind::Expired
            | SendErrorKind::Refused
            | SendErrorKind::TooLarge
            | SendErrorKind::Content => true,
            SendErrorKind::RateLimited { .. } | SendErrorKind::Quota | SendErrorKind::Temporary => {
                false
            }
        }
    }

    /// The same error fit to be shown, whatever the other side put into its answer: every one of
    /// `secrets` blotted out, on one line, of bounded length.
    pub(super) fn presentable(self, secrets: &[&str]) -> Self {
        let mut detail = self.detail;
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            detail = detail.replace(secret, "***");
        }
        let detail = detail.replace(char::is_control, " ").chars().take(DETAIL_CHARS).collect();
        Self { kind: self.kind, detail }
    }
}

/// Which surface of `oapi.dingtalk.com` answered; some codes mean different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Webhook {
    /// `robot/sendBySession`.
    Session,
    /// `robot/send`.
    GroupRobot,
}

/// The meaning of an `errcode` other than 0.
///
/// Codes: "custom robot" and "global error codes" in the open platform's documentation; 300001
/// as observed for an expired session. A code nobody has seen counts as temporary: the number of
/// tries has an end, and nothing is given up for a code that may well pass.
pub(super) fn kind_of_errcode(webhook: Webhook, code: i64) -> SendErrorKind {
    match code {
        300001 if webhook == Webhook::Session => SendErrorKind::Expired,
        130101 | 410100 => SendErrorKind::RateLimited {
            retry_after: (webhook == Webhook::GroupRobot).then_some(GROUP_ROBOT_PENALTY),
        },
        90002 | 90018 => SendErrorKind::RateLimited { retry_after: Some(QPS_PAUSE) },
        90020 => SendErrorKind::Quota,
        460101 | 101002 => SendErrorKind::TooLarge,
        430101..=430104 => SendErrorKind::Content,
        88 | 40014 | 40035 | 43004 | 300001 | 300005 | 310000 | 400013 | 400101 | 400102
        | 400105 | 400106 => SendErrorKind::Refused,
        _ => SendErrorKind::Temporary,
    }
}

/// The meaning of the `code` of an error answer of `api.dingtalk.com`.
///
/// `status` counts only for a code that is not known: a 4xx is the request's fault, anything else
/// may pass.
pub(super) fn kind_of_openapi_code(code: &str, status: u16) -> SendErrorKind {
    let lower = code.to_ascii_lowercase();
    // Before the families: `Forbidden.AccessDenied.QpsLimitForApi` is no matter of permission.
    if lower.contains("qpslimit") {
        return SendErrorKind::RateLimited { retry_after: Some(QPS_PAUSE) };
    }
    if lower.contains("apicountlimit") {
        return SendErrorKind::Quota;
    }
    if lower.ends_with("toofast") || lower.ends_with("too.fast") || lower.contains("throttling") {
        return SendErrorKind::RateLimited { retry_after: None };
    }
    if lower.ends_with("toolong") {
        return SendErrorKind::TooLarge;
    }
    match lower.as_str() {
        "session.expired" => SendErrorKind::Expired,
        "systemerror" | "unknownerror" | "serviceunavailable" => SendErrorKind::Temporary,
        _ if status == 429 => SendErrorKind::RateLimited { retry_after: None },
        _ if (400..500).contains(&status) => SendErrorKind::Refused,
        _ => SendErrorKind::Temporary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_can_mean_two_things() {
        assert_eq!(kind_of_errcode(Webhook::Session, 300001), SendErrorKind::Expired);
        assert_eq!(kind_of_errcode(Webhook::GroupRobot, 300001), SendErrorKind::Refused);
        assert_eq!(
            kind_of_errcode(Webhook::GroupRobot, 410100),
            SendErrorKind::RateLimited { retry_after: Some(Duration::from_secs(600)) }
        );
        assert_eq!(
            kind_of_errcode(Webhook::Session, 410100),
            SendErrorKind::RateLimited { retry_after: None }
        );
    }

    #[test]
    fn an_unknown_code_is_tried_again() {
        assert_eq!(kind_of_errcode(Webhook::Session, -1), SendErrorKind::Temporary);
        assert_eq!(kind_of_errcode(Webhook::Session, 987_654), SendErrorKind::Temporary);
    }

    #[test]
    fn openapi_codes_decide_before_the_status() {
        let kind = |code| kind_of_openapi_code(code, 403);
        assert!(matches!(
            kind("Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"),
            SendErrorKind::RateLimited { .. }
        ));
        assert_eq!(kind("Forbidden.AccessDenied.ApiCountLimitForOrg"), SendErrorKind::Quota);
        assert!(matches!(kind("send.byToken.tooFast"), SendErrorKind::RateLimited { .. }));
        assert!(matches!(kind("send.too.fast"), SendErrorKind::RateLimited { .. }));
        assert_eq!(kind("invalidParameter.msgParam.tooLong"), SendErrorKind::TooLarge);
        assert_eq!(kind("staffId.notExisted"), SendErrorKind::Refused);
        assert_eq!(kind("systemError"), SendErrorKind::Temporary);
        assert_eq!(kind_of_openapi_code("robot.down", 503), SendErrorKind::Temporary);
    }

    #[test]
    fn a_detail_is_one_bounded_line_without_the_secret() {
        let long = format!("token s3cr3t is bad\n{}", "x".repeat(1_000));
        let error = SendError::new(SendErrorKind::Refused, long).presentable(&["s3cr3t", ""]);
        assert!(error.detail.starts_with("token *** is bad xxx"));
        assert!(error.detail.chars().count() <= DETAIL_CHARS);
    }
}

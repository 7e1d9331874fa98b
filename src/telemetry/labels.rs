//! The closed sets that label values come from.
//!
//! Every combination of them is there from the start, at 0: a rate over a counter that appears
//! with its first increment misses that increment, and an alert on a series that is absent is
//! silent. The labels of `dingbot_http_requests_total` are the exception: most combinations of
//! route, method and code never occur.

/// `transport` of messages received.
pub(super) const TRANSPORTS: &[&str] = &["webhook"];

/// `reason` of callbacks refused or ignored.
pub(super) const REJECTIONS: &[&str] = &[
    "signature_missing",
    "signature_malformed",
    "signature_skew",
    "signature_mismatch",
    "unsigned",
    "content_type",
    "body",
    "malformed",
    "session_webhook",
    "over_quota",
    "duplicate",
    "inbox_full",
    "store",
    "unanswered",
];

/// `outcome` of messages handled.
pub(super) const HANDLED: &[&str] = &[
    "answered",
    "offline",
    "command",
    "unusable",
    "refused",
    "too_long",
    "model_failed",
    "failed",
    "unreadable",
    "nobody",
    "over_quota",
];
/// Those of [`HANDLED`] that are not what the person hoped for, through no fault of the message.
pub(super) const UNANSWERED: &[&str] = &["model_failed", "failed", "unreadable"];

/// `state` of messages in the inbox.
pub(super) const INBOX: &[&str] = &["pending"];
/// `state` of deliveries in the outbox.
pub(super) const OUTBOX: &[&str] = &["waiting", "dead"];
/// `outcome` of attempts at a delivery.
pub(super) const DELIVERIES: &[&str] = &["delivered", "failed", "held", ABANDONED];
/// The one of [`DELIVERIES`] after which there is no other attempt.
pub(super) const ABANDONED: &str = "abandoned";

/// `api` of requests to DingTalk.
pub(super) const DINGTALK_APIS: &[&str] =
    &["session_webhook", "group_robot", "access_token", "user_message", "group_message"];
/// `outcome` of requests to DingTalk.
pub(super) const DINGTALK_OUTCOMES: &[&str] =
    &["ok", "expired", "refused", "too_large", "content", "rate_limited", "quota", "temporary"];

/// `operation` of requests to the model.
pub(super) const LLM_OPERATIONS: &[&str] = &["chat", "embedding"];
/// `outcome` of requests to the model.
pub(super) const LLM_OUTCOMES: &[&str] = &[
    "ok",
    "renegotiated",
    "timeout",
    "unreachable",
    "rate_limited",
    "unauthorized",
    "model_not_found",
    "context_too_long",
    "refused",
    "bad_request",
    "server_error",
    "bad_answer",
];
/// `kind` of tokens.
pub(super) const TOKENS: &[&str] = &["prompt", "completion"];

/// `operation` on long-term memory.
pub(super) const MEMORY_OPERATIONS: &[&str] = &[
    "remember",
    "observe",
    "extract",
    "profile",
    "recall",
    "forget",
    "forget_all",
    "add",
    "search",
    "update",
    "delete",
];
/// `outcome` of what either works or fails.
pub(super) const OK_OR_ERROR: &[&str] = &["ok", "error"];

/// `outcome` of Alertmanager's notifications: taken, or why not.
pub(super) const ALERT_NOTIFICATIONS: &[&str] = &[
    "accepted",
    "repeated",
    "key_missing",
    "key_wrong",
    "credentials_unknown",
    "unknown_robot",
    "content_type",
    "too_large",
    "body",
    "malformed",
    "outbox_full",
    "store",
    "panic",
];
/// `status` of alerts.
pub(super) const ALERTS: &[&str] = &["firing", "resolved"];

/// `reason` of connections closed.
pub(super) const CLOSED: &[&str] = &["limit", "idle", "header_timeout"];

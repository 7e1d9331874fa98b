//! The conversation: from an accepted message to a delivered answer.
//!
//! ```text
//! inbox ─► worker ─► responder ─┬─ commands ─► memory, reminders
//!                               └─ reply ────► memory, model
//!            │
//!            └─► outbox ─► courier ─► DingTalk          settler ─► memory
//! reminders ─────┤
//! alerts ────────┘
//! ```
//!
//! Promises: what [`inbox::Inbox::accept`] took is on disk and is answered once, in its
//! conversation's order; the answer and the mark that it was answered are one transaction; what
//! waits for delivery outlives the process. Knows nothing of HTTP servers, warp or SQL.

pub mod alerts;
pub mod commands;
mod courier;
mod housekeeping;
pub mod inbox;
mod lanes;
pub mod message;
pub mod origin;
pub mod outgoing;
mod phrases;
mod prompt;
mod reminders;
mod reply;
pub mod responder;
mod settler;
pub mod worker;

pub use alerts::Alerts;
pub use courier::{Courier, Mailbox};
pub use housekeeping::Housekeeping;
pub use inbox::{Inbox, Receipt, Rejection};
pub use message::Message;
pub use reminders::{Alarm, Reminders};
pub use responder::Responder;
pub use settler::Settler;
pub use worker::Worker;

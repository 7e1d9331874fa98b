//! `POST /robot/sendBySession?session=`: the answer to a callback.
//!
//! Codes: 300001 for a session that is unknown or expired is a field report; the others are those
//! of the custom robot, whose message types the page "receive-message" refers to.

use super::content::{Content, Via};
use super::{Errcode, State, lock};
use crate::support::server::Received;

/// A session, opened by a callback.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The conversation's id.
    pub(super) conversation: String,
    /// When it ends, in milliseconds since the Unix epoch by the simulator's clock.
    pub(super) expires: i64,
}

pub(super) fn send(state: &State, request: &Received) -> Result<(), Errcode> {
    let session = request.parameter("session").unwrap_or_default();
    if !request.declares_json() {
        return Err(Errcode(43004, "无效的 HTTP HEADER Content-Type"));
    }
    let known = lock(&state.sessions).get(&session).cloned();
    let Some(Session { conversation, .. }) = known.filter(|known| state.now() < known.expires)
    else {
        return Err(Errcode(300001, "session 不存在"));
    };
    let content = Content::read(&request.body)?;
    let via = Via::Session { session, conversation };
    state.messages.push(content.into_message(via, state.now(), &request.body));
    Ok(())
}

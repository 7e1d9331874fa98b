//! `POST /robot/send?access_token=&timestamp=&sign=`: a group's custom robot.
//!
//! Follows "custom-robot-access": HTTP 200 whatever happens, the signature's timestamp within one
//! hour, 20 messages a minute and then ten minutes without any, `msgUuid` making a repetition
//! harmless. Where the page is silent the stricter reading is taken: the minute is a sliding one,
//! and a repetition counts towards it.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;

use super::content::{Content, Via};
use super::{Errcode, State, callback, lock};
use crate::support::server::Received;

/// Most messages in [`WINDOW`].
const LIMIT: usize = 20;
/// Milliseconds over which messages are counted.
const WINDOW: i64 = 60_000;
/// Milliseconds without any message for a robot that sent too many.
const BLOCK: i64 = 600_000;
/// Milliseconds by which a signature's timestamp may be off.
const SKEW: i64 = 3_600_000;

/// A custom robot and its recent past.
#[derive(Debug)]
pub(super) struct GroupRobot {
    secret: Option<String>,
    sent: VecDeque<i64>,
    blocked_until: i64,
    uuids: HashSet<String>,
}

impl GroupRobot {
    pub(super) fn new(secret: Option<String>) -> Self {
        Self { secret, sent: VecDeque::new(), blocked_until: i64::MIN, uuids: HashSet::new() }
    }

    /// Checks the signature in the query.
    fn verify(&self, request: &Received, now: i64) -> Result<(), Errcode> {
        let Some(secret) = &self.secret else { return Ok(()) };
        let timestamp = request.parameter("timestamp").unwrap_or_default();
        match timestamp.parse::<i64>() {
            Ok(millis) if (now - millis).abs() <= SKEW => {}
            _ => return Err(Errcode(310000, "invalid timestamp")),
        }
        if request.parameter("sign").as_deref() == Some(&*callback::sign(&timestamp, secret)) {
            return Ok(());
        }
        Err(Errcode(
            310000,
            "description:机器人发送签名不匹配;solution:请确认签名和生成签名的时间戳必须都放在\
             调用的网址中，请确认机器人的密钥加密和填写正确;",
        ))
    }

    /// Counts one message at `now`.
    fn admit(&mut self, now: i64) -> Result<(), Errcode> {
        const TOO_FAST: Errcode = Errcode(410100, "发送速度太快而限流");
        if now < self.blocked_until {
            return Err(TOO_FAST);
        }
        while self.sent.front().is_some_and(|sent| now - sent >= WINDOW) {
            self.sent.pop_front();
        }
        if self.sent.len() >= LIMIT {
            self.blocked_until = now + BLOCK;
            return Err(TOO_FAST);
        }
        self.sent.push_back(now);
        Ok(())
    }
}

pub(super) fn send(state: &State, request: &Received) -> Result<(), Errcode> {
    let Some(token) = request.parameter("access_token") else {
        return Err(Errcode(40035, "缺少参数 access_token"));
    };
    let now = state.now();
    let mut robots = lock(&state.robots);
    let Some(robot) = robots.get_mut(&token) else {
        return Err(Errcode(300005, "token is not exist"));
    };
    if !request.declares_json() {
        return Err(Errcode(43004, "无效的 HTTP HEADER Content-Type"));
    }
    robot.verify(request, now)?;
    let content = Content::read(&request.body)?;
    robot.admit(now)?;
    if let Some(uuid) = &content.uuid
        && !robot.uuids.insert(uuid.clone())
    {
        state.duplicates.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    drop(robots);
    state.messages.push(content.into_message(Via::GroupRobot(token), now, &request.body));
    Ok(())
}

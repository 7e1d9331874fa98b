//! The courier: takes what waits in the outbox to DingTalk, until it has arrived or is hopeless.
//!
//! Each lane is one destination and keeps its order; different lanes go side by side. What came to
//! DingTalk and was not yet marked delivered when the process is killed is sent again: at least
//! once, and exactly once where the destination knows the idempotency key.

mod pace;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::pace::{MAX_ATTEMPTS, QUOTA_WAIT, is_due, millis, wait_after};
use super::lanes::Lanes;
use super::outgoing::{self, Outgoing, Route};
use crate::dingtalk::{DingTalk, Message, SendError, SendErrorKind, markdown};
use crate::live::Live;
use crate::store::{Delivery, OutboxId, Result, Store};
use crate::telemetry::clock::Clock;
use crate::telemetry::health::{Health, Status};
use crate::telemetry::metrics::Metrics;

/// Lanes served at a time.
const MAX_LANES: usize = 64;
/// Lanes that wait for a place in memory.
const MAX_WAITING: usize = 10_000;
/// How often the outbox is looked through for what is due, or was revived by an operator.
const SWEEP: Duration = Duration::from_secs(1);
/// How long to rest when the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a delivery may be held back by a limit before it is given up.
const MAX_AGE_MILLIS: i64 = 3 * 24 * 60 * 60 * 1_000;
/// How long a lane rests when DingTalk says "too fast" and not how long.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(60);

/// A custom robot may send 20 messages a minute, else it is shut out for ten. The window is a
/// little longer than a minute: messages may come closer together than they were sent.
const ROBOT_WINDOW_MILLIS: i64 = 63_000;
const ROBOT_LIMIT: u32 = 20;
/// Pushes merged into one message; DingTalk mentions at most 50 people.
const MAX_MERGED: usize = 40;

/// Tells the courier that a lane has something new.
#[derive(Debug, Clone)]
pub struct Mailbox {
    lanes: mpsc::UnboundedSender<String>,
}

impl Mailbox {
    /// A mailbox, and the end of it for [`Courier::run`].
    pub fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (lanes, receiver) = mpsc::unbounded_channel();
        (Self { lanes }, receiver)
    }

    /// Something was put into this lane.
    pub fn notify(&self, lane: String) {
        // If the courier has ended, the lane waits on disk for the next one.
        let _ = self.lanes.send(lane);
    }
}

/// Delivers.
#[derive(Debug, Clone)]
pub struct Courier {
    /// Where deliveries wait.
    pub store: Arc<dyn Store>,
    /// Where they go.
    pub dingtalk: Live<DingTalk>,
    /// The present time.
    pub clock: Clock,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Told how it stands with DingTalk.
    pub health: Arc<Health>,
}

/// What became of an attempt.
enum Attempt {
    Delivered,
    /// Not by any route, ever.
    Hopeless(SendError),
    /// Try again after the usual wait.
    Failed(SendError),
    /// Not tried, or refused for haste: wait that long, and do not count it.
    Held(Duration, String),
}

/// What becomes of deliveries after it.
enum Verdict {
    Delivered,
    Bury(String),
    /// Until when, and why.
    Postpone(i64, String),
    /// Until when.
    Hold(i64),
}

impl Verdict {
    /// Its word in the metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Bury(_) => "abandoned",
            Self::Postpone(..) => "failed",
            Self::Hold(_) => "held",
        }
    }
}

impl Courier {
    /// Delivers until `finish`: then only what has arrived by now is delivered, and what is due
    /// behind it. After `stop` what is under way is finished and nothing else is begun.
    pub async fn run(
        self,
        mut arrivals: mpsc::UnboundedReceiver<String>,
        finish: CancellationToken,
        stop: CancellationToken,
    ) {
        let mut finishing = false;
        let mut active = Lanes::default();
        // Lanes that wait for a place. Those it has no room for wait on disk for a sweep.
        let mut waiting: VecDeque<String> = VecDeque::new();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !(finishing && active.len() == 0 && waiting.is_empty() && arrivals.is_empty()) {
            let lanes = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = finish.cancelled(), if !finishing => {
                    finishing = true;
                    continue;
                }
                Some(again) = active.next_ended() => again.into_iter().collect(),
                _ = sweep.tick(), if waiting.is_empty() && !finishing => self.due_lanes().await,
                Some(lane) = arrivals.recv() => vec![lane],
            };
            for lane in lanes {
                if active.contains(&lane) {
                    self.begin(&mut active, lane, &stop);
                } else if waiting.len() < MAX_WAITING {
                    waiting.push_back(lane);
                }
            }
            while active.len() < MAX_LANES
                && let Some(lane) = waiting.pop_front()
            {
                self.begin(&mut active, lane, &stop);
            }
        }
        active.finish().await;
    }

    fn begin(&self, active: &mut Lanes, lane: String, stop: &CancellationToken) {
        let (courier, stop) = (self.clone(), stop.clone());
        active.begin(lane, |lane| async move { courier.serve(&lane, &stop).await });
    }

    async fn due_lanes(&self) -> Vec<String> {
        let now = self.clock.now_millis();
        match self.store.waiting_lanes(MAX_LANES).await {
            Ok(lanes) => {
                lanes.into_iter().filter(|(_, at)| is_due(*at, now)).map(|(lane, _)| lane).collect()
            }
            Err(error) => {
                tracing::error!(%error, error_kind = error.kind(), "the outbox cannot be read");
                Vec::new()
            }
        }
    }

    /// Delivers what waits in a lane, until nothing is left or its first has to wait.
    async fn serve(&self, lane: &str, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            // A panic over one delivery must not stop its lane, nor come back for ever.
            let delivered = AssertUnwindSafe(self.deliver_head(lane, stop)).catch_unwind().await;
            let delivered = match delivered {
                Ok(delivered) => delivered,
                Err(_) => self.bury_head(lane).await,
            };
            match delivered {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let error_kind = error.kind();
                    tracing::error!(
                        lane,
                        %error,
                        error_kind,
                        "the outbox cannot be worked on; trying again"
                    );
                    return;
                }
            }
        }
    }

    /// Delivers the first of a lane; `false`: there is none, or it has to wait.
    async fn deliver_head(&self, lane: &str, stop: &CancellationToken) -> Result<bool> {
        let limit = if outgoing::is_mergeable(lane) { MAX_MERGED } else { 1 };
        let head = self.store.lane_head(lane, limit).await?;
        let now = self.clock.now_millis();
        let Some(first) = head.first().filter(|d| is_due(d.next_attempt_at, now)) else {
            return Ok(false);
        };
        let (age, attempts) = (now - first.created_at, first.attempts);
        let (head, message) = match compose(head) {
            Ok(composed) => composed,
            Err(unreadable) => {
                tracing::error!(
                    lane,
                    outbox_ids = ?[unreadable],
                    error_kind = "unreadable",
                    "a kept delivery cannot be read; it is given up"
                );
                self.store.bury(&[unreadable], "cannot be read").await?;
                self.metrics.deliveries.with_label_values(&["abandoned"]).inc();
                return Ok(true);
            }
        };
        let ids: Vec<OutboxId> = head.iter().map(|d| d.id).collect();
        let key = head[0].batch.clone().unwrap_or_else(|| head[0].uuid.clone());
        let open = (outgoing::is_mergeable(lane) && head[0].batch.is_none()).then_some(&ids[..]);
        let span = message.span(lane);
        let attempt = self.attempt(&message, &key, open).instrument(span.clone()).await?;
        span.in_scope(|| self.report(&ids, &attempt, &message));
        let verdict = self.judge(attempt, attempts, age);
        // What was sent must not be sent again because the store cannot take that down for now.
        while let Err(error) = self.carry_out(&verdict, &ids).await {
            span.in_scope(|| {
                tracing::error!(
                    %error,
                    error_kind = error.kind(),
                    "what became of a delivery cannot be kept; trying again"
                );
            });
            tokio::select! {
                () = stop.cancelled() => return Err(error),
                () = tokio::time::sleep(STORE_PAUSE) => {}
            }
        }
        let outcome = self.metrics.deliveries.with_label_values(&[verdict.label()]);
        outcome.inc_by(ids.len() as u64);
        Ok(matches!(verdict, Verdict::Delivered | Verdict::Bury(_)))
    }

    async fn bury_head(&self, lane: &str) -> Result<bool> {
        tracing::error!(
            lane,
            error_kind = "panic",
            "a delivery made the courier panic; it is given up"
        );
        let head = self.store.lane_head(lane, 1).await?;
        let ids: Vec<OutboxId> = head.iter().map(|d| d.id).collect();
        self.store.bury(&ids, "made the courier panic: please report this").await?;
        self.metrics.deliveries.with_label_values(&["abandoned"]).inc_by(ids.len() as u64);
        Ok(!ids.is_empty())
    }

    /// Tells the log, health and metrics of an attempt.
    fn report(&self, ids: &[OutboxId], attempt: &Attempt, message: &Outgoing) {
        match attempt {
            Attempt::Delivered => {
                if let Some(asked_at) = message.asked_at {
                    let waited = (self.clock.now_millis() - asked_at).max(0);
                    self.metrics.reply_duration.observe(waited as f64 / 1_000.0);
                }
                self.health.set("dingtalk", Status::Ok, "answers arrive");
                tracing::debug!(outbox_ids = ?ids, "delivered");
            }
            Attempt::Hopeless(error) => {
                let error_kind = error.kind.label();
                tracing::warn!(outbox_ids = ?ids, %error, error_kind, "delivery given up");
            }
            Attempt::Failed(error) => {
                self.health.set("dingtalk", Status::Degraded, error.detail.clone());
                let error_kind = error.kind.label();
                tracing::warn!(outbox_ids = ?ids, %error, error_kind, "delivery failed");
            }
            Attempt::Held(wait, why) => {
                let wait_seconds = wait.as_secs();
                let error_kind = "held_back";
                tracing::info!(
                    outbox_ids = ?ids,
                    error = why,
                    error_kind,
                    wait_seconds,
                    "delivery held back"
                );
            }
        }
    }

    /// What becomes of deliveries after an attempt, their `attempts` before it and their `age`.
    fn judge(&self, attempt: Attempt, attempts: u32, age: i64) -> Verdict {
        // The attempt itself took time.
        let now = self.clock.now_millis();
        match attempt {
            Attempt::Delivered => Verdict::Delivered,
            Attempt::Hopeless(error) => Verdict::Bury(error.detail),
            Attempt::Failed(error) if attempts + 1 >= MAX_ATTEMPTS => Verdict::Bury(error.detail),
            Attempt::Held(_, why) if age > MAX_AGE_MILLIS => Verdict::Bury(why),
            Attempt::Failed(error) => {
                Verdict::Postpone(now + millis(wait_after(attempts)), error.detail)
            }
            Attempt::Held(wait, _) => Verdict::Hold(now + millis(wait)),
        }
    }

    async fn carry_out(&self, verdict: &Verdict, ids: &[OutboxId]) -> Result<()> {
        match verdict {
            Verdict::Delivered => self.store.delivered(ids).await,
            Verdict::Bury(why) => self.store.bury(ids, why).await,
            Verdict::Postpone(at, why) => self.store.postpone(ids, *at, why).await,
            Verdict::Hold(at) => self.store.hold(ids, *at).await,
        }
    }

    /// Tries the routes in turn, as long as one cannot work at all. `open` are the deliveries of a
    /// message that could still grow.
    async fn attempt(
        &self,
        message: &Outgoing,
        key: &str,
        mut open: Option<&[OutboxId]>,
    ) -> Result<Attempt> {
        let mut hopeless = None;
        for route in &message.routes {
            let now = self.clock.now_millis();
            if let Route::GroupRobot { name } = route {
                let sender = format!("robot:{name}");
                let free =
                    self.store.reserve_send(&sender, now, ROBOT_WINDOW_MILLIS, ROBOT_LIMIT).await?;
                if let Err(at) = free {
                    let wait = Duration::from_millis((at - now).max(0).unsigned_abs());
                    return Ok(Attempt::Held(wait, "the group robot's minute is full".into()));
                }
            }
            if let Some(ids) = open.take() {
                // On disk before it is sent, also when it is a single one: the next attempt must be
                // the same message. What was added under a key that had arrived would be taken for
                // a repetition and be lost.
                self.store.batch(ids, key).await?;
            }
            let Err(error) = self.send(route, message, key, now).await else {
                return Ok(Attempt::Delivered);
            };
            match error.kind {
                SendErrorKind::RateLimited { retry_after } => {
                    let wait = retry_after.unwrap_or(RATE_LIMIT_WAIT);
                    return Ok(Attempt::Held(wait, error.detail));
                }
                SendErrorKind::Quota => return Ok(Attempt::Held(QUOTA_WAIT, error.detail)),
                _ if !error.is_permanent() => return Ok(Attempt::Failed(error)),
                // The first reason says most: later routes fail for want of configuration.
                _ => hopeless = hopeless.or(Some(error)),
            }
        }
        let none = || SendError {
            kind: SendErrorKind::Refused,
            detail: "there is no way to deliver it".into(),
        };
        Ok(Attempt::Hopeless(hopeless.unwrap_or_else(none)))
    }

    async fn send(
        &self,
        route: &Route,
        outgoing: &Outgoing,
        key: &str,
        now: i64,
    ) -> std::result::Result<(), SendError> {
        let message = Message {
            title: outgoing.title.clone(),
            text: outgoing.text.clone(),
            mention: outgoing.mention.clone(),
        };
        // One try goes one way: with the settings of its beginning.
        let dingtalk = self.dingtalk.get();
        match route {
            Route::Session { expires_at_millis: Some(at), .. } if *at <= now => Err(SendError {
                kind: SendErrorKind::Expired,
                detail: "the session webhook has expired, and client_id and client_secret are \
                         needed for another way"
                    .into(),
            }),
            Route::Session { url, .. } => dingtalk.send_to_session(url, &message).await,
            Route::User { .. } | Route::Group { .. } if !dingtalk.has_openapi() => Err(SendError {
                kind: SendErrorKind::Refused,
                detail: "dingtalk.client_id and dingtalk.client_secret are not both set".into(),
            }),
            Route::User { robot_code, staff_id } => {
                dingtalk.send_to_user(robot_code.as_deref(), staff_id, &message).await
            }
            Route::Group { robot_code, conversation_id } => {
                dingtalk.send_to_group(robot_code.as_deref(), conversation_id, &message).await
            }
            Route::GroupRobot { name } => dingtalk.send_by_group_robot(name, &message, key).await,
        }
    }
}

/// One message of the first deliveries, as many as fit one, and which they are. An error names one
/// that cannot be read.
fn compose(head: Vec<Delivery>) -> std::result::Result<(Vec<Delivery>, Outgoing), OutboxId> {
    let fixed = head.first().is_some_and(|d| d.batch.is_some());
    let mut parts: Vec<(Outgoing, u32)> = Vec::with_capacity(head.len());
    let mut taken = Vec::with_capacity(head.len());
    let mut bytes = 0;
    for delivery in head {
        let outgoing: Outgoing =
            serde_json::from_str(&delivery.payload).map_err(|_| delivery.id)?;
        bytes += delivery.payload.len();
        let fits = bytes <= markdown::PART_BYTES
            && parts.first().is_none_or(|(first, _)| first.routes == outgoing.routes);
        if !fixed && !parts.is_empty() && !fits {
            break;
        }
        parts.push((outgoing, delivery.occurrences));
        taken.push(delivery);
    }
    let first = taken.first().map_or(0, |d| d.id);
    outgoing::merged(parts).map(|message| (taken, message)).ok_or(first)
}

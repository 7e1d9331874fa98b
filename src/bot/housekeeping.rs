//! Housekeeping: what is no longer needed goes, and the gauges tell what is there.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use crate::live::Live;
use crate::llm::ChatModel;
use crate::store::{Result, Store, StoreError};
use crate::telemetry::clock::Clock;
use crate::telemetry::health::{Health, Status};
use crate::telemetry::metrics::Metrics;

/// How often the gauges are brought up to date.
const GAUGES: Duration = Duration::from_secs(5);
/// Gauge rounds between two prunings.
const PRUNE_EVERY: u32 = 60;
/// How long a message's key is kept: a replay carries a signature of at most two hours' age.
const KEYS_KEPT_MILLIS: i64 = 24 * 60 * 60 * 1_000;
/// How long turns of a conversation are kept.
const TURNS_KEPT_MILLIS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// How long what could not be delivered is kept for an operator.
const DEAD_KEPT_MILLIS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// How long it is told what became of a message that was made into memories.
const JOBS_KEPT_MILLIS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Rows forgotten at a time, so that a message never waits long for the writer.
const PRUNE_ROWS: usize = 1_000;
/// How long the writer is left to others between two rounds of pruning.
const PRUNE_PAUSE: Duration = Duration::from_millis(50);
/// Age of the oldest unanswered message at which the bot calls itself degraded.
const SLOW_INBOX_MILLIS: i64 = 5 * 60 * 1_000;

/// Prunes and measures.
#[derive(Debug)]
pub struct Housekeeping {
    /// What is pruned and measured.
    pub store: Arc<dyn Store>,
    /// Asked whether it takes messages.
    pub inbox: Inbox,
    /// The present time.
    pub clock: Clock,
    /// The gauges.
    pub metrics: Arc<Metrics>,
    /// Told how it stands with inbox, outbox, store and model.
    pub health: Arc<Health>,
    /// Without one: offline.
    pub model: Live<Option<Arc<ChatModel>>>,
}

impl Housekeeping {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.verify(&stop), self.go_round(&stop));
    }

    async fn go_round(&self, stop: &CancellationToken) {
        let mut tick = tokio::time::interval(GAUGES);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.measure().await {
                tracing::error!(%error, error_kind = error.kind(), "the store cannot be measured");
            }
            // A store that could not be written may be again; while it cannot, no message comes
            // in to find out.
            if self.health.snapshot().fatal.is_some() {
                let _ = self.store.probe().await;
            }
            if round % PRUNE_EVERY == 0
                && let Err(error) = self.prune(stop).await
            {
                tracing::error!(%error, error_kind = error.kind(), "the store cannot be pruned");
            }
            round = round.wrapping_add(1);
        }
    }

    /// Reads the store for damage once, after the start, which does not wait for it.
    async fn verify(&self, stop: &CancellationToken) {
        let verified = tokio::select! {
            () = stop.cancelled() => return,
            verified = self.store.verify() => verified,
        };
        match verified {
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, error_kind = error.kind(), "the store is damaged");
                // A name of its own: a write that succeeds does not make this well again.
                self.health.set("store_integrity", Status::Error, error.to_string());
            }
            Err(error) => {
                tracing::error!(%error, error_kind = error.kind(), "the store could not be verified");
            }
            Ok(()) => self.health.set("store_integrity", Status::Ok, "no damage found"),
        }
    }

    async fn measure(&self) -> Result<()> {
        match self.model.get().as_ref() {
            Some(model) if model.is_open() => {
                self.health.set("model", Status::Degraded, "the model kept failing; see the log");
            }
            Some(_) => self.health.set("model", Status::Ok, "the model is asked"),
            None => self.health.set("model", Status::Ok, "offline: no model is configured"),
        }
        let now = self.clock.now_millis();
        let inbox = self.store.inbox_depth().await?;
        let age = inbox.oldest_received_at.map_or(0, |at| (now - at).max(0));
        self.metrics.inbox_messages.with_label_values(&["pending"]).set(inbox.pending as i64);
        self.metrics.inbox_oldest.set(age as f64 / 1_000.0);
        if self.inbox.is_full() {
            let full = format!("{} messages wait for an answer: no more are taken", inbox.pending);
            self.health.set("inbox", Status::Error, full);
        } else if age > SLOW_INBOX_MILLIS {
            let waits = format!("a message has waited {} s for its answer", age / 1_000);
            self.health.set("inbox", Status::Degraded, waits);
        } else {
            self.health.set("inbox", Status::Ok, "messages are answered");
        }
        let outbox = self.store.outbox_depth().await?;
        self.metrics.outbox_messages.with_label_values(&["waiting"]).set(outbox.waiting as i64);
        self.metrics.outbox_messages.with_label_values(&["dead"]).set(outbox.dead as i64);
        let age = outbox.oldest_created_at.map_or(0, |at| (now - at).max(0));
        self.metrics.outbox_oldest.set(age as f64 / 1_000.0);
        if outbox.dead > 0 {
            let dead = format!("{} undeliverable; see: dingbot outbox list", outbox.dead);
            self.health.set("outbox", Status::Degraded, dead);
        } else {
            self.health.set("outbox", Status::Ok, "answers are delivered");
        }
        self.metrics.memory_jobs.set(self.store.waiting_jobs().await? as i64);
        self.metrics.memories.set(self.store.total_memories().await? as i64);
        self.metrics.reminders.set(self.store.reminder_count().await? as i64);
        let room = self.store.room().await?;
        self.metrics.store_size.set(room.used as i64);
        self.metrics.store_disk_available.set(room.available as i64);
        self.metrics.store_disk_size.set(room.disk as i64);
        Ok(())
    }

    async fn prune(&self, stop: &CancellationToken) -> Result<()> {
        let now = self.clock.now_millis();
        loop {
            let pruned = [
                self.store.prune_inbox(now - KEYS_KEPT_MILLIS, PRUNE_ROWS).await?,
                self.store.prune_turns(now - TURNS_KEPT_MILLIS, PRUNE_ROWS).await?,
                self.store.prune_outbox(now - DEAD_KEPT_MILLIS, PRUNE_ROWS).await?,
                self.store.prune_jobs(now - JOBS_KEPT_MILLIS, PRUNE_ROWS).await?,
            ];
            if pruned[2] > 0 {
                tracing::warn!(
                    count = pruned[2],
                    "undeliverable messages of 30 days ago are dropped"
                );
            }
            if stop.is_cancelled() || pruned.iter().all(|rows| *rows < PRUNE_ROWS) {
                return Ok(());
            }
            // The writer is everybody's.
            tokio::time::sleep(PRUNE_PAUSE).await;
        }
    }
}

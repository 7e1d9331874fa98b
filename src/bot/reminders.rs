//! Reminders: said again and again, at their own interval.
//!
//! A reminder's times are fixed when it is made: made at noon for every hour, it is due on the
//! hour, however late one push was. After a pause of the process a missed one is said once, and
//! the next is the next of its times.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::courier::Mailbox;
use super::outgoing;
use crate::store::{Reminder, Result, Store};
use crate::telemetry::clock::Clock;

/// Longest sleep: the wall clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Reminders fired at a time.
const AT_A_TIME: usize = 256;
/// How long to rest when the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Wakes [`Reminders`] when there is a new one.
pub type Alarm = Arc<Notify>;

/// Puts reminders into the outbox when their time has come.
#[derive(Debug)]
pub struct Reminders {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// Told what is to be delivered.
    pub mailbox: Mailbox,
    /// The present time.
    pub clock: Clock,
    /// Rung when there is a new reminder.
    pub alarm: Alarm,
}

impl Reminders {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let pause = match self.fire_due(&stop).await {
                Ok(pause) => pause,
                Err(error) => {
                    let error_kind = error.kind();
                    tracing::error!(%error, error_kind, "reminders cannot be worked on; trying again");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.alarm.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Fires what is due; returns how long nothing more will be.
    async fn fire_due(&self, stop: &CancellationToken) -> Result<Duration> {
        self.store.realign_reminders(self.clock.now_millis()).await?;
        while !stop.is_cancelled() {
            let now = self.clock.now_millis();
            let due = self.store.due_reminders(now, AT_A_TIME).await?;
            if due.is_empty() {
                break;
            }
            // Side by side: the store writes them in one transaction.
            let fired = due.iter().map(|reminder| self.fire(reminder, now));
            for outcome in futures_util::future::join_all(fired).await {
                outcome?;
            }
        }
        let next = self.store.next_reminder_at().await?;
        let pause = next.map_or(LONGEST_SLEEP, |at| {
            Duration::from_millis((at - self.clock.now_millis()).max(0).unsigned_abs())
        });
        Ok(pause.min(LONGEST_SLEEP))
    }

    async fn fire(&self, reminder: &Reminder, now: i64) -> Result<()> {
        let Some(delivery) = outgoing::reminder(reminder, now) else {
            tracing::error!(
                reminder_id = reminder.id,
                error_kind = "unreadable",
                "a reminder's target cannot be read; skipped"
            );
            self.store.skip_reminder(reminder.id, next_time(reminder, now)).await?;
            return Ok(());
        };
        let lane = delivery.lane.clone();
        let next_at = next_time(reminder, now);
        if self.store.fire_reminder(reminder.id, reminder.next_at, next_at, delivery).await? {
            self.mailbox.notify(lane);
        }
        Ok(())
    }
}

/// The first of a reminder's times after `now`.
fn next_time(reminder: &Reminder, now: i64) -> i64 {
    let interval = reminder.interval_millis.max(1);
    let missed = (now - reminder.next_at).max(0) / interval;
    reminder.next_at.saturating_add(interval.saturating_mul(missed + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reminder(next_at: i64, interval_millis: i64) -> Reminder {
        Reminder {
            id: 1,
            user_id: "u".into(),
            number: 1,
            text: "x".into(),
            interval_millis,
            next_at,
            target: String::new(),
        }
    }

    #[test]
    fn times_stay_on_their_grid() {
        assert_eq!(next_time(&reminder(1_000, 500), 1_000), 1_500);
        assert_eq!(next_time(&reminder(1_000, 500), 1_499), 1_500);
        assert_eq!(next_time(&reminder(1_000, 500), 1_500), 2_000);
    }

    #[test]
    fn after_a_pause_the_missed_times_are_passed_over() {
        assert_eq!(next_time(&reminder(1_000, 500), 1_000_000_250), 1_000_000_500);
    }
}

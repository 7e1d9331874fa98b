//! What reminders need of a store.

use async_trait::async_trait;

use super::{NewDelivery, Result};

/// A reminder to be kept.
#[derive(Debug, Clone)]
pub struct NewReminder {
    /// Whose it is.
    pub user_id: String,
    /// What is to be said.
    pub text: String,
    /// Milliseconds between two of its times.
    pub interval_millis: i64,
    /// The first of its times.
    pub next_at: i64,
    /// Where it is to be said, in the words of the room above.
    pub target: String,
    /// What it was made from; the same source never makes a second one, not even when the first is
    /// removed.
    pub source: String,
    /// When it was made.
    pub created_at: i64,
}

/// A kept reminder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminder {
    /// Its key.
    pub id: i64,
    /// Whose it is.
    pub user_id: String,
    /// The small number its owner knows it by; one series with the owner's memories.
    pub number: i64,
    /// What is to be said.
    pub text: String,
    /// Milliseconds between two of its times.
    pub interval_millis: i64,
    /// The next of its times.
    pub next_at: i64,
    /// Where it is to be said.
    pub target: String,
}

/// What is said again and again.
#[async_trait]
pub trait ReminderStore {
    /// Keeps a reminder and returns its number; the same source returns the same number. `None`:
    /// its owner has `limit` of them already.
    async fn add_reminder(&self, reminder: NewReminder, limit: usize) -> Result<Option<i64>>;

    /// Puts reminders that are further off than their interval, because the clock was ahead, back
    /// to the first of their times after `now`.
    async fn realign_reminders(&self, now: i64) -> Result<()>;

    /// A person's reminders, by number.
    async fn reminders(&self, user_id: &str) -> Result<Vec<Reminder>>;

    /// Reminders whose time has come, earliest first.
    async fn due_reminders(&self, now: i64, limit: usize) -> Result<Vec<Reminder>>;

    /// The earliest time of any reminder.
    async fn next_reminder_at(&self) -> Result<Option<i64>>;

    /// Puts the delivery into the outbox and sets the reminder's next time, in one transaction.
    /// `false`: it was fired or removed meanwhile, and nothing was changed.
    async fn fire_reminder(
        &self,
        id: i64,
        expected_at: i64,
        next_at: i64,
        delivery: NewDelivery,
    ) -> Result<bool>;

    /// Sets a reminder's next time without saying anything.
    async fn skip_reminder(&self, id: i64, next_at: i64) -> Result<()>;

    /// Removes one of a person's reminders; `source` is what asked for it. `true`: it is gone, by
    /// this call or an earlier one of the same source.
    async fn remove_reminder(
        &self,
        user_id: &str,
        number: i64,
        source: &str,
        now: i64,
    ) -> Result<bool>;

    /// How many reminders there are.
    async fn reminder_count(&self) -> Result<usize>;
}

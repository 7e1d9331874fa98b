//! Refusals in the log, bounded.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How often a refusal is written to the log, so that an attacker cannot fill it.
const LOG_EVERY_MILLIS: i64 = 1_000;

/// Lets one refusal a second into the log, with how many were left out before it.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    last_millis: AtomicI64,
    unwritten: AtomicU64,
}

impl RefusalLog {
    /// `None`: not this one; else how many were left out before it.
    pub(super) fn admit(&self, now: i64) -> Option<u64> {
        let last = self.last_millis.load(Ordering::Relaxed);
        let due = (now - last).abs() >= LOG_EVERY_MILLIS;
        let won = due
            && self
                .last_millis
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if won {
            return Some(self.unwritten.swap(0, Ordering::Relaxed));
        }
        self.unwritten.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_a_second_is_logged() {
        let log = RefusalLog::default();
        assert_eq!(log.admit(10_000), Some(0));
        assert_eq!(log.admit(10_001), None);
        assert_eq!(log.admit(10_999), None);
        assert_eq!(log.admit(11_000), Some(2));
    }
}

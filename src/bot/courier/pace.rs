//! When a delivery is tried again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Failed attempts after which a delivery is given up; the waits between them are about an hour
/// together.
pub(super) const MAX_ATTEMPTS: u32 = 12;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// How long a lane rests when the month's quota is used up.
pub(super) const QUOTA_WAIT: Duration = Duration::from_secs(60 * 60);

/// Whether something may be tried at `now`. A time further off than any wait was set by a clock
/// that has been put back since.
pub(super) fn is_due(at: i64, now: i64) -> bool {
    at <= now || at - now > 2 * millis(QUOTA_WAIT)
}

/// The wait after a number of failed attempts.
pub(super) fn wait_after(attempts: u32) -> Duration {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_max_times(MAX_ATTEMPTS as usize)
        .with_jitter()
        .build()
        .nth(attempts as usize)
        .unwrap_or(LONGEST_WAIT)
}

/// A wait in milliseconds.
pub(super) fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_set_by_a_wrong_clock_does_not_stop_a_lane() {
        assert!(is_due(5, 5) && !is_due(6, 5));
        assert!(!is_due(millis(QUOTA_WAIT), 0));
        assert!(is_due(365 * 24 * millis(QUOTA_WAIT), 0));
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let waits: Vec<Duration> = (0..MAX_ATTEMPTS + 5).map(wait_after).collect();
        assert!(waits[0] >= FIRST_WAIT && waits[0] < 3 * FIRST_WAIT);
        assert!(waits[5] >= Duration::from_secs(32));
        assert!(waits.iter().all(|w| *w <= 2 * LONGEST_WAIT));
    }
}

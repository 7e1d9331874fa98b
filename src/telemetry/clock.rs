//! The wall clock, passed in so that a test can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Where the present time comes from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it; milliseconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that shows `millis` (since the Unix epoch) until it is moved.
    pub fn manual(millis: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(millis)))
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_millis(&self) -> i64 {
        match self {
            Self::System => Timestamp::now().as_millisecond(),
            Self::Manual(millis) => millis.load(Ordering::Relaxed),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_millis()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Moves a manual clock forward; the system's clock is left alone.
    pub fn advance(&self, by: std::time::Duration) {
        if let Self::Manual(millis) = self {
            millis.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
        }
    }
}

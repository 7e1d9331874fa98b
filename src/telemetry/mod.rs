//! What the daemon says of itself: metrics, health and logs.
//!
//! Promises that a label is bounded and that a log line never carries a secret. Knows nothing of
//! what the numbers mean to the rooms above.

pub mod callbacks;
pub mod clock;
pub mod health;
mod labels;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod progress;
pub mod traffic;

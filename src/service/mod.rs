//! The system's side of the daemon: how it is told to stop.
//!
//! Knows nothing of the bot.

pub mod signals;

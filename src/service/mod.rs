//! The system's side of the daemon: what systemd and its operator tell it, and what it tells them.
//!
//! [`signals`] and [`control`] bring requests to stop and to reload, [`notify`] and [`watchdog`]
//! say that it is ready, that it works, and what it is doing, [`activation`] hands over sockets
//! that systemd listens on. Without systemd the same calls do nothing, so nobody asks where it
//! runs.
//!
//! Knows nothing of the bot.

pub mod activation;
pub mod control;
pub mod notify;
pub mod signals;
pub mod watchdog;

//! What the tests of the whole daemon stand on: a DingTalk simulator, a model endpoint, the real
//! daemon as a child process, and HTTP clients, a polite one and a rude one.
//!
//! Promises that each part runs on loopback at a port of its own, that what a simulator received
//! is recorded and can be waited for by notification, and that everything ends with the test.
//! Uses no code of the daemon, so that a mistake there cannot hide here; each simulator names the
//! document it follows.
//!
//! A program takes it in as `#[path = "…/support/mod.rs"] mod support;` at its root.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "shared by several programs, none of which uses all of it"
)]

pub mod daemon;
pub mod dingtalk;
pub mod ecs;
pub mod exposition;
pub mod http;
pub mod journal;
pub mod model;
pub mod namespace;
pub mod prometheus;
pub mod record;
pub mod server;
pub mod service_manager;
pub mod settings;
pub mod stage;
pub mod tls;

use std::time::Duration;

/// The longest a test waits for something that should happen; far above what it takes, so that
/// a busy machine does not fail a test.
pub const PATIENCE: Duration = Duration::from_secs(20);

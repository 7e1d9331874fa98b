//! Tests of the daemon where it is operated: in Docker, behind nginx.
//!
//! Each runs the real thing, and is left out with a line `skipped: …` where that cannot be had.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that fails says where")]

#[path = "../support/mod.rs"]
mod support;

mod docker;
mod nginx;

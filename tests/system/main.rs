//! Tests of the daemon where it is operated: on a booted Debian under its real systemd, in Docker,
//! behind nginx.
//!
//! Each runs the real thing, and is left out with a line `skipped: …` where that cannot be had.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that fails says where")]

#[path = "../support/mod.rs"]
mod support;

mod cgroup;
mod dns;
mod host;
mod load;
mod machine;
mod package;
mod repository;
mod suites;

mod activation;
mod alertmanager;
mod browser;
mod conversation;
mod disk;
mod docker;
mod doctor;
mod doctor_firewall;
mod guide;
mod install;
mod journal;
mod maintainer_scripts;
mod model;
mod nginx;
mod process;
mod recovery;
mod reload;
mod sandbox;
mod stopping;
mod upgrade;

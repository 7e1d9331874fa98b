//! Tests of the whole daemon over TCP, against simulators of DingTalk and of a model.
//!
//! One program, so that it is linked once; one module a subject.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that fails says where")]

#[path = "../support/mod.rs"]
mod support;

mod alertmanager;
mod alerts;
mod attack;
mod callbacks;
mod commands;
mod dashboard;
mod delivery;
mod doctor;
mod doctor_document;
mod doctor_ecs;
mod doctor_target;
mod embeddings;
mod encoder;
mod extraction;
mod journal;
mod learning;
mod log_document;
mod mcp;
mod memory_api;
mod memory_transfer;
mod metrics;
mod model_failures;
mod nothing_lost;
mod openapi;
mod recall;
mod reload;
mod reminders;
mod service_manager;
mod simulators;
mod status;
mod stopping;
mod whole_path;

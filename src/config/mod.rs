//! Settings: read in layers, checked as a whole, each with its origin.
//!
//! Layers, later wins: built-in defaults; the main file; the files of `conf.d` in name order;
//! systemd credentials; `DINGBOT_<SECTION>__<KEY>` variables; short variables such as
//! `OPENAI_API_KEY`; the command line. [`load()`] promises every problem of every layer at once,
//! each with its place and a remedy, and that no secret shows in a problem, in the list of effective
//! settings or in `Debug`. A value that its type refuses is not repeated at all: it may be a secret
//! that was pasted into the wrong line.
//!
//! The known keys and their types come from [`Settings`] itself: a setting is added in
//! `settings.rs`, and tests say when its form or its secrecy must be told in `keys.rs`, and that
//! `etc/dingbot.toml` must show it. The layers are merged as JSON values because serde then refuses
//! a quoted number where a number belongs, and because each value can be tried alone, so that its
//! own line is blamed. General configuration crates coerce (`"5"`, `yes` and `1.5` all pass for an
//! integer) and know no lines.
//!
//! This room does not know what the settings are for, and reads nothing but configuration.

pub mod changes;
mod credentials;
mod environment;
mod file;
mod keys;
mod layer;
mod load;
mod location;
mod merge;
mod problem;
mod reference;
pub mod secret;
pub mod settings;
mod short_names;
mod sources;
mod validate;

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod example_tests;

pub use load::{Effective, Loaded, load};
pub use location::state_path;
pub use problem::Problem;
pub use reference::{Described, EXAMPLE, reference};
pub use secret::Secret;
pub use settings::Settings;
pub use sources::Sources;

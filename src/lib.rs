//! dingbot: a DingTalk bot daemon that answers through a model and remembers what it was told.
//!
//! The rooms of the house, each on a floor of its own; a room uses those below it, never those
//! above:
//!
//! | floor | rooms |
//! |---|---|
//! | 7 | [`cli`] |
//! | 6 | [`serve`] |
//! | 5 | [`http`], [`service`], [`doctor`] |
//! | 4 | [`bot`] |
//! | 3 | [`memory`], [`dingtalk`], [`llm`] |
//! | 2 | [`store`], [`outbound`], [`encoder`] |
//! | 1 | [`config`], [`telemetry`], [`language`], [`live`], [`printed`] |

pub mod bot;
pub mod cli;
pub mod config;
pub mod dingtalk;
pub mod doctor;
pub mod encoder;
pub mod http;
pub mod language;
pub mod live;
pub mod llm;
pub mod memory;
pub mod outbound;
pub mod printed;
pub mod serve;
pub mod service;
pub mod store;
pub mod telemetry;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The source revision it was built from.
pub const REVISION: &str = env!("DINGBOT_REVISION");

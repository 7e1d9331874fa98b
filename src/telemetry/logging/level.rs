//! What is logged: `log.level`, which may change while the daemon runs.

use std::fmt;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

/// A level that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no valid filter: write error, warn, info, debug or trace, or a filter such as \
     \"info,dingbot::bot=debug\""
)]
pub struct InvalidLevel;

/// The filter that a level is, such as `info` or `info,dingbot::bot=debug`.
///
/// # Errors
/// It is none; the text says what to write.
pub fn filter(level: &str) -> Result<EnvFilter, InvalidLevel> {
    // A bare word is a valid filter, for a module of that name, and silences all the rest: never
    // what is meant by "verbose" or a mistyped level.
    let bare_words = !level.contains(['[', '{'])
        && level.split(',').any(|directive| {
            !directive.contains('=') && directive.trim().parse::<LevelFilter>().is_err()
        });
    if bare_words {
        return Err(InvalidLevel);
    }
    EnvFilter::builder().parse(level).map_err(|_| InvalidLevel)
}

/// Changes what is logged.
#[derive(Clone)]
pub struct LevelHandle(reload::Handle<EnvFilter, Registry>);

impl LevelHandle {
    /// A filter as a layer, and what changes it.
    pub(super) fn new(filter: EnvFilter) -> (reload::Layer<EnvFilter, Registry>, Self) {
        let (layer, handle) = reload::Layer::new(filter);
        (layer, Self(handle))
    }

    /// Logs by this filter from now on; see [`filter()`].
    pub fn set(&self, filter: EnvFilter) {
        // The only error there can be: nothing is logged by this process any more, as after a
        // second start of logging, whose subscriber was not taken.
        let _ = self.0.reload(filter);
    }
}

impl fmt::Debug for LevelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LevelHandle")
    }
}

//! Panics as events.
//!
//! The standard hook writes several lines to standard error, and among them the panic's own text,
//! which may quote what a person wrote. An event is one entry, in the spans of the thread.

use std::any::Any;
use std::panic::{self, PanicHookInfo};

/// Logs every panic of the process from now on. With `RUST_BACKTRACE` in the environment the
/// standard hook runs as well: somebody wants to see everything.
pub(super) fn log() {
    let standard = panic::take_hook();
    let backtrace = std::env::var_os("RUST_BACKTRACE").is_some();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        if backtrace {
            standard(panic);
        }
    }));
}

fn report(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    let (location, thread) = (location.as_deref(), thread.name());
    tracing::error!(location, thread, error_kind = "panic", "a thread panicked");
    tracing::debug!(location, reason = text(panic.payload()), "what the panic said");
}

fn text(payload: &dyn Any) -> Option<&str> {
    let constant = payload.downcast_ref::<&str>().copied();
    constant.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

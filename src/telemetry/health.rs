//! How the daemon is: what each room says of itself, and the verdict of all.
//!
//! Rooms report here, `/health` and readiness read here. Reading the verdict of a healthy process
//! costs one atomic load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::clock::Clock;

/// What a draining process answers.
const DRAINING: &str = "The bot is stopping: it finishes what it accepted and takes nothing new";

/// How one part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Ok,
    /// It works less well than it should, such as when the model is down; a restart would not help.
    Degraded,
    /// Messages cannot be accepted or kept.
    Error,
}

/// What one part says of itself; serialised as an entry of `checks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The part, from a closed set.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// One sentence for an operator, without a secret.
    pub message: String,
    /// When it came to be so.
    pub since: Timestamp,
}

/// Everything there is to say.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Why messages cannot be accepted or kept; nothing if they can.
    pub fatal: Option<String>,
    /// What each part said last, in the order of their first word.
    pub checks: Vec<Check>,
    /// Time since the process began.
    pub uptime: Duration,
}

/// The register of checks; one per process, shared by reference.
#[derive(Debug)]
pub struct Health {
    clock: Clock,
    started: Instant,
    /// Whether there is anything fatal in `state`: what most readers want to know, without a lock.
    fatal: AtomicBool,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    checks: Vec<Check>,
    draining: bool,
}

impl State {
    fn fatal(&self) -> Option<&str> {
        if self.draining {
            return Some(DRAINING);
        }
        let broken = self.checks.iter().find(|check| check.status == Status::Error);
        broken.map(|check| check.message.as_str())
    }
}

impl Health {
    /// A register without checks, which is healthy.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            started: Instant::now(),
            fatal: AtomicBool::new(false),
            state: RwLock::default(),
        }
    }

    /// Says how the part `name` is. Its `since` moves only when its status changes.
    pub fn set(&self, name: &'static str, status: Status, message: impl Into<String>) {
        let message = message.into();
        self.change(|state| match state.checks.iter_mut().find(|check| check.name == name) {
            Some(check) => {
                if check.status != status {
                    check.since = self.clock.now();
                }
                check.status = status;
                check.message = message;
            }
            None => state.checks.push(Check { name, status, message, since: self.clock.now() }),
        });
    }

    /// Says whether the process is stopping.
    pub fn draining(&self, draining: bool) {
        self.change(|state| state.draining = draining);
    }

    /// Whether messages can be accepted and kept.
    pub fn is_ok(&self) -> bool {
        !self.fatal.load(Ordering::Acquire)
    }

    /// Why messages cannot be accepted or kept; nothing if they can.
    pub fn fatal(&self) -> Option<String> {
        if self.is_ok() {
            return None;
        }
        self.read().fatal().map(str::to_owned)
    }

    /// Everything there is to say.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.read();
        Snapshot {
            fatal: state.fatal().map(str::to_owned),
            checks: state.checks.clone(),
            uptime: self.started.elapsed(),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned one is still whole.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        // Stored under the lock, so that the last change also has the last word here.
        self.fatal.store(state.fatal().is_some(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_is_fatal() {
        let health = Health::new(Clock::manual(0));
        health.set("model", Status::Degraded, "the model does not answer");
        assert!(health.is_ok());
        health.set("store", Status::Error, "the disk is full");
        assert_eq!(health.fatal().as_deref(), Some("the disk is full"));
        health.set("store", Status::Ok, "open");
        assert!(health.is_ok());
        assert_eq!(health.fatal(), None);
    }

    #[test]
    fn draining_is_fatal_until_it_is_not() {
        let health = Health::new(Clock::manual(0));
        health.draining(true);
        assert!(health.fatal().is_some_and(|message| message.contains("stopping")));
        health.draining(false);
        assert!(health.is_ok());
    }

    #[test]
    fn since_is_when_the_status_changed() {
        let clock = Clock::manual(1_000);
        let health = Health::new(clock.clone());
        health.set("store", Status::Ok, "open");
        clock.advance(Duration::from_secs(5));
        health.set("store", Status::Ok, "open, 3 memories");
        let first = health.snapshot().checks.remove(0);
        assert_eq!((first.since.as_millisecond(), &*first.message), (1_000, "open, 3 memories"));
        health.set("store", Status::Error, "gone");
        assert_eq!(health.snapshot().checks[0].since.as_millisecond(), 6_000);
    }
}

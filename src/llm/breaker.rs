//! The circuit breaker: a model that keeps failing is left alone for a while.
//!
//! Ours, and not the crate `recloser`: that one judges by a failure rate over a ring which must be
//! full first, lets every call through while half open and wants several outcomes before it
//! decides, and cannot be asked for its state, which `/health` and the metrics need.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::time::Instant;

/// Failures in a row that open the circuit.
const THRESHOLD: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Every call passes.
    Closed { failures: u32 },
    /// No call passes until then; the first one after it is the probe.
    Open { until: Instant },
    /// One call is under way to see whether the endpoint is back.
    Probing,
}

/// Counts failures in a row and holds calls back after too many.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    open_for: Duration,
    /// 1 from the opening to the first success.
    gauge: IntGauge,
}

impl Breaker {
    /// A closed circuit that, once opened, stays so for `open_for` before it is probed.
    pub(super) fn new(open_for: Duration, gauge: IntGauge) -> Self {
        gauge.set(0);
        Self { state: Mutex::new(State::Closed { failures: 0 }), open_for, gauge }
    }

    /// Whether a call would be held back now.
    pub(super) fn is_open(&self) -> bool {
        match *self.state() {
            State::Closed { .. } => false,
            State::Open { until } => Instant::now() < until,
            State::Probing => true,
        }
    }

    /// Leave to make one call, whose end must be told; `None` while the circuit is open.
    pub(super) fn admit(&self) -> Option<Call<'_>> {
        let mut state = self.state();
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if Instant::now() >= until => true,
            State::Open { .. } | State::Probing => return None,
        };
        if probe {
            *state = State::Probing;
        }
        Some(Call { breaker: self, probe })
    }

    fn settle(&self, probe: bool, failed: bool) {
        let mut state = self.state();
        let next = match *state {
            State::Closed { failures } if failed && failures + 1 < THRESHOLD => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } if !failed => State::Closed { failures: 0 },
            State::Probing if probe && !failed => {
                tracing::info!("the model answers again");
                State::Closed { failures: 0 }
            }
            // A call from before the opening says nothing new.
            State::Open { .. } | State::Probing if !probe => return,
            _ => {
                tracing::warn!(
                    seconds = self.open_for.as_secs(),
                    "the model is left alone for a while"
                );
                State::Open { until: Instant::now() + self.open_for }
            }
        };
        *state = next;
        self.gauge.set(i64::from(!matches!(next, State::Closed { .. })));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call under way. Dropped without a verdict (the caller gave up), it is as if it had not been
/// made, and another one may probe.
#[derive(Debug)]
pub(super) struct Call<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Call<'_> {
    /// The endpoint did its part.
    pub(super) fn succeeded(mut self) {
        self.breaker.settle(std::mem::take(&mut self.probe), false);
    }

    /// The endpoint did not.
    pub(super) fn failed(mut self) {
        self.breaker.settle(std::mem::take(&mut self.probe), true);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.probe {
            *self.breaker.state() = State::Open { until: Instant::now() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_WHILE: Duration = Duration::from_secs(30);

    fn breaker() -> Breaker {
        Breaker::new(A_WHILE, IntGauge::new("open", "open").unwrap())
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.admit().unwrap().failed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it() {
        let breaker = breaker();
        fail(&breaker, THRESHOLD - 1);
        breaker.admit().unwrap().succeeded();
        fail(&breaker, THRESHOLD - 1);
        assert!(!breaker.is_open());
        fail(&breaker, 1);
        assert!(breaker.is_open());
        assert!(breaker.admit().is_none());
        assert_eq!(breaker.gauge.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_closes_it_or_opens_it_again() {
        let breaker = breaker();
        fail(&breaker, THRESHOLD);
        tokio::time::advance(A_WHILE).await;
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_none(), "a second call passed beside the probe");
        probe.failed();
        assert!(breaker.is_open());

        tokio::time::advance(A_WHILE).await;
        assert!(!breaker.is_open());
        assert_eq!(breaker.gauge.get(), 1, "closed before a probe succeeded");
        breaker.admit().unwrap().succeeded();
        assert_eq!(breaker.gauge.get(), 0);
        fail(&breaker, THRESHOLD - 1);
        assert!(!breaker.is_open(), "old failures still counted");
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_probe_leaves_room_for_another() {
        let breaker = breaker();
        fail(&breaker, THRESHOLD);
        tokio::time::advance(A_WHILE).await;
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().succeeded();
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_the_opening_change_nothing() {
        let breaker = breaker();
        let (slow, slower) = (breaker.admit().unwrap(), breaker.admit().unwrap());
        fail(&breaker, THRESHOLD);
        slow.succeeded();
        assert!(breaker.is_open());
        tokio::time::advance(A_WHILE).await;
        let probe = breaker.admit().unwrap();
        slower.failed();
        probe.succeeded();
        assert!(!breaker.is_open());
    }
}

//! The last minutes of traffic, for the landing page: the counters, read once a minute.
//!
//! Costs nothing with a request or a message; reading takes no lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::labels;
use super::metrics::Metrics;

/// Minutes that are remembered, besides the one that has begun.
pub const MINUTES: usize = 30;
const MINUTE_MILLIS: i64 = 60_000;

/// What happened within one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages accepted.
    pub messages: u64,
    /// Answers that arrived.
    pub answers: u64,
    /// Messages that got no proper answer, and deliveries given up.
    pub failures: u64,
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(before.messages),
            answers: self.answers.saturating_sub(before.answers),
            failures: self.failures.saturating_sub(before.failures),
        }
    }
}

/// A minute, by its beginning; the last may not be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minute {
    /// When it began.
    pub began: Timestamp,
    /// What happened in it.
    pub counts: Counts,
}

/// What the counters were when a minute began.
#[derive(Debug, Clone, Copy)]
struct Reading {
    began_millis: i64,
    counts: Counts,
}

/// The counters, minute by minute; shared by reference.
#[derive(Debug)]
pub struct Traffic {
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Oldest first; never empty.
    readings: ArcSwap<VecDeque<Reading>>,
}

impl Traffic {
    /// A record that begins now.
    pub fn new(clock: Clock, metrics: Arc<Metrics>) -> Self {
        let first = Reading { began_millis: minute(clock.now_millis()), counts: read(&metrics) };
        Self { clock, metrics, readings: ArcSwap::from_pointee(VecDeque::from([first])) }
    }

    /// Reads the counters at the beginning of every minute, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let left = MINUTE_MILLIS - self.clock.now_millis().rem_euclid(MINUTE_MILLIS);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(left.unsigned_abs())) => {}
            }
            self.read();
        }
    }

    fn read(&self) {
        let began_millis = minute(self.clock.now_millis());
        let before = self.readings.load();
        // A clock that was put back: the minute that has begun goes on.
        if before.back().is_some_and(|last| last.began_millis >= began_millis) {
            return;
        }
        let mut readings = VecDeque::clone(&before);
        if readings.len() > MINUTES {
            readings.pop_front();
        }
        readings.push_back(Reading { began_millis, counts: read(&self.metrics) });
        self.readings.store(Arc::new(readings));
    }

    /// Every minute since the start, at most [`MINUTES`] and the one that has begun; oldest first.
    pub fn minutes(&self) -> Vec<Minute> {
        let readings = self.readings.load();
        let ends = readings.iter().skip(1).map(|next| next.counts);
        let now = std::iter::once_with(|| read(&self.metrics));
        let minute = |(reading, end): (&Reading, Counts)| Minute {
            began: Timestamp::from_millisecond(reading.began_millis).unwrap_or_default(),
            counts: end.since(reading.counts),
        };
        readings.iter().zip(ends.chain(now)).map(minute).collect()
    }
}

fn minute(millis: i64) -> i64 {
    millis - millis.rem_euclid(MINUTE_MILLIS)
}

fn read(metrics: &Metrics) -> Counts {
    let received = |transport: &&str| metrics.messages_received.with_label_values(&[transport]);
    let unanswered = |outcome: &&str| metrics.messages_handled.with_label_values(&[outcome]);
    let abandoned = metrics.deliveries.with_label_values(&[labels::ABANDONED]);
    Counts {
        messages: labels::TRANSPORTS.iter().map(received).map(|counter| counter.get()).sum(),
        answers: metrics.reply_duration.get_sample_count(),
        failures: labels::UNANSWERED.iter().map(unanswered).map(|c| c.get()).sum::<u64>()
            + abandoned.get(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(metrics: &Metrics, count: u64) {
        metrics.messages_received.with_label_values(&["webhook"]).inc_by(count);
    }

    #[test]
    fn each_minute_has_what_happened_in_it() {
        let clock = Clock::manual(1_700_000_030_000);
        let metrics = Arc::new(Metrics::new());
        receive(&metrics, 5);
        let traffic = Traffic::new(clock.clone(), metrics.clone());
        receive(&metrics, 2);
        metrics.reply_duration.observe(0.1);
        metrics.messages_handled.with_label_values(&["model_failed"]).inc();
        metrics.messages_handled.with_label_values(&["answered"]).inc();
        clock.advance(Duration::from_secs(60));
        traffic.read();
        receive(&metrics, 3);
        let minutes = traffic.minutes();
        assert_eq!(
            minutes.iter().map(|minute| minute.counts).collect::<Vec<_>>(),
            [
                Counts { messages: 2, answers: 1, failures: 1 },
                Counts { messages: 3, answers: 0, failures: 0 }
            ]
        );
        assert_eq!(minutes[1].began.as_second() - minutes[0].began.as_second(), 60);
        assert_eq!(minutes[0].began.as_second() % 60, 0);
    }

    #[test]
    fn it_remembers_so_much_and_a_clock_put_back_adds_nothing() {
        let clock = Clock::manual(0);
        let traffic = Traffic::new(clock.clone(), Arc::new(Metrics::new()));
        for _ in 0..100 {
            clock.advance(Duration::from_secs(60));
            traffic.read();
        }
        assert_eq!(traffic.minutes().len(), MINUTES + 1);
        let newest = traffic.minutes()[MINUTES].began;
        traffic.read();
        assert_eq!(traffic.minutes()[MINUTES].began, newest);
    }
}

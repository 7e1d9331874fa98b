//! Whether a loop still goes round, by asking it.
//!
//! A loop that waits for work is as well as one that works; one that hangs looks the same from
//! outside. So it is asked, and answers from the place where it takes its work.

use tokio::sync::{mpsc, oneshot};

/// Asks a loop; the other end of its [`Pulse`].
#[derive(Debug, Clone)]
pub struct Probe {
    name: &'static str,
    questions: mpsc::Sender<oneshot::Sender<()>>,
}

/// The loop's end: to be awaited wherever the loop waits for work.
#[derive(Debug)]
pub struct Pulse {
    questions: mpsc::Receiver<oneshot::Sender<()>>,
}

/// A pulse for the loop `name`, and the probe that feels it.
pub fn pulse(name: &'static str) -> (Probe, Pulse) {
    let (sender, questions) = mpsc::channel(1);
    (Probe { name, questions: sender }, Pulse { questions })
}

impl Probe {
    /// What the loop is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns once the loop has answered, which a loop that hangs or has ended never does.
    pub async fn felt(&self) {
        let (answer, answered) = oneshot::channel();
        if self.questions.send(answer).await.is_err() || answered.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Pulse {
    /// Answers the next question; safe to drop and call again. Never returns when nobody asks.
    pub async fn beat(&mut self) {
        match self.questions.recv().await {
            // Who asked may have given up.
            Some(answer) => drop(answer.send(())),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_has_a_pulse() {
        let (probe, mut pulse) = pulse("waiting");
        let turning = tokio::spawn(async move {
            loop {
                pulse.beat().await;
            }
        });
        for _ in 0..3 {
            timeout(Duration::from_secs(1), probe.felt()).await.expect("an answer");
        }
        turning.abort();
        assert!(turning.await.is_err());
        assert!(timeout(Duration::from_secs(60), probe.felt()).await.is_err(), "it has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_has_none() {
        let (probe, _pulse) = pulse("hanging");
        assert!(timeout(Duration::from_secs(60), probe.felt()).await.is_err());
        assert_eq!(probe.name(), "hanging");
    }
}

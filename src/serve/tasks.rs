//! The background tasks of the daemon: each has a name and an owner, and one that ends unasked
//! makes the process unhealthy.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::telemetry::health::{Health, Status};

/// Named tasks, owned together.
#[derive(Debug)]
pub(super) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    health: Arc<Health>,
}

impl Tasks {
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self { running: JoinSet::new(), names: HashMap::new(), health }
    }

    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name);
        self.health.set(name, Status::Ok, "running");
    }

    /// Waits for `stop`, and reports tasks that end before.
    pub(super) async fn watch_until<T>(&mut self, stop: impl Future<Output = T>) -> T {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                stopped = &mut stop => return stopped,
                Some(name) = self.next_ended() => {
                    tracing::error!(task = name, error_kind = "task_ended", "a task ended unasked; restart the daemon");
                    let message = format!("the task {name} ended unasked; restart the daemon");
                    self.health.set(name, Status::Error, message);
                }
            }
        }
    }

    /// Waits until a task has ended, at most until `deadline`; `false`: it has not.
    pub(super) async fn drain(&mut self, name: &'static str, deadline: Instant) -> bool {
        while self.names.values().any(|running| *running == name) {
            match timeout_at(deadline, self.next_ended()).await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }

    /// Waits until every task has ended; those that have not by `deadline` are aborted, and named.
    pub(super) async fn drain_all(&mut self, deadline: Instant) -> Vec<&'static str> {
        while let Ok(Some(_)) = timeout_at(deadline, self.next_ended()).await {}
        let unfinished: Vec<&'static str> = self.names.drain().map(|(_, name)| name).collect();
        self.running.shutdown().await;
        unfinished
    }

    async fn next_ended(&mut self) -> Option<&'static str> {
        let ended = self.running.join_next_with_id().await?;
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => {
                // The error quotes the panic's text, which may quote a message.
                let error_kind = if error.is_panic() { "panic" } else { "cancelled" };
                tracing::error!(error_kind, "a task failed");
                error.id()
            }
        };
        Some(self.names.remove(&id).unwrap_or("unnamed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::clock::Clock;

    fn tasks() -> (Tasks, Arc<Health>) {
        let health = Arc::new(Health::new(Clock::manual(0)));
        (Tasks::new(Arc::clone(&health)), health)
    }

    #[tokio::test]
    async fn a_task_that_ends_unasked_makes_the_process_unhealthy() {
        let (mut tasks, health) = tasks();
        tasks.spawn("steady", std::future::pending());
        let (gone, seen) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("brittle", async move { drop(gone) });
        tasks
            .watch_until(async {
                let _ = seen.await;
                while health.is_ok() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        assert!(health.fatal().is_some_and(|why| why.contains("brittle")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_in_time_is_named() {
        let (mut tasks, _health) = tasks();
        tasks.spawn("quick", async {});
        tasks.spawn("stuck", std::future::pending());
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        assert_eq!(tasks.drain_all(deadline).await, ["stuck"]);
    }
}

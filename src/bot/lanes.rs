//! Lanes: queues side by side, each worked on by at most one task.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

/// The lanes that have a task.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
    /// Whether something arrived in a lane since its task began.
    arrived: HashMap<String, bool>,
}

impl Lanes {
    /// How many lanes have a task.
    pub(super) fn len(&self) -> usize {
        self.arrived.len()
    }

    /// Whether a lane has a task.
    pub(super) fn contains(&self, lane: &str) -> bool {
        self.arrived.contains_key(lane)
    }

    /// Begins a lane's task. A lane that has one has it begun again when it ends, for it may have
    /// looked for the last time already.
    pub(super) fn begin<F>(&mut self, lane: String, task: impl FnOnce(String) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(arrived) = self.arrived.get_mut(&lane) {
            *arrived = true;
            return;
        }
        self.arrived.insert(lane.clone(), false);
        let id = self.tasks.spawn(task(lane.clone())).id();
        self.names.insert(id, lane);
    }

    /// Waits for a task to end; returns its lane if it has to be begun again. `None`: there is no
    /// task.
    pub(super) async fn next_ended(&mut self) -> Option<Option<String>> {
        let ended = self.tasks.join_next_with_id().await?;
        let (id, lost) = match &ended {
            Ok((id, ())) => (*id, false),
            Err(error) => {
                // The error quotes the panic's text, which may quote a message.
                let error_kind = if error.is_panic() { "panic" } else { "cancelled" };
                tracing::error!(error_kind, "a lane's task was lost; it is begun again");
                (error.id(), true)
            }
        };
        let Some(lane) = self.names.remove(&id) else { return Some(None) };
        let arrived = self.arrived.remove(&lane).unwrap_or(false);
        Some((arrived || lost).then_some(lane))
    }

    /// Waits until every task has ended.
    pub(super) async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_lane_has_one_task_and_is_begun_again_for_what_arrived_meanwhile() {
        let mut lanes = Lanes::default();
        let (go, gone) = oneshot::channel::<()>();
        lanes.begin("a".into(), |_| async move {
            let _ = gone.await;
        });
        lanes.begin("a".into(), |_| async { panic!("a second task in one lane") });
        assert_eq!(lanes.len(), 1);
        drop(go);
        assert_eq!(lanes.next_ended().await, Some(Some("a".into())));
        lanes.begin("a".into(), |_| async {});
        assert_eq!(lanes.next_ended().await, Some(None));
        assert_eq!(lanes.next_ended().await, None);
    }

    #[tokio::test]
    async fn a_lane_whose_task_panicked_is_begun_again_and_no_other_is_touched() {
        let mut lanes = Lanes::default();
        lanes.begin("steady".into(), |_| std::future::pending());
        lanes.begin("faulty".into(), |_| async { panic!("a fault") });
        assert_eq!(lanes.next_ended().await, Some(Some("faulty".into())));
        assert_eq!(lanes.len(), 1);
    }
}

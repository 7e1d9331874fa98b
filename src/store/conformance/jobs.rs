//! The work on memories of every engine.

use super::{Engine, NOW};
use crate::store::{Job, JobEnd, JobState, NewJob, Part, Scope, Store};

fn work(id: &str, source: Option<&str>, created_at: i64) -> NewJob {
    let payload = format!("payload of {id}");
    NewJob { id: id.into(), source: source.map(str::to_owned), payload, created_at, end: None }
}

fn ann() -> Scope {
    Scope::user("ann").expect("not empty")
}

async fn due(store: &dyn Store, now: i64) -> Vec<String> {
    store.due_jobs(now, 10).await.unwrap().into_iter().map(|job| job.id).collect()
}

fn done(at: i64) -> JobEnd {
    let results = Some("[]".into());
    JobEnd { succeeded: true, payload: "shown".into(), results, error: None, at }
}

pub(crate) async fn a_source_makes_one_job(engine: &impl Engine) {
    let store = engine.open();
    assert_eq!(store.add_job(&ann(), work("a", Some("m1"), NOW)).await.unwrap(), "a");
    assert_eq!(store.add_job(&ann(), work("b", Some("m1"), NOW)).await.unwrap(), "a");
    let bob = Scope::user("bob").unwrap();
    assert_eq!(store.add_job(&bob, work("c", Some("m1"), NOW)).await.unwrap(), "c");
    assert_eq!(store.add_job(&ann(), work("d", None, NOW)).await.unwrap(), "d");
    assert_eq!(store.add_job(&ann(), work("e", None, NOW)).await.unwrap(), "e");
    assert_eq!(due(&*store, NOW).await, ["a", "c", "d", "e"]);
}

pub(crate) async fn a_job_waits_for_its_time_and_ends_once(engine: &impl Engine) {
    let store = engine.open();
    store.add_job(&ann(), work("a", None, NOW)).await.unwrap();
    store.add_job(&ann(), work("b", None, NOW + 5)).await.unwrap();
    assert_eq!(due(&*store, NOW - 1).await, Vec::<String>::new());
    assert_eq!(due(&*store, NOW + 5).await, ["a", "b"]);
    store.postpone_job("a", "the model is down", NOW + 1, NOW + 9).await.unwrap();
    drop(store);
    let store = engine.open();
    assert_eq!(due(&*store, NOW + 5).await, ["b"]);
    store.end_job("b", done(NOW + 6)).await.unwrap();
    // It is over; nothing that comes late changes it.
    store.postpone_job("b", "late", NOW + 7, NOW + 8).await.unwrap();
    store.end_job("b", JobEnd { succeeded: false, ..done(NOW + 7) }).await.unwrap();
    assert_eq!(due(&*store, NOW + 9).await, ["a"]);
    let a = store.job("a").await.unwrap().unwrap();
    assert_eq!((a.attempts, a.error.as_deref()), (1, Some("the model is down")));
    let expected = Job {
        id: "b".into(),
        payload: "shown".into(),
        state: JobState::Succeeded,
        attempts: 1,
        next_attempt_at: NOW + 5,
        created_at: NOW + 5,
        started_at: Some(NOW + 6),
        completed_at: Some(NOW + 6),
        results: Some("[]".into()),
        error: None,
    };
    assert_eq!(store.job("b").await.unwrap(), Some(expected));
    assert_eq!(store.job("c").await.unwrap(), None);
}

pub(crate) async fn jobs_are_listed_and_pruned_when_over(engine: &impl Engine) {
    let store = engine.open();
    for id in ["a", "b", "c"] {
        store.add_job(&ann(), work(id, None, NOW)).await.unwrap();
    }
    store.end_job("a", done(NOW + 1)).await.unwrap();
    store.end_job("b", done(NOW + 2)).await.unwrap();
    let (jobs, count) = store.jobs(Part { offset: 1, limit: 1 }).await.unwrap();
    assert_eq!((jobs[0].id.as_str(), jobs.len(), count), ("b", 1, 3));
    assert_eq!(store.prune_jobs(NOW + 2, 10).await, Ok(1));
    assert_eq!(store.prune_jobs(NOW + 9, 10).await, Ok(1));
    assert_eq!(store.jobs(Part::first(9)).await.unwrap().0[0].id, "c");
}

pub(crate) async fn who_has_everything_forgotten_has_no_work_left(engine: &impl Engine) {
    let store = engine.open();
    store.add_job(&ann(), work("a", None, NOW)).await.unwrap();
    store.add_job(&Scope::user("bob").unwrap(), work("b", None, NOW)).await.unwrap();
    store.forget_all(&ann(), "m", NOW).await.unwrap();
    assert_eq!(due(&*store, NOW).await, ["b"]);
}

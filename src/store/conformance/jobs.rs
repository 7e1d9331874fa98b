//! The work on memories of every engine.

use super::{Engine, NOW};
use crate::store::{
    Changed, Enough, Forgotten, Job, JobEnd, JobState, NewJob, NewMemory, Part, Profile, Scope,
    Selection, Store,
};

fn work(id: &str, source: Option<&str>, created_at: i64) -> NewJob {
    let payload = format!("payload of {id}");
    NewJob { id: id.into(), source: source.map(str::to_owned), payload, created_at, end: None }
}

fn memory(text: &str) -> NewMemory {
    NewMemory { id: text.into(), text: text.into(), created_at: NOW, ..NewMemory::default() }
}

/// Any change at all.
const ANY: Enough = Enough { fewest: 1, most: 1, share: 1 };

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
    let waiting = store.waiting_jobs().await.unwrap();
    assert_eq!((waiting, due(&*store, NOW).await), (4, vec!["a".into(), "c".into()]));
}

pub(crate) async fn a_job_waits_for_its_time_and_ends_once(engine: &impl Engine) {
    let store = engine.open();
    store.add_job(&ann(), work("a", None, NOW)).await.unwrap();
    let bob = Scope::user("bob").unwrap();
    store.add_job(&bob, work("b", None, NOW + 5)).await.unwrap();
    assert_eq!(due(&*store, NOW - 1).await, Vec::<String>::new());
    assert_eq!(due(&*store, NOW + 5).await, ["a", "b"]);
    store.postpone_job("a", "the model is down", NOW + 1, NOW + 9).await.unwrap();
    drop(store);
    let store = engine.open();
    assert_eq!(due(&*store, NOW + 5).await, ["b"]);
    store.end_job("b", &bob, vec![], done(NOW + 6)).await.unwrap();
    // It is over; nothing that comes late changes it.
    store.postpone_job("b", "late", NOW + 7, NOW + 8).await.unwrap();
    let failed = JobEnd { succeeded: false, ..done(NOW + 7) };
    assert_eq!(store.end_job("b", &bob, vec![memory("late")], failed).await, Ok(0));
    assert_eq!(store.total_memories().await, Ok(0));
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

pub(crate) async fn the_work_of_one_is_done_in_order(engine: &impl Engine) {
    let store = engine.open();
    for id in ["a", "b"] {
        store.add_job(&ann(), work(id, None, NOW)).await.unwrap();
    }
    store.postpone_job("a", "the model is down", NOW, NOW + 9).await.unwrap();
    assert_eq!(due(&*store, NOW).await, Vec::<String>::new(), "b was said later");
    assert_eq!(due(&*store, NOW + 9).await, ["a"]);
    let made = store.end_job("a", &ann(), vec![memory("m")], done(NOW + 9)).await;
    assert_eq!((made, due(&*store, NOW + 9).await), (Ok(1), vec!["b".into()]));
    let kept = store.select_memories(&Selection::of(&ann()), Part::first(9)).await.unwrap();
    assert_eq!((kept.len(), kept[0].text.as_str()), (1, "m"));
}

pub(crate) async fn a_profile_is_forgotten_with_what_it_was_made_of(engine: &impl Engine) {
    let store = engine.open();
    let profile = |text: &str| Profile { text: text.into(), made_at: NOW };
    assert_eq!(store.changed_people(ANY, 9).await, Ok(vec![]));
    store.add_memories(&ann(), vec![memory("by hand")]).await.unwrap();
    store.add_job(&ann(), work("a", None, NOW)).await.unwrap();
    store.end_job("a", &ann(), vec![memory("m")], done(NOW)).await.unwrap();
    let changed = store.changed_people(ANY, 9).await.unwrap();
    let expected = Changed { user_id: "ann".into(), changes: 1, memories: 2 };
    assert_eq!(changed, [expected], "a model made one of the two");
    let enough = |fewest, most, share| Enough { fewest, most, share };
    for (enough, reached) in
        [(enough(1, 9, 2), true), (enough(2, 9, 9), false), (enough(1, 1, 1), true)]
    {
        let people = store.changed_people(enough, 9).await.unwrap();
        assert_eq!(people.len(), usize::from(reached), "{enough:?}");
        assert_eq!(enough.is_reached(&changed[0]), reached, "{enough:?}");
    }
    store.put_profile(&ann(), profile("ann"), 1).await.unwrap();
    assert_eq!(store.profile(&ann()).await, Ok(Some(profile("ann"))));
    assert_eq!(store.changed_people(ANY, 9).await, Ok(vec![]));

    assert_eq!(store.forget_memory(&ann(), 1, "f", NOW).await, Ok(Forgotten::Now));
    assert_eq!(store.profile(&ann()).await, Ok(None));
    let seen = store.changed_people(ANY, 9).await.unwrap()[0].changes;
    assert!(seen > 1_000);
    // Something is forgotten while another is written.
    assert_eq!(store.forget_memory(&ann(), 2, "g", NOW).await, Ok(Forgotten::Now));
    store.put_profile(&ann(), profile("late"), seen).await.unwrap();
    assert_eq!(store.profile(&ann()).await, Ok(None));
    let seen = store.changed_people(ANY, 9).await.unwrap()[0].changes;
    store.put_profile(&ann(), profile(""), seen).await.unwrap();
    assert_eq!(store.profile(&ann()).await, Ok(None));
    assert_eq!(store.changed_people(ANY, 9).await, Ok(vec![]));
}

pub(crate) async fn jobs_are_listed_and_pruned_when_over(engine: &impl Engine) {
    let store = engine.open();
    for id in ["a", "b", "c"] {
        store.add_job(&ann(), work(id, None, NOW)).await.unwrap();
    }
    store.end_job("a", &ann(), vec![], done(NOW + 1)).await.unwrap();
    store.end_job("b", &ann(), vec![], done(NOW + 2)).await.unwrap();
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
    let bob = Selection::of(&Scope::user("bob").unwrap());
    let some = Selection { current_only: true, ..bob.clone() };
    store.remove_memories(&some, NOW).await.unwrap();
    assert_eq!(due(&*store, NOW).await, ["b"], "some of bob's are not all");
    store.remove_memories(&bob, NOW).await.unwrap();
    assert_eq!(due(&*store, NOW).await, Vec::<String>::new());
}

//! The long-term memory of every engine.

use super::{Engine, NOW, memory, reminder, turn};
use crate::store::{
    Arrival, Asked, Continuation, Entity, Evidence, Forgotten, Kept, MemoryRecord, NewMemory, Part,
    Scope, Selection, Store, StoreError, Stored, TurnRole, Words,
};

fn person(user_id: &str) -> Scope {
    Scope::user(user_id).expect("not empty")
}

fn narrowed(user_id: &str, entity: Entity, id: &str) -> Scope {
    person(user_id).with(entity, id).unwrap()
}

/// What is known of the only owner of a scope.
async fn evidence(store: &dyn Store, scope: &Scope, terms: &[&str]) -> Evidence {
    let asked =
        Asked { terms: terms.iter().map(|term| (*term).to_owned()).collect(), vector: None };
    let (tell, told) = std::sync::mpsc::channel();
    let rank = move |evidence: &[Evidence]| {
        tell.send(evidence.to_vec()).unwrap();
        Vec::new()
    };
    let found = store.find_memories(&Selection::of(scope), asked, Box::new(rank)).await;
    assert_eq!(found, Ok(vec![]));
    let known = told.recv().unwrap();
    assert!(known.len() < 2, "{known:?}");
    known.into_iter().next().unwrap_or_default()
}

async fn count(store: &dyn Store, scope: &Scope) -> usize {
    store.count_memories(&Selection::of(scope)).await.unwrap()
}

async fn keep(store: &dyn Store, scope: &Scope, new: NewMemory) -> Stored {
    store.add_memories(scope, vec![new]).await.unwrap().remove(0)
}

fn texts(records: Vec<MemoryRecord>) -> Vec<String> {
    records.into_iter().map(|record| record.text).collect()
}

async fn listed(store: &dyn Store, scope: &Scope) -> Vec<String> {
    texts(store.select_memories(&Selection::of(scope), Part::first(100)).await.unwrap())
}

/// The texts of the memories in which a term occurs.
async fn holding(store: &dyn Store, scope: &Scope, term: &str) -> Vec<String> {
    let keys = holders(&evidence(store, scope, &[term]).await);
    texts(found(store, scope, keys).await)
}

/// The keys of the memories selected in which the first term occurs.
fn holders(evidence: &Evidence) -> Vec<i64> {
    let places = evidence.postings.iter().take(1).flat_map(|postings| postings.iter());
    let selected = places.map(|it| it.memory).filter(|memory| evidence.is_selected(*memory));
    selected.map(|memory| evidence.keys[memory as usize]).collect()
}

async fn found(store: &dyn Store, scope: &Scope, keys: Vec<i64>) -> Vec<MemoryRecord> {
    let rank = move |_: &[Evidence]| keys.into_iter().map(|key| (key, 1.0)).collect();
    let asked = Asked::default();
    let found = store.find_memories(&Selection::of(scope), asked, Box::new(rank)).await.unwrap();
    found.into_iter().map(|(record, _)| record).collect()
}

pub(crate) async fn a_source_makes_one_memory(engine: &impl Engine) {
    let store = engine.open();
    let ann = person("ann");
    let first = keep(&*store, &ann, memory("tea")).await;
    assert_eq!(first, Stored { id: "id of tea".into(), number: 1, new: true });
    let again = NewMemory { id: "another id".into(), ..memory("tea") };
    assert_eq!(keep(&*store, &ann, again).await, Stored { new: false, ..first });
    assert_eq!(count(&*store, &ann).await, 1);
    // Without a source it is always new, and another person's source is another.
    let unnamed = |id: &str| NewMemory { id: id.into(), source: None, ..memory("tea") };
    assert!(keep(&*store, &ann, unnamed("a")).await.new);
    assert!(keep(&*store, &ann, unnamed("b")).await.new);
    let his = NewMemory { id: "his".into(), ..memory("tea") };
    assert!(keep(&*store, &person("bob"), his).await.new);
    assert_eq!(store.total_memories().await, Ok(4));
}

pub(crate) async fn memories_are_added_all_or_none(engine: &impl Engine) {
    let store = engine.open();
    let ann = person("ann");
    let stored = store.add_memories(&ann, vec![memory("one"), memory("two")]).await.unwrap();
    assert_eq!(stored.iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2]);
    // The id of the last one is taken.
    let clash = NewMemory { id: "id of one".into(), ..memory("four") };
    let refused = store.add_memories(&ann, vec![memory("three"), clash]).await;
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
    assert_eq!(listed(&*store, &ann).await, ["two", "one"]);
    assert_eq!(keep(&*store, &ann, memory("three")).await.number, 3);
    assert_eq!(holding(&*store, &ann, "four").await, Vec::<String>::new());
}

pub(crate) async fn nobody_sees_what_belongs_to_another(engine: &impl Engine) {
    let store = engine.open();
    let (ann, bob) = (person("ann"), person("bob"));
    let hers = keep(&*store, &ann, memory("secret of ann")).await;
    keep(&*store, &bob, memory("secret of bob")).await;
    assert_eq!(listed(&*store, &bob).await, ["secret of bob"]);
    assert_eq!(holding(&*store, &bob, "secret").await, ["secret of bob"]);
    let keys = holders(&evidence(&*store, &ann, &["secret"]).await);
    assert_eq!(keys.len(), 1);
    assert_eq!(found(&*store, &bob, keys).await, []);
    // Each has a first one.
    assert_eq!(hers.number, 1);
    assert_eq!(store.forget_memory(&bob, 1, "m", NOW).await, Ok(Forgotten::Now));
    assert_eq!(store.forget_all(&bob, "n", NOW).await, Ok(0));
    assert_eq!(listed(&*store, &ann).await, ["secret of ann"]);
    // Case and blanks make another person, not the same one.
    for other in ["Ann", "ann ", "an", "%", "'"] {
        assert_eq!(count(&*store, &person(other)).await, 0, "{other:?}");
    }
    assert_eq!(Scope::user(" "), None);
}

pub(crate) async fn a_narrower_scope_sees_less(engine: &impl Engine) {
    let store = engine.open();
    let whole = person("ann");
    let agent = narrowed("ann", Entity::Agent, "chef");
    let run = agent.clone().with(Entity::Run, "r1").unwrap();
    let app = narrowed("ann", Entity::App, "mail");
    let mut numbers = Vec::new();
    for (scope, text) in
        [(&whole, "x whole"), (&agent, "x agent"), (&run, "x run"), (&app, "x app")]
    {
        numbers.push(keep(&*store, scope, memory(text)).await.number);
    }
    let expected: [(&Scope, &[&str]); 4] = [
        (&whole, &["x app", "x run", "x agent", "x whole"]),
        (&agent, &["x run", "x agent"]),
        (&run, &["x run"]),
        (&app, &["x app"]),
    ];
    for (scope, visible) in expected {
        assert_eq!(listed(&*store, scope).await, visible, "{scope:?}");
        assert_eq!(count(&*store, scope).await, visible.len(), "{scope:?}");
        let mut found = holding(&*store, scope, "x").await;
        found.reverse();
        assert_eq!(found, visible, "{scope:?}");
    }
    assert_eq!(store.forget_memory(&app, numbers[1], "m", NOW).await, Ok(Forgotten::Unknown));
    assert_eq!(store.forget_memory(&agent, numbers[1], "m", NOW).await, Ok(Forgotten::Now));
}

pub(crate) async fn statistics_count_what_is_kept(engine: &impl Engine) {
    let store = engine.open();
    let ann = person("ann");
    assert_eq!(evidence(&*store, &ann, &["tea"]).await, Evidence::default());
    let mut twice = memory("green tea");
    twice.words.terms = vec![("green".into(), 1), ("tea".into(), 2)];
    let first = keep(&*store, &ann, twice).await;
    keep(&*store, &ann, memory("black tea please")).await;
    let seen = evidence(&*store, &ann, &["nothing", "tea", "green"]).await;
    let occurs: Vec<Vec<_>> = seen
        .postings
        .iter()
        .map(|it| it.iter().map(|p| (p.memory, p.frequency, p.length)).collect())
        .collect();
    assert_eq!((seen.keys.len(), seen.terms), (2, 6));
    assert_eq!(occurs, [vec![], vec![(0, 2, 3), (1, 1, 3)], vec![(0, 1, 3)]]);

    store.forget_memory(&ann, first.number, "m", NOW).await.unwrap();
    let seen = evidence(&*store, &ann, &["tea", "green"]).await;
    let holding = |seen: &Evidence| seen.postings.iter().map(|it| it.len()).collect::<Vec<_>>();
    assert_eq!((seen.keys.len(), seen.terms, holding(&seen)), (1, 3, vec![1, 0]));
    assert_eq!(store.total_memories().await, Ok(1));
    store.forget_all(&ann, "n", NOW).await.unwrap();
    let seen = evidence(&*store, &ann, &["tea", "green"]).await;
    assert_eq!((seen.keys.len(), seen.terms, holding(&seen)), (0, 0, vec![0, 0]));
    assert_eq!(store.total_memories().await, Ok(0));
}

pub(crate) async fn keys_give_records_in_their_order(engine: &impl Engine) {
    let store = engine.open();
    let ann = person("ann");
    for text in ["x 1", "x 2", "x 3"] {
        keep(&*store, &ann, memory(text)).await;
    }
    let found_by = evidence(&*store, &ann, &["x"]).await;
    let mut keys = holders(&found_by);
    keys.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(texts(found(&*store, &ann, keys.clone()).await), ["x 3", "x 2", "x 1"]);
    // One that was forgotten meanwhile is left out.
    store.forget_memory(&ann, 2, "m", NOW).await.unwrap();
    assert_eq!(texts(found(&*store, &ann, keys).await), ["x 3", "x 1"]);
}

pub(crate) async fn what_was_taken_out_is_known_when_it_comes_back(engine: &impl Engine) {
    let store = engine.open();
    let (ann, bob) = (person("ann"), person("bob"));
    for text in ["tea one", "tea two", "tea three"] {
        keep(&*store, &ann, memory(text)).await;
    }
    let all = Selection::of(&ann);
    let first = store.export_memories(&all, 0, 2).await.unwrap();
    let rest = store.export_memories(&all, first[1].0, 2).await.unwrap();
    let out: Vec<Kept> = first.into_iter().chain(rest).map(|(_, kept)| kept).collect();
    let said = |kept: &[Kept]| kept.iter().map(|it| it.memory.text.clone()).collect::<Vec<_>>();
    assert_eq!(said(&out), ["tea one", "tea two", "tea three"]);

    let words = || memory("tea").words;
    let back = out.iter().cloned().map(|kept| (kept, words())).collect();
    assert_eq!(store.import_memories(back).await, Ok(vec![Arrival::Known; 3]));
    let mut hers = out[0].clone();
    hers.memory.scope = bob.clone();
    let mut new = hers.clone();
    new.memory.id = "another id".into();
    let arrivals = store.import_memories(vec![(hers, words()), (new, words())]).await;
    assert_eq!(arrivals, Ok(vec![Arrival::SomebodyElses, Arrival::New]));
    assert_eq!(holding(&*store, &bob, "tea").await, ["tea one"]);
    let again = store.export_memories(&all, 0, 10).await.unwrap();
    assert_eq!(again.into_iter().map(|(_, kept)| kept).collect::<Vec<_>>(), out);
}

pub(crate) async fn a_number_is_never_given_twice(engine: &impl Engine) {
    let store = engine.open();
    let ann = person("ann");
    keep(&*store, &ann, memory("one")).await;
    let two = keep(&*store, &ann, memory("two")).await;
    store.forget_memory(&ann, two.number, "m", NOW).await.unwrap();
    assert_eq!(keep(&*store, &ann, memory("three")).await.number, 3);
    store.forget_all(&ann, "n", NOW).await.unwrap();
    drop(store);
    assert_eq!(keep(&*engine.open(), &ann, memory("four")).await.number, 4);
}

pub(crate) async fn forgetting_asked_again_says_the_same(engine: &impl Engine) {
    let store = engine.open();
    let ann = person("ann");
    let number = keep(&*store, &ann, memory("tea")).await.number;
    let forget = |number, source: &'static str| store.forget_memory(&ann, number, source, NOW);
    assert_eq!(forget(number + 1, "m1").await, Ok(Forgotten::Unknown));
    assert_eq!(forget(number, "m2").await, Ok(Forgotten::Now));
    assert_eq!(forget(number, "m2").await, Ok(Forgotten::Before));
    assert_eq!(forget(number, "m3").await, Ok(Forgotten::Unknown));
    assert_eq!(listed(&*store, &ann).await, Vec::<String>::new());
    assert_eq!(holding(&*store, &ann, "tea").await, Vec::<String>::new());
}

pub(crate) async fn a_forgotten_memory_does_not_come_back(engine: &impl Engine) {
    let store = engine.open();
    let ann = person("ann");
    let one = keep(&*store, &ann, memory("one")).await;
    let two = keep(&*store, &ann, memory("two")).await;
    store.forget_memory(&ann, one.number, "m", NOW).await.unwrap();
    store.forget_all(&ann, "n", NOW).await.unwrap();
    // The messages they were made from are worked on again.
    assert_eq!(keep(&*store, &ann, memory("one")).await, Stored { new: false, ..one });
    assert_eq!(keep(&*store, &ann, memory("two")).await, Stored { new: false, ..two });
    assert_eq!(count(&*store, &ann).await, 0);
    assert_eq!(holding(&*store, &ann, "two").await, Vec::<String>::new());
}

pub(crate) async fn forget_all_takes_memories_and_reminders(engine: &impl Engine) {
    let store = engine.open();
    let (ann, bob) = (person("ann"), person("bob"));
    for (scope, text) in [(&ann, "one"), (&ann, "two"), (&bob, "his")] {
        keep(&*store, scope, memory(text)).await;
    }
    store.add_reminder(reminder("ann", "drink", NOW), 10).await.unwrap().unwrap();
    store.add_reminder(reminder("bob", "sit", NOW), 10).await.unwrap().unwrap();
    assert_eq!(store.forget_all(&ann, "m", NOW).await, Ok(3));
    assert_eq!(store.reminders("ann").await, Ok(vec![]));
    assert_eq!(holding(&*store, &ann, "one").await, Vec::<String>::new());
    // What was kept since is not what that source asked to have forgotten.
    keep(&*store, &ann, memory("new")).await;
    assert_eq!(store.forget_all(&ann, "m", NOW).await, Ok(3));
    assert_eq!(listed(&*store, &ann).await, ["new"]);
    assert_eq!(store.forget_all(&ann, "another", NOW).await, Ok(1));
    assert_eq!(listed(&*store, &bob).await, ["his"]);
    assert_eq!(store.reminders("bob").await.unwrap().len(), 1);
}

pub(crate) async fn forgetting_takes_the_turns_along(engine: &impl Engine) {
    let store = engine.open();
    let (ann, bob) = (person("ann"), person("bob"));
    for (user, thread, source) in
        [("ann", "a", "source of tea"), ("ann", "b", "m2"), ("bob", "c", "source of tea")]
    {
        let said = Continuation {
            thread: thread.into(),
            user_id: user.into(),
            source: source.into(),
            turns: vec![turn(TurnRole::User, "tea"), turn(TurnRole::Assistant, "noted")],
            ..Continuation::default()
        };
        store.continue_thread(said).await.unwrap();
    }
    keep(&*store, &bob, NewMemory { id: "his".into(), ..memory("tea") }).await;
    let number = keep(&*store, &ann, memory("tea")).await.number;
    let turns = async |thread| store.recent_turns(thread, 10).await.unwrap().len();
    store.forget_memory(&ann, number, "m", NOW).await.unwrap();
    assert_eq!((turns("a").await, turns("b").await, turns("c").await), (0, 2, 2));
    store.forget_all(&ann, "n", NOW).await.unwrap();
    assert_eq!((turns("b").await, turns("c").await), (0, 2), "in every conversation, hers alone");
}

pub(crate) async fn what_was_said_before_forget_all_is_not_kept_after_it(engine: &impl Engine) {
    let store = engine.open();
    let (ann, bob) = (person("ann"), person("bob"));
    store.forget_all(&ann, "m", NOW).await.unwrap();
    let late = NewMemory { created_at: NOW - 1, ..memory("on its way") };
    assert!(!keep(&*store, &ann, late.clone()).await.new);
    assert!(keep(&*store, &bob, late).await.new);
    assert!(keep(&*store, &ann, memory("said since")).await.new);
    assert_eq!(listed(&*store, &ann).await, ["said since"]);
}

pub(crate) async fn forget_all_of_a_narrower_scope_leaves_the_rest(engine: &impl Engine) {
    let store = engine.open();
    let agent = narrowed("ann", Entity::Agent, "chef");
    keep(&*store, &person("ann"), memory("whole")).await;
    keep(&*store, &agent, memory("agent")).await;
    store.add_reminder(reminder("ann", "drink", NOW), 10).await.unwrap().unwrap();
    assert_eq!(store.forget_all(&agent, "m", NOW).await, Ok(1));
    assert_eq!(listed(&*store, &person("ann")).await, ["whole"]);
    assert_eq!(store.reminders("ann").await.unwrap().len(), 1, "it belongs to no agent");
}

pub(crate) async fn a_text_comes_back_as_it_was_said(engine: &impl Engine) {
    let store = engine.open();
    let ann = person("安妮's \"id\"; --");
    let text = "我对花生过敏 🥜\n\t'; DROP TABLE memories; --\u{0}\u{feff}";
    let new = NewMemory {
        text: text.into(),
        words: Words { terms: vec![("花生".into(), 1), ("'\u{0}".into(), 2)], speaker: None },
        actor_id: Some("bob".into()),
        role: Some("user".into()),
        metadata: serde_json::json!({"键": {"a": [1, null, "\u{0}"]}}).as_object().cloned(),
        categories: vec!["食物".into(), "'".into()],
        expires_on: Some(jiff::civil::date(2026, 12, 31)),
        ..memory("x")
    };
    let (metadata, categories) = (new.metadata.clone(), new.categories.clone());
    let ann = ann.with(Entity::Agent, "chef").unwrap();
    let stored = keep(&*store, &ann, new).await;
    drop(store);
    let record = engine.open().memory(&stored.id).await.unwrap().unwrap();
    let expected = MemoryRecord {
        id: stored.id,
        number: stored.number,
        text: text.into(),
        scope: ann.clone(),
        actor_id: Some("bob".into()),
        role: Some("user".into()),
        metadata,
        categories,
        expires_on: Some(jiff::civil::date(2026, 12, 31)),
        source: Some("source of x".into()),
        created_at: NOW,
        updated_at: NOW,
        superseded: None,
    };
    assert_eq!(record, expected);
    assert_eq!(holding(&*engine.open(), &ann, "'\u{0}").await, [text]);
}

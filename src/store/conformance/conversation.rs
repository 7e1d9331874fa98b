//! The conversations of every engine.

use super::{Engine, NOW, turn};
use crate::store::{Continuation, NewTurn, Store, TurnRole};

fn said(thread: &str, turns: Vec<NewTurn>) -> Continuation {
    Continuation { thread: thread.into(), turns, ..Continuation::default() }
}

async fn texts(store: &dyn Store, thread: &str, limit: usize) -> Vec<String> {
    let turns = store.recent_turns(thread, limit).await.unwrap();
    turns.into_iter().map(|turn| turn.text).collect()
}

pub(crate) async fn recent_turns_are_the_newest_oldest_first(engine: &impl Engine) {
    let store = engine.open();
    let both = |n: &str| {
        vec![
            turn(TurnRole::User, &format!("question {n}")),
            turn(TurnRole::Assistant, &format!("answer {n}")),
        ]
    };
    store.continue_thread(said("t", both("1"))).await.unwrap();
    store.continue_thread(said("other", both("x"))).await.unwrap();
    store.continue_thread(said("t", both("2"))).await.unwrap();
    assert_eq!(texts(&*store, "t", 3).await, ["answer 1", "question 2", "answer 2"]);
    assert_eq!(texts(&*store, "t", 10).await.len(), 4);
    assert_eq!(texts(&*store, "t", 0).await.len(), 0);
    assert_eq!(texts(&*store, "nobody", 10).await.len(), 0);
    let newest = store.recent_turns("t", 2).await.unwrap();
    assert_eq!((newest[0].role, newest[0].at), (TurnRole::User, NOW));
    assert_eq!(newest[1].role, TurnRole::Assistant);
}

pub(crate) async fn a_thread_keeps_two_hundred_turns(engine: &impl Engine) {
    let store = engine.open();
    store.continue_thread(said("other", vec![turn(TurnRole::User, "x")])).await.unwrap();
    for round in 0..21 {
        let turns = (0..10).map(|n| turn(TurnRole::User, &(round * 10 + n).to_string())).collect();
        store.continue_thread(said("t", turns)).await.unwrap();
    }
    let kept = texts(&*store, "t", 1_000).await;
    assert_eq!((kept.len(), kept[0].as_str(), kept[199].as_str()), (200, "10", "209"));
    assert_eq!(texts(&*store, "other", 10).await, ["x"]);
}

pub(crate) async fn a_thread_can_be_forgotten_and_begun_anew(engine: &impl Engine) {
    let store = engine.open();
    for thread in ["t", "other"] {
        store.continue_thread(said(thread, vec![turn(TurnRole::User, "old")])).await.unwrap();
    }
    let anew =
        Continuation { forget_before: true, ..said("t", vec![turn(TurnRole::Assistant, "new")]) };
    store.continue_thread(anew).await.unwrap();
    assert_eq!(texts(&*store, "t", 10).await, ["new"]);
    assert_eq!(texts(&*store, "other", 10).await, ["old"]);
}

pub(crate) async fn a_question_is_open_until_its_time_or_the_next_answer(engine: &impl Engine) {
    let store = engine.open();
    let ask = |what: &str, until| Continuation {
        question: Some((what.into(), until)),
        ..said("t", Vec::new())
    };
    store.continue_thread(ask("sure?", NOW + 10)).await.unwrap();
    let open = |at| store.open_question("t", at);
    assert_eq!(open(NOW + 9).await, Ok(Some("sure?".into())));
    assert_eq!(open(NOW + 10).await, Ok(None));
    assert_eq!(store.open_question("other", NOW).await, Ok(None));
    store.continue_thread(ask("really?", NOW + 10)).await.unwrap();
    assert_eq!(open(NOW).await, Ok(Some("really?".into())));
    store.continue_thread(said("t", Vec::new())).await.unwrap();
    assert_eq!(open(NOW).await, Ok(None), "an answer without one takes it back");
}

pub(crate) async fn a_person_is_told_once(engine: &impl Engine) {
    let store = engine.open();
    let told =
        Continuation { user_id: "ann".into(), told: Some("offline"), ..said("t", Vec::new()) };
    assert_eq!(store.was_told("ann", "offline").await, Ok(false));
    store.continue_thread(told.clone()).await.unwrap();
    store.continue_thread(told).await.unwrap();
    assert_eq!(store.was_told("ann", "another thing").await, Ok(false));
    assert_eq!(store.was_told("bob", "offline").await, Ok(false));
    drop(store);
    assert_eq!(engine.open().was_told("ann", "offline").await, Ok(true));
}

pub(crate) async fn old_turns_are_pruned(engine: &impl Engine) {
    let store = engine.open();
    let at = |at| NewTurn { at, ..turn(TurnRole::User, &at.to_string()) };
    let turns = (0..5).map(|n| at(NOW + n)).collect();
    store.continue_thread(said("t", turns)).await.unwrap();
    assert_eq!(store.prune_turns(NOW + 3, 2).await, Ok(2), "at most so many");
    assert_eq!(store.prune_turns(NOW + 3, 2).await, Ok(1));
    assert_eq!(store.prune_turns(NOW + 3, 2).await, Ok(0));
    assert_eq!(texts(&*store, "t", 10).await.len(), 2);
}

//! The inbox of every engine.

use super::{Engine, NOW, accept, delivery, message, turn};
use crate::store::{
    Accepted, Answered, Continuation, InboxDepth, NewMessage, OutboxDepth, Store, StoreError,
    TurnRole,
};

fn nothing() -> Answered {
    Answered::default()
}

pub(crate) async fn a_key_is_accepted_once(engine: &impl Engine) {
    let store = engine.open();
    let id = accept(&*store, message("k", "c")).await;
    assert_eq!(store.accept(message("k", "c")).await, Ok(Accepted::Duplicate));
    assert_eq!(store.accept(message("k", "elsewhere")).await, Ok(Accepted::Duplicate));
    // Its key is known as long as the message is kept, whatever became of it.
    store.answer(id, nothing()).await.unwrap();
    assert_eq!(store.accept(message("k", "c")).await, Ok(Accepted::Duplicate));
    store.settle(id).await.unwrap();
    assert_eq!(store.accept(message("k", "c")).await, Ok(Accepted::Duplicate));
    assert_eq!(store.prune_inbox(NOW + 1, 10).await, Ok(1));
    assert!(accept(&*store, message("k", "c")).await > id, "larger is later");
}

pub(crate) async fn a_message_without_a_key_is_always_new(engine: &impl Engine) {
    let store = engine.open();
    for _ in 0..2 {
        accept(&*store, NewMessage { key: None, ..message("", "c") }).await;
    }
    assert_eq!(store.inbox_depth().await.unwrap().pending, 2);
}

pub(crate) async fn a_conversation_is_answered_in_order(engine: &impl Engine) {
    let store = engine.open();
    let mut ids = Vec::new();
    for key in ["1", "2", "3"] {
        ids.push(accept(&*store, message(key, "c")).await);
        accept(&*store, message(&format!("other {key}"), "other")).await;
    }
    for (id, key) in ids.into_iter().zip(["1", "2", "3"]) {
        let oldest = store.oldest_pending("c").await.unwrap().unwrap();
        assert_eq!((oldest.id, oldest.received_at), (id, NOW));
        assert_eq!(oldest.payload, format!("payload of {key}"));
        store.answer(id, nothing()).await.unwrap();
    }
    assert_eq!(store.oldest_pending("c").await, Ok(None));
    assert_eq!(store.oldest_pending("never heard of").await, Ok(None));
}

pub(crate) async fn conversations_come_in_the_order_of_their_oldest_message(engine: &impl Engine) {
    let store = engine.open();
    let first = accept(&*store, message("1", "z")).await;
    for (key, conversation) in [("2", "a"), ("3", "z"), ("4", "m")] {
        accept(&*store, message(key, conversation)).await;
    }
    assert_eq!(store.pending_conversations().await.unwrap(), ["z", "a", "m"]);
    store.answer(first, nothing()).await.unwrap();
    assert_eq!(store.pending_conversations().await.unwrap(), ["a", "z", "m"]);
}

pub(crate) async fn an_answer_is_given_once(engine: &impl Engine) {
    let store = engine.open();
    let id = accept(&*store, message("k", "c")).await;
    let answered = Answered {
        deliveries: vec![delivery("lane", "part 1"), delivery("lane", "part 2")],
        continuation: Continuation {
            thread: "t".into(),
            turns: vec![turn(TurnRole::User, "hello")],
            ..Continuation::default()
        },
    };
    let stand = store.answer(id, answered.clone()).await.unwrap().unwrap();
    let kept = store.lane_head("lane", 10).await.unwrap();
    assert_eq!(kept.iter().map(|d| d.id).collect::<Vec<_>>(), stand);
    assert_eq!(kept[0].payload, "part 1");

    assert_eq!(store.answer(id, answered.clone()).await, Ok(None));
    store.settle(id).await.unwrap();
    assert_eq!(store.answer(id, answered.clone()).await, Ok(None));
    assert_eq!(store.answer(id + 1_000, answered).await, Ok(None));
    assert_eq!(
        store.outbox_depth().await,
        Ok(OutboxDepth { waiting: 2, dead: 0, oldest_created_at: Some(NOW) })
    );
    assert_eq!(store.recent_turns("t", 10).await.unwrap().len(), 1);
}

pub(crate) async fn an_answer_changes_everything_or_nothing(engine: &impl Engine) {
    let store = engine.open();
    let begun = Continuation {
        thread: "t".into(),
        turns: vec![turn(TurnRole::User, "before")],
        question: Some(("old".into(), NOW + 10)),
        ..Continuation::default()
    };
    store.continue_thread(begun).await.unwrap();
    let id = accept(&*store, message("k", "c")).await;
    let all = Answered {
        deliveries: vec![delivery("lane", "answer")],
        continuation: Continuation {
            thread: "t".into(),
            turns: vec![turn(TurnRole::User, "asked"), turn(TurnRole::Assistant, "answered")],
            forget_before: true,
            question: Some(("new".into(), NOW + 10)),
            ..Continuation::default()
        },
    };
    // What another reader sees is before or after, never between.
    let answering = store.answer(id, all);
    let watching = async {
        loop {
            let answered = store.inbox_depth().await?.pending == 0;
            if answered {
                return Ok::<_, StoreError>((
                    store.lane_head("lane", 1).await?.len(),
                    store.recent_turns("t", 10).await?,
                    store.open_question("t", NOW).await?,
                    store.unsettled(10).await?.len(),
                ));
            }
            tokio::task::yield_now().await;
        }
    };
    let (answered, seen) = tokio::join!(answering, watching);
    assert_eq!(answered.unwrap().unwrap().len(), 1);
    let (deliveries, turns, question, unsettled) = seen.unwrap();
    let texts: Vec<&str> = turns.iter().map(|t| t.text.as_str()).collect();
    assert_eq!((deliveries, unsettled), (1, 1));
    assert_eq!(texts, ["asked", "answered"]);
    assert_eq!(question.as_deref(), Some("new"));
}

pub(crate) async fn answered_messages_wait_to_be_settled_in_order(engine: &impl Engine) {
    let store = engine.open();
    let mut ids = Vec::new();
    for key in ["1", "2", "3"] {
        ids.push(accept(&*store, message(key, "c")).await);
    }
    assert_eq!(store.unsettled(10).await, Ok(vec![]), "nothing is answered yet");
    for id in [ids[2], ids[0], ids[1]] {
        store.answer(id, nothing()).await.unwrap();
    }
    let unsettled = store.unsettled(2).await.unwrap();
    assert_eq!(unsettled.iter().map(|m| m.id).collect::<Vec<_>>(), ids[..2]);
    assert_eq!(unsettled[0].payload, "payload of 1", "kept until it is settled");
    store.settle(ids[0]).await.unwrap();
    let unsettled = store.unsettled(10).await.unwrap();
    assert_eq!(unsettled.iter().map(|m| m.id).collect::<Vec<_>>(), ids[1..]);
}

pub(crate) async fn only_an_answered_message_is_settled(engine: &impl Engine) {
    let store = engine.open();
    let id = accept(&*store, message("k", "c")).await;
    store.settle(id).await.unwrap();
    let pending = store.oldest_pending("c").await.unwrap().expect("it was never answered");
    assert_eq!((pending.id, pending.payload.as_str()), (id, "payload of k"));
}

pub(crate) async fn pruning_leaves_what_is_unsettled_or_young(engine: &impl Engine) {
    let store = engine.open();
    let at = |received_at, key: &str| NewMessage { received_at, ..message(key, "c") };
    for (received_at, key) in [(NOW - 3, "a"), (NOW - 2, "b"), (NOW - 1, "c"), (NOW, "young")] {
        let id = accept(&*store, at(received_at, key)).await;
        store.answer(id, nothing()).await.unwrap();
        store.settle(id).await.unwrap();
    }
    let unsettled = accept(&*store, at(NOW - 9, "unsettled")).await;
    store.answer(unsettled, nothing()).await.unwrap();
    accept(&*store, at(NOW - 9, "unanswered")).await;

    assert_eq!(store.prune_inbox(NOW, 2).await, Ok(2), "at most so many");
    assert_eq!(store.prune_inbox(NOW, 2).await, Ok(1));
    assert_eq!(store.prune_inbox(NOW, 2).await, Ok(0));
    for key in ["young", "unsettled", "unanswered"] {
        assert_eq!(store.accept(message(key, "c")).await, Ok(Accepted::Duplicate), "{key}");
    }
    for key in ["a", "b", "c"] {
        accept(&*store, message(key, "c")).await;
    }
}

pub(crate) async fn depth_counts_what_is_unanswered(engine: &impl Engine) {
    let store = engine.open();
    assert_eq!(store.inbox_depth().await, Ok(InboxDepth::default()));
    let older = accept(&*store, NewMessage { received_at: NOW - 5, ..message("1", "a") }).await;
    accept(&*store, message("2", "b")).await;
    let depth = InboxDepth { pending: 2, oldest_received_at: Some(NOW - 5) };
    assert_eq!(store.inbox_depth().await, Ok(depth));
    store.answer(older, nothing()).await.unwrap();
    let depth = InboxDepth { pending: 1, oldest_received_at: Some(NOW) };
    assert_eq!(store.inbox_depth().await, Ok(depth));
}

pub(crate) async fn a_message_survives_reopening(engine: &impl Engine) {
    let store = engine.open();
    let pending = accept(&*store, message("pending", "c")).await;
    let answered = accept(&*store, message("answered", "d")).await;
    store.answer(answered, nothing()).await.unwrap();
    drop(store);
    let store: std::sync::Arc<dyn Store> = engine.open();
    assert_eq!(store.pending_conversations().await.unwrap(), ["c"]);
    assert_eq!(store.oldest_pending("c").await.unwrap().unwrap().id, pending);
    assert_eq!(store.unsettled(10).await.unwrap()[0].id, answered);
    assert_eq!(store.accept(message("answered", "d")).await, Ok(Accepted::Duplicate));
    assert_eq!(store.probe().await, Ok(()));
    assert_eq!(store.verify().await, Ok(()));
}

//! The outbox of every engine.

use super::{Engine, NOW, delivery, merging, put};
use crate::store::{Delivery, NewDelivery, Once, OutboxDepth, OutboxId, OutboxState};

fn ids(deliveries: &[Delivery]) -> Vec<OutboxId> {
    deliveries.iter().map(|d| d.id).collect()
}

pub(crate) async fn a_lane_keeps_its_order(engine: &impl Engine) {
    let store = engine.open();
    let stand =
        put(&*store, vec![delivery("a", "1"), delivery("b", "other"), delivery("a", "2")]).await;
    let head = store.lane_head("a", 10).await.unwrap();
    assert_eq!(ids(&head), [stand[0], stand[2]]);
    let expected = Delivery {
        id: stand[0],
        lane: "a".into(),
        uuid: "uuid of 1".into(),
        batch: None,
        payload: "1".into(),
        occurrences: 1,
        state: OutboxState::Waiting,
        attempts: 0,
        next_attempt_at: NOW,
        created_at: NOW,
        last_error: None,
    };
    assert_eq!(head[0], expected);
    assert_eq!(ids(&store.lane_head("a", 1).await.unwrap()), [stand[0]]);
    store.delivered(&[stand[0]]).await.unwrap();
    assert_eq!(ids(&store.lane_head("a", 10).await.unwrap()), [stand[2]]);
    assert_eq!(store.lane_head("c", 10).await, Ok(vec![]));
}

pub(crate) async fn the_first_of_a_lane_decides_when_it_is_due(engine: &impl Engine) {
    let store = engine.open();
    let stand = put(&*store, vec![delivery("a", "1"), delivery("a", "2")]).await;
    store.hold(&stand[..1], NOW + 60_000).await.unwrap();
    // The second could go now, but not before the first.
    assert_eq!(store.waiting_lanes(10).await, Ok(vec![("a".into(), NOW + 60_000)]));
    let head = store.lane_head("a", 10).await.unwrap();
    assert_eq!((head[0].id, head[0].next_attempt_at), (stand[0], NOW + 60_000));
    store.delivered(&stand[..1]).await.unwrap();
    assert_eq!(store.waiting_lanes(10).await, Ok(vec![("a".into(), NOW)]));
    store.delivered(&stand[1..]).await.unwrap();
    assert_eq!(store.waiting_lanes(10).await, Ok(vec![]));
}

pub(crate) async fn lanes_come_earliest_first_and_limited(engine: &impl Engine) {
    let store = engine.open();
    for (lane, at) in [("a", NOW + 2), ("b", NOW), ("c", NOW + 1)] {
        let new = NewDelivery { created_at: at, ..delivery(lane, "1") };
        // Later ones of a lane change nothing, whatever their time.
        let later = NewDelivery { created_at: NOW - 9, ..delivery(lane, "2") };
        put(&*store, vec![new, later]).await;
    }
    let lanes = store.waiting_lanes(2).await.unwrap();
    assert_eq!(lanes, [("b".to_owned(), NOW), ("c".to_owned(), NOW + 1)]);
    // Dead ones hold no lane up.
    let first = store.lane_head("b", 1).await.unwrap();
    store.bury(&ids(&first), "no").await.unwrap();
    assert_eq!(store.waiting_lanes(1).await.unwrap(), [("b".to_owned(), NOW - 9)]);
}

pub(crate) async fn a_head_is_one_batch(engine: &impl Engine) {
    let store = engine.open();
    let new = ["1", "2", "3", "4"].map(|text| delivery("a", text)).to_vec();
    let stand = put(&*store, new).await;
    store.batch(&stand[..2], "together").await.unwrap();
    let head = store.lane_head("a", 10).await.unwrap();
    assert_eq!(ids(&head), stand[..2]);
    assert!(head.iter().all(|d| d.batch.as_deref() == Some("together")));
    // Another attempt is the same message.
    store.postpone(&stand[..2], NOW + 1, "try again").await.unwrap();
    assert_eq!(ids(&store.lane_head("a", 10).await.unwrap()), stand[..2]);
    store.delivered(&stand[..2]).await.unwrap();
    assert_eq!(ids(&store.lane_head("a", 10).await.unwrap()), stand[2..]);
    // Those without a batch end where one begins.
    store.batch(&stand[3..], "later").await.unwrap();
    assert_eq!(ids(&store.lane_head("a", 10).await.unwrap()), stand[2..3]);
}

pub(crate) async fn the_same_key_merges_while_it_is_untried(engine: &impl Engine) {
    let store = engine.open();
    let first = put(&*store, vec![merging("a", "drink", "k")]).await;
    // Held back is not tried.
    store.hold(&first, NOW + 1_000).await.unwrap();
    assert_eq!(put(&*store, vec![merging("a", "drink", "k")]).await, first);
    assert_eq!(put(&*store, vec![merging("a", "drink", "k")]).await, first);
    let apart = put(
        &*store,
        vec![merging("b", "drink", "k"), merging("a", "sit", "l"), delivery("a", "x")],
    )
    .await;
    let head = store.lane_head("a", 10).await.unwrap();
    assert_eq!(ids(&head), [first[0], apart[1], apart[2]]);
    assert_eq!(head.iter().map(|d| d.occurrences).collect::<Vec<_>>(), [3, 1, 1]);
    assert_eq!(store.lane_head("b", 10).await.unwrap()[0].occurrences, 1);
}

pub(crate) async fn nothing_merges_into_what_was_tried_or_batched(engine: &impl Engine) {
    let store = engine.open();
    let again = || vec![merging("a", "drink", "k")];
    let tried = put(&*store, again()).await;
    store.postpone(&tried, NOW + 1, "timeout").await.unwrap();
    let second = put(&*store, again()).await;
    assert_ne!(tried, second);
    store.batch(&second, "batch").await.unwrap();
    let third = put(&*store, again()).await;
    assert_ne!(second, third);
    // A dead one, and one that was dead and waits again, have been tried.
    store.bury(&third, "refused").await.unwrap();
    let fourth = put(&*store, again()).await;
    assert_ne!(third, fourth);
    store.revive(None, NOW).await.unwrap();
    assert_eq!(put(&*store, again()).await, fourth);
    let all = store.deliveries(None, 10).await.unwrap();
    assert_eq!(all.iter().map(|d| d.occurrences).collect::<Vec<_>>(), [1, 1, 1, 2]);
}

pub(crate) async fn failures_are_counted_and_holding_is_not(engine: &impl Engine) {
    let store = engine.open();
    let stand = put(&*store, vec![delivery("a", "1"), delivery("a", "2")]).await;
    store.postpone(&stand, NOW + 5, "timeout").await.unwrap();
    store.postpone(&stand[..1], NOW + 9, "refused").await.unwrap();
    store.hold(&stand[..1], NOW + 7).await.unwrap();
    let head = store.lane_head("a", 10).await.unwrap();
    let seen: Vec<_> =
        head.iter().map(|d| (d.attempts, d.next_attempt_at, d.last_error.as_deref())).collect();
    assert_eq!(seen, [(2, NOW + 7, Some("refused")), (1, NOW + 5, Some("timeout"))]);
}

pub(crate) async fn the_dead_are_revived_or_dropped(engine: &impl Engine) {
    let store = engine.open();
    let new = ["1", "2", "3", "4", "5"].map(|text| delivery("a", text)).to_vec();
    let stand = put(&*store, new).await;
    store.bury(&stand[..4], "no such robot").await.unwrap();
    assert_eq!(ids(&store.lane_head("a", 10).await.unwrap()), stand[4..]);
    let dead = store.deliveries(Some(OutboxState::Dead), 3).await.unwrap();
    assert_eq!(ids(&dead), stand[..3]);
    assert_eq!((dead[0].attempts, dead[0].last_error.as_deref()), (1, Some("no such robot")));

    // The last one waits: neither revived nor dropped.
    assert_eq!(store.revive(Some(&[stand[1], stand[4]]), NOW + 5).await, Ok(1));
    let revived = &store.lane_head("a", 1).await.unwrap()[0];
    assert_eq!((revived.id, revived.attempts, revived.next_attempt_at), (stand[1], 0, NOW + 5));
    assert_eq!(revived.state, OutboxState::Waiting);
    assert_eq!(store.drop_dead(Some(&[stand[0], stand[1], stand[4]])).await, Ok(1));
    assert_eq!(store.revive(Some(&[]), NOW).await, Ok(0));
    assert_eq!(store.revive(None, NOW).await, Ok(2));
    assert_eq!(store.revive(None, NOW).await, Ok(0));
    store.bury(&stand[1..2], "again").await.unwrap();
    assert_eq!(store.drop_dead(None).await, Ok(1));
    assert_eq!(ids(&store.deliveries(None, 10).await.unwrap()), stand[2..]);
    assert_eq!(store.deliveries(Some(OutboxState::Waiting), 10).await.unwrap().len(), 3);
}

pub(crate) async fn a_reminder_is_dead_once(engine: &impl Engine) {
    let store = engine.open();
    for _ in 0..3 {
        let stand = put(&*store, vec![merging("a", "drink", "k")]).await;
        store.bury(&stand, "no permission").await.unwrap();
    }
    let other = put(&*store, vec![merging("b", "drink", "k"), delivery("a", "answer")]).await;
    store.bury(&other, "no permission").await.unwrap();
    let dead = store.deliveries(Some(OutboxState::Dead), 10).await.unwrap();
    assert_eq!(dead.iter().map(|d| d.occurrences).collect::<Vec<_>>(), [3, 1, 1]);
}

pub(crate) async fn old_dead_deliveries_are_pruned(engine: &impl Engine) {
    let store = engine.open();
    let stand =
        put(&*store, vec![delivery("a", "1"), delivery("a", "2"), delivery("a", "3")]).await;
    store.bury(&stand[..2], "no").await.unwrap();
    assert_eq!(store.prune_outbox(NOW, 10).await, Ok(0));
    assert_eq!(store.prune_outbox(NOW + 1, 1).await, Ok(1));
    assert_eq!(store.prune_outbox(NOW + 1, 10).await, Ok(1));
    assert_eq!(
        store.outbox_depth().await,
        Ok(OutboxDepth { waiting: 1, dead: 0, oldest_created_at: Some(NOW) })
    );
}

pub(crate) async fn sends_are_limited_in_a_window_across_reopening(engine: &impl Engine) {
    let store = engine.open();
    assert_eq!(store.reserve_send("robot", NOW, 1_000, 3).await, Ok(Ok(())));
    assert_eq!(store.reserve_send("robot", NOW + 10, 1_000, 3).await, Ok(Ok(())));
    drop(store);
    let store = engine.open();
    assert_eq!(store.reserve_send("robot", NOW + 20, 1_000, 3).await, Ok(Ok(())));
    assert_eq!(store.reserve_send("robot", NOW + 30, 1_000, 3).await, Ok(Err(NOW + 1_000)));
    assert_eq!(store.reserve_send("another", NOW + 30, 1_000, 3).await, Ok(Ok(())));
    assert_eq!(store.reserve_send("robot", NOW + 999, 1_000, 3).await, Ok(Err(NOW + 1_000)));
    // The window slides: one place comes free, not all.
    assert_eq!(store.reserve_send("robot", NOW + 1_000, 1_000, 3).await, Ok(Ok(())));
    assert_eq!(store.reserve_send("robot", NOW + 1_000, 1_000, 3).await, Ok(Err(NOW + 1_010)));
}

pub(crate) async fn a_clock_set_back_does_not_stop_the_sends(engine: &impl Engine) {
    let store = engine.open();
    let ahead = NOW + 365 * 24 * 60 * 60 * 1_000;
    assert_eq!(store.reserve_send("robot", ahead, 1_000, 1).await, Ok(Ok(())));
    assert_eq!(store.reserve_send("robot", NOW, 1_000, 1).await, Ok(Err(NOW + 1_000)));
    assert_eq!(store.reserve_send("robot", NOW + 1_000, 1_000, 1).await, Ok(Ok(())));
}

pub(crate) async fn depth_counts_waiting_and_dead(engine: &impl Engine) {
    let store = engine.open();
    assert_eq!(store.outbox_depth().await, Ok(OutboxDepth::default()));
    let stand =
        put(&*store, vec![delivery("a", "1"), delivery("b", "2"), delivery("b", "3")]).await;
    store.bury(&stand[..1], "no").await.unwrap();
    store.delivered(&stand[1..2]).await.unwrap();
    assert_eq!(
        store.outbox_depth().await,
        Ok(OutboxDepth { waiting: 1, dead: 1, oldest_created_at: Some(NOW) })
    );
}

fn once(series: &str, content: &str) -> Once {
    Once { series: series.into(), content: content.into(), window_millis: 1_000 }
}

pub(crate) async fn a_post_is_all_in_the_outbox_in_its_order(engine: &impl Engine) {
    let store = engine.open();
    let parts = vec![delivery("a", "1"), delivery("a", "2"), delivery("b", "3")];
    assert_eq!(store.post(parts, once("s", "x"), NOW).await, Ok(true));
    drop(store);
    let store = engine.open();
    let payloads = |head: Vec<Delivery>| head.into_iter().map(|d| d.payload).collect::<Vec<_>>();
    assert_eq!(payloads(store.lane_head("a", 10).await.unwrap()), ["1", "2"]);
    assert_eq!(payloads(store.lane_head("b", 10).await.unwrap()), ["3"]);
}

pub(crate) async fn a_post_repeated_at_once_is_put_once_across_reopening(engine: &impl Engine) {
    let store = engine.open();
    let post = |text: &str| vec![delivery("a", text)];
    assert_eq!(store.post(post("1"), once("s", "x"), NOW).await, Ok(true));
    drop(store);
    let store = engine.open();
    assert_eq!(store.post(post("1"), once("s", "x"), NOW + 999).await, Ok(false));
    // The window begins with what was put, not with its repetitions.
    assert_eq!(store.post(post("2"), once("s", "x"), NOW + 1_000).await, Ok(true));
    // Of somebody else, though it begins alike.
    assert_eq!(store.post(post("3"), once("s2", "x"), NOW + 1_000).await, Ok(true));
    assert_eq!(store.lane_head("a", 10).await.unwrap().len(), 3);
}

pub(crate) async fn a_post_is_no_repetition_when_something_else_was_said(engine: &impl Engine) {
    let store = engine.open();
    for (text, content) in [("1", "firing"), ("2", "resolved"), ("3", "firing")] {
        let posted = store.post(vec![delivery("a", text)], once("s", content), NOW).await;
        assert_eq!(posted, Ok(true), "{text}");
    }
    assert_eq!(store.lane_head("a", 10).await.unwrap().len(), 3);
}

pub(crate) async fn a_clock_set_back_does_not_stop_the_posts(engine: &impl Engine) {
    let store = engine.open();
    let ahead = NOW + 365 * 24 * 60 * 60 * 1_000;
    assert_eq!(store.post(vec![delivery("a", "1")], once("s", "x"), ahead).await, Ok(true));
    assert_eq!(store.post(vec![delivery("a", "2")], once("s", "x"), NOW).await, Ok(true));
}

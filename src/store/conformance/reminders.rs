//! The reminders of every engine.

use super::{Engine, NOW, memory, merging, reminder};
use crate::store::{Reminder, Scope};

pub(crate) async fn a_source_makes_one_reminder(engine: &impl Engine) {
    let store = engine.open();
    let number = store.add_reminder(reminder("ann", "drink", NOW + 5), 10).await.unwrap().unwrap();
    assert_eq!(store.add_reminder(reminder("ann", "drink", NOW + 9), 10).await, Ok(Some(number)));
    let kept = store.reminders("ann").await.unwrap();
    let expected = Reminder {
        id: kept[0].id,
        user_id: "ann".into(),
        number,
        text: "drink".into(),
        interval_millis: 60_000,
        next_at: NOW + 5,
        target: "target of drink".into(),
    };
    assert_eq!(kept, [expected]);
    // Another person's source is another source.
    store.add_reminder(reminder("bob", "drink", NOW), 10).await.unwrap().unwrap();
    assert_eq!(store.reminder_count().await, Ok(2));
}

pub(crate) async fn numbers_are_one_series_with_memories(engine: &impl Engine) {
    let store = engine.open();
    let ann = Scope::user("ann").unwrap();
    assert_eq!(store.add_reminder(reminder("ann", "one", NOW), 10).await, Ok(Some(1)));
    assert_eq!(store.add_memories(&ann, vec![memory("two")]).await.unwrap()[0].number, 2);
    assert_eq!(store.add_reminder(reminder("ann", "three", NOW), 10).await, Ok(Some(3)));
    assert_eq!(store.add_reminder(reminder("bob", "his first", NOW), 10).await, Ok(Some(1)));
    let numbers: Vec<i64> =
        store.reminders("ann").await.unwrap().iter().map(|r| r.number).collect();
    assert_eq!(numbers, [1, 3]);
}

pub(crate) async fn due_reminders_come_earliest_first(engine: &impl Engine) {
    let store = engine.open();
    assert_eq!(store.next_reminder_at().await, Ok(None));
    for (text, at) in [("late", NOW + 1), ("second", NOW), ("first", NOW - 5)] {
        store.add_reminder(reminder("ann", text, at), 10).await.unwrap().unwrap();
    }
    let texts = |due: Vec<Reminder>| due.into_iter().map(|r| r.text).collect::<Vec<_>>();
    assert_eq!(texts(store.due_reminders(NOW, 10).await.unwrap()), ["first", "second"]);
    assert_eq!(texts(store.due_reminders(NOW, 1).await.unwrap()), ["first"]);
    assert_eq!(store.due_reminders(NOW - 6, 10).await, Ok(vec![]));
    assert_eq!(store.next_reminder_at().await, Ok(Some(NOW - 5)));
}

pub(crate) async fn a_reminder_fires_only_at_the_time_expected(engine: &impl Engine) {
    let store = engine.open();
    store.add_reminder(reminder("ann", "drink", NOW), 10).await.unwrap().unwrap();
    let id = store.due_reminders(NOW, 1).await.unwrap()[0].id;
    let fire = |expected, next| store.fire_reminder(id, expected, next, merging("push", "d", "k"));
    assert_eq!(fire(NOW - 1, NOW + 50).await, Ok(false));
    assert_eq!(store.outbox_depth().await.unwrap().waiting, 0);
    assert_eq!(fire(NOW, NOW + 100).await, Ok(true));
    assert_eq!(fire(NOW, NOW + 100).await, Ok(false), "once for one time");
    assert_eq!(store.next_reminder_at().await, Ok(Some(NOW + 100)));
    assert_eq!(store.lane_head("push", 10).await.unwrap()[0].occurrences, 1);
    // Fired again before the first went out: one message, twice.
    assert_eq!(fire(NOW + 100, NOW + 200).await, Ok(true));
    let waiting = store.lane_head("push", 10).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].occurrences), (1, 2));
    let never = store.fire_reminder(id + 1_000, NOW, NOW, merging("push", "d", "k"));
    assert_eq!(never.await, Ok(false));
}

pub(crate) async fn a_removed_reminder_is_gone_for_its_owner_only(engine: &impl Engine) {
    let store = engine.open();
    let number = store.add_reminder(reminder("ann", "drink", NOW), 10).await.unwrap().unwrap();
    store.add_reminder(reminder("bob", "drink", NOW), 10).await.unwrap().unwrap();
    let remove = |user: &'static str, number, source: &'static str| {
        store.remove_reminder(user, number, source, NOW)
    };
    assert_eq!(remove("nobody", number, "m1").await, Ok(false));
    assert_eq!(remove("ann", number + 7, "m2").await, Ok(false));
    assert_eq!(remove("ann", number, "m3").await, Ok(true));
    assert_eq!(remove("ann", number, "m3").await, Ok(true), "asked again by the same source");
    assert_eq!(remove("ann", number, "m4").await, Ok(false), "asked again by another");
    assert_eq!(store.reminders("ann").await, Ok(vec![]));
    assert_eq!(store.reminders("bob").await.unwrap().len(), 1);
}

pub(crate) async fn a_removed_reminder_does_not_come_back(engine: &impl Engine) {
    let store = engine.open();
    let number = store.add_reminder(reminder("ann", "drink", NOW), 10).await.unwrap().unwrap();
    store.remove_reminder("ann", number, "m", NOW).await.unwrap();
    assert_eq!(store.add_reminder(reminder("ann", "drink", NOW), 10).await, Ok(Some(number)));
    assert_eq!(store.reminder_count().await, Ok(0));
    assert_eq!(store.add_reminder(reminder("ann", "sit", NOW), 10).await, Ok(Some(number + 1)));
}

pub(crate) async fn nobody_has_more_reminders_than_allowed(engine: &impl Engine) {
    let store = engine.open();
    assert_eq!(store.add_reminder(reminder("ann", "one", NOW), 1).await, Ok(Some(1)));
    assert_eq!(store.add_reminder(reminder("ann", "two", NOW), 1).await, Ok(None));
    // The message that made the last one, worked on again, still says its number.
    assert_eq!(store.add_reminder(reminder("ann", "one", NOW), 1).await, Ok(Some(1)));
    assert_eq!(store.add_reminder(reminder("bob", "one", NOW), 1).await, Ok(Some(1)));
}

pub(crate) async fn a_clock_set_back_does_not_silence_reminders(engine: &impl Engine) {
    let store = engine.open();
    let interval = reminder("ann", "drink", NOW).interval_millis;
    for (text, next_at) in [("far off", NOW + 1_000 * interval + 7), ("as it should", NOW + 7)] {
        store.add_reminder(reminder("ann", text, next_at), 10).await.unwrap().unwrap();
    }
    store.realign_reminders(NOW).await.unwrap();
    let times: Vec<i64> = store.reminders("ann").await.unwrap().iter().map(|r| r.next_at).collect();
    assert_eq!(times, [NOW + 7, NOW + 7], "the next of its own times, not any time");
}

pub(crate) async fn skipping_says_nothing(engine: &impl Engine) {
    let store = engine.open();
    store.add_reminder(reminder("ann", "drink", NOW), 10).await.unwrap().unwrap();
    let id = store.due_reminders(NOW, 1).await.unwrap()[0].id;
    store.skip_reminder(id, NOW + 60_000).await.unwrap();
    assert_eq!(store.next_reminder_at().await, Ok(Some(NOW + 60_000)));
    assert_eq!(store.outbox_depth().await.unwrap().waiting, 0);
}

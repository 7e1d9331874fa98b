//! What every engine behind the store must do: the sentences of the traits' documents, as tests.
//!
//! An engine's tests name a fixture and get all of them:
//! `crate::store::conformance::every_case!(fixture)`, where `fixture()` is an [`Engine`].

pub(crate) mod conversation;
pub(crate) mod inbox;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod memories;
pub(crate) mod outbox;
pub(crate) mod reminders;

use std::sync::Arc;

use super::{
    Answered, InboxId, NewDelivery, NewMemory, NewMessage, NewReminder, NewTurn, Store, TurnRole,
    Words,
};

/// A place in which an engine keeps one store.
pub(crate) trait Engine {
    /// Opens the store; the second time with what the first one kept.
    fn open(&self) -> Arc<dyn Store>;
}

/// The present, in every case.
pub(crate) const NOW: i64 = 1_800_000_000_000;

macro_rules! every_case {
    ($fixture:path) => {
        $crate::store::conformance::every_case! { $fixture;
            inbox {
                a_key_is_accepted_once,
                a_message_without_a_key_is_always_new,
                a_conversation_is_answered_in_order,
                conversations_come_in_the_order_of_their_oldest_message,
                an_answer_is_given_once,
                an_answer_changes_everything_or_nothing,
                answered_messages_wait_to_be_settled_in_order,
                only_an_answered_message_is_settled,
                pruning_leaves_what_is_unsettled_or_young,
                depth_counts_what_is_unanswered,
                a_message_survives_reopening,
            }
            outbox {
                a_lane_keeps_its_order,
                the_first_of_a_lane_decides_when_it_is_due,
                lanes_come_earliest_first_and_limited,
                a_head_is_one_batch,
                the_same_key_merges_while_it_is_untried,
                nothing_merges_into_what_was_tried_or_batched,
                failures_are_counted_and_holding_is_not,
                the_dead_are_revived_or_dropped,
                a_reminder_is_dead_once,
                old_dead_deliveries_are_pruned,
                sends_are_limited_in_a_window_across_reopening,
                a_post_is_all_in_the_outbox_in_its_order,
                a_post_repeated_at_once_is_put_once_across_reopening,
                a_post_is_no_repetition_when_something_else_was_said,
                a_clock_set_back_does_not_stop_the_posts,
                a_clock_set_back_does_not_stop_the_sends,
                depth_counts_waiting_and_dead,
            }
            reminders {
                a_source_makes_one_reminder,
                numbers_are_one_series_with_memories,
                due_reminders_come_earliest_first,
                a_reminder_fires_only_at_the_time_expected,
                a_removed_reminder_is_gone_for_its_owner_only,
                a_removed_reminder_does_not_come_back,
                skipping_says_nothing,
                nobody_has_more_reminders_than_allowed,
                a_clock_set_back_does_not_silence_reminders,
            }
            conversation {
                recent_turns_are_the_newest_oldest_first,
                a_thread_keeps_two_hundred_turns,
                a_thread_can_be_forgotten_and_begun_anew,
                a_question_is_open_until_its_time_or_the_next_answer,
                a_person_is_told_once,
                old_turns_are_pruned,
            }
            jobs {
                a_source_makes_one_job,
                a_job_waits_for_its_time_and_ends_once,
                jobs_are_listed_and_pruned_when_over,
                the_work_of_one_is_done_in_order,
                a_profile_is_forgotten_with_what_it_was_made_of,
                who_has_everything_forgotten_has_no_work_left,
            }
            keys {
                a_key_is_kept_until_it_is_removed,
            }
            memories {
                a_source_makes_one_memory,
                memories_are_added_all_or_none,
                nobody_sees_what_belongs_to_another,
                a_narrower_scope_sees_less,
                statistics_count_what_is_kept,
                keys_give_records_in_their_order,
                what_was_taken_out_is_known_when_it_comes_back,
                a_number_is_never_given_twice,
                forgetting_asked_again_says_the_same,
                a_forgotten_memory_does_not_come_back,
                forget_all_takes_memories_and_reminders,
                forgetting_takes_the_turns_along,
                what_was_said_before_forget_all_is_not_kept_after_it,
                forget_all_of_a_narrower_scope_leaves_the_rest,
                a_text_comes_back_as_it_was_said,
            }
        }
    };
    ($fixture:path; $($room:ident { $($case:ident,)* })*) => {
        $(mod $room {
            $(#[tokio::test]
            async fn $case() {
                $crate::store::conformance::$room::$case(&$fixture()).await;
            })*
        })*
    };
}
pub(crate) use every_case;

/// A message in `conversation`, received at [`NOW`].
fn message(key: &str, conversation: &str) -> NewMessage {
    NewMessage {
        key: Some(key.into()),
        conversation: conversation.into(),
        payload: format!("payload of {key}"),
        received_at: NOW,
    }
}

/// Keeps a message that must be new.
async fn accept(store: &dyn Store, new: NewMessage) -> InboxId {
    match store.accept(new).await.unwrap() {
        super::Accepted::New(id) => id,
        super::Accepted::Duplicate => panic!("known already"),
    }
}

/// A delivery that merges with nothing.
fn delivery(lane: &str, payload: &str) -> NewDelivery {
    NewDelivery {
        lane: lane.into(),
        uuid: format!("uuid of {payload}"),
        payload: payload.into(),
        merge_key: None,
        created_at: NOW,
    }
}

/// A delivery that merges with those of the same key.
fn merging(lane: &str, payload: &str, key: &str) -> NewDelivery {
    NewDelivery { merge_key: Some(key.into()), ..delivery(lane, payload) }
}

fn turn(role: TurnRole, text: &str) -> NewTurn {
    NewTurn { role, text: text.into(), at: NOW }
}

/// Puts deliveries into the outbox as the answer to a message, and returns where they stand.
async fn put(store: &dyn Store, deliveries: Vec<NewDelivery>) -> Vec<super::OutboxId> {
    let new = NewMessage { key: None, ..message("", "any") };
    let id = accept(store, new).await;
    let answered = Answered { deliveries, ..Answered::default() };
    store.answer(id, answered).await.unwrap().expect("not answered before")
}

/// A memory whose terms are its words, once each, and whose source is its text.
pub(crate) fn memory(text: &str) -> NewMemory {
    NewMemory {
        id: format!("id of {text}"),
        text: text.into(),
        words: Words {
            terms: text.split(' ').map(|word| (word.to_owned(), 1)).collect(),
            speaker: None,
        },
        source: Some(format!("source of {text}")),
        created_at: NOW,
        ..NewMemory::default()
    }
}

fn reminder(user_id: &str, text: &str, next_at: i64) -> NewReminder {
    NewReminder {
        user_id: user_id.into(),
        text: text.into(),
        interval_millis: 60_000,
        next_at,
        target: format!("target of {text}"),
        source: format!("source of {text}"),
        created_at: NOW,
    }
}

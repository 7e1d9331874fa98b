//! Query plans: what is asked often must not read what it does not need, with statistics or
//! without.

use rusqlite::Connection;

use super::Place;
use crate::store::sqlite::{inbox, memories, outbox};

/// How SQLite would run a statement, one step a line.
fn plan(c: &Connection, sql: &str) -> String {
    let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    for parameter in 1..=statement.parameter_count() {
        statement.raw_bind_parameter(parameter, "x").unwrap();
    }
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get::<_, String>(3).unwrap());
    }
    steps.join("\n")
}

/// Thousands of settled messages, a few pending; a long lane and many short ones.
fn fill(c: &Connection) {
    c.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO inbox (message_key, conversation, payload, state, received_at)
         SELECT i, 'c' || (i % 500), 'x', CASE WHEN i > 19990 THEN i % 2 ELSE 2 END, i FROM n;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO outbox (lane, uuid, payload, merge_key, state, next_attempt_at, created_at)
         SELECT CASE WHEN i < 4000 THEN 'long' ELSE 'l' || i END, i, 'x', i, i % 50 = 0, i, i
         FROM n;",
    )
    .unwrap();
}

#[test]
fn hot_statements_use_their_indexes() {
    let place = Place::new();
    drop(place.store());
    let c = Connection::open(place.file()).unwrap();
    let expected = [
        (inbox::PENDING_CONVERSATIONS, "COVERING INDEX inbox_pending"),
        (inbox::OLDEST_PENDING, "INDEX inbox_pending (conversation=?)"),
        (inbox::UNSETTLED, "INDEX inbox_answered"),
        (inbox::PRUNE, "COVERING INDEX inbox_settled (received_at<?)"),
        (inbox::DEPTH, "COVERING INDEX inbox_pending"),
        (outbox::WAITING_LANES, "COVERING INDEX outbox_waiting"),
        (outbox::MERGE, "INDEX outbox_mergeable (lane=? AND merge_key=?)"),
        (outbox::FORGET_POSTS, "INDEX sends_by_sender (sender>? AND sender<?)"),
        (outbox::WAITING, "COVERING INDEX outbox_waiting"),
        (outbox::OLDEST_WAITING, "COVERING INDEX outbox_waiting"),
        (outbox::DEAD, "COVERING INDEX outbox_dead"),
        (memories::POSTINGS, "PRIMARY KEY (owner=? AND term=? AND memory>?)"),
        (memories::VECTORS, "PRIMARY KEY (owner=? AND memory>?)"),
        (memories::TURNS, "COVERING INDEX memories_turns (owner=? AND key>?)"),
        (memories::SPEAKERS, "COVERING INDEX memories_speakers (owner=? AND key>?)"),
    ];
    let lane_head = outbox::lane_head_sql();
    let expected = expected.into_iter().chain([(lane_head.as_str(), "outbox_waiting (lane=?)")]);
    let check = |when: &str| {
        for (sql, index) in expected.clone() {
            let plan = plan(&c, sql);
            assert!(plan.contains(index), "{when}: {sql}\n{plan}");
            assert!(!plan.contains("SCAN inbox\n"), "{when}: {sql}\n{plan}");
        }
    };
    check("empty");
    fill(&c);
    check("filled");
    c.execute_batch("ANALYZE").unwrap();
    check("analyzed");
}

#[test]
fn no_statement_for_one_row_sorts() {
    let place = Place::new();
    drop(place.store());
    let c = Connection::open(place.file()).unwrap();
    let lane_head = outbox::lane_head_sql();
    for sql in [inbox::OLDEST_PENDING, inbox::UNSETTLED, lane_head.as_str()] {
        let plan = plan(&c, sql);
        assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}

#[tokio::test]
async fn a_hundred_thousand_pending_messages_are_found_in_order() {
    use crate::store::InboxStore;
    let place = Place::new();
    let store = place.store();
    store
        .writer
        .write(|c| {
            c.execute_batch(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
                 INSERT INTO inbox (conversation, payload, received_at)
                 SELECT 'c' || ((100000 - i) / 2), 'x', i FROM n;",
            )
        })
        .await
        .unwrap();
    let conversations = store.pending_conversations().await.unwrap();
    assert_eq!(conversations.len(), 50_000);
    assert_eq!((&*conversations[0], &*conversations[49_999]), ("c49999", "c0"));
    assert_eq!(store.inbox_depth().await.unwrap().pending, 100_000);
}

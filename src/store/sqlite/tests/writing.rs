//! Writing: shared transactions, failures of one and of all, and what forgetting leaves.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rusqlite::Connection;

use super::Place;
use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{
    Accepted, ConversationStore, InboxStore, MemoryStore, NewMemory, NewMessage, NewReminder,
    ReminderStore, Result, Scope, Store, StoreError, Words,
};
use crate::telemetry::metrics::Metrics;

fn message(key: usize, payload: &str) -> NewMessage {
    NewMessage {
        key: Some(key.to_string()),
        conversation: "c".into(),
        payload: payload.into(),
        received_at: 0,
    }
}

fn commits(metrics: &Metrics, outcome: &str) -> u64 {
    metrics.store_commits.with_label_values(&[outcome]).get()
}

/// Holds up the writing thread until the guard is dropped, as another program that writes does.
fn hold_up(place: &Place) -> Connection {
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

/// Returns once so many writes wait for the thread.
async fn waiting(store: &SqliteStore, count: usize) {
    let reached = async {
        while store.writer.waiting() != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached).await.expect("the writes to be queued");
}

#[tokio::test]
async fn writes_that_come_together_share_a_transaction() {
    let place = Place::new();
    let options = place.options();
    let metrics = Arc::clone(&options.metrics);
    let store = SqliteStore::open(options).unwrap();
    let other = hold_up(&place);
    let writes = join_all((0..200).map(|key| store.accept(message(key, "x"))));
    let release = async {
        tokio::task::yield_now().await;
        drop(other);
    };
    let (accepted, ()) = tokio::join!(writes, release);
    assert!(accepted.iter().all(|a| matches!(a, Ok(Accepted::New(_)))), "{accepted:?}");
    assert_eq!(store.inbox_depth().await.unwrap().pending, 200);
    // The first may have gone alone.
    let commits = commits(&metrics, "ok");
    assert!((1..=2).contains(&commits), "{commits} transactions for 200 writes");
    assert_eq!(metrics.store_commit_jobs.get_sample_sum(), 200.0);
}

#[tokio::test]
async fn a_batch_is_bounded() {
    let place = Place::new();
    let options = Options { max_batch: 1, ..place.options() };
    let metrics = Arc::clone(&options.metrics);
    let store = SqliteStore::open(options).unwrap();
    join_all((0..20).map(|key| store.accept(message(key, "x")))).await;
    assert_eq!(commits(&metrics, "ok"), 20);
}

#[tokio::test]
async fn a_write_that_fails_does_not_disturb_those_it_shares_with() {
    let place = Place::new();
    let failures = Arc::new(AtomicUsize::new(0));
    let mut options = place.options();
    let metrics = Arc::clone(&options.metrics);
    let counted = Arc::clone(&failures);
    options.observer = Arc::new(move |outcome: &Result<()>| {
        counted.fetch_add(usize::from(outcome.is_err()), Ordering::Relaxed);
    });
    let store = SqliteStore::open(options).unwrap();
    let refused = || {
        let reminder = NewReminder {
            user_id: "ann".into(),
            text: "never".into(),
            // Refused by the layout, after the person's row and number were written.
            interval_millis: 0,
            next_at: 0,
            target: String::new(),
            source: "s".into(),
            created_at: 0,
        };
        store.add_reminder(reminder, 10)
    };
    let panics = || {
        store.writer.write(|c| -> rusqlite::Result<()> {
            c.execute("INSERT INTO told VALUES ('halfway', 'x')", [])?;
            panic!("a fault in a write");
        })
    };
    let other = hold_up(&place);
    let release = async {
        tokio::task::yield_now().await;
        drop(other);
    };
    let (before, bad, panicked, after, ()) = tokio::join!(
        store.accept(message(1, "before")),
        refused(),
        panics(),
        store.accept(message(2, "after")),
        release
    );
    assert!(matches!(bad, Err(StoreError::Failed(_))), "{bad:?}");
    assert!(matches!(panicked, Err(StoreError::Failed(_))), "{panicked:?}");
    assert!(matches!((&before, &after), (Ok(Accepted::New(_)), Ok(Accepted::New(_)))));
    assert_eq!(store.inbox_depth().await.unwrap().pending, 2);
    assert_eq!(store.was_told("halfway", "x").await, Ok(false), "nothing of it stays");
    assert_eq!(store.reminder_count().await, Ok(0));
    assert!(commits(&metrics, "ok") <= 3);
    assert_eq!(failures.load(Ordering::Relaxed), 0, "that says nothing of the store");
}

#[tokio::test]
async fn nothing_runs_outside_of_a_transaction() {
    let place = Place::new();
    let store = place.store();
    let other = hold_up(&place);
    // The thread takes what waits when it is free: the first is taken before the rest is queued,
    // and the rest is queued before the first may begin. So they share the second transaction.
    let release = async {
        waiting(&store, 3).await;
        drop(other);
    };
    let rest = async {
        waiting(&store, 0).await;
        // As SQLite does on its own when the disk fails in the middle.
        let rollback = store.writer.write(|c| c.execute_batch("ROLLBACK"));
        let with = store.accept(message(1, "with it"));
        let behind = store.accept(message(2, "behind it"));
        tokio::join!(with, rollback, behind)
    };
    let first = store.accept(message(0, "before it"));
    let (first, (with, rolled_back, behind), ()) = tokio::join!(first, rest, release);
    assert!(rolled_back.is_err() && with.is_err() && behind.is_err(), "{with:?} {behind:?}");
    assert!(matches!(first, Ok(Accepted::New(_))), "{first:?}");
    assert_eq!(store.inbox_depth().await.unwrap().pending, 1);
    assert!(matches!(store.accept(message(2, "again")).await, Ok(Accepted::New(_))));
}

#[tokio::test]
async fn a_long_queue_that_moves_has_a_heartbeat() {
    let place = Place::new();
    let options = Options { max_batch: 1, ..place.options() };
    let metrics = Arc::clone(&options.metrics);
    let store = SqliteStore::open(options).unwrap();
    let writes = join_all((0..200).map(|key| store.accept(message(key, "x"))));
    let beat = async {
        store.heartbeat().await.unwrap();
        commits(&metrics, "ok")
    };
    let (_, before) = tokio::join!(writes, beat);
    assert!(before < 200, "it waited for the whole queue");
}

#[tokio::test]
async fn a_thread_that_hangs_has_none() {
    let place = Place::new();
    let store = place.store();
    store.heartbeat().await.unwrap();
    let other = hold_up(&place);
    let (written, beat) = tokio::join!(store.accept(message(1, "x")), async {
        let beat = tokio::time::timeout(Duration::from_millis(300), store.heartbeat()).await;
        drop(other);
        beat
    });
    assert!(beat.is_err() && written.is_ok(), "{beat:?} {written:?}");
    store.heartbeat().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_its_write() {
    let place = Place::new();
    let store = place.store();
    let other = hold_up(&place);
    let gone = tokio::time::timeout(Duration::ZERO, store.accept(message(1, "x"))).await;
    assert!(gone.is_err(), "it was held up");
    drop(other);
    // Writes keep their order: the one before is done when this one is.
    assert_eq!(store.accept(message(1, "x")).await, Ok(Accepted::Duplicate));
}

#[tokio::test]
async fn readers_whose_callers_went_away_leave_their_places() {
    let place = Place::new();
    let store = place.store();
    for _ in 0..2_000 {
        // Polled once: queued or waiting for a place, then dropped.
        let _ = futures_util::poll!(Box::pin(store.inbox_depth()));
    }
    assert_eq!(store.inbox_depth().await.unwrap().pending, 0);
    let panicked = store.readers.read(|_| -> rusqlite::Result<()> { panic!("a fault in a read") });
    assert!(matches!(panicked.await, Err(StoreError::Failed(_))));
    let panics =
        (0..4).map(|_| store.readers.read(|_| -> rusqlite::Result<()> { panic!("again") }));
    assert!(join_all(panics).await.iter().all(Result::is_err), "more than there are threads");
    assert_eq!(store.inbox_depth().await.unwrap().pending, 0);
}

#[tokio::test]
async fn what_is_committed_can_be_read_by_its_caller() {
    let place = Place::new();
    let store = place.store();
    for key in 0..100 {
        store.accept(message(key, "x")).await.unwrap();
        assert_eq!(store.inbox_depth().await.unwrap().pending, key + 1);
    }
}

#[tokio::test]
async fn closing_writes_what_waits() {
    let place = Place::new();
    let store = Arc::new(place.store());
    let other = hold_up(&place);
    let tasks: Vec<_> = (0..50)
        .map(|key| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.accept(message(key, "x")).await })
        })
        .collect();
    while store.writer.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    for task in &tasks {
        task.abort();
    }
    for task in tasks {
        let _ = task.await;
    }
    let store = Arc::try_unwrap(store).expect("every task has gone");
    let closing = tokio::task::spawn_blocking(|| store.close());
    drop(other);
    closing.await.unwrap();
    assert_eq!(place.store().inbox_depth().await.unwrap().pending, 50);
}

#[tokio::test]
async fn what_is_forgotten_is_not_left_in_the_file() {
    let place = Place::new();
    let store = place.store();
    let ann = Scope::user("ann").unwrap();
    let memories = (0..50).map(|n| NewMemory {
        id: n.to_string(),
        text: format!("the-secret {n} {}", "and more ".repeat(100)),
        words: Words {
            terms: vec![("the-secret".into(), 1), (format!("term-{n}"), 1)],
            speaker: Some(format!("the-secret {n}")),
        },
        source: Some(n.to_string()),
        ..NewMemory::default()
    });
    store.add_memories(&ann, memories.collect()).await.unwrap();
    store.forget_all(&ann, "m", 0).await.unwrap();
    tokio::task::spawn_blocking(|| store.close()).await.unwrap();
    let bytes = std::fs::read(place.file()).unwrap();
    let holds = |word: &[u8]| bytes.windows(word.len()).any(|w| w == word);
    assert!(holds(b"forgotten_sources"), "the layout is there");
    assert!(!holds(b"the-secret"), "the text is still there");
}

/// A small file system of its own, unmounted in the end.
struct SmallDisk {
    place: Place,
}

impl SmallDisk {
    /// `None`, with the reason printed, where mounting is not permitted.
    fn mount() -> Option<Self> {
        let place = Place::new();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"])
            .arg(place.folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { place }),
            other => {
                eprintln!("skipped: a file system of 40 MiB cannot be mounted here: {other:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.place.folder.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_recovered_from() {
    let Some(disk) = SmallDisk::mount() else { return };
    let place = &disk.place;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut options = place.options();
    let observed = Arc::clone(&seen);
    options.observer =
        Arc::new(move |outcome: &Result<()>| observed.lock().unwrap().push(outcome.clone()));
    let metrics = Arc::clone(&options.metrics);
    let store = SqliteStore::open(options).unwrap();
    let ballast = place.folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 26 * 1_024 * 1_024]).unwrap();

    // Sixteen of these are more than the page cache holds: the disk is met in the middle of a
    // transaction, which SQLite then rolls back on its own, as well as at its end.
    let payload = "x".repeat(300_000);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for round in 0..100 {
        let keys = round * 16..(round + 1) * 16;
        let outcomes = join_all(keys.clone().map(|key| store.accept(message(key, &payload)))).await;
        for (key, outcome) in keys.zip(outcomes) {
            match outcome {
                Ok(Accepted::New(_)) => acknowledged.push(key),
                Err(StoreError::Full) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0 && !acknowledged.is_empty(), "{} and {refused}", acknowledged.len());
    assert!(seen.lock().unwrap().contains(&Err(StoreError::Full)));
    assert!(commits(&metrics, "error") > 0);
    // What the refused ones had taken in the log is used up one at a time.
    let rest = place.folder.path().join("rest");
    assert!(std::fs::write(&rest, vec![0; 40 * 1_024 * 1_024]).is_err());
    for key in 10_000..11_000 {
        match store.accept(message(key, &payload)).await {
            Ok(Accepted::New(_)) => acknowledged.push(key),
            Err(StoreError::Full) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen.lock().unwrap().last(), Some(&Err(StoreError::Full)));
    assert_eq!(store.inbox_depth().await.unwrap().pending, acknowledged.len(), "reading goes on");

    std::fs::remove_file(&ballast).unwrap();
    std::fs::remove_file(&rest).unwrap();
    assert_eq!(store.probe().await, Ok(()));
    assert_eq!(seen.lock().unwrap().last(), Some(&Ok(())));
    assert!(matches!(store.accept(message(20_000, "after")).await, Ok(Accepted::New(_))));
    tokio::task::spawn_blocking(|| store.close()).await.unwrap();

    let store = place.store();
    assert_eq!(store.verify().await, Ok(()));
    assert_eq!(store.inbox_depth().await.unwrap().pending, acknowledged.len() + 1);
    for key in acknowledged {
        assert_eq!(store.accept(message(key, "again")).await, Ok(Accepted::Duplicate), "{key}");
    }
}

//! Start to ready, with 100,000 memories in the store.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use dingbot::memory::terms;
use dingbot::store::sqlite::{Options, SqliteStore};
use dingbot::store::{MemoryStore, NewMemory, Scope};
use dingbot::telemetry::metrics::Metrics;

use crate::statistics::{median, millis};
use crate::support::daemon::Daemon;
use crate::support::settings::Settings;
use crate::table::{Row, Table, Target};

const PEOPLE: usize = 1_000;
const MEMORIES_EACH: usize = 100;
/// Starts in a round.
const STARTS: usize = 5;

pub(crate) async fn measure(table: &mut Table) {
    let mut empty = Daemon::start(Settings::bare()).await;
    let mut full = Daemon::start(Settings::bare()).await;
    stop(&mut empty).await;
    stop(&mut full).await;
    let file = full.state_directory().join("dingbot.db");
    fill(&file).await;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..crate::rounds() * STARTS {
        with.push(start(&mut full).await);
        stop(&mut full).await;
        without.push(start(&mut empty).await);
        stop(&mut empty).await;
    }
    full.restart().await;
    let kept = (PEOPLE * MEMORIES_EACH) as f64;
    let said = |m: &crate::support::exposition::Exposition| m.sum("dingbot_memories", &[]) == kept;
    full.wait_for_metrics("the memories are there", said).await;
    table.add(Row {
        measurement: "exec to ready, 100,000 memories".into(),
        unit: "ms",
        dingbot: median(&with),
        peer: Some(("empty store".into(), median(&without))),
        target: Target::AtMost(150.0),
    });
    let size = std::fs::metadata(&file).unwrap().len() as f64 / f64::from(1 << 20);
    table.note(format!(
        "Start: median of {} starts after a clean stop, the file ({size:.0} MiB) in the page cache; \
         slowest {:.0} ms.",
        with.len(),
        with.iter().copied().fold(0.0, f64::max),
    ));
}

async fn stop(daemon: &mut Daemon) {
    daemon.sigterm();
    daemon.wait_exit().await;
}

/// Starts a stopped daemon; milliseconds until its log says that it is ready.
async fn start(daemon: &mut Daemon) -> f64 {
    let started = Instant::now();
    daemon.restart().await;
    millis(started.elapsed())
}

/// Gives 1,000 people 100 memories each.
async fn fill(file: &Path) {
    let options = Options::new(file.to_owned(), Arc::new(Metrics::new()));
    let store = SqliteStore::open(options).unwrap();
    for person in 0..PEOPLE {
        let scope = Scope::user(&format!("staff{person}")).expect("a person");
        let memories = (0..MEMORIES_EACH).map(|number| memory(person, number)).collect();
        store.add_memories(&scope, memories).await.unwrap();
    }
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}

/// A statement as people make them, in Chinese and in English by turns.
fn memory(person: usize, number: usize) -> NewMemory {
    let text = if number.is_multiple_of(2) {
        format!("我第{number}个项目的代号是北极星{person}，每周三下午在三号会议室开例会。")
    } else {
        format!("My locker number {number} on floor {person} opens with the blue key, not the red.")
    };
    NewMemory {
        id: uuid::Uuid::now_v7().to_string(),
        words: terms::words(&text, None),
        text,
        source: Some(format!("fill:{number}")),
        created_at: 1_790_000_000_000,
        ..NewMemory::default()
    }
}

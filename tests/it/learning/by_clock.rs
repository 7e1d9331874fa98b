//! What takes hours, by a clock that a test moves.

use std::sync::Arc;
use std::time::Duration;

use dingbot::config::settings;
use dingbot::live::Live;
use dingbot::llm::ChatModel;
use dingbot::memory::adding::{Addition, Said};
use dingbot::memory::learning::{Learner, Learnt};
use dingbot::memory::{Memory, Parts, Scope, Utterance};
use dingbot::store::sqlite::{Options, SqliteStore};
use dingbot::store::{JobState, JobStore as _};
use dingbot::telemetry::clock::Clock;
use dingbot::telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::support::PATIENCE;
use crate::support::model::{Asked, KEY, Model, Reply};

/// Monday 2026-11-23 07:30 in Shanghai.
const NOW: i64 = 1_795_390_200_000;

struct Room {
    model: Model,
    memory: Live<Memory>,
    store: Arc<SqliteStore>,
    clock: Clock,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Room {
    async fn new() -> Self {
        let model = Model::start().await;
        let metrics = Arc::new(Metrics::new());
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path().join("dingbot.db"), Arc::clone(&metrics));
        let store = Arc::new(SqliteStore::open(options).unwrap());
        let llm = settings::Llm {
            base_url: model.base().parse().unwrap(),
            api_key: KEY.into(),
            model: "m-1".into(),
            ..settings::Llm::default()
        };
        let clock = Clock::manual(NOW);
        let parts = Parts {
            store: Arc::clone(&store) as Arc<dyn dingbot::store::Store>,
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            meaning: None,
            model: Some(Arc::new(ChatModel::new(&llm, metrics).unwrap())),
            lessons: Arc::default(),
        };
        let memory = Live::new(Memory::new(&settings::Memory::default(), parts));
        let stop = CancellationToken::new();
        tokio::spawn(Learner { memory: memory.clone() }.run(stop.clone()));
        Self { model, memory, store, clock, stop, _folder: folder }
    }

    async fn say(&self, text: &str, source: &str) {
        let said = Utterance { text, source, said_at: self.clock.now_millis() };
        self.memory.get().observe(&ann(), said).await.unwrap();
    }

    async fn texts(&self) -> Vec<String> {
        let all = self.memory.get().list(&ann(), 50).await.unwrap();
        all.into_iter().map(|record| record.text).collect()
    }

    /// Says something else until this holds: whatever is said has the learner look.
    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let wait = async {
            while !holds().await {
                self.say("我有空", "bell").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn ann() -> Scope {
    Scope::user("ann").unwrap()
}

#[tokio::test]
async fn a_message_that_the_model_fails_on_is_kept_word_for_word_in_the_end() {
    let room = Room::new().await;
    room.model.answer_always(Reply::text("I would rather talk about the weather."));
    room.say("我住在杭州", "message:1").await;
    let attempts = async |room: &Room| {
        let (jobs, _) = room.store.jobs(dingbot::store::Part::first(9)).await.unwrap();
        jobs.into_iter()
            .find(|job| job.id != "bell" && job.attempts > 0)
            .map_or(0, |job| job.attempts)
    };
    room.until("tried", async || attempts(&room).await == 1).await;
    assert_eq!(room.texts().await, Vec::<String>::new(), "it waits first");
    room.clock.advance(Duration::from_secs(3_600));
    room.until("tried again", async || attempts(&room).await == 2).await;
    room.clock.advance(Duration::from_secs(3_600));
    room.until("kept", async || room.texts().await == ["我住在杭州"]).await;
    let about = |asked: &&Asked| asked.prompt().contains("Message: \"我住在杭州");
    let calls = room.model.asked().iter().filter(about).count();
    assert!(calls <= 6, "{calls} calls for three attempts");
}

#[tokio::test]
async fn what_is_said_twice_costs_one_memory_and_one_source_one_job() {
    let room = Room::new().await;
    room.model.answer_always(Reply::text(r#"{"memories":[{"text":"我住在杭州"}]}"#));
    for source in ["message:1", "message:1", "message:2"] {
        room.say("我住在杭州", source).await;
    }
    let over = async || room.store.waiting_jobs().await.unwrap() == 0;
    let wait = async {
        while !over().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(room.texts().await, ["我住在杭州"]);
    assert_eq!(room.model.asked().len(), 2);
}

#[tokio::test]
async fn a_statement_of_long_ago_takes_no_later_ones_place() {
    let room = Room::new().await;
    room.model.answer_next([
        Reply::text(r#"{"memories":[{"text":"我住在上海"}]}"#),
        Reply::text(r#"{"memories":[{"text":"我住在杭州","supersedes":[1]}]}"#),
    ]);
    let patience = Duration::from_secs(20);
    for (text, said_at) in [("我住在上海", NOW), ("我住在杭州", NOW - 86_400_000)] {
        let message = Said { role: "user".into(), text: text.into(), name: None };
        let addition =
            Addition { messages: vec![message], infer: true, said_at, ..Addition::default() };
        let learnt = room.memory.get().learn(&ann(), addition, patience).await.unwrap();
        assert!(matches!(learnt, Learnt::Now(added) if added.len() == 1));
    }
    let all = room.memory.get().list(&ann(), 9).await.unwrap();
    assert!(all.iter().all(|record| record.superseded.is_none()), "{all:?}");
    let (jobs, _) = room.store.jobs(dingbot::store::Part::first(9)).await.unwrap();
    assert!(jobs.iter().all(|job| job.state == JobState::Succeeded));
}

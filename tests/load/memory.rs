//! Long-term memory of one person: searches and additions over HTTP, each caller on a connection of
//! its own.
//!
//! The peer is Mem0's library, version 2.2.1, in a process of its own with its embedded Qdrant, over
//! the same texts and the same vectors; it is called without HTTP in between, and keeps what it is
//! told word for word (`infer=False`). The call for a vector is in the peer's time, and in none of
//! ours: questions are asked once before they are measured, and their vectors kept. `memory_peer.py`
//! tells the peer's median with and without it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::caller::Caller;
use crate::resident::resident;
use crate::statistics::{median, millis, quantile};
use crate::support::daemon::Daemon;
use crate::support::exposition::Exposition;
use crate::support::model::{KEY, Model, Reply};
use crate::support::settings::Settings;
use crate::table::{Row, Table, Target};

/// Memories of the one person.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Most that the peer is measured with: a search of its takes a second with more.
const MOST_OF_PEER: usize = 10_000;
/// Numbers in a vector of the endpoint.
const DIMENSIONS: usize = 1_024;
/// Searches that are measured, of so many different questions.
const SEARCHES: usize = 600;
const QUESTIONS: usize = 60;
/// What is to be remembered when the cost of it is counted.
const MESSAGE: &str = "我下周三去上海出差，住在浦东，客户是李娜，订单号 A-1024，别忘了带合同。";
/// Connections that add, and what each adds.
const ADDERS: (usize, usize) = (32, 300);
/// Longest that vectors may take.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Memories of many people.
const MANY: usize = 1_000_000;
const PEOPLE: usize = 20_000;

const PLACES: [&str; 8] = ["杭州", "上海", "北京", "深圳", "成都", "Berlin", "Paris", "Tokyo"];
const THINGS: [&str; 10] = [
    "喝龙井茶",
    "吃牛肉面",
    "爬山",
    "写 Rust",
    "养猫",
    "play the violin",
    "run",
    "swim",
    "read",
    "值班",
];

fn text(number: usize) -> String {
    let (place, thing) = (PLACES[number % PLACES.len()], THINGS[number / 8 % THINGS.len()]);
    format!("第 {number} 次在{place} {thing}，花了 {} 元，编号 A-{number}", number * 7 % 997)
}

fn question(number: usize) -> String {
    let (place, thing) = (PLACES[number % PLACES.len()], THINGS[number % THINGS.len()]);
    format!("我在{place} {thing} 花了多少钱，A-{} 是哪次", number * 31)
}

fn post(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn search(person: &str, number: usize) -> Vec<u8> {
    let body = json!({"query": question(number), "filters": {"user_id": person}, "top_k": 10});
    post("/v3/memories/search/", &body)
}

/// A file of memories, as `dingbot memory import` reads it.
fn export(folder: &Path, count: usize, person: impl Fn(usize) -> String) -> PathBuf {
    let file = folder.join("memories.jsonl");
    let mut lines = BufWriter::new(File::create(&file).unwrap());
    writeln!(lines, "{}", json!({"dingbot_export": 1})).unwrap();
    for number in 0..count {
        let id = uuid::Uuid::from_u128(number as u128 + 1).to_string();
        let at = jiff::Timestamp::from_second(1_790_000_000 + number as i64).unwrap();
        let memory = json!({
            "id": id,
            "memory": text(number),
            "user_id": person(number),
            "created_at": at,
            "updated_at": at,
        });
        writeln!(lines, "{memory}").unwrap();
    }
    lines.flush().unwrap();
    file
}

/// How long searches take, each of another of so many people.
async fn searches(daemon: &Daemon, people: usize) -> Vec<f64> {
    let mut caller = Caller::connect(daemon.address()).await;
    for number in 0..QUESTIONS {
        assert_eq!(caller.exchange(&search(&person(0), number)).await, 200);
    }
    let mut times = Vec::with_capacity(SEARCHES);
    for number in 0..SEARCHES {
        // A prime that divides no number of people: nobody comes twice before all came.
        let request = search(&person(number * 7_919 % people), number % QUESTIONS);
        let asked = Instant::now();
        assert_eq!(caller.exchange(&request).await, 200);
        times.push(millis(asked.elapsed()));
    }
    times
}

fn person(number: usize) -> String {
    format!("user{number}")
}

async fn with_memories(settings: Settings, count: usize, people: usize) -> Daemon {
    let daemon = Daemon::start(settings).await;
    let file = export(&daemon.state_directory(), count, |number| person(number % people));
    daemon.command(&["memory", "import", file.to_str().unwrap()]).await;
    daemon
}

/// Waits until every memory has its vector.
async fn has_vectors(model: &Model, count: usize) {
    let made = || model.embeddings().texts.load(Ordering::Relaxed) >= count;
    let wait = async {
        while !made() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("every memory has a vector");
    // The last of them are being written.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// What the peer measured, as it prints it: milliseconds by the name of a measurement.
async fn peer(model: &Model, count: usize) -> Option<Value> {
    let texts: Vec<String> = (0..count).map(text).collect();
    let questions: Vec<String> = (0..QUESTIONS).map(question).collect();
    run_peer(model, json!({"texts": texts, "questions": questions})).await
}

/// What the peer prints that was told this.
async fn run_peer(model: &Model, told: Value) -> Option<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/clients/mem0ai-2.2.1/bin/python");
    if !python.exists() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("told.json");
    std::fs::write(&file, told.to_string()).unwrap();
    let output = Command::new(python)
        .arg(root.join("tests/load/memory_peer.py"))
        .args([folder.path(), file.as_path()])
        .args([model.base(), KEY.to_owned(), DIMENSIONS.to_string()])
        .env("MEM0_DIR", folder.path())
        .env("MEM0_TELEMETRY", "false")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let figures = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
    assert!(figures.is_some(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    figures
}

/// An endpoint for embeddings.
async fn endpoint() -> Model {
    let model = Model::start().await;
    model.embeddings().dimensions.store(DIMENSIONS, Ordering::Relaxed);
    model.embeddings().most_texts.store(32, Ordering::Relaxed);
    model
}

/// A daemon that recalls by meaning, too.
fn by_meaning(settings: Settings, model: &Model) -> Settings {
    settings
        .text("llm.embedding.base_url", &model.base())
        .text("llm.embedding.api_key", KEY)
        .text("llm.embedding.model", "text-embedding-simulated")
}

pub(crate) async fn measure(table: &mut Table) {
    for count in SIZES {
        let lexical = searches(&with_memories(Settings::bare(), count, 1).await, 1).await;
        let model = endpoint().await;
        let daemon = with_memories(by_meaning(Settings::bare(), &model), count, 1).await;
        has_vectors(&model, count).await;
        let fused = searches(&daemon, 1).await;
        drop(daemon);
        let peer = if count <= MOST_OF_PEER { peer(&model, count).await } else { None };
        let of_peer = |name: &str| {
            let figure = peer.as_ref()?.get(name)?.as_f64()?;
            Some(("mem0 2.2.1 with Qdrant".to_owned(), figure))
        };
        let (words, meaning) = match count {
            1_000 => (Target::AtMost(0.5), Target::AtMost(2.0)),
            10_000 => (Target::AtMost(2.0), Target::AtMost(4.0)),
            _ => (Target::None, Target::None),
        };
        for (name, times, target) in
            [("by words", &lexical, words), ("by words and meaning", &fused, meaning)]
        {
            table.add(Row {
                measurement: format!("search of {count} memories {name}, p50"),
                unit: "ms",
                dingbot: median(times),
                peer: of_peer("search"),
                target,
            });
            table.add(Row {
                measurement: "the same, p99".into(),
                unit: "ms",
                dingbot: quantile(times, 0.99),
                peer: of_peer("search_p99"),
                target: Target::None,
            });
        }
        if count == SIZES[0] {
            add(table, of_peer("adds")).await;
        }
    }
    cost(table).await;
    table.note(format!(
        "Memory: {SEARCHES} searches of {QUESTIONS} questions, one after another, by one caller over \
         HTTP; vectors of {DIMENSIONS} numbers. The peer is called in its own process, and its time \
         has the call for the vector of the question, which the endpoint answers at once."
    ));
}

/// What the whole store costs who asks for a little of it. It takes half an hour.
pub(crate) async fn measure_many(table: &mut Table) {
    let model = endpoint().await;
    let mut daemon = with_memories(Settings::bare(), MANY, PEOPLE).await;
    // What was read while it was filled is not what it needs.
    daemon.restart().await;
    of_many(table, "by words", &searches(&daemon, PEOPLE).await, &daemon);
    daemon.restart_with(by_meaning(Settings::bare(), &model)).await;
    has_vectors(&model, MANY).await;
    daemon.restart_with(by_meaning(Settings::bare(), &model)).await;
    of_many(table, "by words and meaning", &searches(&daemon, PEOPLE).await, &daemon);
    table.note(format!(
        "Many memories: {MANY} of {PEOPLE} people, {SEARCHES} searches, nobody asked about twice; \
         vectors of {DIMENSIONS} numbers."
    ));
}

fn of_many(table: &mut Table, name: &str, times: &[f64], daemon: &Daemon) {
    table.add(Row {
        measurement: format!("search of {MANY} memories of {PEOPLE} people {name}, p99"),
        unit: "ms",
        dingbot: quantile(times, 0.99),
        peer: None,
        target: Target::AtMost(10.0),
    });
    table.add(Row {
        measurement: "the same, p50".into(),
        unit: "ms",
        dingbot: median(times),
        peer: None,
        target: Target::None,
    });
    table.add(Row {
        measurement: "resident memory after it".into(),
        unit: "MiB",
        dingbot: resident(daemon.pid(), "VmRSS:"),
        peer: None,
        target: Target::None,
    });
}

/// What the model costs to remember one message.
async fn cost(table: &mut Table) {
    let model = endpoint().await;
    let statement = "2026-12-02 去上海出差，住在浦东，客户是李娜，订单号 A-1024";
    model.answer_always(Reply::text(json!({"memories": [{"text": statement}]}).to_string()));
    let daemon = Daemon::start(Settings::bare().model(&model).learning()).await;
    let body = json!({"messages": MESSAGE, "user_id": "ann"});
    let mut caller = Caller::connect(daemon.address()).await;
    assert_eq!(caller.exchange(&post("/v1/memories/", &body)).await, 200);
    let learnt = |metrics: &Exposition| metrics.sum("dingbot_memories", &[]) > 0.0;
    daemon.wait_for_metrics("it is remembered", learnt).await;
    let (calls, tokens) = spent(&model);

    let model = endpoint().await;
    model.answer_always(Reply::text(
        json!({"memory": [{"id": "0", "text": statement, "event": "ADD"}]}).to_string(),
    ));
    let made = run_peer(&model, json!({ "remember": MESSAGE })).await;
    let peer = made.map(|made| {
        assert_eq!(made["remembered"], 1, "{made}");
        spent(&model)
    });
    let of_peer =
        |figure: fn((f64, f64)) -> f64| peer.map(|it| ("mem0 2.2.1".to_owned(), figure(it)));
    table.add(Row {
        measurement: "calls of a model to remember one message".into(),
        unit: "",
        dingbot: calls,
        peer: of_peer(|it| it.0),
        target: Target::None,
    });
    table.add(Row {
        measurement: "tokens that they are asked with, by estimate".into(),
        unit: "",
        dingbot: tokens,
        peer: of_peer(|it| it.1),
        target: Target::None,
    });
}

/// How many calls a model had, and the tokens of what it was told.
fn spent(model: &Model) -> (f64, f64) {
    let asked = model.asked();
    let tokens: usize = asked.iter().map(|it| dingbot::llm::estimate_tokens(&it.prompt())).sum();
    (asked.len() as f64, tokens as f64)
}

async fn add(table: &mut Table, peer: Option<(String, f64)>) {
    let daemon = Arc::new(Daemon::start(Settings::bare()).await);
    let (callers, each) = ADDERS;
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let daemon = Arc::clone(&daemon);
            tokio::spawn(async move {
                let mut connection = Caller::connect(daemon.address()).await;
                for number in 0..each {
                    let messages = text(caller * each + number);
                    let user = format!("user{caller}");
                    let body = json!({"messages": messages, "user_id": user, "infer": false});
                    assert_eq!(connection.exchange(&post("/v1/memories/", &body)).await, 200);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rate = (callers * each) as f64 / began.elapsed().as_secs_f64();
    table.add(Row {
        measurement: format!("memories added a second, {callers} connections, on disk"),
        unit: "/s",
        dingbot: rate,
        peer,
        target: Target::AtLeast(2_000.0),
    });
}

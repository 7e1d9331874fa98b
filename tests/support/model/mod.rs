//! A model endpoint: answers chat completions as OpenAI-compatible ones do, and fails as they do.
//!
//! Follows the OpenAI API reference, "Create chat completion" and "Streaming" (server-sent events
//! of `chat.completion.chunk` objects, a usage chunk with `stream_options.include_usage`, `[DONE]`
//! at the end) and its "Error codes"; the Azure OpenAI reference for chunks with an empty
//! `choices` and content filter fields.

mod embeddings;
mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::embeddings::Embeddings;
use super::PATIENCE;
use super::record::Record;
use super::server::{self, Answer, Received, Server};

/// The one name that it has no model of.
pub const NO_SUCH_MODEL: &str = "gpt-404";
/// The key the endpoint accepts.
pub const KEY: &str = "sk-simulated-key";

/// What the endpoint does with one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers with this text, streamed when a stream was asked for.
    Text(String),
    /// Answers in one JSON object even when a stream was asked for.
    Whole(String),
    /// Streams as Azure does: first a chunk without choices, filter results in the others.
    Azure(String),
    /// Streams this as thinking (`reasoning_content`) and then the text, as DeepSeek does.
    Reasoned(String, String),
    /// Streams this text and ends by `finish_reason: "length"`: it had no tokens left.
    CutOff(String),
    /// Nothing, not even a status line.
    Stall,
    /// Streams half of the text and then nothing more.
    StallMidway(String),
    /// Streams half of the text and breaks the connection off.
    BreakOff(String),
    /// Closes the connection without an answer.
    Close,
    /// 429 with `Retry-After` in seconds.
    RateLimited(u64),
    /// 401, as for a wrong key.
    Unauthorized,
    /// This status with an error object.
    Status(u16),
    /// 200 and an HTML page, as a captive portal answers.
    Html,
    /// 200 and JSON that ends too early.
    BrokenJson,
    /// 200 and a stream with bytes that are not UTF-8.
    InvalidUtf8,
    /// Ends by `finish_reason: "content_filter"` without text.
    ContentFilter,
    /// 400 with `code: "context_length_exceeded"`.
    TooLong,
}

impl Reply {
    /// [`Reply::Text`].
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// A request the endpoint got.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path and query of the request.
    pub path: String,
    /// The `authorization` header, or `api-key`.
    pub authorization: String,
    /// The whole body.
    pub body: Value,
    /// When it came.
    pub at: Instant,
}

impl Asked {
    /// The text of the last message of the user.
    pub fn question(&self) -> &str {
        let from_user = self.messages().iter().rev().find(|message| message["role"] == "user");
        from_user.map(|message| message["content"].as_str().unwrap_or_default()).unwrap_or_default()
    }

    /// Every message's text, one after another: all that the model is told.
    pub fn prompt(&self) -> String {
        let texts = self.messages().iter().filter_map(|message| message["content"].as_str());
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Whether a stream was asked for.
    pub fn streamed(&self) -> bool {
        self.body["stream"] == true
    }

    fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// The endpoint; it ends when it is dropped.
#[derive(Debug)]
pub struct Model {
    state: Arc<State>,
    server: Server,
}

struct State {
    asked: Record<Asked>,
    planned: Mutex<VecDeque<Reply>>,
    script: Mutex<Script>,
    latency: Mutex<Duration>,
    held: watch::Sender<bool>,
    embeddings: Embeddings,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("asked", &self.asked.len()).finish_non_exhaustive()
    }
}

impl Model {
    /// Starts on a free loopback port; answers `echo: ` and the question.
    pub async fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into()).await
    }

    /// As [`Model::start`], on this address of a network of the test's own.
    pub async fn start_at(ip: IpAddr) -> Self {
        let script: Script = Arc::new(|asked| Reply::Text(format!("echo: {}", asked.question())));
        let state = Arc::new(State {
            asked: Record::default(),
            planned: Mutex::default(),
            script: Mutex::new(script),
            latency: Mutex::default(),
            held: watch::Sender::new(false),
            embeddings: Embeddings::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&state);
        let server = Server::start(ip, move |request| answer(Arc::clone(&serving), request)).await;
        Self { state, server }
    }

    /// The base address, `…/v1`, for `llm.base_url`.
    pub fn base(&self) -> String {
        format!("{}/v1", self.server.origin())
    }

    /// Answers by `script` whenever nothing else is planned.
    pub fn answer_by(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *lock(&self.state.script) = Arc::new(script);
    }

    /// Answers always so, whenever nothing else is planned.
    pub fn answer_always(&self, reply: Reply) {
        self.answer_by(move |_| reply.clone());
    }

    /// Plans the next replies, one a request.
    pub fn answer_next(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.state.planned).extend(replies);
    }

    /// Waits this long before the first byte of every answer.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.state.latency) = latency;
    }

    /// Holds every answer back, those of requests to come too, until [`Model::release`].
    pub fn hold(&self) {
        self.state.held.send_replace(true);
    }

    /// Lets the answers held back go.
    pub fn release(&self) {
        self.state.held.send_replace(false);
    }

    /// How it answers for embeddings.
    pub fn embeddings(&self) -> &Embeddings {
        &self.state.embeddings
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.all()
    }

    /// The most requests there were at one time.
    pub fn most_at_once(&self) -> usize {
        self.state.most_in_flight.load(Ordering::Relaxed)
    }

    /// Waits until `enough` holds of the requests and returns them; panics when `within` is over
    /// first.
    #[track_caller]
    pub fn wait_for<'a>(
        &'a self,
        enough: impl FnMut(&[Asked]) -> bool + 'a,
        within: Duration,
    ) -> impl Future<Output = Vec<Asked>> + 'a {
        self.state.asked.wait_for(enough, within)
    }

    /// Waits for the first request whose question contains `part`.
    #[track_caller]
    pub fn wait_for_question<'a>(&'a self, part: &'a str) -> impl Future<Output = Asked> + 'a {
        let holds = move |asked: &Asked| asked.question().contains(part);
        let waiting = self.wait_for(move |all| all.iter().any(holds), PATIENCE);
        async move { waiting.await.into_iter().find(holds).expect("it was just found") }
    }
}

async fn answer(state: Arc<State>, request: Received) -> Answer {
    if request.method == Method::GET && request.path.ends_with("/models") {
        return Some(server::json(200, &json!({ "object": "list", "data": [{ "id": "any" }] })));
    }
    if request.method == Method::POST && request.path.ends_with("/embeddings") {
        return embeddings::answer(&state.embeddings, &request);
    }
    if request.method != Method::POST || !request.path.ends_with("/chat/completions") {
        return Some(wire::error(404, "invalid_request_error", "unknown_url"));
    }
    let key = match request.header("api-key") {
        "" => request.header("authorization"),
        key => key,
    };
    let Some(body) = request.json().filter(|body| body["messages"].is_array()) else {
        return Some(wire::error(400, "invalid_request_error", "invalid_body"));
    };
    let asked = Asked {
        path: format!("{}?{}", request.path, request.query),
        authorization: key.to_owned(),
        body,
        at: Instant::now(),
    };
    let _counted = InFlight::new(&state);
    state.asked.push(asked.clone());
    if key.trim_start_matches("Bearer ") != KEY {
        return Some(wire::error(401, "invalid_request_error", "invalid_api_key"));
    }
    if asked.body["model"] == NO_SUCH_MODEL {
        return Some(wire::error(404, "invalid_request_error", "model_not_found"));
    }
    let planned = lock(&state.planned).pop_front();
    let reply = planned.unwrap_or_else(|| {
        let script = Arc::clone(&lock(&state.script));
        script(&asked)
    });
    let latency = *lock(&state.latency);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    // The sender lives in the state this function holds.
    let _ = state.held.subscribe().wait_for(|held| !held).await;
    match reply {
        Reply::Stall => pending().await,
        Reply::Close => None,
        reply => Some(wire::response(&reply, &asked)),
    }
}

/// Counts a request while it is being answered; also when its client gives up.
struct InFlight<'a>(&'a State);

impl<'a> InFlight<'a> {
    fn new(state: &'a State) -> Self {
        let now = state.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        state.most_in_flight.fetch_max(now, Ordering::Relaxed);
        Self(state)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

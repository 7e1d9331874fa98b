//! A DingTalk simulator: sends signed robot callbacks, and serves the session webhook, the webhook
//! of a group's custom robot and the robot OpenAPI with the real limits and error codes.
//!
//! Follows the official documentation of 2026-08: "receive-message" and "robot-message-type" for
//! callbacks, "custom-robot-access" and its error codes for `robot/send`, "obtain-access-token",
//! "batchSendOTO" and "orgGroupSend" of the robot OpenAPI. What the documents leave open follows
//! field reports (code 300001 of an expired session) and is marked where it stands.
//!
//! Not simulated: keywords and address lists of a group robot, forbidden words and links, the
//! monthly quota, Stream mode, cards.

mod callback;
mod content;
mod group_robot;
mod openapi;
mod session;

pub use callback::{Callback, SignedCallback, conversation_id, sign};
pub use content::{Mentions, Message, Via};

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, Response};
use serde_json::json;

use super::record::Record;
use super::server::{self, Answer, Body, Received, Server};
use group_robot::GroupRobot;
use session::Session;

/// AppKey of the simulated application; also the code of its robot.
pub const CLIENT_ID: &str = "dingsimulated0robot1";
/// AppSecret of the simulated application.
pub const CLIENT_SECRET: &str = "a-secret-of-the-simulated-application";
/// `access_token` of the group robot that exists from the start.
pub const GROUP_TOKEN: &str = "5e1f0a7c";
/// Signature secret of that robot.
pub const GROUP_SECRET: &str = "SECsimulated0group0robot";

/// An interface of DingTalk that the simulator serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST /robot/sendBySession`: the session webhook.
    Session,
    /// `POST /robot/send`: the webhook of a group's custom robot.
    GroupRobot,
    /// `POST /v1.0/oauth2/accessToken`.
    Token,
    /// `POST /v1.0/robot/oToMessages/batchSend`: to persons.
    Single,
    /// `POST /v1.0/robot/groupMessages/send`: to a group.
    Group,
}

/// Something that goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// HTTP 500 with a page, as a gateway in front answers.
    ServerError,
    /// HTTP 200 with this `errcode`, as the webhooks fail.
    Errcode(i64),
    /// This status and code, as the OpenAPI fails.
    Code(u16, &'static str),
    /// No answer at all; nothing is recorded.
    Stall,
    /// The connection is closed; nothing is recorded.
    Close,
    /// The message is accepted and recorded, then the connection is closed without an answer.
    CloseAfterRecording,
    /// The message is accepted and recorded, and then there is no answer.
    StallAfterRecording,
}

/// A request that was refused by the simulator's own rules (not by a [`Fault`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The interface.
    pub api: Api,
    /// The `errcode`, or the OpenAPI's `code`.
    pub code: String,
}

/// Why a webhook refuses: HTTP 200 and this code.
#[derive(Debug)]
struct Errcode(i64, &'static str);

/// Why the OpenAPI refuses.
#[derive(Debug)]
struct ApiError {
    status: u16,
    code: &'static str,
    message: &'static str,
}

/// The simulator; it ends when it is dropped.
#[derive(Debug)]
pub struct DingTalk {
    state: Arc<State>,
    server: Server,
}

#[derive(Debug, Default)]
struct State {
    /// Milliseconds by which the simulator's clock is ahead of the system's.
    ahead: AtomicI64,
    sessions: Mutex<HashMap<String, Session>>,
    robots: Mutex<HashMap<String, GroupRobot>>,
    tokens: Mutex<openapi::Tokens>,
    strangers: Mutex<HashSet<String>>,
    faults: Mutex<HashMap<Api, VecDeque<Fault>>>,
    latency: Mutex<Duration>,
    duplicates: AtomicUsize,
    messages: Record<Message>,
    refusals: Record<Refusal>,
}

impl DingTalk {
    /// Starts on a free loopback port, with the group robot of [`GROUP_TOKEN`].
    pub async fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into()).await
    }

    /// As [`DingTalk::start`], on this address of a network of the test's own.
    pub async fn start_at(ip: IpAddr) -> Self {
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let server = Server::start(ip, move |request| answer(Arc::clone(&serving), request)).await;
        let simulator = Self { state, server };
        simulator.add_group_robot(GROUP_TOKEN, Some(GROUP_SECRET));
        simulator
    }

    /// The origin of every interface, for `dingtalk.api_base` and `dingtalk.oapi_base`.
    pub fn base(&self) -> String {
        self.server.origin()
    }

    /// Begins a callback: a text of `staff1` in a conversation of two, with a session webhook.
    pub fn callback(&self) -> Callback<'_> {
        Callback::new(self)
    }

    /// Adds a group's custom robot; without a secret its signature is not checked.
    pub fn add_group_robot(&self, access_token: &str, secret: Option<&str>) {
        let robot = GroupRobot::new(secret.map(str::to_owned));
        lock(&self.state.robots).insert(access_token.to_owned(), robot);
    }

    /// Makes every session opened so far unknown.
    pub fn expire_sessions(&self) {
        lock(&self.state.sessions).clear();
    }

    /// Makes the access tokens given out so far invalid.
    pub fn revoke_tokens(&self) {
        lock(&self.state.tokens).revoke();
    }

    /// Makes `staff` someone who is not in the organisation.
    pub fn forget_staff(&self, staff: &str) {
        lock(&self.state.strangers).insert(staff.to_owned());
    }

    /// Moves the simulator's clock forward: sessions, tokens and rate limits grow old.
    pub fn advance(&self, by: Duration) {
        self.state.ahead.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
    }

    /// Makes every answer take this long.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.state.latency) = latency;
    }

    /// Makes the next `count` requests to `api` fail by `fault`, after those planned before.
    pub fn fail_next(&self, api: Api, count: usize, fault: Fault) {
        let mut faults = lock(&self.state.faults);
        faults.entry(api).or_default().extend(std::iter::repeat_n(fault, count));
    }

    /// Every message accepted so far.
    pub fn messages(&self) -> Vec<Message> {
        self.state.messages.all()
    }

    /// The record of accepted messages, for waiting in ways of one's own.
    pub fn record(&self) -> &Record<Message> {
        &self.state.messages
    }

    /// Every request refused so far.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.state.refusals.all()
    }

    /// How many messages of a group robot were sent again with a `msgUuid` already accepted.
    pub fn duplicates(&self) -> usize {
        self.state.duplicates.load(Ordering::Relaxed)
    }

    /// Waits until `enough` holds of the accepted messages and returns them; panics when `within`
    /// is over first.
    #[track_caller]
    pub fn wait_for<'a>(
        &'a self,
        enough: impl FnMut(&[Message]) -> bool + 'a,
        within: Duration,
    ) -> impl Future<Output = Vec<Message>> + 'a {
        self.state.messages.wait_for(enough, within)
    }

    /// Waits for the first message whose text contains `part`.
    #[track_caller]
    pub fn wait_for_text<'a>(&'a self, part: &'a str) -> impl Future<Output = Message> + 'a {
        let holds = move |message: &Message| message.text.contains(part);
        let waiting = self.wait_for(move |all| all.iter().any(holds), super::PATIENCE);
        async move { waiting.await.into_iter().find(holds).expect("it was just found") }
    }
}

impl State {
    /// The simulator's time, in milliseconds since the Unix epoch.
    fn now(&self) -> i64 {
        system_millis() + self.ahead.load(Ordering::Relaxed)
    }

    fn next_fault(&self, api: Api) -> Option<Fault> {
        lock(&self.faults).get_mut(&api)?.pop_front()
    }

    fn refuse(&self, api: Api, code: impl ToString) {
        self.refusals.push(Refusal { api, code: code.to_string() });
    }
}

async fn answer(state: Arc<State>, request: Received) -> Answer {
    let api = match request.path.as_str() {
        "/robot/sendBySession" => Api::Session,
        "/robot/send" => Api::GroupRobot,
        "/v1.0/oauth2/accessToken" => Api::Token,
        "/v1.0/robot/oToMessages/batchSend" => Api::Single,
        "/v1.0/robot/groupMessages/send" => Api::Group,
        _ => return Some(server::whole(404, "text/html", "<h1>404 Not Found</h1>")),
    };
    if request.method != Method::POST {
        return Some(server::whole(405, "text/html", "<h1>405 Method Not Allowed</h1>"));
    }
    let latency = *lock(&state.latency);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let fault = state.next_fault(api);
    match fault {
        Some(Fault::ServerError) => {
            return Some(server::whole(500, "text/html", "<h1>500 Internal Server Error</h1>"));
        }
        Some(Fault::Errcode(code)) => return Some(errcode(code, "系统繁忙")),
        Some(Fault::Code(status, code)) => {
            return Some(api_error(&ApiError {
                status,
                code,
                message: "a fault the test planned",
            }));
        }
        Some(Fault::Stall) => pending().await,
        Some(Fault::Close) => return None,
        Some(Fault::CloseAfterRecording | Fault::StallAfterRecording) | None => {}
    }
    let response = match api {
        Api::Session => webhook(&state, api, session::send(&state, &request)),
        Api::GroupRobot => webhook(&state, api, group_robot::send(&state, &request)),
        Api::Token => open(&state, api, openapi::token(&state, &request)),
        Api::Single => open(&state, api, openapi::send_to_persons(&state, &request)),
        Api::Group => open(&state, api, openapi::send_to_group(&state, &request)),
    };
    match fault {
        Some(Fault::CloseAfterRecording) => None,
        Some(Fault::StallAfterRecording) => pending().await,
        _ => Some(response),
    }
}

fn webhook(state: &State, api: Api, result: Result<(), Errcode>) -> Response<Body> {
    match result {
        Ok(()) => errcode(0, "ok"),
        Err(Errcode(code, message)) => {
            state.refuse(api, code);
            errcode(code, message)
        }
    }
}

fn open(state: &State, api: Api, result: Result<serde_json::Value, ApiError>) -> Response<Body> {
    match result {
        Ok(body) => server::json(200, &body),
        Err(error) => {
            state.refuse(api, error.code);
            api_error(&error)
        }
    }
}

/// What a webhook answers: always HTTP 200.
fn errcode(code: i64, message: &str) -> Response<Body> {
    server::json(200, &json!({ "errcode": code, "errmsg": message }))
}

fn api_error(error: &ApiError) -> Response<Body> {
    let body = json!({
        "requestid": uuid::Uuid::new_v4().to_string().to_uppercase(),
        "code": error.code,
        "message": error.message,
    });
    server::json(error.status, &body)
}

/// The system's time, in milliseconds since the Unix epoch.
fn system_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    since.as_millis() as i64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

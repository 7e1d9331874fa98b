//! Long-term memory over HTTP, as the clients of Mem0 speak to it: both to its open-source server
//! and to its platform, which have different paths and shapes.
//!
//! Whoever may call it is [`auth`]'s matter. Every read and write names whose memories it is about
//! or is refused; everybody's at once takes an administrator's key. What is known of the clients
//! and not supported is answered with 501 and a sentence.
//!
//! Sources: the paths and shapes that the Python package `mem0ai` 0.1 to 2.2, the one for Node 2.4
//! and 3.3, and `mem0-cli` send and read; docs.mem0.ai, "API reference".

mod edits;
mod entities;
mod error;
mod events;
mod fields;
mod lists;
mod messages;
mod openapi;
pub(super) mod paths;
mod records;
mod reports;
mod searches;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use warp::http::{Method, StatusCode};
use warp::path::FullPath;
use warp::reject::{self, Rejection};
use warp::reply::Response;

use self::error::Refusal;
use self::fields::Fields;
use self::paths::{Found, Place};
use super::auth::{self, ApiKeys, Right};
use super::body;
use super::client::ClientAddress;
use super::error::ApiError;
use super::keyring::Keyring;
use super::refusals::RefusalLog;
use crate::config::Settings;
use crate::live::Live;
use crate::memory::Memory;
use crate::telemetry::clock::Clock;

/// What the surface needs of the house.
#[derive(Debug)]
pub struct MemoryApi {
    memory: Arc<Memory>,
    clock: Clock,
    max_body: usize,
    body_timeout: Duration,
    refusals: RefusalLog,
}

impl MemoryApi {
    /// A surface of `memory`.
    pub fn new(settings: &Settings, memory: Arc<Memory>, clock: Clock) -> Self {
        Self {
            memory,
            clock,
            max_body: settings.server.max_body_bytes,
            body_timeout: settings.server.header_timeout,
            refusals: RefusalLog::default(),
        }
    }
}

/// A request that was let in.
#[derive(Debug)]
struct Call {
    found: Found,
    method: Method,
    right: Right,
    query: Fields,
    body: Bytes,
    /// The server as the caller calls it, for the addresses of further pages.
    host: Option<String>,
}

/// What a call is answered with: a status and JSON.
type Answer = Result<(StatusCode, Value), Refusal>;

/// 200 with a value.
fn ok(value: Value) -> Answer {
    Ok((StatusCode::OK, value))
}

/// 200 with a sentence.
fn said(message: &str) -> Answer {
    ok(json!({ "message": message }))
}

impl Call {
    /// Refuses what is about everybody's memories to whoever is no administrator.
    fn needs_admin(&self) -> Result<(), Refusal> {
        if self.right == Right::Admin {
            return Ok(());
        }
        Err(ApiError::forbidden(
            "This is about everybody's memories and needs an administrator's key: one of \
             server.api_keys, or of `dingbot memory key add NAME --scope admin`.",
        )
        .into())
    }
}

/// The surface as a filter; `keys` and those of the `ring` open it, see [`auth`].
pub fn memory_api(
    state: Live<MemoryApi>,
    keys: Live<ApiKeys>,
    ring: Arc<Keyring>,
) -> BoxedFilter<(Response,)> {
    let limits = state.clone();
    let limits = move || limits.read(MemoryApi::limits);
    let guarding = state.clone();
    warp::path::full()
        .and_then(|path: FullPath| {
            let found = paths::find(path.as_str());
            std::future::ready(found.ok_or_else(reject::not_found))
        })
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<ClientAddress>())
        .and_then(move |found: Found, method: Method, headers: HeaderMap, client| {
            let writes = found.place.takes_body(&method);
            let admitted = admit(&keys, &ring, writes, &headers, client).map_err(|error| {
                guarding.read(|state| state.note_refusal(&error, client));
                warp::reject::custom(Refused(error.into()))
            });
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
            std::future::ready(admitted.map(|right| (found, method, right, host)))
        })
        .untuple_one()
        .and(
            warp::query::raw()
                .or_else(|_| std::future::ready(Ok::<_, Rejection>((String::new(),)))),
        )
        .and(body::limited(limits))
        .then(move |found, method, right, host, query: String, body| {
            let state = state.get();
            let query = Fields::of_query(&query);
            let call = Call { found, method, right, query, body, host };
            async move { state.answer(call).await }
        })
        .recover(recover)
        .unify()
        .boxed()
}

/// The document of the surface; it tells nothing of anybody, and needs no key.
pub fn document() -> BoxedFilter<(Response,)> {
    warp::path!("openapi.json")
        .and(super::methods(super::READ))
        .map(|| {
            let mut response = Response::new(openapi::DOCUMENT.as_str().into());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        })
        .boxed()
}

/// A refusal on its way through the filters.
#[derive(Debug)]
struct Refused(Refusal);

impl reject::Reject for Refused {}

/// Gives the refusals of these paths the shape that their clients read; leaves the others alone.
async fn recover(rejection: Rejection) -> Result<Response, Rejection> {
    if let Some(Refused(refusal)) = rejection.find() {
        return Ok(refusal.clone().into_response());
    }
    if let Some(error) = rejection.find::<ApiError>() {
        let close = error.close;
        let mut response = Refusal::from(error.clone()).into_response();
        if close {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(warp::http::header::CONNECTION, close);
        }
        return Ok(response);
    }
    Err(rejection)
}

/// Lets a caller in.
///
/// A page in a browser on this host could send what needs no key, too: it cannot send JSON
/// elsewhere without being asked, nor does a name of its own make it this host.
pub(super) fn admit(
    keys: &Live<ApiKeys>,
    ring: &Keyring,
    writes: bool,
    headers: &HeaderMap,
    client: Option<ClientAddress>,
) -> Result<Right, ApiError> {
    let right = keys.read(|keys| keys.admit_to_memory(ring, client, headers));
    let right = right.map_err(|denied| denied.error)?;
    if auth::sends_key(headers) {
        return Ok(right);
    }
    if !auth::names_this_host(headers) {
        return Err(ApiError::forbidden(
            "Without a key this is served to http://127.0.0.1 and http://localhost only: set \
             server.api_keys and send one of them.",
        ));
    }
    if writes && !body::is_json(headers) {
        let message = "Send JSON: the Content-Type must be application/json.";
        return Err(ApiError::unsupported_media(message));
    }
    Ok(right)
}

impl MemoryApi {
    /// How long a body may be, and how long it may take.
    pub(super) fn limits(&self) -> (usize, Duration) {
        (self.max_body, self.body_timeout)
    }

    /// Answers a call that came another way than by its path; the status and the detail of a
    /// refusal.
    pub(super) async fn call(
        &self,
        right: Right,
        method: &Method,
        path: &str,
        query: &str,
        body: &Value,
    ) -> Result<Value, (StatusCode, Value)> {
        let Some(found) = paths::find(path) else {
            return Err((StatusCode::NOT_FOUND, "There is no such path.".into()));
        };
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let (method, query) = (method.clone(), Fields::of_query(query));
        let call = Call { found, method, right, query, body, host: None };
        self.route(&call).await.map(|(_, value)| value).map_err(Refusal::into_parts)
    }

    pub(super) fn note_refusal(&self, error: &ApiError, client: Option<ClientAddress>) {
        if let Some(unwritten) = self.refusals.admit(self.clock.now_millis()) {
            tracing::warn!(
                client = client.map(|c| c.client.to_string()),
                unwritten,
                error_kind = error.code,
                error = error.message,
                "a caller of the memory API refused"
            );
        }
    }

    async fn answer(&self, call: Call) -> Response {
        match self.route(&call).await {
            Ok((status, value)) => {
                let mut response = Response::new(value.to_string().into());
                *response.status_mut() = status;
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn route(&self, call: &Call) -> Answer {
        let (get, post, delete) = ("GET", "POST", "DELETE");
        match (call.found.place, call.method.as_str()) {
            (Place::Unsupported(sentence), _) => Err(Refusal::unsupported(sentence)),
            (Place::Ping, "GET") => ok(records::ping()),
            (Place::Ping, _) => Err(Refusal::method(get)),

            (Place::Memories, "POST") => self.add_at_server(call).await,
            (Place::Memories, "GET") => self.list_at_server(call).await,
            (Place::Memories, "DELETE") => self.delete_all(call, true).await,
            (Place::Memories, _) => Err(Refusal::method("GET, POST, DELETE")),
            (Place::MemoriesV1, "POST") => self.add_v1(call).await,
            (Place::MemoriesV1, "GET") => self.list_v1(call).await,
            (Place::MemoriesV1, "DELETE") => self.delete_all(call, false).await,
            (Place::MemoriesV1, _) => Err(Refusal::method("GET, POST, DELETE")),
            (Place::AddV3, "POST") => self.add_v3(call).await,
            (Place::AddV3, _) => Err(Refusal::method(post)),
            (Place::MemoriesV2 | Place::MemoriesV3, "POST") => self.list_by_filters(call).await,
            (Place::MemoriesV2 | Place::MemoriesV3, _) => Err(Refusal::method(post)),

            (Place::Search | Place::SearchV1 | Place::SearchV2 | Place::SearchV3, "POST") => {
                self.search(call).await
            }
            (Place::Search | Place::SearchV1 | Place::SearchV2 | Place::SearchV3, _) => {
                Err(Refusal::method(post))
            }

            (Place::Memory, "GET") => self.get_at_server(call).await,
            (Place::Memory, "PUT") => self.update(call, true).await,
            (Place::Memory, "DELETE") => self.delete(call, true).await,
            (Place::MemoryV1, "GET") => self.get(call).await,
            (Place::MemoryV1, "PUT") => self.update(call, false).await,
            (Place::MemoryV1, "DELETE") => self.delete(call, false).await,
            (Place::Memory | Place::MemoryV1, _) => Err(Refusal::method("GET, PUT, DELETE")),
            (Place::History, "GET") => self.history(call, true).await,
            (Place::HistoryV1, "GET") => self.history(call, false).await,
            (Place::History | Place::HistoryV1, _) => Err(Refusal::method(get)),
            (Place::Batch, "PUT") => self.update_several(call).await,
            (Place::Batch, "DELETE") => self.delete_several(call).await,
            (Place::Batch, _) => Err(Refusal::method("PUT, DELETE")),
            (Place::Feedback, "POST") => self.feedback(call).await,
            (Place::Feedback, _) => Err(Refusal::method(post)),
            (Place::Reset, "POST") => self.reset(call).await,
            (Place::Reset, _) => Err(Refusal::method(post)),

            (Place::Entities, "GET") => self.entities_at_server(call).await,
            (Place::EntitiesV1, "GET") => self.entities(call).await,
            (Place::Entities | Place::EntitiesV1, _) => Err(Refusal::method(get)),
            (Place::Entity, "DELETE") => self.delete_entity(call, true).await,
            (Place::EntityV2, "DELETE") if !reports::is_profile(call) => {
                self.delete_entity(call, false).await
            }
            (Place::EntityV1, "DELETE") => self.delete_entity(call, false).await,
            (Place::EntityV2, "GET") => self.profile(call).await,
            (Place::EntityV2, _) if reports::is_profile(call) => Err(Refusal::method(get)),
            (Place::Entity | Place::EntityV1 | Place::EntityV2, _) => Err(Refusal::method(delete)),

            (Place::Events, "GET") => self.events(call).await,
            (Place::Event, "GET") => self.event(call).await,
            (Place::Events | Place::Event, _) => Err(Refusal::method(get)),
            (Place::Exports, "POST") => self.export(call).await,
            (Place::Exported, "POST") => self.exported(call).await,
            (Place::Summary, "POST") => self.summary(call).await,
            (Place::Exports | Place::Exported | Place::Summary, _) => Err(Refusal::method(post)),
            (Place::Project, "GET") => ok(records::project()),
            (Place::Project, "PATCH" | "DELETE") => Err(Refusal::unsupported(
                "A project has no settings here; edit dingbot.toml and run `dingbot reload`.",
            )),
            (Place::Project, _) => Err(Refusal::method(get)),
        }
    }
}

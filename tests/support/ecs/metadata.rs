//! The metadata service of an instance.
//!
//! Follows "Instance metadata" (view-instance-metadata): a token by `PUT /latest/api/token` with a
//! life of 1 to 21600 seconds (else 400), no `X-Forwarded-For` (else 403), a token that is not
//! valid is 401, and 403 without one where tokens are required; items that do not apply are 404.
//! A folder lists what is in it. The form of a token is not documented, and not assumed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{INSTANCE, METADATA, REGION, ZONE};
use crate::support::record::Record;
use crate::support::server::{Answer, Received, Server, whole};

/// Longest life of a token, in seconds.
const LONGEST_LIFE: u64 = 21_600;
/// The interface's hardware address.
const MAC: &str = "00:16:3e:0f:aa:01";

/// What the service says.
#[derive(Debug, Clone)]
pub struct About {
    pub id: String,
    pub region: String,
    pub zone: String,
    pub private: String,
    /// A public address that came with the instance.
    pub public: Option<String>,
    /// An elastic address.
    pub elastic: Option<String>,
    pub ipv6: Vec<String>,
    pub role: Option<Role>,
    /// Whether a token is required.
    pub hardened: bool,
    /// Whether there are tokens at all, as they were not in the service of old.
    pub tokens: bool,
    /// Whether it takes requests, and answers none.
    pub silent: bool,
    /// A page that is answered to everything, as a captive portal does.
    pub captive: Option<String>,
}

/// A RAM role of the instance.
#[derive(Debug, Clone)]
pub struct Role {
    pub name: String,
    pub key: String,
    pub secret: String,
    pub token: String,
    /// `2006-01-02T15:04:05Z`
    pub expiration: String,
}

impl Default for About {
    /// The instance of the operators' guide.
    fn default() -> Self {
        Self {
            id: INSTANCE.into(),
            region: REGION.into(),
            zone: ZONE.into(),
            private: "172.24.223.120".into(),
            public: None,
            elastic: Some("8.222.215.42".into()),
            ipv6: Vec::new(),
            role: None,
            hardened: false,
            tokens: true,
            silent: false,
            captive: None,
        }
    }
}

impl Role {
    /// With credentials for an hour.
    pub fn new(name: &str, key: &str, secret: &str, token: &str) -> Self {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        Self {
            name: name.into(),
            key: key.into(),
            secret: secret.into(),
            token: token.into(),
            expiration: end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }
    }
}

/// The service; it ends when it is dropped.
#[derive(Debug)]
pub struct Metadata {
    state: Arc<State>,
    server: Server,
}

#[derive(Debug)]
struct State {
    about: Mutex<About>,
    /// The end of each token.
    tokens: Mutex<HashMap<String, Instant>>,
    requests: Record<(String, bool)>,
}

impl Metadata {
    /// At its own address, which the calling thread's namespace must have.
    pub async fn start(about: About) -> Self {
        let address: SocketAddr = format!("{METADATA}:80").parse().expect("an address");
        let state = Arc::new(State {
            about: Mutex::new(about),
            tokens: Mutex::default(),
            requests: Record::default(),
        });
        let shared = Arc::clone(&state);
        let handler = move |request: Received| {
            let shared = Arc::clone(&shared);
            async move {
                if lock(&shared.about).silent {
                    std::future::pending::<()>().await;
                }
                shared.answer(&request)
            }
        };
        let server = Server::start_at(address, None, handler).await;
        Self { state, server }
    }

    /// Says something else from now on.
    pub fn change(&self, change: impl FnOnce(&mut About)) {
        change(&mut lock(&self.state.about));
    }

    /// The paths that were asked for, and whether with a token.
    pub fn requests(&self) -> Vec<(String, bool)> {
        self.state.requests.all()
    }
}

impl State {
    fn answer(&self, request: &Received) -> Answer {
        let token = request.header("x-aliyun-ecs-metadata-token");
        self.requests.push((format!("{} {}", request.method, request.path), !token.is_empty()));
        let about = lock(&self.about).clone();
        if let Some(page) = &about.captive {
            return Some(whole(200, "text/html", page.clone()));
        }
        if request.path == "/latest/api/token" && about.tokens {
            return self.token(request);
        }
        if request.method != "GET" {
            return failure(405, "Method Not Allowed");
        }
        match lock(&self.tokens).get(token) {
            Some(end) if Instant::now() < *end => {}
            _ if !token.is_empty() && about.tokens => return failure(401, "Unauthorized"),
            _ if about.hardened => return failure(403, "Forbidden"),
            _ => {}
        }
        let path = ["/latest/meta-data/", "/2016-01-01/meta-data/"]
            .iter()
            .find_map(|base| request.path.strip_prefix(base));
        match path.and_then(|path| about.item(path)) {
            Some(text) => Some(whole(200, "text/plain", text)),
            None => failure(404, "Not Found"),
        }
    }

    fn token(&self, request: &Received) -> Answer {
        if request.method != "PUT" {
            return failure(405, "Method Not Allowed");
        }
        if request.headers.contains_key("x-forwarded-for") {
            return failure(403, "Forbidden");
        }
        let life = request.header("x-aliyun-ecs-metadata-token-ttl-seconds").parse::<u64>();
        let Some(life) = life.ok().filter(|life| (1..=LONGEST_LIFE).contains(life)) else {
            return failure(400, "Missing or Invalid Parameters");
        };
        let token = uuid::Uuid::new_v4().simple().to_string();
        lock(&self.tokens).insert(token.clone(), Instant::now() + Duration::from_secs(life));
        Some(whole(200, "text/plain", token))
    }
}

impl About {
    /// The item at `path`.
    fn item(&self, path: &str) -> Option<String> {
        if let Some(role) = path.strip_prefix("ram/security-credentials/") {
            let known = self.role.as_ref()?;
            return match role {
                "" => Some(known.name.clone()),
                _ => (role == known.name).then(|| known.json()),
            };
        }
        if let Some(item) = path.strip_prefix(&format!("network/interfaces/macs/{MAC}/")) {
            let listed = (item == "ipv6s" && !self.ipv6.is_empty()).then(|| self.ipv6.join(","));
            return listed.map(|listed| format!("[{listed}]"));
        }
        Some(match path {
            "instance-id" => self.id.clone(),
            "region-id" => self.region.clone(),
            "zone-id" => self.zone.clone(),
            "private-ipv4" => self.private.clone(),
            "public-ipv4" => self.public.clone()?,
            "eipv4" => self.elastic.clone()?,
            "mac" => MAC.into(),
            "network/interfaces/macs/" => format!("{MAC}/"),
            "network-type" => "vpc".into(),
            _ => return None,
        })
    }
}

impl Role {
    fn json(&self) -> String {
        json!({
            "AccessKeyId": self.key,
            "AccessKeySecret": self.secret,
            "Expiration": self.expiration,
            "SecurityToken": self.token,
            "LastUpdated": "2026-01-01T00:00:00Z",
            "Code": "Success",
        })
        .to_string()
    }
}

fn failure(status: u16, title: &str) -> Answer {
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html><head><title>{status} - {title}\
         </title></head><body><h1>{status} - {title}</h1></body></html>"
    );
    Some(whole(status, "text/html", page))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

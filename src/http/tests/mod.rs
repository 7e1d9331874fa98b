//! The whole room over TCP: real sockets, real requests, short limits.

mod connections;
mod surfaces;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::http::Method;
use warp::reply::Response;

use super::accept::{self, Limits};
use super::client::ClientAddress;
use super::{Landing, RequestId, StatusState, body, listener, methods, routes, service};
use crate::live::Live;
use crate::telemetry::clock::Clock;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::ProcessCollector;
use crate::telemetry::progress::pulse;
use crate::telemetry::traffic::Traffic;

/// Longer than anything here takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(10);
const POST: &[Method] = &[Method::POST];
const BODY_LIMIT: usize = 1_000;

struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    shutdown: CancellationToken,
    /// A `wait` request shows here that it is being answered, and
    entered: Arc<Semaphore>,
    /// takes a permit from here before it is.
    gate: Arc<Semaphore>,
    done: JoinHandle<()>,
}

struct Setup {
    limits: Limits,
    metrics_allow: Vec<&'static str>,
    trusted: Vec<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        let limits =
            Limits { max_connections: 100, header_timeout: PATIENCE, drain_timeout: PATIENCE };
        Self { limits, metrics_allow: Vec::new(), trusted: Vec::new() }
    }
}

impl Setup {
    fn start(self) -> Server {
        let (entered, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let semaphores = (entered.clone(), gate.clone());
        let webhook = warp::path("webhook")
            .and(warp::path::end())
            .and(methods(POST))
            .and(body::limited(|| (BODY_LIMIT, Duration::from_millis(200))))
            .and(warp::ext::get::<ClientAddress>())
            .and(warp::ext::get::<RequestId>())
            .then(move |body: Bytes, client: ClientAddress, id: RequestId| {
                let (entered, gate) = semaphores.clone();
                async move {
                    let text = match &body[..] {
                        b"panic" => panic!("as asked"),
                        b"wait" => {
                            entered.add_permits(1);
                            gate.acquire().await.unwrap().forget();
                            "waited".to_owned()
                        }
                        b"who" => {
                            format!("{} {} {}", client.client, client.is_local(), id.as_str())
                        }
                        other => other.len().to_string(),
                    };
                    Response::new(text.into())
                }
            })
            .boxed();
        let networks = |list: &[&str]| {
            Live::new(list.iter().map(|n| n.parse().unwrap()).collect::<Vec<IpNet>>())
        };
        let metrics = Arc::new(Metrics::new());
        let health = Arc::new(Health::new(Clock::System));
        let status = StatusState::new(
            health.clone(),
            metrics.clone(),
            ProcessCollector::new(),
            networks(&self.metrics_allow),
            Landing {
                listen: vec!["192.0.2.1:8080".parse().unwrap()],
                traffic: Arc::new(Traffic::new(Clock::System, metrics.clone())),
            },
            ("/帮助", "/help"),
        );
        let listeners = listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listeners[0].local_addr();
        let routes = routes(Arc::new(status), webhook);
        let service = service(routes, networks(&self.trusted), metrics.clone());
        let shutdown = CancellationToken::new();
        let limits = Live::new(self.limits);
        // Nobody asks.
        let (_, beat) = pulse("http");
        let serving =
            accept::serve(listeners, service, limits, metrics.clone(), beat, shutdown.clone());
        let done = tokio::spawn(serving);
        Server { address, metrics, health, shutdown, entered, gate, done }
    }
}

impl Server {
    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// One request on a connection of its own.
    async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n")).await
    }

    async fn post(&self, headers: &str, body: &str) -> String {
        let length = body.len();
        self.ask(&format!(
            "POST /webhook HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
        .await
    }

    /// A connection with a request that is being answered.
    async fn waiting(&self) -> Client {
        let mut client = self.connect().await;
        client.send("POST /webhook HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n\r\nwait").await;
        timeout(PATIENCE, self.entered.acquire()).await.unwrap().unwrap().forget();
        client
    }

    fn closed(&self, reason: &str) -> u64 {
        self.metrics.http_connections_refused.with_label_values(&[reason]).get()
    }

    async fn stopped(self) {
        timeout(PATIENCE, self.done).await.expect("the server stops").unwrap();
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// One whole answer, by its content-length.
    async fn answer(&mut self) -> String {
        let mut text = self.head().await;
        let length = header(&text, "content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        timeout(PATIENCE, self.0.read_exact(&mut body)).await.expect("an answer").unwrap();
        text.push_str(std::str::from_utf8(&body).unwrap());
        text
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.expect("an answer");
            head.push(byte.expect("a whole header"));
        }
        String::from_utf8(head).unwrap()
    }

    /// What comes until the server closes; a reset counts as closed too.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("the end");
        String::from_utf8(rest).unwrap()
    }
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .find(|(n, _)| *n == name)
        .map(|h| h.1)
}

fn code(answer: &str) -> &str {
    &answer[9..12]
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

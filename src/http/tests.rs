//! The whole room over TCP: real sockets, real requests, short limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::http::Method;
use warp::reply::Response;

use super::accept::{self, Limits};
use super::client::ClientAddress;
use super::{RequestId, StatusState, body, listener, methods, routes, service};
use crate::telemetry::clock::Clock;
use crate::telemetry::health::{Health, Status};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::ProcessCollector;

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
            .and(body::limited(BODY_LIMIT, Duration::from_millis(200)))
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
        let networks = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect();
        let metrics = Arc::new(Metrics::new());
        let health = Arc::new(Health::new(Clock::System));
        let status = StatusState::new(
            health.clone(),
            metrics.clone(),
            ProcessCollector::new(),
            networks(&self.metrics_allow),
            ("/帮助", "/help"),
        );
        let listeners = listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listeners[0].local_addr();
        let routes = routes(Arc::new(status), webhook);
        let service = service(routes, networks(&self.trusted), metrics.clone());
        let shutdown = CancellationToken::new();
        let serving =
            accept::serve(listeners, service, self.limits, metrics.clone(), shutdown.clone());
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

#[tokio::test]
async fn the_surfaces_answer_as_the_contract_says() {
    let server = Setup::default().start();
    let root = server.get("/").await;
    assert_eq!(content(&root), r#"{"status":"ok","message":"DingBot Server is running"}"#);
    assert_eq!(header(&root, "content-type"), Some("application/json"));
    for path in ["/health", "/health/", "/health?x=1", "/health?verbose=0"] {
        let health = server.get(path).await;
        assert_eq!(content(&health), r#"{"status":"ok","message":"DingBot Server is healthy"}"#);
    }
    assert!(content(&server.get("/health?verbose=1").await).contains(r#""checks":[]"#));
    let help = server.get("/help").await;
    assert_eq!(header(&help, "content-type"), Some("text/plain; charset=utf-8"));
    assert!(content(&help).contains("/帮助"));

    server.health.set("store", Status::Error, "The disk is full");
    let health = server.get("/health").await;
    assert_eq!(code(&health), "503");
    assert_eq!(content(&health), r#"{"status":"error","message":"The disk is full"}"#);
}

#[tokio::test]
async fn a_browser_gets_pages_that_run_nothing() {
    let server = Setup::default().start();
    for path in ["/", "/help"] {
        let browser = "accept: text/html,application/xml;q=0.9,*/*;q=0.8";
        let page =
            server.ask(&format!("GET {path} HTTP/1.1\r\nhost: t\r\n{browser}\r\n\r\n")).await;
        assert_eq!(header(&page, "content-type"), Some("text/html; charset=utf-8"));
        let policy = header(&page, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"));
        assert_eq!(header(&page, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&page, "vary"), Some("accept"));
    }
}

#[tokio::test]
async fn head_has_the_header_of_get_and_no_body() {
    let server = Setup::default().start();
    for path in ["/", "/health", "/help", "/nothing"] {
        let get = server.get(path).await;
        let mut client = server.connect().await;
        client.send(&format!("HEAD {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")).await;
        let head = client.rest().await;
        assert_eq!(code(&head), code(&get), "{path}");
        for name in ["content-length", "content-type", "vary"] {
            assert_eq!(header(&head, name), header(&get, name), "{name} of {path}");
        }
        assert_eq!(content(&head), "", "{path}");
    }
    let mut client = server.connect().await;
    client.send("HEAD /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await;
    let head = client.rest().await;
    assert_eq!((code(&head), content(&head)), ("200", ""));
}

#[tokio::test]
async fn wrong_methods_and_paths_have_json_answers() {
    let server = Setup::default().start();
    let answer = server.ask("DELETE /health HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert_eq!((code(&answer), header(&answer, "allow")), ("405", Some("GET, HEAD")));
    assert!(content(&answer).starts_with(r#"{"error":"method_not_allowed","message":""#));
    let answer = server.get("/webhook").await;
    assert_eq!((code(&answer), header(&answer, "allow")), ("405", Some("POST")));
    let answer = server.get("/health/deep").await;
    assert_eq!(code(&answer), "404");
    assert!(content(&answer).starts_with(r#"{"error":"not_found","message":""#));
    assert_eq!(code(&server.ask("OPTIONS * HTTP/1.1\r\nhost: t\r\n\r\n").await), "404");
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let server = Setup::default().start();
    assert_eq!(content(&server.post("", &"x".repeat(BODY_LIMIT)).await), "1000");

    // By its header alone: not a byte of the body is sent.
    let claim = "POST /webhook HTTP/1.1\r\nhost: t\r\ncontent-length: 99999999999\r\n\r\n";
    let answer = server.ask(claim).await;
    assert_eq!((code(&answer), header(&answer, "connection")), ("413", Some("close")));

    // Chunked, with far more sent than is read: the answer must still arrive.
    let mut client = server.connect().await;
    client.send("POST /webhook HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let chunk = format!("{:x}\r\n{}\r\n", 8_192, "x".repeat(8_192));
    for _ in 0..30 {
        client.send(&chunk).await;
    }
    let answer = client.answer().await;
    assert_eq!(code(&answer), "413");
    assert!(content(&answer).contains("larger than 1000 bytes"));

    let started = Instant::now();
    let stalled = "POST /webhook HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nab";
    assert_eq!(code(&server.ask(stalled).await), "408");
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_half_sent_header_is_closed_in_time() {
    let mut setup = Setup::default();
    setup.limits.header_timeout = Duration::from_millis(200);
    let server = setup.start();
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.send("GET /health HTTP/1.1\r\nhost:").await;
    let mut kept = server.connect().await;
    kept.send("GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert_eq!(code(&kept.answer().await), "200");
    let started = Instant::now();
    assert_eq!(half.rest().await + &silent.rest().await + &kept.rest().await, "");
    assert!(started.elapsed() < Duration::from_secs(2));
    // The kept connection had its request; it is no slow header.
    assert_eq!(server.closed("header_timeout"), 2);
}

#[tokio::test]
async fn a_header_that_trickles_is_closed_in_time() {
    let mut setup = Setup::default();
    setup.limits.header_timeout = Duration::from_millis(200);
    let server = setup.start();
    let client = server.connect().await;
    let (mut read, mut write) = client.0.into_split();
    let trickle = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, read.read_to_end(&mut rest)).await.expect("the end");
    timeout(PATIENCE, trickle).await.expect("no one to write to").unwrap();
}

#[tokio::test]
async fn at_the_limit_the_longest_idle_makes_room() {
    let mut setup = Setup::default();
    setup.limits.max_connections = 3;
    let server = setup.start();
    let mut busy = server.waiting().await;
    let mut silent = server.connect().await;
    let mut fresh = server.connect().await;
    fresh.send("GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await;
    fresh.answer().await;

    assert_eq!(code(&server.get("/health").await), "200");
    assert_eq!(silent.rest().await, "", "the silent one was idle longest");
    assert_eq!(server.closed("idle"), 1);
    fresh.send("GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert_eq!(code(&fresh.answer().await), "200", "the one used last was kept");
    server.gate.add_permits(1);
    assert_eq!(content(&busy.answer().await), "waited", "the busy one was kept");
}

#[tokio::test]
async fn idle_connections_cannot_shut_others_out() {
    let mut setup = Setup::default();
    setup.limits.max_connections = 50;
    let server = setup.start();
    let mut attackers = Vec::new();
    for round in 0..=200 {
        let mut attacker = server.connect().await;
        attacker.send("GET /health HTTP/1.1\r\nx: ").await;
        attackers.push(attacker);
        if round % 25 == 0 {
            assert_eq!(code(&server.get("/health").await), "200");
        }
    }
    assert!(server.closed("idle") >= 150);
    assert_eq!(server.closed("limit"), 0);
}

#[tokio::test]
async fn when_all_are_busy_a_newcomer_is_told_so() {
    let mut setup = Setup::default();
    setup.limits.max_connections = 2;
    let server = setup.start();
    let _busy = [server.waiting().await, server.waiting().await];
    let refusal = server.connect().await.rest().await;
    assert_eq!((code(&refusal), header(&refusal, "retry-after")), ("503", Some("1")));
    assert_eq!(server.closed("limit"), 1);
}

#[tokio::test]
async fn draining_answers_what_is_under_way_and_closes() {
    let server = Setup::default().start();
    let mut busy = server.waiting().await;
    let mut idle = server.connect().await;
    idle.send("GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await;
    idle.answer().await;
    let mut half = server.connect().await;
    half.send("GET /health HT").await;

    server.shutdown.cancel();
    assert_eq!(idle.rest().await + &half.rest().await, "");
    assert!(TcpStream::connect(server.address).await.is_err(), "no one listens any more");
    assert!(!server.done.is_finished());
    server.gate.add_permits(1);
    let answer = busy.rest().await;
    assert_eq!((content(&answer), header(&answer, "connection")), ("waited", Some("close")));
    drop(busy);
    let metrics = server.metrics.clone();
    server.stopped().await;
    assert_eq!(metrics.http_connections.get(), 0);
}

#[tokio::test]
async fn draining_serves_connections_not_yet_accepted() {
    let server = Setup::default().start();
    // On this one-thread runtime the accept loop cannot run before the next await.
    let mut early = std::net::TcpStream::connect(server.address).unwrap();
    let request = b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n";
    std::io::Write::write_all(&mut early, request).unwrap();
    server.shutdown.cancel();
    early.set_nonblocking(true).unwrap();
    let mut early = Client(TcpStream::from_std(early).unwrap());
    let answer = early.rest().await;
    assert_eq!((code(&answer), header(&answer, "connection")), ("200", Some("close")));
    server.stopped().await;
}

#[tokio::test]
async fn draining_cuts_off_what_outlasts_it() {
    let mut setup = Setup::default();
    setup.limits.drain_timeout = Duration::from_millis(300);
    let server = setup.start();
    let mut busy = server.waiting().await;
    server.shutdown.cancel();
    assert_eq!(busy.rest().await, "");
    assert_eq!(
        server.metrics.http_requests_in_flight.get(),
        0,
        "the dropped request is counted off"
    );
    server.stopped().await;
}

#[tokio::test]
async fn a_client_that_shuts_its_half_still_gets_its_answer() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    client.send("GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await;
    client.0.shutdown().await.unwrap();
    assert_eq!(code(&client.rest().await), "200");
}

#[tokio::test]
async fn a_panic_is_one_requests_500() {
    let server = Setup::default().start();
    let answer = server.post("x-request-id: mine\r\n", "panic").await;
    assert_eq!((code(&answer), header(&answer, "x-request-id")), ("500", Some("mine")));
    assert!(content(&answer).starts_with(r#"{"error":"internal","message":""#));
    assert_eq!(server.metrics.http_requests_in_flight.get(), 0);
    assert_eq!(code(&server.get("/health").await), "200");
}

#[tokio::test]
async fn handlers_see_the_id_and_the_client() {
    let mut setup = Setup::default();
    setup.trusted = vec!["127.0.0.0/8"];
    let trusting = setup.start();
    let forwarded = "x-request-id: a-1\r\nx-forwarded-for: 127.0.0.1, 198.51.100.9\r\n";
    let answer = trusting.post(forwarded, "who").await;
    assert_eq!(content(&answer), "198.51.100.9 false a-1");
    assert_eq!(header(&answer, "x-request-id"), Some("a-1"));

    let server = Setup::default().start();
    assert!(content(&server.post("", "who").await).starts_with("127.0.0.1 true "));
    let answer = server.post("x-forwarded-for: 127.0.0.1\r\n", "who").await;
    assert!(content(&answer).starts_with("127.0.0.1 false "));
}

#[tokio::test]
async fn figures_are_for_the_allowed_only() {
    let mut setup = Setup::default();
    setup.metrics_allow = vec!["192.0.2.0/24"];
    let server = setup.start();
    for path in ["/metrics", "/health?verbose=1"] {
        let answer = server.get(path).await;
        assert_eq!(code(&answer), "403", "{path}");
        assert!(content(&answer).contains("server.metrics_allow"));
    }
    assert_eq!(code(&server.get("/health").await), "200");
    let mut setup = Setup::default();
    setup.metrics_allow = vec!["127.0.0.0/8"];
    assert_eq!(code(&setup.start().get("/metrics").await), "200");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let server = Setup::default().start();
    server.get("/health").await;
    server.get("/health/").await;
    server.get("/no/such/path").await;
    let answer = server.get("/metrics").await;
    assert_eq!(header(&answer, "content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        r#"dingbot_http_requests_total{code="200",method="GET",route="/health"} 2"#,
        r#"dingbot_http_requests_total{code="404",method="GET",route="other"} 1"#,
        r#"dingbot_http_request_duration_seconds_count{route="/health"} 2"#,
        "dingbot_http_requests_in_flight 1",
        "# TYPE process_cpu_seconds_total counter",
        "# TYPE process_open_fds gauge",
    ] {
        assert!(answer.contains(line), "{line} is missing");
    }
    let started = answer.lines().find_map(|l| l.strip_prefix("process_start_time_seconds "));
    assert!(started.unwrap().parse::<f64>().unwrap() > 1.6e9);
}

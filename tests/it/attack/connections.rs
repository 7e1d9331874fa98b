//! Connections that are slow, or many.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::net::TcpStream;

use super::answers_in_time;
use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::http::Rude;
use crate::support::settings::Settings;

/// What the header timeout is here, and how much later a connection may be closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(2);
/// Connections that stay half open.
const HALF_OPEN: usize = 200;
/// Idle connections: as many as the daemon serves by default.
const IDLE: usize = 10_000;
/// Descriptors beside those of the idle connections.
const SPARE: u64 = 500;
/// Most resident memory an idle connection may cost, in bytes: that of a request header that is
/// half there would come to 16 KiB.
const PER_CONNECTION: f64 = 16_384.0;

const HEAD: &[u8] = b"POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                      content-length: 1000\r\n\r\n";

async fn impatient() -> Daemon {
    Daemon::start(Settings::bare().text("server.header_timeout", "2s")).await
}

async fn resident(daemon: &Daemon) -> f64 {
    daemon.metrics().await.sum("process_resident_memory_bytes", &[])
}

#[tokio::test]
async fn half_open_headers_are_closed_after_the_header_timeout() {
    let daemon = impatient().await;
    let opened = Instant::now();
    let parts: [&[u8]; 4] = [b"", b"G", b"GET /health HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nx-a: "];
    let half = (0..HALF_OPEN).map(async |number| {
        let mut rude = Rude::connect(daemon.address()).await.unwrap();
        rude.send(parts[number % parts.len()]).await.unwrap();
        rude
    });
    let mut half = join_all(half).await;
    answers_in_time(&daemon).await;
    assert!(opened.elapsed() < HEADER_TIMEOUT, "too slow a machine to tell");
    let closed = join_all(half.iter_mut().map(|rude| rude.closes(PATIENCE))).await;
    assert!(closed.iter().all(|closed| *closed));
    let took = opened.elapsed();
    assert!((HEADER_TIMEOUT..HEADER_TIMEOUT + LATE).contains(&took), "{took:?}");
    answers_in_time(&daemon).await;
}

#[tokio::test]
async fn a_header_at_one_byte_a_second_is_closed() {
    let daemon = impatient().await;
    let mut rude = Rude::connect(daemon.address()).await.unwrap();
    let started = Instant::now();
    // A byte must not begin the time anew. Writing fails once the connection is closed.
    let dripping = rude.drip(&HEAD[..10], Duration::from_secs(1)).await;
    let closed = dripping.is_err() || rude.closes(LATE).await;
    assert!(closed && started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    answers_in_time(&daemon).await;
}

#[tokio::test]
async fn a_body_at_one_byte_a_second_is_408() {
    let daemon = impatient().await;
    let mut rude = Rude::connect(daemon.address()).await.unwrap();
    rude.send(HEAD).await.unwrap();
    let started = Instant::now();
    // Writing fails once the daemon has answered and closed.
    let _ = rude.drip(b"{\"msg", Duration::from_secs(1)).await;
    let answer = rude.answer(PATIENCE).await.unwrap().expect("it says why");
    assert_eq!(answer.status, 408);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    answers_in_time(&daemon).await;
}

#[tokio::test]
async fn ten_thousand_idle_connections_are_borne() {
    let wanted = IDLE as u64 + SPARE;
    if rlimit::increase_nofile_limit(wanted).unwrap_or(0) < wanted {
        println!("skipped: ten thousand connections need {wanted} open files (ulimit -Hn)");
        return;
    }
    // So long that none is closed for having been idle while the others are opened.
    let settings = Settings::bare().text("server.header_timeout", "120s");
    let daemon = Daemon::start(settings).await;
    let before = resident(&daemon).await;
    let address = daemon.address();
    let idle: Vec<TcpStream> = stream::iter(0..IDLE)
        .map(async |_| TcpStream::connect(address).await.expect("it is accepted"))
        .buffer_unordered(100)
        .collect()
        .await;
    let open = |metrics: &crate::support::exposition::Exposition| {
        metrics.sum("dingbot_http_connections", &[]) >= IDLE as f64
    };
    daemon.wait_for_metrics("all connections are accepted", open).await;
    // The limit is reached: whoever comes now is served in place of the longest idle one.
    for _ in 0..20 {
        answers_in_time(&daemon).await;
    }
    let cost = (resident(&daemon).await - before) / IDLE as f64;
    println!("{IDLE} idle connections: {cost:.0} bytes of resident memory each");
    assert!(cost < PER_CONNECTION, "{cost:.0} bytes a connection");
    drop(idle);
    let gone = |metrics: &crate::support::exposition::Exposition| {
        metrics.sum("dingbot_http_connections", &[]) < 10.0
    };
    daemon.wait_for_metrics("the connections are gone", gone).await;
    answers_in_time(&daemon).await;
}

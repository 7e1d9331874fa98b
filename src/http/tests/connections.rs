//! Limits of connections, and how they are taken down.

use tokio::time::Instant;

use super::*;

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
    // Who comes meanwhile is served, once.
    let mut late = server.connect().await;
    late.send("GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert_eq!(header(&late.rest().await, "connection"), Some("close"));
    assert!(!server.done.is_finished());
    server.gate.add_permits(1);
    let answer = busy.rest().await;
    assert_eq!((content(&answer), header(&answer, "connection")), ("waited", Some("close")));
    drop(busy);
    let (metrics, address) = (server.metrics.clone(), server.address);
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err(), "no one listens any more");
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

//! What each surface answers.

use tokio::time::Instant;

use super::*;
use crate::telemetry::health::Status;

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
    let trusting = Setup { trusted: vec!["127.0.0.0/8"], ..Setup::default() }.start();
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
    let server = Setup { metrics_allow: vec!["192.0.2.0/24"], ..Setup::default() }.start();
    for path in ["/metrics", "/health?verbose=1"] {
        let answer = server.get(path).await;
        assert_eq!(code(&answer), "403", "{path}");
        assert!(content(&answer).contains("server.metrics_allow"));
    }
    assert_eq!(code(&server.get("/health").await), "200");
    let server = Setup { metrics_allow: vec!["127.0.0.0/8"], ..Setup::default() }.start();
    assert_eq!(code(&server.get("/metrics").await), "200");
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

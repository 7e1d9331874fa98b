//! `dingbot doctor --target`: servers that are not as they should be, each in its own way.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::support::tls::Certificate;

/// The longest it may take, whatever the server does.
const IN_TIME: Duration = Duration::from_secs(5);
const WELL: &str = r#"{"status":"ok","message":"DingBot Server is healthy"}"#;
const UNWELL: &str = r#"{"status":"error","message":"The disk is full"}"#;

/// What a server does with a connection.
#[derive(Debug, Clone)]
enum Manner {
    /// Answers this, and what the bot does to a `GET` of its callbacks.
    Answers(String),
    /// Sends this before it is asked.
    SpeaksFirst(&'static [u8]),
    /// Takes it, and says nothing.
    Silent,
    /// Takes the request, and resets it.
    Resets,
    /// Begins a right answer, and sends a byte now and then.
    Drips,
    /// Sends headers without end.
    EndlessHeaders,
    /// Sends a body without end.
    EndlessBody,
}

use Manner::{Answers, Drips, EndlessBody, EndlessHeaders, Resets, Silent, SpeaksFirst};

fn answer(status: &str, headers: &str, body: &str) -> Manner {
    let length = body.len();
    Answers(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

fn well() -> Manner {
    answer("200 OK", "content-type: application/json\r\n", WELL)
}

/// A server on loopback, by IPv4 and, where there is IPv6, by that; it ends when it is dropped.
struct Server {
    port: u16,
    _serving: JoinSet<()>,
}

impl Server {
    async fn start(manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind(("::1", port)).await;
        let mut serving = JoinSet::new();
        for listener in [Some(first), second.ok()].into_iter().flatten() {
            let (manner, tls) = (manner.clone(), tls.clone());
            serving.spawn(async move {
                let mut open = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let (manner, tls) = (manner.clone(), tls.clone());
                    open.spawn(async move {
                        match tls {
                            None if matches!(manner, Resets) => reset(stream).await,
                            None => serve(stream, manner).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(stream, manner).await;
                                }
                            }
                        }
                    });
                }
            });
        }
        Self { port, _serving: serving }
    }
}

async fn reset(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 1024]).await;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Every loop ends with the connection or with the test.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner) {
    if let SpeaksFirst(bytes) = manner {
        let _ = stream.write_all(bytes).await;
    }
    let mut request = vec![0; 4096];
    let Ok(read @ 1..) = stream.read(&mut request).await else { return };
    let callbacks = request[..read].windows(8).any(|it| it == b"/webhook");
    match manner {
        Answers(_) if callbacks => {
            let refusal =
                "HTTP/1.1 405 Method Not Allowed\r\nallow: POST\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(refusal.as_bytes()).await;
        }
        Answers(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        SpeaksFirst(_) | Resets => return,
        Silent => tokio::time::sleep(IN_TIME * 2).await,
        Drips => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", WELL.len());
            let _ = stream.write_all(head.as_bytes()).await;
            for byte in WELL.bytes() {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        }
        EndlessHeaders => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream.write_all(&b"x-more: and more\r\n".repeat(100)).await.is_ok() {}
        }
        EndlessBody => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
    }
    let _ = stream.shutdown().await;
}

/// Runs it; `trusted` is the only authority there is.
async fn doctor(trusted: Option<&Certificate>, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dingbot"));
    command.env_clear().env("LANG", "en_US.UTF-8").arg("doctor").args(arguments);
    if let Some(certificate) = trusted {
        command.env("SSL_CERT_FILE", certificate.authority());
    }
    let began = Instant::now();
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(IN_TIME * 2, ended).await.expect("it still runs").unwrap();
    assert!(began.elapsed() < IN_TIME, "{arguments:?} took {:?}", began.elapsed());
    output
}

/// What it says first of a server, as a code; the whole report; the exit code.
async fn first(url: &str, trusted: Option<&Certificate>) -> (String, Value, i32) {
    let output = doctor(trusted, &["--json", "--target", url]).await;
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let code = report["first"]["code"].as_str().unwrap_or_default().to_owned();
    (code, report, output.status.code().unwrap())
}

fn has(report: &Value, code: &str) -> bool {
    let findings = report["sections"][0]["findings"].as_array().unwrap();
    findings.iter().any(|finding| finding["code"] == code)
}

#[tokio::test]
async fn every_answer_is_called_by_its_name() {
    let nginx = "server: nginx/1.22.1\r\n";
    let cases: Vec<(Manner, &str)> = vec![
        (well(), ""),
        (answer("503 Service Unavailable", "", UNWELL), "unhealthy"),
        (answer("503 Service Unavailable", nginx, "<html>busy"), "http_error"),
        (answer("500 Internal Server Error", nginx, ""), "http_error"),
        (answer("429 Too Many Requests", nginx, ""), "http_error"),
        (answer("413 Content Too Large", nginx, ""), "http_error"),
        (answer("401 Unauthorized", nginx, ""), "forbidden"),
        (answer("403 Forbidden", nginx, "<html>"), "forbidden"),
        (
            answer("403 Forbidden", "server: Beaver\r\n", "Non-compliance ICP Filing"),
            "proxy_in_the_way",
        ),
        (answer("407 Proxy Authentication Required", "", ""), "proxy_in_the_way"),
        (answer("404 Not Found", nginx, "<html>"), "wrong_service"),
        (answer("200 OK", nginx, "<h1>Welcome to nginx!</h1>"), "wrong_service"),
        (answer("502 Bad Gateway", nginx, ""), "proxy_upstream_down"),
        (answer("504 Gateway Time-out", nginx, ""), "proxy_upstream_slow"),
        (answer("302 Found", "location: http://login.example/\r\n", ""), "redirected"),
        (SpeaksFirst(b"SSH-2.0-OpenSSH_9.2\r\n"), "wrong_service"),
        (SpeaksFirst(b"\x4a\x00\x00\x00\x0a8.0.36\x00"), "wrong_service"),
        (Silent, "health_silent"),
        (Resets, "health_reset"),
        (Drips, "health_broken_off"),
        (EndlessBody, "wrong_service"),
        (EndlessHeaders, "wrong_service"),
    ];
    let mut looks = JoinSet::new();
    for (manner, code) in cases {
        looks.spawn(async move {
            let server = Server::start(manner.clone(), None).await;
            let (named, report, exit) =
                first(&format!("http://127.0.0.1:{}", server.port), None).await;
            assert_eq!(named, code, "{manner:?}: {report:#}");
            assert_eq!(exit, i32::from(!code.is_empty()), "{manner:?}");
            if code.is_empty() {
                assert!(has(&report, "webhook_reached"), "{report:#}");
            } else {
                let remedy = &report["first"]["remedy"]["text"];
                assert!(remedy["zh"].as_str().is_some_and(|it| !it.is_empty()), "{report:#}");
            }
        });
    }
    looks.join_all().await;
}

#[tokio::test]
async fn a_port_at_which_nobody_listens_refuses() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (named, report, exit) = first(&format!("http://{free}"), None).await;
    assert_eq!((named.as_str(), exit), ("connect_refused", 1), "{report:#}");
}

#[tokio::test]
async fn https_is_told_from_http_and_a_certificate_by_what_is_wrong_with_it() {
    if let Some(why) = Certificate::missing() {
        return println!("skipped: certificates: {why}");
    }
    let good = Certificate::new(&["localhost"]);
    let stranger = Certificate::new(&["localhost"]);
    let cases = [
        (good.another(&["localhost"]), ""),
        (good.lasting(&["localhost"], 9), "certificate_expiring"),
        (good.expired(&["localhost"]), "certificate_expired"),
        (good.another(&["other.example"]), "certificate_wrong_name"),
        (stranger, "certificate_untrusted"),
    ];
    for (certificate, code) in cases {
        let server = Server::start(well(), Some(certificate.acceptor())).await;
        let url = format!("https://localhost:{}", server.port);
        let (named, report, _) = first(&url, Some(&good)).await;
        assert_eq!(named, code, "{report:#}");
        let (named, report, _) = first(&url.replace("https", "http"), Some(&good)).await;
        assert_eq!(named, "plain_http_to_tls", "{report:#}");
    }
    for (manner, code) in
        [(well(), "https_to_plain_http"), (SpeaksFirst(b"SSH-2.0-x\r\n"), "wrong_service")]
    {
        let server = Server::start(manner, None).await;
        let (named, report, _) = first(&format!("https://127.0.0.1:{}", server.port), None).await;
        assert_eq!(named, code, "{report:#}");
    }
}

#[tokio::test]
async fn http_that_leads_to_https_of_the_same_name_is_followed() {
    if let Some(why) = Certificate::missing() {
        return println!("skipped: certificates: {why}");
    }
    let certificate = Certificate::new(&["localhost"]);
    let site = Server::start(well(), Some(certificate.acceptor())).await;
    let there = format!("location: https://localhost:{}/health\r\n", site.port);
    let redirect = Server::start(answer("301 Moved Permanently", &there, ""), None).await;
    let url = format!("http://localhost:{}", redirect.port);
    let (named, report, exit) = first(&url, Some(&certificate)).await;
    assert_eq!((named.as_str(), exit), ("", 0), "{report:#}");
    assert!(has(&report, "redirected") && has(&report, "webhook_reached"), "{report:#}");
}

/// Nothing that a server says is a command, nor moves the cursor.
#[tokio::test]
async fn what_comes_back_is_shown_and_never_obeyed() {
    let escapes = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}gnp.exe";
    let hostile = [
        answer("302 Found", "location: https://a$(id).example/`id`\r\n", ""),
        answer("302 Found", "location: https://a.example';reboot;'/\r\n", ""),
        answer("200 OK", "server: $(reboot)\r\n", escapes),
        answer(
            "503 Service Unavailable",
            "",
            &format!(r#"{{"status":"error","message":"{}"}}"#, "x\\u001b[2J"),
        ),
    ];
    for manner in hostile {
        let server = Server::start(manner.clone(), None).await;
        let url = format!("http://127.0.0.1:{}", server.port);
        let (_, report, _) = first(&url, None).await;
        let commands = report["first"]["remedy"]["commands"].to_string();
        for part in ["$(", "`", "reboot", "id"] {
            assert!(!commands.contains(part), "{manner:?}: {commands}");
        }
        for form in [["--lang", "zh"].as_slice(), &["--json"]] {
            let output = doctor(None, &[form, &["--target", &url]].concat()).await;
            let text = String::from_utf8(output.stdout).unwrap();
            let raw = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(raw, None, "{text:?}");
        }
    }
}

#[tokio::test]
async fn what_names_no_server_is_a_usage_error() {
    for url in [
        "",
        "ftp://x",
        "http:/x",
        "127.0.0.1:0",
        "http://u:p@127.0.0.1",
        "http://",
        "::::",
        "http://a$(id).example",
    ] {
        let output = doctor(None, &["--target", url]).await;
        assert_eq!(output.status.code(), Some(64), "{url}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("--target") && said.contains("http"), "{url}: {said}");
    }
}

#[tokio::test]
async fn an_address_may_be_given_without_a_scheme() {
    let server = Server::start(well(), None).await;
    let address: SocketAddr = ([127, 0, 0, 1], server.port).into();
    let (named, report, _) = first(&address.to_string(), None).await;
    assert_eq!(named, "", "{report:#}");
}

//! Bodies that are too large, too deep, or no text; and requests that are none.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::answers_in_time;
use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::http::{Answer, Rude};
use crate::support::settings::Settings;

/// What a body may have by default.
const LIMIT: usize = 1024 * 1024;
/// Requests of random bytes.
const GARBAGE: usize = 3_000;
/// How many of them at a time.
const AT_A_TIME: usize = 16;
/// Most resident memory that all of one attack may cost, in bytes: a few bodies of the largest
/// size, and what an allocator keeps of them.
const MOST_MEMORY: f64 = 32.0 * 1024.0 * 1024.0;

async fn post(daemon: &Daemon, body: impl Into<reqwest::Body>) -> Answer {
    let request = daemon.client().post(daemon.url("/webhook"));
    let request = request.header("content-type", "application/json").body(body);
    Answer::of(request.send().await.unwrap()).await
}

async fn resident(daemon: &Daemon) -> f64 {
    daemon.metrics().await.sum("process_resident_memory_bytes", &[])
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_and_not_kept_in_memory() {
    let daemon = Daemon::start(Settings::bare()).await;
    post(&daemon, vec![b' '; LIMIT + 1]).await.error(413);
    let before = resident(&daemon).await;
    for _ in 0..50 {
        // A claim alone is enough.
        let mut rude = Rude::connect(daemon.address()).await.unwrap();
        let head = "POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
        rude.send(format!("{head}content-length: 99999999999\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(rude.answer(PATIENCE).await.unwrap().unwrap().status, 413);

        // Without a claim it is the byte too many.
        let mut rude = Rude::connect(daemon.address()).await.unwrap();
        rude.send(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
        let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
        for _ in 0..=LIMIT / 0x10000 {
            // Fails when the answer came before everything was written.
            if rude.send(&chunk).await.is_err() {
                break;
            }
        }
        assert_eq!(rude.answer(PATIENCE).await.unwrap().unwrap().status, 413);
    }
    let grown = resident(&daemon).await - before;
    assert!(grown < MOST_MEMORY, "{grown} bytes");
    answers_in_time(&daemon).await;
}

#[tokio::test]
async fn deep_json_is_400_however_deep() {
    let daemon = Daemon::start(Settings::bare()).await;
    for open in ["[", "{\"a\":", "{\"text\":[", "{\"content\":{\"richText\":["] {
        for depth in [200, 10_000, (LIMIT - 100) / open.len()] {
            post(&daemon, open.repeat(depth)).await.error(400);
        }
    }
    // Whole rather than cut off, and in a field that the callback has.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body =
        format!(r#"{{"msgtype":"richText","senderId":"u","content":{{"richText":{deep}}}}}"#);
    post(&daemon, body).await.error(400);
    answers_in_time(&daemon).await;
}

#[tokio::test]
async fn what_is_not_utf_8_is_400() {
    let daemon = Daemon::start(Settings::bare()).await;
    // A lone continuation, an overlong slash, a surrogate, past the last character, cut off.
    for wrong in [&b"\x80"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xbd"] {
        let body = [br#"{"msgtype":"text","senderId":"u","text":{"content":""#, wrong, br#""}}"#];
        post(&daemon, body.concat()).await.error(400);
        // In a field that nobody reads, too.
        let body = [br#"{"msgtype":"text","senderId":"u","x":""#, wrong, br#""}"#];
        post(&daemon, body.concat()).await.error(400);
    }
    // A surrogate that JSON spells out.
    let body = r#"{"msgtype":"text","senderId":"u","text":{"content":"\ud800"}}"#;
    post(&daemon, body).await.error(400);
    answers_in_time(&daemon).await;
}

#[tokio::test]
async fn thousands_of_garbage_requests_change_nothing() {
    let seed = fastrand::u64(..);
    println!("garbage: seed {seed}");
    let daemon = Daemon::start(Settings::bare()).await;
    answers_in_time(&daemon).await;
    let before = resident(&daemon).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let garbage: Vec<Vec<u8>> = (0..GARBAGE).map(|_| garbage(&mut random)).collect();
    let daemon = &daemon;
    let attack = stream::iter(&garbage).for_each_concurrent(AT_A_TIME, async |bytes| {
        let mut rude = Rude::connect(daemon.address()).await.unwrap();
        // Writing fails when the answer came first.
        let _ = rude.send(bytes).await;
        let _ = rude.finish().await;
        if let Ok(Some(answer)) = rude.answer(PATIENCE).await {
            let shown = String::from_utf8_lossy(bytes);
            assert!((400..500).contains(&answer.status), "{} to {shown:?}", answer.status);
        }
    });
    tokio::time::timeout(Duration::from_secs(60), attack).await.expect("each ends by itself");
    let grown = resident(daemon).await - before;
    assert!(grown < MOST_MEMORY, "{grown} bytes");
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.sum("dingbot_messages_received_total", &[]), 0.0);
    answers_in_time(daemon).await;
}

/// Bytes that are no good request: noise, a broken request line, broken headers, or noise as a
/// callback.
fn garbage(random: &mut fastrand::Rng) -> Vec<u8> {
    let noise = |random: &mut fastrand::Rng, most: usize| -> Vec<u8> {
        let length = random.usize(1..most);
        (0..length).map(|_| random.u8(..)).collect()
    };
    match random.u8(0..4) {
        0 => noise(random, 4_000),
        1 => [b"GET /nowhere/", &noise(random, 200)[..], b" HTTP/1.1\r\nhost: x\r\n\r\n"].concat(),
        2 => [b"GET /nowhere HTTP/1.1\r\n", &noise(random, 2_000)[..], b"\r\n\r\n"].concat(),
        _ => {
            let body = noise(random, 2_000);
            let head = format!(
                "POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            [head.into_bytes(), body].concat()
        }
    }
}

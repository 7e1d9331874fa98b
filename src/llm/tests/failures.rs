//! What goes wrong, how often it is tried again, and when the model is left alone.

use std::time::{Duration, Instant};

use serde_json::json;

use super::endpoint::{Reply, answer, delta, events, finish, refusal, whole};
use super::{Fixture, KEY, LONG, PACE, SHORT};
use crate::llm::LlmError;
use crate::llm::model::Pace;
use crate::llm::stream::MAX_ANSWER_BYTES;

/// Asks once; the error, and how many requests it took.
async fn failed(reply: Reply) -> (LlmError, usize) {
    let fixture = Fixture::new(vec![reply]).await;
    let error = fixture.complete().await.unwrap_err();
    assert_eq!(fixture.counted(error.outcome()), fixture.requests() as u64);
    (error, fixture.requests())
}

#[tokio::test]
async fn silence_is_a_timeout_and_final() {
    let head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for begun in [Vec::new(), head, events(&delta("你"))] {
        let fixture = Fixture::with(vec![Reply::Stall(begun)], SHORT, PACE).await;
        assert_eq!(fixture.complete().await, Err(LlmError::Timeout));
        assert_eq!(fixture.requests(), 1);
    }
}

#[tokio::test]
async fn keepalive_comments_do_not_hold_the_line_for_ever() {
    let drip = Reply::Drip(events(""), b": keepalive\n\n".to_vec(), SHORT / 10);
    let fixture = Fixture::with(vec![drip], SHORT, PACE).await;
    let started = Instant::now();
    assert_eq!(fixture.complete().await, Err(LlmError::Timeout));
    assert!(started.elapsed() >= SHORT * 4, "cut off before its time");
}

#[tokio::test]
async fn a_broken_stream_is_asked_for_again() {
    let no_end = Reply::Bytes(events(&delta("你")));
    let nothing = Reply::Bytes(Vec::new());
    let fixture = Fixture::new(vec![no_end.clone(), nothing, answer("你好")]).await;
    assert_eq!(fixture.complete().await.unwrap().text, "你好");
    assert_eq!((fixture.counted("bad_answer"), fixture.counted("ok")), (2, 1));

    let (error, requests) = failed(no_end).await;
    assert_eq!(requests, 3);
    assert!(error.to_string().contains("broke off"), "{error}");
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_broken() {
    let reply = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{";
    let (error, requests) = failed(Reply::Bytes(reply.into())).await;
    assert_eq!((error.outcome(), requests), ("bad_answer", 3));
}

#[tokio::test]
async fn a_rate_limit_waits_as_long_as_it_is_told() {
    let limited = whole("429 Too Many Requests", "Retry-After: 0.3\r\n", "slow down");
    let pace = Pace { max_retry_after: LONG, ..PACE };
    let fixture = Fixture::with(vec![limited, answer("a")], LONG, pace).await;
    let started = Instant::now();
    assert_eq!(fixture.complete().await.unwrap().text, "a");
    assert!(started.elapsed() >= Duration::from_millis(300), "it did not wait");
    assert_eq!((fixture.counted("rate_limited"), fixture.counted("ok")), (1, 1));
}

#[tokio::test]
async fn a_wait_without_measure_is_cut_short() {
    let limited = whole("429 Too Many Requests", "Retry-After: 86400\r\n", "");
    assert_eq!(failed(limited).await, (LlmError::RateLimited, 3));
}

#[tokio::test]
async fn a_server_error_is_tried_three_times() {
    let page = whole("502 Bad Gateway", "Content-Type: text/html\r\n", "<html>nginx</html>");
    assert_eq!(failed(page).await, (LlmError::Server(502), 3));
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_asked_again() {
    for (status, body, error) in [
        ("401 Unauthorized", json!({"error": "no"}), LlmError::Unauthorized),
        ("404 Not Found", json!({"detail": "no"}), LlmError::ModelNotFound),
        ("400 Bad Request", json!({"error": {"code": "content_filter"}}), LlmError::Refused),
        ("400 Bad Request", json!({"message": "no"}), LlmError::BadRequest("400: no".into())),
        ("413 Too Large", json!({}), LlmError::ContextTooLong),
        ("429 Too Many", json!({"code": "insufficient_quota"}), LlmError::OutOfQuota),
    ] {
        assert_eq!(failed(refusal(status, body)).await, (error, 1), "{status}");
    }
}

#[tokio::test]
async fn the_key_is_in_no_error() {
    let echo = json!({"error": {"message": format!("bad header: Bearer {KEY}")}});
    let page = format!("event: error\ndata: {{\"message\": \"{KEY} is wrong\"}}\n\n");
    for reply in [
        refusal("400 Bad Request", echo.clone()),
        refusal("200 OK", echo),
        Reply::Bytes(events(&page)),
        whole("418 Teapot", "", KEY),
    ] {
        let (error, _) = failed(reply).await;
        assert!(error.to_string().contains("***"), "{error}");
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn an_error_inside_a_stream_ends_it() {
    let overloaded = format!(
        "{}data: {{\"error\":{{\"message\":\"overloaded\",\"code\":503}}}}\n\n",
        delta("a")
    );
    let fixture = Fixture::new(vec![Reply::Bytes(events(&overloaded)), answer("b")]).await;
    assert_eq!(fixture.complete().await.unwrap().text, "b");
    assert_eq!(fixture.counted("server_error"), 1);
}

#[tokio::test]
async fn rubbish_gets_one_more_chance() {
    let empty = events(&format!("{}data: [DONE]\n\n", finish("stop")));
    for reply in [
        whole("200 OK", "Content-Type: application/json\r\n", "[1, 2"),
        whole("200 OK", "Content-Type: application/json\r\n", "{\"ok\": true}"),
        Reply::Bytes(events("data: not json\n\n")),
        Reply::Bytes(events("").into_iter().chain(*b"data: \xff\xfe\n\n").collect()),
        Reply::Bytes(empty),
    ] {
        let (error, requests) = failed(reply).await;
        assert_eq!((error.outcome(), requests), ("bad_answer", 2), "{error}");
    }
}

#[tokio::test]
async fn a_web_page_is_explained() {
    let page = whole("200 OK", "Content-Type: text/html; charset=utf-8\r\n", "<html></html>");
    let (error, requests) = failed(page).await;
    assert_eq!(requests, 1);
    assert!(error.to_string().contains("web page"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Fixture::new(vec![answer("stolen")]).await;
    let location = format!("Location: {}\r\n", elsewhere.endpoint.url);
    let (error, requests) = failed(whole("307 Temporary Redirect", &location, "")).await;
    assert_eq!(requests, 1);
    assert!(error.to_string().contains("redirect (307)"), "{error}");
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let line = vec![b'x'; 64 * 1024];
    let event = delta(&"x".repeat(64 * 1024)).into_bytes();
    let json = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_vec();
    for (head, again) in [(events("data: "), line.clone()), (events(""), event), (json, line)] {
        let (error, requests) = failed(Reply::Drip(head, again, Duration::ZERO)).await;
        assert_eq!(requests, 1);
        assert!(error.to_string().contains(&MAX_ANSWER_BYTES.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let fixture = Fixture::new(vec![answer("a")]).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let settings = crate::config::settings::Llm {
        base_url: format!("http://{free}/v1?key=hidden").parse().unwrap(),
        api_key: KEY.into(),
        ..Default::default()
    };
    let model = crate::llm::ChatModel::with_pace(&settings, fixture.metrics.clone(), PACE).unwrap();
    let error = model.complete(&super::question()).await.unwrap_err();
    assert_eq!(error.outcome(), "unreachable");
    assert!(!error.to_string().contains("hidden"), "{error}");
    assert_eq!(fixture.counted("unreachable"), 3);
}

#[tokio::test]
async fn a_model_that_keeps_failing_is_left_alone() {
    let fixture = Fixture::new(vec![refusal("401 Unauthorized", json!({}))]).await;
    for _ in 0..5 {
        assert!(!fixture.model.is_open());
        assert_eq!(fixture.complete().await, Err(LlmError::Unauthorized));
    }
    assert!(fixture.model.is_open());
    assert_eq!(fixture.metrics.llm_circuit_open.get(), 1);
    assert_eq!(fixture.complete().await, Err(LlmError::CircuitOpen));
    assert_eq!(fixture.requests(), 5);
}

#[tokio::test]
async fn a_model_that_is_back_is_asked_again() {
    let refused = refusal("401 Unauthorized", json!({}));
    let mut script = vec![refused; 6];
    script.push(answer("a"));
    let pace = Pace { open_for: Duration::ZERO, ..PACE };
    let fixture = Fixture::with(script, LONG, pace).await;
    for _ in 0..6 {
        fixture.complete().await.unwrap_err();
        assert!(!fixture.model.is_open(), "nothing is to be waited for");
    }
    assert_eq!(fixture.metrics.llm_circuit_open.get(), 1);
    assert_eq!(fixture.complete().await.unwrap().text, "a");
    assert_eq!(fixture.metrics.llm_circuit_open.get(), 0);
}

#[tokio::test]
async fn refused_questions_do_not_open_the_circuit() {
    let refused = refusal("400 Bad Request", json!({"error": {"code": "content_filter"}}));
    let fixture = Fixture::new(vec![refused]).await;
    for _ in 0..8 {
        assert_eq!(fixture.complete().await, Err(LlmError::Refused));
    }
    assert!(!fixture.model.is_open());
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_under_way() {
    let fixture = Fixture::new(vec![Reply::Stall(Vec::new())]).await;
    let allowed = crate::config::settings::Llm::default().max_concurrency;
    let question = super::question();
    let waiting = (0..allowed + 3).map(|_| fixture.model.complete(&question));
    let all = futures_util::future::join_all(waiting);
    // Every permit is taken once the endpoint has seen that many requests; the rest wait.
    let seen = async {
        while fixture.requests() < allowed {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = all => panic!("a silent endpoint answered"),
        () = seen => assert_eq!(fixture.requests(), allowed),
    }
}

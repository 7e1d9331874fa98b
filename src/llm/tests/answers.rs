//! Answers in the many shapes providers send them.

use serde_json::json;

use super::endpoint::{Reply, answer, delta, events, finish, refusal, whole};
use super::{Fixture, KEY};
use crate::llm::{Completion, Finish, Usage};

/// The answer made of this event stream.
async fn streamed(text: &str) -> Completion {
    let fixture = Fixture::new(vec![Reply::Bytes(events(text))]).await;
    let completion = fixture.complete().await.unwrap();
    assert_eq!(fixture.requests(), 1);
    completion
}

#[tokio::test]
async fn a_question_goes_out_as_the_wire_wants_it() {
    let fixture = Fixture::new(vec![answer("你好！")]).await;
    assert_eq!(fixture.complete().await.unwrap().text, "你好！");
    let asked = fixture.endpoint.asked().remove(0);
    assert!(asked.head.starts_with("post /v1/chat/completions?api-version=1 http/1.1\r\n"));
    assert!(asked.head.contains(&format!("\r\nauthorization: bearer {KEY}\r\n")));
    assert!(asked.head.contains("\r\ncontent-type: application/json\r\n"));
    assert_eq!(
        asked.body,
        json!({
            "model": "test-model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "你好"},
            ],
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_tokens": 64,
        })
    );
}

#[tokio::test]
async fn a_stream_is_put_together_and_its_tokens_counted() {
    let text = format!(
        ": keepalive\r\n\r\ndata: {{\"choices\":[],\"prompt_filter_results\":[]}}\r\n\r\n{}{}{}{}\
         data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":3}}}}\r\n\r\n\
         data: [DONE]\r\n\r\n",
        "event: message\r\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null,\
         \"reasoning_content\":\"hm\"}}]}\r\n\r\n",
        delta("你"),
        delta("好"),
        finish("stop"),
    );
    let fixture = Fixture::new(vec![Reply::Bytes(events(&text))]).await;
    let completion = fixture.complete().await.unwrap();
    assert_eq!(
        completion,
        Completion {
            text: "你好".into(),
            finish: Finish::Stop,
            usage: Some(Usage { prompt_tokens: 9, completion_tokens: 3 }),
        }
    );
    assert_eq!((fixture.tokens("prompt"), fixture.tokens("completion")), (9, 3));
    assert_eq!(fixture.counted("ok"), 1);
}

#[tokio::test]
async fn an_answer_that_was_not_streamed_is_read_too() {
    let body = json!({
        "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1},
    });
    let fixture = Fixture::new(vec![refusal("200 OK", body)]).await;
    let completion = fixture.complete().await.unwrap();
    assert_eq!((completion.text.as_str(), completion.finish), ("hi", Finish::Length));
    assert_eq!(fixture.tokens("completion"), 1);
}

#[tokio::test]
async fn the_end_is_told_by_a_reason_or_by_done() {
    assert_eq!(streamed(&format!("{}{}", delta("a"), finish("stop"))).await.text, "a");
    assert_eq!(streamed(&format!("{}data: [DONE]\n\n", delta("a"))).await.text, "a");
    // Without the blank line after the last event.
    let last = finish("length");
    let cut = streamed(&format!("{}{}", delta("a"), last.trim_end())).await;
    assert_eq!(cut.finish, Finish::Length);
}

#[tokio::test]
async fn a_finished_answer_does_not_wait_for_a_silent_endpoint() {
    let text = format!("{}{}", delta("a"), finish("stop"));
    let fixture = Fixture::new(vec![Reply::Stall(events(&text))]).await;
    assert_eq!(fixture.complete().await.unwrap().text, "a");
}

#[tokio::test]
async fn thinking_is_left_out_of_the_answer() {
    let parts = ["<thi", "nk>let me see", "</th", "ink>\n\n", "42"].map(delta).concat();
    assert_eq!(streamed(&format!("{parts}{}", finish("stop"))).await.text, "42");
}

#[tokio::test]
async fn an_answer_cut_off_by_the_filter_says_so() {
    let completion = streamed(&format!("{}{}", delta("a"), finish("content_filter"))).await;
    assert_eq!(completion.finish, Finish::ContentFilter);
}

#[tokio::test]
async fn characters_split_between_packets_stay_whole() {
    let stream = events(&format!("{}{}", delta("猫🐈"), finish("stop")));
    // The head is replaced: chunked encoding, one byte of the body a chunk.
    let body = &stream[stream.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4..];
    let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for byte in body {
        bytes.extend([b"1\r\n", &[*byte][..], b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    let fixture = Fixture::new(vec![Reply::Bytes(bytes)]).await;
    assert_eq!(fixture.complete().await.unwrap().text, "猫🐈");
}

#[tokio::test]
async fn a_parameter_that_is_not_known_is_changed_and_remembered() {
    let limit = json!({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported \
        with this model. Use 'max_completion_tokens' instead.", "param": "max_tokens"}});
    let options = json!({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs"}]});
    let script =
        vec![refusal("400 Bad Request", limit), refusal("422 Unprocessable", options), answer("a")];
    let fixture = Fixture::new(script).await;
    fixture.complete().await.unwrap();
    fixture.complete().await.unwrap();
    let asked = fixture.endpoint.asked();
    assert_eq!(asked.len(), 4, "the second question negotiated again");
    for request in &asked[2..] {
        assert_eq!(request.body["max_completion_tokens"], 64);
        assert!(request.body.get("max_tokens").is_none());
        assert!(request.body.get("stream_options").is_none());
    }
    assert_eq!((fixture.counted("renegotiated"), fixture.counted("ok")), (2, 2));
    assert_eq!(fixture.counted("bad_request"), 0);
}

#[tokio::test]
async fn a_limit_that_is_merely_too_large_changes_nothing_for_good() {
    let large = json!({"error": {"message": "max_tokens is too large: 64"}});
    let fixture = Fixture::new(vec![refusal("400 Bad Request", large)]).await;
    let error = fixture.complete().await.unwrap_err();
    assert_eq!(error.outcome(), "bad_request");
    let before = fixture.requests();
    fixture.complete().await.unwrap_err();
    assert_eq!(fixture.endpoint.asked()[before].body["max_tokens"], 64);
}

#[tokio::test]
async fn a_type_that_is_not_told_is_taken_for_a_stream() {
    let body = format!("{}{}", delta("a"), finish("stop"));
    let fixture = Fixture::new(vec![whole("200 OK", "", &body)]).await;
    assert_eq!(fixture.complete().await.unwrap().text, "a");
}

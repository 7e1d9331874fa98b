//! What a person hears when the model fails.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::support::model::Reply;
use crate::support::stage::Stage;

/// A silence of one second is too long for the model here.
async fn stage() -> Stage {
    Stage::with(|settings| settings.text("llm.timeout", "1s")).await
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

#[tokio::test]
async fn when_the_model_is_down_one_short_sentence_in_the_person_s_language() {
    let stage = stage().await;
    stage.model.answer_always(Reply::Status(500));
    let (chinese, english) = tokio::join!(
        stage.daemon.says(stage.dingtalk.callback().from("a").text("你好吗？")),
        stage.daemon.says(stage.dingtalk.callback().from("b").text("How are you?")),
    );
    assert!(is_chinese(&chinese) && chinese.chars().count() < 120, "{chinese}");
    assert!(!is_chinese(&english) && english.chars().count() < 200, "{english}");
    assert!(!english.contains("500"), "no internals: {english}");

    let metrics = stage.daemon.metrics().await;
    let failed = metrics.sum("dingbot_llm_requests_total", &[])
        - metrics.sum("dingbot_llm_requests_total", &[("outcome", "ok")]);
    assert!(failed >= 2.0);
    assert_eq!(stage.daemon.get("/health").await.status, 200, "restarting would not help");
}

#[tokio::test]
async fn a_passing_failure_is_not_noticed() {
    let passing = [
        Reply::Status(503),
        Reply::RateLimited(1),
        Reply::Close,
        Reply::BreakOff("half of an answer that never ends".into()),
    ];
    join_all(passing.map(async |passing| {
        let stage = stage().await;
        stage.model.answer_next([passing.clone()]);
        stage.model.answer_always(Reply::text("the real answer"));
        let answer = stage.daemon.says(stage.dingtalk.callback().text("hello")).await;
        assert_eq!(answer.trim(), "the real answer", "{passing:?}");
    }))
    .await;
}

#[tokio::test]
async fn silence_is_told_after_the_time_allowed_and_not_waited_for_twice() {
    let silent = [Reply::Stall, Reply::StallMidway("half of an answer that never ends".into())];
    join_all(silent.map(async |silence| {
        let stage = stage().await;
        stage.model.answer_always(silence.clone());
        let asked = Instant::now();
        let answer = stage.daemon.says(stage.dingtalk.callback().text("hello")).await;
        let took = asked.elapsed();
        assert!(!answer.trim().is_empty() && !answer.contains("half of"), "{silence:?}: {answer}");
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
        assert_eq!(stage.model.asked().len(), 1, "{silence:?}");
    }))
    .await;
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let stage = stage().await;
    stage.model.answer_next([Reply::RateLimited(1)]);
    stage.daemon.says(stage.dingtalk.callback().text("hello")).await;
    let asked = stage.model.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(990));
}

#[tokio::test]
async fn rubbish_never_reaches_the_chat() {
    for rubbish in [Reply::Html, Reply::BrokenJson, Reply::InvalidUtf8] {
        let stage = stage().await;
        stage.model.answer_always(rubbish.clone());
        let answer = stage.daemon.says(stage.dingtalk.callback().text("hello")).await;
        assert!(!answer.trim().is_empty(), "{rubbish:?}");
        for piece in ["html", "chatcmpl", "{", "\u{fffd}"] {
            assert!(!answer.contains(piece), "{rubbish:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    for lasting in [Reply::Unauthorized, Reply::ContentFilter] {
        let stage = stage().await;
        stage.model.answer_always(lasting.clone());
        let answer = stage.daemon.says(stage.dingtalk.callback().text("hello")).await;
        assert!(!answer.trim().is_empty(), "{lasting:?}");
        assert_eq!(stage.model.asked().len(), 1, "{lasting:?}");
    }
}

#[tokio::test]
async fn endpoints_that_differ_a_little_are_understood() {
    for reply in [
        Reply::Whole("the answer".into()),
        Reply::Azure("the answer".into()),
        Reply::Reasoned("let me think about it".into(), "the answer".into()),
    ] {
        let stage = stage().await;
        stage.model.answer_always(reply.clone());
        let answer = stage.daemon.says(stage.dingtalk.callback().text("hello")).await;
        assert_eq!(answer.trim(), "the answer", "{reply:?}");
    }
}

#[tokio::test]
async fn a_model_that_keeps_failing_is_left_alone_and_the_sentence_comes_at_once() {
    let stage = stage().await;
    stage.model.answer_always(Reply::Status(500));
    let open = async || stage.daemon.metrics().await.sum("dingbot_llm_circuit_open", &[]) == 1.0;
    let new = |person: String| stage.dingtalk.callback().from(&person).text("hello");
    for round in 0..5 {
        let people = (0..8).map(|number| format!("round{round}number{number}"));
        join_all(people.map(|person| stage.daemon.says(new(person)))).await;
        if open().await {
            break;
        }
    }
    assert!(open().await);
    let before = stage.model.asked().len();
    let started = Instant::now();
    assert!(!stage.daemon.says(new("last".into())).await.trim().is_empty());
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(stage.model.asked().len(), before, "the model was not asked");
}

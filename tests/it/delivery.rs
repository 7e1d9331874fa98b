//! How an answer gets to the chat: retries, other ways, splitting, mentions.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::PATIENCE;
use crate::support::dingtalk::{Api, Fault, Message, Via, conversation_id};
use crate::support::exposition::Exposition;
use crate::support::model::Reply;
use crate::support::stage::Stage;

#[tokio::test]
async fn an_expired_session_falls_back_to_the_person() {
    let stage = Stage::new().await;
    let callback = stage.dingtalk.callback().from("ann").dead_session().text("are you there?");
    stage.daemon.accepts(callback).await;
    let message = stage.dingtalk.wait_for_text("are you there?").await;
    assert_eq!(message.via, Via::Persons(vec!["ann".into()]));
}

#[tokio::test]
async fn an_expired_session_falls_back_to_the_group() {
    let stage = Stage::new().await;
    let callback = stage.dingtalk.callback().group("team").dead_session().text("are you there?");
    stage.daemon.accepts(callback).await;
    let message = stage.dingtalk.wait_for_text("are you there?").await;
    assert_eq!(message.via, Via::Group(conversation_id("team")));
}

#[tokio::test]
async fn an_access_token_refused_is_fetched_anew() {
    let stage = Stage::new().await;
    let ask = |text: &str| stage.dingtalk.callback().dead_session().text(text);
    stage.daemon.accepts(ask("first")).await;
    stage.dingtalk.wait_for_text("first").await;
    stage.dingtalk.revoke_tokens();
    stage.daemon.accepts(ask("second")).await;
    stage.dingtalk.wait_for_text("second").await;
    assert_eq!(stage.dingtalk.messages().len(), 2);
}

#[tokio::test]
async fn what_fails_for_now_is_tried_again_until_it_is_delivered() {
    let faults = [Fault::Errcode(-1), Fault::ServerError, Fault::Close];
    join_all(faults.map(async |fault| {
        let stage = Stage::new().await;
        stage.dingtalk.fail_next(Api::Session, 2, fault);
        stage.daemon.accepts(stage.dingtalk.callback().text("once please")).await;
        stage.dingtalk.wait_for_text("once please").await;
        // A conversation is answered in order: a second copy would come before this one.
        stage.daemon.accepts(stage.dingtalk.callback().text("and another")).await;
        stage.dingtalk.wait_for_text("and another").await;
        assert_eq!(stage.dingtalk.messages().len(), 2, "{fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_delivery_that_failed_survives_a_kill() {
    let mut stage = Stage::new().await;
    stage.dingtalk.fail_next(Api::Session, 1, Fault::Stall);
    stage.daemon.accepts(stage.dingtalk.callback().text("keep me")).await;
    let answered = |metrics: &Exposition| metrics.sum("dingbot_outbox_messages", &[]) >= 1.0;
    stage.daemon.wait_for_metrics("the answer is in the outbox", answered).await;
    stage.daemon.kill9().await;
    stage.daemon.restart().await;
    stage.dingtalk.wait_for_text("keep me").await;
    assert_eq!(stage.model.asked().len(), 1, "the model is not asked again");
}

#[tokio::test]
async fn an_answer_in_a_group_mentions_the_asker() {
    let stage = Stage::new().await;
    let callback = stage.dingtalk.callback().from("ann").group("team").text(" what is it?");
    stage.daemon.accepts(callback).await;
    let message = stage.dingtalk.wait_for_text("what is it?").await;
    assert_eq!(message.at.user_ids, ["ann"]);
    // DingTalk highlights a mention only where the text holds it.
    assert!(message.text.contains("@ann"), "{}", message.text);

    stage.daemon.accepts(stage.dingtalk.callback().from("ann").text("and alone?")).await;
    let message = stage.dingtalk.wait_for_text("and alone?").await;
    assert!(message.at.user_ids.is_empty());
}

#[tokio::test]
async fn a_long_answer_comes_in_parts_in_order_and_complete() {
    let stage = Stage::new().await;
    let lines: Vec<String> =
        (0..1_500).map(|n| format!("line {n:04} 长长的一行，说些什么好呢")).collect();
    let long = lines.join("\n\n");
    assert!(long.len() > 60_000);
    stage.model.answer_always(Reply::text(long));
    stage.daemon.accepts(stage.dingtalk.callback().text("tell me everything")).await;
    let last = lines.last().unwrap().clone();
    let complete = move |messages: &[Message]| {
        messages.last().is_some_and(|message| message.text.contains(&last))
    };
    let messages = stage.dingtalk.wait_for(complete, PATIENCE).await;
    assert!(messages.len() >= 4 && messages.len() <= 10, "{} parts", messages.len());
    let got: Vec<&str> = messages
        .iter()
        .flat_map(|message| message.text.lines())
        .map(str::trim)
        .filter(|line| line.starts_with("line "))
        .collect();
    assert_eq!(got, lines);
    assert!(stage.dingtalk.refusals().is_empty(), "no part was too long");
}

#[tokio::test]
async fn an_answer_that_cannot_be_delivered_is_kept_as_dead_and_counted() {
    // No OpenAPI to fall back to.
    let stage = Stage::with(|settings| settings.unset("dingtalk.client_id")).await;
    stage.daemon.accepts(stage.dingtalk.callback().dead_session().text("into the void")).await;
    let dead =
        |metrics: &Exposition| metrics.sum("dingbot_outbox_messages", &[("state", "dead")]) == 1.0;
    stage.daemon.wait_for_metrics("a dead message", dead).await;
    assert!(stage.dingtalk.messages().is_empty());
    assert_eq!(stage.daemon.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_slow_dingtalk_does_not_hold_up_the_callback() {
    let stage = Stage::new().await;
    stage.dingtalk.set_latency(Duration::from_millis(500));
    let started = std::time::Instant::now();
    stage.daemon.accepts(stage.dingtalk.callback().text("quick")).await;
    // DingTalk waits 2.5 seconds for an answer to what it pushes.
    assert!(started.elapsed() < Duration::from_millis(2_500));
    stage.dingtalk.wait_for_text("quick").await;
}

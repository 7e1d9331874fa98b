//! From a signed callback to the delivered answer, and what is remembered on the way.

use crate::support::PATIENCE;
use crate::support::dingtalk::{Message, Via, conversation_id};
use crate::support::exposition::Exposition;
use crate::support::model::Reply;
use crate::support::stage::Stage;

/// The texts that came into the conversation called `name`, in order.
fn texts_in(messages: &[Message], name: &str) -> Vec<String> {
    let conversation = conversation_id(name);
    let inside = messages.iter().filter(|message| message.conversation() == conversation);
    inside.map(|message| message.text.clone()).collect()
}

#[tokio::test]
async fn a_signed_callback_is_answered_in_its_session() {
    let stage = Stage::new().await;
    stage.model.answer_always(Reply::text("上海在东边。"));
    let callback = stage.daemon.accepts(stage.dingtalk.callback().text("上海在哪里？")).await;
    let message = stage.dingtalk.wait_for_text("上海在东边。").await;
    assert_eq!(message.conversation(), callback.conversation);
    assert!(matches!(message.via, Via::Session { .. }));
    assert!(stage.model.asked()[0].question().contains("上海在哪里？"));

    let handled = |metrics: &Exposition| {
        metrics.sum("dingbot_messages_received_total", &[]) == 1.0
            && metrics.sum("dingbot_messages_handled_total", &[]) == 1.0
            && metrics.sum("dingbot_reply_duration_seconds_count", &[]) == 1.0
    };
    stage.daemon.wait_for_metrics("the message is counted", handled).await;
    assert!(stage.dingtalk.refusals().is_empty());
}

#[tokio::test]
async fn without_a_session_webhook_the_response_is_the_answer() {
    let stage = Stage::new().await;
    stage.model.answer_always(Reply::text("It is in the east."));
    let callback = stage.dingtalk.callback().text("Where is Shanghai?");
    assert_eq!(stage.daemon.says(callback).await.trim(), "It is in the east.");
    assert!(stage.dingtalk.messages().is_empty());
}

#[tokio::test]
async fn a_body_as_scripts_send_it_is_answered() {
    // Few fields, and no client_secret: curl from the same machine.
    let stage = Stage::with(|settings| {
        settings.unset("dingtalk.client_id").unset("dingtalk.client_secret")
    })
    .await;
    let body = r#"{"msgtype":"text","text":{"content":"hello"},"senderNick":"me","senderId":"u1"}"#;
    let request = stage.daemon.client().post(stage.daemon.url("/webhook"));
    let request = request.header("content-type", "application/json").body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(response.text().await.unwrap().contains("hello"));
}

#[tokio::test]
async fn a_fact_is_known_in_the_next_conversation_of_the_same_person_alone() {
    let stage = Stage::new().await;
    let tell = stage.dingtalk.callback().from("ann").text("My cat is called Mimi.");
    stage.daemon.accepts(tell).await;
    stage.dingtalk.wait_for_text("Mimi").await;
    let tell = stage.dingtalk.callback().from("bob").text("我的猫叫旺财。");
    stage.daemon.accepts(tell).await;
    stage.dingtalk.wait_for_text("旺财").await;
    let kept = |metrics: &Exposition| metrics.sum("dingbot_memories", &[]) >= 2.0;
    stage.daemon.wait_for_metrics("two memories", kept).await;

    let ask = stage.dingtalk.callback().from("ann").group("team").text(" What is my cat called? 1");
    stage.daemon.accepts(ask).await;
    let prompt = stage.model.wait_for_question("called? 1").await.prompt();
    assert!(prompt.contains("Mimi") && !prompt.contains("旺财"), "{prompt}");

    let ask = stage.dingtalk.callback().from("bob").group("club").text(" 我的猫叫什么？2");
    stage.daemon.accepts(ask).await;
    let prompt = stage.model.wait_for_question("叫什么？2").await.prompt();
    assert!(prompt.contains("旺财") && !prompt.contains("Mimi"), "{prompt}");

    let ask = stage.dingtalk.callback().from("eve").text("What is my cat called? 我的猫叫什么？3");
    stage.daemon.accepts(ask).await;
    let prompt = stage.model.wait_for_question("叫什么？3").await.prompt();
    assert!(!prompt.contains("Mimi") && !prompt.contains("旺财"), "{prompt}");
}

#[tokio::test]
async fn earlier_turns_of_the_conversation_are_in_the_prompt() {
    let stage = Stage::new().await;
    stage.model.answer_next([Reply::text("Paris, of course.")]);
    stage.daemon.says(stage.dingtalk.callback().text("What is the capital of France?")).await;
    stage.daemon.says(stage.dingtalk.callback().text("And how big is it?")).await;
    let prompt = stage.model.wait_for_question("how big").await.prompt();
    assert!(prompt.contains("capital of France"), "{prompt}");
    assert!(prompt.contains("Paris, of course."), "{prompt}");
}

#[tokio::test]
async fn the_same_message_is_answered_once_also_after_a_restart() {
    let mut stage = Stage::new().await;
    let callback = stage.daemon.accepts(stage.dingtalk.callback().text("number one")).await;
    assert_eq!(stage.daemon.post_callback(&callback).await.status, 200);
    stage.dingtalk.wait_for_text("number one").await;
    assert_eq!(stage.daemon.post_callback(&callback).await.status, 200);
    stage.daemon.restart().await;
    assert_eq!(stage.daemon.post_callback(&callback).await.status, 200);
    // A conversation is answered in order: a second answer would come before this one.
    stage.daemon.accepts(stage.dingtalk.callback().text("number two")).await;
    stage.dingtalk.wait_for_text("number two").await;
    assert_eq!(stage.dingtalk.messages().len(), 2);
}

#[tokio::test]
async fn a_message_accepted_before_a_kill_is_answered_after_it() {
    let mut stage = Stage::new().await;
    stage.model.hold();
    stage.daemon.accepts(stage.dingtalk.callback().text("do not forget me")).await;
    stage.model.wait_for_question("do not forget me").await;
    stage.daemon.kill9().await;
    stage.model.release();
    stage.daemon.restart().await;
    stage.dingtalk.wait_for_text("do not forget me").await;
    assert_eq!(stage.dingtalk.messages().len(), 1);
}

#[tokio::test]
async fn a_conversation_is_answered_in_order() {
    let stage = Stage::new().await;
    // The first answer is the slowest: order must not come from speed.
    stage.model.hold();
    for number in 0..20 {
        let callback = stage.dingtalk.callback().text(&format!("message {number:02}."));
        stage.daemon.accepts(callback).await;
    }
    stage.model.release();
    let all_answered = |messages: &[Message]| messages.len() == 20;
    let messages = stage.dingtalk.wait_for(all_answered, PATIENCE).await;
    for (number, text) in texts_in(&messages, "staff1").iter().enumerate() {
        assert!(text.contains(&format!("message {number:02}.")), "{number}: {text}");
    }
    assert_eq!(stage.model.most_at_once(), 1, "one message of a conversation at a time");
}

#[tokio::test]
async fn conversations_are_answered_in_parallel_up_to_the_limit() {
    let stage = Stage::with(|settings| settings.set("llm.max_concurrency", "4")).await;
    stage.model.hold();
    for number in 0..12 {
        let callback = stage.dingtalk.callback().from(&format!("staff{number}"));
        stage.daemon.accepts(callback).await;
    }
    stage.model.wait_for(|asked| asked.len() == 4, PATIENCE).await;
    stage.model.release();
    stage.dingtalk.wait_for(|messages| messages.len() == 12, PATIENCE).await;
    assert_eq!(stage.model.most_at_once(), 4);
}

#[tokio::test]
async fn a_slow_conversation_does_not_hold_up_another() {
    let stage = Stage::new().await;
    stage.model.answer_by(|asked| match asked.question().contains("slow") {
        true => Reply::Stall,
        false => Reply::text("quick answer"),
    });
    stage.daemon.accepts(stage.dingtalk.callback().from("a").text("slow")).await;
    stage.model.wait_for_question("slow").await;
    stage.daemon.accepts(stage.dingtalk.callback().from("b").text("quick")).await;
    stage.dingtalk.wait_for_text("quick answer").await;
}

#[tokio::test]
async fn every_type_of_message_gets_an_answer() {
    let stage = Stage::new().await;
    let new = || stage.dingtalk.callback();
    let callbacks = [
        ("text", new().text("一段文字")),
        ("rich", new().rich_text(&["富文本一", "\n", "富文本二"])),
        ("picture", new().picture()),
        ("audio", new().audio("钉钉，让进步发生")),
        ("video", new().video()),
        ("file", new().file("report.pdf")),
        ("unknown", new().unknown_type()),
    ];
    let count = callbacks.len();
    for (staff, callback) in callbacks {
        stage.daemon.accepts(callback.from(staff)).await;
    }
    let messages = stage.dingtalk.wait_for(|messages| messages.len() == count, PATIENCE).await;
    let answer = |staff: &str| texts_in(&messages, staff).join("");
    assert!(answer("text").contains("一段文字"));
    assert!(answer("rich").contains("富文本一") && answer("rich").contains("富文本二"));
    assert!(answer("audio").contains("钉钉，让进步发生"));
    for staff in ["picture", "video", "file", "unknown"] {
        assert!(!answer(staff).trim().is_empty(), "{staff}");
    }
}

#[tokio::test]
async fn missing_optional_fields_are_no_obstacle() {
    let stage = Stage::new().await;
    let fields = [
        "senderStaffId",
        "senderNick",
        "senderCorpId",
        "isAdmin",
        "chatbotUserId",
        "chatbotCorpId",
        "robotCode",
        "isInAtList",
        "atUsers",
        "senderPlatform",
        "openThreadId",
        "createAt",
        "conversationTitle",
        "sessionWebhookExpiredTime",
    ];
    for (number, field) in fields.into_iter().enumerate() {
        let callback = stage.dingtalk.callback().group(&format!("group{number}")).without(field);
        stage.daemon.accepts(callback.text(&format!("without {field}"))).await;
    }
    stage.dingtalk.wait_for(|messages| messages.len() == fields.len(), PATIENCE).await;
}

//! Callbacks, the session webhook and the group robot of the DingTalk simulator.

use std::time::Duration;

use serde_json::{Value, json};

use super::{markdown, post};
use crate::support::dingtalk::{
    Api, DingTalk, Fault, GROUP_SECRET, GROUP_TOKEN, Refusal, SignedCallback, Via, conversation_id,
    sign,
};
use crate::support::{PATIENCE, http};

fn body(callback: &SignedCallback) -> Value {
    serde_json::from_slice(&callback.body).unwrap()
}

fn webhook(callback: &SignedCallback) -> String {
    body(callback)["sessionWebhook"].as_str().unwrap().to_owned()
}

/// The address of a group robot, signed with a timestamp off by `shift` milliseconds.
fn robot(dingtalk: &DingTalk, token: &str, secret: &str, shift: i64) -> String {
    let now = jiff::Timestamp::now().as_millisecond() + shift;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("access_token", token)
        .append_pair("timestamp", &now.to_string())
        .append_pair("sign", &sign(&now.to_string(), secret))
        .finish();
    format!("{}/robot/send?{query}", dingtalk.base())
}

fn default_robot(dingtalk: &DingTalk) -> String {
    robot(dingtalk, GROUP_TOKEN, GROUP_SECRET, 0)
}

#[test]
fn signatures_are_those_of_the_document() {
    // The first input is the Java sample of the page "receive-message".
    assert_eq!(
        sign("1577262236757", "this is a secret"),
        "DJrE6qdyVGCQz9z5r2MDuNcNAhwYnuAkyj13cx169CA="
    );
    assert_eq!(sign("1700000000000", "SECabc123"), "N5P09a4+p1AMJIJWnIvQd2Yxw9+fu/oEBnPrjCcsLXk=");
}

#[tokio::test]
async fn callbacks_look_like_the_real_ones() {
    let dingtalk = DingTalk::start().await;
    let first = dingtalk.callback().from("s7").nick("小红").group("研发").text(" 你好").build();
    let sent = body(&first);
    assert_eq!(sent["msgtype"], "text");
    assert_eq!(sent["text"]["content"], " 你好");
    assert_eq!(sent["senderStaffId"], "s7");
    assert_eq!(sent["conversationType"], "2");
    assert_eq!(sent["conversationId"], conversation_id("研发"));
    assert_eq!(sent["msgId"], first.msg_id);
    assert_eq!(first.headers.len(), 3);

    let second = dingtalk.callback().audio("提醒我开会").without("senderStaffId").build();
    let sent = body(&second);
    assert_eq!(sent["msgtype"], "audio");
    assert_eq!(sent["conversationType"], "1");
    assert!(sent["text"].is_null() && sent["senderStaffId"].is_null());
    assert_ne!(first.msg_id, second.msg_id);

    let quota = dingtalk.callback().over_quota().build();
    assert_eq!(body(&quota)["errorCode"], "20001");
    assert!(body(&quota)["text"].is_null());
    assert!(dingtalk.callback().probe().build().body.is_empty());
}

#[tokio::test]
async fn a_session_takes_messages_until_it_expires() {
    let dingtalk = DingTalk::start().await;
    let callback = dingtalk.callback().session_lasts(Duration::from_secs(60)).build();
    let message = json!({
        "msgtype": "markdown", "markdown": { "title": "t", "text": "**2**" },
        "at": { "atUserIds": ["s1"], "atDingtalkIds": ["$:x"] },
    });
    assert_eq!(
        post(&webhook(&callback), &message).await,
        (200, json!({ "errcode": 0, "errmsg": "ok" }))
    );
    let got = dingtalk.wait_for_text("**2**").await;
    assert_eq!(got.title.as_deref(), Some("t"));
    assert_eq!(got.at.user_ids, ["s1"]);
    assert_eq!(got.conversation(), callback.conversation);

    dingtalk.advance(Duration::from_secs(60));
    assert_eq!(post(&webhook(&callback), &message).await.1["errcode"], 300001);
    let dead = dingtalk.callback().dead_session().build();
    assert_eq!(post(&webhook(&dead), &message).await.1["errcode"], 300001);
    assert_eq!(dingtalk.messages().len(), 1);
    assert_eq!(dingtalk.refusals()[0], Refusal { api: Api::Session, code: "300001".into() });
}

#[tokio::test]
async fn a_session_checks_what_it_gets() {
    let dingtalk = DingTalk::start().await;
    let url = webhook(&dingtalk.callback().build());
    let client = http::client();
    let code = async |request: reqwest::RequestBuilder| {
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["errcode"].as_i64().unwrap()
    };
    let json = "application/json;charset=utf-8";
    let cases = [
        (json, markdown(&"长".repeat(7_000)).to_string(), 460101),
        (json, json!({ "msgtype": "card", "card": {} }).to_string(), 400105),
        (json, json!({ "msgtype": "text", "text": {} }).to_string(), 40035),
        (json, "{".to_owned(), 40035),
        ("text/plain", markdown("x").to_string(), 43004),
        (json, json!({ "msgtype": "empty" }).to_string(), 0),
    ];
    for (content_type, body, expected) in cases {
        let request = client.post(&url).header("content-type", content_type).body(body.clone());
        assert_eq!(code(request).await, expected, "{content_type} {body:.60}");
    }
    // The limit itself is allowed.
    let frame = markdown("").to_string().len();
    let full = markdown(&"x".repeat(20_000 - frame)).to_string();
    assert_eq!(full.len(), 20_000);
    let request = client.post(&url).header("content-type", json).body(full);
    assert_eq!(code(request).await, 0);
}

#[tokio::test]
async fn planned_faults_happen_in_order_and_then_no_more() {
    let dingtalk = DingTalk::start().await;
    let url = webhook(&dingtalk.callback().build());
    let client = http::client();
    let send = |text: &str| client.post(&url).json(&markdown(text)).send();
    dingtalk.fail_next(Api::Session, 1, Fault::ServerError);
    dingtalk.fail_next(Api::Session, 1, Fault::Errcode(-1));
    dingtalk.fail_next(Api::Session, 1, Fault::Close);
    dingtalk.fail_next(Api::Session, 1, Fault::CloseAfterRecording);
    dingtalk.fail_next(Api::Session, 1, Fault::StallAfterRecording);
    assert_eq!(send("one").await.unwrap().status(), 500);
    let answer: Value = send("two").await.unwrap().json().await.unwrap();
    assert_eq!(answer["errcode"], -1);
    assert!(send("three").await.is_err());
    assert!(send("four").await.is_err());
    let stalled = tokio::select! {
        _ = send("five") => false,
        _ = dingtalk.wait_for_text("five") => true,
    };
    assert!(stalled);
    assert!(send("six").await.unwrap().status().is_success());
    let texts: Vec<String> = dingtalk.messages().into_iter().map(|m| m.text).collect();
    assert_eq!(texts, ["four", "five", "six"]);
    assert!(dingtalk.refusals().is_empty());
}

#[tokio::test]
async fn a_group_robot_checks_token_time_and_signature() {
    let dingtalk = DingTalk::start().await;
    dingtalk.add_group_robot("open", None);
    let hour = 3_600_000;
    let base = dingtalk.base();
    let cases = [
        (robot(&dingtalk, "stranger", GROUP_SECRET, 0), 300005),
        (format!("{base}/robot/send"), 40035),
        (robot(&dingtalk, GROUP_TOKEN, "SECwrong", 0), 310000),
        (robot(&dingtalk, GROUP_TOKEN, GROUP_SECRET, hour + 5_000), 310000),
        (robot(&dingtalk, GROUP_TOKEN, GROUP_SECRET, -hour - 5_000), 310000),
        (format!("{base}/robot/send?access_token={GROUP_TOKEN}"), 310000),
        (robot(&dingtalk, GROUP_TOKEN, GROUP_SECRET, -hour + 60_000), 0),
        (default_robot(&dingtalk), 0),
        (format!("{base}/robot/send?access_token=open"), 0),
    ];
    for (url, expected) in cases {
        let (status, answer) = post(&url, &markdown("x")).await;
        assert_eq!((status, answer["errcode"].as_i64()), (200, Some(expected)), "{url}");
    }
    assert_eq!(dingtalk.messages()[2].via, Via::GroupRobot("open".into()));
}

#[tokio::test]
async fn a_group_robot_is_blocked_for_ten_minutes_after_twenty_in_one() {
    let dingtalk = DingTalk::start().await;
    let url = default_robot(&dingtalk);
    let code = async || post(&url, &markdown("x")).await.1["errcode"].as_i64().unwrap();
    for _ in 0..20 {
        assert_eq!(code().await, 0);
    }
    dingtalk.advance(Duration::from_secs(59));
    assert_eq!(code().await, 410100);
    dingtalk.advance(Duration::from_secs(590));
    assert_eq!(code().await, 410100, "still blocked");
    dingtalk.advance(Duration::from_secs(11));
    assert_eq!(code().await, 0);
    assert_eq!(dingtalk.messages().len(), 21);
}

#[tokio::test]
async fn a_minute_after_the_first_there_is_room_again() {
    let dingtalk = DingTalk::start().await;
    let url = default_robot(&dingtalk);
    for _ in 0..3 {
        for _ in 0..10 {
            assert_eq!(post(&url, &markdown("x")).await.1["errcode"], 0);
        }
        dingtalk.advance(Duration::from_secs(31));
    }
    assert_eq!(dingtalk.messages().len(), 30);
}

#[tokio::test]
async fn a_repeated_uuid_is_one_message() {
    let dingtalk = DingTalk::start().await;
    let url = default_robot(&dingtalk);
    let mut message = markdown("once");
    message["msgUuid"] = "u-1".into();
    for _ in 0..3 {
        assert_eq!(post(&url, &message).await.1["errcode"], 0);
    }
    assert_eq!(dingtalk.messages().len(), 1);
    assert_eq!(dingtalk.messages()[0].uuid.as_deref(), Some("u-1"));
    assert_eq!(dingtalk.duplicates(), 2);
}

#[tokio::test]
async fn waiting_ends_with_the_message_that_was_waited_for() {
    let dingtalk = DingTalk::start().await;
    let url = default_robot(&dingtalk);
    let (messages, _) =
        tokio::join!(dingtalk.wait_for(|messages| messages.len() == 2, PATIENCE), async {
            post(&url, &markdown("1")).await;
            post(&url, &markdown("2")).await;
        });
    assert_eq!(messages[1].text, "2");
}

#[tokio::test]
#[should_panic(expected = "in vain")]
async fn waiting_in_vain_panics() {
    let dingtalk = DingTalk::start().await;
    dingtalk.wait_for(|messages| !messages.is_empty(), Duration::from_millis(1)).await;
}

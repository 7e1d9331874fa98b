//! The robot OpenAPI of the DingTalk simulator.

use serde_json::{Value, json};

use super::post;
use crate::support::dingtalk::{CLIENT_ID, CLIENT_SECRET, DingTalk, Via, conversation_id};
use crate::support::http;

async fn token(dingtalk: &DingTalk) -> String {
    let credentials = json!({ "appKey": CLIENT_ID, "appSecret": CLIENT_SECRET });
    let url = format!("{}/v1.0/oauth2/accessToken", dingtalk.base());
    let (status, answer) = post(&url, &credentials).await;
    assert_eq!((status, answer["expireIn"].as_i64()), (200, Some(7200)));
    answer["accessToken"].as_str().unwrap().to_owned()
}

/// Calls `path` of the robot API with this token.
async fn call(dingtalk: &DingTalk, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let mut request = http::client().post(format!("{}/v1.0/robot/{path}", dingtalk.base()));
    if !token.is_empty() {
        request = request.header("x-acs-dingtalk-access-token", token);
    }
    let response = request.json(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn to_persons(users: &[&str], text: &str) -> Value {
    json!({
        "robotCode": CLIENT_ID, "userIds": users, "msgKey": "sampleMarkdown",
        "msgParam": json!({ "title": "标题", "text": text }).to_string(),
    })
}

#[tokio::test]
async fn a_token_is_the_same_until_it_is_revoked() {
    let dingtalk = DingTalk::start().await;
    let first = token(&dingtalk).await;
    assert_eq!(token(&dingtalk).await, first);
    dingtalk.revoke_tokens();
    let path = "oToMessages/batchSend";
    let (status, answer) = call(&dingtalk, path, &first, &to_persons(&["s1"], "x")).await;
    assert_eq!((status, &answer["code"]), (401, &json!("InvalidAuthentication")));
    let (status, answer) = call(&dingtalk, path, "", &to_persons(&["s1"], "x")).await;
    assert_eq!((status, &answer["code"]), (400, &json!("InvalidAuthentication")));
    assert_ne!(token(&dingtalk).await, first);

    let wrong = json!({ "appKey": CLIENT_ID, "appSecret": "wrong" });
    let url = format!("{}/v1.0/oauth2/accessToken", dingtalk.base());
    let (status, answer) = post(&url, &wrong).await;
    assert_eq!((status, &answer["code"]), (400, &json!("invalidClientIdOrSecret")));
}

#[tokio::test]
async fn messages_to_persons() {
    let dingtalk = DingTalk::start().await;
    let token = token(&dingtalk).await;
    dingtalk.forget_staff("gone");
    let path = "oToMessages/batchSend";
    let (status, answer) = call(&dingtalk, path, &token, &to_persons(&["s1", "gone"], "hi")).await;
    assert_eq!((status, &answer["invalidStaffIdList"]), (200, &json!(["gone"])));
    let message = dingtalk.wait_for_text("hi").await;
    assert_eq!(message.via, Via::Persons(vec!["s1".into()]));
    assert_eq!(message.msgtype, "sampleMarkdown");

    let many: Vec<String> = (0..21).map(|n| format!("s{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut wrong_key = to_persons(&["s1"], "x");
    wrong_key["msgKey"] = "sampleNothing".into();
    let mut wrong_robot = to_persons(&["s1"], "x");
    wrong_robot["robotCode"] = "another".into();
    for (body, code) in [
        (to_persons(&many, "x"), "invalidParameter.userIds.invalid"),
        (to_persons(&[], "x"), "invalidParameter.userIds.invalid"),
        (to_persons(&["s1"], ""), "invalidParameter.msgParam.invalid"),
        (to_persons(&["s1"], &"长".repeat(5_000)), "invalidParameter.msgParam.tooLong"),
        (wrong_key, "invalidParameter.msgKey.invalid"),
        (wrong_robot, "robot.oto.notExist"),
    ] {
        let (status, answer) = call(&dingtalk, path, &token, &body).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)));
        assert!(answer["requestid"].is_string());
    }
    assert_eq!(dingtalk.messages().len(), 1);
}

#[tokio::test]
async fn messages_to_a_group() {
    let dingtalk = DingTalk::start().await;
    let token = token(&dingtalk).await;
    let path = "groupMessages/send";
    let mut body = json!({
        "robotCode": CLIENT_ID, "openConversationId": conversation_id("team"),
        "msgKey": "sampleText", "msgParam": json!({ "content": "hello" }).to_string(),
    });
    let (status, answer) = call(&dingtalk, path, &token, &body).await;
    assert_eq!(status, 200);
    assert!(answer["processQueryKey"].is_string());
    let message = dingtalk.wait_for_text("hello").await;
    assert_eq!(message.via, Via::Group(conversation_id("team")));
    body["openConversationId"] = "team".into();
    assert_eq!(call(&dingtalk, path, &token, &body).await.0, 400);
}

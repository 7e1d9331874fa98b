use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parsed(body: serde_json::Value) -> Callback {
    parse(body.to_string().as_bytes()).unwrap()
}

fn message_of(body: &[u8]) -> String {
    parse(body).unwrap_err().to_string()
}

fn content_of(msgtype: &str, content: serde_json::Value) -> Content {
    parsed(json!({"msgtype": msgtype, "content": content})).content
}

#[test]
fn a_single_chat_as_captured() {
    let callback = parsed(json!({
        "chatbotCorpId": "dinge19e", "chatbotUserId": "$:LWCP_v1:$01B/", "conversationId": "cidh6=",
        "conversationType": "1", "createAt": 1774080994334_i64, "isAdmin": false,
        "msgId": "msgBjX==", "msgtype": "text", "openThreadId": "cidh6=",
        "robotCode": "dingf0apw4ibx5u5ktba", "senderCorpId": "dinge19e",
        "senderId": "$:LWCP_v1:$gzXD==", "senderNick": "小明", "senderPlatform": "Mac",
        "senderStaffId": "0326", "senderUnionId": "",
        "sessionWebhook": "https://oapi.dingtalk.com/robot/sendBySession?session=3dc9",
        "sessionWebhookExpiredTime": 1774086394522_i64, "text": {"content": "hello"}
    }));
    assert_eq!(
        callback,
        Callback {
            message_id: Some("msgBjX==".into()),
            robot_code: Some("dingf0apw4ibx5u5ktba".into()),
            corp_id: Some("dinge19e".into()),
            conversation: Conversation {
                id: Some("cidh6=".into()),
                kind: ConversationKind::Single,
                title: None
            },
            sender: Sender {
                staff_id: Some("0326".into()),
                sender_id: Some("$:LWCP_v1:$gzXD==".into()),
                union_id: None,
                nick: Some("小明".into())
            },
            session_webhook: Some(SessionWebhook {
                url: "https://oapi.dingtalk.com/robot/sendBySession?session=3dc9".into(),
                expires_at_millis: Some(1_774_086_394_522)
            }),
            created_at_millis: Some(1_774_080_994_334),
            content: Content::Text("hello".into()),
        }
    );
    let stored = serde_json::to_string(&callback).unwrap();
    assert_eq!(serde_json::from_str::<Callback>(&stored).unwrap(), callback);
}

#[test]
fn a_group_as_documented() {
    let callback = parsed(json!({
        "msgtype": "text", "text": {"content": " 你好 "}, "conversationType": "2",
        "conversationTitle": "研发\n群", "createAt": "1774080994334", "isInAtList": true,
        "atUsers": [{"dingtalkId": "$:LWCP_v1:$v", "staffId": "4525"}]
    }));
    assert_eq!(callback.conversation.kind, ConversationKind::Group);
    assert_eq!(callback.conversation.title.as_deref(), Some("研发 群"));
    assert_eq!(callback.created_at_millis, Some(1_774_080_994_334));
    assert_eq!(callback.content, Content::Text("你好".into()));
}

#[test]
fn the_short_body_of_a_script() {
    let callback = parsed(json!({
        "msgtype": "text", "text": {"content": "/ping"}, "userid": "u1", "senderNick": "A"
    }));
    assert_eq!(callback.sender.staff_id.as_deref(), Some("u1"));
    assert_eq!(callback.conversation.kind, ConversationKind::Single);
    assert_eq!((callback.message_id, callback.session_webhook), (None, None));
}

#[test]
fn every_kind_of_content() {
    let rich = json!({"richText": [
        {"text": " 你"}, {"type": "picture", "downloadCode": "m", "pictureDownloadCode": "9"},
        {"text": "\n"}, {"text": "好"}
    ]});
    let expected = Content::RichText { text: "你\n好".into(), pictures: 1 };
    assert_eq!(content_of("richText", rich.clone()), expected);
    assert_eq!(content_of("richText", rich.to_string().into()), expected, "as a string");
    assert_eq!(content_of("picture", json!({"downloadCode": "m"})), Content::Picture);
    assert_eq!(
        content_of("audio", json!({"duration": 4000, "recognition": "钉钉，让进步发生"})),
        Content::Audio { recognition: Some("钉钉，让进步发生".into()) }
    );
    assert_eq!(content_of("audio", json!(null)), Content::Audio { recognition: None });
    assert_eq!(content_of("video", json!({"videoType": "mp4"})), Content::Video);
    assert_eq!(
        content_of("file", json!({"fileName": "x.pdf"})),
        Content::File { name: Some("x.pdf".into()) }
    );
    assert_eq!(
        content_of("interactiveCard", json!(7)),
        Content::Other { kind: "interactiveCard".into() }
    );
}

#[test]
fn the_over_quota_push_is_told_from_a_message() {
    let push =
        json!({"conversationType": "1", "errorCode": "20001", "errorMessage": "受调用量超量影响"});
    assert_eq!(
        parsed(push).content,
        Content::OverQuota { code: 20_001, message: "受调用量超量影响".into() }
    );
    let message = json!({"msgtype": "text", "text": {"content": "hi"}, "errorCode": 0});
    assert_eq!(parsed(message).content, Content::Text("hi".into()));
}

#[test]
fn an_error_names_the_field() {
    for (body, field) in [
        (json!({}), "msgtype"),
        (json!({"msgtype": 1}), "msgtype"),
        (json!({"msgtype": "text"}), "text"),
        (json!({"msgtype": "text", "text": "hi"}), "text"),
        (json!({"msgtype": "text", "text": {}}), "text.content"),
        (json!({"msgtype": "text", "text": {"content": ["hi"]}}), "text.content"),
        (json!({"msgtype": "richText", "content": {}}), "content.richText"),
        (json!({"msgtype": "audio", "content": "[1]"}), "content"),
        (json!({"msgtype": "video", "createAt": "soon"}), "createAt"),
        (json!({"msgtype": "video", "createAt": 1.5}), "createAt"),
        (json!({"msgtype": "video", "conversationType": "3"}), "conversationType"),
        (json!({"msgtype": "video", "msgId": {}}), "msgId"),
        (json!({"msgtype": "video", "msgId": "x".repeat(513)}), "msgId"),
        (json!({"msgtype": "video", "senderStaffId": "a\nb"}), "senderStaffId"),
        (json!({"msgtype": "video", "sessionWebhook": true}), "sessionWebhook"),
    ] {
        let message = message_of(body.to_string().as_bytes());
        assert!(message.starts_with(&format!("the field `{field}` ")), "{body}: {message}");
    }
}

#[test]
fn rubbish_is_an_error() {
    let deep = format!("{{\"content\":{}", "[".repeat(100_000));
    let deep_unknown = format!("{{\"x\":{}", "{\"x\":".repeat(100_000));
    for body in [
        "",
        "null",
        "[\"text\"]",
        "{",
        "{\"msgtype\":\"a\",\"msgtype\":\"b\"}",
        &deep,
        &deep_unknown,
    ] {
        assert!(matches!(parse(body.as_bytes()), Err(CallbackError::Json(_))));
    }
    assert_eq!(parse(b"{\"msgtype\":\"\xff\"}"), Err(CallbackError::Utf8));
    let nested = json!({"msgtype": "audio", "content": "[".repeat(100_000)});
    assert!(message_of(nested.to_string().as_bytes()).contains("`content`"));
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body);
    }

    #[test]
    fn any_text_comes_through_trimmed(text in ".*") {
        let callback = parsed(json!({"msgtype": "text", "text": {"content": text}}));
        prop_assert_eq!(callback.content, Content::Text(text.trim().to_owned()));
    }
}

//! A robot callback as DingTalk posts it.
//!
//! Follows "receive-message" and "robot-message-type": headers `timestamp` and `sign`, the common
//! fields, one `content` for each type. `pictureDownloadCode`, `fileId`, `spaceId` and
//! `openThreadId` are in real captures and not in these pages.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::session::Session;
use super::{CLIENT_ID, CLIENT_SECRET, DingTalk, lock, system_millis};

/// How long a session lasts in every sample of the documents.
const SESSION_LIFE: Duration = Duration::from_secs(5_400);

/// The signature of a callback and of a group robot:
/// `base64(HMAC_SHA256(key = secret, timestamp + "\n" + secret))`.
pub fn sign(timestamp: &str, secret: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{timestamp}\n{secret}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The id of the conversation a test calls `name`.
pub fn conversation_id(name: &str) -> String {
    format!("cid{}", STANDARD.encode(name))
}

/// A callback ready to be posted, as often as one likes.
#[derive(Debug, Clone)]
pub struct SignedCallback {
    /// Headers besides those every client sends.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// `msgId`.
    pub msg_id: String,
    /// The conversation's id.
    pub conversation: String,
}

impl SignedCallback {
    /// The request that posts it to the daemon at `address`.
    pub fn request(
        &self,
        client: &reqwest::Client,
        address: SocketAddr,
    ) -> reqwest::RequestBuilder {
        let request = client.post(format!("http://{address}/webhook")).body(self.body.clone());
        self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }
}

#[derive(Debug)]
enum Signature {
    Good,
    Bad,
    Missing,
}

#[derive(Debug)]
enum Webhook {
    /// A session of the simulator that lasts this long.
    Opened(Duration),
    /// A session that claims to be valid and that the simulator does not know.
    Dead,
    /// This address.
    Given(String),
    /// None, as curl and scripts send.
    Absent,
}

/// A callback being put together.
#[derive(Debug)]
#[must_use = "a callback does nothing until it is built and posted"]
pub struct Callback<'a> {
    simulator: &'a DingTalk,
    staff: String,
    nick: String,
    /// The name of the group; none in a conversation of two.
    group: Option<String>,
    msg_id: String,
    content: Map<String, Value>,
    webhook: Webhook,
    signature: Signature,
    shift: i64,
    left_out: Vec<&'static str>,
    probe: bool,
}

impl<'a> Callback<'a> {
    pub(super) fn new(simulator: &'a DingTalk) -> Self {
        let callback = Self {
            simulator,
            staff: "staff1".into(),
            nick: "小明".into(),
            group: None,
            msg_id: format!("msg{}", STANDARD.encode(uuid::Uuid::new_v4())),
            content: Map::new(),
            webhook: Webhook::Opened(SESSION_LIFE),
            signature: Signature::Good,
            shift: 0,
            left_out: Vec::new(),
            probe: false,
        };
        callback.text("你好")
    }

    /// A text. In a group the mention of the robot is cut off and a space stays.
    pub fn text(self, text: &str) -> Self {
        self.holding("text", json!({ "text": { "content": text } }))
    }

    /// A rich text: texts with a picture after them.
    pub fn rich_text(self, texts: &[&str]) -> Self {
        let mut parts: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
        let mut picture = download();
        picture["type"] = "picture".into();
        parts.push(picture);
        self.holding("richText", json!({ "content": { "richText": parts } }))
    }

    /// A picture.
    pub fn picture(self) -> Self {
        self.holding("picture", json!({ "content": download() }))
    }

    /// A voice message, with what DingTalk recognised.
    pub fn audio(self, recognition: &str) -> Self {
        let content = json!({
            "duration": 4000, "downloadCode": "mIofN681YE3f", "recognition": recognition,
        });
        self.holding("audio", json!({ "content": content }))
    }

    /// A video.
    pub fn video(self) -> Self {
        let content =
            json!({ "duration": 4000, "downloadCode": "mIofN681YE3f", "videoType": "mp4" });
        self.holding("video", json!({ "content": content }))
    }

    /// A file.
    pub fn file(self, name: &str) -> Self {
        let content = json!({
            "downloadCode": "PsPv2vO1xFyR", "fileName": name,
            "fileId": "214980176385", "spaceId": "28455378906",
        });
        self.holding("file", json!({ "content": content }))
    }

    /// A type no page names, as documents and cards come.
    pub fn unknown_type(self) -> Self {
        self.holding("unknownMsgType", json!({ "content": { "unknownMsgType": "docs" } }))
    }

    /// The push of an organisation over its quota: no content, an `errorCode` instead.
    pub fn over_quota(self) -> Self {
        let content = json!({
            "errorCode": "20001",
            "errorMessage": "受调用量超量影响，您的机器人消息无法正常推送",
        });
        self.holding("text", content)
    }

    /// The console's probe of the address: an empty body without a signature.
    pub fn probe(mut self) -> Self {
        self.probe = true;
        self
    }

    /// Whom it is from, by `senderStaffId`.
    pub fn from(mut self, staff: &str) -> Self {
        self.staff = staff.into();
        self
    }

    /// The sender's name.
    pub fn nick(mut self, nick: &str) -> Self {
        self.nick = nick.into();
        self
    }

    /// In the group of this name; see [`conversation_id`].
    pub fn group(mut self, name: &str) -> Self {
        self.group = Some(name.into());
        self
    }

    /// In the sender's own conversation with the robot.
    pub fn single(mut self) -> Self {
        self.group = None;
        self
    }

    /// This `msgId` rather than one of its own.
    pub fn msg_id(mut self, msg_id: &str) -> Self {
        self.msg_id = msg_id.into();
        self
    }

    /// A session that ends after `life`, and says so.
    pub fn session_lasts(mut self, life: Duration) -> Self {
        self.webhook = Webhook::Opened(life);
        self
    }

    /// A session that claims to be valid and is not.
    pub fn dead_session(mut self) -> Self {
        self.webhook = Webhook::Dead;
        self
    }

    /// This `sessionWebhook`.
    pub fn session_webhook(mut self, address: &str) -> Self {
        self.webhook = Webhook::Given(address.into());
        self
    }

    /// No `sessionWebhook`: whoever calls wants the answer itself.
    pub fn without_session(mut self) -> Self {
        self.webhook = Webhook::Absent;
        self
    }

    /// A signature by another secret.
    pub fn bad_sign(mut self) -> Self {
        self.signature = Signature::Bad;
        self
    }

    /// Neither `timestamp` nor `sign`.
    pub fn unsigned(mut self) -> Self {
        self.signature = Signature::Missing;
        self
    }

    /// Signed with a timestamp off by `millis`.
    pub fn shifted(mut self, millis: i64) -> Self {
        self.shift = millis;
        self
    }

    /// Without this field of the body.
    pub fn without(mut self, field: &'static str) -> Self {
        self.left_out.push(field);
        self
    }

    fn holding(mut self, msgtype: &str, content: Value) -> Self {
        self.content.clear();
        if let Value::Object(fields) = content {
            self.content.extend(fields);
        }
        self.content.insert("msgtype".into(), msgtype.into());
        self
    }

    /// Opens the session, if it has one, and signs.
    pub fn build(mut self) -> SignedCallback {
        let conversation = conversation_id(match &self.group {
            Some(group) => group,
            None => &self.staff,
        });
        if self.probe {
            let msg_id = String::new();
            return SignedCallback {
                headers: Vec::new(),
                body: Bytes::new(),
                msg_id,
                conversation,
            };
        }
        let body = Value::Object(self.body(&conversation)).to_string().into();
        let timestamp = (system_millis() + self.shift).to_string();
        let mut headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        let secret = match self.signature {
            Signature::Good => Some(CLIENT_SECRET),
            Signature::Bad => Some("another secret"),
            Signature::Missing => None,
        };
        if let Some(secret) = secret {
            headers.push(("sign", sign(&timestamp, secret)));
            headers.push(("timestamp", timestamp));
        }
        SignedCallback { headers, body, msg_id: self.msg_id, conversation }
    }

    fn body(&mut self, conversation: &str) -> Map<String, Value> {
        let now = system_millis();
        let mut body = std::mem::take(&mut self.content);
        let mut put = |field: &str, value: Value| body.insert(field.to_owned(), value);
        put("msgId", self.msg_id.as_str().into());
        put("createAt", now.into());
        put("conversationId", conversation.into());
        put("openThreadId", conversation.into());
        put("senderId", format!("$:LWCP_v1:${}", STANDARD.encode(&self.staff)).into());
        put("senderStaffId", self.staff.as_str().into());
        put("senderNick", self.nick.as_str().into());
        put("senderCorpId", "dinge19e0simulated".into());
        put("senderPlatform", "Mac".into());
        put("isAdmin", false.into());
        put("chatbotCorpId", "dinge19e0simulated".into());
        put("chatbotUserId", "$:LWCP_v1:$01BsimulatedRobot".into());
        put("robotCode", CLIENT_ID.into());
        match &self.group {
            Some(group) => {
                put("conversationType", "2".into());
                put("conversationTitle", group.as_str().into());
                put("isInAtList", true.into());
                put("atUsers", json!([{ "dingtalkId": "$:LWCP_v1:$01BsimulatedRobot" }]));
            }
            None => {
                put("conversationType", "1".into());
            }
        }
        if let Some((address, life)) = self.webhook_address(conversation) {
            put("sessionWebhook", address.into());
            put("sessionWebhookExpiredTime", (now + life.as_millis() as i64).into());
        }
        for field in &self.left_out {
            body.remove(*field);
        }
        body
    }

    fn webhook_address(&self, conversation: &str) -> Option<(String, Duration)> {
        let session = uuid::Uuid::new_v4().simple().to_string();
        let address = format!("{}/robot/sendBySession?session={session}", self.simulator.base());
        match &self.webhook {
            Webhook::Opened(life) => {
                let state = &self.simulator.state;
                let expires = state.now() + life.as_millis() as i64;
                let opened = Session { conversation: conversation.into(), expires };
                lock(&state.sessions).insert(session, opened);
                Some((address, *life))
            }
            Webhook::Dead => Some((address, SESSION_LIFE)),
            Webhook::Given(given) => Some((given.clone(), SESSION_LIFE)),
            Webhook::Absent => None,
        }
    }
}

fn download() -> Value {
    json!({ "downloadCode": "mIofN681YE3f", "pictureDownloadCode": "9hSKeB0h8yPU" })
}

//! The client against a server on loopback.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const NOW: i64 = 1_700_000_000_000;
const TOKEN_PATH: &str = "/v1.0/oauth2/accessToken";
const USER_PATH: &str = "/v1.0/robot/oToMessages/batchSend";
const GROUP_PATH: &str = "/v1.0/robot/groupMessages/send";

/// One request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    query: HashMap<String, String>,
    token: Option<String>,
    body: Value,
}

/// A server whose answers are scripted: for each path, status and body, in order; the last one is
/// given again and again.
struct Server {
    base: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

type Script = HashMap<&'static str, Vec<(u16, String)>>;

impl Server {
    async fn start<const N: usize>(script: [(&'static str, Vec<(u16, Value)>); N]) -> Self {
        let texts = |answers: Vec<(u16, Value)>| {
            answers.into_iter().map(|(status, body)| (status, body.to_string())).collect()
        };
        Self::start_raw(script.into_iter().map(|(path, all)| (path, texts(all))).collect()).await
    }

    async fn start_raw(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script));
        let log = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                let service = service_fn(move |request| {
                    answer(request, Arc::clone(&log), Arc::clone(&script))
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { base, seen, accepting }
    }

    fn seen(&self, path: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path == path).cloned().collect()
    }

    fn client(&self) -> (DingTalk, Arc<Metrics>, Clock) {
        let settings = settings::DingTalk {
            client_id: "ding1".into(),
            client_secret: Secret::from("app-secret"),
            api_base: self.base.clone(),
            oapi_base: self.base.clone(),
            group_robots: vec![GroupRobot {
                name: "default".into(),
                access_token: Secret::from("robot-token"),
                secret: Secret::from("SECabc123"),
                ..GroupRobot::default()
            }],
            ..settings::DingTalk::default()
        };
        let metrics = Arc::new(Metrics::new());
        let clock = Clock::manual(NOW);
        let client = DingTalk::new(&settings, Arc::clone(&metrics), clock.clone()).unwrap();
        (client, metrics, clock)
    }

    fn session(&self) -> String {
        format!("{}robot/sendBySession?session=0123456789abcdef", self.base)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let query = parts.uri.query().unwrap_or_default();
    let seen = Seen {
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        token: parts
            .headers
            .get("x-acs-dingtalk-access-token")
            .map(|token| token.to_str().unwrap().to_owned()),
        body: serde_json::from_slice(&body).unwrap(),
    };
    let (status, body) = match script.lock().unwrap().get_mut(seen.path.as_str()) {
        Some(answers) if answers.len() > 1 => answers.remove(0),
        Some(answers) => answers[0].clone(),
        None => (404, "not found".into()),
    };
    log.lock().unwrap().push(seen);
    Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
}

fn message() -> Message {
    Message { title: "t".into(), text: "**2**".into(), mention: Vec::new() }
}

fn token(value: &str, expire_in: i64) -> (u16, Value) {
    (200, json!({"accessToken": value, "expireIn": expire_in}))
}

fn counted(metrics: &Metrics, api: &str, outcome: &str) -> u64 {
    metrics.dingtalk_requests.with_label_values(&[api, outcome]).get()
}

#[tokio::test]
async fn a_session_webhook_takes_the_message() {
    let server =
        Server::start([("/robot/sendBySession", vec![(200, json!({"errcode": "0"}))])]).await;
    let (client, metrics, _) = server.client();
    let message = Message { mention: vec![Mention::User("s1".into())], ..message() };
    client.send_to_session(&server.session(), &message).await.unwrap();
    let seen = server.seen("/robot/sendBySession");
    assert_eq!(seen[0].query["session"], "0123456789abcdef");
    assert_eq!(
        seen[0].body,
        json!({"msgtype": "markdown", "at": {"atUserIds": ["s1"]},
               "markdown": {"title": "t", "text": "@s1\n\n**2**"}})
    );
    assert_eq!(counted(&metrics, "session_webhook", "ok"), 1);
}

#[tokio::test]
async fn errcode_decides_whatever_the_status() {
    let rate = |retry_after| SendErrorKind::RateLimited { retry_after };
    for (status, body, kind) in [
        (200, r#"{"errcode":300001,"errmsg":"session 不存在"}"#, SendErrorKind::Expired),
        (200, r#"{"errcode":"460101","errmsg":"ok"}"#, SendErrorKind::TooLarge),
        (500, r#"{"errcode":430104}"#, SendErrorKind::Content),
        (200, r#"{"errcode":-1}"#, SendErrorKind::Temporary),
        (200, r#"{"errcode":310000}"#, SendErrorKind::Refused),
        (200, r#"{"errcode":90020}"#, SendErrorKind::Quota),
        (200, r#"{"errcode":130101}"#, rate(None)),
        (429, "slow down", rate(None)),
        (200, "{}", SendErrorKind::Temporary),
        (302, "", SendErrorKind::Temporary),
        (400, "<html>", SendErrorKind::Temporary),
        (200, r#"{"status":1111,"wait":5,"punish":"deny"}"#, rate(Some(Duration::from_secs(300)))),
        (200, "[0]", SendErrorKind::Temporary),
    ] {
        let script = HashMap::from([("/robot/sendBySession", vec![(status, body.to_owned())])]);
        let server = Server::start_raw(script).await;
        let (client, metrics, _) = server.client();
        let error = client.send_to_session(&server.session(), &message()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status} {body}");
        assert_eq!(counted(&metrics, "session_webhook", kind.label()), 1);
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let long = format!("{{\"errcode\":0,\"errmsg\":\"{}\"}}", "x".repeat(70_000));
    let server =
        Server::start_raw(HashMap::from([("/robot/sendBySession", vec![(200, long)])])).await;
    let error = server.client().0.send_to_session(&server.session(), &message()).await.unwrap_err();
    assert!(error.detail.contains("65536 bytes"), "{error}");
}

#[tokio::test]
async fn nothing_is_sent_where_it_must_not_go() {
    let server = Server::start([("/x", vec![(200, json!({"errcode": 0}))])]).await;
    let other = Server::start([("/x", vec![(200, json!({"errcode": 0}))])]).await;
    let (client, ..) = server.client();
    for address in [
        format!("{}x", other.base),
        "http://100.100.100.200/latest/meta-data/".into(),
        "https://oapi.dingtalk.com.example.net/x".into(),
        "rubbish".into(),
    ] {
        assert!(client.check_session_webhook(&address).is_err(), "{address}");
        let error = client.send_to_session(&address, &message()).await.unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Refused, "{address}");
        assert!(!error.detail.contains(&address));
    }
    assert!(other.seen("/x").is_empty());
    assert_eq!(client.check_session_webhook("https://oapi.dingtalk.com/x"), Ok(()));
}

#[tokio::test]
async fn an_error_holds_no_session_and_no_token() {
    let echo =
        |what: &str| vec![(200, json!({"errcode": 400101, "errmsg": format!("bad {what}")}))];
    let server = Server::start([
        ("/robot/sendBySession", echo("0123456789abcdef")),
        ("/robot/send", echo("robot-token SECabc123")),
    ])
    .await;
    let (client, ..) = server.client();
    let error = client.send_to_session(&server.session(), &message()).await.unwrap_err();
    assert_eq!(error.detail, "errcode 400101: bad ***");
    let error = client.send_by_group_robot("default", &message(), "u").await.unwrap_err();
    assert_eq!(error.detail, "errcode 400101: bad *** ***");
}

#[tokio::test]
async fn nobody_listening_is_temporary_and_the_address_stays_secret() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let oapi_base = Url::parse(&format!("http://{closed}")).unwrap();
    let settings = settings::DingTalk { oapi_base, ..settings::DingTalk::default() };
    let client = DingTalk::new(&settings, Arc::new(Metrics::new()), Clock::System).unwrap();
    let session = format!("http://{closed}/robot/sendBySession?session=0123456789abcdef");
    let error = client.send_to_session(&session, &message()).await.unwrap_err();
    assert_eq!(error.kind, SendErrorKind::Temporary);
    assert!(error.detail.starts_with("cannot connect: "), "{error}");
    assert!(!error.detail.contains("0123456789abcdef"), "{error}");
}

#[tokio::test]
async fn a_group_robot_signs_each_request() {
    let server = Server::start([("/robot/send", vec![(200, json!({"errcode": 0}))])]).await;
    let (client, metrics, clock) = server.client();
    client.send_by_group_robot("default", &message(), "uuid-1").await.unwrap();
    clock.advance(Duration::from_secs(1));
    client.send_by_group_robot("default", &message(), "uuid-1").await.unwrap();
    for (seen, timestamp) in
        server.seen("/robot/send").iter().zip(["1700000000000", "1700000001000"])
    {
        assert_eq!(seen.query["access_token"], "robot-token");
        assert_eq!(seen.query["timestamp"], timestamp);
        assert_eq!(seen.query["sign"], signature::sign(timestamp, "SECabc123"));
        assert_eq!(seen.body["msgUuid"], "uuid-1");
    }
    assert_eq!(counted(&metrics, "group_robot", "ok"), 2);
    assert!(client.has_group_robot("default") && !client.has_group_robot("other"));
    let error = client.send_by_group_robot("other", &message(), "u").await.unwrap_err();
    assert_eq!(error.kind, SendErrorKind::Refused);
}

#[tokio::test]
async fn a_token_is_fetched_once_and_renewed_before_its_end() {
    let server = Server::start([
        (TOKEN_PATH, vec![token("t1", 7_200), token("t2", 7_200)]),
        (GROUP_PATH, vec![(200, json!({"processQueryKey": "k"}))]),
    ])
    .await;
    let (client, metrics, clock) = server.client();
    let message = message();
    let send = || client.send_to_group(None, "cid1", &message);
    let (a, b, c) = tokio::join!(send(), send(), send());
    assert_eq!((a, b, c), (Ok(()), Ok(()), Ok(())));
    clock.advance(Duration::from_secs(6_899));
    send().await.unwrap();
    assert_eq!(server.seen(TOKEN_PATH).len(), 1);
    clock.advance(Duration::from_secs(1));
    send().await.unwrap();
    assert_eq!(counted(&metrics, "access_token", "ok"), 2);

    assert_eq!(
        server.seen(TOKEN_PATH)[0].body,
        json!({"appKey": "ding1", "appSecret": "app-secret"})
    );
    let seen = server.seen(GROUP_PATH);
    let tokens: Vec<_> = seen.iter().map(|seen| seen.token.as_deref().unwrap()).collect();
    assert_eq!(tokens, ["t1", "t1", "t1", "t1", "t2"]);
    assert_eq!(
        seen[0].body,
        json!({"robotCode": "ding1", "openConversationId": "cid1", "msgKey": "sampleMarkdown",
               "msgParam": r#"{"text":"**2**","title":"t"}"#})
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let refused =
        (401, json!({"code": "InvalidAuthentication", "message": "不合法的access_token"}));
    let server = Server::start([
        (TOKEN_PATH, vec![token("t1", 7_200), token("t2", 7_200)]),
        (USER_PATH, vec![refused.clone(), (200, json!({"invalidStaffIdList": []})), refused]),
    ])
    .await;
    let (client, ..) = server.client();
    client.send_to_user(Some("code"), "s1", &message()).await.unwrap();
    let seen = server.seen(USER_PATH);
    assert_eq!(seen.iter().filter_map(|s| s.token.as_deref()).collect::<Vec<_>>(), ["t1", "t2"]);
    assert_eq!(seen[1].body["robotCode"], "code");
    assert_eq!(seen[1].body["userIds"], json!(["s1"]));

    let error = client.send_to_user(None, "s1", &message()).await.unwrap_err();
    assert_eq!(error.kind, SendErrorKind::Refused);
    assert_eq!(server.seen(USER_PATH).len(), 4, "one retry and no more");
}

#[tokio::test]
async fn a_failed_token_is_fetched_again_next_time() {
    let wrong = (400, json!({"code": "invalidClientIdOrSecret", "message": "app-secret is wrong"}));
    let server = Server::start([
        (TOKEN_PATH, vec![wrong, token("t1", 7_200)]),
        (GROUP_PATH, vec![(200, json!({}))]),
    ])
    .await;
    let (client, metrics, _) = server.client();
    let error = client.send_to_group(None, "cid1", &message()).await.unwrap_err();
    assert_eq!(error.kind, SendErrorKind::Refused);
    assert_eq!(error.detail, "HTTP 400 invalidClientIdOrSecret: *** is wrong");
    assert_eq!(counted(&metrics, "access_token", "refused"), 1);
    client.send_to_group(None, "cid1", &message()).await.unwrap();
}

#[tokio::test]
async fn a_message_that_reached_nobody_is_a_failure() {
    let server = Server::start([
        (TOKEN_PATH, vec![token("t1", 7_200)]),
        (
            USER_PATH,
            vec![
                (200, json!({"invalidStaffIdList": ["s1"], "flowControlledStaffIdList": []})),
                (200, json!({"invalidStaffIdList": [], "flowControlledStaffIdList": ["s1"]})),
            ],
        ),
    ])
    .await;
    let (client, metrics, _) = server.client();
    let error = client.send_to_user(None, "s1", &message()).await.unwrap_err();
    assert!(error.is_permanent());
    let error = client.send_to_user(None, "s1", &message()).await.unwrap_err();
    assert_eq!(error.kind, SendErrorKind::RateLimited { retry_after: None });
    assert_eq!(counted(&metrics, "user_message", "rate_limited"), 1);
}

#[tokio::test]
async fn what_is_too_large_or_not_configured_is_not_sent() {
    let server = Server::start([]).await;
    let (client, ..) = server.client();
    let large = Message { text: "\"".repeat(7_500), ..message() };
    let error = client.send_to_user(None, "s1", &large).await.unwrap_err();
    assert_eq!(error.kind, SendErrorKind::TooLarge);
    assert!(server.seen.lock().unwrap().is_empty());

    let settings = settings::DingTalk::default();
    let bare = DingTalk::new(&settings, Arc::new(Metrics::new()), Clock::System).unwrap();
    assert!(client.has_openapi() && !bare.has_openapi());
    let error = bare.send_to_group(None, "cid1", &message()).await.unwrap_err();
    assert!(error.is_permanent() && error.detail.contains("dingtalk.client_id"));
}

#[tokio::test]
async fn a_full_part_fits_msg_param() {
    let server = Server::start([
        (TOKEN_PATH, vec![token("t1", 7_200)]),
        (USER_PATH, vec![(200, json!({}))]),
    ])
    .await;
    let long = "说\"好\"。\n".repeat(5_000);
    for part in markdown::split(&long, markdown::PART_BYTES).into_iter().take(2) {
        let message = Message { title: markdown::title(&part), text: part, mention: Vec::new() };
        server.client().0.send_to_user(None, "s1", &message).await.unwrap();
    }
    assert_eq!(server.seen(USER_PATH).len(), 2);
}

//! Keys that the daemon makes, and what they open.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::Api;
use crate::support::PATIENCE;

impl Api {
    async fn key(&self, arguments: &[&str]) -> String {
        let arguments = [&["memory", "key", "add"], arguments].concat();
        self.daemon.command(&arguments).await.lines().next().unwrap().to_owned()
    }

    async fn with_key(&self, key: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.daemon.client().request(method, self.daemon.url(path));
        let response = request.header("x-api-key", key).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn ping(&self, key: &str) -> u16 {
        self.with_key(key, Method::GET, "/v1/ping/", Value::Null).await.0
    }

    /// Waits until the daemon has heard of a key, or of its end.
    async fn pings(&self, key: &str, status: u16) {
        let wait = async {
            while self.ping(key).await != status {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the key becomes known, or unknown");
    }

    /// What each request about everybody's memories is answered with.
    async fn about_everybody(&self, key: &str) -> Vec<u16> {
        let everybody = json!({"query": "茶", "filters": {"user_id": "*"}});
        let mut answered = Vec::new();
        for (method, path, body) in [
            (Method::POST, "/v3/memories/search/", everybody.clone()),
            (Method::POST, "/v3/memories/", everybody.clone()),
            (Method::GET, "/memories", Value::Null),
            (Method::GET, "/entities", Value::Null),
            (Method::GET, "/v1/entities/", Value::Null),
            (Method::GET, "/v1/events/", Value::Null),
            (Method::DELETE, "/v1/memories/?user_id=*", Value::Null),
            (Method::POST, "/reset", json!({})),
        ] {
            let (status, body) = self.with_key(key, method, path, body).await;
            assert!(status == 200 || body["detail"].as_str().unwrap().contains("--scope admin"));
            answered.push(status);
        }
        answered
    }
}

#[tokio::test]
async fn a_key_opens_what_it_is_for() {
    let mut api = Api::start().await;
    let ann = json!({"user_id": "ann"});
    api.keep(&ann, "我喜欢喝茶", json!({})).await;
    assert_eq!(api.ping("any").await, 200, "there is nothing to compare it with");

    let user = api.key(&["app"]).await;
    let admin = api.key(&["backup", "--scope", "admin", "--rate", "1000"]).await;
    api.pings("wrong", 401).await;
    assert_eq!([api.ping(&user).await, api.ping(&admin).await], [200, 200]);
    let asked = json!({"query": "茶", "filters": ann});
    let (status, found) =
        api.with_key(&user, Method::POST, "/v3/memories/search/", asked.clone()).await;
    assert_eq!((status, &found["results"][0]["memory"]), (200, &json!("我喜欢喝茶")));
    assert_eq!(api.about_everybody(&user).await, [403; 8]);
    // This host needs no key to name somebody; for everybody it does now.
    assert_eq!(api.post("/v3/memories/search/", asked).await.status, 200);
    assert_eq!(api.get("/v1/entities/").await.status, 403);
    assert_eq!(api.about_everybody(&admin).await, [200; 8]);

    let refused = api.daemon.attempt(&["memory", "key", "add", "app"]).await;
    assert!(!refused.status.success(), "the name is taken");
    let refused = api.daemon.attempt(&["memory", "key", "add", "a b"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("letters, digits"));

    let listed = api.daemon.command(&["memory", "key", "list"]).await;
    assert!(listed.contains("app\tuser\t100/s") && listed.contains("backup\tadmin\t1000/s"));
    assert!(!listed.contains(&user), "{listed}");
    let store = std::fs::read(api.daemon.state_directory().join("dingbot.db")).unwrap();
    assert!(!store.windows(user.len()).any(|window| window == user.as_bytes()));
    api.daemon.restart().await;
    let listed = api.daemon.command(&["memory", "key", "list"]).await;
    assert_eq!(listed.matches("used 20").count(), 2, "{listed}");

    api.daemon.command(&["memory", "key", "remove", "app"]).await;
    api.pings(&user, 401).await;
    assert_eq!(api.ping(&admin).await, 200);
    let refused = api.daemon.attempt(&["memory", "key", "remove", "app"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no key called app"));
}

#[tokio::test]
async fn a_key_is_not_used_more_often_than_it_may_be_nor_guessed() {
    let api = Api::start().await;
    let key = api.key(&["slow", "--rate", "1"]).await;
    api.pings("wrong", 401).await;
    let mut answered = Vec::new();
    for _ in 0..6 {
        answered.push(api.ping(&key).await);
    }
    assert!(answered.contains(&200) && answered.contains(&429), "{answered:?}");
    let mut answered = Vec::new();
    for attempt in 0..40 {
        answered.push(api.ping(&format!("guess {attempt}")).await);
    }
    assert_eq!(answered[0], 401);
    assert_eq!(answered[39], 429, "{answered:?}");
    // Who sends none, or a right one, is not concerned.
    assert_eq!(api.get("/v1/ping/").await.status, 200);
    api.pings(&key, 200).await;
}

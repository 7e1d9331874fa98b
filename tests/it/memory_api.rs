//! The memory API, by HTTP as its clients speak it and by those clients themselves.

mod clients;
mod defects;
mod isolation;
mod keys;
mod shapes;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::settings::Settings;

/// A daemon without a model, which keeps what is said word for word.
struct Api {
    daemon: Daemon,
}

/// What came back.
#[derive(Debug)]
struct Came {
    status: u16,
    body: Value,
}

impl Api {
    async fn start() -> Self {
        Self { daemon: Daemon::start(Settings::bare()).await }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Came {
        let mut request = self.daemon.client().request(method, self.daemon.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Came { status, body }
    }

    async fn post(&self, path: &str, body: Value) -> Came {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Came {
        self.send(Method::GET, path, None).await
    }

    async fn delete(&self, path: &str) -> Came {
        self.send(Method::DELETE, path, None).await
    }

    /// Keeps a text word for word; returns its id.
    async fn keep(&self, whose: &Value, text: &str, more: Value) -> String {
        let mut body = json!({"messages": [{"role": "user", "content": text}], "infer": false});
        for part in [whose, &more] {
            for (key, value) in part.as_object().unwrap() {
                body[key] = value.clone();
            }
        }
        let came = self.post("/v1/memories/", body).await;
        assert_eq!(came.status, 200, "{came:?}");
        came.body[0]["id"].as_str().unwrap().to_owned()
    }

    /// The texts that a search by filters returns, best first.
    async fn found(&self, query: &str, filters: Value) -> Vec<String> {
        let asked = json!({"query": query, "filters": filters, "top_k": 1000});
        let came = self.post("/v3/memories/search/", asked).await;
        assert_eq!(came.status, 200, "{came:?}");
        texts(&came.body["results"])
    }

    /// The texts that a list by filters has, newest first.
    async fn listed(&self, filters: Value) -> Vec<String> {
        let came = self.post("/v3/memories/?page_size=1000", json!({ "filters": filters })).await;
        assert_eq!(came.status, 200, "{came:?}");
        texts(&came.body["results"])
    }
}

fn texts(results: &Value) -> Vec<String> {
    let results = results.as_array().unwrap_or_else(|| panic!("no list: {results}"));
    results.iter().map(|it| it["memory"].as_str().unwrap().to_owned()).collect()
}

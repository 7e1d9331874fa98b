//! A real Prometheus, and its `promtool`.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::PATIENCE;
use super::http;

/// How often a query is repeated while a test waits for its answer.
const LOOK: Duration = Duration::from_millis(250);

/// Runs promtool with this input; nothing when it is not installed.
pub async fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).kill_on_drop(true);
    let child = promtool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().ok()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).await.expect("promtool reads");
    drop(stdin);
    let done = tokio::time::timeout(6 * PATIENCE, child.wait_with_output()).await;
    Some(done.expect("promtool ends").expect("its output can be read"))
}

/// A Prometheus on a free loopback port; it ends when it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    origin: String,
    client: reqwest::Client,
    _child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts with this configuration; nothing when Prometheus is not installed.
    pub async fn start(configuration: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration).expect("a writable temporary directory");
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let (mut said, mut address) = (Vec::new(), None);
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("it can be read") {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["msg"] == "Listening on" {
                    address = event["address"].as_str().map(str::to_owned);
                }
                if event["msg"] == "Server is ready to receive web requests." {
                    return;
                }
                said.push(line);
            }
        };
        let _ = tokio::time::timeout(PATIENCE, ready).await;
        let address = address.unwrap_or_else(|| panic!("Prometheus does not start: {said:?}"));
        // What it says from now on is not needed, but must be read.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self {
            origin: format!("http://{address}"),
            client: http::client(),
            _child: child,
            _folder: folder,
        })
    }

    /// Its origin, without a slash at the end.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Asks for a path of its API with these parameters; its `data`.
    ///
    /// # Errors
    /// What it says is wrong with the question.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let address = url::Url::parse_with_params(&format!("{}{path}", self.origin), parameters);
        let response = self.client.get(address.expect("a valid address")).send().await;
        let text = response.expect("Prometheus answers").text().await.expect("its whole answer");
        let answer: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(text) }
    }

    /// The series that a query gives now.
    ///
    /// # Errors
    /// As [`Prometheus::ask`].
    pub async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let data = self.ask("/api/v1/query", &[("query", query)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The series of a query over the last so many seconds.
    ///
    /// # Errors
    /// As [`Prometheus::ask`].
    pub async fn range(&self, query: &str, seconds: u64, step: u64) -> Result<Vec<Value>, String> {
        let now = jiff::Timestamp::now().as_second();
        let (start, end) = ((now - seconds as i64).to_string(), now.to_string());
        let step = step.to_string();
        let parameters =
            [("query", query), ("start", &*start), ("end", &*end), ("step", step.as_str())];
        let data = self.ask("/api/v1/query_range", &parameters).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a query gives something.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn wait_for(&self, query: &str) -> Vec<Value> {
        let found = async {
            loop {
                let series = self.query(query).await.expect("a valid query");
                if !series.is_empty() {
                    return series;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let found = tokio::time::timeout(3 * PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("in vain: {query}"))
    }
}

/// A file of the project.
pub fn project(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

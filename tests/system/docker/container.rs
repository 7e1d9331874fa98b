//! One container.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::engine::{Engine, IMAGE};

/// Longest time until Docker has asked for the health: an interval, and what a busy machine adds.
const HEALTHY: Duration = Duration::from_secs(45);
/// How often Docker is asked for it.
const ASK: Duration = Duration::from_millis(200);

/// A container; it and its anonymous volumes are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Container {
    engine: Arc<Engine>,
    name: String,
}

impl Container {
    /// `docker run -d --name NAME OPTIONS IMAGE`.
    pub(crate) async fn run(engine: &Arc<Engine>, name: &str, options: &[&str]) -> Self {
        let this = Self { engine: Arc::clone(engine), name: name.into() };
        let run = [&["run", "-d", "--name", name][..], options, &[IMAGE]].concat();
        engine.docker(&run).await;
        this
    }

    /// A container that something else made.
    pub(crate) fn known(engine: &Arc<Engine>, id: &str) -> Self {
        Self { engine: Arc::clone(engine), name: id.into() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until `docker ps` shows it as healthy; the line it shows.
    pub(crate) async fn becomes_healthy(&self) -> String {
        self.becomes("(healthy)").await
    }

    /// Waits until `docker ps` shows `status`; the line it shows.
    pub(crate) async fn becomes(&self, status: &str) -> String {
        let id = self.inspect("{{.Id}}").await;
        let filter = format!("id={id}");
        let watch = async {
            loop {
                let line = self.engine.docker(&["ps", "--filter", &filter]).await;
                let line = line.lines().nth(1).unwrap_or_default().to_owned();
                if line.contains(status) {
                    return line;
                }
                tokio::time::sleep(ASK).await;
            }
        };
        match tokio::time::timeout(HEALTHY, watch).await {
            Ok(line) => line,
            Err(_) => panic!("not {status} in {HEALTHY:?}: {:?}", self.output().await),
        }
    }

    /// Waits until it says that it is ready, which is sooner than Docker asks for its health.
    pub(crate) async fn is_ready(&self) {
        self.logs("ready").await;
    }

    /// Waits until the log says `message`; the event.
    pub(crate) async fn logs(&self, message: &str) -> Value {
        let watch = async {
            loop {
                let events = self.log().await;
                if let Some(event) = events.into_iter().find(|event| event["message"] == message) {
                    return event;
                }
                tokio::time::sleep(ASK).await;
            }
        };
        match tokio::time::timeout(HEALTHY, watch).await {
            Ok(event) => event,
            Err(_) => panic!("no {message:?} in the log: {:?}", self.output().await),
        }
    }

    /// What `docker logs` prints on standard output: JSON, an event a line.
    pub(crate) async fn log(&self) -> Vec<Value> {
        let (stdout, _) = self.output().await;
        let event = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in the line {line:?}"))
        };
        stdout.lines().map(event).collect()
    }

    /// What `docker logs` prints on standard output and on standard error.
    pub(crate) async fn output(&self) -> (String, String) {
        let output = self.engine.try_docker(&["logs", &self.name]).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    }

    /// Runs a shell command inside; what it printed.
    pub(crate) async fn sh(&self, command: &str) -> String {
        self.engine.docker(&["exec", &self.name, "sh", "-c", command]).await
    }

    /// `docker inspect --format`.
    pub(crate) async fn inspect(&self, format: &str) -> String {
        self.engine.docker(&["inspect", "--format", format, &self.name]).await
    }

    /// `docker stop`; the exit code and how long it took.
    pub(crate) async fn stop(&self) -> (String, Duration) {
        let began = std::time::Instant::now();
        self.engine.docker(&["stop", &self.name]).await;
        let took = began.elapsed();
        (self.inspect("{{.State.ExitCode}}").await, took)
    }

    /// `docker rm`, as an operator does before the next version.
    pub(crate) async fn remove(self) {
        self.engine.docker(&["rm", "-f", &self.name]).await;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.engine.remove(&self.name);
    }
}

//! Chromium by its DevTools protocol, over the pipe of `--remote-debugging-pipe`: JSON messages
//! that end with a zero byte (Chrome DevTools Protocol, version 1.3).
//!
//! Ours, and not `chromiumoxide` or `headless_chrome`: what is needed of the protocol is eight
//! commands, and those crates take longer to build than the daemon.

use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::decoded;

/// The longest that anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A headless Chromium with a profile of its own; killed when dropped.
#[derive(Debug)]
pub(super) struct Browser {
    wire: Mutex<Wire>,
    _child: Child,
    _profile: TempDir,
}

#[derive(Debug)]
struct Wire {
    to: pipe::Sender,
    from: BufReader<pipe::Receiver>,
    last: u64,
    /// What it said unasked.
    events: Vec<Value>,
}

impl Browser {
    /// Starts; nothing when there is none.
    pub(super) async fn start() -> Option<Self> {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let (their_end, to) = std::io::pipe().expect("a pipe");
        let (from, their_other) = std::io::pipe().expect("a pipe");
        let mut chromium = Command::new("chromium");
        chromium
            .args(["--headless=new", "--remote-debugging-pipe", "--no-first-run"])
            // The test runs as root, in a network of its own, on pages of its own.
            .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        chromium
            .fd_mappings(vec![
                FdMapping { parent_fd: their_end.into(), child_fd: 3 },
                FdMapping { parent_fd: their_other.into(), child_fd: 4 },
            ])
            .expect("two mappings");
        let child = chromium.spawn().ok()?;
        // It holds the other ends.
        drop(chromium);
        let wire = Wire {
            to: pipe::Sender::from_owned_fd(to.into()).expect("a pipe"),
            from: BufReader::new(pipe::Receiver::from_owned_fd(from.into()).expect("a pipe")),
            last: 0,
            events: Vec::new(),
        };
        Some(Self { wire: Mutex::new(wire), _child: child, _profile: profile })
    }

    /// A tab of this size that prefers this colour scheme.
    pub(super) async fn tab(&self, width: u32, height: u32, phone: bool, scheme: &str) -> Tab<'_> {
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call(None, "Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let tab = Tab { browser: self, session, complaints: Vec::new() };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            tab.call(domain, json!({})).await;
        }
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        tab.call("Emulation.setDeviceMetricsOverride", size).await;
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        tab.call("Emulation.setEmulatedMedia", json!({ "features": [feature] })).await;
        tab
    }

    async fn call(&self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        let mut wire = self.wire.lock().await;
        let answer = wire.call(session, method, parameters);
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| panic!("{method} is not answered"))
    }
}

impl Wire {
    async fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        self.to.write_all(format!("{command}\0").as_bytes()).await.expect("chromium reads");
        loop {
            let message = self.next().await;
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    async fn next(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).await.expect("it can be read");
        assert_eq!(bytes.pop(), Some(0), "chromium ended");
        serde_json::from_slice(&bytes).expect("the protocol is JSON")
    }
}

/// A tab.
#[derive(Debug)]
pub(super) struct Tab<'a> {
    browser: &'a Browser,
    session: String,
    complaints: Vec<String>,
}

impl Tab<'_> {
    async fn call(&self, method: &str, parameters: Value) -> Value {
        self.browser.call(Some(&self.session), method, parameters).await
    }

    /// Opens a page and waits until it is loaded.
    pub(super) async fn open(&mut self, address: &str) {
        let opened = self.call("Page.navigate", json!({ "url": address })).await;
        assert!(opened["errorText"].is_null(), "{address}: {opened}");
        let loaded = async {
            while !self.take_events().await.iter().any(|e| e["method"] == "Page.loadEventFired") {
                let mut wire = self.browser.wire.lock().await;
                let event = wire.next().await;
                wire.events.push(event);
            }
        };
        tokio::time::timeout(PATIENCE, loaded).await.expect("the page is loaded");
    }

    /// The events of this tab so far; what the console shows is kept.
    async fn take_events(&mut self) -> Vec<Value> {
        let mut wire = self.browser.wire.lock().await;
        let of_this = |event: &Value| event["sessionId"] == *self.session;
        let (events, others) = std::mem::take(&mut wire.events).into_iter().partition(of_this);
        wire.events = others;
        let events: Vec<Value> = events;
        let console = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
        let shown = |event: &&Value| console.iter().any(|method| event["method"] == *method);
        self.complaints.extend(events.iter().filter(shown).map(Value::to_string));
        events
    }

    /// The value of an expression.
    pub(super) async fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{answer}");
        self.take_events().await;
        answer["result"]["value"].clone()
    }

    /// What is on the screen, as PNG.
    pub(super) async fn screenshot(&self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        decoded(answer["data"].as_str().expect("a picture"))
    }

    /// What the console showed.
    pub(super) fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

//! The settings a test gives the daemon.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::sync::Arc;

use super::dingtalk::{self, DingTalk};
use super::journal::Journal;
use super::model::{self, Model};
use super::namespace::Namespace;

/// What goes into the daemon's file, its environment and its command line.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Dotted keys and their values as TOML writes them.
    values: BTreeMap<String, String>,
    group_robots: Vec<String>,
    environment: Vec<(String, String)>,
    listen: String,
    namespace: Option<String>,
    socket: Option<Arc<TcpListener>>,
    journal: Option<Journal>,
}

impl Settings {
    /// JSON log lines, a free loopback port, and nothing else: no model and no DingTalk.
    pub fn bare() -> Self {
        let settings = Self {
            values: BTreeMap::new(),
            group_robots: Vec::new(),
            environment: Vec::new(),
            listen: "127.0.0.1:0".into(),
            namespace: None,
            socket: None,
            journal: None,
        };
        settings.text("log.format", "json")
    }

    /// An application of `dingtalk` with its OpenAPI, answering by `model`.
    pub fn new(dingtalk: &DingTalk, model: &Model) -> Self {
        Self::bare()
            .dingtalk(dingtalk)
            .text("dingtalk.client_id", dingtalk::CLIENT_ID)
            .text("dingtalk.client_secret", dingtalk::CLIENT_SECRET)
            .model(model)
    }

    /// As [`Settings::new`], but without a `client_id`: the OpenAPI is not configured, and pushes
    /// go to the group robot `default`.
    pub fn with_group_robot(dingtalk: &DingTalk, model: &Model) -> Self {
        Self::bare()
            .dingtalk(dingtalk)
            .text("dingtalk.client_secret", dingtalk::CLIENT_SECRET)
            .group_robot("default", dingtalk::GROUP_TOKEN, dingtalk::GROUP_SECRET)
            .model(model)
    }

    /// Points both origins of DingTalk at the simulator.
    pub fn dingtalk(self, dingtalk: &DingTalk) -> Self {
        let base = dingtalk.base();
        self.text("dingtalk.api_base", &base).text("dingtalk.oapi_base", &base)
    }

    /// Asks this model, for answers alone: its scripted replies are not for what becomes of
    /// messages in the background. See [`Settings::learning`].
    pub fn model(self, model: &Model) -> Self {
        self.text("llm.base_url", &model.base())
            .text("llm.api_key", model::KEY)
            .text("llm.model", "simulated-1")
            .text("memory.extract", "verbatim")
    }

    /// Has the model make memories of messages, as by default.
    pub fn learning(self) -> Self {
        self.text("memory.extract", "auto")
    }

    /// Adds a group robot.
    pub fn group_robot(self, name: &str, access_token: &str, secret: &str) -> Self {
        self.mentioning_robot(name, access_token, secret, &[], false)
    }

    /// Adds a group robot whose alerts mention these mobile numbers, or everybody.
    pub fn mentioning_robot(
        mut self,
        name: &str,
        access_token: &str,
        secret: &str,
        mobiles: &[&str],
        all: bool,
    ) -> Self {
        self.group_robots.push(format!(
            "{{ name = {name:?}, access_token = {access_token:?}, secret = {secret:?}, \
             mention_mobiles = {mobiles:?}, mention_all = {all} }}"
        ));
        self
    }

    /// Takes all group robots away.
    pub fn without_group_robots(mut self) -> Self {
        self.group_robots.clear();
        self
    }

    /// Sets `key` to a text.
    pub fn text(self, key: &str, value: &str) -> Self {
        // Rust's escapes of what tests use are TOML's too.
        self.set(key, &format!("{value:?}"))
    }

    /// Sets `key` to a value written as TOML writes it.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.values.insert(key.into(), value.into());
        self
    }

    /// Leaves `key` out.
    pub fn unset(mut self, key: &str) -> Self {
        self.values.remove(key);
        self
    }

    /// Adds an environment variable; the daemon has no other.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Listens here rather than on 127.0.0.1.
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = address.into();
        self
    }

    /// Runs in this network namespace.
    pub fn within(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.name().into());
        self
    }

    /// Hands this socket over, as a socket unit does.
    pub fn socket(mut self, socket: TcpListener) -> Self {
        self.socket = Some(Arc::new(socket));
        self.variable("LISTEN_FDS", "1")
    }

    pub(super) fn handed_over(&self) -> Option<&TcpListener> {
        self.socket.as_deref()
    }

    /// Has this journal for that of the system, and its standard error there.
    pub fn journal(mut self, journal: &Journal) -> Self {
        self.journal = Some(journal.clone());
        self
    }

    pub(super) fn own_journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub fn toml(&self) -> String {
        let mut toml = String::new();
        for (key, value) in &self.values {
            writeln!(toml, "{key} = {value}").expect("writing to a string");
        }
        if !self.group_robots.is_empty() {
            let robots = self.group_robots.join(", ");
            writeln!(toml, "dingtalk.group_robots = [{robots}]").expect("writing to a string");
        }
        toml
    }

    pub(super) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    pub(super) fn address(&self) -> &str {
        &self.listen
    }
}

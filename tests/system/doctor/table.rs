//! The table of faults: each is made, must be named first, is mended as the report says, and gone.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lab::Lab;
use super::network::Network;
use crate::docker::engine::Engine;

/// A group of scenarios. A failing one does not hide the others.
pub(super) struct Table {
    title: &'static str,
    rows: Vec<Row>,
    missing: Option<String>,
    /// What all scenarios of the group share; without it each has a network of its own.
    shared: Option<(Arc<Engine>, Arc<Network>)>,
    began: Instant,
}

/// A line of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    chinese: &'static str,
    english: &'static str,
    expected: &'static str,
    pub(super) named: Option<String>,
    pub(super) took: Option<Duration>,
    /// By what it was mended.
    pub(super) cure: Option<String>,
    pub(super) cured: bool,
    failure: Option<String>,
}

impl Table {
    /// Scenarios on networks of their own.
    pub(super) fn new(title: &'static str) -> Self {
        let missing = Network::new().err();
        Self { title, rows: Vec::new(), missing, shared: None, began: Instant::now() }
    }

    /// Scenarios that share a Docker, and with it the network.
    pub(super) fn with_docker(title: &'static str) -> Self {
        let made = Network::new().and_then(|network| {
            let host = network.host.name();
            let engine = Engine::start_in(host, super::network::NAMES, super::lab::DOCKER_POOL)?;
            Ok((Arc::new(engine), Arc::new(network)))
        });
        let (shared, missing) = match made {
            Ok(shared) => (Some(shared), None),
            Err(why) => (None, Some(why)),
        };
        Self { title, rows: Vec::new(), missing, shared, began: Instant::now() }
    }

    /// A fault. `scene` makes it, and sees it named and mended.
    pub(super) fn fault(
        &mut self,
        names: (&'static str, &'static str),
        expected: &'static str,
        scene: impl AsyncFnOnce(&Lab) + Send,
    ) {
        self.scenario(names, expected, scene);
    }

    /// A set-up without a fault, in which nothing may be complained of.
    pub(super) fn healthy(
        &mut self,
        names: (&'static str, &'static str),
        scene: impl AsyncFnOnce(&Lab) + Send,
    ) {
        self.scenario(names, "", scene);
    }

    fn scenario(
        &mut self,
        (chinese, english): (&'static str, &'static str),
        expected: &'static str,
        scene: impl AsyncFnOnce(&Lab) + Send,
    ) {
        if self.missing.is_some() || !is_wanted(english) {
            return;
        }
        let row = Row { chinese, english, expected, ..Row::default() };
        let row = Arc::new(Mutex::new(row));
        let shared = Arc::clone(&row);
        let run = |network: Arc<Network>, docker: Option<Arc<Engine>>| {
            let within = Arc::clone(&network);
            let enter = || async move {
                let lab = Lab::new(within, docker, shared).await;
                let done = tokio::time::timeout(super::lab::SCENARIO, scene(&lab)).await;
                assert!(done.is_ok(), "the scenario takes more than {:?}", super::lab::SCENARIO);
            };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| network.cloud.run_made(enter)))
        };
        let done = match &self.shared {
            Some((engine, network)) => run(Arc::clone(network), Some(Arc::clone(engine))),
            None => run(Arc::new(Network::new().expect("the first could be made")), None),
        };
        self.take(&row, done);
    }

    /// A group whose scenarios have a place of their own.
    pub(super) fn empty(title: &'static str) -> Self {
        Self { title, rows: Vec::new(), missing: None, shared: None, began: Instant::now() }
    }

    /// A line for a scenario in a place of its own.
    pub(super) fn row(
        &self,
        (chinese, english): (&'static str, &'static str),
        expected: &'static str,
    ) -> Arc<Mutex<Row>> {
        Arc::new(Mutex::new(Row { chinese, english, expected, ..Row::default() }))
    }

    /// Takes the line up when the scenario is done.
    pub(super) fn take(&mut self, row: &Mutex<Row>, done: Result<(), Box<dyn Any + Send>>) {
        let mut row = row.lock().unwrap_or_else(PoisonError::into_inner).clone();
        row.failure = done.err().map(said);
        self.rows.push(row);
    }

    /// Prints the table, and fails if a scenario did.
    pub(super) fn end(self) {
        if let Some(why) = self.missing {
            return println!("skipped: doctor, {}: {why}", self.title);
        }
        if self.rows.is_empty() {
            return;
        }
        println!("\n### {} ({:.0} s)\n", self.title, self.began.elapsed().as_secs_f64());
        println!("| 故障 / Fault | 首先指出 / Named first | ms | 修复 / Mended by |");
        println!("|---|---|---:|---|");
        for row in &self.rows {
            println!("{}", row.line());
        }
        let failed: Vec<String> = self.rows.iter().filter_map(Row::complaint).collect();
        assert!(
            failed.is_empty(),
            "{} of {} failed:\n{}",
            failed.len(),
            self.rows.len(),
            failed.join("\n")
        );
    }
}

impl Row {
    pub(super) fn expected(&self) -> &'static str {
        self.expected
    }

    fn line(&self) -> String {
        let named = match (&self.named, self.expected) {
            (Some(code), _) if code.is_empty() => "—".to_owned(),
            (Some(code), _) => format!("`{code}`"),
            (None, _) => "?".to_owned(),
        };
        let took = self.took.map_or_else(String::new, |took| took.as_millis().to_string());
        let cure = match (&self.cure, self.cured) {
            (_, true) if self.expected.is_empty() => String::new(),
            (Some(cure), true) => format!("✅ {cure}"),
            (Some(cure), false) => format!("❌ {cure}"),
            (None, _) => "❌".to_owned(),
        };
        let bad = if self.failure.is_some() { " ❌" } else { "" };
        format!("| {} / {}{bad} | {named} | {took} | {cure} |", self.chinese, self.english)
    }

    fn complaint(&self) -> Option<String> {
        let failure = self.failure.as_ref()?;
        Some(format!("--- {} ({}): {failure}", self.english, self.expected))
    }
}

/// `DINGBOT_SCENARIO` names a part of the scenarios to run.
pub(super) fn is_wanted(name: &str) -> bool {
    std::env::var("DINGBOT_SCENARIO").is_ok_and(|part| name.contains(&part))
        || std::env::var("DINGBOT_SCENARIO").is_err()
}

fn said(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            panic.downcast::<&str>().map_or_else(|_| "it panicked".into(), |it| (*it).to_owned())
        }
    }
}

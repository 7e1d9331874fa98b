//! Reading the configuration again, and putting it in force.

use std::sync::Arc;

use anyhow::Context;

use super::house::Furniture;
use super::raise_descriptor_limit;
use crate::config::changes::{changes, until_restart};
use crate::config::{self, Settings, Sources};
use crate::service::control::Report;
use crate::telemetry::clock::Clock;
use crate::telemetry::logging::LevelHandle;
use crate::telemetry::metrics::Metrics;

/// Reloads; the daemon has one.
pub(super) struct Reloader {
    sources: Arc<Sources>,
    /// What is in force.
    running: Settings,
    furniture: Furniture,
    level: LevelHandle,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Reloader {
    /// A reloader over what is in force; the start counts as the first reload.
    pub(super) fn new(
        sources: Sources,
        running: Settings,
        furniture: Furniture,
        level: LevelHandle,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reloader =
            Self { sources: Arc::new(sources), running, furniture, level, clock, metrics };
        reloader.succeeded();
        reloader
    }

    /// What is in force.
    pub(super) fn running(&self) -> &Settings {
        &self.running
    }

    /// Reads the configuration again and puts it in force if it is valid; else everything stays
    /// as it is.
    pub(super) async fn reload(&mut self) -> Report {
        let sources = Arc::clone(&self.sources);
        let report = match tokio::task::spawn_blocking(move || config::load(&sources)).await {
            Ok(Ok(loaded)) => self.apply(loaded),
            Ok(Err(problems)) => {
                Report::Invalid { problems: problems.iter().map(ToString::to_string).collect() }
            }
            Err(error) => Report::Failed { reason: error.to_string() },
        };
        match &report {
            Report::Applied { changed, needs_restart, warnings } => {
                self.succeeded();
                for warning in warnings {
                    tracing::warn!("configuration: {warning}");
                }
                tracing::info!(
                    changed = changed.join(" "),
                    needs_restart = needs_restart.join(" "),
                    "configuration reloaded"
                );
            }
            Report::Invalid { problems } => {
                self.metrics.config_last_reload_successful.set(0);
                for problem in problems {
                    tracing::error!(error_kind = "configuration", "configuration: {problem}");
                }
                tracing::error!(
                    problems = problems.len(),
                    error_kind = "configuration",
                    "configuration not reloaded: the settings stay as they were"
                );
            }
            Report::Failed { reason } => {
                self.metrics.config_last_reload_successful.set(0);
                tracing::error!(
                    error = reason,
                    error_kind = "configuration",
                    "configuration not reloaded: the settings stay as they were"
                );
            }
        }
        report
    }

    fn apply(&mut self, loaded: config::Loaded) -> Report {
        let found = changes(&self.running, &loaded.settings);
        let settings = until_restart(&self.running, loaded.settings);
        let applied = self.furniture.replace(&settings, &found.applicable).and_then(|()| {
            // Last, for it is the one step that cannot be prepared.
            let level = &settings.log.level;
            self.level.set_level(level).context("log.level")
        });
        if let Err(error) = applied {
            return Report::Failed { reason: format!("{error:#}") };
        }
        raise_descriptor_limit(&settings);
        self.running = settings;
        Report::Applied {
            changed: found.applicable,
            needs_restart: found.need_restart,
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        }
    }

    fn succeeded(&self) {
        self.metrics.config_last_reload_successful.set(1);
        let now = self.clock.now_millis() as f64 / 1_000.0;
        self.metrics.config_last_reload_success_timestamp.set(now);
    }
}

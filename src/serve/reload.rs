//! Reading the configuration again, and putting it in force.

use std::sync::Arc;
use std::time::Duration;

use super::house::Furniture;
use super::raise_descriptor_limit;
use crate::config::changes::{changes, until_restart};
use crate::config::{self, Settings, Sources};
use crate::service::control::Report;
use crate::telemetry::clock::Clock;
use crate::telemetry::logging::{self, LevelHandle};
use crate::telemetry::metrics::Metrics;

/// How long the configuration may take to be read, such as from a file system of the network.
const LONGEST_READ: Duration = Duration::from_secs(20);

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

    /// Reads the configuration again. Safe to drop: nothing has changed yet.
    pub(super) fn read(&self) -> impl Future<Output = Result<config::Loaded, Report>> + use<> {
        let sources = Arc::clone(&self.sources);
        async move {
            let reading = tokio::task::spawn_blocking(move || config::load(&sources));
            match tokio::time::timeout(LONGEST_READ, reading).await {
                Ok(Ok(Ok(loaded))) => Ok(loaded),
                Ok(Ok(Err(problems))) => Err(Report::Invalid {
                    problems: problems.iter().map(ToString::to_string).collect(),
                }),
                Ok(Err(error)) => Err(Report::Failed { reason: error.to_string() }),
                Err(_) => Err(Report::Failed {
                    reason: format!(
                        "the configuration could not be read within {} s; look at the file system \
                         it is on",
                        LONGEST_READ.as_secs()
                    ),
                }),
            }
        }
    }

    /// Puts in force what was read, if it is valid; else everything stays as it is.
    pub(super) fn conclude(&mut self, read: Result<config::Loaded, Report>) -> Report {
        let report = read.map_or_else(|report| report, |loaded| self.apply(loaded));
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
        // First what may fail.
        let level = match logging::filter(&settings.log.level) {
            Ok(level) => level,
            Err(error) => return Report::Failed { reason: format!("log.level {error}") },
        };
        if let Err(error) = self.furniture.replace(&settings, &found.applicable) {
            return Report::Failed { reason: format!("{error:#}") };
        }
        self.level.set(level);
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

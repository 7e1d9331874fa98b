//! What most commands begin with: the settings, and the store.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Runtime;

use super::check::{BAD_CONFIGURATION, report_problems};
use super::complaints;
use crate::config::{self, Settings, Sources};
use crate::llm::EmbeddingModel;
use crate::memory::meaning::{self, Meaning};
use crate::memory::{Memory, Parts};
use crate::service::control;
use crate::store::sqlite::{Options, SqliteStore};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// The store of the packaged service; its unit has `StateDirectory=dingbot`.
const SERVICE_STORE: &str = "/var/lib/dingbot/dingbot.db";
/// Its control socket; its unit has `RuntimeDirectory=dingbot`.
const SERVICE_SOCKET: &str = "/run/dingbot/control.sock";

/// The settings; or, with every problem on standard error, the exit code.
pub(super) fn settings(sources: &Sources) -> Result<Settings, ExitCode> {
    match config::load(sources) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let _ = writeln!(complaints::warnings(), "dingbot: warning: {warning}");
            }
            Ok(loaded.settings)
        }
        Err(problems) => Err(report_problems(&problems, &mut complaints::errors())
            .unwrap_or(ExitCode::from(BAD_CONFIGURATION))),
    }
}

/// The address at which a daemon that listens everywhere is reached from its own host.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        // A host without IPv6 serves `[::]` by IPv4, and every host serves both on it.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}

/// The store of the daemon that an operator means: the packaged service's when there is one and
/// neither configuration nor environment names another. An operator's shell has no
/// `$STATE_DIRECTORY`, and an empty store in a home directory would be the wrong answer.
fn store_path(settings: &Settings, sources: &Sources) -> PathBuf {
    let service = Path::new(SERVICE_STORE);
    // Root alone can look: for others the directory is closed, and the path does not exist.
    if settings.store.url.is_empty() && means_the_service(sources) && service.exists() {
        return service.to_owned();
    }
    config::state_path(settings, &sources.environment)
}

/// Where the model of the store that the daemon uses may be; the first is where it is imported to.
pub(super) fn model_places(sources: &Sources) -> Result<[PathBuf; 2], ExitCode> {
    let settings = settings(sources)?;
    Ok(meaning::places(&store_path(&settings, sources)))
}

/// The control socket of the daemon that an operator means: the one the unit names; the packaged
/// service's; else the one beside the store.
pub(super) fn control_socket(sources: &Sources) -> Result<PathBuf, ExitCode> {
    if let Some(path) = control::in_runtime_directory(&sources.environment) {
        return Ok(path);
    }
    let service = Path::new(SERVICE_SOCKET);
    if means_the_service(sources) && service.exists() {
        return Ok(service.to_owned());
    }
    let settings = settings(sources)?;
    Ok(control::path(&sources.environment, &store_path(&settings, sources)))
}

/// Whether nothing given to this command names another daemon than the packaged service.
fn means_the_service(sources: &Sources) -> bool {
    let names_another =
        |name: &str| matches!(name, "STATE_DIRECTORY" | "DATABASE_PATH" | "DINGBOT_STORE__URL");
    sources.file.is_none() && !sources.environment.iter().any(|(name, _)| names_another(name))
}

/// Settings, store and memory, for a command beside the daemon.
pub(super) struct Workplace {
    pub(super) settings: Settings,
    pub(super) store: Arc<SqliteStore>,
    pub(super) memory: Arc<Memory>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) runtime: Runtime,
}

impl Workplace {
    /// Opens the store that the daemon uses; both may at the same time. Without `create` a store
    /// that is not there is an error: an empty one would be the wrong answer.
    pub(super) fn open(sources: &Sources, create: bool) -> anyhow::Result<Result<Self, ExitCode>> {
        let settings = match settings(sources) {
            Ok(settings) => settings,
            Err(code) => return Ok(Err(code)),
        };
        let metrics = Arc::new(Metrics::new());
        let path = store_path(&settings, sources);
        let options = Options { create, ..Options::new(path.clone(), Arc::clone(&metrics)) };
        let store = Arc::new(SqliteStore::open(options)?);
        let kept: Arc<dyn crate::store::Store> = Arc::clone(&store) as _;
        let meaning = match EmbeddingModel::new(&settings.llm, Arc::clone(&metrics))? {
            Some(endpoint) => Some(Meaning::at(endpoint, Arc::clone(&kept))),
            None => Meaning::open(&meaning::places(&path), Arc::clone(&kept)),
        };
        // The model is the daemon's: what a command adds is kept in its own words.
        let parts = Parts {
            store: kept,
            metrics: Arc::clone(&metrics),
            clock: Clock::System,
            meaning,
            model: None,
            lessons: Arc::default(),
        };
        let memory = Arc::new(Memory::new(&settings.memory, parts));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        Ok(Ok(Self { settings, store, memory, metrics, runtime }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_reached_on_loopback() {
        let reached = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(reached("[::]:8080"), "127.0.0.1:8080");
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
    }
}

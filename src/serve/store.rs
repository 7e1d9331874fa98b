//! The store of the daemon: opened before everything else, closed after it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::store::StoreError;
use crate::store::sqlite::{Observer, Options, SqliteStore};
use crate::telemetry::health::{Health, Status};
use crate::telemetry::metrics::Metrics;

/// How long the store may take to write what waits and close.
const LONGEST_CLOSE: Duration = Duration::from_secs(10);

pub(super) async fn open(
    path: &Path,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) -> anyhow::Result<Arc<SqliteStore>> {
    let mut options = Options::new(path.to_owned(), Arc::clone(metrics));
    options.exclusive = true;
    options.observer = observer(Arc::clone(health));
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(options)).await?;
    health.set("store", Status::Ok, "messages are kept");
    Ok(Arc::new(opened?))
}

/// Tells health how it stands with the store, when that changes.
fn observer(health: Arc<Health>) -> Observer {
    let failing = AtomicBool::new(false);
    Arc::new(move |outcome: &Result<(), StoreError>| match outcome {
        Ok(()) => {
            if failing.swap(false, Ordering::AcqRel) {
                tracing::info!("the store can be written again");
                health.set("store", Status::Ok, "messages are kept");
            }
        }
        Err(error) => {
            if !failing.swap(true, Ordering::AcqRel) {
                tracing::error!(%error, error_kind = error.kind(), "the store cannot be written");
            }
            health.set("store", Status::Error, error.to_string());
        }
    })
}

/// Closes the store; every room that had it is gone by now.
pub(super) async fn close(store: Arc<SqliteStore>) {
    match Arc::try_unwrap(store) {
        Ok(store) => {
            let closing = tokio::task::spawn_blocking(move || store.close());
            match tokio::time::timeout(LONGEST_CLOSE, closing).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, error_kind = "store", "the store did not close well");
                }
                Err(_) => tracing::error!(
                    error_kind = "timeout",
                    "the disk does not answer; the store is left as it is"
                ),
            }
        }
        // A task that did not end in time holds it: nothing acknowledged is lost by that.
        Err(_) => tracing::warn!("the store is still in use; it is left to the system"),
    }
}

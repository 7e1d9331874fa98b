//! SQLite: what every engine must do, and what is its own.

mod opening;
mod plans;
mod upgrading;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Options, SqliteStore};
use crate::store::Store;
use crate::store::conformance::Engine;
use crate::telemetry::metrics::Metrics;

/// A folder of its own, with a store in it.
pub(super) struct Place {
    folder: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    fn options(&self) -> Options {
        Options::new(self.file(), Arc::new(Metrics::new()))
    }

    pub(super) fn store(&self) -> SqliteStore {
        SqliteStore::open(self.options()).unwrap()
    }
}

impl Engine for Place {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store())
    }
}

mod conformance {
    crate::store::conformance::every_case!(super::super::Place::new);
}

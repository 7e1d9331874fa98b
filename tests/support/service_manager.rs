//! The service manager's end of `sd_notify(3)`: a datagram socket that records what it is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::task::JoinHandle;

use super::record::Record;
use super::settings::Settings;

/// Listens for what a daemon tells; one per daemon.
#[derive(Debug)]
pub struct ServiceManager {
    folder: TempDir,
    /// The datagrams, each a list of `KEY=value` lines.
    pub told: Arc<Record<String>>,
    reader: JoinHandle<()>,
}

impl ServiceManager {
    /// Listens at a socket of its own.
    pub fn listen() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        let told = Arc::new(Record::default());
        let record = Arc::clone(&told);
        let reader = tokio::spawn(async move {
            let mut datagram = [0; 4096];
            while let Ok(length) = socket.recv(&mut datagram).await {
                record.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
            }
        });
        Self { folder, told, reader }
    }

    /// The variables that a unit's daemon finds: whom to tell, and its runtime directory.
    pub fn manages(&self, settings: Settings) -> Settings {
        let path = |path: PathBuf| path.to_str().expect("a temporary path is UTF-8").to_owned();
        settings
            .variable("NOTIFY_SOCKET", &path(self.folder.path().join("notify")))
            .variable("RUNTIME_DIRECTORY", &path(self.runtime_directory().to_owned()))
    }

    /// The unit's runtime directory.
    pub fn runtime_directory(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for a datagram, from the `from`th on, that has `field` as one of its lines, or begins
    /// one with it if it ends with `=`; its number and its text.
    pub async fn hears(&self, from: usize, field: &str) -> (usize, String) {
        let mut at = from;
        let has = |datagram: &String| {
            at += 1;
            let line =
                |line: &str| line == field || (field.ends_with('=') && line.starts_with(field));
            datagram.lines().any(line).then(|| (at, datagram.clone()))
        };
        let heard = self.told.find(from, super::PATIENCE, has).await;
        heard.unwrap_or_else(|| panic!("{field} was not told: {:?}", self.told.all()))
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

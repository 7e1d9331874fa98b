//! A signed apt repository with the package in it, as an operator's bucket or nginx serves it.

use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::Response;
use tempfile::TempDir;

use crate::host::{Host, outside};
use crate::package::{Package, printed};
use crate::support::server::{self, Body, Received, Server};

/// The repository, served to the machine until it is dropped.
#[derive(Debug)]
pub(crate) struct Repository {
    folder: TempDir,
    server: Server,
}

impl Repository {
    /// Publishes the packages, signed with a key of the repository's own.
    pub(crate) async fn publish(packages: &[Package]) -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let published = folder.path().join("published");
        let serving = published.clone();
        let handler = move |request| {
            let serving = serving.clone();
            async move { Some(file(&serving, &request)) }
        };
        let server = Server::start(outside(), handler).await;
        let repository = Self { folder, server };
        let publish = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/apt/publish");
        let mut publish = Command::new(publish);
        publish.env("GNUPGHOME", repository.keys());
        publish.args(["--url", &repository.origin()]).arg(published);
        publish.args(packages.iter().map(|package| &package.file));
        printed(&mut publish);
        repository
    }

    /// Makes the machine trust the repository and look into it, as its guide tells an operator.
    pub(crate) async fn add_to(&self, host: &Host) {
        let published = self.folder.path().join("published");
        for (name, at) in [
            ("dingbot-archive-keyring.gpg", "/usr/share/keyrings"),
            ("dingbot.sources", "/etc/apt/sources.list.d"),
        ] {
            let inside = host.machine.outside(&format!("{at}/{name}"));
            std::fs::copy(published.join(name), inside).expect("the script wrote it");
        }
        host.machine.succeeds("apt-get update --error-on=any").await;
    }

    /// Its address.
    pub(crate) fn origin(&self) -> String {
        self.server.origin()
    }

    /// Where the signing key is; none at first, and the script makes one.
    fn keys(&self) -> PathBuf {
        let home = self.folder.path().join("gnupg");
        if !home.exists() {
            std::fs::create_dir(&home).expect("the directory is new");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(&home, private).expect("it was just made");
        }
        home
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // The agent that gpg starts by itself.
        let mut kill = Command::new("gpgconf");
        let _ = kill.env("GNUPGHOME", self.keys()).args(["--kill", "all"]).output();
    }
}

/// The file a request asks for.
fn file(folder: &Path, request: &Received) -> Response<Body> {
    let path = request.path.trim_start_matches('/');
    match std::fs::read(folder.join(path)) {
        Ok(content) if !path.contains("..") => {
            server::whole(200, "application/octet-stream", content)
        }
        _ => server::whole(404, "text/plain", "no such file\n"),
    }
}

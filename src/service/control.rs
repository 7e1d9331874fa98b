//! The control socket: how `dingbot reload` reaches the running daemon and hears what came of it.
//!
//! A Unix socket that root and the daemon's own user may use. One line asks, one line of JSON
//! answers.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The one request there is.
const RELOAD: &str = "reload";
/// Longest request line, in bytes.
const LONGEST_REQUEST: u64 = 64;
/// Longest answer read, in bytes.
const LONGEST_ANSWER: u64 = 1024 * 1024;
/// How long a peer may take to say what it wants, or to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reload may take, from the asker's point of view.
const LONGEST_RELOAD: Duration = Duration::from_secs(30);
/// How long to rest when connections cannot be accepted.
const REST: Duration = Duration::from_secs(1);

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Report {
    /// The configuration is valid and in force, but for what needs a restart.
    Applied {
        /// Keys whose new value is in force.
        changed: Vec<String>,
        /// Keys whose new value waits for a restart.
        needs_restart: Vec<String>,
        /// What is allowed but hardly meant.
        warnings: Vec<String>,
    },
    /// The configuration is not valid; the settings are what they were.
    Invalid {
        /// Everything that is wrong, each with its place.
        problems: Vec<String>,
    },
    /// The configuration is valid, but could not be put in force; the settings are what they were.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Somebody asks for a reload, and waits for the report.
pub type Request = oneshot::Sender<Report>;

/// Where the socket of a daemon is: in the first directory of `$RUNTIME_DIRECTORY`, else beside the
/// store, whose name it has with `.sock` behind it: no two stores share one.
pub fn path(environment: &[(String, String)], store: &Path) -> PathBuf {
    in_runtime_directory(environment).unwrap_or_else(|| {
        let mut path = store.as_os_str().to_owned();
        path.push(".sock");
        path.into()
    })
}

/// The socket in the first directory of `$RUNTIME_DIRECTORY` (systemd's list has colons), if there
/// is one.
pub fn in_runtime_directory(environment: &[(String, String)]) -> Option<PathBuf> {
    let (_, list) = environment.iter().find(|(name, _)| name == "RUNTIME_DIRECTORY")?;
    let first = list.split(':').next().filter(|first| !first.is_empty())?;
    Some(Path::new(first).join("control.sock"))
}

/// The daemon's end; the socket goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Gone already when the unit's runtime directory is; and what is there now may be another
        // daemon's.
        let mine = |found: &Metadata| found.ino() == self.inode;
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| mine(&found)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl ControlSocket {
    /// Listens at `path`. A socket that an earlier daemon left there is removed. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// Somebody listens there, something else than a socket is there, or the system's reason.
    pub fn bind(path: PathBuf) -> io::Result<Self> {
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file there"));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(&path).is_ok() => {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon has it"));
            }
            Ok(_) => std::fs::remove_file(&path)?,
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let inode = std::fs::symlink_metadata(&path)?.ino();
        Ok(Self { listener, path, inode })
    }

    /// Passes requests on until `stop`, one after the other.
    pub async fn run(self, requests: mpsc::Sender<Request>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let served = match accepted {
                Ok((stream, _)) => serve(stream, &requests).await,
                Err(error) => {
                    tokio::time::sleep(REST).await;
                    Err(error)
                }
            };
            if let Err(error) = served {
                tracing::warn!(%error, error_kind = "io", "a request on the control socket failed");
            }
        }
    }
}

async fn serve(stream: UnixStream, requests: &mpsc::Sender<Request>) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("user {peer} may not use it")));
    }
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    timeout(PATIENCE, (&mut stream).take(LONGEST_REQUEST).read_line(&mut line)).await??;
    if line.trim_end() != RELOAD {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an unknown request"));
    }
    let (request, report) = oneshot::channel();
    let stopping = || Report::Failed { reason: "the daemon is stopping".into() };
    let report = match requests.send(request).await {
        Ok(()) => report.await.unwrap_or_else(|_| stopping()),
        Err(_) => stopping(),
    };
    let mut answer = serde_json::to_string(&report)?;
    answer.push('\n');
    timeout(PATIENCE, stream.get_mut().write_all(answer.as_bytes())).await?
}

/// Asks the daemon at `path` to reload, and waits for its report.
///
/// # Errors
/// `NotFound` and `ConnectionRefused`: no daemon is there. `UnexpectedEof`: it ended meanwhile, or
/// refused to be asked.
pub async fn reload(path: &Path) -> io::Result<Report> {
    let ask = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(format!("{RELOAD}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LONGEST_ANSWER).read_to_string(&mut answer).await?;
        if answer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    };
    timeout(LONGEST_RELOAD, ask).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_in_the_runtime_directory_or_beside_the_store() {
        let store = Path::new("/data/dingbot.db");
        let runtime = |list: &str| vec![("RUNTIME_DIRECTORY".to_owned(), list.to_owned())];
        let there = path(&runtime("/run/dingbot:/run/other"), store);
        assert_eq!(there, Path::new("/run/dingbot/control.sock"));
        assert_eq!(path(&[], store), Path::new("/data/dingbot.db.sock"));
        assert_eq!(path(&runtime(""), store), Path::new("/data/dingbot.db.sock"));
    }

    #[tokio::test]
    async fn a_request_is_answered_with_its_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        // Left by an earlier daemon that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = ControlSocket::bind(path.clone()).unwrap();
        let (requests, mut asked) = mpsc::channel::<Request>(1);
        let stop = CancellationToken::new();
        let running = tokio::spawn(socket.run(requests, stop.clone()));
        // Nonsense, and a peer that leaves, are survived.
        UnixStream::connect(&path).await.unwrap().write_all(b"dance\n").await.unwrap();
        drop(UnixStream::connect(&path).await.unwrap());
        let expected = Report::Invalid { problems: vec!["a.toml:3: llm.model: no".into()] };
        let told = expected.clone();
        let answering = async { asked.recv().await.unwrap().send(told).unwrap() };
        let (report, ()) = tokio::join!(reload(&path), answering);
        assert_eq!(report.unwrap(), expected);
        stop.cancel();
        running.await.unwrap();
        assert!(!path.exists());
        assert_eq!(reload(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn what_is_somebody_else_s_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bot.sock");
        std::fs::write(&file, "an operator's").unwrap();
        assert!(ControlSocket::bind(file.clone()).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"an operator's");

        let path = folder.path().join("control.sock");
        let first = ControlSocket::bind(path.clone()).unwrap();
        let second = ControlSocket::bind(path.clone()).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        std::fs::remove_file(&path).unwrap();
        let third = ControlSocket::bind(path.clone()).unwrap();
        drop(first);
        assert!(path.exists(), "it is the third one's");
        drop(third);
        assert!(!path.exists());
    }
}

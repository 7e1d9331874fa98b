//! SQLite behind the store: one file, one writing thread, a few reading ones.

mod conversation;
mod inbox;
mod memories;
mod outbox;
mod readers;
mod reminders;
mod schema;
mod writer;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use self::readers::Readers;
use self::writer::Writer;
use super::{OpenError, Result, Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// Threads that read.
const READERS: usize = 2;
/// Most writes in one transaction, so that the first of them does not wait for ever.
const MAX_BATCH: usize = 256;

/// Told after each transaction whether the store could be written.
pub type Observer = Arc<dyn Fn(&Result<()>) + Send + Sync>;

/// How the file is opened.
#[derive(Clone)]
pub struct Options {
    /// The file; it and its folder are made if they are not there.
    pub path: PathBuf,
    /// Refuse the file while another holder of the lock works on it: the daemon does, a command
    /// that lists something does not.
    pub exclusive: bool,
    /// Most writes in one transaction; 1 only to measure what sharing one gains.
    pub max_batch: usize,
    /// Told of every transaction.
    pub observer: Observer,
    /// Counts transactions.
    pub metrics: Arc<Metrics>,
}

impl Options {
    /// The usual way, for a command beside the daemon.
    pub fn new(path: PathBuf, metrics: Arc<Metrics>) -> Self {
        let observer: Observer = Arc::new(|_| {});
        Self { path, exclusive: false, max_batch: MAX_BATCH, observer, metrics }
    }
}

/// A store in a SQLite file.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    threads: Vec<JoinHandle<()>>,
    /// Held as long as the store is open; the system lets go of it when the process ends.
    lock: Option<File>,
}

impl SqliteStore {
    /// Opens the file and brings its layout up to date. Blocks; the file of another program, a
    /// damaged one or a newer one is left as it is.
    pub fn open(options: Options) -> std::result::Result<Self, OpenError> {
        let path = options.path.as_path();
        make_folder(path)?;
        let lock = if options.exclusive { Some(lock(path)?) } else { None };
        let failed = |e| open_error(path, e);
        let mut connection = Connection::open(path).map_err(failed)?;
        restrict(path);
        schema::check(&connection, path)?;
        schema::configure(&connection).map_err(failed)?;
        schema::migrate(&mut connection).map_err(failed)?;
        // Fails here, not at the first message, if the file is read-only.
        connection
            .execute_batch("BEGIN IMMEDIATE; DELETE FROM probe; ROLLBACK;")
            .map_err(failed)?;
        let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connections = (0..READERS)
            .map(|_| {
                let reader = Connection::open_with_flags(path, read_only)?;
                reader.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -2000;")?;
                Ok(reader)
            })
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(failed)?;
        let thread_failed =
            |e: std::io::Error| OpenError::Failed { path: path.into(), reason: e.to_string() };
        let (writer, write_thread) =
            Writer::start(connection, options.max_batch, options.metrics, options.observer)
                .map_err(thread_failed)?;
        let (readers, mut threads) = Readers::start(connections).map_err(thread_failed)?;
        threads.push(write_thread);
        Ok(Self { writer, readers, threads, lock })
    }

    /// Writes what waits and closes the file. Blocks.
    pub fn close(self) {
        let Self { writer, readers, threads, lock } = self;
        drop((writer, readers));
        for thread in threads {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        drop(lock);
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn probe(&self) -> Result<()> {
        self.writer
            .write(|c| {
                c.execute(
                    "INSERT INTO probe VALUES (1, unixepoch()) \
                     ON CONFLICT DO UPDATE SET at = excluded.at",
                    [],
                )
                .map(|_| ())
            })
            .await
    }

    async fn verify(&self) -> Result<()> {
        let verdict: String =
            self.readers.read(|c| c.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))).await?;
        if verdict == "ok" { Ok(()) } else { Err(StoreError::Corrupt(verdict)) }
    }
}

/// Makes the folder, for this user alone: it will hold what people said.
fn make_folder(path: &Path) -> std::result::Result<(), OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| OpenError::NotWritable { path: path.into(), reason: e.to_string() })
}

/// Lets only this user read the file. SQLite gives its log and index the same mode.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Err(e) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
        tracing::warn!(path = %path.display(), error = %e, "cannot restrict the store to this user");
    }
}

/// Takes the lock beside the file, which says that one daemon works on it.
fn lock(path: &Path) -> std::result::Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let refused =
        |e: std::io::Error| OpenError::NotWritable { path: path.into(), reason: e.to_string() };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(PathBuf::from(name))
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".into() } else { pid.trim().into() };
            return Err(OpenError::InUse { path: path.into(), pid });
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(refused(e)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(refused)?;
    Ok(file)
}

fn open_error(path: &Path, error: rusqlite::Error) -> OpenError {
    let reason = error.to_string();
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Corrupt { path, reason }
        }
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure,
        ) => OpenError::NotWritable { path, reason },
        _ => OpenError::Failed { path, reason },
    }
}

fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt(error.to_string())
        }
        _ => StoreError::Failed(error.to_string()),
    }
}

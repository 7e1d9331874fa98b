//! SQLite behind the store: one file, one writing thread, a few reading ones.

mod conversation;
mod file;
mod inbox;
mod jobs;
mod keys;
mod memories;
mod outbox;
mod owners;
mod readers;
mod reminders;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use self::file::Log;
use self::readers::Readers;
use self::writer::Writer;
use super::{OpenError, Result, Room, Store, StoreError};
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
    /// The file.
    pub path: PathBuf,
    /// Make the file and its folder if they are not there; what only reads does not.
    pub create: bool,
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
        Self { path, create: true, exclusive: false, max_batch: MAX_BATCH, observer, metrics }
    }
}

/// A store in a SQLite file. Dropping it writes what waits and closes the file, which blocks.
pub struct SqliteStore {
    // Dropped in this order: the last connection to go empties the log into the file, which a
    // reader cannot; and the lock holds until that is done.
    readers: Readers,
    writer: Writer,
    indexes: Arc<memories::Indexes>,
    path: PathBuf,
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the file and brings its layout up to date. Blocks; the file of another program, a
    /// damaged one or a newer one is left as it is.
    pub fn open(options: Options) -> std::result::Result<Self, OpenError> {
        let path = file::find(&options.path, options.create)?;
        let path = path.as_path();
        let failed = |e| open_error(path, e);
        let log = file::inspect(path)?;
        let read_write = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, read_write).map_err(failed)?;
        // A file that is refused keeps its log.
        let keep_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(keep_log, log == Log::Filled).map_err(failed)?;
        schema::check(&connection, path)?;
        let lock = if options.exclusive { Some(file::lock(path)?) } else { None };
        connection.set_db_config(keep_log, false).map_err(failed)?;
        file::restrict(path);
        schema::configure(&connection, path)?;
        schema::migrate(&mut connection).map_err(failed)?;
        // Fails here, not at the first message, if the file is read-only.
        connection
            .execute_batch("BEGIN IMMEDIATE; DELETE FROM probe; ROLLBACK;")
            .map_err(failed)?;
        let connections = (0..READERS)
            .map(|_| open_reader(path))
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(failed)?;
        let thread_failed =
            |e: std::io::Error| OpenError::Failed { path: path.into(), reason: e.to_string() };
        let writer =
            Writer::start(connection, options.max_batch, options.metrics, options.observer)
                .map_err(thread_failed)?;
        let readers = Readers::start(connections).map_err(thread_failed)?;
        let indexes = Arc::default();
        Ok(Self { readers, writer, indexes, path: path.to_owned(), _lock: lock })
    }

    /// Writes what waits and closes the file. Blocks.
    pub fn close(self) {}
}

/// How a store is that nobody works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// No damage was found.
    Intact,
    /// A process that was killed has left what is not in the file yet; the next start brings it in.
    Unfinished,
}

/// Reads a store that nobody works on for damage, changing no byte of it. Blocks, for as long as it
/// takes to read the file.
pub fn examine(path: &Path) -> std::result::Result<Condition, OpenError> {
    let path = file::find(path, false)?;
    if file::inspect(&path)? == Log::Filled {
        return Ok(Condition::Unfinished);
    }
    match quick_check(&file::open_untouched(&path)?) {
        Ok(verdict) if verdict == "ok" => Ok(Condition::Intact),
        Ok(reason) => Err(OpenError::Corrupt { path, reason }),
        Err(e) => Err(open_error(&path, e)),
    }
}

/// `ok`, or the first damage that is found.
fn quick_check(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, read_only)?;
    reader.execute_batch(
        "PRAGMA busy_timeout = 5000; PRAGMA cache_size = -2000; PRAGMA temp_store = MEMORY;",
    )?;
    reader.set_prepared_statement_cache_capacity(schema::STATEMENTS);
    schema::add_functions(&reader)?;
    Ok(reader)
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

    async fn heartbeat(&self) -> Result<()> {
        self.writer.heartbeat().await
    }

    async fn verify(&self) -> Result<()> {
        let verdict = self.readers.read(quick_check).await?;
        if verdict == "ok" { Ok(()) } else { Err(StoreError::Corrupt(verdict)) }
    }

    async fn room(&self) -> Result<Room> {
        let path = self.path.clone();
        let asked = tokio::task::spawn_blocking(move || file::room(&path)).await;
        asked
            .map_err(|error| StoreError::Failed(error.to_string()))?
            .map_err(|error| StoreError::Failed(format!("its disk cannot be asked: {error}")))
    }
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
            | ErrorCode::SystemIoFailure,
        ) => OpenError::NotWritable { path, reason },
        Some(ErrorCode::DiskFull) => OpenError::Full { path },
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

//! The one thread that writes: writes that come together share a transaction, and so one wait for
//! the disk.

use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Observer, store_error};
use crate::store::{Result, StoreError};
use crate::telemetry::metrics::Metrics;

/// Writes that may wait for the thread; past it a caller waits.
const QUEUE: usize = 4_096;

/// A write on its way through the thread: run, then told what became of the transaction.
trait Write: Send {
    /// Runs inside a savepoint: a write that fails changes nothing and does not disturb those it
    /// shares the transaction with.
    fn run(&mut self, connection: &mut Connection) -> Result<()>;
    /// Tells the caller.
    fn finish(self: Box<Self>, committed: &Result<()>);
}

struct Job<F, T> {
    job: Option<F>,
    value: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<F, T> Write for Job<F, T>
where
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, connection: &mut Connection) -> Result<()> {
        let Some(job) = self.job.take() else { return Ok(()) };
        let ran = connection.savepoint().and_then(|savepoint| {
            let value = job(&savepoint)?;
            savepoint.commit()?;
            Ok(value)
        });
        let ran = ran.map_err(|e| store_error(&e));
        let outcome = ran.as_ref().map(|_| ()).map_err(Clone::clone);
        self.value = Some(ran);
        outcome
    }

    fn finish(self: Box<Self>, committed: &Result<()>) {
        let result = match (committed, self.value) {
            (Ok(()), Some(value)) | (Err(_), Some(value @ Err(_))) => value,
            (Err(e), _) => Err(e.clone()),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // The caller may have gone: the write stands all the same.
        let _ = self.caller.send(result);
    }
}

/// The way to the writing thread.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Write>>,
}

impl Writer {
    /// Starts the thread. It ends when every `Writer` is gone, after it has written what waits.
    pub(super) fn start(
        connection: Connection,
        max_batch: usize,
        metrics: Arc<Metrics>,
        observer: Observer,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, writes) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(connection, writes, max_batch.max(1), &metrics, &observer))?;
        Ok((Self { queue }, thread))
    }

    /// Runs a write and returns once it is on disk.
    pub(super) async fn write<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (caller, outcome) = oneshot::channel();
        let write = Job { job: Some(job), value: None, caller };
        self.queue.send(Box::new(write)).await.map_err(|_| StoreError::Closed)?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }
}

fn run(
    mut connection: Connection,
    mut writes: mpsc::Receiver<Box<dyn Write>>,
    max_batch: usize,
    metrics: &Metrics,
    observer: &Observer,
) {
    let mut batch = Vec::new();
    while writes.blocking_recv_many(&mut batch, max_batch) > 0 {
        let (committed, health) = transaction(&mut connection, &mut batch);
        let outcome = if committed.is_ok() { "ok" } else { "error" };
        metrics.store_commits.with_label_values(&[outcome]).inc();
        metrics.store_commit_jobs.observe(batch.len() as f64);
        observer(&health);
        for write in batch.drain(..) {
            write.finish(&committed);
        }
    }
    // Leaves no write-ahead log behind; a failure costs the next start a moment, nothing else.
    let _ = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);");
}

/// Runs writes in one transaction; returns whether it was committed, and the worst that was seen,
/// which may be the failure of a single write.
fn transaction(
    connection: &mut Connection,
    batch: &mut [Box<dyn Write>],
) -> (Result<()>, Result<()>) {
    if let Err(e) = connection.execute_batch("BEGIN IMMEDIATE") {
        let error = store_error(&e);
        return (Err(error.clone()), Err(error));
    }
    let mut seen = Ok(());
    for write in batch {
        let ran = write.run(connection);
        // A full or failing disk makes SQLite roll the whole transaction back on its own
        // (sqlite.org/lang_transaction.html §3.1): what follows must not run outside of one.
        if connection.is_autocommit() {
            let error = ran.err().unwrap_or(StoreError::Full);
            return (Err(error.clone()), Err(error));
        }
        if seen.is_ok() {
            seen = ran;
        }
    }
    if let Err(e) = connection.execute_batch("COMMIT") {
        if !connection.is_autocommit() {
            // Nothing to be done if this fails too: the next BEGIN says so.
            let _ = connection.execute_batch("ROLLBACK");
        }
        let error = store_error(&e);
        return (Err(error.clone()), Err(error));
    }
    (Ok(()), seen)
}

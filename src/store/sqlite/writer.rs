//! The one thread that writes: writes that come together share a transaction, and so one wait for
//! the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Observer, store_error};
use crate::store::{Result, StoreError};
use crate::telemetry::metrics::Metrics;

/// Writes that may wait for the thread; past it a caller waits.
const QUEUE: usize = 4_096;

/// A write on its way through the thread: run, then told what became of the transaction.
trait Write: Send {
    /// Runs inside a savepoint: a write that fails changes nothing and does not disturb those it
    /// shares the transaction with. Returns what the outcome says of the store.
    fn run(&mut self, connection: &mut Connection) -> Result<()>;
    /// Tells the caller.
    fn finish(self: Box<Self>, committed: &Result<()>);
    /// Whether there is something to write.
    fn writes(&self) -> bool {
        true
    }
}

/// Has the thread come by, though there is nothing to write.
struct Nudge;

impl Write for Nudge {
    fn run(&mut self, _: &mut Connection) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Result<()>) {}

    fn writes(&self) -> bool {
        false
    }
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
        // A panic would end the thread, and with it every write to come. The savepoint is rolled
        // back as the stack unwinds.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let savepoint = connection.savepoint()?;
            let value = job(&savepoint)?;
            savepoint.commit()?;
            Ok(value)
        }));
        let (value, of_the_store) = match ran {
            Ok(Ok(value)) => (Ok(value), Ok(())),
            Ok(Err(e)) => {
                let error = store_error(&e);
                let of_the_store = if is_fault(&e) { Err(error.clone()) } else { Ok(()) };
                (Err(error), of_the_store)
            }
            Err(_) => (Err(StoreError::Failed("a write panicked".into())), Ok(())),
        };
        self.value = Some(value);
        of_the_store
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

/// Whether an error tells of the store, not of the one write that met it.
fn is_fault(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        None | Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}

/// The way to the writing thread, which ends with it. Dropping it blocks until what waits is
/// written and the file is closed.
pub(super) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Box<dyn Write>>>,
    thread: Option<JoinHandle<()>>,
    /// Batches gone through.
    rounds: watch::Sender<u64>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        connection: Connection,
        max_batch: usize,
        metrics: Arc<Metrics>,
        observer: Observer,
    ) -> std::io::Result<Self> {
        let (queue, writes) = mpsc::channel(QUEUE);
        let rounds = watch::Sender::new(0);
        let counted = rounds.clone();
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            run(connection, writes, max_batch.max(1), &counted, &metrics, &observer);
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), rounds })
    }

    /// Writes that wait for the thread.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Runs a write and returns once it is on disk. A caller that goes away once the write is
    /// queued does not stop it.
    pub(super) async fn write<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (caller, outcome) = oneshot::channel();
        self.send(Job { job: Some(job), value: None, caller }).await?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns once the thread has gone through another batch, whatever became of it. A long queue
    /// is no obstacle: what counts is that it moves.
    pub(super) async fn heartbeat(&self) -> Result<()> {
        let mut rounds = self.rounds.subscribe();
        let moved = async { rounds.changed().await.map_err(|_| StoreError::Closed) };
        let nudged = async {
            self.send(Nudge).await?;
            std::future::pending().await
        };
        tokio::select! {
            moved = moved => moved,
            closed = nudged => closed,
        }
    }

    async fn send(&self, write: impl Write + 'static) -> Result<()> {
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(Box::new(write)).await.map_err(|_| StoreError::Closed)
    }
}

fn run(
    mut connection: Connection,
    mut writes: mpsc::Receiver<Box<dyn Write>>,
    max_batch: usize,
    rounds: &watch::Sender<u64>,
    metrics: &Metrics,
    observer: &Observer,
) {
    let mut batch = Vec::new();
    while writes.blocking_recv_many(&mut batch, max_batch) > 0 {
        if !batch.iter().any(|write| write.writes()) {
            // An empty transaction would say nothing of the disk, and must not be taken for a word.
            batch.clear();
            rounds.send_modify(|rounds| *rounds += 1);
            continue;
        }
        let (committed, health) = transaction(&mut connection, &mut batch);
        let outcome = if committed.is_ok() { "ok" } else { "error" };
        metrics.store_commits.with_label_values(&[outcome]).inc();
        metrics.store_commit_jobs.observe(batch.len() as f64);
        observer(&health);
        for write in batch.drain(..) {
            write.finish(&committed);
        }
        rounds.send_modify(|rounds| *rounds += 1);
    }
    // Leaves no write-ahead log behind; a failure costs the next start a moment, nothing else.
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

/// Runs writes in one transaction; returns whether it was committed, and how it stands with the
/// store, which may be known from a single write.
fn transaction(
    connection: &mut Connection,
    batch: &mut [Box<dyn Write>],
) -> (Result<()>, Result<()>) {
    if !connection.is_autocommit() {
        // An earlier rollback failed. If this one does too, BEGIN says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
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
            let gone = || StoreError::Failed("the transaction was rolled back".into());
            let error = ran.err().unwrap_or_else(gone);
            return (Err(error.clone()), Err(error));
        }
        if seen.is_ok() {
            seen = ran;
        }
    }
    if let Err(e) = connection.execute_batch("COMMIT") {
        if !connection.is_autocommit() {
            // If this fails too, it is tried again before the next transaction.
            let _ = connection.execute_batch("ROLLBACK");
        }
        let error = store_error(&e);
        return (Err(error.clone()), Err(error));
    }
    (Ok(()), seen)
}

//! The threads that read: a reader never waits for the writer, nor the writer for a reader.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{mpsc, oneshot};

use super::store_error;
use crate::store::{Result, StoreError};

/// Reads that may wait for a thread; past it a caller waits.
const QUEUE: usize = 256;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the reading threads, which end with it. Dropping it breaks off what they read.
pub(super) struct Readers {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Read>>,
    threads: Vec<(InterruptHandle, JoinHandle<()>)>,
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for (interrupt, thread) in self.threads.drain(..) {
            // Whoever asked has gone; a check of the whole file would go on for minutes.
            interrupt.interrupt();
            let _ = thread.join();
        }
    }
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let (queue, reads) = mpsc::channel::<Read>(QUEUE);
        let reads = Arc::new(Mutex::new(reads));
        let threads = connections
            .into_iter()
            .map(|connection| {
                let interrupt = connection.get_interrupt_handle();
                let reads = Arc::clone(&reads);
                let thread =
                    std::thread::Builder::new().name("store-reader".into()).spawn(move || {
                        while let Some(read) = next(&reads) {
                            // A panic would end the thread; the caller hears of it, for its end
                            // of the channel is dropped.
                            let _ = catch_unwind(AssertUnwindSafe(|| read(&connection)));
                        }
                    })?;
                Ok((interrupt, thread))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { queue: Some(queue), threads })
    }

    /// Runs a query on one of the threads.
    pub(super) async fn read<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (done, outcome) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            if done.is_closed() {
                // The caller has gone while this waited.
                return;
            }
            let _ = done.send(job(connection).map_err(|e| store_error(&e)));
        });
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(read).await.map_err(|_| StoreError::Closed)?;
        outcome.await.map_err(|_| StoreError::Failed("a read ended without an answer".into()))?
    }
}

/// Waits for the next read; one thread at a time waits, the others behind the lock.
fn next(reads: &Mutex<mpsc::Receiver<Read>>) -> Option<Read> {
    reads.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

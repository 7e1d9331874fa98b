//! The threads that read: a reader never waits for the writer, nor the writer for a reader.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::store_error;
use crate::store::{Result, StoreError};

/// Reads under way or waiting for a thread; past it a caller waits.
const QUEUE: usize = 256;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the reading threads.
#[derive(Clone)]
pub(super) struct Readers {
    queue: SyncSender<Read>,
    places: Arc<Semaphore>,
}

impl Readers {
    /// Starts a thread for each connection; they end when every `Readers` is gone.
    pub(super) fn start(
        connections: Vec<Connection>,
    ) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (queue, reads) = sync_channel::<Read>(QUEUE);
        let reads = Arc::new(Mutex::new(reads));
        let threads = connections
            .into_iter()
            .map(|connection| {
                let reads = Arc::clone(&reads);
                std::thread::Builder::new().name("store-reader".into()).spawn(move || {
                    while let Some(read) = next(&reads) {
                        read(&connection)
                    }
                })
            })
            .collect::<std::io::Result<_>>()?;
        Ok((Self { queue, places: Arc::new(Semaphore::new(QUEUE)) }, threads))
    }

    /// Runs a query on one of the threads.
    pub(super) async fn read<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let _place = self.places.acquire().await.map_err(|_| StoreError::Closed)?;
        let (done, outcome) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            // The caller may have gone.
            let _ = done.send(job(connection).map_err(|e| store_error(&e)));
        });
        // There is room: each place is one slot of the queue.
        self.queue.try_send(read).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Failed("too many reads at a time".into()),
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }
}

/// Waits for the next read; one thread at a time waits, the others behind the lock.
fn next(reads: &Mutex<Receiver<Read>>) -> Option<Read> {
    reads.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

//! The queue between those who log and the one thread that writes, and that thread.
//!
//! Bounded, and nobody waits for a place in it: a line that finds it full is dropped and counted.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::record::Record;

/// How often a full queue is tried again when the writer is to be told to end.
const AGAIN: Duration = Duration::from_millis(10);

/// Where lines are written.
pub(super) trait Sink {
    /// Writes a line; an error: it is lost.
    fn write(&mut self, record: &Record) -> io::Result<()>;
}

/// The near end: takes lines.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    work: SyncSender<Work>,
    dropped: IntCounter,
}

/// The far end: the lines that wait.
#[derive(Debug)]
pub(super) struct FarEnd {
    waiting: Receiver<Work>,
    dropped: IntCounter,
}

#[derive(Debug)]
enum Work {
    /// Boxed, for the queue has its full size from the start.
    Write(Box<Record>),
    /// Everything before was written: say so, and end.
    End(SyncSender<()>),
}

impl Queue {
    /// A queue with room for `places` lines, and its far end. What finds no place, or cannot be
    /// written, is counted in `dropped`.
    pub(super) fn new(places: usize, dropped: IntCounter) -> (Self, FarEnd) {
        let (work, waiting) = mpsc::sync_channel(places);
        (Self { work, dropped: dropped.clone() }, FarEnd { waiting, dropped })
    }

    /// Puts a line in, if there is room.
    pub(super) fn put(&self, record: Record) {
        if self.work.try_send(Work::Write(Box::new(record))).is_err() {
            self.dropped.inc();
        }
    }

    /// Waits until everything put in so far is written, at most for `limit`, and ends the thread;
    /// `false`: there was more than could be written in that time.
    pub(super) fn finish(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let (done, written) = mpsc::sync_channel(1);
        let mut end = Work::End(done);
        loop {
            match self.work.try_send(end) {
                Ok(()) => break,
                Err(TrySendError::Full(again)) if Instant::now() < deadline => end = again,
                Err(_) => return false,
            }
            // Nothing can come yet: a rest.
            let _ = written.recv_timeout(AGAIN);
        }
        written.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

impl FarEnd {
    /// Starts the thread that writes to what `open` opens. `report` is told how many lines were
    /// lost as soon as lines can be written again.
    pub(super) fn start<S: Sink>(
        self,
        open: impl FnOnce() -> S + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<()> {
        let thread = thread::Builder::new().name("dingbot-log".into());
        thread.spawn(move || self.write_to(open(), report)).map(drop)
    }

    fn write_to(self, mut sink: impl Sink, report: impl Fn(u64)) {
        let mut reported = 0;
        // Whether there is somebody to report to: the report is a line itself.
        let mut writable = true;
        loop {
            let work = match self.waiting.try_recv() {
                Ok(work) => work,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    let lost = self.dropped.get() - reported;
                    if lost > 0 && writable {
                        reported += lost;
                        report(lost);
                    }
                    match self.waiting.recv() {
                        Ok(work) => work,
                        Err(_) => return,
                    }
                }
            };
            match work {
                Work::Write(record) => writable = self.write(&mut sink, &record),
                Work::End(done) => {
                    // What this thread had to say of its output may have come after the end of a
                    // process that was over at once.
                    while let Ok(Work::Write(record)) = self.waiting.try_recv() {
                        self.write(&mut sink, &record);
                    }
                    // Whoever asked may have stopped waiting.
                    let _ = done.try_send(());
                    return;
                }
            }
        }
    }

    /// Whether the line was written; one that was not is counted.
    fn write(&self, sink: &mut impl Sink, record: &Record) -> bool {
        // A line that cannot be formatted must not silence all others.
        let written = catch_unwind(AssertUnwindSafe(|| sink.write(record)));
        let written = matches!(written, Ok(Ok(())));
        if !written {
            self.dropped.inc();
        }
        written
    }
}

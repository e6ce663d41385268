//! The log writer: everything that changes the log or the vote goes through one queue and one thread.
//!
//! All appends that wait become one frame and one fdatasync, then their callbacks complete: the slower the disk, the more
//! entries share a sync. Votes, truncation and purges are taken in their place of the queue, behind a sync of what came
//! before, as Raft wants its writes in order. With durability `interval` core appends by itself: see `log_store`.
//!
//! ```text
//!   queue:  A A A V A A S        A append, V vote, S sync
//!           [frame+sync][vote][frame+sync]
//! ```
//!
//! After a write or sync that failed nothing is written any more and every request fails: what is on disk is in doubt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{io, thread};

use openraft::storage::IOFlushed;
use perigee_log::{Anchor, Meta, Record};
use perigee_runtime::Clock;
use perigee_telemetry::trace;
use perigee_types::LogIndex;
use tokio::sync::{mpsc, oneshot};

use crate::log_store::Shared;
use crate::pace::Pace;
use crate::raft_types::{LogId, TypeConfig, term_of, to_index};

/// Payload bytes from which waiting entries are written without looking for more.
const FRAME_BYTES: usize = 4 << 20;
/// Between two looks at who has come.
const SLICE: Duration = Duration::from_micros(40);
/// Requests taken from the queue at once.
const TAKE: usize = 4096;

type Done = oneshot::Sender<io::Result<()>>;

/// A request to the writer.
pub(crate) enum Work {
    /// Write these records; `done` completes when they are durable.
    Append { records: Vec<Record>, bytes: usize, done: IOFlushed<TypeConfig> },
    /// Store the vote, durably.
    Vote { vote: Vec<u8>, done: Done },
    /// Drop the records behind `after`.
    Truncate { after: LogIndex, done: Done },
    /// Drop the records up to `upto`.
    Purge { upto: LogId, done: Done },
    /// Sync what was written.
    Sync { done: Option<Done> },
    /// Keep the chain hash of this record.
    Anchor { index: LogIndex },
    /// Sync, close the log, end.
    Close { done: Done },
}

/// The writing side of the queue.
#[derive(Clone)]
pub(crate) struct WriterQueue(mpsc::UnboundedSender<Work>);

impl WriterQueue {
    /// A queue and what the writer takes from. Unbounded: what may wait in it is bounded by the proposals in flight.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Work>) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(tx), rx)
    }

    /// Hands over `work`; when the writer is gone, `work` is dropped and with it its callback.
    pub(crate) fn send(&self, work: Work) -> io::Result<()> {
        self.0.send(work).map_err(|_| gone())
    }

    /// Hands over a request and waits for it.
    pub(crate) async fn call(&self, request: impl FnOnce(Done) -> Work) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        self.send(request(tx))?;
        rx.await.map_err(|_| gone())?
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log writer has ended")
}

/// The writer.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) meta: Arc<Meta>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: mpsc::UnboundedReceiver<Work>,
    /// Lets other tasks run between write and sync: in a simulation, where the writer has no thread of its own.
    pub(crate) yields: bool,
    pub(crate) frame: Frame,
    pub(crate) pace: Pace,
}

/// What waits for the next write.
#[derive(Default)]
pub(crate) struct Frame {
    records: Vec<Record>,
    bytes: usize,
    done: Vec<IOFlushed<TypeConfig>>,
}

impl Writer {
    /// Runs until the queue closes or a `Close` comes.
    pub(crate) async fn run(mut self) {
        let mut taken = Vec::with_capacity(64);
        while self.queue.recv_many(&mut taken, TAKE).await > 0 {
            self.gather(&mut taken);
            for work in taken.drain(..) {
                match work {
                    Work::Append { records, bytes, done } => {
                        self.frame.add(records, bytes, done);
                        if self.frame.bytes >= FRAME_BYTES {
                            self.flush().await;
                        }
                    }
                    Work::Close { done } => {
                        self.flush().await;
                        // Nothing comes behind a close; a request that still does fails with its callback.
                        let _ = done.send(self.close());
                        return;
                    }
                    other => {
                        self.flush().await;
                        self.run_one(other);
                    }
                }
            }
            self.flush().await;
        }
        let _ = self.close();
    }

    /// Waits a little for the proposers that were just answered, see [`Pace`].
    fn gather(&mut self, taken: &mut Vec<Work>) {
        if self.yields {
            return;
        }
        let window = self.pace.window(self.shared.unwritten());
        if window.is_zero() {
            return;
        }
        let started = self.clock.monotonic();
        while !self.pace.window(self.shared.unwritten()).is_zero()
            && self.clock.monotonic().saturating_sub(started) < window
        {
            thread::sleep(SLICE);
        }
        while taken.len() < TAKE
            && let Ok(work) = self.queue.try_recv()
        {
            taken.push(work);
        }
    }

    /// Writes and syncs what waits, and completes its callbacks.
    async fn flush(&mut self) {
        if self.frame.done.is_empty() {
            return;
        }
        let result = self.write_frame().await;
        self.pace.written(self.frame.records.len() as u64, self.shared.unwritten());
        let appends = self.frame.done.len();
        self.frame.complete(&result);
        self.shared.queued.fetch_sub(appends, Ordering::AcqRel);
    }

    async fn write_frame(&mut self) -> io::Result<()> {
        let (started, began) = (self.clock.monotonic(), trace::now());
        self.shared.write(&self.frame.records)?;
        if self.yields {
            tokio::task::yield_now().await;
        }
        self.sync()?;
        Shared::trace(&self.frame.records, began);
        self.shared.counters.frame(self.frame.records.len(), self.clock.monotonic().saturating_sub(started));
        Ok(())
    }

    fn run_one(&mut self, work: Work) {
        match work {
            Work::Append { .. } | Work::Close { .. } => unreachable!("handled by run"),
            Work::Vote { vote, done } => {
                let result = self.before_change().and_then(|()| self.shared.check(self.meta.save_vote(&vote)));
                let _ = done.send(result);
            }
            Work::Truncate { after, done } => {
                let result =
                    self.before_change().and_then(|()| self.shared.check(self.shared.log.truncate_after(after.0)));
                let _ = done.send(result);
            }
            Work::Purge { upto, done } => {
                let result = self.before_change().and_then(|()| self.purge(upto));
                let _ = done.send(result);
            }
            Work::Sync { done } => {
                let result = self.shared.usable().and_then(|()| self.sync_if_needed());
                if let Some(done) = done {
                    let _ = done.send(result);
                }
            }
            Work::Anchor { index } => self.anchor(index),
        }
    }

    /// A vote or a cut must not become durable before the entries written ahead of it.
    fn before_change(&mut self) -> io::Result<()> {
        self.shared.usable()?;
        self.sync_if_needed()
    }

    fn sync_if_needed(&mut self) -> io::Result<()> {
        if self.shared.unsynced.load(Ordering::Acquire) { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let took = self.shared.sync(&*self.clock)?;
        self.pace.synced(took);
        Ok(())
    }

    fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let index = to_index(upto.index).0;
        if self.shared.log.last().is_some_and(|(_, last)| index <= last) {
            return self.shared.check(self.shared.log.purge_to(index));
        }
        // Only an installed snapshot may move the log past its end, as it brings the chain hash that stands there.
        match self.shared.reset_hash {
            Some(hash) => self.shared.check(self.shared.log.reset_to(term_of(upto).0, index, hash)),
            None => Err(io::Error::other(format!("cannot purge the log to {index}, which is behind its end"))),
        }
    }

    /// An anchor that cannot be kept is no reason to stop: the chain is proved by the one before it.
    fn anchor(&mut self, index: LogIndex) {
        let kept = self.shared.log.chain_hash(index.0).and_then(|hash| {
            let anchor = Anchor { index: index.0, hash };
            self.meta.push_anchor(anchor)
        });
        if let Err(error) = kept {
            tracing::warn!(%index, %error, "the chain hash of a checkpoint was not kept");
        }
    }

    fn close(&mut self) -> io::Result<()> {
        self.shared.usable()?;
        self.shared.check(self.shared.log.close())
    }
}

impl Frame {
    fn add(&mut self, mut records: Vec<Record>, bytes: usize, done: IOFlushed<TypeConfig>) {
        if self.records.is_empty() {
            self.records = records;
        } else {
            self.records.append(&mut records);
        }
        self.bytes += bytes;
        self.done.push(done);
    }

    /// Completes all callbacks and is empty again.
    fn complete(&mut self, result: &io::Result<()>) {
        self.records.clear();
        self.bytes = 0;
        let mut last = None;
        for done in self.done.drain(..) {
            match done {
                // Core reads a watermark: the last of a frame says it for all, and wakes core once.
                IOFlushed::Notify(_) => last = Some(done),
                IOFlushed::Noop | IOFlushed::Signal(_) => done.io_completed(copy(result)),
            }
        }
        if let Some(done) = last {
            done.io_completed(copy(result));
        }
    }
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Asks for a sync at every interval, until the writer ends.
pub(crate) async fn sync_at_intervals(
    shared: Arc<Shared>,
    queue: WriterQueue,
    clock: Arc<dyn Clock>,
    interval: Duration,
) {
    loop {
        clock.sleep(interval).await;
        if shared.unsynced.load(Ordering::Acquire) && queue.send(Work::Sync { done: None }).is_err() {
            return;
        }
        if shared.closed.load(Ordering::Acquire) {
            return;
        }
    }
}

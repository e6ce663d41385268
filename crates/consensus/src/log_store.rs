//! openraft's log storage over `perigee-log`.
//!
//! [`LogStore`] is the writing side, owned by core: it numbers nothing and decides nothing, gives leader's entries their
//! time, keeps the recent end in memory ([`Recent`]) and queues the rest for the [writer](crate::writer). With durability
//! `interval` it writes entries itself: nothing waits for a sync then, and two turns between threads would cost more than
//! the write. With `fsync` it does so too, and syncs, while the disk is fast and an append has all that is on its way: nobody
//! could share a later sync. [`LogReader`]s read: from memory, else from the files.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use perigee_log::{ChainHash, Log, LogError, Record};
use perigee_runtime::{Clock, Passing};
use perigee_telemetry::trace;
use perigee_types::{Hlc, LogIndex, Term};

use crate::answer::InFlightCount;
use crate::metrics::Counters;
use crate::options::Durability;
use crate::promises::Promises;
use crate::raft_types::{Entry, LogId, TypeConfig, Vote, damaged, log_id, name_of, to_index, to_raft};
use crate::recent::Recent;
use crate::writer::{Work, WriterQueue};

/// Bytes of entries that apply or replication read at once.
const READ_BYTES: usize = 4 << 20;

/// Syncs up to this are worth less than two turns between threads.
const FAST_SYNC: Duration = Duration::from_micros(250);

/// What the log's users share.
pub(crate) struct Shared {
    pub(crate) log: Arc<Log>,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) vote: Mutex<Option<Vote>>,
    /// Largest index known to be committed (ours, from 1).
    pub(crate) committed: AtomicU64,
    /// Something was written and not yet synced.
    pub(crate) unsynced: AtomicBool,
    /// Appends that the writer has and has not completed.
    pub(crate) queued: AtomicUsize,
    /// Microseconds that the last sync took.
    sync_micros: AtomicU64,
    /// The node is shutting down.
    pub(crate) closed: AtomicBool,
    pub(crate) failure: Failure,
    pub(crate) counters: Counters,
    /// Chain hash with which the log may begin anew behind its end; only an installed snapshot has one.
    pub(crate) reset_hash: Option<ChainHash>,
    /// The last entry that the archive holds; `u64::MAX` where there is no archive to wait for.
    pub(crate) archived: AtomicU64,
    /// By members that have answered this leader.
    pub(crate) promises: Promises,
}

/// Why the log takes no more writes; the first reason stays.
#[derive(Default)]
pub(crate) struct Failure(Mutex<Option<String>>);

impl Failure {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }

    pub(crate) fn set(&self, reason: String) {
        self.0.lock().get_or_insert(reason);
    }
}

impl Shared {
    /// Over an open log.
    pub(crate) fn new(
        log: Arc<Log>,
        vote: Option<Vote>,
        committed: LogIndex,
        recent_bytes_max: usize,
    ) -> io::Result<Self> {
        let id = |place: Option<(u64, u64)>| place.map(|(term, index)| log_id(Term(term), LogIndex(index))).transpose();
        let recent = Recent::new(recent_bytes_max, id(log.last())?, id(log.last_purged())?);
        Ok(Self {
            log,
            recent: Mutex::new(recent),
            vote: Mutex::new(vote),
            committed: AtomicU64::new(committed.0),
            unsynced: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            sync_micros: AtomicU64::new(u64::MAX),
            closed: AtomicBool::new(false),
            failure: Failure::default(),
            counters: Counters::default(),
            reset_hash: None,
            archived: AtomicU64::new(u64::MAX),
            promises: Promises::default(),
        })
    }

    /// Writes records to the log; not yet synced.
    ///
    /// # Errors
    /// Also when something failed before: what is on disk is in doubt, and nothing is written any more.
    pub(crate) fn write(&self, records: &[Record]) -> io::Result<()> {
        self.usable()?;
        let Some(last) = records.last().map(|record| record.index) else { return Ok(()) };
        // A committed index may name entries of this very frame only when others committed them; the log wants a mark
        // that it can check.
        let committed = self.committed.load(Ordering::Acquire).min(last);
        self.check(self.log.append(records, committed))?;
        self.recent.lock().written_to(last);
        Ok(())
    }

    /// Tells the traces that these records belong to of them: they are in the log, as durable as they become before they count.
    pub(crate) fn trace(records: &[Record], began_nanos: u64) {
        let named = records.iter().filter_map(name_of);
        for traced in named.filter_map(|name| trace::entry((name.origin, name.number))) {
            match traced.received_nanos {
                Some(received) => trace::over(traced.parent, "replicate", received, trace::now()),
                None => trace::over(traced.parent, "append", began_nanos, trace::now()),
            }
        }
    }

    /// Makes what was written durable; gives the time that it took.
    pub(crate) fn sync(&self, clock: &dyn Clock) -> io::Result<Duration> {
        let started = clock.monotonic();
        // Before the sync: what core writes meanwhile may not be in it.
        self.unsynced.store(false, Ordering::Release);
        self.check(self.log.sync())?;
        let took = clock.monotonic().saturating_sub(started);
        self.sync_micros.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.counters.sync(took);
        Ok(took)
    }

    /// Whether nothing has failed so far.
    pub(crate) fn usable(&self) -> io::Result<()> {
        match self.failure.get() {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(reason)),
        }
    }

    /// Remembers the first failure for ever.
    pub(crate) fn check(&self, result: Result<(), LogError>) -> io::Result<()> {
        result.map_err(|error| {
            tracing::error!(%error, "the log cannot be written; this node stops");
            self.failure.set(error.to_string());
            io::Error::other(error)
        })
    }

    /// Entries that wait for the writer.
    pub(crate) fn unwritten(&self) -> u64 {
        self.recent.lock().unwritten()
    }

    /// The log id at `index`, when the log knows it.
    pub(crate) fn id_at(&self, index: LogIndex) -> Option<LogId> {
        let raft = to_raft(index)?;
        if let Some(id) = self.recent.lock().id_at(raft) {
            return Some(id);
        }
        let term = self.log.term_at(index.0)?;
        log_id(Term(term), index).ok()
    }

    /// Entries of `[from, to)` (openraft's indexes) that are there, in order, at least one if any is, up to `bytes_max`.
    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (from, to) = {
            let recent = self.recent.lock();
            let (from, to) = (from.max(recent.first()), to.min(recent.next()));
            if from >= to {
                return Ok(Vec::new());
            }
            if from >= recent.oldest() {
                return Ok(recent.range(from, to, bytes_max));
            }
            (from, to.min(recent.oldest()))
        };
        let records = self.log.read(to_index(from).0, to_index(to).0, bytes_max).map_err(io::Error::other)?;
        records.into_iter().map(Entry::from_record).collect()
    }

    /// All entries of `[from, to)` that are there.
    fn read_all(&self, mut from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let mut all = Vec::new();
        loop {
            let mut part = self.read(from, to, READ_BYTES)?;
            let Some(last) = part.last() else { return Ok(all) };
            from = last.id.index + 1;
            if all.is_empty() {
                all = part;
            } else {
                all.append(&mut part);
            }
        }
    }
}

/// The writing side.
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    queue: WriterQueue,
    clock: Arc<dyn Clock>,
    /// Time of the last entry; the next one's is above it.
    time: Hlc,
    /// Goes on from there, whatever becomes of the clock.
    passing: Passing,
    durability: Durability,
    /// Where entries are durable once this node has them: what is on its way.
    alone: Option<Arc<InFlightCount>>,
}

impl LogStore {
    /// `time`: the largest time of any entry so far. `alone`: the count of proposals, of a node that may sync on core's thread.
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: WriterQueue,
        clock: Arc<dyn Clock>,
        time: Hlc,
        durability: Durability,
        alone: Option<Arc<InFlightCount>>,
    ) -> Self {
        let passing = Passing::default();
        passing.saw(time.micros(), &*clock);
        Self { shared, queue, clock, time, passing, durability, alone }
    }

    /// Whether these entries are all that is on its way, and the disk is fast: then nobody gains by the writer's turn.
    fn syncs_here(&self, entries: usize) -> bool {
        self.alone.as_ref().is_some_and(|in_flight| {
            self.shared.sync_micros.load(Ordering::Relaxed) <= FAST_SYNC.as_micros() as u64
                && in_flight.proposals.load(Ordering::Relaxed) <= entries
                && self.shared.queued.load(Ordering::Acquire) == 0
        })
    }

    /// Writes and syncs entries here and now.
    fn write_durably(&self, records: &[Record]) -> io::Result<()> {
        let (started, began) = (self.clock.monotonic(), trace::now());
        self.shared.write(records)?;
        self.shared.sync(&*self.clock)?;
        Shared::trace(records, began);
        self.shared.counters.frame(records.len(), self.clock.monotonic().saturating_sub(started));
        Ok(())
    }

    /// Writes entries here and now. What else changes the log is waited for by core, so their order is the queue's.
    async fn write(&self, records: &[Record], must_sync: bool) -> io::Result<()> {
        let (started, began) = (self.clock.monotonic(), trace::now());
        self.shared.write(records)?;
        Shared::trace(records, began);
        self.shared.unsynced.store(true, Ordering::Release);
        self.shared.counters.frame(records.len(), self.clock.monotonic().saturating_sub(started));
        if must_sync {
            self.queue.call(|done| Work::Sync { done: Some(done) }).await?;
        }
        Ok(())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let recent = self.shared.recent.lock();
        Ok(LogState { last_purged_log_id: recent.purged(), last_log_id: recent.last() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { shared: Arc::clone(&self.shared) }
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = encode_vote(vote);
        self.queue.call(|done| Work::Vote { vote: bytes, done }).await?;
        *self.shared.vote.lock() = Some(*vote);
        Ok(())
    }

    /// Rides in the mark of the next frame: a commit costs no write of its own.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let index = committed.map_or(0, |id| to_index(id.index).0);
        self.shared.committed.fetch_max(index, Ordering::AcqRel);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.id_at(LogIndex(self.shared.committed.load(Ordering::Acquire))))
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let now = self.passing.now_micros(&*self.clock);
        let entries = entries.into_iter();
        let mut records = Vec::with_capacity(entries.size_hint().0);
        let (mut bytes, mut must_sync) = (0, false);
        let mut fresh = Vec::with_capacity(entries.size_hint().0);
        for mut entry in entries {
            if entry.time == Hlc::default() {
                entry.time = self.time.next(now);
            }
            if entry.time > self.time {
                self.time = entry.time;
                self.passing.saw(entry.time.micros(), &*self.clock);
            }
            must_sync |= entry.is_membership();
            let record = entry.to_record()?;
            bytes += record.payload.len();
            records.push(record);
            fresh.push(entry);
        }
        {
            // Readable when this returns, written later.
            let mut recent = self.shared.recent.lock();
            fresh.into_iter().for_each(|entry| recent.push(entry));
        }
        if let Durability::Interval(_) = self.durability {
            done.io_completed(self.write(&records, must_sync).await);
            return Ok(());
        }
        if self.syncs_here(records.len()) {
            done.io_completed(self.write_durably(&records));
            return Ok(());
        }
        self.shared.queued.fetch_add(1, Ordering::AcqRel);
        self.queue.send(Work::Append { records, bytes, done })
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.shared.recent.lock().truncate_after(last);
        let after = last.map_or(LogIndex(0), |id| to_index(id.index));
        self.queue.call(|done| Work::Truncate { after, done }).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.shared.recent.lock().purge(upto);
        self.queue.call(|done| Work::Purge { upto, done }).await
    }
}

/// The reading side; any number of them.
#[derive(Clone)]
pub(crate) struct LogReader {
    shared: Arc<Shared>,
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = bounds(&range);
        self.shared.read_all(from, to)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(*self.shared.vote.lock())
    }

    async fn limited_get_log_entries(&mut self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        self.shared.read(from, to, READ_BYTES)
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (next, to) = bounds(&range);
        EntryStream { shared: Arc::clone(&self.shared), next, to, read: Vec::new().into_iter() }
    }
}

/// Entries of a range, never more than [`READ_BYTES`] of them in memory at once.
struct EntryStream {
    shared: Arc<Shared>,
    next: u64,
    to: u64,
    read: vec::IntoIter<Entry>,
}

impl Stream for EntryStream {
    type Item = io::Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.read.len() == 0 && this.next < this.to {
            match this.shared.read(this.next, this.to, READ_BYTES) {
                // The range reaches behind the end of the log.
                Ok(entries) if entries.is_empty() && this.next >= this.shared.recent.lock().next() => {
                    this.to = this.next;
                    return Poll::Ready(None);
                }
                // Purged or cut under the reader. Apply must not take a hole for the end.
                Ok(entries) if entries.first().is_none_or(|entry| entry.id.index != this.next) => {
                    let error = damaged(format!("entry {} is not in the log", to_index(this.next)));
                    this.to = this.next;
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(entries) => this.read = entries.into_iter(),
                Err(error) => {
                    this.to = this.next;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        let entry = this.read.next();
        this.next += u64::from(entry.is_some());
        Poll::Ready(entry.map(Ok))
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

const VOTE_VERSION: u8 = 1;

/// Version, committed, term, node.
pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut bytes = vec![VOTE_VERSION, u8::from(vote.committed)];
    bytes.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    bytes.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    bytes
}

/// The inverse of [`encode_vote`].
pub(crate) fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let wrong = || damaged("the stored vote does not decode".to_owned());
    let (&[VOTE_VERSION, committed @ (0 | 1)], numbers) = bytes.split_first_chunk::<2>().ok_or_else(wrong)? else {
        return Err(wrong());
    };
    let (term, node) = numbers.split_first_chunk::<8>().ok_or_else(wrong)?;
    let node: [u8; 8] = node.try_into().map_err(|_| wrong())?;
    let (term, node) = (u64::from_le_bytes(*term), u64::from_le_bytes(node));
    Ok(if committed == 1 { Vote::new_committed(term, node) } else { Vote::new(term, node) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_survive_a_round_trip() {
        for vote in [Vote::new(3, u64::MAX), Vote::new_committed(u64::MAX, 7)] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
        let good = encode_vote(&Vote::new(3, 4));
        for damaged in [&good[..17], &[], &[2; 18], &[1; 19]] {
            assert!(decode_vote(damaged).is_err());
        }
    }
}

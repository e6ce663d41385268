//! The handle to a node's consensus.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use perigee_log::{Anchor, Log, LogError, Meta, Record, VerifyReport};
use perigee_runtime::{Clock, Runtime};
use perigee_types::{LogIndex, Term};

use crate::answer::{Answer, InFlight, InFlightCount, Proposal};
use crate::apply::{Apply, ApplyState};
use crate::fates::ProposalId;
use crate::forward::Forwarder;
use crate::log_store::Shared;
use crate::members::ClusterParts;
use crate::options::Node;
use crate::raft_types::{Command, PREFIX, TypeConfig};
use crate::snapshot::Receiving;
use crate::start;
use crate::watch;
use crate::writer::{Work, WriterQueue};
use crate::{CommittedEntry, ConsensusError, ConsensusMetrics, ConsensusOptions, ProposeError, StateMachine};

/// How long a shutdown waits for proposals in flight.
const DRAIN: Duration = Duration::from_secs(5);

/// A node's consensus. Cheap to clone; the last clone that drops ends it without waiting.
#[derive(Clone)]
pub struct Consensus {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones share.
pub(crate) struct Inner {
    pub(crate) raft: Raft<TypeConfig, Apply>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: Arc<ApplyState>,
    pub(crate) queue: WriterQueue,
    pub(crate) meta: Arc<Meta>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) in_flight: Arc<InFlightCount>,
    pub(crate) checkpointed: watch::Sender<LogIndex>,
    pub(crate) stopped: watch::Receiver<bool>,
    pub(crate) machine_alive: watch::Receiver<()>,
    pub(crate) closing: AtomicBool,
    pub(crate) entry_bytes_max: usize,
    pub(crate) in_flight_bytes_max: usize,
    /// This member.
    pub(crate) node: Node,
    /// The way to the others.
    pub(crate) cluster: ClusterParts,
    /// Reads and writes of snapshots get threads that may block.
    pub(crate) blocking: bool,
    pub(crate) receiving: tokio::sync::Mutex<Option<Receiving>>,
    /// A snapshot was taken in: the next start begins from it.
    pub(crate) restart: AtomicBool,
    pub(crate) election_max: Duration,
    pub(crate) forwarder: Forwarder,
    /// There are no other members, and never will be.
    pub(crate) alone: bool,
    /// The term in which leadership was offered to another member: the lease of that one says nothing any more.
    pub(crate) handing_over: AtomicU64,
    /// When this node last heard from the leader that it follows, in milliseconds of the monotonic clock; 0 for never.
    pub(crate) heard: AtomicU64,
    /// Until then, of the monotonic clock, it keeps what it may have promised to a leader before it was started: to help no other one.
    /// The leader's reads count on that for the time of an election.
    pub(crate) bound_until: Duration,
    /// Where what outlives a call runs.
    pub(crate) handle: tokio::runtime::Handle,
    /// The threads of core and apply; none when they run on the caller's runtime.
    pub(crate) threads: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Inner {
    /// Why this node takes nothing any more, if it has failed.
    fn failed(&self) -> Option<ProposeError> {
        self.shared.failure.get().map(ProposeError::Storage)
    }
}

impl Consensus {
    /// Starts the node over its log: replays what is committed, takes part, and with one voter leads when this returns.
    ///
    /// `log` is used by this node alone from here on; others may read it.
    ///
    /// # Errors
    /// When log, meta and checkpoint do not fit together, or cannot be read or written.
    pub async fn start(
        options: ConsensusOptions,
        runtime: Runtime,
        log: Arc<Log>,
        meta: Arc<Meta>,
        machine: impl StateMachine,
    ) -> Result<Self, ConsensusError> {
        start::start(options, runtime, log, meta, Box::new(machine), None).await
    }

    /// Starts a member of a cluster. It returns when what is known to be committed is replayed; a member that has never been in
    /// a cluster waits for [`initialize`](Self::initialize), here or on another member.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_member(
        options: ConsensusOptions,
        runtime: Runtime,
        log: Arc<Log>,
        meta: Arc<Meta>,
        machine: impl StateMachine,
        cluster: ClusterParts,
    ) -> Result<Self, ConsensusError> {
        start::start(options, runtime, log, meta, Box::new(machine), Some(cluster)).await
    }

    /// Proposes `payload`, which was evaluated in `term`.
    ///
    /// Handed over before this returns: calls made one after the other stand in the log in that order. The future gives
    /// the outcome once the entry is applied here.
    ///
    /// # Errors
    /// The future's error says whether the entry may still take effect: see [`ProposeError`].
    pub fn propose(&self, term: Term, payload: Bytes) -> Proposal {
        self.propose_as(term, None, &payload)
    }

    /// The same under a name, for who waits for it on another member: see [`expect`](Self::expect).
    pub fn propose_as(&self, term: Term, id: Option<ProposalId>, payload: &[u8]) -> Proposal {
        let inner = &*self.inner;
        if payload.len() > inner.entry_bytes_max {
            return Proposal::refused(ProposeError::TooLarge { bytes: payload.len(), max: inner.entry_bytes_max });
        }
        if inner.closing.load(Ordering::Acquire) {
            return Proposal::refused(ProposeError::Stopped);
        }
        // A core that has ended is not asked: openraft waits for its task then, and panics at the next call when that wait
        // is given up, as below.
        if let Some(error) = inner.failed() {
            return Proposal::refused(error);
        }
        let Some(in_flight) = InFlight::take(&inner.in_flight, PREFIX + payload.len(), inner.in_flight_bytes_max)
        else {
            return Proposal::refused(ProposeError::Busy);
        };
        let (answer, rx) = Answer::new(in_flight);
        let command = match id {
            None => Command::new(term, payload),
            Some(id) => Command::named(term, id, payload),
        };
        let request = inner.raft.write(command).with_leader(start::leader_id(term)).responder(answer);
        // Sending needs no wait while core's queue has room. Not under the caller's tokio budget: a task that has used
        // it up would seem to find the queue full.
        match tokio::task::unconstrained(request.into_future()).now_or_never() {
            Some(Ok(())) => Proposal::waiting(rx),
            Some(Err(_)) => Proposal::refused(inner.failed().unwrap_or(ProposeError::Stopped)),
            None => Proposal::refused(inner.failed().unwrap_or(ProposeError::Busy)),
        }
    }

    /// Runs a task on the threads of core and apply, for who feeds them: neither waits to be woken by the other. It must not
    /// block for long, as nothing is committed meanwhile, and has no sockets: where the node is alone nobody there looks at them.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.handle.spawn(task);
    }

    /// The term in which this node leads and has applied its first entry; before that nothing may be served or locked.
    #[must_use]
    pub fn leader_term(&self) -> Option<Term> {
        self.inner.state.leadership.term()
    }

    /// Whether there are no other members, and never will be.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.inner.alone
    }

    /// Follows [`leader_term`](Self::leader_term).
    #[must_use]
    pub fn watch_leader(&self) -> watch::Receiver<Option<Term>> {
        self.inner.state.leadership.watch()
    }

    /// Last entry that is durable here. A checkpoint must not be above it.
    #[must_use]
    pub fn synced_index(&self) -> LogIndex {
        LogIndex(self.inner.shared.log.synced_index())
    }

    /// Largest index known to be committed.
    #[must_use]
    pub fn committed_index(&self) -> LogIndex {
        LogIndex(self.inner.shared.committed.load(Ordering::Acquire))
    }

    /// Last index applied and published here.
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        self.inner.state.applied()
    }

    /// The first entry that the log still has.
    #[must_use]
    pub fn first_index(&self) -> LogIndex {
        LogIndex(self.inner.shared.recent.lock().first() + 1)
    }

    /// The entries from `from` to `to`, both included, with payloads of about `bytes_max` in all, but at least one. The caller
    /// knows that `to` is committed: the state machine has applied it. Blocks on the disk for what is no longer in memory.
    ///
    /// # Errors
    /// [`LogError::Purged`] below [`first_index`](Self::first_index); what reading the files gives.
    pub fn read(&self, from: LogIndex, to: LogIndex, bytes_max: usize) -> Result<Vec<CommittedEntry>, LogError> {
        let shared = &self.inner.shared;
        let from = from.max(LogIndex(1));
        if from > to {
            return Ok(Vec::new());
        }
        let purged = || {
            let first = self.first_index();
            (from < first).then_some(LogError::Purged { index: from.0, first: first.0 })
        };
        if let Some(purged) = purged() {
            return Err(purged);
        }
        let read = || {
            let entries = shared.read(from.0 - 1, to.0, bytes_max)?;
            entries.into_iter().map(crate::raft_types::Entry::into_committed).collect::<std::io::Result<Vec<_>>>()
        };
        let entries = read().map_err(|error| LogError::Io {
            what: "cannot read",
            file: std::path::PathBuf::from("log"),
            source: error,
        });
        // It may have been cut under the reader.
        match (entries, purged()) {
            (_, Some(purged)) => Err(purged),
            (entries, None) => entries,
        }
    }

    /// Makes everything written durable; at once with [`crate::Durability::Fsync`], as it is already.
    ///
    /// # Errors
    /// When the log cannot be synced; the node stops.
    pub async fn sync(&self) -> Result<(), ProposeError> {
        self.inner
            .queue
            .call(|done| Work::Sync { done: Some(done) })
            .await
            .map_err(|error| ProposeError::Storage(error.to_string()))
    }

    /// The state machine's checkpoint at `index` is durable: the log is no longer needed up to there.
    ///
    /// Returns at once. The log keeps `keep_entries` behind the checkpoint, and the chain hash at `index` is kept in meta.
    pub fn checkpointed(&self, index: LogIndex) {
        self.inner.checkpointed.send_if_modified(|last| {
            let newer = index > *last;
            *last = index.max(*last);
            newer
        });
    }

    /// The archive holds the log up to `index`: it need not be kept for it any longer.
    pub fn archived(&self, index: LogIndex) {
        self.inner.shared.archived.store(index.0, Ordering::Release);
    }

    /// Records of the log as they are stored, from `from` to `to`, both included, with payloads of about `bytes_max` in all,
    /// but at least one. The caller knows that `to` is committed and durable here. Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError::Purged`] below [`first_index`](Self::first_index); what reading the files gives.
    pub fn records(&self, from: LogIndex, to: LogIndex, bytes_max: usize) -> Result<Vec<Record>, LogError> {
        self.inner.shared.log.read(from.0, to.0 + 1, bytes_max)
    }

    /// SHA-256 over the log up to `index`.
    ///
    /// # Errors
    /// When the log does not hold the entry, or cannot be read.
    pub fn chain_hash(&self, index: LogIndex) -> Result<[u8; 32], LogError> {
        self.inner.shared.log.chain_hash(index.0)
    }

    /// Recomputes the log from its files, up to the last attestation kept in meta and on. Blocks on the disk.
    ///
    /// # Errors
    /// What the log's own [`perigee_log::verify`] gives: at its end a log that is written to meanwhile may look damaged.
    pub fn verify_log(&self) -> Result<(VerifyReport, Option<Anchor>), LogError> {
        // The attestation of an entry that is purged since proves nothing more.
        let first = self.inner.shared.log.first_index();
        let anchor = self.inner.meta.last_anchor().filter(|anchor| anchor.index >= first);
        Ok((self.inner.shared.log.verify(anchor)?, anchor))
    }

    /// Keeps in meta what was attested of the log, for the next start and for who verifies the log. Blocks on the disk.
    ///
    /// # Errors
    /// When it is not durable here yet, or cannot be written.
    pub fn keep_attested(&self, index: LogIndex, chain_hash: [u8; 32]) -> Result<(), LogError> {
        let synced = self.synced_index();
        if index > synced {
            return Err(LogError::BehindEnd { index: index.0, last: synced.0 });
        }
        self.inner.meta.save_attested(Anchor { index: index.0, hash: chain_hash })
    }

    /// The last entry that was attested and that this node agrees on, as far as [`keep_attested`](Self::keep_attested) was told.
    #[must_use]
    pub fn attested_index(&self) -> LogIndex {
        LogIndex(self.inner.meta.attested().map_or(0, |anchor| anchor.index))
    }

    /// A reading of all counters and positions.
    #[must_use]
    pub fn metrics(&self) -> ConsensusMetrics {
        let inner = &*self.inner;
        let mut metrics = ConsensusMetrics {
            serving: self.leader_term().is_some(),
            committed: self.committed_index(),
            applied: self.applied_index(),
            synced: self.synced_index(),
            checkpointed: *inner.checkpointed.borrow(),
            in_flight: inner.in_flight.proposals.load(Ordering::Relaxed),
            in_flight_bytes: inner.in_flight.bytes.load(Ordering::Relaxed),
            disk_bytes: inner.shared.log.disk_bytes(),
            ..ConsensusMetrics::default()
        };
        inner.shared.counters.fill(&mut metrics);
        {
            let recent = inner.shared.recent.lock();
            // openraft's "next" index is our last one.
            metrics.first = LogIndex(recent.first() + 1);
            metrics.last = LogIndex(recent.next());
        }
        let raft = inner.raft.server_metrics();
        let raft = raft.borrow_watched();
        metrics.term = Term(raft.vote.leader_id.term);
        metrics.leader = raft.current_leader;
        metrics.voters = raft.membership_config.voter_ids().count();
        metrics
    }

    /// Completes when the node has stopped by itself or by [`shutdown`](Self::shutdown), with the reason of a failure.
    ///
    /// After a failure the process has to end: what is on disk may be in doubt.
    pub async fn stopped(&self) -> Option<String> {
        let mut stopped = self.inner.stopped.clone();
        // An error means that the watcher is gone, and core with it.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        self.inner.shared.failure.get()
    }

    /// Takes no more proposals, waits a little for those in flight, drops the state machine, syncs and closes the log.
    pub async fn shutdown(&self) {
        let inner = &*self.inner;
        if inner.closing.swap(true, Ordering::AcqRel) {
            let _ = self.stopped().await;
            return;
        }
        let started = inner.clock.monotonic();
        while inner.in_flight.proposals.load(Ordering::Relaxed) > 0
            && inner.shared.failure.get().is_none()
            && inner.clock.monotonic().saturating_sub(started) < DRAIN
        {
            inner.clock.sleep(Duration::from_millis(1)).await;
        }
        let _ = inner.raft.shutdown().await;
        // So that nobody sees this node lead after it returns.
        let _ = inner.stopped.clone().wait_for(|stopped| *stopped).await;
        // And that what the state machine holds open is closed.
        let mut alive = inner.machine_alive.clone();
        tokio::select! {
            biased;
            _ = alive.changed() => {}
            () = inner.clock.sleep(DRAIN) => tracing::warn!("the state machine did not end in time"),
        }
        inner.shared.closed.store(true, Ordering::Release);
        if let Err(error) = inner.queue.call(|done| Work::Close { done }).await {
            tracing::warn!(%error, "the log was not closed in order");
        }
        if let Some(threads) = inner.threads.lock().take() {
            threads.shutdown_background();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        if let Some(threads) = self.threads.lock().take() {
            // A plain drop would block, which tokio forbids where this may run.
            threads.shutdown_background();
        }
    }
}

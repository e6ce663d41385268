//! Runs the [`StateMachine`] under openraft: committed entries in order, answers behind the flush.
//!
//! openraft's "snapshot" is the state machine's last checkpoint: building one only names it, so that the log may be cut
//! behind it. The data itself stays where the state machine keeps it; how it comes to another node is in [`crate::snapshot`].

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use perigee_runtime::Clock;
use perigee_telemetry::trace;
use perigee_types::{Hlc, LogIndex};

use crate::core_runtime::seed;
use crate::fates::Fates;
use crate::leadership::Leadership;
use crate::log_store::Shared;
use crate::machine::{Committed, CommittedEntry, Outcome, StateMachine};
use crate::membership;
use crate::raft_types::{Entry, LogId, Reply, StoredMembership, TypeConfig, log_id, term_of, to_index};
use crate::watch;
use crate::{ConsensusError, MachineError};

/// Apply lets others run after this long.
const TURN: Duration = Duration::from_millis(5);
/// Entries between two looks at the clock.
const LOOK: usize = 32;

type SnapshotMeta = SnapshotMetaOf<TypeConfig>;

/// What stands for the data of a snapshot: nothing, it is the state machine's last checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckpointMark;

/// What others know of apply.
pub(crate) struct ApplyState {
    applied: AtomicU64,
    /// Follows `applied`, for who waits for an entry.
    progress: watch::Sender<LogIndex>,
    pub(crate) leadership: Leadership,
    pub(crate) fates: Arc<Fates>,
    /// Applied memberships from the one that the last checkpoint needs; the newest is last.
    memberships: Mutex<VecDeque<StoredMembership>>,
    checkpoint: Mutex<Option<SnapshotMeta>>,
}

impl ApplyState {
    /// Last applied and published index.
    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// Changes when [`Self::applied`] does. To be taken first, and `applied` asked behind it.
    pub(crate) fn watch_applied(&self) -> watch::Receiver<LogIndex> {
        let progress = self.progress.subscribe();
        fence(Ordering::SeqCst);
        progress
    }

    /// The state machine's checkpoint is at `id` now.
    pub(crate) fn set_checkpoint(&self, id: LogId) {
        let mut memberships = self.memberships.lock();
        while memberships.get(1).is_some_and(|next| *next.log_id() <= Some(id)) {
            memberships.pop_front();
        }
        let last_membership = memberships.front().cloned().unwrap_or_default();
        *self.checkpoint.lock() = Some(SnapshotMeta { last_log_id: Some(id), last_membership });
    }

    fn snapshot(&self) -> Option<SnapshotOf<TypeConfig, CheckpointMark>> {
        let meta = self.checkpoint.lock().clone()?;
        Some(SnapshotOf::<TypeConfig, _> { meta, snapshot: CheckpointMark })
    }
}

/// The state machine as openraft sees it.
pub(crate) struct Apply {
    /// In a mutex because openraft wants `Sync`; never locked.
    machine: Mutex<Box<dyn StateMachine>>,
    last: Option<LogId>,
    /// Proposals of this process that were applied and are not published yet.
    own: Vec<(u64, Committed)>,
    state: Arc<ApplyState>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// Dropped with the state machine.
    alive: watch::Sender<()>,
}

type Answers = Vec<(ApplyResponder<TypeConfig>, Reply)>;

impl Apply {
    pub(crate) fn new(
        machine: Box<dyn StateMachine>,
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<(Self, Arc<ApplyState>)> {
        let applied = machine.applied();
        let last = (applied.index != LogIndex(0)).then(|| log_id(applied.term, applied.index)).transpose()?;
        let membership = membership::stored(applied.membership.as_deref())?;
        let checkpoint = last.map(|id| SnapshotMeta { last_log_id: Some(id), last_membership: membership.clone() });
        let state = Arc::new(ApplyState {
            applied: AtomicU64::new(applied.index.0),
            progress: watch::Sender::new(applied.index),
            leadership: Leadership::new(applied.term),
            fates: Fates::new(seed(), applied.term),
            memberships: Mutex::new(VecDeque::from([membership])),
            checkpoint: Mutex::new(checkpoint),
        });
        let apply = Self {
            machine: Mutex::new(machine),
            last,
            own: Vec::new(),
            state: Arc::clone(&state),
            shared,
            clock,
            alive: watch::Sender::new(()),
        };
        Ok((apply, state))
    }

    /// Last entry given to the state machine.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Time of the last entry that the state machine holds.
    pub(crate) fn last_time(&mut self) -> Hlc {
        self.machine.get_mut().time()
    }

    /// Fails to change once the state machine is dropped.
    pub(crate) fn alive(&self) -> watch::Receiver<()> {
        self.alive.subscribe()
    }

    /// Applies entries outside of openraft, before it starts.
    pub(crate) fn replay(&mut self, entries: Vec<Entry>) -> Result<(), ConsensusError> {
        for entry in entries {
            let index = to_index(entry.id.index);
            self.take(entry)
                .map_err(|error| ConsensusError::Apply { index, error: MachineError(error.to_string()) })?;
        }
        self.publish(&mut Vec::new()).map_err(|error| ConsensusError::Apply {
            index: self.state.applied(),
            error: MachineError(error.to_string()),
        })
    }

    fn take(&mut self, entry: Entry) -> io::Result<Reply> {
        let (id, time) = (entry.id, entry.time);
        if let Some(members) = openraft::entry::RaftEntry::get_membership(&entry) {
            self.state.memberships.lock().push_back(StoredMembership::new(Some(id), members));
        }
        let name = entry.proposal();
        let own = name.filter(|proposal| proposal.origin == self.state.fates.origin);
        let traced =
            name.and_then(|name| trace::entry((name.origin, name.number))).map(|traced| (traced, trace::now()));
        let outcome = self.apply_one(entry.into_committed()?)?;
        if let Some((traced, began)) = traced {
            trace::over(traced.parent, "apply", began, trace::now());
        }
        if let Some(own) = own {
            self.own.push((own.number, Committed { index: to_index(id.index), time, outcome }));
        }
        self.last = Some(id);
        Ok(Reply { time, outcome })
    }

    fn apply_one(&mut self, entry: CommittedEntry) -> io::Result<Outcome> {
        let (index, fenced) = (entry.index, entry.is_fenced());
        let machine = self.machine.get_mut();
        match catch_unwind(AssertUnwindSafe(|| machine.apply(entry))) {
            Ok(Ok(outcome)) => {
                debug_assert!(!fenced || outcome == Outcome::Fenced, "entry {index} of another term took effect");
                Ok(outcome)
            }
            Ok(Err(error)) => Err(self.failed(format!("apply of entry {index} failed: {error}"))),
            Err(_) => Err(self.failed(format!("apply of entry {index} panicked"))),
        }
    }

    /// Publishes what was applied, then answers.
    fn publish(&mut self, answers: &mut Answers) -> io::Result<()> {
        let Some(last) = self.last else { return Ok(()) };
        let machine = self.machine.get_mut();
        if catch_unwind(AssertUnwindSafe(|| machine.flush())).is_err() {
            return Err(self.failed("the state machine's flush panicked".to_owned()));
        }
        self.state.applied.store(to_index(last.index).0, Ordering::Release);
        // Who begins to wait looks at `applied` behind its own fence, see `watch_applied`: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.state.progress.receiver_count() > 0 {
            self.state.progress.send_replace(to_index(last.index));
        }
        self.state.leadership.set_applied(term_of(last));
        self.state.fates.applied(&mut self.own, term_of(last));
        for (responder, reply) in answers.drain(..) {
            responder.send(reply);
        }
        Ok(())
    }

    fn failed(&self, reason: String) -> io::Error {
        tracing::error!(reason, "the state machine failed; this node stops");
        self.shared.failure.set(reason.clone());
        io::Error::other(reason)
    }
}

impl RaftStateMachine<TypeConfig> for Apply {
    type SnapshotData = CheckpointMark;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let membership = self.state.memberships.lock().back().cloned().unwrap_or_default();
        Ok((self.last, membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut answers = Answers::new();
        let mut applied = 0_usize;
        let mut turn = self.clock.monotonic();
        while let Some(next) = entries.next().await {
            // On an error the answers drop unsent: their proposers learn that the outcome is unknown.
            let (entry, responder) = next?;
            let reply = self.take(entry)?;
            if let Some(responder) = responder {
                answers.push((responder, reply));
            }
            applied += 1;
            if applied.is_multiple_of(LOOK) && self.clock.monotonic().saturating_sub(turn) >= TURN {
                self.publish(&mut answers)?;
                tokio::task::yield_now().await;
                turn = self.clock.monotonic();
            }
        }
        self.publish(&mut answers)
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(Builder { state: Arc::clone(&self.state) })
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { state: Arc::clone(&self.state) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _snapshot: CheckpointMark) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the snapshot {meta} cannot take the place of a running state machine"),
        ))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, CheckpointMark>>> {
        Ok(self.state.snapshot())
    }
}

/// Names the last checkpoint.
pub(crate) struct Builder {
    state: Arc<ApplyState>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = CheckpointMark;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, CheckpointMark>> {
        self.state.snapshot().ok_or_else(|| io::Error::other("there is no checkpoint yet"))
    }
}

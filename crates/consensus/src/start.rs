//! Bringing a node up: check that log and checkpoint fit, replay, start the writer and core, lead.
//!
//! ```text
//! checkpoint        committed        end of the log
//!     |---- replay ----|---- Raft decides ----|  + first entry of the new term = ready
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Config, Raft, ServerState, SnapshotPolicy};
use perigee_log::{Log, Meta};
use perigee_runtime::{Clock, Runtime};
use perigee_types::{Hlc, LogIndex, Term};
use tokio::runtime::Handle;

use crate::answer::InFlightCount;
use crate::apply::{Apply, ApplyState};
use crate::consensus::{Consensus, Inner};
use crate::core_runtime::seed;
use crate::forward::Forwarder;
use crate::housekeeping::Housekeeping;
use crate::log_store::{LogStore, Shared, decode_vote};
use crate::members::ClusterParts;
use crate::network::Network;
use crate::options::Node;
use crate::pace::Pace;
use crate::raft_types::{LeaderId, TypeConfig, to_index};
use crate::watch;
use crate::writer::{Frame, Writer, WriterQueue, sync_at_intervals};
use crate::{ConsensusError, ConsensusOptions, Durability, StateMachine};

/// Bytes of entries replayed at once.
const REPLAY_BYTES: usize = 4 << 20;

/// The leader of `term`, as openraft names it.
pub(crate) fn leader_id(term: Term) -> LeaderId {
    LeaderId::new(term.0)
}

/// See [`Consensus::start`].
pub(crate) async fn start(
    options: ConsensusOptions,
    runtime: Runtime,
    log: Arc<Log>,
    meta: Arc<Meta>,
    machine: Box<dyn StateMachine>,
    cluster: Option<ClusterParts>,
) -> Result<Consensus, ConsensusError> {
    options.check()?;
    if cluster.is_some() && options.durability != Durability::Fsync {
        return Err(ConsensusError::Options("durability `interval` needs a cluster of one voter".to_owned()));
    }
    // Entries are kept here in the form that apply wants; twice would be waste.
    log.set_cache_bytes(0);
    let vote = meta.vote().map(|bytes| decode_vote(&bytes)).transpose().map_err(damage("vote"))?;
    let last = LogIndex(log.last().or(log.last_purged()).map_or(0, |(_, index)| index));
    let committed = options.committed.min(last);
    let shared = Shared::new(log, vote, committed, options.recent_bytes_max).map_err(damage("position of the log"))?;
    if options.unarchived_bytes > 0 {
        // Until somebody knows better.
        shared.archived.store(0, Ordering::Release);
    }
    let shared = Arc::new(shared);
    let clock = Arc::clone(&runtime.clock);
    let (apply, state) =
        Apply::new(machine, Arc::clone(&shared), Arc::clone(&clock)).map_err(damage("checkpoint position"))?;
    check_positions(&shared, &apply, last)?;
    if let Some(anchor) = meta.last_anchor() {
        shared.log.check_anchor(anchor)?;
    }
    shared.committed.fetch_max(state.applied().0, Ordering::AcqRel);

    let threads = match options.threads {
        0 => None,
        workers => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(workers).thread_name("consensus").thread_stack_size(perigee_runtime::STACK_BYTES);
            builder.enable_time();
            // A node that is alone has no sockets here: without them a turn of its tasks asks the system nothing, and who wakes a
            // thread wakes it and not its look at them.
            if cluster.is_some() {
                builder.enable_io();
            }
            Some(builder.build().map_err(ConsensusError::Threads)?)
        }
    };
    let handle = threads.as_ref().map_or_else(Handle::current, |threads| threads.handle().clone());
    let queue = spawn_writer(&options, &runtime, &shared, Arc::clone(&meta));
    let starting = Starting { options, shared, state, meta, clock, queue, cluster };
    let up = handle.spawn(starting.run(apply)).await;
    match up {
        Ok(Ok(mut inner)) => {
            inner.threads = threads.into();
            Ok(Consensus { inner: Arc::new(inner) })
        }
        Ok(Err(error)) => {
            threads.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
            Err(error)
        }
        Err(error) => {
            threads.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
            Err(ConsensusError::Stopped(error.to_string()))
        }
    }
}

fn damage(what: &'static str) -> impl Fn(std::io::Error) -> ConsensusError {
    move |error| ConsensusError::Damaged { what, reason: error.to_string() }
}

/// The checkpoint must lie within the log, or right before it, and agree with it.
fn check_positions(shared: &Shared, apply: &Apply, last: LogIndex) -> Result<(), ConsensusError> {
    let Some(id) = apply.last() else {
        let first = LogIndex(shared.recent.lock().first() + 1);
        if first > LogIndex(1) {
            return Err(ConsensusError::LogGap { first, applied: LogIndex(0) });
        }
        return Ok(());
    };
    let applied = to_index(id.index);
    if applied > last {
        return Err(ConsensusError::LogBehind { last, applied });
    }
    let first = LogIndex(shared.recent.lock().first() + 1);
    if first > applied.next() {
        return Err(ConsensusError::LogGap { first, applied });
    }
    match shared.log.term_at(applied.0) {
        Some(term) if term != id.leader_id.term => {
            Err(ConsensusError::Diverged { index: applied, checkpoint: id.leader_id.term, log: term })
        }
        _ => Ok(()),
    }
}

fn spawn_writer(options: &ConsensusOptions, runtime: &Runtime, shared: &Arc<Shared>, meta: Arc<Meta>) -> WriterQueue {
    let (queue, requests) = WriterQueue::new();
    let writer = Writer {
        shared: Arc::clone(shared),
        meta,
        clock: Arc::clone(&runtime.clock),
        queue: requests,
        yields: options.threads == 0,
        frame: Frame::default(),
        pace: Pace::default(),
    };
    if options.threads == 0 {
        runtime.spawner.spawn("log-writer", Box::pin(writer.run()));
    } else {
        runtime.spawner.spawn_thread("log-writer", Box::new(|| futures::executor::block_on(writer.run())));
    }
    queue
}

/// What the second half of the start, on the consensus threads, works with.
struct Starting {
    options: ConsensusOptions,
    shared: Arc<Shared>,
    state: Arc<ApplyState>,
    meta: Arc<Meta>,
    clock: Arc<dyn Clock>,
    queue: WriterQueue,
    /// The others; `None` for a node that is alone.
    cluster: Option<ClusterParts>,
}

impl Starting {
    async fn run(self, mut apply: Apply) -> Result<Inner, ConsensusError> {
        self.replay(&mut apply)?;
        let in_flight = Arc::new(InFlightCount::default());
        // In a simulation the caller's runtime has one thread, and time that stands still: every sync would seem fast.
        let syncs_here = self.cluster.is_none() && self.options.threads > 0;
        let store = LogStore::new(
            Arc::clone(&self.shared),
            self.queue.clone(),
            Arc::clone(&self.clock),
            self.last_time().map_err(damage("last entry"))?.max(apply.last_time()),
            self.options.durability,
            syncs_here.then(|| Arc::clone(&in_flight)),
        );
        let machine_alive = apply.alive();
        let node = self.options.node.clone();
        let alone = self.cluster.is_none();
        // Who has followed a leader may have promised it something before this start.
        let bound = !alone && self.shared.vote.lock().is_some();
        let bound_until = if bound { self.clock.monotonic() + self.options.election_max } else { Duration::ZERO };
        let config = Arc::new(Config { enable_elect: !bound, ..raft_config(&self.options)? });
        let cluster = self.cluster.clone().unwrap_or_else(ClusterParts::alone);
        let network = Network {
            transport: Arc::clone(&cluster.transport),
            shared: Arc::clone(&self.shared),
            snapshots: cluster.snapshots.clone(),
            clock: Arc::clone(&self.clock),
            snapshot_bytes_per_second: self.options.snapshot_bytes_per_second,
            blocking: self.options.threads > 0,
        };
        let raft = Raft::new(node.id(), config, network, store, apply)
            .await
            .map_err(|fatal| ConsensusError::Stopped(fatal.to_string()))?;
        if bound {
            tokio::spawn(elect_later(raft.clone(), Arc::clone(&self.clock), election_delay(&self.options)));
        }
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(watch_core(raft.clone(), Arc::clone(&self.state), Arc::clone(&self.shared), stop));
        if alone {
            self.join(&raft, node.clone()).await?;
        } else {
            self.rejoin(&raft, node.id()).await?;
        }
        if let Durability::Interval(interval) = self.options.durability {
            let (shared, queue) = (Arc::clone(&self.shared), self.queue.clone());
            tokio::spawn(sync_at_intervals(shared, queue, Arc::clone(&self.clock), interval));
        }
        let checkpointed = watch::Sender::new(LogIndex(0));
        let housekeeping = Housekeeping {
            raft: raft.clone(),
            shared: Arc::clone(&self.shared),
            state: Arc::clone(&self.state),
            queue: self.queue.clone(),
            keep_entries: self.options.keep_entries,
            keep_bytes: self.options.keep_bytes,
            unarchived_bytes: self.options.unarchived_bytes,
        };
        tokio::spawn(housekeeping.run(checkpointed.subscribe()));
        Ok(Inner {
            raft,
            shared: self.shared,
            state: self.state,
            queue: self.queue,
            meta: self.meta,
            clock: self.clock,
            in_flight,
            checkpointed,
            stopped,
            machine_alive,
            closing: AtomicBool::new(false),
            entry_bytes_max: self.options.entry_bytes_max,
            in_flight_bytes_max: self.options.in_flight_bytes_max,
            threads: None.into(),
            node,
            cluster,
            blocking: self.options.threads > 0,
            receiving: tokio::sync::Mutex::default(),
            restart: AtomicBool::new(false),
            election_max: self.options.election_max,
            forwarder: Forwarder::default(),
            alone,
            handing_over: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            bound_until,
            handle: Handle::current(),
        })
    }

    /// Applies what is known to be committed. What follows in the log is Raft's to decide.
    fn replay(&self, apply: &mut Apply) -> Result<(), ConsensusError> {
        let to = self.shared.committed.load(Ordering::Acquire);
        loop {
            let from = apply.last().map_or(0, |id| id.index + 1);
            if from >= to {
                return Ok(());
            }
            let entries = self.shared.read(from, to, REPLAY_BYTES).map_err(damage("log"))?;
            if entries.first().is_none_or(|entry| entry.id.index != from) {
                let reason = format!("entry {} is missing", to_index(from));
                return Err(ConsensusError::Damaged { what: "log", reason });
            }
            apply.replay(entries)?;
        }
    }

    /// Time of the log's last entry: the next one's comes behind it, whatever the clock says now. Zero for a log that is empty,
    /// which says nothing of what a checkpoint holds.
    fn last_time(&self) -> std::io::Result<Hlc> {
        let Some((_, last)) = self.shared.log.last() else { return Ok(Hlc::default()) };
        match self.shared.log.read(last, last + 1, 1) {
            Ok(records) => Ok(records.last().map_or(Hlc::default(), |record| record.time)),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }

    /// Makes a fresh node the only voter of its cluster; lets an only voter lead at once.
    async fn join(&self, raft: &Raft<TypeConfig, Apply>, node: Node) -> Result<(), ConsensusError> {
        let id = node.id();
        let stopped = |error: &dyn std::fmt::Display| {
            ConsensusError::Stopped(self.shared.failure.get().unwrap_or_else(|| error.to_string()))
        };
        if raft.is_initialized().await.map_err(|e| stopped(&e))? {
            let voters: BTreeSet<u64> = raft.voter_ids().collect();
            if voters.len() > 1 {
                let text =
                    format!("this data directory is a member's of a cluster of {} voters: name them all", voters.len());
                return Err(ConsensusError::Options(text));
            }
            if !voters.contains(&id) {
                let text = format!("this data directory belongs to another member than {node}");
                return Err(ConsensusError::Options(text));
            }
            // Nobody else could lead: no need to wait for an election time-out.
            raft.trigger().elect(false).await.map_err(|e| stopped(&e))?;
        } else {
            raft.initialize(BTreeMap::from([(id, node)])).await.map_err(|e| stopped(&e))?;
        }
        self.wait_to_lead(raft).await
    }

    /// A member of a cluster waits for who leads; the only voter of one leads at once.
    async fn rejoin(&self, raft: &Raft<TypeConfig, Apply>, id: u64) -> Result<(), ConsensusError> {
        if raft.voter_ids().collect::<BTreeSet<u64>>() != BTreeSet::from([id]) {
            return Ok(());
        }
        raft.trigger().elect(false).await.map_err(|error| ConsensusError::Stopped(error.to_string()))?;
        self.wait_to_lead(raft).await
    }

    async fn wait_to_lead(&self, raft: &Raft<TypeConfig, Apply>) -> Result<(), ConsensusError> {
        let mut leading = self.state.leadership.watch();
        let mut core = raft.metrics();
        loop {
            if leading.borrow_and_update().is_some() {
                return Ok(());
            }
            let running = core.borrow_and_update().running_state.clone();
            if let Err(fatal) = running {
                let reason = self.shared.failure.get().unwrap_or_else(|| fatal.to_string());
                return Err(ConsensusError::Stopped(reason));
            }
            tokio::select! {
                biased;
                _ = leading.changed() => {}
                changed = core.changed() => {
                    if changed.is_err() {
                        return Err(ConsensusError::Stopped("core ended".to_owned()));
                    }
                }
            }
        }
    }
}

/// Lets a member ask for votes when nobody can count any more on what it promised before it was started.
async fn elect_later(raft: Raft<TypeConfig, Apply>, clock: Arc<dyn Clock>, delay: Duration) {
    clock.sleep(delay).await;
    raft.runtime_config().elect(true);
}

/// As long as a promise lasts, and some time that differs from member to member: all may have started together.
fn election_delay(options: &ConsensusOptions) -> Duration {
    let spread = options.election_max.saturating_sub(options.election_min);
    options.election_max + spread.mul_f64((seed() % 1_000) as f64 / 1_000.0)
}

/// Tells leadership and the end of core to who waits for them.
async fn watch_core(
    raft: Raft<TypeConfig, Apply>,
    state: Arc<ApplyState>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
) {
    let id = *raft.node_id();
    let mut server = raft.server_metrics();
    let metrics = raft.metrics();
    // A handle would keep core's channels open.
    drop(raft);
    loop {
        let leading = {
            let server = server.borrow_and_update();
            let leads =
                server.state == ServerState::Leader && server.vote.committed && server.vote.leader_id.voted_for == id;
            leads.then_some(Term(server.vote.leader_id.term))
        };
        state.leadership.set_leading(leading);
        if server.changed().await.is_err() {
            break;
        }
    }
    state.leadership.set_leading(None);
    if let Err(fatal) = &metrics.borrow_watched().running_state
        && *fatal != openraft::errors::Fatal::Stopped
    {
        shared.failure.set(fatal.to_string());
    }
    let _ = stop.send(true);
}

/// What the design names of openraft's settings.
fn raft_config(options: &ConsensusOptions) -> Result<Config, ConsensusError> {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: format!("{:032x}", options.cluster_id),
        heartbeat_interval: millis(options.heartbeat),
        election_timeout_min: millis(options.election_min),
        election_timeout_max: millis(options.election_max),
        // Requests are small, so that heartbeats do not queue behind them; reads are bounded by bytes besides.
        max_payload_entries: 64,
        max_append_entries: Some(1024),
        // A lagging follower gets a snapshot when the log was cut, not by count.
        replication_lag_threshold: u64::MAX,
        // Snapshots are taken from checkpoints and the log is cut by our own rule: see `housekeeping`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_pre_vote: Some(true),
        // A leader that comes back lost its locks and its state: it must get a new term.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        // A leader that hears nobody while all hear it would keep them from electing another for ever: it falls silent for as
        // long as they need.
        quorum_loss_probe_interval: Some(2 * millis(options.election_max)),
        ..Config::default()
    };
    config.validate().map_err(|error| ConsensusError::Options(error.to_string()))
}

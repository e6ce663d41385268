//! Log, consensus, storage, engine and doors, put together; and taken apart again.
//!
//! ```text
//! meta (identity) -> lsm -> store (newest checkpoint) -> log -> consensus (replays the rest, leads) -> engine
//! ```

mod shown;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use perigee_backup::snapshot::{self, LsmSnapshots};
use perigee_cluster::{Cluster, ClusterOptions, Identity};
use perigee_config::{Authentication, ByteSize, Config, Durability, MemoryPlan};
use perigee_consensus::{
    Applied, ClusterParts, Consensus, ConsensusError, ConsensusOptions, Node, SnapshotPosition, adopt, force_recover,
};
use perigee_engine::backup::{self, BackupOptions};
use perigee_engine::compare::StateHolder;
use perigee_engine::{Divergence, Engine, EngineOptions, KeyspaceLog, Machine, maintenance};
use perigee_keyspace::{Keyspace, StorageFault, persist};
use perigee_log::{Log, LogError, LogOptions, Meta, NodeIdentity};
use perigee_query::exec::{QueryOptions, QueryRuntime};
use perigee_runtime::Runtime;
use perigee_security::scram::ScramVerifier;
use perigee_security::tls::MemberTls;
use perigee_storage::budget::{BudgetOptions, MemoryBudget};
use perigee_storage::cold::ColdStore;
use perigee_storage::disk::DiskReserve;
use perigee_storage::kv::{FjallKv, KvEngine, KvError, KvOptions};
use perigee_storage::objects::Objects;
use perigee_storage::store::{Store, StoreError, StoreOptions};
use perigee_telemetry::names;
use perigee_types::{Hlc, LogIndex, SqlState};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::backup_command::check_finished;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::full_disk;
use crate::gateway::Gateway;
use crate::measure;
use crate::open_files;
use crate::repair;

/// How long a leader that stops waits for another member to take over.
const HAND_OVER: Duration = Duration::from_secs(2);
/// Up to so many, core and apply of a node that is alone share one thread: nobody waits for its heartbeats, and the other
/// core has the doors' work.
pub(crate) const SHARED_CORES: usize = 2;
/// The life of a cluster, counted from one. A restored one is a cluster of its own, with other ids.
const LINEAGE: u32 = 1;
/// The fact in `meta` that says whether the log is still to be brought behind an installed snapshot.
const INSTALLED: &str = "installed";

/// What a start may be told beside the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// Go on without the other voters.
    pub(crate) force_recover: bool,
    /// Do not apply these entries.
    pub(crate) skip_entries: BTreeSet<LogIndex>,
}

/// A running node without its doors.
pub(crate) struct Assembly {
    id: String,
    /// The node's folder.
    root: PathBuf,
    plan: MemoryPlan,
    engine: Arc<Engine>,
    consensus: Consensus,
    kv: Arc<dyn KvEngine>,
    budget: Arc<MemoryBudget>,
    disk: Arc<DiskReserve>,
    log: Arc<Log>,
    meta: Arc<Meta>,
    /// Why this node is not what the leader attests.
    diverged: Arc<OnceLock<Divergence>>,
    cluster: Option<Member>,
    gateway: Gateway,
    stop_maintenance: CancellationToken,
    maintenance: std::sync::Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Assembly {
    /// Recovers the node: newest checkpoint, then the log behind it. Returns when a single node leads and has applied its log;
    /// a member of a cluster when it has applied what it knows to be committed. `listener` is for the other members.
    pub(crate) async fn start(
        config: &Config,
        plan: &MemoryPlan,
        dir: &DataDir,
        runtime: Runtime,
        overrides: &Overrides,
        listener: Option<TcpListener>,
    ) -> Result<Arc<Self>, Failure> {
        if overrides.force_recover && listener.is_none() {
            return Err(Failure::Refused(
                "--force-recover is for a node that has lost the majority of its cluster; this node is the only voter, so \
                 there is nobody to go on without: start it as always"
                    .to_owned(),
            ));
        }
        let (meta, mut identity) = identity(config, dir, &runtime)?;
        repair::check(&meta)?;
        if overrides.force_recover {
            if identity.cluster_id == 0 {
                return Err(Failure::Refused(
                    "--force-recover: this node has never been a member of a cluster".to_owned(),
                ));
            }
            // Another member than it was: those that are left behind do not know it, and it does not know them.
            let incarnation = perigee_log::random_id();
            let node = Node { name: config.node.id.clone(), incarnation, address: String::new() };
            identity = NodeIdentity { node_id: node.id(), incarnation, ..identity };
            meta.set_identity(identity)?;
        }
        let mut member = match listener {
            Some(listener) => Some(Member::listen(config, &identity, listener).await?),
            None => None,
        };
        if identity.cluster_id == 0 {
            identity.cluster_id = match &member {
                Some(member) => member.cluster.find(perigee_log::random_id).await.map_err(Failure::fatal)?,
                None => perigee_log::random_id(),
            };
            meta.set_identity(identity)?;
        }
        install_snapshot(dir, &meta)?;
        let budget = budget(plan);
        let kv = open_kv(plan, dir).await?;
        let (keyspace, line) = open_keyspace(&kv, &budget, &runtime).await?;
        let beside = Arc::clone(&keyspace);
        let cold = open_cold(config, plan, dir, identity.cluster_id).await?;
        let (store, applier) = open_store(config, plan, Arc::clone(&kv), Arc::clone(&budget), beside, cold).await?;
        let recovered = store.recovered();
        let restored =
            Applied { index: recovered.index, term: recovered.term, membership: recovered.membership.clone() };
        tracing::info!(index = %restored.index, "checkpoint restored");
        let options = LogOptions {
            dir: dir.log(),
            cluster_id: identity.cluster_id,
            segment_bytes: config.log.segment_size.bytes(),
        };
        let (log, recovery) = Log::open(Arc::clone(&runtime.files), options)?;
        if let Some(cut) = &recovery.cut {
            tracing::warn!(?cut, "the log ended in a torn write that was never acknowledged; it was cut");
        }
        let log = Arc::new(log);
        adopt_snapshot(&meta, &log, &restored, recovered.chain_hash)?;
        check_skipped(&overrides.skip_entries, restored.index, &log)?;
        let restored_position = restored.clone();
        let (holder, diverged) =
            (StateHolder::new(Some(Arc::clone(&keyspace))), Arc::<OnceLock<Divergence>>::default());
        let machine = Machine::new(applier, restored, Arc::clone(&log))
            .skipping(overrides.skip_entries.clone())
            .telling(Arc::clone(&holder), Arc::clone(&diverged));
        let node = Node {
            name: config.node.id.clone(),
            incarnation: identity.incarnation,
            address: member.as_ref().map(|member| member.cluster.node().address.clone()).unwrap_or_default(),
        };
        if overrides.force_recover {
            recover_alone(&log, &meta, (&restored_position, recovered.time), &node)?;
        }
        let mut options = ConsensusOptions::new(node, identity.cluster_id);
        options.committed = LogIndex(recovery.committed);
        options.recent_bytes_max = plan.log_cache.bytes() as usize;
        options.keep_bytes = config.log.feed_retention.bytes();
        options.keep_entries = config.log.keep_entries;
        options.unarchived_bytes = if config.backup.url.is_some() { config.backup.log_keep.bytes() } else { 0 };
        options.heartbeat = config.node.heartbeat.duration();
        options.election_min = config.node.election_timeout.duration();
        options.election_max = options.election_min * 2;
        options.durability = match config.log.durability {
            Durability::Fsync => perigee_consensus::Durability::Fsync,
            Durability::Interval => perigee_consensus::Durability::Interval(
                config.log.sync_interval.get().unwrap_or(Duration::from_secs(1)),
            ),
        };
        if member.is_none() && std::thread::available_parallelism().is_ok_and(|cores| cores.get() <= SHARED_CORES) {
            options.threads = 1;
        }
        let facts = Arc::clone(&meta);
        let consensus = match &mut member {
            None => Consensus::start(options, runtime.clone(), Arc::clone(&log), facts, machine).await,
            Some(member) => {
                let snapshots = LsmSnapshots::new(Arc::clone(&kv), dir.root());
                let parts =
                    ClusterParts { transport: Arc::new(member.cluster.clone()), snapshots: Some(Arc::new(snapshots)) };
                Consensus::start_member(options, runtime.clone(), Arc::clone(&log), facts, machine, parts).await
            }
        };
        let consensus = match (consensus, diverged.get()) {
            (Ok(consensus), _) => consensus,
            (Err(_), Some(divergence)) if member.is_some() => {
                repair::note(&meta, divergence)?;
                return Err(Failure::Damaged(divergence.reason.clone()));
            }
            (Err(error), _) => return Err(consensus_failure(error)),
        };
        if let Some(member) = &member {
            member.join(&consensus);
        }
        let reserve = config.storage.disk_reserve.map(ByteSize::bytes);
        let disk = DiskReserve::new(Arc::clone(&runtime.files), Arc::clone(&runtime.clock), dir.root(), reserve);
        let disk = Arc::new(disk);
        let mut options = engine_options(config, plan)?;
        options.cluster_id = identity.cluster_id;
        options.backup = open_backup(config).await?;
        let (query, kept) = (open_query(config, plan, dir)?, (Arc::clone(&disk), Arc::clone(&budget)));
        let log_of_keys = KeyspaceLog::new(consensus.clone(), Arc::clone(&disk), Arc::clone(&budget));
        let engine = Engine::new(
            options,
            runtime,
            Arc::clone(&store),
            consensus.clone(),
            query,
            kept.0,
            kept.1,
            Some(Arc::clone(&keyspace)),
        );
        let filling = Arc::clone(&engine);
        tokio::task::spawn_blocking(move || maintenance::finish_indexes(&filling))
            .await
            .map_err(Failure::fatal)?
            .map_err(Failure::fatal)?;
        if member.is_none() {
            maintenance::drop_temporary(&engine).await.map_err(Failure::fatal)?;
        }
        if !overrides.skip_entries.is_empty() {
            checkpoint_now(&engine).await?;
        }
        let stop_maintenance = CancellationToken::new();
        let maintenance = {
            let (engine, stop) = (Arc::clone(&engine), stop_maintenance.clone());
            std::thread::Builder::new()
                .name("checkpoint".to_owned())
                .spawn(move || maintenance::run(&engine, &stop))
                .map_err(Failure::fatal)?
        };
        let eviction = {
            let (engine, stop) = (Arc::clone(&engine), stop_maintenance.clone());
            std::thread::Builder::new()
                .name("eviction".to_owned())
                .spawn(move || maintenance::run_eviction(&engine, &stop))
                .map_err(Failure::fatal)?
        };
        let archive = {
            let (engine, stop) = (Arc::clone(&engine), stop_maintenance.clone());
            std::thread::Builder::new()
                .name("archive".to_owned())
                .spawn(move || backup::run(&engine, &stop))
                .map_err(Failure::fatal)?
        };
        if member.is_some() {
            tokio::spawn(maintenance::take_over(Arc::clone(&engine), stop_maintenance.clone()));
            tokio::spawn(full_disk::run(consensus.clone(), Arc::clone(&disk), stop_maintenance.clone()));
        }
        let cluster = member.as_ref().map(|member| member.cluster.clone());
        let gateway = Gateway::new(consensus.clone(), cluster, &engine, holder);
        if member.is_some() {
            engine.set_elsewhere(Arc::new(gateway.clone()));
        }
        let stop_keys = stop_maintenance.clone();
        let feed = stop_keys.run_until_cancelled_owned(keyspace.run(line, Arc::new(log_of_keys)));
        // Behind the answers of an entry stand the turns of all connections that have them: on the doors' threads the next
        // entry would wait for those.
        consensus.spawn(async move {
            feed.await;
        });
        metrics::gauge!(names::SESSIONS_MAX).set(config.sessions.max as f64);
        // Alerts look how much this one grows.
        metrics::counter!(names::ERRORS_TOTAL, "sqlstate" => SqlState::SerializationFailure.code()).increment(0);
        tokio::spawn(perigee_engine::continuous::run(Arc::clone(&engine), stop_maintenance.clone()));
        tokio::spawn(perigee_engine::retention::run(Arc::clone(&engine), stop_maintenance.clone()));
        Ok(Arc::new(Self {
            id: config.node.id.clone(),
            root: dir.root().to_owned(),
            plan: *plan,
            engine,
            consensus,
            kv,
            budget,
            disk,
            log,
            meta,
            diverged,
            gateway,
            cluster: member,
            stop_maintenance,
            maintenance: std::sync::Mutex::new(vec![maintenance, eviction, archive]),
        }))
    }

    /// The way to the doors of other members.
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// What the doors call.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Whether reads and writes can be served, or why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if !self.engine.is_ready() {
            return Err("no leader is heard of".to_owned());
        }
        if self.consensus.leader_term().is_some() && !self.consensus.has_majority() {
            return Err("this node led, and reaches no majority of the voters".to_owned());
        }
        // Not so with a full disk: reads go on, and who frees space must find a way in.
        Ok(())
    }

    /// Whether this node takes writes.
    pub(crate) fn leads(&self) -> bool {
        self.consensus.leader_term().is_some() && self.consensus.has_majority()
    }

    /// Sets the gauges that nobody counts while things happen.
    pub(crate) fn measure(&self) {
        measure::log(&self.consensus.metrics());
        measure::storage(&self.engine.store().statistics());
        measure::memory(&self.plan, &self.budget);
        metrics::gauge!(names::LOCK_WAITERS).set(self.engine.lock_waiters() as f64);
        metrics::gauge!(names::LSM_BYTES).set(self.kv.disk_bytes() as f64);
        // Asks the file system when the last answer is old.
        let _ = self.disk.room(0);
        metrics::gauge!(names::DISK_FREE_BYTES).set(self.disk.free_bytes() as f64);
        metrics::gauge!(names::DISK_BYTES).set(self.disk.total_bytes() as f64);
        metrics::gauge!(names::DISK_RESERVE_BYTES).set(self.disk.reserve_bytes() as f64);
        let traffic = perigee_storage::objects::traffic();
        metrics::counter!(names::OBJECT_STORE_REQUESTS_TOTAL).absolute(traffic.requests);
        metrics::counter!(names::OBJECT_STORE_FAILURES_TOTAL).absolute(traffic.failures);
        metrics::gauge!(names::SESSIONS).set(self.engine.sessions().all().len() as f64);
    }

    /// Ends when the node cannot go on, with the reason.
    pub(crate) async fn failed(&self) -> Failure {
        tokio::select! {
            reason = self.consensus.stopped() => {
                Failure::fatal(reason.unwrap_or_else(|| "consensus has stopped".to_owned()))
            }
            reason = self.engine.failed() => Failure::fatal(reason),
        }
    }

    /// Whether the process is to start again, over a snapshot of the leader.
    pub(crate) fn wants_restart(&self) -> bool {
        self.consensus.wants_restart()
    }

    /// Whether this node has stopped because it is not what the leader attests, and there are others. Noted, so that the next start
    /// does not take part with it.
    pub(crate) fn has_diverged(&self) -> Result<bool, Failure> {
        match self.diverged.get().filter(|_| self.cluster.is_some()) {
            None => Ok(false),
            Some(divergence) => repair::note(&self.meta, divergence).map(|()| true),
        }
    }

    /// A leader that is about to stop lets another member lead, so that nobody waits for an election.
    pub(crate) async fn hand_over(&self) {
        if self.cluster.is_none() || self.consensus.leader_term().is_none() {
            return;
        }
        self.consensus.step_down().await;
        let mut leading = self.consensus.watch_leader();
        let handed_over = leading.wait_for(Option::is_none);
        if tokio::time::timeout(HAND_OVER, handed_over).await.is_err() {
            tracing::warn!("no other member has taken over: an election will follow");
        }
    }

    /// The end: sessions closed, final checkpoint, consensus down, log closed.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        self.engine.sessions().close();
        self.stop_maintenance.cancel();
        let threads = std::mem::take(&mut *self.maintenance.lock().unwrap_or_else(|e| e.into_inner()));
        let engine = Arc::clone(&self.engine);
        let checkpoint = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let name = thread.thread().name().unwrap_or_default().to_owned();
                if thread.join().is_err() {
                    tracing::error!("the {name} thread had panicked");
                }
            }
            maintenance::checkpoint(&engine)
        });
        match checkpoint.await {
            Ok(Ok(index)) => tracing::info!(?index, "final checkpoint"),
            // The log has everything: the next start replays it.
            Ok(Err(error)) => tracing::warn!(%error, "no final checkpoint"),
            Err(error) => tracing::warn!(%error, "no final checkpoint"),
        }
        self.consensus.shutdown().await;
        if let Some(member) = &self.cluster {
            member.close();
        }
        self.log.close()?;
        Ok(())
    }
}

/// This node in its cluster, with the threads that other members are answered on: doors do not hold up heartbeats.
struct Member {
    cluster: Cluster,
    threads: std::sync::Mutex<Option<tokio::runtime::Runtime>>,
}

impl Member {
    /// Listens for the others.
    async fn listen(config: &Config, identity: &NodeIdentity, listener: TcpListener) -> Result<Self, Failure> {
        let options = cluster_options(config)?;
        options.check(&config.node.id).await.map_err(|error| Failure::Refused(error.to_string()))?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("cluster")
            .enable_all()
            .build()
            .map_err(|error| Failure::fatal(format!("cannot start threads: {error}")))?;
        let own = Identity {
            name: config.node.id.clone(),
            incarnation: identity.incarnation,
            cluster_id: Some(identity.cluster_id).filter(|cluster| *cluster != 0),
        };
        let listener = listener.into_std().map_err(Failure::fatal)?;
        let cluster = {
            let _on_its_threads = threads.enter();
            let listener = TcpListener::from_std(listener).map_err(Failure::fatal)?;
            Cluster::serve(listener, options, own)
        };
        Ok(Self { cluster, threads: std::sync::Mutex::new(Some(threads)) })
    }

    /// Answers for consensus from here on, forms the cluster and keeps its members.
    fn join(&self, consensus: &Consensus) {
        self.cluster.attach(consensus.clone());
        let keeping = self.cluster.clone();
        if let Some(threads) = &*self.threads.lock().unwrap_or_else(|e| e.into_inner()) {
            threads.spawn(async move { keeping.keep().await });
        }
    }

    fn close(&self) {
        self.cluster.close();
        if let Some(threads) = self.threads.lock().unwrap_or_else(|e| e.into_inner()).take() {
            threads.shutdown_background();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // A plain drop of the threads would block, which tokio forbids where this may run.
        self.close();
    }
}

/// Who this node and the others are.
pub(crate) fn cluster_options(config: &Config) -> Result<ClusterOptions, Failure> {
    let security = &config.security;
    let tls = match (&security.cluster_authority, &security.cluster_certificate, &security.cluster_key) {
        (Some(authority), Some(certificate), Some(key)) => {
            Some(MemberTls::load(authority, certificate, key, &["h2"]).map_err(Failure::fatal)?)
        }
        _ => None,
    };
    Ok(ClusterOptions { peers: config.node.peers.0.clone(), tls, insecure: security.insecure })
}

/// Puts a snapshot of the leader, received before the last stop, in the place of the LSM. The log follows, once it is open: see
/// [`adopt_snapshot`]; a note says so, because a crash may come in between.
fn install_snapshot(dir: &DataDir, meta: &Meta) -> Result<(), Failure> {
    if !snapshot::waits(dir.root()).map_err(Failure::fatal)? {
        snapshot::install(dir.root()).map_err(Failure::fatal)?;
        return Ok(());
    }
    meta.save_fact(INSTALLED, &[1])?;
    snapshot::install(dir.root()).map_err(Failure::fatal)?;
    tracing::info!("a snapshot of the leader has taken the place of this node's tables and keys");
    Ok(())
}

/// Brings the log behind the snapshot that was installed.
fn adopt_snapshot(meta: &Meta, log: &Log, restored: &Applied, chain_hash: [u8; 32]) -> Result<(), Failure> {
    if meta.fact(INSTALLED)?.is_none_or(|fact| fact != [1]) {
        return Ok(());
    }
    adopt(log, &SnapshotPosition { applied: restored.clone(), chain_hash }).map_err(|error| match error {
        // What lies between the two is nowhere any more, and this node may have acknowledged it.
        LogError::Purged { .. } => Failure::Damaged(format!("the snapshot that was installed is too old: {error}")),
        error => error.into(),
    })?;
    meta.save_fact(INSTALLED, &[0])?;
    Ok(())
}

/// Makes this node the only voter of what it holds, and says what that costs.
fn recover_alone(log: &Log, meta: &Meta, restored: (&Applied, Hlc), node: &Node) -> Result<(), Failure> {
    let recovered = force_recover(log, meta, restored.0, restored.1, node).map_err(consensus_failure)?;
    let members: Vec<String> = recovered.members.iter().map(ToString::to_string).collect();
    tracing::warn!(
        last = %recovered.last,
        term = recovered.term.0,
        marked = %recovered.marked,
        left_behind = members.join(", "),
        "--force-recover: this node goes on as the only voter. What others have acknowledged behind its last entry is lost; start \
         none of them again but with an empty folder, and add it with `perigee admin cluster add`"
    );
    Ok(())
}

/// Entries can only be skipped where they are still to be applied.
fn check_skipped(skipped: &BTreeSet<LogIndex>, restored: LogIndex, log: &Log) -> Result<(), Failure> {
    let last = LogIndex(log.last().map_or(0, |(_, last)| last));
    for index in skipped {
        if *index <= restored {
            return Err(Failure::Refused(format!(
                "--skip-entry {index}: the entry is in the checkpoint of entry {restored}; only later ones are applied"
            )));
        }
        if *index > last {
            return Err(Failure::Refused(format!("--skip-entry {index}: the log ends at entry {last}")));
        }
    }
    Ok(())
}

/// A checkpoint behind entries that were skipped, so that no later start meets them again.
async fn checkpoint_now(engine: &Arc<Engine>) -> Result<(), Failure> {
    let engine = Arc::clone(engine);
    let checkpoint = tokio::task::spawn_blocking(move || maintenance::checkpoint_all(&engine));
    checkpoint.await.map_err(Failure::fatal)?.map_err(Failure::fatal)
}

/// Who this node is; made with the data directory.
fn identity(config: &Config, dir: &DataDir, runtime: &Runtime) -> Result<(Arc<Meta>, NodeIdentity), Failure> {
    let meta = Arc::new(Meta::open(Arc::clone(&runtime.files), &dir.meta())?);
    // Before an identity is made: what is restored has one of its own.
    check_finished(&meta, dir)?;
    let identity = match meta.identity() {
        Some(identity) => identity,
        None if dir.is_new().map_err(Failure::fatal)? => {
            let incarnation = perigee_log::random_id();
            let node = Node { name: config.node.id.clone(), incarnation, address: String::new() };
            // Its cluster is found, or drawn, before anything is written for it.
            let identity = NodeIdentity { node_id: node.id(), incarnation, cluster_id: 0 };
            meta.set_identity(identity)?;
            identity
        }
        None => {
            return Err(Failure::Damaged(format!(
                "{} has data but its identity in meta/ is missing",
                dir.root().display()
            )));
        }
    };
    let node = Node { name: config.node.id.clone(), incarnation: identity.incarnation, address: String::new() };
    if node.id() != identity.node_id {
        return Err(Failure::DataDir(format!(
            "{} belongs to a node of another name than \"{}\"",
            dir.root().display(),
            config.node.id
        )));
    }
    Ok((meta, identity))
}

fn budget(plan: &MemoryPlan) -> Arc<MemoryBudget> {
    MemoryBudget::new(BudgetOptions {
        root: plan.root.bytes(),
        hot: plan.hot.bytes(),
        query: plan.query.bytes(),
        session: plan.sessions.bytes(),
        log_cache: plan.log_cache.bytes(),
    })
}

async fn open_kv(plan: &MemoryPlan, dir: &DataDir) -> Result<Arc<dyn KvEngine>, Failure> {
    let options =
        KvOptions { cache_bytes: plan.lsm_cache.bytes(), open_files: open_files::of_lsm(), ..KvOptions::default() };
    let lsm = dir.lsm();
    let opened = tokio::task::spawn_blocking(move || FjallKv::open(&lsm, &options));
    Ok(Arc::new(opened.await.map_err(Failure::fatal)?.map_err(kv_failure)?))
}

/// The keyspace as the last checkpoint holds it; its objects are read when somebody wants them.
async fn open_keyspace(
    kv: &Arc<dyn KvEngine>,
    budget: &Arc<MemoryBudget>,
    runtime: &Runtime,
) -> Result<(Arc<Keyspace>, perigee_keyspace::Line), Failure> {
    let reading = Arc::clone(kv);
    let state = tokio::task::spawn_blocking(move || persist::restore(reading.as_ref()));
    let state = state.await.map_err(Failure::fatal)?.map_err(|fault| match fault {
        StorageFault::Kv(error) => kv_failure(error),
        fault @ StorageFault::Damaged { .. } => Failure::Damaged(fault.to_string()),
        fault => Failure::fatal(fault),
    })?;
    let load = Box::new(persist::LsmLoad::new(Arc::clone(kv)));
    let (keyspace, line) = Keyspace::new(state, load, Arc::clone(&runtime.clock));
    keyspace.count_in(budget);
    Ok((keyspace, line))
}

async fn open_store(
    config: &Config,
    plan: &MemoryPlan,
    kv: Arc<dyn KvEngine>,
    budget: Arc<MemoryBudget>,
    keyspace: Arc<Keyspace>,
    cold: Arc<ColdStore>,
) -> Result<(Arc<Store>, perigee_storage::store::Applier), Failure> {
    let options = StoreOptions {
        superuser: config.security.superuser.clone(),
        hot_retention: config.storage.hot_retention.get(),
        checkpoint_bytes: config.storage.checkpoint_size.bytes().min(plan.dirty.bytes()),
        checkpoint_interval: config.storage.checkpoint_interval.get().unwrap_or(Duration::from_secs(60)),
        cold: Some(cold),
        ..StoreOptions::default()
    };
    let opened = tokio::task::spawn_blocking(move || Store::open_with(options, kv, budget, Some(keyspace)));
    opened.await.map_err(Failure::fatal)?.map_err(store_failure)
}

async fn open_cold(
    config: &Config,
    plan: &MemoryPlan,
    dir: &DataDir,
    cluster_id: u128,
) -> Result<Arc<ColdStore>, Failure> {
    let (url, folder) = (config.cold.url.clone(), dir.cold());
    let cache = plan.hot.bytes() / 32;
    let opened = tokio::task::spawn_blocking(move || cold_store(url.as_deref(), &folder, cluster_id, cache));
    opened.await.map_err(Failure::fatal)?
}

/// Where cold files are: the node's own folder, unless the configuration names a store. Blocking.
pub(crate) fn cold_store(
    url: Option<&str>,
    folder: &Path,
    cluster_id: u128,
    cache_bytes: u64,
) -> Result<Arc<ColdStore>, Failure> {
    let objects = match url {
        Some(url) => Objects::at_url(url),
        None => Objects::in_folder(folder),
    };
    let objects = objects.map_err(Failure::fatal)?;
    // Paths have the cluster, and which of its lives this is: none removes another's files.
    Ok(ColdStore::new(objects, &format!("{cluster_id:032x}/{LINEAGE}"), cache_bytes))
}

/// Where backups go by themselves, if they do.
async fn open_backup(config: &Config) -> Result<Option<BackupOptions>, Failure> {
    let Some(url) = config.backup.url.clone() else { return Ok(None) };
    let opened = tokio::task::spawn_blocking(move || Objects::at_url(&url));
    let objects = opened.await.map_err(Failure::fatal)?.map_err(Failure::fatal)?;
    Ok(Some(BackupOptions {
        objects,
        interval: config.backup.interval.get().unwrap_or(Duration::from_secs(1)),
        base_interval: config.backup.base_interval.get(),
    }))
}

fn open_query(config: &Config, plan: &MemoryPlan, dir: &DataDir) -> Result<Arc<QueryRuntime>, Failure> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    QueryRuntime::new(QueryOptions {
        threads: if config.query.threads == 0 { cores } else { config.query.threads },
        memory_bytes: plan.query.bytes() as usize,
        spill_dir: dir.tmp().join("spill"),
        spill_bytes_max: config.query.spill_size.bytes(),
    })
    .map_err(Failure::fatal)
}

fn engine_options(config: &Config, plan: &MemoryPlan) -> Result<EngineOptions, Failure> {
    let verifier = match &config.security.superuser_password {
        Some(password) => {
            Some(ScramVerifier::from_password_or_verifier(password.reveal()).map_err(Failure::fatal)?.to_string())
        }
        None => None,
    };
    Ok(EngineOptions {
        connections_max: config.sessions.max,
        node_number: node_number(config),
        authentication: config.security.authentication != Authentication::Trust,
        superuser: (config.security.superuser.clone(), verifier),
        durability: match config.log.durability {
            Durability::Fsync => "fsync".to_owned(),
            Durability::Interval => format!("interval ({})", config.log.sync_interval),
        },
        slow_statement: config.telemetry.slow_statement.get(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        transaction_bytes_max: (plan.sessions.bytes() as usize / 4).clamp(8 << 20, 64 << 20),
        cold_shared: config.cold.shared,
        cold_iceberg: config.cold.iceberg,
        ..EngineOptions::default()
    })
}

/// A number of its own for each node: its place among the peers.
fn node_number(config: &Config) -> u8 {
    let place = config.node.peers.0.keys().position(|name| *name == config.node.id);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
}

fn kv_failure(error: KvError) -> Failure {
    if error.is_damage() { Failure::Damaged(error.to_string()) } else { Failure::Fatal(with_sources(&error)) }
}

fn store_failure(error: StoreError) -> Failure {
    match error {
        StoreError::Kv(error) => kv_failure(error),
        StoreError::Damaged { .. } | StoreError::Column { .. } | StoreError::Entry { .. } => {
            Failure::Damaged(error.to_string())
        }
        error => Failure::Fatal(with_sources(&error)),
    }
}

fn consensus_failure(error: ConsensusError) -> Failure {
    match error {
        ConsensusError::Log(error) => error.into(),
        ConsensusError::LogBehind { .. }
        | ConsensusError::LogGap { .. }
        | ConsensusError::Diverged { .. }
        | ConsensusError::Damaged { .. } => Failure::Damaged(error.to_string()),
        error => Failure::Fatal(with_sources(&error)),
    }
}

/// An error with what lies behind it, in one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

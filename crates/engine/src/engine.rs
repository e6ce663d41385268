//! The engine of one node: what all sessions share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use perigee_consensus::{Committed, Consensus, Outcome, ProposeError};
use perigee_keyspace::Keyspace;
use perigee_query::exec::QueryRuntime;
use perigee_query::sql::StatementCache;
use perigee_runtime::Runtime;
use perigee_storage::budget::{MemoryBudget, Pressure};
use perigee_storage::disk::{DiskReserve, Room};
use perigee_storage::entry::Entry;
use perigee_storage::store::Store;
use perigee_streams::Feed;
use perigee_telemetry::names;
use perigee_types::{Hlc, LogIndex, SqlError, SqlResult, SqlState, Term};
use tokio::sync::Semaphore;

use crate::api::{Authentication, ConnectRequest};
use crate::backup::{BackupOptions, Backups};
use crate::checks::RuleCache;
use crate::cold::Migrations;
use crate::continuous::Aggregates;
use crate::elsewhere::Elsewhere;
use crate::family::PartitionCache;
use crate::feed::NodeLog;
use crate::gaps::Gaps;
use crate::iceberg::Exports;
use crate::large::LargeEntries;
use crate::locks::{Holder, LockManager};
use crate::notify::Listeners;
use crate::queries::Queries;
use crate::registry::Registry;
use crate::sequences::Sequences;
use crate::serializable::Serializable;
use crate::session::Session;
use crate::shared_snapshots::SharedSnapshots;

/// What an engine is told when it starts.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Sessions that may be open.
    pub connections_max: usize,
    /// Statements whose plans are kept.
    pub statement_cache_entries: usize,
    /// Whether roles prove themselves; without it loopback is trusted.
    pub authentication: bool,
    /// Name of the first superuser, and its SCRAM verifier where the configuration gives a password.
    pub superuser: (String, Option<String>),
    /// A number of its own for each node of the cluster; in the process ids of its sessions. Below 32.
    pub node_number: u8,
    /// `SHOW durability`
    pub durability: String,
    /// From which duration on statements are logged, where no role or session says otherwise.
    pub slow_statement: Option<Duration>,
    /// Perigee's version, told to clients.
    pub version: String,
    /// Bytes of one transaction that are buffered before its rows are staged in the log.
    pub transaction_bytes_max: usize,
    /// Time between two attestations of a node that is written to.
    pub attest_every: Duration,
    /// The cluster: its backups stand under this id.
    pub cluster_id: u128,
    /// Where backups go; `None` where none are made unasked.
    pub backup: Option<BackupOptions>,
    /// Whether a folder with cold files is the same one on every member.
    pub cold_shared: bool,
    /// Whether tables with cold rows are exported for others to read.
    pub cold_iceberg: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            connections_max: 1_000,
            statement_cache_entries: 4_096,
            authentication: false,
            superuser: ("postgres".to_owned(), None),
            node_number: 0,
            durability: "fsync".to_owned(),
            slow_statement: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            transaction_bytes_max: 64 << 20,
            attest_every: Duration::from_secs(5),
            cluster_id: 0,
            backup: None,
            cold_shared: false,
            cold_iceberg: false,
        }
    }
}

/// The engine of one node. Doors share it.
pub struct Engine {
    pub(crate) options: EngineOptions,
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<Store>,
    pub(crate) consensus: Consensus,
    pub(crate) query: Arc<QueryRuntime>,
    pub(crate) disk: Arc<DiskReserve>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) locks: LockManager,
    pub(crate) statements: StatementCache,
    pub(crate) planners: Arc<Semaphore>,
    pub(crate) sequences: Sequences,
    pub(crate) rules: RuleCache,
    pub(crate) partitions: PartitionCache,
    pub(crate) serializable: Arc<Serializable>,
    pub(crate) sessions: Registry,
    pub(crate) gaps: Gaps,
    pub(crate) queries: Queries,
    /// Renders the node's metrics.
    pub(crate) metrics: std::sync::OnceLock<Box<dyn Fn() -> String + Send + Sync>>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) listeners: Listeners,
    pub(crate) shared_snapshots: SharedSnapshots,
    pub(crate) aggregates: Aggregates,
    pub(crate) large_entries: LargeEntries,
    pub(crate) keyspace: Option<Arc<Keyspace>>,
    pub(crate) migrations: Migrations,
    pub(crate) exports: Exports,
    pub(crate) backups: Backups,
    pub(crate) elsewhere: std::sync::OnceLock<Arc<dyn Elsewhere>>,
    holders: AtomicU64,
    /// The last number that a transaction got from `txid_current`.
    transaction_numbers: AtomicI64,
    /// Why the node cannot go on.
    failure: tokio::sync::watch::Sender<Option<String>>,
    /// Answers for roles that do not exist differ per cluster and stay the same per name.
    mock_secret: [u8; 32],
    started_micros: i64,
}

impl Engine {
    /// An engine over a store that consensus applies to.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "the parts of a node, each of another type")]
    pub fn new(
        options: EngineOptions,
        runtime: Runtime,
        store: Arc<Store>,
        consensus: Consensus,
        query: Arc<QueryRuntime>,
        disk: Arc<DiskReserve>,
        budget: Arc<MemoryBudget>,
        keyspace: Option<Arc<Keyspace>>,
    ) -> Arc<Self> {
        let started_micros = runtime.clock.now_micros() as i64;
        let feed = Feed::new(Arc::new(NodeLog(consensus.clone())), Arc::clone(&store));
        let large_entries = LargeEntries::new(&budget);
        Arc::new(Self {
            statements: StatementCache::new(options.statement_cache_entries),
            planners: crate::planning::planners(),
            sessions: Registry::new(options.node_number),
            options,
            runtime,
            store,
            consensus,
            query,
            disk,
            budget,
            locks: LockManager::default(),
            sequences: Sequences::default(),
            rules: RuleCache::default(),
            partitions: PartitionCache::default(),
            serializable: Arc::default(),
            gaps: Gaps::default(),
            queries: Queries::default(),
            metrics: std::sync::OnceLock::new(),
            feed,
            listeners: Listeners::default(),
            shared_snapshots: SharedSnapshots::default(),
            aggregates: Aggregates::default(),
            large_entries,
            keyspace,
            migrations: Migrations::default(),
            exports: Exports::default(),
            backups: Backups::default(),
            elsewhere: std::sync::OnceLock::new(),
            holders: AtomicU64::new(1),
            transaction_numbers: AtomicI64::new(0),
            failure: tokio::sync::watch::Sender::new(None),
            mock_secret: rand::random(),
            started_micros,
        })
    }

    /// What `perigee.metrics` shows from now on: all metrics of the node, in Prometheus' text format.
    pub fn show_metrics(&self, render: impl Fn() -> String + Send + Sync + 'static) {
        drop(self.metrics.set(Box::new(render)));
    }

    /// Whether roles connect from there without proving themselves.
    #[must_use]
    pub fn trusts(&self, _peer: Option<SocketAddr>) -> bool {
        !self.options.authentication
    }

    /// The name of the first superuser: who a client is that names nobody, where nobody is asked.
    #[must_use]
    pub fn superuser(&self) -> &str {
        &self.options.superuser.0
    }

    /// How a role must prove itself. Roles that do not exist get a verifier that no password fits.
    ///
    /// # Errors
    /// None so far; rules that refuse an address will.
    pub fn authentication(&self, user: &str, peer: Option<SocketAddr>) -> SqlResult<Authentication> {
        if self.trusts(peer) {
            return Ok(Authentication::Trust);
        }
        let catalog = self.store.catalog();
        let role = catalog.role(user);
        let expired = role.and_then(|role| role.valid_until).is_some_and(|until| until < self.now_micros());
        let stored = role.and_then(|role| role.password.clone());
        let (superuser, configured) = &self.options.superuser;
        let configured = configured.clone().filter(|_| user == superuser);
        Ok(Authentication::Scram(match stored.or(configured).filter(|_| !expired) {
            Some(verifier) => verifier,
            None => perigee_security::scram::ScramVerifier::decoy(user, &self.mock_secret).to_string(),
        }))
    }

    /// Opens a session for a client that has proved itself.
    ///
    /// # Errors
    /// `28000` no such role, `3D000` no such database, `53300` too many sessions, `57P03` not ready, and what the
    /// start-up settings give.
    pub async fn connect(self: &Arc<Self>, request: ConnectRequest) -> SqlResult<Session> {
        if self.consensus.leader_term().is_none() && self.elsewhere.get().is_none() {
            self.followed()?;
        }
        Session::open(self, request)
    }

    /// Cancels what a session of another node's client, or one of this node's, runs here: the request came to another node.
    pub fn cancel_here(&self, process_id: i32, secret: i32) {
        if let Some(session) = self.sessions.get(process_id).filter(|session| session.secret == secret) {
            session.cancel();
        }
    }

    /// Cancels the running statement of a session, if the secret is its own.
    pub fn cancel(&self, process_id: i32, secret: i32) {
        match self.sessions.get(process_id) {
            Some(session) if session.secret == secret => session.cancel(),
            // A session of another node: it may be served here, or its client may have come here to cancel.
            None if self.elsewhere.get().is_some() && !self.sessions.is_own(process_id) => {
                self.elsewhere.get().into_iter().for_each(|elsewhere| elsewhere.cancel(process_id, secret));
            }
            _ => tracing::debug!(process_id, "cancel request for no session"),
        }
    }

    /// The sessions of this node.
    #[must_use]
    pub fn sessions(&self) -> &Registry {
        &self.sessions
    }

    /// What committed transactions have changed, in the order of the log.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// The keyspace of the node, where it has one.
    #[must_use]
    pub fn keyspace(&self) -> Option<&Arc<Keyspace>> {
        self.keyspace.as_ref()
    }

    /// The store, for statistics and maintenance.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Transactions that wait for a lock.
    #[must_use]
    pub fn lock_waiters(&self) -> usize {
        self.locks.waiters()
    }

    /// When the engine was made: microseconds since 1970 UTC.
    #[must_use]
    pub fn started_micros(&self) -> i64 {
        self.started_micros
    }

    /// Whether reads can be served, and on the leader writes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.consensus.leader_term().is_some() || self.followed().is_ok()
    }

    /// The name of the leader that this node follows.
    pub(crate) fn followed(&self) -> SqlResult<String> {
        let leader = self.consensus.leader().filter(|_| self.consensus.follows());
        leader.map(|leader| leader.name).ok_or_else(crate::transaction::no_leader)
    }

    /// Ends when the engine cannot go on, with the reason: the process has to end.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    pub(crate) fn fail(&self, reason: String) {
        self.failure.send_replace(Some(reason));
    }

    pub(crate) fn next_holder(&self) -> Holder {
        Holder(self.holders.fetch_add(1, Ordering::Relaxed))
    }

    /// A number for a transaction that wants one: above those of others, and above the log's last entry, so that they grow
    /// over restarts as long as something is written.
    pub(crate) fn number_transaction(&self) -> i64 {
        let floor = i64::try_from(self.store.applied().0).unwrap_or(i64::MAX - 1);
        let above = |last: i64| Some(last.max(floor).saturating_add(1));
        let last = self.transaction_numbers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, above);
        last.unwrap_or_default().max(floor).saturating_add(1)
    }

    /// Microseconds since 1970 UTC.
    #[must_use]
    pub fn now_micros(&self) -> i64 {
        self.runtime.clock.now_micros() as i64
    }

    /// Refuses a write of about `bytes` that adds data when the disk is nearly full.
    pub(crate) fn check_disk(&self, bytes: usize) -> SqlResult<()> {
        self.check_room(Room::Enough, bytes)
    }

    /// Refuses a DELETE when what is left is needed for what frees space at once.
    pub(crate) fn check_disk_to_delete(&self, bytes: usize) -> SqlResult<()> {
        self.check_room(Room::Little, bytes)
    }

    fn check_room(&self, needed: Room, bytes: usize) -> SqlResult<()> {
        let room = self.disk.room(bytes as u64);
        if room >= needed {
            return Ok(());
        }
        Err(SqlError::new(SqlState::DiskFull, "the disk is nearly full: writes are refused").hint(match room {
            Room::Least => "DROP and TRUNCATE are still possible",
            _ => "DELETE, DROP and TRUNCATE are still possible",
        }))
    }

    /// Logs an entry and waits until it is applied here.
    pub(crate) async fn propose(&self, term: Term, entry: &Entry) -> SqlResult<(LogIndex, Hlc)> {
        self.propose_bytes(term, entry.encode()).await
    }

    pub(crate) async fn propose_bytes(&self, term: Term, payload: Bytes) -> SqlResult<(LogIndex, Hlc)> {
        outcome(self.consensus.propose(term, payload).await)
    }

    /// Waits while more was written than the next checkpoints have taken away.
    pub(crate) async fn wait_for_memory(&self) {
        if self.budget.dirty.pressure() < Pressure::Critical {
            return;
        }
        metrics::counter!(names::WRITE_STALLS_TOTAL).increment(1);
        self.budget.dirty.relieved(Pressure::High).await;
    }

    /// The same from a thread that may block. On a thread of a tokio pool others take over meanwhile.
    pub(crate) fn propose_blocking(&self, term: Term, entry: &Entry) -> SqlResult<()> {
        let proposal = self.consensus.propose(term, entry.encode());
        let wait = || outcome(futures::executor::block_on(proposal)).map(|_| ());
        match tokio::runtime::Handle::try_current() {
            Ok(handle) if handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread => {
                tokio::task::block_in_place(wait)
            }
            _ => wait(),
        }
    }
}

/// What a proposal's end means for the statement that waits for it.
pub(crate) fn outcome(result: Result<Committed, ProposeError>) -> SqlResult<(LogIndex, Hlc)> {
    match result {
        Ok(Committed { index, time, outcome: Outcome::Applied }) => Ok((index, time)),
        Ok(Committed { outcome: Outcome::Fenced, .. }) | Err(ProposeError::NotLeader) => Err(SqlError::new(
            SqlState::SerializationFailure,
            "could not commit: the leader has changed; nothing was written",
        )
        .hint("retry the transaction")),
        Ok(Committed { outcome: Outcome::Rejected, .. }) => Err(crate::keys::changed()),
        Err(ProposeError::Unknown) => {
            Err(SqlError::new(SqlState::TransactionResolutionUnknown, "the outcome of the commit is not known")
                .hint("look for its effects before trying again"))
        }
        Err(ProposeError::Busy) => Err(SqlError::new(
            SqlState::InsufficientResources,
            "too many writes are waiting for the log; nothing was written",
        )
        .hint("retry the transaction")),
        Err(ProposeError::TooLarge { bytes, max }) => Err(SqlError::new(
            SqlState::ProgramLimitExceeded,
            format!("an entry of {bytes} bytes is above the limit of {max}"),
        )),
        Err(ProposeError::Stopped) => {
            Err(SqlError::new(SqlState::AdminShutdown, "the node is stopping; nothing was written"))
        }
        Err(ProposeError::Storage(text)) => {
            Err(SqlError::new(SqlState::IoError, format!("cannot write the log: {text}")))
        }
    }
}

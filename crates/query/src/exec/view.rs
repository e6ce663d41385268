//! What a statement reads: a snapshot, its transaction's own rows, its session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use perigee_storage::store::{Overlay, Snapshot};
use perigee_storage::table::Begun;
use perigee_types::{Oid, SqlResult, TenantId};
use tokio_util::sync::CancellationToken;

use super::pending::Pending;
use super::reads::ReadLog;

/// Everything that a running statement may see. Plans hold none of it.
#[derive(Clone)]
pub struct ReadView {
    /// The committed rows and the catalog.
    pub snapshot: Arc<Snapshot>,
    /// Rows that the statement's own transaction has ended or written.
    pub overlay: Option<Arc<Overlay>>,
    /// Which committed rows it is about, by when they began.
    pub begun: Begun,
    /// Where scans say what they look at; only SERIALIZABLE asks for it.
    pub reads: Option<Arc<ReadLog>>,
    /// What the transaction has done to keys, and what reading them means to it.
    pub keys: Option<KeysView>,
    /// What writes of the same statement have returned so far, in their order.
    pub returned: Vec<Vec<RecordBatch>>,
    /// The session.
    pub session: Arc<SessionFacts>,
    /// Fires when the statement shall stop.
    pub cancel: CancellationToken,
}

/// Keys as a transaction sees them.
#[derive(Clone)]
pub struct KeysView {
    /// What it has done to them.
    pub draft: Arc<perigee_keyspace::Draft>,
    /// What reading one means.
    pub reading: perigee_keyspace::Reading,
}

impl ReadView {
    /// The view of a statement for which reading a key means this.
    #[must_use]
    pub fn reading(&self, reading: perigee_keyspace::Reading) -> Arc<Self> {
        let keys = self.keys.clone().map(|keys| KeysView { reading, ..keys });
        Arc::new(Self { keys, ..self.clone() })
    }

    /// The view of a statement that is about the rows which began then, and no others.
    #[must_use]
    pub fn of_rows_begun(&self, begun: Begun) -> Arc<Self> {
        Arc::new(Self { begun, ..self.clone() })
    }

    /// The number that stands for the latest transaction that the view sees: the last digits of its index, as PostgreSQL's
    /// come round too.
    #[must_use]
    pub fn transaction_number(&self) -> u32 {
        // The first three mean no transaction.
        ((self.snapshot.index.0 & u64::from(u32::MAX)) as u32).max(3)
    }

    /// The view with what one more write of the statement has returned.
    #[must_use]
    pub fn with_returned(&self, batches: Vec<RecordBatch>) -> Self {
        let mut view = self.clone();
        view.returned.push(batches);
        view
    }
}

impl fmt::Debug for ReadView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadView").field("index", &self.snapshot.index).finish_non_exhaustive()
    }
}

/// What functions may ask about the session. Fixed for a statement.
#[derive(Clone)]
pub struct SessionFacts {
    /// `current_user`
    pub user: String,
    /// `session_user`
    pub session_user: String,
    /// Oid of the current role.
    pub role: Oid,
    /// `current_database()`
    pub database: String,
    /// The tenant of the database.
    pub tenant: TenantId,
    /// The schemas of `search_path` that exist, in order, without the implicit `pg_catalog`.
    pub search_path: Vec<String>,
    /// The schema of the session's temporary objects, which may not exist yet.
    pub temporary_schema: String,
    /// `search_path` begins with it although the setting does not name it.
    pub implicit_temporary: bool,
    /// Setting `TimeZone`: an IANA name or an offset.
    pub time_zone: String,
    /// `now()`: microseconds since 1970 UTC at the start of the transaction.
    pub transaction_time: i64,
    /// `statement_timestamp()`: microseconds since 1970 UTC at the start of the statement.
    pub statement_time: i64,
    /// All settings, by lower-case name, for `current_setting`.
    pub settings: Arc<HashMap<String, String>>,
    /// `pg_backend_pid()`
    pub process_id: i32,
    /// `txid_current()`, once somebody has asked for it in the transaction.
    pub transaction_number: Arc<OnceLock<i64>>,
    /// What continuous aggregates have not taken in; `None` where nobody keeps count.
    pub pending: Option<Arc<dyn Pending>>,
    /// What functions may do to the session; `None` where they may not.
    pub services: Option<Arc<dyn SessionServices>>,
}

impl SessionFacts {
    /// The schemas that the setting `search_path` names and that exist, in order.
    #[must_use]
    pub fn listed_schemas(&self) -> &[String] {
        self.search_path.get(usize::from(self.implicit_temporary)..).unwrap_or_default()
    }

    /// Facts of a session that is not there: UTC, `public`, time zero. For tests and for constants.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            user: "postgres".to_owned(),
            session_user: "postgres".to_owned(),
            role: perigee_types::catalog::BOOTSTRAP_ROLE,
            database: "postgres".to_owned(),
            tenant: TenantId(1),
            search_path: vec!["public".to_owned()],
            temporary_schema: "pg_temp_0".to_owned(),
            implicit_temporary: false,
            time_zone: "UTC".to_owned(),
            transaction_time: 0,
            statement_time: 0,
            settings: Arc::default(),
            process_id: 0,
            transaction_number: Arc::default(),
            pending: None,
            services: None,
        }
    }
}

/// Functions with an effect. The engine implements it; calls come from query threads and may block.
pub trait SessionServices: Send + Sync {
    /// `nextval`
    ///
    /// # Errors
    /// What the sequence or the log refuses.
    fn next_value(&self, sequence: Oid) -> SqlResult<i64>;
    /// `currval`
    ///
    /// # Errors
    /// `55000` before the session's first `nextval`.
    fn current_value(&self, sequence: Oid) -> SqlResult<i64>;
    /// `lastval`
    ///
    /// # Errors
    /// `55000` before the session's first `nextval`.
    fn last_value(&self) -> SqlResult<i64>;
    /// `setval`
    ///
    /// # Errors
    /// What the sequence or the log refuses.
    fn set_value(&self, sequence: Oid, value: i64, called: bool) -> SqlResult<i64>;
    /// `set_config`; gives the new value.
    ///
    /// # Errors
    /// As SET.
    fn set_config(&self, name: &str, value: &str, local: bool) -> SqlResult<String>;
    /// `pg_notify`; sent at COMMIT.
    ///
    /// # Errors
    /// `22023` for a name or a payload that cannot be, `54000` for too many in one statement.
    fn notify(&self, channel: &str, payload: &str) -> SqlResult<()>;
    /// A number for a transaction that has none yet: above all that were given before, and above the log's last entry.
    fn number_transaction(&self) -> i64;
    /// `pg_export_snapshot`: shows the statement's snapshot to others, under the name that it gives.
    ///
    /// # Errors
    /// `54000` for too many of one transaction.
    fn export_snapshot(&self, _tenant: TenantId, _snapshot: &Arc<Snapshot>) -> SqlResult<String> {
        Err(perigee_types::SqlError::unsupported("exporting a snapshot here"))
    }
    /// `pg_listening_channels`
    fn listening_channels(&self) -> Vec<String> {
        Vec::new()
    }
    /// `pg_advisory_lock` and its like; whether the lock is taken. `wait`: who would wait gets an error.
    ///
    /// # Errors
    /// `0A000` where the statement cannot wait, `53200` for too many.
    fn advisory_lock(&self, _lock: AdvisoryLock, _wait: bool) -> SqlResult<bool> {
        Err(perigee_types::SqlError::unsupported("an advisory lock here"))
    }
    /// `pg_advisory_unlock`; whether the session held it.
    fn advisory_unlock(&self, _lock: AdvisoryLock) -> bool {
        false
    }
    /// `pg_advisory_unlock_all`
    fn advisory_unlock_all(&self) {}
    /// The keyspace, for the tables of schema `redis`.
    fn keyspace(&self) -> Option<Arc<perigee_keyspace::Keyspace>> {
        None
    }
    /// `pg_prepared_statements`
    fn prepared_statements(&self) -> Vec<NamedStatement> {
        Vec::new()
    }
    /// `perigee.compat_gaps`
    fn compat_gaps(&self) -> Vec<CompatGap> {
        Vec::new()
    }
    /// `perigee.queries`
    fn queries(&self) -> Vec<QueryStatistics> {
        Vec::new()
    }
    /// `perigee.metrics`: all of the node's, in Prometheus' text format.
    fn metrics(&self) -> String {
        String::new()
    }
    /// `perigee.cluster_nodes` and `perigee.raft_status`
    fn cluster(&self) -> Option<ClusterState> {
        None
    }
    /// What `nextval` of a sequence gives next out of what this node has taken ahead of it; `None` where nothing is left of that.
    fn taken_value(&self, _sequence: Oid) -> Option<i64> {
        None
    }
    /// The sessions that this node serves, by process id, whoever asks.
    fn activity(&self) -> Vec<SessionActivity> {
        Vec::new()
    }
    /// `pg_cancel_backend` and `pg_terminate_backend`; whether there is such a session.
    ///
    /// # Errors
    /// `42501` for who may not, `57014` where the session is the caller's own.
    fn signal(&self, _process_id: i32, _signal: SessionSignal) -> SqlResult<bool> {
        Err(perigee_types::SqlError::unsupported("a signal to a session here"))
    }
    /// Whether a session has not ended yet.
    fn is_connected(&self, _process_id: i32) -> bool {
        false
    }
}

/// What one session asks of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionSignal {
    /// End the running statement.
    Cancel,
    /// End the session.
    Terminate,
}

/// What a session does. Times are microseconds since 1970 UTC.
#[derive(Clone, Debug)]
pub struct SessionActivity {
    /// Its database.
    pub database: String,
    /// `pg_backend_pid()` there.
    pub process_id: i32,
    /// The name of the role that has logged in.
    pub user: String,
    /// `application_name`
    pub application_name: String,
    /// Where the client is.
    pub peer: Option<std::net::SocketAddr>,
    /// When it connected.
    pub connected_micros: i64,
    /// When the open transaction began.
    pub transaction_start_micros: Option<i64>,
    /// When the last statement began; `None` before the first.
    pub query_start_micros: Option<i64>,
    /// When `state` changed.
    pub state_change_micros: i64,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`
    pub state: &'static str,
    /// The last statement.
    pub query: Arc<str>,
}

/// The cluster as the node knows it that the statement runs on.
#[derive(Clone, Debug)]
pub struct ClusterState {
    /// The node.
    pub node: String,
    /// Whether it leads and may serve.
    pub leads: bool,
    /// Who leads, when that is known.
    pub leader: Option<String>,
    /// The current term.
    pub term: u64,
    /// First and last entry of its log.
    pub log: (u64, u64),
    /// Last entry that is durable here.
    pub synced: u64,
    /// Last entry that is known to be committed.
    pub committed: u64,
    /// Last entry applied here.
    pub applied: u64,
    /// Last entry that the LSM holds.
    pub checkpoint: u64,
    /// Bytes of the log's files.
    pub log_bytes: u64,
    /// All members.
    pub members: Vec<ClusterMember>,
}

/// A member of the cluster.
#[derive(Clone, Debug)]
pub struct ClusterMember {
    /// Its name.
    pub name: String,
    /// Its incarnation, 32 hexadecimal digits.
    pub incarnation: String,
    /// Where other members reach it.
    pub address: String,
    /// Whether it votes; else it only learns.
    pub voter: bool,
    /// Whether it leads.
    pub leads: bool,
    /// What it holds of the log; only the leader knows.
    pub matched: Option<u64>,
    /// How long ago it answered the leader, in milliseconds; only the leader knows.
    pub answered_ms: Option<u64>,
}

/// An advisory lock, as a call names it.
#[derive(Clone, Copy, Debug)]
pub struct AdvisoryLock {
    /// Named by two numbers of 32 bits: never the same as one named by one.
    pub of_two: bool,
    /// The number.
    pub number: i64,
    /// With other shared holders.
    pub shared: bool,
    /// Until the transaction ends.
    pub transaction: bool,
}

/// A prepared statement that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedStatement {
    /// Its name.
    pub name: String,
    /// What the client sent to make it.
    pub text: String,
    /// When: microseconds since 1970 UTC.
    pub made_micros: i64,
    /// The oids of its parameters' types.
    pub parameters: Vec<Oid>,
    /// Whether PREPARE made it, and not the protocol.
    pub by_sql: bool,
}

/// What is known of the runs of a statement on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryStatistics {
    /// Its text; with `$1`, `$2`, … where constants were lifted out of it.
    pub text: Arc<str>,
    /// How often it ran.
    pub calls: u64,
    /// How often it ended with an error.
    pub errors: u64,
    /// Time until it was done or gave its first row, in all.
    pub total_nanos: u64,
    /// The longest of these times.
    pub max_nanos: u64,
    /// When it ran last: microseconds since 1970 UTC.
    pub last_micros: i64,
}

/// Something that clients have asked this node for and that it does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompatGap {
    /// The SQLSTATE that they got.
    pub sqlstate: &'static str,
    /// The error's message.
    pub message: String,
    /// How often.
    pub count: u64,
    /// When first: microseconds since 1970 UTC.
    pub first_micros: i64,
    /// When last.
    pub last_micros: i64,
}

/// The view of the statement that `session` plans or runs.
///
/// # Errors
/// Internal, where a plan is run outside of [`crate::exec::QueryRuntime`].
pub fn read_view(session: &dyn datafusion::catalog::Session) -> datafusion::error::Result<Arc<ReadView>> {
    session
        .config()
        .get_extension::<ReadView>()
        .ok_or_else(|| datafusion::error::DataFusionError::Internal("no read view in this session".to_owned()))
}

/// The view of the running statement, for functions: it travels with the configuration that they are given.
#[derive(Clone, Default)]
pub(super) struct ViewOption(Option<Arc<ReadView>>);

impl fmt::Debug for ViewOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViewOption")
    }
}

impl ViewOption {
    pub(super) fn new(view: Arc<ReadView>) -> Self {
        Self(Some(view))
    }
}

impl datafusion::config::ConfigExtension for ViewOption {
    const PREFIX: &'static str = "perigee";
}

impl datafusion::common::config::ExtensionOptions for ViewOption {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn cloned(&self) -> Box<dyn datafusion::common::config::ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> datafusion::error::Result<()> {
        Err(datafusion::error::DataFusionError::Configuration(format!("there is no option {key}")))
    }

    fn entries(&self) -> Vec<datafusion::common::config::ConfigEntry> {
        Vec::new()
    }
}

/// The view that a running function was given; `None` where constants are folded.
#[must_use]
pub fn view_of(options: &datafusion::config::ConfigOptions) -> Option<Arc<ReadView>> {
    options.extensions.get::<ViewOption>().and_then(|option| option.0.clone())
}

/// Gives a state the view of the statement that it will plan and run.
pub(crate) fn attach(state: &mut datafusion::execution::SessionState, view: &Arc<ReadView>) {
    let config = state.config_mut();
    config.set_extension(Arc::clone(view));
    config.options_mut().extensions.insert(ViewOption::new(Arc::clone(view)));
    // Functions get the options that the execution starts with.
    state.mark_start_execution();
}

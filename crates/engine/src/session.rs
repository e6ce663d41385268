//! One client's session: its settings, its transaction, its prepared statements.
//!
//! The life of a transaction:
//!
//! ```text
//!            execute                      finish / COMMIT
//!   idle ---------------> open (implicit) ----------------> idle
//!     |   BEGIN                                               ^
//!     +---------> open (explicit) ---- COMMIT, ROLLBACK ------+
//!                     | error                                 |
//!                     v                                       |
//!                  failed -------- ROLLBACK, COMMIT ----------+
//! ```
//!
//! An implicit transaction ends with [`Session::finish`]: at Sync, or behind the last statement of a simple query.

use std::collections::HashMap;
use std::sync::Arc;

use perigee_consensus::ProposalId;
use perigee_plan::command::TransactionModes;
use perigee_plan::{Plan, Prepared, SessionCommand, TransactionCommand};
use perigee_query::exec::{ReadView, SessionFacts};
use perigee_query::sql::{self, PlanContext, TemporarySchema};
use perigee_storage::store::Overlay;
use perigee_storage::table::Begun;
use perigee_telemetry::measured;
use perigee_types::acl::Privileges;
use perigee_types::catalog::{Catalog, Object, READ_ALL_DATA};
use perigee_types::rights::Rights;
use perigee_types::{LogIndex, Oid, SqlError, SqlResult, SqlState, SqlType, TableId, TenantId, Value};
use rustc_hash::FxHashSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::Statement;
use crate::api::{ConnectRequest, Notice, Outcome, TransactionStatus};
use crate::continuous::StatementPending;
use crate::copy::CopyState;
use crate::elsewhere::{Changes, Foreign, Text};
use crate::engine::Engine;
use crate::execute::kind_of;
use crate::identity::Identity;
use crate::locks::LockWait;
use crate::notify::Inbox;
use crate::planning::may_take_long;
use crate::portal::Portals;
use crate::registry::SessionEntry;
use crate::services::Services;
use crate::session_settings::check_may_set;
use crate::session_transaction::UNCOMMITTED;
use crate::settings::{Settings, definition};
use crate::stage::Staging;
use crate::temporary::Temporary;
use crate::traces::Traced;
use crate::transaction::Transaction;

/// One client's session.
pub struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(crate) entry: Arc<SessionEntry>,
    /// The role that has proved itself, and its name then.
    pub(crate) login: Oid,
    pub(crate) login_name: String,
    pub(crate) known_identity: parking_lot::Mutex<Option<Arc<Identity>>>,
    pub(crate) database: String,
    pub(crate) tenant: TenantId,
    pub(crate) settings: Settings,
    known_path: parking_lot::Mutex<Option<KnownPath>>,
    /// Settings as ROLLBACK and COMMIT would leave them; kept while a transaction is open.
    pub(crate) settings_behind: Option<SettingsBehind>,
    pub(crate) transaction: Option<Transaction>,
    /// Several statements of one simple query share an implicit transaction.
    pub(crate) shared_implicit: bool,
    pub(crate) statements: HashMap<String, Statement>,
    pub(crate) portals: Portals,
    pub(crate) notices: Vec<Notice>,
    pub(crate) parameter_changes: Vec<(String, String)>,
    /// What the client was told last of each setting.
    pub(crate) told: HashMap<String, String>,
    pub(crate) copy: Option<CopyState>,
    pub(crate) services: Arc<Services>,
    pub(crate) temporary: Temporary,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) cancel: CancellationToken,
    /// The running statement's plan names something that has changed since.
    pub(crate) stale_plan: bool,
    /// The materialized view whose rows this session makes.
    pub(crate) maintains: Option<TableId>,
    /// DELETE ends the rows that began by this index and that nobody holds, and no others.
    pub(crate) ends_old: Option<LogIndex>,
    /// The one table that its statements may write or drop: a name may go to another table before they run.
    pub(crate) only: Option<TableId>,
    /// It never writes, whatever its transactions are told.
    pub(crate) reads_only: bool,
    /// It has shown a secret, which no answer that is kept may hold.
    pub(crate) shows_secret: bool,
    /// What its twin on another node is to be told.
    pub(crate) changes: Changes,
    /// Prepared statements that came from there and were not wanted here yet.
    pub(crate) imported: HashMap<String, Text>,
    /// What the next commit is called on the node of the client.
    pub(crate) commit_name: Option<ProposalId>,
    /// What is known of the traces that its statements belong to.
    pub(crate) traced: Traced,
    /// When this node was last known to have all.
    pub(crate) fresh_at: Option<std::time::Instant>,
    /// A plan was begun, and what it is for has not run yet.
    planning: bool,
    timer: Option<AbortOnDropHandle<()>>,
    timed_out: Arc<std::sync::atomic::AtomicBool>,
}

/// The schemas of a `search_path`, and what they were made of.
struct KnownPath {
    version: LogIndex,
    role: Oid,
    setting: String,
    path: SearchPath,
}

/// The schemas that bare names are looked up in, in order.
#[derive(Clone)]
pub(crate) struct SearchPath {
    pub(crate) schemas: Arc<[String]>,
    /// The first is that of temporary objects, which the setting does not name.
    pub(crate) implicit_temporary: bool,
}

pub(crate) struct SettingsBehind {
    pub(crate) rollback: Settings,
    pub(crate) commit: Settings,
}

impl Session {
    pub(crate) fn open(engine: &Arc<Engine>, request: ConnectRequest) -> SqlResult<Self> {
        Self::open_as(engine, request, None)
    }

    /// The same, for a client of another node.
    pub(crate) fn open_as(engine: &Arc<Engine>, request: ConnectRequest, foreign: Option<Foreign>) -> SqlResult<Self> {
        let catalog = engine.store.catalog();
        let role = catalog.role(&request.user).cloned().ok_or_else(|| {
            SqlError::new(
                SqlState::InvalidAuthorizationSpecification,
                format!("role \"{}\" does not exist", request.user),
            )
        })?;
        let reads_all = request.read_only && role.oid == READ_ALL_DATA;
        if !role.login && !reads_all {
            return Err(SqlError::new(
                SqlState::InvalidAuthorizationSpecification,
                format!("role \"{}\" is not permitted to log in", role.name),
            ));
        }
        let name = if request.database.is_empty() { &request.user } else { &request.database };
        let database = catalog.database(name).cloned().ok_or_else(|| {
            SqlError::new(SqlState::InvalidCatalogName, format!("database \"{name}\" does not exist"))
        })?;
        let rights = Rights::of(&catalog, role.oid, database.tenant);
        if !rights.allows(&Object::Database(database.clone()), Privileges::CONNECT, None) {
            return Err(SqlError::new(
                SqlState::InsufficientPrivilege,
                format!("permission denied for database \"{}\"", database.name),
            )
            .detail("User does not have CONNECT privilege."));
        }
        let mut settings = Settings::default();
        settings.set_base("durability", &engine.options.durability)?;
        settings.set_base("max_connections", &engine.options.connections_max.to_string())?;
        if let Some(least) = engine.options.slow_statement {
            settings.set_base(crate::slow::SETTING, &least.as_millis().to_string())?;
        }
        for (name, value) in &role.settings {
            // A setting that this version does not know any more must not lock the role out.
            let _ = settings.set_base(name, value);
        }
        for (name, value) in &request.settings {
            check_may_set(name, role.superuser)?;
            match definition(name) {
                Some(d) if matches!(d.kind, crate::settings::Kind::Fixed) => {
                    settings.set(name, Some(value))?;
                }
                _ => settings.set_base(name, value)?,
            }
        }
        let now = engine.now_micros();
        let limit = engine.options.connections_max;
        let of_role = role.connections_max.filter(|_| !role.superuser).map(|most| most as usize);
        let entry = engine.sessions.enter(limit, of_role, &role.name, &database.name, request.peer, foreign, now)?;
        entry.activity.lock().application_name = settings.get("application_name").unwrap_or_default().to_owned();
        let mut session = Self {
            services: Services::new(engine, entry.process_id, request.read_only),
            temporary: Temporary::of(entry.process_id),
            inbox: Arc::default(),
            cancel: entry.begin_statement(),
            engine: engine.clone(),
            entry,
            login: role.oid,
            login_name: role.name.clone(),
            known_identity: parking_lot::Mutex::new(None),
            database: database.name.clone(),
            tenant: database.tenant,
            settings,
            known_path: parking_lot::Mutex::new(None),
            settings_behind: None,
            transaction: None,
            shared_implicit: false,
            statements: HashMap::new(),
            portals: Portals::default(),
            notices: Vec::new(),
            parameter_changes: Vec::new(),
            told: HashMap::new(),
            copy: None,
            stale_plan: false,
            maintains: None,
            ends_old: None,
            only: None,
            reads_only: request.read_only,
            shows_secret: false,
            changes: Changes::default(),
            imported: HashMap::new(),
            commit_name: None,
            traced: Traced::default(),
            fresh_at: None,
            planning: false,
            timer: None,
            timed_out: Arc::default(),
        };
        session.told = session.parameters().into_iter().collect();
        for (name, value) in &request.settings {
            if let Some(text) = crate::settings::truncation(name, value) {
                session.notify(text);
            }
        }
        Ok(session)
    }

    /// `pg_backend_pid()`.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.entry.process_id
    }

    /// What a cancel request must know.
    #[must_use]
    pub fn secret(&self) -> i32 {
        self.entry.secret
    }

    /// Splits a simple query's text into statements. A syntax error anywhere is an error of all.
    ///
    /// # Errors
    /// `42601`; `22021` for a zero character, with which a name would break PostgreSQL's messages.
    pub fn split(&mut self, sql: &str) -> SqlResult<Vec<sql::Statement>> {
        if has_zero(sql) {
            let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
            return Err(SqlError::new(SqlState::CharacterNotInRepertoire, message));
        }
        sql::parse(sql)
    }

    /// The plan of a text that holds one statement and was planned before; literals were lifted out of it. `declared` are
    /// parameter types that the client gave.
    pub fn cached(&mut self, sql: &str, declared: &[Option<SqlType>]) -> Option<Statement> {
        if self.transaction.as_ref().is_some_and(|t| t.failed) || has_zero(sql) {
            return None;
        }
        let began = self.traced.plans();
        let found = self.with_plan_context(declared, |engine, context| engine.statements.lookup(sql, context));
        self.traced.planned(began);
        match found {
            Ok(Some((prepared, literals))) => Some(Statement { prepared, literals }),
            // A literal that does not fit is reported by the long way.
            Ok(None) | Err(_) => None,
        }
    }

    /// Plans a statement. `declared` are parameter types that the client gave.
    ///
    /// # Errors
    /// `25P02` in a failed transaction, and what analysis refuses.
    pub async fn plan(&mut self, statement: &sql::Statement, declared: &[Option<SqlType>]) -> SqlResult<Statement> {
        let began = self.traced.plans();
        let planned = match self.cached(&statement.text, declared) {
            Some(known) => Ok((known.prepared, known.literals)),
            None if may_take_long(statement) => {
                self.begin_planning(&statement.text);
                let statement = statement.clone();
                self.plan_apart(declared, move |engine, context| engine.statements.plan(&statement, context)).await
            }
            None => self.with_plan_context(declared, |engine, context| engine.statements.plan(statement, context)),
        };
        self.traced.planned(began);
        match planned {
            Ok((prepared, literals)) => {
                self.refuse_in_failed(&prepared.plan)?;
                Ok(Statement { prepared: self.described(prepared), literals })
            }
            // Names are not looked up in a failed block: PostgreSQL refuses the statement before.
            Err(_) if self.is_failed() => Err(in_failed_transaction()),
            Err(error) => Err(error),
        }
    }

    /// Plans a statement whose parameters are the client's own.
    pub(crate) fn plan_unlifted(
        &self,
        statement: &sql::Statement,
        declared: &[Option<SqlType>],
    ) -> SqlResult<Statement> {
        let prepared = self.with_plan_context(declared, |_, context| sql::plan(statement, context))?;
        Ok(self.unlifted(prepared))
    }

    /// A plan whose parameters are the client's own, as a statement.
    pub(crate) fn unlifted(&self, prepared: Arc<Prepared>) -> Statement {
        Statement { prepared: self.described(prepared), literals: Vec::new() }
    }

    /// EXECUTE and FETCH give the columns of what they name, if it is there.
    fn described(&self, prepared: Arc<Prepared>) -> Arc<Prepared> {
        let columns = match &prepared.plan {
            Plan::Session(SessionCommand::Execute { name, .. }) => {
                self.statements.get(name).and_then(|statement| statement.prepared.columns.clone())
            }
            Plan::Session(SessionCommand::Fetch { name, moves: false, .. }) => {
                self.portals.get(name).and_then(|portal| portal.columns().cloned())
            }
            _ => None,
        };
        if columns.is_some() { Arc::new(Prepared { columns, ..(*prepared).clone() }) } else { prepared }
    }

    pub(crate) fn with_plan_context<T>(
        &self,
        declared: &[Option<SqlType>],
        run: impl FnOnce(&Engine, &PlanContext) -> SqlResult<T>,
    ) -> SqlResult<T> {
        let catalog = self.planning_catalog();
        let path = self.search_path(&catalog);
        let temporary = TemporarySchema { name: &self.temporary.schema, implicit: path.implicit_temporary };
        let identity = self.identity(&catalog);
        let settings = |name: &str| self.settings.get(name).map(str::to_owned);
        run(
            &self.engine,
            &PlanContext {
                catalog: &catalog,
                tenant: self.tenant,
                database: &self.database,
                search_path: &path.schemas,
                temporary,
                user: &identity.role.name,
                role: identity.role.oid,
                maintains: self.maintains,
                settings: &settings,
                declared,
                uses: None,
                relations: &[],
            },
        )
    }

    /// The type with an oid of `pg_type`, also one that a user made.
    #[must_use]
    pub fn type_of_oid(&self, oid: u32) -> Option<SqlType> {
        SqlType::from_oid(oid).or_else(|| self.planning_catalog().type_of_oid(oid))
    }

    /// The catalog that a statement beginning now is planned against.
    pub(crate) fn planning_catalog(&self) -> Arc<Catalog> {
        match &self.transaction {
            Some(transaction) => transaction.catalog(&self.engine),
            None => self.engine.store.catalog(),
        }
    }

    /// The schemas of `search_path` that exist, and before them that of temporary objects. Kept until the catalog or the
    /// setting changes: every statement asks.
    pub(crate) fn search_path(&self, catalog: &Catalog) -> SearchPath {
        let setting = self.settings.get("search_path").unwrap_or_default();
        let role = self.identity(catalog).role.clone();
        let mut known = self.known_path.lock();
        if let Some(known) = &*known
            && known.version == catalog.version
            && known.role == role.oid
            && known.setting == setting
        {
            return known.path.clone();
        }
        let own = &self.temporary.schema;
        let mut schemas = self.settings.search_path(&role.name);
        for name in &mut schemas {
            if name == "pg_temp" {
                name.clone_from(own);
            }
        }
        let exists = self.temporary.used && catalog.schema(self.tenant, own).is_some();
        let implicit_temporary = exists && !schemas.contains(own);
        let rights = &self.identity(catalog).rights;
        let is_used = |name: &str| {
            let schema = catalog.schema(self.tenant, name).cloned().map(Object::Schema);
            schema.is_some_and(|schema| rights.allows(&schema, Privileges::USAGE, None))
        };
        // One that is listed is kept, so that the first temporary object can be made in it.
        schemas.retain(|name| name == own || is_used(name));
        if implicit_temporary {
            schemas.insert(0, own.clone());
        }
        let path = SearchPath { schemas: schemas.into(), implicit_temporary };
        *known = Some(KnownPath {
            version: catalog.version,
            role: role.oid,
            setting: setting.to_owned(),
            path: path.clone(),
        });
        path
    }

    /// Runs a planned statement in the open transaction or a new implicit one.
    ///
    /// # Errors
    /// Whatever stops the statement; the transaction has then failed.
    pub async fn execute(&mut self, statement: &Statement, parameters: &[Value]) -> SqlResult<Outcome> {
        let parameters = if statement.literals.is_empty() { parameters } else { &statement.literals };
        self.begin_activity(&statement.prepared.text);
        self.begin_trace(&statement.prepared);
        let result = match self.refuse_in_failed(&statement.prepared.plan).and_then(|()| self.adopt_settings()) {
            Ok(()) => {
                let kind = kind_of(&statement.prepared.plan);
                let started = std::time::Instant::now();
                let step = self.traced.step("execute");
                let result = match self.begin_bound(&statement.prepared.plan).await {
                    Ok(()) => Box::pin(self.run(&statement.prepared, parameters)).await,
                    Err(error) => Err(error),
                };
                drop(step);
                let took = started.elapsed();
                measured::statement(kind).record(took);
                let text = &statement.prepared.text;
                self.engine.queries.note(text, took, result.is_err(), self.engine.now_micros());
                if result.is_err() {
                    measured::statement_errors(kind).increment();
                }
                result
            }
            Err(error) => Err(error),
        };
        result.map_err(|error| {
            let error = self.explain_cancel(error);
            self.traced.fail(&error);
            self.fail();
            error
        })
    }

    /// The door calls this for an error of a row stream, so that a time-out is told from a cancel request.
    #[must_use]
    pub fn explain_cancel(&self, error: SqlError) -> SqlError {
        if error.state() == SqlState::QueryCanceled && self.timed_out.load(std::sync::atomic::Ordering::Relaxed) {
            return SqlError::new(SqlState::QueryCanceled, "canceling statement due to statement timeout");
        }
        if error.state() == SqlState::QueryCanceled && self.entry.terminated.is_cancelled() {
            return SqlError::new(SqlState::AdminShutdown, "terminating connection due to administrator command");
        }
        error
    }

    /// The door calls this for every error that a client is told, so that it is counted, and `perigee.compat_gaps` and the audit know it.
    pub fn note_error(&self, error: &SqlError) {
        metrics::counter!(perigee_telemetry::names::ERRORS_TOTAL, "sqlstate" => error.state().code()).increment(1);
        self.audit_error(error);
        self.engine.gaps.note(error, self.engine.now_micros());
    }

    /// Planning may be cancelled, and its time is limited and logged, as that of the statement is.
    fn begin_planning(&mut self, text: &Arc<str>) {
        self.planning = false;
        self.begin_activity(text);
        self.planning = true;
    }

    pub(crate) fn begin_activity(&mut self, text: &Arc<str>) {
        let planned = std::mem::take(&mut self.planning);
        if !planned {
            self.note_duration();
        }
        self.traced.end();
        self.cancel = self.entry.begin_statement();
        self.timer = None;
        if let Some(limit) = self.statement_timeout() {
            self.timed_out = Arc::default();
            let (cancel, timed_out) = (self.cancel.clone(), self.timed_out.clone());
            self.timer = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(limit).await;
                timed_out.store(true, std::sync::atomic::Ordering::Relaxed);
                cancel.cancel();
            })));
        }
        let now = self.engine.now_micros();
        let mut activity = self.entry.activity.lock();
        activity.query = text.clone();
        activity.state = "active";
        // What was planned just now has begun then.
        if !planned {
            activity.query_start_micros = now;
        }
        activity.state_change_micros = now;
    }

    /// How long a statement may run, where that is limited.
    #[must_use]
    pub fn statement_timeout(&self) -> Option<std::time::Duration> {
        self.settings.duration("statement_timeout")
    }

    fn end_activity(&mut self) {
        self.note_duration();
        self.planning = false;
        self.traced.end();
        // What was planned before a Sync is no part of what comes behind it.
        self.traced.planned(None);
        self.timer = None;
        let state = match self.status() {
            TransactionStatus::Idle => "idle",
            TransactionStatus::InTransaction => "idle in transaction",
            TransactionStatus::Failed => "idle in transaction (aborted)",
        };
        let now = self.engine.now_micros();
        let mut activity = self.entry.activity.lock();
        activity.state = state;
        activity.state_change_micros = now;
        activity.transaction_start_micros = self.transaction.as_ref().map(|t| t.started_micros);
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.transaction.as_ref().is_some_and(|t| t.failed)
    }

    pub(crate) fn refuse_in_failed(&self, plan: &Plan) -> SqlResult<()> {
        let ends = matches!(
            plan,
            Plan::Transaction(
                TransactionCommand::Commit { .. }
                    | TransactionCommand::Rollback { .. }
                    | TransactionCommand::RollbackTo(_)
            )
        );
        if self.is_failed() && !ends { Err(in_failed_transaction()) } else { Ok(()) }
    }

    /// The statement that is running has failed: an implicit transaction is over, a block waits for ROLLBACK.
    pub fn fail(&mut self) {
        self.copy = None;
        drop(self.services.take_settings());
        drop(self.services.take_notifications());
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
    }

    /// Several statements of one simple query share an implicit transaction until [`Session::finish`].
    pub fn begin_implicit_block(&mut self) {
        self.shared_implicit = true;
    }

    /// Ends an implicit transaction: commits it, or drops it after an error.
    ///
    /// # Errors
    /// What COMMIT gives. The transaction is over either way.
    pub async fn finish(&mut self) -> SqlResult<()> {
        self.shared_implicit = false;
        if let Err(error) = self.adopt_settings() {
            self.fail();
            self.rollback_transaction();
            self.end_activity();
            return Err(error);
        }
        let result = match &self.transaction {
            Some(t) if !t.explicit => {
                if t.failed {
                    self.rollback_transaction();
                    Ok(())
                } else {
                    self.commit_transaction().await
                }
            }
            _ => Ok(()),
        };
        if let Err(error) = &result {
            self.traced.fail(error);
        }
        if self.transaction.is_none() {
            self.portals.end_transaction(result.is_ok());
        }
        self.end_activity();
        result
    }

    /// The open transaction, or a new implicit one.
    pub(crate) fn transaction(&mut self) -> SqlResult<&mut Transaction> {
        if self.transaction.is_none() {
            self.begin(false, TransactionModes::default())?;
        }
        self.transaction.as_mut().ok_or_else(|| SqlError::internal("no transaction"))
    }

    pub(crate) fn begin(&mut self, explicit: bool, modes: TransactionModes) -> SqlResult<()> {
        let isolation = match modes.isolation {
            Some(isolation) => isolation,
            None => self.default_isolation(),
        };
        let read_only = modes.read_only.unwrap_or_else(|| self.settings.is_on("default_transaction_read_only"));
        let read_only = read_only || self.reads_only;
        let mut transaction = Transaction::new(&self.engine, explicit, isolation, read_only)?;
        let default = || self.settings.is_on("default_transaction_deferrable");
        transaction.uncommitted = match modes.isolation {
            Some(_) => modes.uncommitted,
            None => self.settings.get("default_transaction_isolation") == Some(UNCOMMITTED),
        };
        transaction.deferrable = modes.deferrable.unwrap_or_else(default);
        transaction.routed = self.changes.track && !self.reads_locally();
        self.transaction = Some(transaction);
        self.link_advisory();
        Ok(())
    }

    /// Whether the statement that begins may write nothing.
    pub(crate) fn is_read_only(&self) -> bool {
        let default = || self.reads_only || self.settings.is_on("default_transaction_read_only");
        self.transaction.as_ref().map_or_else(default, |transaction| transaction.read_only)
    }

    /// Refuses READ WRITE where the session may only read.
    pub(crate) fn check_mode(&self, read_only: bool) -> SqlResult<()> {
        if read_only || !self.reads_only {
            return Ok(());
        }
        let message = "cannot set transaction read-write mode: who is connected may only read";
        Err(SqlError::new(SqlState::ReadOnlySqlTransaction, message))
    }

    /// How long to wait for locks.
    pub(crate) fn lock_wait(&self) -> LockWait {
        self.settings.duration("lock_timeout").map_or(LockWait::Forever, LockWait::AtMost)
    }

    /// What a DataFusion plan of the running statement reads.
    pub(crate) fn view(&mut self) -> SqlResult<Arc<ReadView>> {
        let statement_time = self.engine.now_micros();
        let engine = self.engine.clone();
        let transaction = self.transaction()?;
        let snapshot = transaction.snapshot(&engine);
        let snapshot = match transaction.writes.catalog() {
            Some(own) => snapshot.with_catalog(own.clone()),
            None => snapshot,
        };
        let overlay = transaction.writes.overlay();
        let overlay = match transaction.staged() {
            Some(staged) => {
                let own = overlay.map_or_else(Overlay::default, |overlay| Overlay::clone(&overlay));
                Some(Arc::new(Overlay { staged: Some(staged), ..own }))
            }
            None => overlay,
        };
        let transaction_time = transaction.started_micros;
        let transaction_number = transaction.number.clone();
        let mut written: FxHashSet<TableId> = transaction.writes.tables().map(|(_, writes)| writes.table.oid).collect();
        written.extend(transaction.staging.iter().flat_map(Staging::tables_with_rows));
        let reads = transaction.reads.as_ref().map(|reads| reads.scans.clone());
        let catalog = snapshot.catalog.clone();
        let path = self.search_path(&catalog);
        let identity = self.identity(&catalog);
        let session = SessionFacts {
            user: identity.role.name.clone(),
            session_user: identity.session_user.name.clone(),
            role: identity.role.oid,
            database: self.database.clone(),
            tenant: self.tenant,
            search_path: path.schemas.to_vec(),
            temporary_schema: self.temporary.schema.clone(),
            implicit_temporary: path.implicit_temporary,
            time_zone: self.settings.get("TimeZone").unwrap_or("UTC").to_owned(),
            transaction_time,
            statement_time,
            settings: Arc::new(self.all_settings()),
            process_id: self.entry.process_id,
            transaction_number,
            pending: Some(StatementPending::new(&engine, snapshot.index, catalog.clone(), written)),
            services: Some(self.services.clone()),
        };
        let keys = self.keys_view()?;
        Ok(Arc::new(ReadView {
            snapshot,
            overlay,
            begun: Begun::EVER,
            reads,
            keys,
            returned: Vec::new(),
            session: Arc::new(session),
            cancel: self.cancel.clone(),
        }))
    }

    /// All settings by lower-case name, as SHOW prints them.
    pub(crate) fn all_settings(&self) -> HashMap<String, String> {
        let names =
            crate::settings::DEFINITIONS.iter().map(|d| d.name).chain(self.settings.all().map(|(name, _)| name));
        names.filter_map(|name| Some((name.to_ascii_lowercase(), self.show(name).ok()?))).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Queries end before what they read.
        self.portals.clear();
        if let Some(staging) = self.transaction.as_mut().and_then(|t| t.staging.take())
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.drop_staged(Some(staging));
        }
        self.drop_temporary_in_background();
        if let Some(transaction) = &self.transaction {
            self.engine.locks.unlink(transaction.holder);
        }
        self.services.advisory.end_transaction();
        self.services.advisory.give_all_back();
        self.services.end_exports();
        self.engine.listeners.leave(self.entry.process_id);
        self.engine.sessions.leave(self.entry.process_id);
    }
}

/// Whether a text has what no text of PostgreSQL has; over its own protocol nobody can send it.
fn has_zero(sql: &str) -> bool {
    sql.as_bytes().contains(&0)
}

pub(crate) fn in_failed_transaction() -> SqlError {
    SqlError::new(
        SqlState::InFailedSqlTransaction,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

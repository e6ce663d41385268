//! Functions with an effect: sequences and `set_config`. DataFusion calls them from query threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use perigee_query::exec::{
    AdvisoryLock, ClusterState, CompatGap, NamedStatement, QueryStatistics, SessionActivity, SessionServices,
    SessionSignal,
};
use perigee_storage::entry::SequenceChange;
use perigee_storage::store::Snapshot;
use perigee_types::acl::Privileges;
use perigee_types::catalog::{Object, SIGNAL_BACKEND, Sequence};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, TenantId};
use rustc_hash::FxHashMap;

use crate::advisory::{self, Advisory};
use crate::engine::Engine;
use crate::identity::Identity;
use crate::privileges::no_privilege;
use crate::registry::SessionEntry;

/// What a session's functions remember and reach.
pub(crate) struct Services {
    engine: Weak<Engine>,
    state: Mutex<State>,
    /// What the session may do, as of the statement that began last.
    identity: Mutex<Option<Arc<Identity>>>,
    /// So that a statement need not take the lock to see that there are none.
    has_settings: AtomicBool,
    has_own: AtomicBool,
    has_notifications: AtomicBool,
    has_exported: AtomicBool,
    process_id: i32,
    /// The session never writes.
    reads_only: bool,
    /// The statement that began last may write nothing.
    read_only: AtomicBool,
    /// The advisory locks that the session holds.
    pub(crate) advisory: Advisory,
}

/// A sequence that the open transaction has made or starts anew: its values are logged at COMMIT only.
#[derive(Clone, Debug)]
pub(crate) struct OwnSequence {
    definition: Arc<Sequence>,
    next: i64,
    called: bool,
    /// Tells one making from another of the same sequence.
    made: u64,
}

/// The sequences of a transaction, by oid.
pub(crate) type OwnSequences = FxHashMap<Oid, OwnSequence>;

#[derive(Default)]
struct State {
    /// Last value of each sequence that this session has called.
    values: FxHashMap<Oid, i64>,
    last: Option<Oid>,
    own: OwnSequences,
    made: u64,
    /// What `set_config` asks for, until the session adopts it: name, value, whether local.
    settings: Vec<(String, String, bool)>,
    /// The prepared statements that have names, by these.
    statements: BTreeMap<String, NamedStatement>,
    /// What `pg_notify` sends, until the session adopts it: channel, payload.
    notifications: Vec<(String, String)>,
}

/// Calls of `pg_notify` in one statement.
const NOTIFICATIONS_MAX: usize = 100_000;
/// Calls of `set_config` in one statement.
const SETTINGS_MAX: usize = 1_000;

impl Services {
    pub(crate) fn new(engine: &Arc<Engine>, process_id: i32, reads_only: bool) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::downgrade(engine),
            state: Mutex::default(),
            identity: Mutex::default(),
            has_settings: AtomicBool::new(false),
            has_own: AtomicBool::new(false),
            has_notifications: AtomicBool::new(false),
            has_exported: AtomicBool::new(false),
            process_id,
            reads_only,
            read_only: AtomicBool::new(reads_only),
            advisory: Advisory::new(Arc::downgrade(engine)),
        })
    }

    /// DISCARD SEQUENCES
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        state.values.clear();
        state.last = None;
    }

    /// A prepared statement is there from now on.
    pub(crate) fn prepared(&self, statement: NamedStatement) {
        self.state.lock().statements.insert(statement.name.clone(), statement);
    }

    /// A prepared statement is gone.
    pub(crate) fn closed(&self, name: &str) {
        self.state.lock().statements.remove(name);
    }

    /// All of them are.
    pub(crate) fn all_closed(&self) {
        self.state.lock().statements.clear();
    }

    /// Settings that the last statement has asked for.
    pub(crate) fn take_settings(&self) -> Vec<(String, String, bool)> {
        if !self.has_settings.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        std::mem::take(&mut self.state.lock().settings)
    }

    /// Notifications that the last statement has sent.
    pub(crate) fn take_notifications(&self) -> Vec<(String, String)> {
        if !self.has_notifications.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        std::mem::take(&mut self.state.lock().notifications)
    }

    /// The transaction ends, and nobody takes its snapshots over any more.
    pub(crate) fn end_exports(&self) {
        if self.has_exported.swap(false, Ordering::Relaxed)
            && let Some(engine) = self.engine.upgrade()
        {
            engine.shared_snapshots.end(self.process_id);
        }
    }

    /// The statement that begins runs with these rights, and perhaps may write nothing.
    pub(crate) fn act_as(&self, identity: &Arc<Identity>, read_only: bool) {
        self.read_only.store(read_only, Ordering::Relaxed);
        let mut known = self.identity.lock();
        if known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, identity)) {
            *known = Some(identity.clone());
        }
    }

    /// `42501` unless the session has one of `privileges` on the sequence.
    fn check(&self, sequence: &Arc<Sequence>, privileges: &[Privileges]) -> SqlResult<()> {
        let Some(identity) = self.identity.lock().clone() else { return Ok(()) };
        let object = Object::Sequence(sequence.clone());
        let held = identity.rights.held(&object);
        if privileges.iter().any(|privilege| held.contains(*privilege)) {
            return Ok(());
        }
        Err(no_privilege(&object))
    }

    /// `25006` where nothing may be written, unless nobody else sees the sequence.
    fn check_writable(&self, engine: &Engine, sequence: &Sequence, call: &str) -> SqlResult<()> {
        let read_only = self.reads_only || self.read_only.load(Ordering::Relaxed);
        if !read_only || engine.store.catalog().is_temporary(sequence.schema) {
            return Ok(());
        }
        let text = format!("cannot execute {call} in a read-only transaction");
        Err(SqlError::new(SqlState::ReadOnlySqlTransaction, text))
    }

    /// `42501` unless the session may send this signal to another one.
    fn check_signal(&self, engine: &Engine, session: &SessionEntry, signal: SessionSignal) -> SqlResult<()> {
        let Some(identity) = self.identity.lock().clone() else { return Ok(()) };
        let role = engine.store.catalog().role(&session.user).cloned();
        let of_superuser = role.as_ref().is_some_and(|role| role.superuser);
        let allowed = if of_superuser {
            identity.rights.is_superuser()
        } else {
            identity.rights.is(SIGNAL_BACKEND) || role.is_some_and(|role| identity.rights.is(role.oid))
        };
        if allowed {
            return Ok(());
        }
        let (what, verb, things, thing, done) = match signal {
            SessionSignal::Cancel => ("cancel query", "cancel", "queries", "query", "whose query is being canceled"),
            SessionSignal::Terminate => {
                ("terminate process", "terminate", "processes", "process", "whose process is being terminated")
            }
        };
        let who = if of_superuser {
            format!(
                "Only roles with the SUPERUSER attribute may {verb} {things} of roles with the SUPERUSER attribute."
            )
        } else {
            format!(
                "Only roles with privileges of the role {done} or with privileges of the \"pg_signal_backend\" role may \
                 {verb} this {thing}."
            )
        };
        Err(SqlError::new(SqlState::InsufficientPrivilege, format!("permission denied to {what}")).detail(who))
    }

    fn engine(&self) -> SqlResult<Arc<Engine>> {
        self.engine.upgrade().ok_or_else(|| SqlError::new(SqlState::AdminShutdown, "the node is stopping"))
    }

    /// The open transaction has made a sequence, or it begins at `next` for it from now on.
    pub(crate) fn own_sequence(&self, definition: Arc<Sequence>, next: i64) {
        let mut state = self.state.lock();
        state.made += 1;
        let made = state.made;
        state.own.insert(definition.oid, OwnSequence { definition, next, called: false, made });
        self.has_own.store(true, Ordering::Relaxed);
    }

    /// The definition of a sequence has changed. Only the open transaction's own follow at once.
    pub(crate) fn redefine_own_sequence(&self, definition: &Arc<Sequence>) {
        if let Some(own) = self.state.lock().own.get_mut(&definition.oid) {
            own.definition = definition.clone();
        }
    }

    /// The sequences of the open transaction, to come back to.
    pub(crate) fn own_sequences(&self) -> OwnSequences {
        self.state.lock().own.clone()
    }

    /// Goes back to what a savepoint kept. Values that were taken since stay taken.
    pub(crate) fn restore_own_sequences(&self, mut restored: OwnSequences) {
        let mut state = self.state.lock();
        for (oid, sequence) in &mut restored {
            if let Some(now) = state.own.get(oid).filter(|now| now.made == sequence.made) {
                (sequence.next, sequence.called) = (now.next, now.called);
            }
        }
        state.own = restored;
    }

    /// The transaction ends: where its own sequences stand.
    pub(crate) fn take_own_sequences(&self) -> Vec<SequenceChange> {
        if !self.has_own.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        let own = std::mem::take(&mut self.state.lock().own);
        let mut changes: Vec<_> = own
            .into_iter()
            .map(|(sequence, own)| SequenceChange { sequence, next: own.next, called: own.called })
            .collect();
        changes.sort_by_key(|change| change.sequence);
        changes
    }

    /// The next value of a sequence of the open transaction; `None` where it has none such.
    fn next_own_value(&self, oid: Oid) -> SqlResult<Option<i64>> {
        if !self.has_own.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut state = self.state.lock();
        let Some(own) = state.own.get_mut(&oid) else { return Ok(None) };
        let value = crate::sequences::within(&own.definition, own.next)?;
        own.next = value.saturating_add(own.definition.increment);
        own.called = true;
        state.values.insert(oid, value);
        state.last = Some(oid);
        Ok(Some(value))
    }

    /// A sequence's definition, also one that only the open transaction knows.
    fn definition(&self, oid: Oid) -> SqlResult<Arc<Sequence>> {
        if let Some(own) = self.state.lock().own.get(&oid) {
            return Ok(own.definition.clone());
        }
        find(&*self.engine()?, oid)
    }

    pub(crate) fn next_value_of(&self, oid: Oid) -> SqlResult<i64> {
        if let Some(value) = self.next_own_value(oid)? {
            return Ok(value);
        }
        let engine = self.engine()?;
        let sequence = find(&engine, oid)?;
        // Who may insert into a table with an identity column may take its numbers.
        if !is_identity(&engine, &sequence) {
            self.check(&sequence, &[Privileges::USAGE, Privileges::UPDATE])?;
        }
        self.check_writable(&engine, &sequence, "nextval()")?;
        let value = engine.sequences.next_value(&engine, &sequence)?;
        let mut state = self.state.lock();
        state.values.insert(oid, value);
        state.last = Some(oid);
        Ok(value)
    }
}

/// The sequence in the latest catalog: sequences are not part of a snapshot.
fn find(engine: &Engine, oid: Oid) -> SqlResult<Arc<Sequence>> {
    engine
        .store
        .catalog()
        .sequence(oid)
        .cloned()
        .ok_or_else(|| SqlError::new(SqlState::UndefinedTable, "the sequence does not exist"))
}

fn is_identity(engine: &Engine, sequence: &Sequence) -> bool {
    let catalog = engine.store.catalog();
    let column = sequence.owned_by.and_then(|(table, number)| {
        let table = catalog.table(table)?;
        table.columns.iter().find(|column| column.number == number).map(|column| column.identity_always.is_some())
    });
    column.unwrap_or(false)
}

impl SessionServices for Services {
    fn number_transaction(&self) -> i64 {
        self.engine.upgrade().map_or(0, |engine| engine.number_transaction())
    }

    fn next_value(&self, sequence: Oid) -> SqlResult<i64> {
        self.next_value_of(sequence)
    }

    fn current_value(&self, sequence: Oid) -> SqlResult<i64> {
        let found = self.definition(sequence)?;
        self.check(&found, &[Privileges::USAGE, Privileges::SELECT])?;
        let name = found.name.clone();
        self.state.lock().values.get(&sequence).copied().ok_or_else(|| {
            SqlError::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("currval of sequence \"{name}\" is not yet defined in this session"),
            )
        })
    }

    fn taken_value(&self, sequence: Oid) -> Option<i64> {
        let engine = self.engine.upgrade()?;
        engine.sequences.taken(&engine, sequence)
    }

    fn last_value(&self) -> SqlResult<i64> {
        let state = self.state.lock();
        state.last.and_then(|oid| state.values.get(&oid).copied()).ok_or_else(|| {
            SqlError::new(SqlState::ObjectNotInPrerequisiteState, "lastval is not yet defined in this session")
        })
    }

    fn set_value(&self, sequence: Oid, value: i64, called: bool) -> SqlResult<i64> {
        let engine = self.engine()?;
        let found = self.definition(sequence)?;
        self.check(&found, &[Privileges::UPDATE])?;
        crate::sequences::check_value(&found, value)?;
        let mut state = self.state.lock();
        if let Some(own) = state.own.get_mut(&sequence) {
            own.next = if called { value.saturating_add(found.increment) } else { value };
            own.called = called;
        } else {
            drop(state);
            self.check_writable(&engine, &found, "setval()")?;
            engine.sequences.set_value(&engine, &found, value, called)?;
            state = self.state.lock();
        }
        if called {
            state.values.insert(sequence, value);
        }
        Ok(value)
    }

    fn advisory_lock(&self, lock: AdvisoryLock, wait: bool) -> SqlResult<bool> {
        self.advisory.take(advisory::key(lock.of_two, lock.number), lock.shared, lock.transaction, wait)
    }

    fn advisory_unlock(&self, lock: AdvisoryLock) -> bool {
        self.advisory.give_back(&advisory::key(lock.of_two, lock.number), lock.shared)
    }

    fn advisory_unlock_all(&self) {
        self.advisory.give_all_back();
    }

    fn keyspace(&self) -> Option<Arc<perigee_keyspace::Keyspace>> {
        self.engine.upgrade().and_then(|engine| engine.keyspace.clone())
    }

    fn prepared_statements(&self) -> Vec<NamedStatement> {
        self.state.lock().statements.values().cloned().collect()
    }

    fn compat_gaps(&self) -> Vec<CompatGap> {
        self.engine.upgrade().map(|engine| engine.gaps.all()).unwrap_or_default()
    }

    fn queries(&self) -> Vec<QueryStatistics> {
        self.engine.upgrade().map(|engine| engine.queries.all()).unwrap_or_default()
    }

    fn metrics(&self) -> String {
        let engine = self.engine.upgrade();
        engine.and_then(|engine| Some(engine.metrics.get()?())).unwrap_or_default()
    }

    fn cluster(&self) -> Option<ClusterState> {
        self.engine.upgrade().map(|engine| engine.cluster_state())
    }

    fn activity(&self) -> Vec<SessionActivity> {
        let Some(engine) = self.engine.upgrade() else { return Vec::new() };
        engine.sessions.all().iter().map(|session| session.shown()).collect()
    }

    fn is_connected(&self, process_id: i32) -> bool {
        self.engine.upgrade().is_some_and(|engine| engine.sessions.get(process_id).is_some())
    }

    fn signal(&self, process_id: i32, signal: SessionSignal) -> SqlResult<bool> {
        let engine = self.engine()?;
        let Some(session) = engine.sessions.get(process_id) else { return Ok(false) };
        self.check_signal(&engine, &session, signal)?;
        match signal {
            SessionSignal::Cancel => session.cancel(),
            SessionSignal::Terminate => session.terminated.cancel(),
        }
        if process_id == self.process_id {
            // The caller ends here, and not only where it next looks.
            return Err(SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request"));
        }
        Ok(true)
    }

    fn notify(&self, channel: &str, payload: &str) -> SqlResult<()> {
        crate::notify::check(channel, payload)?;
        if self.reads_only {
            return Err(crate::notify::refused());
        }
        let mut state = self.state.lock();
        if state.notifications.len() >= NOTIFICATIONS_MAX {
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, "too many notifications in one statement"));
        }
        state.notifications.push((channel.to_owned(), payload.to_owned()));
        self.has_notifications.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn export_snapshot(&self, tenant: TenantId, snapshot: &Arc<Snapshot>) -> SqlResult<String> {
        self.has_exported.store(true, Ordering::Relaxed);
        self.engine()?.shared_snapshots.export(self.process_id, tenant, snapshot)
    }

    fn listening_channels(&self) -> Vec<String> {
        self.engine.upgrade().map(|engine| engine.listeners.channels(self.process_id)).unwrap_or_default()
    }

    fn set_config(&self, name: &str, value: &str, local: bool) -> SqlResult<String> {
        // The session belongs to the thread that waits for this query's rows: it adopts the value behind the statement.
        let shown = crate::settings::checked(name, value)?;
        let mut state = self.state.lock();
        if state.settings.len() >= SETTINGS_MAX {
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, "too many calls of set_config in one statement"));
        }
        state.settings.push((name.to_owned(), value.to_owned(), local));
        self.has_settings.store(true, Ordering::Relaxed);
        Ok(shown)
    }
}

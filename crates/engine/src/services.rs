//! Functions with an effect: sequences and `set_config`. DataFusion calls them from query threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use perigee_query::exec::{CompatGap, SessionServices};
use perigee_types::catalog::Sequence;
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use rustc_hash::FxHashMap;

use crate::engine::Engine;

/// What a session's functions remember and reach.
pub(crate) struct Services {
    engine: Weak<Engine>,
    state: Mutex<State>,
    /// So that a statement need not take the lock to see that there are none.
    has_settings: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Last value of each sequence that this session has called.
    values: FxHashMap<Oid, i64>,
    last: Option<Oid>,
    /// What `set_config` asks for, until the session adopts it: name, value, whether local.
    settings: Vec<(String, String, bool)>,
}

/// Calls of `set_config` in one statement.
const SETTINGS_MAX: usize = 1_000;

impl Services {
    pub(crate) fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine: Arc::downgrade(engine), state: Mutex::default(), has_settings: AtomicBool::new(false) })
    }

    /// DISCARD SEQUENCES
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        state.values.clear();
        state.last = None;
    }

    /// Settings that the last statement has asked for.
    pub(crate) fn take_settings(&self) -> Vec<(String, String, bool)> {
        if !self.has_settings.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        std::mem::take(&mut self.state.lock().settings)
    }

    fn engine(&self) -> SqlResult<Arc<Engine>> {
        self.engine.upgrade().ok_or_else(|| SqlError::new(SqlState::AdminShutdown, "the node is stopping"))
    }

    pub(crate) fn next_value_of(&self, oid: Oid) -> SqlResult<i64> {
        let engine = self.engine()?;
        let sequence = find(&engine, oid)?;
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
        .ok_or_else(|| SqlError::new(SqlState::UndefinedTable, "the sequence does not exist or is not committed yet"))
}

impl SessionServices for Services {
    fn next_value(&self, sequence: Oid) -> SqlResult<i64> {
        self.next_value_of(sequence)
    }

    fn current_value(&self, sequence: Oid) -> SqlResult<i64> {
        let name = find(&*self.engine()?, sequence)?.name.clone();
        self.state.lock().values.get(&sequence).copied().ok_or_else(|| {
            SqlError::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("currval of sequence \"{name}\" is not yet defined in this session"),
            )
        })
    }

    fn last_value(&self) -> SqlResult<i64> {
        let state = self.state.lock();
        state.last.and_then(|oid| state.values.get(&oid).copied()).ok_or_else(|| {
            SqlError::new(SqlState::ObjectNotInPrerequisiteState, "lastval is not yet defined in this session")
        })
    }

    fn set_value(&self, sequence: Oid, value: i64, called: bool) -> SqlResult<i64> {
        let engine = self.engine()?;
        let found = find(&engine, sequence)?;
        engine.sequences.set_value(&engine, &found, value, called)?;
        if called {
            self.state.lock().values.insert(sequence, value);
        }
        Ok(value)
    }

    fn compat_gaps(&self) -> Vec<CompatGap> {
        self.engine.upgrade().map(|engine| engine.gaps.all()).unwrap_or_default()
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

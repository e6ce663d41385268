//! Functions with an effect: sequences and `set_config`. DataFusion calls them from query threads.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use perigee_query::exec::SessionServices;
use perigee_types::catalog::Sequence;
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use rustc_hash::FxHashMap;

use crate::engine::Engine;

/// What a session's functions remember and reach.
pub(crate) struct Services {
    engine: Weak<Engine>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Last value of each sequence that this session has called.
    values: FxHashMap<Oid, i64>,
    last: Option<Oid>,
}

impl Services {
    pub(crate) fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine: Arc::downgrade(engine), state: Mutex::default() })
    }

    /// DISCARD SEQUENCES
    pub(crate) fn forget(&self) {
        *self.state.lock() = State::default();
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

    fn set_config(&self, name: &str, _value: &str, _local: bool) -> SqlResult<String> {
        // The session belongs to the thread that waits for this query's rows.
        Err(SqlError::unsupported(format_args!("set_config(\"{name}\") inside a query")).hint("use SET"))
    }
}

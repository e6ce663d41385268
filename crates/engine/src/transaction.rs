//! One transaction on its leader: what it has read at, written and locked.
//!
//! READ COMMITTED takes a snapshot for each statement, REPEATABLE READ one for all. Writes are buffered (see
//! [`crate::write_set`]) and decided under locks against the latest applied state; the log gets the result at COMMIT.

use std::sync::Arc;

use perigee_plan::command::Isolation;
use perigee_storage::entry::SequenceChange;
use perigee_storage::store::Snapshot;
use perigee_types::catalog::Catalog;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, Term};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::locks::{Acquired, Holder, LockKey, LockManager, LockMode, LockWait};
use crate::stage::Staging;
use crate::write_set::{Mark, WriteSet};

/// Row locks of one table from which a transaction takes the whole table instead.
const ROW_LOCKS_MAX: usize = 50_000;

/// An open transaction.
pub(crate) struct Transaction {
    /// Names it in the lock table and in staged entries.
    pub(crate) holder: Holder,
    /// The term it was begun in. Its entry takes effect in this term only.
    pub(crate) term: Term,
    pub(crate) isolation: Isolation,
    pub(crate) read_only: bool,
    /// Begun by BEGIN, not by a single statement.
    pub(crate) explicit: bool,
    /// Nothing but ROLLBACK (or COMMIT, which rolls back) is possible.
    pub(crate) failed: bool,
    /// `now()`: microseconds since 1970 UTC.
    pub(crate) started_micros: i64,
    /// The snapshot of REPEATABLE READ, and of the running statement.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) writes: WriteSet,
    /// Rows already in the log, hidden, because they were too many to buffer.
    pub(crate) staging: Option<Staging>,
    pub(crate) savepoints: Vec<(String, Mark)>,
    /// What was done since BEGIN that a statement may not come behind (SET TRANSACTION).
    pub(crate) has_run: bool,
    /// Sequences that start anew with it.
    pub(crate) sequences: Vec<SequenceChange>,
    /// Indexes to fill from existing rows once the entry is applied.
    pub(crate) backfill: Vec<Oid>,
    locks: HeldLocks,
}

impl Transaction {
    pub(crate) fn new(engine: &Arc<Engine>, explicit: bool, isolation: Isolation, read_only: bool) -> SqlResult<Self> {
        let term = engine.consensus.leader_term().ok_or_else(no_leader)?;
        let holder = engine.next_holder();
        Ok(Self {
            holder,
            term,
            isolation,
            read_only,
            explicit,
            failed: false,
            started_micros: engine.now_micros(),
            snapshot: None,
            writes: WriteSet::default(),
            staging: None,
            savepoints: Vec::new(),
            has_run: false,
            sequences: Vec::new(),
            backfill: Vec::new(),
            locks: HeldLocks { engine: engine.clone(), holder, keys: FxHashSet::default(), rows: FxHashMap::default() },
        })
    }

    /// The snapshot for a statement that begins now.
    pub(crate) fn begin_statement(&mut self, engine: &Engine) -> Arc<Snapshot> {
        self.has_run = true;
        if self.isolation == Isolation::ReadCommitted {
            self.snapshot = None;
        }
        self.snapshot(engine)
    }

    /// A write by key reads the latest state under locks; only REPEATABLE READ needs a snapshot to compare with.
    pub(crate) fn begin_statement_for_write(&mut self, engine: &Engine) {
        self.has_run = true;
        if self.isolation != Isolation::ReadCommitted {
            self.snapshot(engine);
        }
    }

    /// The snapshot of the running statement.
    pub(crate) fn snapshot(&mut self, engine: &Engine) -> Arc<Snapshot> {
        self.snapshot.get_or_insert_with(|| engine.store.snapshot()).clone()
    }

    /// The catalog that statements of this transaction are planned against.
    pub(crate) fn catalog(&self, engine: &Engine) -> Arc<Catalog> {
        if let Some(own) = self.writes.catalog() {
            return own.clone();
        }
        match &self.snapshot {
            Some(snapshot) if self.isolation != Isolation::ReadCommitted => snapshot.catalog.clone(),
            _ => engine.store.catalog(),
        }
    }

    /// Refuses writes where they may not be.
    pub(crate) fn check_writable(&self, command: &str) -> SqlResult<()> {
        if self.read_only {
            return Err(SqlError::new(
                SqlState::ReadOnlySqlTransaction,
                format!("cannot execute {command} in a read-only transaction"),
            ));
        }
        Ok(())
    }

    /// Takes a lock until the transaction ends. `row_of` names the table whose row it is, to count row locks.
    pub(crate) async fn lock(
        &mut self,
        key: LockKey,
        mode: LockMode,
        row_of: Option<Oid>,
        wait: LockWait,
        cancel: &CancellationToken,
    ) -> SqlResult<Acquired> {
        self.locks.take(key, mode, row_of, wait, cancel).await
    }

    /// Whether it holds the whole table, so that locks of its rows are not needed.
    pub(crate) fn holds_table(&self, table: Oid) -> bool {
        self.locks.keys.contains(&(LockKey::Table(table), LockMode::Exclusive))
    }
}

/// Locks of one transaction; given up when it is dropped, however it ends.
struct HeldLocks {
    engine: Arc<Engine>,
    holder: Holder,
    keys: FxHashSet<(LockKey, LockMode)>,
    rows: FxHashMap<Oid, usize>,
}

impl HeldLocks {
    fn manager(&self) -> &LockManager {
        &self.engine.locks
    }

    async fn take(
        &mut self,
        key: LockKey,
        mode: LockMode,
        row_of: Option<Oid>,
        wait: LockWait,
        cancel: &CancellationToken,
    ) -> SqlResult<Acquired> {
        if let Some(table) = row_of {
            if self.keys.contains(&(LockKey::Table(table), LockMode::Exclusive)) {
                return Ok(Acquired::AtOnce);
            }
            let count = self.rows.entry(table).or_default();
            *count += 1;
            if *count > ROW_LOCKS_MAX {
                return self.take_whole(LockKey::Table(table), LockMode::Exclusive, wait, cancel).await;
            }
        }
        self.take_whole(key, mode, wait, cancel).await
    }

    async fn take_whole(
        &mut self,
        key: LockKey,
        mode: LockMode,
        wait: LockWait,
        cancel: &CancellationToken,
    ) -> SqlResult<Acquired> {
        let acquired = self.manager().acquire(self.holder, &key, mode, wait, cancel).await?;
        self.keys.insert((key, mode));
        Ok(acquired)
    }
}

impl Drop for HeldLocks {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.manager().release(self.holder, self.keys.iter().map(|(key, _)| key));
        }
    }
}

pub(crate) fn no_leader() -> SqlError {
    SqlError::new(SqlState::CannotConnectNow, "the node is not ready to serve: no leader is known")
}

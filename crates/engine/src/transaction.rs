//! One transaction on its leader: what it has read at, written and locked.
//!
//! READ COMMITTED takes a snapshot for each statement, REPEATABLE READ and SERIALIZABLE one for all. Writes are buffered (see
//! [`crate::write_set`]) and decided under locks against the latest applied state; the log gets the result at COMMIT.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use perigee_keyspace::{Draft, DraftMark};
use perigee_plan::command::Isolation;
use perigee_storage::entry::SequenceChange;
use perigee_storage::store::Snapshot;
use perigee_types::catalog::{Catalog, Object, Table};
use perigee_types::{LogIndex, Oid, Row, SqlError, SqlResult, SqlState, TableId, Term, TransactionId};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio_util::sync::CancellationToken;

use crate::deferred::{Constraints, Postponed};
use crate::engine::Engine;
use crate::foreign::{PendingKey, RowChange};
use crate::locks::{Acquired, Holder, LockKey, LockManager, LockMode, LockWait};
use crate::notify::{Listening, Pending};
use crate::serializable::Reads;
use crate::services::OwnSequences;
use crate::stage::Staging;
use crate::write_set::{Mark, UniqueKeys, WriteSet};

/// Row locks of one table from which a transaction takes the whole table instead.
const ROW_LOCKS_MAX: usize = 50_000;
/// So many bytes of a transaction's buffer for each share of a key that it may hold: 131,072 shares for 8 MB.
const KEY_SHARES_PER_BYTES: usize = 64;

/// An open transaction.
pub(crate) struct Transaction {
    /// Names it in the lock table and in staged entries.
    pub(crate) holder: Holder,
    /// The term it was begun in. Its entry takes effect in this term only.
    pub(crate) term: Term,
    pub(crate) isolation: Isolation,
    pub(crate) read_only: bool,
    /// DEFERRABLE, which has no effect: no snapshot has to be waited for.
    pub(crate) deferrable: bool,
    /// READ COMMITTED is shown as READ UNCOMMITTED.
    pub(crate) uncommitted: bool,
    /// Begun by BEGIN, not by a single statement.
    pub(crate) explicit: bool,
    /// The leader, where this node is not: nothing can be written here, and reads see what has come so far.
    pub(crate) elsewhere: Option<String>,
    /// Its session's statements find the leader: who comes here all the same has met a change of it.
    pub(crate) routed: bool,
    /// Nothing but ROLLBACK (or COMMIT, which rolls back) is possible.
    pub(crate) failed: bool,
    /// `now()`: microseconds since 1970 UTC.
    pub(crate) started_micros: i64,
    /// `txid_current()`, once somebody has asked for it.
    pub(crate) number: Arc<OnceLock<i64>>,
    /// The snapshot of REPEATABLE READ, and of the running statement.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// What it has read, from the first statement of a serializable transaction on.
    pub(crate) reads: Option<Reads>,
    pub(crate) writes: WriteSet,
    /// What it does to keys.
    pub(crate) keys: Option<Arc<Draft>>,
    /// Rows already in the log, hidden, because they were too many to buffer.
    pub(crate) staging: Option<Staging>,
    pub(crate) savepoints: Vec<Savepoint>,
    /// What rows of the running statement point to and have not found yet.
    pub(crate) pending_keys: Vec<PendingKey>,
    /// Changes of rows whose foreign keys are upheld when the whole statement has run; `None` where each of its writes does
    /// that itself.
    pub(crate) deferred: Option<Vec<(Arc<Table>, Vec<RowChange>)>>,
    /// Bytes of the buffer that could not go to the log when the rest of it went.
    pub(crate) buffer_left: usize,
    /// What SET CONSTRAINTS has said.
    pub(crate) constraints: Constraints,
    /// What deferred constraints have found wrong, in order, and how many keys that is about.
    pub(crate) postponed: Vec<Postponed>,
    pub(crate) postponed_keys: usize,
    /// What was done since BEGIN that a statement may not come behind (SET TRANSACTION).
    pub(crate) has_run: bool,
    /// Where the sequences stand that it has made or starts anew, put in at COMMIT; before it positions of continuous aggregates.
    pub(crate) sequences: Vec<SequenceChange>,
    /// Indexes to fill from existing rows once the entry is applied.
    pub(crate) backfill: Vec<Oid>,
    /// What it tells those who listen.
    pub(crate) notifications: Pending,
    /// LISTEN and UNLISTEN, in order.
    pub(crate) listening: Vec<Listening>,
    /// The step of a trace that its commit is a part of.
    pub(crate) traced: Option<perigee_telemetry::trace::Parent>,
    /// The entry that it became.
    pub(crate) committed_at: Option<LogIndex>,
    locks: HeldLocks,
}

impl Transaction {
    pub(crate) fn new(engine: &Arc<Engine>, explicit: bool, isolation: Isolation, read_only: bool) -> SqlResult<Self> {
        let (term, elsewhere) = match engine.consensus.leader_term() {
            Some(term) => (term, None),
            // No term is ever zero: whatever this transaction proposed would be refused.
            None => match engine.followed() {
                Ok(leader) => (Term(0), Some(leader)),
                // In a cluster the doors know whether reads are wanted all the same.
                Err(_) if engine.elsewhere.get().is_some() => (Term(0), Some(String::new())),
                Err(error) => return Err(error),
            },
        };
        Ok(Self::made(engine, term, elsewhere, explicit, isolation, read_only))
    }

    /// A block that is over, and waits for its ROLLBACK.
    pub(crate) fn over(engine: &Arc<Engine>) -> Self {
        Self::made(engine, Term(0), Some(String::new()), true, Isolation::ReadCommitted, false)
    }

    fn made(
        engine: &Arc<Engine>,
        term: Term,
        elsewhere: Option<String>,
        explicit: bool,
        isolation: Isolation,
        read_only: bool,
    ) -> Self {
        let holder = engine.next_holder();
        Self {
            holder,
            term,
            isolation,
            read_only,
            elsewhere,
            routed: false,
            deferrable: false,
            uncommitted: false,
            explicit,
            failed: false,
            started_micros: engine.now_micros(),
            number: Arc::default(),
            snapshot: None,
            reads: None,
            writes: WriteSet::default(),
            keys: None,
            staging: None,
            savepoints: Vec::new(),
            pending_keys: Vec::new(),
            deferred: None,
            buffer_left: 0,
            constraints: Constraints::default(),
            postponed: Vec::new(),
            postponed_keys: 0,
            has_run: false,
            sequences: Vec::new(),
            backfill: Vec::new(),
            notifications: Pending::default(),
            listening: Vec::new(),
            traced: None,
            committed_at: None,
            locks: HeldLocks {
                engine: engine.clone(),
                holder,
                keys: FxHashSet::default(),
                rows: FxHashMap::default(),
                shares: FxHashMap::default(),
            },
        }
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
        let snapshot = match (&self.snapshot, &mut self.reads) {
            (Some(snapshot), _) => snapshot.clone(),
            (None, Some(reads)) => reads.take_snapshot(|| engine.store.snapshot()),
            (None, None) => engine.store.snapshot(),
        };
        self.snapshot = Some(snapshot.clone());
        if let Some(reads) = &mut self.reads {
            reads.took_snapshot(snapshot.index);
        }
        snapshot
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

    /// Whether the snapshot shows a table as it is now, and the foreign keys that point to it. The table is locked.
    ///
    /// Rows are written by the table as it is: to its storage, with its constraints. A snapshot of REPEATABLE READ may be
    /// older than a change of the table that no lock of this transaction has held back.
    pub(crate) fn shows_latest(&self, engine: &Engine, table: TableId) -> bool {
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.isolation != Isolation::ReadCommitted) else {
            return true;
        };
        let (seen, latest) = (&snapshot.catalog, engine.store.catalog());
        // One that this transaction has made is in neither.
        let Some(before) = seen.table(table) else { return true };
        let pointing = |catalog: &Catalog| {
            let mut tables: Vec<_> = catalog.referencing(table).map(|t| (t.oid, t.version)).collect();
            tables.sort_unstable();
            tables
        };
        latest.table(table).is_some_and(|now| {
            now.version == before.version && now.storage == before.storage && now.indexes == before.indexes
        }) && pointing(seen) == pointing(&latest)
    }

    /// Refuses what only the leader can do.
    pub(crate) fn check_leads(&self, command: &str) -> SqlResult<()> {
        match &self.elsewhere {
            None => Ok(()),
            Some(_) if self.routed => Err(SqlError::new(
                SqlState::SerializationFailure,
                "could not continue: the leader has changed; nothing was written",
            )
            .hint("retry the transaction")),
            // No leader was known when it began.
            Some(leader) if leader.is_empty() => Err(no_leader()),
            Some(leader) => Err(SqlError::new(
                SqlState::ReadOnlySqlTransaction,
                format!("cannot execute {command}: this node follows node {leader}"),
            )
            .hint(format!("connect to node {leader}, which leads the cluster and takes writes"))),
        }
    }

    /// Refuses writes where they may not be.
    pub(crate) fn check_writable(&self, command: &str) -> SqlResult<()> {
        self.check_leads(command)?;
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

    /// Waits until nobody is about to end what `key` names, and holds nothing of it afterwards that was not held before.
    pub(crate) async fn look(
        &mut self,
        key: &LockKey,
        wait: LockWait,
        cancel: &CancellationToken,
    ) -> SqlResult<Acquired> {
        if self.locks.holds(key) {
            return Ok(Acquired::AtOnce);
        }
        let manager = &self.locks.engine.locks;
        let acquired = manager.acquire(self.holder, key, LockMode::Look, wait, cancel).await?;
        manager.release(self.holder, [key]);
        Ok(acquired)
    }

    /// Whether it changes keys.
    pub(crate) fn changes_keys(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| !keys.is_empty())
    }

    /// The name under which it has rows in the log, if it has.
    pub(crate) fn staged(&self) -> Option<TransactionId> {
        self.staging.as_ref().map(|staging| staging.id)
    }

    /// Gives up all its locks: it is committed, and others may go on before it has told its client.
    pub(crate) fn release_locks(&mut self) {
        self.locks.release();
    }

    /// Whether it holds the whole table, so that locks of its rows are not needed.
    pub(crate) fn holds_table(&self, table: Oid) -> bool {
        self.locks.keys.contains(&(LockKey::Table(table), LockMode::Exclusive))
    }
}

/// What ROLLBACK TO goes back to.
pub(crate) struct Savepoint {
    pub(crate) name: String,
    pub(crate) mark: Mark,
    keys: DraftMark,
    /// A savepoint may be followed by SET TRANSACTION READ ONLY, which ends with it.
    read_only: bool,
    /// By storage: rows that were staged before it, and places in the buffer that were taken.
    rows: BTreeMap<Oid, (u64, usize)>,
    /// How many indexes to fill were asked for before it.
    backfill: usize,
    /// What stood of the sequences that are the transaction's own.
    pub(crate) sequences: OwnSequences,
    /// Positions of continuous aggregates that were set before it.
    positions: usize,
    /// Notifications and changes of what is listened to that came before it.
    notifications: usize,
    listening: usize,
    /// What deferred constraints had found wrong before it, and what SET CONSTRAINTS had said.
    postponed: (usize, usize),
    constraints: Constraints,
    /// Rows of the buffer that it would bring back have been staged or dropped since.
    lost: bool,
}

/// Rows that ROLLBACK TO may have to end one by one.
const STAGED_ENDED_MAX: u64 = 4_000_000;

impl Transaction {
    pub(crate) fn savepoint(&mut self, name: &str, sequences: OwnSequences) {
        let mut rows: BTreeMap<Oid, (u64, usize)> = BTreeMap::new();
        if let Some(staging) = &self.staging {
            rows.extend(staging.rows().iter().map(|(storage, count)| (*storage, (*count, 0))));
        }
        for (storage, writes) in self.writes.tables() {
            rows.entry(storage).or_default().1 = writes.inserted.len();
        }
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            mark: self.writes.mark(),
            keys: self.keys.as_ref().map(|keys| keys.mark()).unwrap_or_default(),
            read_only: self.read_only,
            rows,
            backfill: self.backfill.len(),
            sequences,
            positions: self.sequences.len(),
            notifications: self.notifications.len(),
            listening: self.listening.len(),
            postponed: (self.postponed.len(), self.postponed_keys),
            constraints: self.constraints.clone(),
            lost: false,
        });
    }

    /// Whether a savepoint would bring back buffered rows of a table, which staging would lose to it.
    pub(crate) fn would_lose(&self, storage: Oid) -> bool {
        self.savepoints.iter().any(|savepoint| self.writes.brings_back(storage, savepoint.mark))
    }

    /// Takes the buffered rows of a table out, to stage them; savepoints learn where theirs end.
    pub(crate) fn take_to_stage(&mut self, storage: Oid) -> Vec<Row> {
        let staged = self.staging.as_ref().and_then(|s| s.rows().get(&storage).copied()).unwrap_or(0);
        for savepoint in &mut self.savepoints {
            savepoint.lost |= self.writes.brings_back(storage, savepoint.mark);
            let places = savepoint.rows.get(&storage).map_or(0, |(_, places)| *places);
            if places > 0 {
                let kept = self.writes.live_before(storage, places);
                savepoint.rows.insert(storage, (staged + kept, 0));
            }
        }
        self.writes.take_inserted(storage)
    }

    /// Takes back what was done behind a savepoint. Staged rows are settled.
    ///
    /// # Errors
    /// `0A000` where rows that were staged since would have to come back, or too many would have to go; `40001` where some of
    /// those that were staged did not come into the log.
    pub(crate) fn rollback_to(&mut self, place: usize, engine: &Arc<Engine>) -> SqlResult<()> {
        let Some(savepoint) = self.savepoints.get(place) else { return Ok(()) };
        if savepoint.lost {
            return Err(SqlError::unsupported("ROLLBACK TO SAVEPOINT behind a large load of rows that were changed"));
        }
        if self.staging.as_ref().is_some_and(Staging::is_broken) {
            let text = "could not roll back to the savepoint: rows behind it did not all come into the log";
            return Err(SqlError::new(SqlState::SerializationFailure, text).hint("retry the transaction"));
        }
        let kept = savepoint.rows.clone();
        self.read_only = savepoint.read_only;
        self.backfill.truncate(savepoint.backfill);
        self.sequences.truncate(savepoint.positions);
        self.notifications.truncate(savepoint.notifications);
        self.listening.truncate(savepoint.listening);
        self.postponed.truncate(savepoint.postponed.0);
        self.postponed_keys = savepoint.postponed.1;
        self.constraints = savepoint.constraints.clone();
        self.writes.rollback_to(savepoint.mark);
        if let Some(keys) = &self.keys {
            keys.rollback_to(&savepoint.keys);
        }
        self.savepoints.truncate(place + 1);
        self.pending_keys.clear();
        let Some(staging) = &self.staging else { return Ok(()) };
        let (own, counts) = (staging.id, staging.rows().clone());
        let catalog = self.catalog(engine);
        for (storage_oid, count) in counts {
            let kept = kept.get(&storage_oid).map_or(0, |(kept, _)| *kept);
            if count - kept > STAGED_ENDED_MAX {
                return Err(SqlError::unsupported("ROLLBACK TO SAVEPOINT behind a load of millions of rows"));
            }
            let table = catalog.objects().find_map(|object| match object {
                Object::Table(table) if table.storage == storage_oid => Some(table.clone()),
                _ => None,
            });
            // A table that is gone again takes its rows along.
            let (Some(table), Some(store)) = (table, engine.store.table(storage_oid)) else { continue };
            let unique = UniqueKeys::of(&table, &catalog);
            for vid in store.staged_vids(own).map_err(crate::error::storage)?.into_iter().skip(kept as usize) {
                self.writes.end_staged(&table, &unique, vid);
            }
        }
        Ok(())
    }
}

/// Locks of one transaction; given up when it is dropped, however it ends.
struct HeldLocks {
    engine: Arc<Engine>,
    holder: Holder,
    keys: FxHashSet<(LockKey, LockMode)>,
    /// How many rows of each table are locked, and of how many it has shares of the key alone.
    rows: FxHashMap<Oid, usize>,
    shares: FxHashMap<Oid, usize>,
}

impl HeldLocks {
    fn holds(&self, key: &LockKey) -> bool {
        use LockMode::{Ending, Exclusive, KeyShare, NoKeyExclusive, Shared};
        let mut modes = [KeyShare, Shared, NoKeyExclusive, Exclusive, Ending].into_iter();
        modes.any(|mode| self.keys.contains(&(key.clone(), mode)))
    }

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
            // A share of a key is held for a row that points to it: the whole parent for it would stop its other writers, so
            // there may be more of them, as many as there is memory for.
            let (counts, most) = match mode {
                LockMode::KeyShare => {
                    (&mut self.shares, self.engine.options.transaction_bytes_max / KEY_SHARES_PER_BYTES)
                }
                _ => (&mut self.rows, ROW_LOCKS_MAX),
            };
            // And who will not wait for a row need not have the table.
            let counted = !matches!(wait, LockWait::Never);
            let count = counts.entry(table).or_default();
            if counted && !self.keys.contains(&(key.clone(), mode)) {
                *count += 1;
            }
            if counted && *count > most {
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

impl HeldLocks {
    fn release(&mut self) {
        if !self.keys.is_empty() {
            self.manager().release(self.holder, self.keys.iter().map(|(key, _)| key));
            self.keys.clear();
        }
    }
}

impl Drop for HeldLocks {
    fn drop(&mut self) {
        self.release();
    }
}

pub(crate) fn no_leader() -> SqlError {
    SqlError::new(SqlState::CannotConnectNow, "the node is not ready to serve: no leader is known")
}

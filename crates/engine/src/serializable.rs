//! SERIALIZABLE: a transaction commits only if nothing that it read has been written since its snapshot.
//!
//! ```text
//! snapshot ---- reads: keys, scans with their filters ----> COMMIT
//!      other commits, in propose order:   c1   c2   c3        |
//!                                          `----`----`--------+-- would a read have seen a row of theirs? 40001
//! ```
//!
//! So the transactions that write are serial in the order of the log, and one that only reads stands where its snapshot
//! does. Commits of every isolation level are kept for the test, also those proposed and not applied yet, as long as a
//! serializable transaction is open that began before them. While there is none, a commit costs two atomic operations.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use perigee_query::exec::reads::ReadLog;
use perigee_storage::store::Snapshot;
use perigee_types::{IndexId, LogIndex, Oid, Row, SqlError, SqlState, TableId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::engine::Engine;
use crate::write_set::{TableWrites, UniqueKeys};

/// Bytes of rows that are kept of commits; beyond them a commit counts as one of whole tables.
const BYTES_MAX: usize = 32 << 20;

/// What all serializable transactions of a node share.
#[derive(Default)]
pub(crate) struct Serializable {
    /// Open serializable transactions, also those that have no snapshot yet.
    open: AtomicUsize,
    /// Commits on their way that are not kept.
    unkept: AtomicUsize,
    commits: Mutex<Commits>,
}

/// The commits that an open serializable transaction may have to look at, in propose order.
#[derive(Default)]
pub(crate) struct Commits {
    kept: VecDeque<Commit>,
    next: u64,
    bytes: usize,
    /// Whether any of them ever was: then their ends are looked for.
    abandoned: bool,
    /// Indexes of open snapshots, and how many there are of each.
    snapshots: BTreeMap<LogIndex, usize>,
}

struct Commit {
    number: u64,
    /// `None` while its outcome is not known.
    index: Option<LogIndex>,
    /// Nobody waits for its outcome any more.
    abandoned: bool,
    tables: FxHashMap<TableId, Written>,
}

/// What a commit has written to a table.
pub(crate) enum Written {
    /// Old and new rows, all live columns, with the unique keys of the table.
    Rows(Vec<Row>, UniqueKeys),
    /// So much that it is not kept, or a change of the table itself.
    Whole,
}

/// What an open serializable transaction has read.
pub(crate) struct Reads {
    engine: Arc<Engine>,
    snapshot: Option<LogIndex>,
    /// Keys that were looked up, by table.
    keys: FxHashMap<TableId, FxHashSet<(IndexId, Box<[u8]>)>>,
    /// What was scanned.
    pub(crate) scans: Arc<ReadLog>,
}

impl Reads {
    /// Takes part from now on: behind this the transaction may take its snapshot.
    pub(crate) async fn begin(engine: &Arc<Engine>) -> Self {
        let shared = &engine.serializable;
        shared.open.fetch_add(1, Ordering::SeqCst);
        let reads = Self { engine: engine.clone(), snapshot: None, keys: FxHashMap::default(), scans: Arc::default() };
        // Commits that are not kept must be in the snapshot.
        while shared.unkept.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        reads
    }

    /// Takes the transaction's snapshot. No commit behind it can be forgotten before it is known.
    pub(crate) fn take_snapshot(&mut self, take: impl FnOnce() -> Arc<Snapshot>) -> Arc<Snapshot> {
        let mut commits = self.engine.serializable.commits.lock();
        let snapshot = take();
        if self.snapshot.is_none() {
            self.snapshot = Some(snapshot.index);
            *commits.snapshots.entry(snapshot.index).or_default() += 1;
        }
        snapshot
    }

    /// The transaction has taken its snapshot.
    pub(crate) fn took_snapshot(&mut self, index: LogIndex) {
        if self.snapshot.is_none() {
            self.snapshot = Some(index);
            *self.engine.serializable.commits.lock().snapshots.entry(index).or_default() += 1;
        }
    }

    pub(crate) fn read_key(&mut self, table: TableId, index: IndexId, key: &[u8]) {
        self.keys.entry(table).or_default().insert((index, key.into()));
    }

    /// Whether a commit behind the snapshot has written what was read.
    fn conflict(&self, commits: &Commits) -> bool {
        let Some(snapshot) = self.snapshot else { return false };
        let scans = self.scans.scans();
        let newer = |commit: &&Commit| commit.index.is_none_or(|index| index > snapshot);
        commits.kept.iter().filter(newer).any(|commit| {
            commit.tables.iter().any(|(table, written)| {
                let scans = || scans.iter().filter(|scan| scan.table() == *table);
                let keys = self.keys.get(table);
                match written {
                    Written::Whole => keys.is_some() || scans().next().is_some(),
                    Written::Rows(rows, unique) => {
                        scans().any(|scan| scan.may_see(rows))
                            || keys.is_some_and(|keys| {
                                unique.0.iter().any(|unique| {
                                    let key = |row: &Row| unique.of_row(row).map(Into::into);
                                    rows.iter()
                                        .filter_map(key)
                                        .any(|key: Box<[u8]>| keys.contains(&(unique.index.oid, key)))
                                })
                            })
                    }
                }
            })
        })
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        let shared = &self.engine.serializable;
        {
            let mut commits = shared.commits.lock();
            if let Some(snapshot) = self.snapshot
                && let Some(count) = commits.snapshots.get_mut(&snapshot)
            {
                *count -= 1;
                if *count == 0 {
                    commits.snapshots.remove(&snapshot);
                }
            }
            commits.forget_old();
        }
        shared.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A commit on its way.
pub(crate) enum Passage<'a> {
    /// Nobody will ask for it.
    Unkept(&'a Serializable),
    /// It is kept under this number.
    Kept(&'a Serializable, u64),
}

impl Serializable {
    /// Whether a commit that is on its way may be asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.open.load(Ordering::SeqCst) > 0
    }

    /// Lets a commit pass: tests what it has read, keeps what it writes, and calls `propose` in between, so that the
    /// order here is that of the log. `written` is asked only where somebody may want to know.
    ///
    /// # Errors
    /// `40001` where something that it read has been written; nothing was proposed then.
    pub(crate) fn pass<T>(
        &self,
        reads: Option<&Reads>,
        written: impl FnOnce() -> FxHashMap<TableId, Written>,
        propose: impl FnOnce() -> T,
    ) -> Result<(T, Passage<'_>), SqlError> {
        self.unkept.fetch_add(1, Ordering::SeqCst);
        if reads.is_none() && self.open.load(Ordering::SeqCst) == 0 {
            return Ok((propose(), Passage::Unkept(self)));
        }
        self.unkept.fetch_sub(1, Ordering::SeqCst);
        let tables = written();
        let mut commits = self.commits.lock();
        if reads.is_some_and(|reads| reads.conflict(&commits)) {
            return Err(SqlError::new(
                SqlState::SerializationFailure,
                "could not serialize access due to read/write dependencies among transactions",
            )
            .detail("Reason code: Canceled on identification as a pivot, during commit attempt.")
            .hint("The transaction might succeed if retried."));
        }
        let number = commits.keep(tables);
        let proposal = propose();
        MutexGuard::unlock_fair(commits);
        Ok((proposal, Passage::Kept(self, number)))
    }
}

impl Passage<'_> {
    /// The commit's outcome is known: its index, `None` where it wrote nothing.
    pub(crate) fn ended(self, index: Option<LogIndex>) {
        if let Passage::Kept(shared, number) = &self {
            let mut commits = shared.commits.lock();
            commits.ended(*number, index);
            commits.forget_old();
        }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        match self {
            Passage::Unkept(shared) => {
                shared.unkept.fetch_sub(1, Ordering::SeqCst);
            }
            Passage::Kept(shared, number) => {
                let mut commits = shared.commits.lock();
                let Ok(at) = commits.kept.binary_search_by_key(number, |commit| commit.number) else { return };
                if let Some(commit) = commits.kept.get_mut(at)
                    && commit.index.is_none()
                {
                    commit.abandoned = true;
                    commits.abandoned = true;
                }
            }
        }
    }
}

impl Commits {
    fn keep(&mut self, tables: FxHashMap<TableId, Written>) -> u64 {
        let number = self.next;
        self.next += 1;
        let commit = Commit { number, index: None, abandoned: false, tables };
        self.bytes += commit.bytes();
        self.kept.push_back(commit);
        if self.bytes > BYTES_MAX {
            // The oldest are the least likely to be asked for.
            for commit in &mut self.kept {
                if self.bytes <= BYTES_MAX / 2 {
                    break;
                }
                self.bytes -= commit.bytes();
                commit.tables.values_mut().for_each(|written| *written = Written::Whole);
            }
        }
        number
    }

    fn ended(&mut self, number: u64, index: Option<LogIndex>) {
        let Ok(at) = self.kept.binary_search_by_key(&number, |commit| commit.number) else { return };
        let Some(index) = index else {
            if let Some(commit) = self.kept.remove(at) {
                self.bytes -= commit.bytes();
            }
            return;
        };
        if let Some(commit) = self.kept.get_mut(at) {
            commit.index = Some(index);
        }
        // Those before it in the log that nobody waits for have come to an end by now.
        for commit in self.kept.iter_mut().take(if self.abandoned { at } else { 0 }) {
            if commit.abandoned && commit.index.is_none() {
                commit.index = Some(index);
            }
        }
    }

    /// Drops what every open snapshot shows.
    fn forget_old(&mut self) {
        let oldest = self.snapshots.keys().next().copied();
        while let Some(first) = self.kept.front() {
            let seen = match (first.index, oldest) {
                (Some(index), Some(oldest)) => index <= oldest,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !seen {
                return;
            }
            self.bytes -= first.bytes();
            self.kept.pop_front();
        }
    }
}

impl Commit {
    fn bytes(&self) -> usize {
        let values = |rows: &Vec<Row>| rows.iter().flatten().map(perigee_types::Value::size_bytes).sum::<usize>();
        self.tables.values().map(|written| if let Written::Rows(rows, _) = written { values(rows) } else { 0 }).sum()
    }
}

/// What a transaction writes to a table, for the test.
pub(crate) fn written(engine: &Engine, storage: Oid, writes: &TableWrites) -> Written {
    let mut rows: Vec<Row> = writes.inserted.iter().flatten().cloned().collect();
    if !writes.ended.is_empty() {
        let Some(store) = engine.store.table(storage) else { return Written::Whole };
        for vid in writes.ended.keys() {
            match store.row_as(*vid, &writes.table) {
                Ok(Some(row)) => rows.push(row),
                _ => return Written::Whole,
            }
        }
    }
    Written::Rows(rows, writes.unique.clone())
}

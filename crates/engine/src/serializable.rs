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
//!
//! What is kept is bounded, because a transaction may stay open for hours: of many commits only the newest keep their rows,
//! and of the oldest it is known which tables they wrote last, and when. So more is refused than must be, and nothing missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use perigee_query::exec::reads::{ReadLog, ScanRead};
use perigee_storage::store::Snapshot;
use perigee_types::{IndexId, LogIndex, Oid, Row, SqlError, SqlState, TableId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::engine::Engine;
use crate::write_set::{TableWrites, UniqueKeys};

/// Bytes of rows that are kept of commits; beyond them a commit counts as one of whole tables.
const BYTES_MAX: usize = 32 << 20;
/// Commits that are kept one by one; beyond them the older half is known by its tables alone.
const COMMITS_MAX: usize = 10_000;
/// Rows of one table that are kept of a commit, and keys of one table that are kept of a reader.
const ROWS_MAX: usize = 1_000;
/// How often a reader is tested without the lock before what has come meanwhile is tested under it.
const ROUNDS_MAX: usize = 3;

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
    /// Tables that older commits have written, with the last of these.
    older: FxHashMap<TableId, LogIndex>,
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
    bytes: usize,
    tables: Arc<Tables>,
}

/// What a commit has written, by table.
type Tables = FxHashMap<TableId, Written>;

/// What a commit has written to a table.
pub(crate) enum Written {
    /// Old and new rows, all live columns, with the unique keys of the table.
    Rows(Vec<Row>, UniqueKeys),
    /// So much that it is not kept, or a change of the table itself.
    Whole,
}

/// What an open serializable transaction has read.
pub(crate) struct Reads {
    shared: Arc<Serializable>,
    snapshot: Option<LogIndex>,
    /// Keys that were looked up, by table.
    keys: FxHashMap<TableId, Keys>,
    /// What was scanned.
    pub(crate) scans: Arc<ReadLog>,
}

/// Keys of a table that were looked up.
enum Keys {
    Some(FxHashSet<(IndexId, Box<[u8]>)>),
    /// So many that they are not kept.
    Whole,
}

impl Reads {
    /// Takes part from now on: behind this the transaction may take its snapshot.
    pub(crate) async fn begin(shared: &Arc<Serializable>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        let reads = Self { shared: shared.clone(), snapshot: None, keys: FxHashMap::default(), scans: Arc::default() };
        // Commits that are not kept must be in the snapshot.
        while shared.unkept.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        reads
    }

    /// Takes the transaction's snapshot. No commit behind it can be forgotten before it is known.
    pub(crate) fn take_snapshot(&mut self, take: impl FnOnce() -> Arc<Snapshot>) -> Arc<Snapshot> {
        let mut commits = self.shared.commits.lock();
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
            *self.shared.commits.lock().snapshots.entry(index).or_default() += 1;
        }
    }

    pub(crate) fn read_key(&mut self, table: TableId, index: IndexId, key: &[u8]) {
        let known = self.keys.entry(table).or_insert_with(|| Keys::Some(FxHashSet::default()));
        if let Keys::Some(keys) = known {
            keys.insert((index, key.into()));
            if keys.len() > ROWS_MAX {
                *known = Keys::Whole;
            }
        }
    }

    /// Whether one of these commits has written what was read.
    fn conflicts(&self, scans: &[Arc<ScanRead>], commits: &[Arc<Tables>]) -> bool {
        commits.iter().any(|tables| {
            tables.iter().any(|(table, written)| match written {
                Written::Whole => self.has_read(*table),
                Written::Rows(rows, unique) => {
                    scans.iter().any(|scan| scan.table() == *table && scan.may_see(rows))
                        || self.scans.has_whole(*table)
                        || match self.keys.get(table) {
                            None => false,
                            Some(Keys::Whole) => !rows.is_empty(),
                            Some(Keys::Some(keys)) => unique.0.iter().any(|unique| {
                                let key = |row: &Row| unique.of_row(row).map(Into::into);
                                rows.iter()
                                    .filter_map(key)
                                    .any(|key: Box<[u8]>| keys.contains(&(unique.index.oid, key)))
                            }),
                        }
                }
            })
        })
    }

    fn has_read(&self, table: TableId) -> bool {
        self.keys.contains_key(&table) || self.scans.has_read(table)
    }

    /// Whether a commit of which the table alone is known has written what was read.
    fn conflicts_with_older(&self, commits: &Commits) -> bool {
        let Some(snapshot) = self.snapshot else { return false };
        commits.older.iter().any(|(table, index)| *index > snapshot && self.has_read(*table))
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        let shared = &self.shared;
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
        let mut commits = match reads {
            Some(reads) => self.tested(reads)?,
            None => self.commits.lock(),
        };
        let number = commits.keep(tables);
        let proposal = propose();
        MutexGuard::unlock_fair(commits);
        Ok((proposal, Passage::Kept(self, number)))
    }
}

impl Serializable {
    /// The commits, behind a test of all of them: most are tested before the lock is taken, so that a transaction that has
    /// read much keeps nobody from committing meanwhile.
    fn tested(&self, reads: &Reads) -> Result<MutexGuard<'_, Commits>, SqlError> {
        let scans = reads.scans.scans();
        let (mut from, mut round) = (0, 0);
        loop {
            round += 1;
            let commits = self.commits.lock();
            if reads.conflicts_with_older(&commits) {
                return Err(refused());
            }
            let newer = commits.newer(from, reads.snapshot);
            from = commits.next;
            if newer.is_empty() {
                return Ok(commits);
            }
            if round > ROUNDS_MAX {
                return if reads.conflicts(&scans, &newer) { Err(refused()) } else { Ok(commits) };
            }
            drop(commits);
            if reads.conflicts(&scans, &newer) {
                return Err(refused());
            }
        }
    }
}

fn refused() -> SqlError {
    SqlError::new(
        SqlState::SerializationFailure,
        "could not serialize access due to read/write dependencies among transactions",
    )
    .detail("Reason code: Canceled on identification as a pivot, during commit attempt.")
    .hint("The transaction might succeed if retried.")
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
    /// Commits from a number on that a snapshot does not show.
    fn newer(&self, from: u64, snapshot: Option<LogIndex>) -> Vec<Arc<Tables>> {
        let Some(snapshot) = snapshot else { return Vec::new() };
        let first = self.kept.partition_point(|commit| commit.number < from);
        let newer = self.kept.iter().skip(first).filter(|c| c.index.is_none_or(|index| index > snapshot));
        newer.map(|commit| commit.tables.clone()).collect()
    }

    fn keep(&mut self, tables: Tables) -> u64 {
        let number = self.next;
        self.next += 1;
        let bytes = bytes_of(&tables);
        self.bytes += bytes;
        self.kept.push_back(Commit { number, index: None, abandoned: false, bytes, tables: Arc::new(tables) });
        if self.bytes > BYTES_MAX {
            // The oldest are the least likely to be asked for.
            for commit in &mut self.kept {
                if self.bytes <= BYTES_MAX / 2 {
                    break;
                }
                self.bytes -= commit.bytes;
                commit.bytes = 0;
                commit.tables = Arc::new(commit.tables.keys().map(|table| (*table, Written::Whole)).collect());
            }
        }
        if self.kept.len() > COMMITS_MAX {
            self.merge_oldest();
        }
        number
    }

    /// Forgets the rows of the older half of what is kept. Those whose outcome is not known stay.
    fn merge_oldest(&mut self) {
        let mut kept = VecDeque::with_capacity(self.kept.len());
        for (place, commit) in std::mem::take(&mut self.kept).into_iter().enumerate() {
            let Some(index) = commit.index.filter(|_| place < COMMITS_MAX / 2) else {
                kept.push_back(commit);
                continue;
            };
            self.bytes -= commit.bytes;
            for table in commit.tables.keys() {
                let last = self.older.entry(*table).or_insert(index);
                *last = (*last).max(index);
            }
        }
        self.kept = kept;
    }

    fn ended(&mut self, number: u64, index: Option<LogIndex>) {
        let Ok(at) = self.kept.binary_search_by_key(&number, |commit| commit.number) else { return };
        let Some(index) = index else {
            if let Some(commit) = self.kept.remove(at) {
                self.bytes -= commit.bytes;
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
        if !self.older.is_empty() {
            self.older.retain(|_, index| oldest.is_some_and(|oldest| *index > oldest));
        }
        while let Some(first) = self.kept.front() {
            let seen = match (first.index, oldest) {
                (Some(index), Some(oldest)) => index <= oldest,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !seen {
                return;
            }
            self.bytes -= first.bytes;
            self.kept.pop_front();
        }
    }
}

fn bytes_of(tables: &Tables) -> usize {
    let values = |rows: &Vec<Row>| rows.iter().flatten().map(perigee_types::Value::size_bytes).sum::<usize>();
    tables.values().map(|written| if let Written::Rows(rows, _) = written { values(rows) } else { 0 }).sum()
}

/// What a transaction writes to a table, for the test.
pub(crate) fn written(engine: &Engine, storage: Oid, writes: &TableWrites) -> Written {
    if writes.inserted.len() + writes.ended.len() > ROWS_MAX {
        return Written::Whole;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(table: u32) -> Tables {
        FxHashMap::from_iter([(Oid(table), Written::Whole)])
    }

    async fn begin(shared: &Arc<Serializable>, snapshot: u64) -> Reads {
        let mut reads = Reads::begin(shared).await;
        reads.took_snapshot(LogIndex(snapshot));
        reads
    }

    fn commit(shared: &Serializable, reads: Option<&Reads>, table: u32, index: u64) -> Result<(), SqlError> {
        let ((), passage) = shared.pass(reads, || writes(table), || ())?;
        passage.ended(Some(LogIndex(index)));
        Ok(())
    }

    #[tokio::test]
    async fn an_idle_transaction_keeps_a_bounded_number_of_commits_and_misses_none() {
        let shared = Arc::new(Serializable::default());
        let mut idle = begin(&shared, 1).await;
        let mut other = begin(&shared, 1).await;
        let count = 3 * COMMITS_MAX as u64;
        for index in 2..count {
            // Table 5 is written once, long ago.
            commit(&shared, None, if index == 10 { 5 } else { 6 }, index).unwrap();
            assert!(shared.commits.lock().kept.len() <= COMMITS_MAX);
        }
        assert_eq!(shared.commits.lock().older.len(), 2);
        idle.read_key(Oid(5), Oid(50), b"k");
        other.read_key(Oid(7), Oid(70), b"k");
        assert_eq!(commit(&shared, Some(&idle), 9, count).unwrap_err().state(), SqlState::SerializationFailure);
        commit(&shared, Some(&other), 9, count).unwrap();
        // A snapshot behind them is not concerned.
        let mut newer = begin(&shared, count).await;
        newer.read_key(Oid(5), Oid(50), b"k");
        newer.read_key(Oid(6), Oid(60), b"k");
        commit(&shared, Some(&newer), 9, count + 1).unwrap();
        drop((idle, other, newer));
        let commits = shared.commits.lock();
        assert!(commits.kept.is_empty() && commits.older.is_empty() && commits.snapshots.is_empty());
        assert_eq!(commits.bytes, 0);
    }

    #[tokio::test]
    async fn a_snapshot_waits_for_commits_that_nobody_keeps() {
        let shared = Arc::new(Serializable::default());
        // It is on its way while no serializable transaction is open: nothing of it is kept.
        let ((), passage) = shared.pass(None, || writes(5), || ()).unwrap();
        assert!(matches!(passage, Passage::Unkept(_)));
        let beginning = tokio::spawn({
            let shared = shared.clone();
            async move { Reads::begin(&shared).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!beginning.is_finished(), "its snapshot might lack the commit, which it could not be tested against");
        // From now on commits are kept.
        let ((), kept) = shared.pass(None, || writes(6), || ()).unwrap();
        assert!(matches!(kept, Passage::Kept(..)));
        passage.ended(Some(LogIndex(7)));
        let mut reads = beginning.await.unwrap();
        reads.took_snapshot(LogIndex(7));
        kept.ended(Some(LogIndex(8)));
        reads.read_key(Oid(6), Oid(60), b"k");
        assert!(commit(&shared, Some(&reads), 9, 9).is_err());
    }

    #[tokio::test]
    async fn a_commit_whose_outcome_is_unknown_counts() {
        let shared = Arc::new(Serializable::default());
        let mut reads = begin(&shared, 1).await;
        let ((), unknown) = shared.pass(None, || writes(5), || ()).unwrap();
        drop(unknown);
        reads.read_key(Oid(5), Oid(50), b"k");
        assert!(commit(&shared, Some(&reads), 9, 3).is_err());
        // A later one that is applied tells that it has ended.
        commit(&shared, None, 6, 4).unwrap();
        drop(reads);
        assert!(shared.commits.lock().kept.is_empty());
    }

    #[tokio::test]
    async fn many_keys_count_as_the_table() {
        let shared = Arc::new(Serializable::default());
        let mut reads = begin(&shared, 1).await;
        for key in 0..=ROWS_MAX as u64 {
            reads.read_key(Oid(5), Oid(50), &key.to_be_bytes());
        }
        assert!(matches!(reads.keys.get(&Oid(5)), Some(Keys::Whole)));
        let rows = || FxHashMap::from_iter([(Oid(5), Written::Rows(vec![Row::new()], UniqueKeys(Arc::new([]))))]);
        let ((), passage) = shared.pass(None, rows, || ()).unwrap();
        passage.ended(Some(LogIndex(2)));
        assert!(commit(&shared, Some(&reads), 9, 3).is_err());
    }
}

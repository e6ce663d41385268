//! End-marks of a chunk: which rows have ended, and at which index.
//!
//! Only apply sets marks, one for a row at most; readers look at many. A chunk without a mark, the common case, is told
//! by one atomic load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::RwLock;
use perigee_types::TransactionId;
use rustc_hash::{FxHashMap, FxHashSet};

use super::fate::{Fate, NEVER};

/// The end-marks of one chunk.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    any: AtomicBool,
    /// Rows that have ended, whoever may still see them.
    count: AtomicUsize,
    marks: RwLock<Marks>,
}

/// What the lock guards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    plain: Plain,
    staged: Vec<StagedMarks>,
}

/// Rows that a staged transaction ends when it commits.
#[derive(Clone, Debug)]
pub(crate) struct StagedMarks {
    pub(crate) fate: Arc<Fate>,
    pub(crate) rows: FxHashSet<u32>,
}

/// Marks by row: few as a map, many as an array.
#[derive(Clone, Debug)]
enum Plain {
    Sparse(FxHashMap<u32, u64>),
    Dense(Box<[u64]>),
}

impl Default for Plain {
    fn default() -> Self {
        Plain::Sparse(FxHashMap::default())
    }
}

impl Ends {
    /// Marks that a checkpoint kept, or that moved to a rewritten chunk.
    pub(crate) fn from_marks(marks: Marks) -> Self {
        let count = marks.count();
        Self { any: AtomicBool::new(!marks.is_empty()), count: AtomicUsize::new(count), marks: RwLock::new(marks) }
    }

    /// Whether no row has a mark of any kind.
    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// Rows that have ended, whoever may still see them. Staged marks count from their commit.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The index that ended a row, [`NEVER`] for a live one.
    pub(crate) fn end_of(&self, row: u32) -> u64 {
        if self.is_empty() { NEVER } else { self.marks.read().end_of(row) }
    }

    /// Ends a row of a chunk of `rows` rows. The first mark stands: false when there was one.
    pub(crate) fn set(&self, row: u32, rows: usize, index: u64) -> bool {
        let mut marks = self.marks.write();
        if marks.end_of(row) != NEVER {
            return false;
        }
        marks.plain.set(row, rows, index);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.any.store(true, Ordering::Release);
        true
    }

    /// Ends a row when `fate` commits.
    pub(crate) fn stage(&self, row: u32, fate: &Arc<Fate>) {
        let mut marks = self.marks.write();
        match marks.staged.iter_mut().find(|s| Arc::ptr_eq(&s.fate, fate)) {
            Some(staged) => {
                staged.rows.insert(row);
            }
            None => marks.staged.push(StagedMarks { fate: Arc::clone(fate), rows: FxHashSet::from_iter([row]) }),
        }
        self.any.store(true, Ordering::Release);
    }

    /// Counts the rows of a staged transaction that has just committed, and gives their number.
    pub(crate) fn committed(&self, fate: &Arc<Fate>) -> usize {
        let marks = self.marks.read();
        let rows = marks.staged.iter().filter(|s| Arc::ptr_eq(&s.fate, fate)).map(|s| s.rows.len()).sum();
        self.count.fetch_add(rows, Ordering::Relaxed);
        rows
    }

    /// Forgets the marks of a staged transaction that was aborted. Whether there were any.
    pub(crate) fn abort(&self, fate: &Arc<Fate>) -> bool {
        let mut marks = self.marks.write();
        let before = marks.staged.len();
        marks.staged.retain(|s| !Arc::ptr_eq(&s.fate, fate));
        marks.staged.len() < before
    }

    /// Takes the marks of the chunk that this one replaces.
    pub(crate) fn replace(&self, marks: Marks) {
        self.count.store(marks.count(), Ordering::Relaxed);
        self.any.store(!marks.is_empty(), Ordering::Release);
        *self.marks.write() = marks;
    }

    /// Looks at all marks at once.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Marks) -> T) -> T {
        look(&self.marks.read())
    }

    /// Rows that nobody at or behind `horizon` sees any more.
    pub(crate) fn dead(&self, horizon: u64) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mut dead = 0;
        self.marks.read().for_each(|_, end| dead += usize::from(end <= horizon));
        dead
    }
}

impl Marks {
    pub(crate) fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.count() == 0
    }

    /// The index that ended a row, [`NEVER`] for a live one.
    pub(crate) fn end_of(&self, row: u32) -> u64 {
        let plain = self.plain.get(row);
        if plain != NEVER || self.staged.is_empty() {
            return plain;
        }
        self.staged.iter().filter(|s| s.rows.contains(&row)).map(|s| s.fate.index()).min().unwrap_or(NEVER)
    }

    /// Calls `f` for each row that has ended, in no order; a staged mark from its commit.
    pub(crate) fn for_each(&self, mut f: impl FnMut(u32, u64)) {
        match &self.plain {
            Plain::Sparse(marks) => marks.iter().for_each(|(row, end)| f(*row, *end)),
            Plain::Dense(marks) => {
                for (row, end) in marks.iter().enumerate().filter(|(_, end)| **end != NEVER) {
                    f(row as u32, *end);
                }
            }
        }
        for staged in &self.staged {
            let index = staged.fate.index();
            if index != NEVER {
                staged.rows.iter().for_each(|row| f(*row, index));
            }
        }
    }

    /// Whether an open transaction ends a row.
    pub(crate) fn is_staged_by(&self, row: u32, transaction: TransactionId) -> bool {
        let mut open = self.staged.iter().filter(|s| s.fate.index() == NEVER && s.fate.transaction() == transaction);
        open.any(|s| s.rows.contains(&row))
    }

    /// Marks of staged transactions.
    pub(crate) fn staged(&self) -> &[StagedMarks] {
        &self.staged
    }

    /// Adds a mark while a chunk is built.
    pub(crate) fn push(&mut self, row: u32, rows: usize, index: u64) {
        self.plain.set(row, rows, index);
    }

    /// Adds marks of a staged transaction while a chunk is built.
    pub(crate) fn push_staged(&mut self, fate: Arc<Fate>, rows: FxHashSet<u32>) {
        if !rows.is_empty() {
            self.staged.push(StagedMarks { fate, rows });
        }
    }

    fn count(&self) -> usize {
        let mut count = 0;
        self.for_each(|_, _| count += 1);
        count
    }
}

impl Plain {
    fn get(&self, row: u32) -> u64 {
        match self {
            Plain::Sparse(marks) => marks.get(&row).copied().unwrap_or(NEVER),
            Plain::Dense(marks) => marks.get(row as usize).copied().unwrap_or(NEVER),
        }
    }

    fn set(&mut self, row: u32, rows: usize, index: u64) {
        if let Plain::Sparse(marks) = self {
            // A map costs about three times as much for each mark as an array does for each row.
            if marks.len() < 16.max(rows / 6) {
                marks.insert(row, index);
                return;
            }
            let mut dense = vec![NEVER; rows].into_boxed_slice();
            for (row, end) in marks.iter() {
                dense[*row as usize] = *end;
            }
            *self = Plain::Dense(dense);
        }
        if let Plain::Dense(marks) = self {
            marks[row as usize] = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_marks_and_many_read_alike() {
        let ends = Ends::default();
        assert!(ends.is_empty());
        for row in (0..1_000).step_by(2) {
            assert!(ends.set(row, 1_000, u64::from(row) + 10));
        }
        assert!(!ends.set(4, 1_000, 99), "the first mark stands");
        assert_eq!((ends.end_of(4), ends.end_of(5), ends.count()), (14, NEVER, 500));
        assert_eq!(ends.dead(19), 5);
    }

    #[test]
    fn staged_marks_count_from_their_commit() {
        let ends = Ends::default();
        let (a, b) = (Arc::new(Fate::new(TransactionId(1))), Arc::new(Fate::new(TransactionId(2))));
        ends.stage(3, &a);
        ends.stage(4, &b);
        assert_eq!((ends.end_of(3), ends.count()), (NEVER, 0));
        a.commit(7);
        assert_eq!(ends.committed(&a), 1);
        ends.abort(&b);
        assert_eq!((ends.end_of(3), ends.end_of(4), ends.count()), (7, NEVER, 1));
    }
}

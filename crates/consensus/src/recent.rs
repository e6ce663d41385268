//! The recent end of the log in memory: what is not yet written, and behind it as much as the byte bound allows.
//!
//! ```text
//!   purged | only in the files | cached | waiting for the writer |
//!          first               oldest   written                  next      (openraft's indexes)
//! ```
//!
//! Apply and replication read from here; only who lags behind `oldest` reads files.

use std::collections::VecDeque;

use crate::raft_types::{Entry, LogId};

/// See the module.
pub(crate) struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// Index behind the last entry that is in the files.
    written: u64,
    last: Option<LogId>,
    purged: Option<LogId>,
}

impl Recent {
    /// A log that ends at `last`, all of it in the files.
    pub(crate) fn new(bytes_max: usize, last: Option<LogId>, purged: Option<LogId>) -> Self {
        let last = last.max(purged);
        Self { entries: VecDeque::new(), bytes: 0, bytes_max, written: next(last), last, purged }
    }

    /// Last entry, or what was purged last when there is none.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Last purged entry.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// First index that may be read.
    pub(crate) fn first(&self) -> u64 {
        next(self.purged)
    }

    /// Index behind the last entry.
    pub(crate) fn next(&self) -> u64 {
        next(self.last)
    }

    /// Index behind the last entry that is in the files.
    #[cfg(test)]
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Entries that are not in the files yet.
    pub(crate) fn unwritten(&self) -> u64 {
        self.next().saturating_sub(self.written)
    }

    /// First index held in memory; [`Self::next`] when none is.
    pub(crate) fn oldest(&self) -> u64 {
        self.entries.front().map_or(self.next(), |entry| entry.id.index)
    }

    /// Adds the entry behind the last one.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.last = Some(entry.id);
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    /// Entries before `written` are in the files now.
    pub(crate) fn written_to(&mut self, written: u64) {
        self.written = self.written.max(written);
        self.evict();
    }

    /// Entries from `from` (at least [`Self::oldest`]) up to `to`, at least one, up to `bytes_max` of payload.
    pub(crate) fn range(&self, from: u64, to: u64, bytes_max: usize) -> Vec<Entry> {
        let oldest = self.oldest();
        let skip = from.saturating_sub(oldest) as usize;
        let count = to.min(self.next()).saturating_sub(from.max(oldest)) as usize;
        let mut found = Vec::with_capacity(count.min(1024));
        let mut bytes = 0;
        for entry in self.entries.iter().skip(skip).take(count) {
            bytes += entry.bytes();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        found
    }

    /// The log id at `index`, when it is in memory.
    pub(crate) fn id_at(&self, index: u64) -> Option<LogId> {
        let offset = index.checked_sub(self.oldest())?;
        self.entries.get(usize::try_from(offset).ok()?).map(|entry| entry.id)
    }

    /// Drops what is behind `after`, which becomes the last entry.
    pub(crate) fn truncate_after(&mut self, after: Option<LogId>) {
        let end = next(after);
        if end >= self.next() {
            return;
        }
        while self.entries.back().is_some_and(|entry| entry.id.index >= end) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= entry.bytes();
            }
        }
        self.last = after.max(self.purged);
        self.written = self.written.min(self.next());
    }

    /// Entries up to `upto` may not be read any more.
    pub(crate) fn purge(&mut self, upto: LogId) {
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(self.purged);
        while self.entries.front().is_some_and(|entry| entry.id.index <= upto.index) {
            self.pop_front();
        }
        self.written = self.written.max(self.first());
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max && self.entries.front().is_some_and(|entry| entry.id.index < self.written) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.bytes();
        }
    }
}

fn next(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use openraft::entry::RaftEntry;
    use perigee_types::{LogIndex, Term};

    use super::*;
    use crate::raft_types::{Command, log_id};

    fn id(index: u64) -> LogId {
        log_id(Term(1), LogIndex(index + 1)).unwrap()
    }

    fn entry(index: u64) -> Entry {
        Entry::new(id(index), EntryPayload::Normal(Command::new(Term(1), &[0; 92])))
    }

    fn filled(bytes_max: usize) -> Recent {
        let mut recent = Recent::new(bytes_max, None, None);
        (0..10).for_each(|i| recent.push(entry(i)));
        recent
    }

    #[test]
    fn what_is_not_written_is_never_evicted() {
        let mut recent = filled(1);
        assert_eq!((recent.oldest(), recent.next()), (0, 10));
        recent.written_to(4);
        assert_eq!((recent.oldest(), recent.next()), (4, 10));
        recent.written_to(10);
        assert_eq!((recent.oldest(), recent.next()), (10, 10));
        assert_eq!(recent.bytes, 0);
    }

    #[test]
    fn ranges_are_bounded_by_bytes_but_never_empty() {
        let recent = filled(usize::MAX);
        let indexes = |from, to, bytes| recent.range(from, to, bytes).iter().map(|e| e.id.index).collect::<Vec<_>>();
        let one = entry(0).bytes();
        assert_eq!(indexes(3, 5, usize::MAX), [3, 4]);
        assert_eq!(indexes(8, 99, usize::MAX), [8, 9]);
        assert_eq!(indexes(3, 9, 1), [3]);
        assert_eq!(indexes(3, 9, 2 * one), [3, 4]);
        assert!(indexes(5, 5, 1).is_empty());
    }

    #[test]
    fn truncate_and_purge_keep_the_ends() {
        let mut recent = filled(usize::MAX);
        recent.written_to(8);
        recent.truncate_after(Some(id(20)));
        assert_eq!(recent.last(), Some(id(9)), "nothing to cut");
        recent.truncate_after(Some(id(5)));
        assert_eq!((recent.last(), recent.written()), (Some(id(5)), 6));
        recent.purge(id(2));
        assert_eq!((recent.first(), recent.oldest(), recent.next()), (3, 3, 6));
        recent.purge(id(20));
        assert_eq!((recent.first(), recent.oldest(), recent.next(), recent.last()), (21, 21, 21, Some(id(20))));
        assert_eq!(recent.bytes, 0);
    }
}

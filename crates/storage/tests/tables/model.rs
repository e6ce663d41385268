//! What a table should be: a list of row versions.

use std::collections::BTreeMap;

use perigee_types::{LogIndex, Row, TransactionId, Value, Vid};

use crate::support::values_key;

/// A row version.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) row: Row,
    /// The index that wrote it, `None` while it is hidden.
    pub(crate) begin: Option<u64>,
    pub(crate) end: Option<u64>,
    pub(crate) staged: Option<TransactionId>,
    pub(crate) staged_end: Option<TransactionId>,
}

/// One table, every version it ever had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) versions: BTreeMap<u64, Version>,
    pub(crate) next_vid: u64,
}

impl Model {
    pub(crate) fn append(&mut self, rows: &[Row], begin: Option<u64>, staged: Option<TransactionId>) {
        for row in rows {
            let version = Version { row: row.clone(), begin, end: None, staged, staged_end: None };
            self.versions.insert(self.next_vid, version);
            self.next_vid += 1;
        }
    }

    pub(crate) fn end(&mut self, vids: &[Vid], index: u64) {
        for vid in vids {
            self.versions.get_mut(&vid.0).unwrap().end = Some(index);
        }
    }

    pub(crate) fn stage_end(&mut self, vids: &[Vid], transaction: TransactionId) {
        for vid in vids {
            self.versions.get_mut(&vid.0).unwrap().staged_end = Some(transaction);
        }
    }

    pub(crate) fn commit(&mut self, transaction: TransactionId, index: u64) {
        for version in self.versions.values_mut() {
            if version.staged == Some(transaction) {
                version.begin = Some(index);
                version.staged = None;
            }
            if version.staged_end == Some(transaction) {
                version.end = Some(index);
                version.staged_end = None;
            }
        }
    }

    pub(crate) fn abort(&mut self, transaction: TransactionId) {
        self.versions.retain(|_, version| version.staged != Some(transaction));
        for version in self.versions.values_mut().filter(|v| v.staged_end == Some(transaction)) {
            version.staged_end = None;
        }
    }

    /// What `at` sees, by vid.
    pub(crate) fn visible(&self, at: LogIndex) -> Vec<(Vid, Row)> {
        let seen = self
            .versions
            .iter()
            .filter(|(_, v)| v.begin.is_some_and(|begin| begin <= at.0) && v.end.is_none_or(|end| at.0 < end));
        seen.map(|(vid, version)| (Vid(*vid), version.row.clone())).collect()
    }

    /// What `at` sees in the order of an index over `columns` (places in the row): by key, then by vid.
    pub(crate) fn ordered(&self, at: LogIndex, columns: &[usize]) -> Vec<(Vec<u8>, Vid)> {
        let key = |row: &Row| values_key(&columns.iter().map(|c| row[*c].clone()).collect::<Vec<Value>>());
        let mut ordered: Vec<_> = self.visible(at).into_iter().map(|(vid, row)| (key(&row), vid)).collect();
        ordered.sort();
        ordered
    }

    /// Rows that a new transaction may end.
    pub(crate) fn free(&self, at: LogIndex) -> Vec<(Vid, Row)> {
        self.visible(at).into_iter().filter(|(vid, _)| self.versions[&vid.0].staged_end.is_none()).collect()
    }
}

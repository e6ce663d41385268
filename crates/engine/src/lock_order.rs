//! Rows that a statement wants are found in no order: several threads read, of several partitions. They are locked in the order
//! of what names them, so that two statements which want the same rows wait for each other, and never both at once.

use perigee_types::{SqlResult, TableId, Value, Vid};

use crate::family::Family;
use crate::locks::{LockKey, LockMode};
use crate::rows::{Locked, row_lock};
use crate::session::Session;

/// Rows that are put in order together. A statement with more of them has locked their table whole by then.
const TOGETHER_MAX: usize = 65_536;

/// Rows that were found and are still to be locked.
#[derive(Default)]
pub(crate) struct RowsToLock {
    rows: Vec<RowToLock>,
}

struct RowToLock {
    key: LockKey,
    /// Which of the statement's families it is of, and which table of that.
    family: usize,
    table: TableId,
    vid: Vid,
    mode: LockMode,
}

impl RowsToLock {
    /// Adds a row of a member that is open. `row` holds the table's live columns.
    ///
    /// # Errors
    /// Where the table is none of the family's.
    pub(crate) fn push(
        &mut self,
        (family, of): (usize, &Family),
        (table, vid): (TableId, Vid),
        row: &[Value],
        mode: LockMode,
    ) -> SqlResult<()> {
        // Nobody else sees the transaction's own.
        if !vid.is_local() {
            let key = row_lock(&of.member(table)?.target, vid, row);
            self.rows.push(RowToLock { key, family, table, vid, mode });
        }
        Ok(())
    }

    /// Whether they are to be locked before more of them come.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= TOGETHER_MAX
    }
}

impl Session {
    /// Locks rows, and gives whether another transaction has changed one of them since they were found.
    ///
    /// # Errors
    /// `40001` in REPEATABLE READ where one has changed since the snapshot; what locks give.
    pub(crate) async fn lock_in_order(&mut self, families: &[Family], rows: &mut RowsToLock) -> SqlResult<bool> {
        let mut all = std::mem::take(&mut rows.rows);
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let mut changed = false;
        for RowToLock { key, family, table, vid, mode } in all {
            let Some(family) = families.get(family) else { continue };
            let target = &family.member(table)?.target;
            changed |= self.transaction()?.lock_version(target, vid, key, mode).await? == Locked::Changed;
        }
        Ok(changed)
    }
}

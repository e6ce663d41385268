//! Queries and writes that DataFusion evaluates.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use perigee_types::catalog::Table;
use perigee_types::{IndexId, Oid, SqlType, TableId};

use crate::expr::Expr;

/// Name of the hidden column that names a row's version: UInt64, last in a scan that asks for it.
pub const VID_COLUMN: &str = "_vid";

/// Name of the hidden column that names a row's own table: an oid, last in a scan that asks for it.
pub const TABLE_OID_COLUMN: &str = "tableoid";

/// A query: an optimized DataFusion plan with placeholders `$1`, `$2`, … for parameters.
///
/// Its table scans name tables by oid; the snapshot comes at execution.
#[derive(Clone, Debug)]
pub struct Query {
    /// The plan.
    pub logical: Arc<LogicalPlan>,
    /// Tables and views that it reads, for privileges.
    pub reads: Vec<Oid>,
    /// The numbers of the columns of tables that its text names, whether or not its plan needs them; of the query of a write nothing.
    pub named: Vec<(Oid, Vec<u16>)>,
    /// Whether its plan must be optimized again after the parameters are known.
    pub replan: bool,
    /// FOR UPDATE or FOR SHARE of the rows of its tables.
    pub row_lock: Option<RowLock>,
}

/// What SELECT … FOR UPDATE asks for.
#[derive(Clone, Debug)]
pub struct RowLock {
    /// The tables whose rows are locked, at least one. The query's last columns are [`TABLE_OID_COLUMN`] and [`VID_COLUMN`]
    /// of each, not part of the result.
    pub tables: Vec<TableId>,
    /// FOR SHARE instead of FOR UPDATE.
    pub shared: bool,
    /// What to do about a row that another transaction holds.
    pub wait: RowLockWait,
    /// LIMIT and OFFSET of a query that leaves locked rows out: they count what was locked, so they are not in the plan.
    pub limit: Option<Expr>,
    /// See `limit`.
    pub offset: Option<Expr>,
}

/// What to do about a row that another transaction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLockWait {
    /// Wait for it.
    Block,
    /// Fail with 55P03.
    NoWait,
    /// Leave it out.
    SkipLocked,
}

/// A write whose rows a query yields.
#[derive(Clone, Debug)]
pub struct Write {
    /// The table as planned.
    pub table: Arc<Table>,
    /// Whether rows of its partitions and of tables that inherit from it are written too: not with ONLY.
    pub family: bool,
    /// What to do with the rows.
    pub kind: WriteKind,
    /// Yields the rows; see [`WriteKind`] for its columns.
    pub source: Query,
    /// Columns of other tables that RETURNING names, with their types. The source of an UPDATE or DELETE yields them before
    /// the hidden columns. Of an INSERT it is `xmax` alone, which says whether ON CONFLICT has updated the row.
    pub others: Vec<(String, SqlType)>,
    /// RETURNING: a plan over one scan, named [`RETURNING_TABLE`], whose columns are the table's live columns (the new
    /// rows; for DELETE the old ones), then `others`, then [`TABLE_OID_COLUMN`].
    pub returning: Option<Arc<LogicalPlan>>,
    /// Conditions of views that it writes through.
    pub view_checks: Vec<ViewCheck>,
}

/// WITH CHECK OPTION: what a row must fulfil that is written through a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewCheck {
    /// The view's name.
    pub view: String,
    /// A condition over the table's columns, as text.
    pub condition: String,
}

/// A statement behind a WITH whose queries write or lock rows. All that write see the rows as they were before it.
#[derive(Clone, Debug)]
pub struct With {
    /// The queries that lock rows, wherever they stood: they run before all else, in this order, and what they gave is read
    /// by those behind them.
    pub locks: Vec<Query>,
    /// The writes of the clause, in its order. Those behind one, and the statement itself, may read what it returned.
    pub parts: Vec<Write>,
    /// The statement.
    pub main: WithMain,
    /// Those whose rows nobody reads: they run behind the statement.
    pub after: Vec<Write>,
}

/// What stands behind a WITH whose queries write or lock rows.
#[derive(Clone, Debug)]
pub enum WithMain {
    /// SELECT
    Query(Query),
    /// INSERT, UPDATE, DELETE or MERGE
    Write(Box<Write>),
}

/// Name of the in-memory relation that a RETURNING plan reads.
pub const RETURNING_TABLE: &str = "_returning";

/// What a [`Write`] does with its source's rows.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteKind {
    /// Source: one column for each live column of the table, in order, cast to its type; defaults filled in.
    Insert {
        /// ON CONFLICT
        on_conflict: Option<OnConflict>,
    },
    /// Source: the table's old values, then a new value for each of `assigned`, then [`TABLE_OID_COLUMN`] where a family is
    /// written, then [`VID_COLUMN`]. Of a table alone the old values are all live columns, of a family the visible ones.
    Update {
        /// Places of the assigned columns in `table.columns`.
        assigned: Vec<usize>,
    },
    /// Source: the old values as for UPDATE, then [`TABLE_OID_COLUMN`] where a family is written, then [`VID_COLUMN`].
    Delete,
    /// Source: the old values as for UPDATE, NULL in a row that no row of the table matches; the values of all actions, one
    /// behind the other; the action's place, -1 for none; then [`TABLE_OID_COLUMN`] where a family is written, then
    /// [`VID_COLUMN`].
    Merge {
        /// What may be done with a row.
        actions: Vec<MergeAction>,
    },
}

/// What MERGE does with a row.
#[derive(Clone, Debug, PartialEq)]
pub enum MergeAction {
    /// WHEN MATCHED THEN UPDATE
    Update {
        /// Places of the assigned columns in `table.columns`.
        assigned: Vec<usize>,
        /// Where their new values begin among the values of all actions.
        first: usize,
    },
    /// WHEN MATCHED THEN DELETE
    Delete,
    /// WHEN NOT MATCHED THEN INSERT: a value for each live column of the table.
    Insert {
        /// Where they begin among the values of all actions.
        first: usize,
    },
    /// DO NOTHING
    Nothing,
}

/// What an INSERT does about a row whose key is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct OnConflict {
    /// The unique indexes whose keys are looked at first; a key that is taken in another one is an error. Empty: all of
    /// the table's.
    pub arbiters: Vec<IndexId>,
    /// What to do with the row that has the key.
    pub action: ConflictAction,
}

/// What becomes of the row that has the key.
#[derive(Clone, Debug, PartialEq)]
pub enum ConflictAction {
    /// DO NOTHING
    Nothing,
    /// DO UPDATE
    Update {
        /// Places of the assigned columns in `table.columns`.
        assigned: Vec<usize>,
        /// Their new values.
        values: ConflictValues,
    },
}

/// The new values of DO UPDATE, over the row that is there and the row that was to be inserted: the table's live columns
/// twice.
#[derive(Clone, Debug, PartialEq)]
pub enum ConflictValues {
    /// Over one such row.
    Row {
        /// One for each assigned column, cast to its type.
        values: Vec<Expr>,
        /// WHERE
        filter: Option<Expr>,
    },
    /// A plan over one scan, named [`RETURNING_TABLE`]: one column for each assigned one, then whether WHERE holds.
    Rows(Arc<LogicalPlan>),
}

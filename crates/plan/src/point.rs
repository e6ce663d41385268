//! Reads and writes of one row by the key of a unique index. They never enter DataFusion.

use std::sync::Arc;

use perigee_types::IndexId;
use perigee_types::catalog::Table;

use crate::expr::Expr;
use crate::relational::OnConflict;

/// A row named by its key: `index`'s columns equal `key`, and `residual` holds.
#[derive(Clone, Debug)]
pub struct KeyLookup {
    /// The table as planned.
    pub table: Arc<Table>,
    /// A unique index of it.
    pub index: IndexId,
    /// One expression for each column of the index, without columns in it.
    pub key: Vec<Expr>,
    /// What else the row must satisfy. Columns are places in `table.columns`.
    pub residual: Option<Expr>,
}

/// One row by key.
#[derive(Clone, Debug)]
pub enum Point {
    /// SELECT … WHERE key = …
    Select {
        /// Which row.
        lookup: KeyLookup,
        /// The result's columns.
        output: Vec<Expr>,
        /// FOR UPDATE: the row is locked and read at its latest version.
        for_update: bool,
    },
    /// INSERT … VALUES, of few rows.
    Insert {
        /// The table.
        table: Arc<Table>,
        /// For each row one expression for each column of the table, defaults filled in, cast to the column's type.
        rows: Vec<Vec<Expr>>,
        /// ON CONFLICT
        on_conflict: Option<OnConflict>,
        /// RETURNING; columns are places in `table.columns`.
        returning: Option<Vec<Expr>>,
    },
    /// UPDATE … WHERE key = …
    Update {
        /// Which row.
        lookup: KeyLookup,
        /// (place in `table.columns`, new value over the old row, cast to the column's type)
        assignments: Vec<(usize, Expr)>,
        /// RETURNING, over the new row.
        returning: Option<Vec<Expr>>,
    },
    /// DELETE … WHERE key = …
    Delete {
        /// Which row.
        lookup: KeyLookup,
        /// RETURNING, over the old row.
        returning: Option<Vec<Expr>>,
    },
}

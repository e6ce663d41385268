//! The columns that a table's rows may have.

use std::collections::BTreeMap;

use arrow::datatypes::Field;
use perigee_types::catalog::{Column, Table};
use perigee_types::{SqlType, Value};
use serde::{Deserialize, Serialize};

/// A column by its number. Dropped ones stay known: older chunks and older snapshots have them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KnownColumn {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    pub(crate) not_null: bool,
    pub(crate) missing: Value,
}

/// All columns that the storage ever had.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableSchema {
    columns: BTreeMap<u16, KnownColumn>,
}

impl TableSchema {
    /// The schema after the table became `table`.
    pub(crate) fn with(&self, table: &Table) -> Self {
        let mut next = self.clone();
        for column in &table.columns {
            next.columns.insert(column.number, KnownColumn::from(column));
        }
        next
    }

    /// The schema with the columns of `table` that `committed` does not have.
    pub(crate) fn with_new(&self, table: &Table, committed: &Table) -> Self {
        let mut next = self.clone();
        for column in table.columns.iter().filter(|column| committed.number_position(column.number).is_none()) {
            next.columns.insert(column.number, KnownColumn::from(column));
        }
        next
    }

    pub(crate) fn column(&self, number: u16) -> Option<&KnownColumn> {
        self.columns.get(&number)
    }

    /// The types of columns, `None` where one does not exist.
    pub(crate) fn types(&self, numbers: &[u16]) -> Option<Vec<SqlType>> {
        numbers.iter().map(|number| self.column(*number).map(|c| c.ty.clone())).collect()
    }
}

impl From<&Column> for KnownColumn {
    fn from(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            ty: column.ty.clone(),
            not_null: column.not_null,
            missing: column.missing.clone(),
        }
    }
}

impl KnownColumn {
    /// The Arrow field; nullable where NULLs stand in it whatever the catalog says now (rows older than a NOT NULL).
    pub(crate) fn field(&self, has_nulls: bool) -> Field {
        self.ty.field(&self.name, !self.not_null || has_nulls)
    }
}

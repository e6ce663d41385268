//! Tables: columns, constraints, what a materialized view keeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::acl::Acl;
use crate::ids::{IndexId, Oid, TableId, TenantId};
use crate::partition::{PartitionBound, Partitioning};
use crate::sql_type::SqlType;
use crate::value::Value;

/// Where a column's value comes from when an INSERT does not give one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ColumnDefault {
    /// An SQL expression, evaluated for each row on the leader.
    Expression(String),
    /// `nextval` of a sequence (serial and identity columns).
    Sequence(Oid),
    /// GENERATED ALWAYS AS (…) STORED: an SQL expression over the other columns, evaluated for each row that is written.
    Generated(String),
}

/// A column of a table. Chunks know columns by `number`, so that dropping one moves no data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// `attnum`: from 1, never reused in the table.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// What an INSERT without a value writes.
    pub default: Option<ColumnDefault>,
    /// What rows that are older than the column hold in it.
    pub missing: Value,
    /// The domain that its values are of; `ty` is the type below.
    #[serde(default)]
    pub domain: Option<Oid>,
    /// For identity columns: whether it is GENERATED ALWAYS (else BY DEFAULT).
    #[serde(default)]
    pub identity_always: Option<bool>,
    /// From how many parents the table has it.
    #[serde(default)]
    pub inherited: u16,
    /// Whether the table would have it without its parents.
    #[serde(default = "yes")]
    pub local: bool,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// What is granted on this column alone.
    #[serde(default, skip_serializing_if = "Acl::is_empty")]
    pub acl: Acl,
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its oid.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// The SQL expression.
    pub expression: String,
    /// From how many parents the table has it.
    #[serde(default)]
    pub inherited: u16,
    /// Whether the table would have it without its parents.
    #[serde(default = "yes")]
    pub local: bool,
    /// NOT VALID: rows that were there before it may break it.
    #[serde(default)]
    pub not_valid: bool,
}

fn yes() -> bool {
    true
}

/// What becomes of the rows that point to a row which goes or changes its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferentialAction {
    /// The statement fails if they still point to nothing at its end.
    NoAction,
    /// The statement fails.
    Restrict,
    /// They go, or follow the key.
    Cascade,
    /// Their columns become NULL.
    SetNull,
    /// Their columns get their defaults.
    SetDefault,
}

/// Whether a constraint may be looked at later than at the end of each statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deferral {
    /// NOT DEFERRABLE
    #[default]
    Never,
    /// DEFERRABLE INITIALLY IMMEDIATE: where SET CONSTRAINTS says so.
    Immediate,
    /// DEFERRABLE INITIALLY DEFERRED: at COMMIT, unless SET CONSTRAINTS says otherwise.
    Deferred,
}

/// A foreign key: rows whose `columns` hold no NULL have a row in `references`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its oid.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// Numbers of the columns that point.
    pub columns: Vec<u16>,
    /// The table that they point to.
    pub references: TableId,
    /// Numbers of the columns there, in the order of `columns`.
    pub referenced: Vec<u16>,
    /// The unique index there over just these columns, perhaps in another order.
    pub index: IndexId,
    /// ON UPDATE
    pub on_update: ReferentialAction,
    /// ON DELETE
    pub on_delete: ReferentialAction,
    /// MATCH FULL: all of the columns are NULL or none.
    pub match_full: bool,
    /// DEFERRABLE
    #[serde(default)]
    pub deferral: Deferral,
    /// NOT VALID: rows that were there before it may point to nothing.
    #[serde(default)]
    pub not_valid: bool,
    /// The foreign key of the partitioned table that this one of a partition belongs to.
    #[serde(default)]
    pub parent: Option<Oid>,
}

/// What COMMIT does with a temporary table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnCommit {
    /// PRESERVE ROWS, and every table that is not temporary.
    #[default]
    PreserveRows,
    /// DELETE ROWS
    DeleteRows,
    /// DROP
    Drop,
}

/// What a materialized view holds: the rows of a query as they were when it was refreshed, or, for a continuous
/// aggregate, as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Materialized {
    /// The query's text; names in it are qualified.
    pub query: String,
    /// Tables and views that it reads; they cannot be dropped without it.
    pub depends_on: Vec<Oid>,
    /// Whether it may be read: not from WITH NO DATA to the first REFRESH.
    pub populated: bool,
    /// How it is kept up to date.
    pub continuous: Option<Continuous>,
}

/// A continuous aggregate: groups of one table's rows, by ranges of time among others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Continuous {
    /// The table.
    pub table: TableId,
    /// Its storage when all rows of the view were made last: with another one all of them are void.
    pub storage: Oid,
    /// Number of its column that says when a row was.
    pub time_column: u16,
    /// Number of the view's column with the beginning of the range.
    pub bucket_column: u16,
    /// How long a range is: months, days, microseconds.
    pub width: (i32, i32, i64),
    /// A sequence whose value is the entry of the log through which the view's rows are made.
    pub position: Oid,
}

/// A table. `columns` holds the live ones in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its oid.
    pub oid: TableId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Oid,
    /// Raised by each change of the columns.
    pub version: u32,
    /// Names the rows: TRUNCATE gives a new one, and the rows of the old are dropped.
    pub storage: Oid,
    /// The live columns, in order.
    pub columns: Vec<Column>,
    /// The number for the next new column.
    pub next_column: u16,
    /// The index of the primary key.
    pub primary_key: Option<IndexId>,
    /// All indexes, the primary key's too, by oid.
    pub indexes: Vec<IndexId>,
    /// CHECK constraints.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Foreign keys of this table's rows.
    #[serde(default)]
    pub foreign_keys: Vec<ForeignKey>,
    /// Continuous aggregates that read the table: ended rows go into the log whole for them.
    #[serde(default)]
    pub aggregates: Vec<TableId>,
    /// For a materialized view: what it holds.
    #[serde(default)]
    pub materialized: Option<Arc<Materialized>>,
    /// Storage options as given in WITH (…).
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// What COMMIT does with a temporary table.
    #[serde(default)]
    pub on_commit: OnCommit,
    /// The tables that it inherits from, or the one that it is a partition of.
    #[serde(default)]
    pub parents: Vec<TableId>,
    /// How its rows are spread over its partitions; it has none of its own then.
    #[serde(default)]
    pub partitioning: Option<Partitioning>,
    /// Which rows of its parent it holds, for a partition.
    #[serde(default)]
    pub bound: Option<PartitionBound>,
    /// Comments on its constraints, by their oids.
    #[serde(default)]
    pub constraint_comments: Vec<(Oid, String)>,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// Who may do what, where that is not its kind's default.
    #[serde(default)]
    pub acl: Option<Acl>,
}

impl Column {
    /// Whether SQL does not see it: it holds what an index on an expression or with WHERE has its keys from.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        // No text of SQL has a NUL in it.
        self.name.starts_with('\0')
    }

    /// The name of a hidden column: the `part`th of an index.
    #[must_use]
    pub fn hidden_name(index: IndexId, part: usize) -> String {
        format!("\0{index}_{part}")
    }

    /// The expression of a stored generated column.
    #[must_use]
    pub fn generated(&self) -> Option<&str> {
        match &self.default {
            Some(ColumnDefault::Generated(expression)) => Some(expression),
            _ => None,
        }
    }
}

impl Table {
    /// The columns that SQL sees; hidden ones stand behind all of them.
    #[must_use]
    pub fn visible_columns(&self) -> &[Column] {
        let hidden = self.columns.iter().rev().take_while(|column| column.is_hidden()).count();
        &self.columns[..self.columns.len() - hidden]
    }

    /// The place of a column in `columns` by name.
    #[must_use]
    pub fn column_position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// The place of a column in `columns` by number.
    #[must_use]
    pub fn number_position(&self, number: u16) -> Option<usize> {
        self.columns.iter().position(|c| c.number == number)
    }

    /// Whether it is a partition of another table.
    #[must_use]
    pub fn is_partition(&self) -> bool {
        self.bound.is_some()
    }

    /// For each column of `self` its place in `other`, which has columns of the same names; `None` where all stand at the
    /// same places and there are no others.
    #[must_use]
    pub fn places_in(&self, other: &Table) -> Option<Vec<Option<usize>>> {
        let same = self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).all(|(a, b)| a.name == b.name);
        (!same).then(|| self.columns.iter().map(|column| other.column_position(&column.name)).collect())
    }
}

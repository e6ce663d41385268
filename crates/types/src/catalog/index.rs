//! Indexes.

use serde::{Deserialize, Serialize};

use super::{Deferral, Table};
use crate::ids::{IndexId, Oid, TableId};

/// Whether an index may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexState {
    /// Maintained by apply, not yet filled from older rows.
    Building,
    /// Complete.
    Valid,
}

/// A key of an index as it was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexKey {
    /// The expression, where it is no column.
    pub expression: Option<String>,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST
    pub nulls_first: bool,
}

/// How an index was written, where that is more than columns in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexDefinition {
    /// One for each key; empty: all are columns, ascending.
    pub keys: Vec<IndexKey>,
    /// WHERE: rows for which it is not true are as good as not in it.
    pub predicate: Option<String>,
    /// INCLUDE: numbers of columns.
    pub include: Vec<u16>,
    /// Of a constraint: whether two rows may share a key for a while. Then no one row can be looked up by its key.
    #[serde(default)]
    pub deferral: Deferral,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Its oid.
    pub oid: IndexId,
    /// Its table.
    pub table: TableId,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
    /// Numbers of the key columns, in order.
    pub columns: Vec<u16>,
    /// Whether two rows may not share a key. Keys with a NULL in them never collide.
    pub unique: bool,
    /// Whether it stands for a constraint (PRIMARY KEY or UNIQUE) and goes with it.
    pub constraint: bool,
    /// The index of the partitioned table that this one of a partition belongs to.
    #[serde(default)]
    pub parent: Option<IndexId>,
    /// Whether it may be read.
    pub state: IndexState,
    /// How it was written.
    #[serde(default)]
    pub definition: IndexDefinition,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
}

impl Index {
    /// Numbers of the columns of its keys. With WHERE there is one more column in it, which is NULL, so that nothing
    /// collides, in rows that are not in the index.
    #[must_use]
    pub fn key_columns(&self) -> &[u16] {
        let keys = self.columns.len() - usize::from(self.definition.predicate.is_some()).min(self.columns.len());
        &self.columns[..keys]
    }

    /// Each key as SQL writes it: a column's name, quoted by `quote`, or an expression.
    pub fn key_texts<'a>(
        &'a self,
        table: &'a Table,
        quote: impl Fn(&str) -> String + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        self.key_columns().iter().enumerate().map(move |(at, number)| {
            match self.definition.keys.get(at).and_then(|key| key.expression.as_deref()) {
                Some(expression) if is_call(expression) => expression.to_owned(),
                Some(expression) => format!("({expression})"),
                None => {
                    let column = table.number_position(*number).and_then(|place| table.columns.get(place));
                    column.map(|column| quote(&column.name)).unwrap_or_default()
                }
            }
        })
    }
}

/// Whether an expression is one call, which needs no parentheses around it in an index.
fn is_call(expression: &str) -> bool {
    let Some(open) = expression.find('(') else { return false };
    let is_name = open > 0 && expression[..open].chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let mut depth = 0usize;
    let closes_last = expression[open..].char_indices().all(|(at, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > 0 || open + at + 1 == expression.len()
    });
    is_name && closes_last
}

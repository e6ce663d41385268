//! Rows of a system table, built by the names of their columns.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::error::Result;
use perigee_storage::arrow_value::ColumnBuilder;
use perigee_types::{Row, SqlError, SqlType, Value};
use std::sync::Arc;

use super::definition::Definition;
use crate::exec::error::from_sql;

/// Rows of one system table.
pub(super) struct Rows {
    definition: &'static Definition,
    /// What a row holds where nothing is said: NULL, or zero, false and empty in columns that are never NULL.
    blank: Row,
    rows: Vec<Row>,
}

impl Rows {
    pub(super) fn new(definition: &'static Definition) -> Self {
        let blank = definition.columns.iter().map(|c| if c.not_null { zero(&c.ty) } else { Value::Null }).collect();
        Self { definition, blank, rows: Vec::new() }
    }

    /// Adds rows that are complete.
    pub(super) fn extend(&mut self, rows: &[Row]) {
        self.rows.extend_from_slice(rows);
    }

    /// Adds a row with these cells.
    pub(super) fn push<'c>(&mut self, cells: impl IntoIterator<Item = (&'c str, Value)>) {
        let mut row = self.blank.clone();
        for (column, value) in cells {
            let at = self.definition.position(column);
            debug_assert!(at.is_some(), "{} has no column {column}", self.definition.name);
            if let Some(cell) = at.and_then(|at| row.get_mut(at)) {
                *cell = value;
            }
        }
        self.rows.push(row);
    }

    /// The rows as one batch of the columns in `projection`.
    ///
    /// # Errors
    /// Internal, where a value is not of its column's type.
    pub(super) fn finish(self, projection: Option<&Vec<usize>>) -> Result<RecordBatch> {
        let schema = match projection {
            Some(columns) => Arc::new(self.definition.arrow.project(columns)?),
            None => Arc::clone(&self.definition.arrow),
        };
        let all: Vec<usize>;
        let places = match projection {
            Some(columns) => columns,
            None => {
                all = (0..self.definition.columns.len()).collect();
                &all
            }
        };
        let arrays = places.iter().map(|at| self.column(*at)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }

    fn column(&self, at: usize) -> Result<ArrayRef> {
        let wrong = |e: String| from_sql(SqlError::internal(format_args!("table {}: {e}", self.definition.name)));
        let column = self.definition.columns.get(at).ok_or_else(|| wrong(format!("no column {at}")))?;
        let mut builder = ColumnBuilder::new(&column.ty, self.rows.len());
        for row in &self.rows {
            builder.push(row.get(at).unwrap_or(&Value::Null)).map_err(|e| wrong(format!("{}: {e}", column.name)))?;
        }
        Ok(builder.finish())
    }
}

fn zero(ty: &SqlType) -> Value {
    match ty {
        SqlType::Bool => Value::Bool(false),
        SqlType::Int2 => Value::Int2(0),
        SqlType::Int4 => Value::Int4(0),
        SqlType::Int8 => Value::Int8(0),
        SqlType::Float4 => Value::Float4(0.0),
        SqlType::Float8 => Value::Float8(0.0),
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => Value::Oid(0),
        SqlType::Array(_) => Value::Array(Vec::new()),
        SqlType::Text | SqlType::Name | SqlType::InternalChar | SqlType::Varchar(_) => Value::Text(String::new()),
        _ => Value::Null,
    }
}

/// A string.
pub(super) fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

/// A string where there is one.
pub(super) fn text_or_null(value: Option<impl Into<String>>) -> Value {
    value.map_or(Value::Null, text)
}

/// An oid.
pub(super) fn oid(value: impl Into<u32>) -> Value {
    Value::Oid(value.into())
}

/// A boolean.
pub(super) fn bool(value: bool) -> Value {
    Value::Bool(value)
}

/// A smallint; what is beyond it is its greatest.
pub(super) fn int2(value: usize) -> Value {
    Value::Int2(i16::try_from(value).unwrap_or(i16::MAX))
}

/// An integer; what is beyond it is its greatest.
pub(super) fn int4(value: usize) -> Value {
    Value::Int4(i32::try_from(value).unwrap_or(i32::MAX))
}

/// A bigint; what is beyond it is its greatest.
pub(super) fn int8(value: u64) -> Value {
    Value::Int8(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `YES` or `NO`, as the information schema says it.
pub(super) fn yes_or_no(value: bool) -> Value {
    text(if value { "YES" } else { "NO" })
}

/// Column numbers as an array.
pub(super) fn numbers(columns: &[u16]) -> Value {
    Value::Array(columns.iter().map(|n| int2(usize::from(*n))).collect())
}

//! Single values and rows into Arrow and out of it.
//!
//! - [`value_at`]: one value of an array
//! - [`ColumnBuilder`]: a column that grows by single values and can be read while it grows: what table tails are made of
//! - [`KeyColumn`], [`encode_key`]: index keys of rows
//! - [`rows_to_batch`], [`batch_to_rows`]: whole rows
//!
//! The physical form is [`perigee_types::SqlType::arrow`]'s; what it means to a client stays with the column's type.

mod builder;
mod keys;
mod read;
mod rows;

#[cfg(test)]
pub(crate) mod tests;

use arrow::error::ArrowError;
use perigee_types::{SqlType, Value};
use thiserror::Error;

pub use builder::{ColumnBuilder, check_value};
pub use keys::{KeyColumn, encode_key};
pub use read::value_at;
pub use rows::{batch_to_rows, repeat, rows_to_batch, schema_of};

/// Why a value does not fit a column.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ValueError {
    /// A value of another type than the column's.
    #[error("a value of kind {found} does not fit a column of type {column}")]
    Type {
        /// The column's type.
        column: SqlType,
        /// The value's kind.
        found: &'static str,
    },
    /// A value beyond what the column's form holds.
    #[error("a value is out of range for type {0}")]
    OutOfRange(SqlType),
    /// A row with fewer or more values than there are columns.
    #[error("a row has {found} values where there are {columns} columns")]
    Width {
        /// Count of columns.
        columns: usize,
        /// Count of values.
        found: usize,
    },
    /// An array of another form than the column's.
    #[error("an array of type {found} does not fit a column of type {column}")]
    Array {
        /// The column's type.
        column: SqlType,
        /// The array's type.
        found: String,
    },
    /// Arrow refused what was built.
    #[error("arrow: {0}")]
    Arrow(String),
}

impl From<ArrowError> for ValueError {
    fn from(error: ArrowError) -> Self {
        ValueError::Arrow(error.to_string())
    }
}

/// The name of a value's variant, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int2(_) => "int2",
        Value::Int4(_) => "int4",
        Value::Int8(_) => "int8",
        Value::Oid(_) => "oid",
        Value::Float4(_) => "float4",
        Value::Float8(_) => "float8",
        Value::Numeric(..) | Value::Wide(_) => "numeric",
        Value::Text(_) => "text",
        Value::Bytea(_) => "bytea",
        Value::Date(_) => "date",
        Value::Time(_) => "time",
        Value::Timestamp(_) => "timestamp",
        Value::Timestamptz(_) => "timestamptz",
        Value::Interval(_) => "interval",
        Value::Uuid(_) => "uuid",
        Value::Enum(_) => "enum",
        Value::Array(_) => "array",
    }
}

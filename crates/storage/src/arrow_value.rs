//! Single values and rows into Arrow and out of it. (skeleton: signatures only)

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use perigee_types::{Row, SqlType, Value};
use thiserror::Error;

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
    /// Arrow refused.
    #[error("{0}")]
    Arrow(String),
}

/// The value of a row of an array.
pub fn value_at(_array: &ArrayRef, _row: usize, _ty: &SqlType) -> Value {
    Value::Null
}

/// A column that grows by single values and can be read while it grows.
pub struct ColumnBuilder {}

impl ColumnBuilder {
    /// An empty column with room for `capacity` rows.
    pub fn new(_ty: &SqlType, _capacity: usize) -> Self {
        Self {}
    }
    /// Appends a value. On an error nothing is appended.
    pub fn push(&mut self, _value: &Value) -> Result<(), ValueError> {
        Ok(())
    }
    /// Appends NULL.
    pub fn push_null(&mut self) {}
    /// Appends a whole array of the column's Arrow type.
    pub fn append_array(&mut self, _array: &ArrayRef) -> Result<(), ValueError> {
        Ok(())
    }
    /// Count of rows.
    pub fn len(&self) -> usize {
        0
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        true
    }
    /// The value of a row that was pushed.
    pub fn value(&self, _row: usize) -> Value {
        Value::Null
    }
    /// Bytes in use.
    pub fn size_bytes(&self) -> usize {
        0
    }
    /// The rows so far as an array; the builder goes on. String bytes are shared, not copied, where blocks are full.
    pub fn finish_cloned(&self) -> ArrayRef {
        arrow::array::new_empty_array(&arrow::datatypes::DataType::Int32)
    }
    /// The rows as an array; the builder is empty then.
    pub fn finish(&mut self) -> ArrayRef {
        self.finish_cloned()
    }
}

/// Rows as a batch with the schema that the columns (number, type, name) give.
pub fn rows_to_batch(_columns: &[(u16, &SqlType, &str)], _rows: &[Row]) -> Result<RecordBatch, ValueError> {
    Ok(RecordBatch::new_empty(std::sync::Arc::new(arrow::datatypes::Schema::empty())))
}

/// The rows of a batch, by the SQL types of its fields.
pub fn batch_to_rows(_batch: &RecordBatch) -> Vec<Row> {
    Vec::new()
}

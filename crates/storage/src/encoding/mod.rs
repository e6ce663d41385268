//! An Arrow column as bytes, and its statistics. (skeleton: signatures only)

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use bytes::Bytes;
use perigee_types::Value;
use thiserror::Error;

/// Why a column could not be encoded or decoded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodingError {
    /// The bytes are not what was encoded.
    #[error("encoded column is damaged: {0}")]
    Damaged(&'static str),
    /// A type that is not stored.
    #[error("columns of type {0} are not stored")]
    Unsupported(DataType),
    /// The bytes hold a column of another type or count of rows than asked for.
    #[error("encoded column is not what was asked for: {0}")]
    Mismatch(&'static str),
    /// More rows or bytes than a column may have.
    #[error("column is too large: {0}")]
    TooLarge(&'static str),
}

/// What is known of a column's values without reading it.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStats {
    /// No value is smaller; NULL where that is not known.
    pub min: Value,
    /// No value is greater; NULL where that is not known.
    pub max: Value,
    /// Rows that are NULL.
    pub null_count: usize,
}

/// Encodes a column of up to 65,536 rows.
pub fn encode_column(column: &ArrayRef) -> Result<Bytes, EncodingError> {
    Err(EncodingError::Unsupported(column.data_type().clone()))
}

/// Decodes a column of `rows` rows.
pub fn decode_column(_bytes: &[u8], ty: &DataType, _rows: usize) -> Result<ArrayRef, EncodingError> {
    Err(EncodingError::Unsupported(ty.clone()))
}

/// Statistics of a column.
pub fn stats(column: &ArrayRef) -> ColumnStats {
    ColumnStats { min: Value::Null, max: Value::Null, null_count: column.null_count() }
}

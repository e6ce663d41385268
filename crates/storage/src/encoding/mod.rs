//! An Arrow column as bytes, and its statistics.
//!
//! ```text
//! version  tag  parameter  rows  nulls | validity          values                      | crc32c
//! u8       u8   u16        u32   u32   | if 0<nulls<rows   if nulls<rows, by the tag   | u32
//! ```
//!
//! All integers are little endian; the CRC covers everything before it. `tag` and `parameter` name the Arrow type (see
//! `tag.rs`), so bytes are never read as another type than they were written as.
//!
//! | type | values |
//! | --- | --- |
//! | integers, floats, dates, times, timestamps, enumerated types | one stream of numbers; a NULL repeats the number before it |
//! | numeric | a stream of i64 where all fit, else the upper and lower halves as two streams |
//! | interval | months, days, nanoseconds: three streams |
//! | boolean | bits, packed |
//! | uuid | 16 bytes each, packed |
//! | text, bytea, numeric of any size | few distinct values: a dictionary and a stream of codes; else a stream of lengths and the bytes, packed |
//! | arrays | a stream of lengths, then the items as a column without a CRC |
//!
//! *A stream of numbers* is one number where all are the same, else `pco` (level 4), else as they are where that does not
//! pay. *Packed* is zstd, or as they are where that does not pay.
//!
//! Decoding trusts no length: every allocation is bounded by the count of rows that the caller knows, or by what has been
//! read so far.

mod cursor;
mod fixed;
mod list;
mod numbers;
mod packed;
mod statistics;
mod strings;
mod tag;

#[cfg(test)]
mod tests;

use arrow::array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampSecondType, UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;
use thiserror::Error;

use cursor::Cursor;
pub use statistics::{ColumnStats, STATS_BYTES_MAX, stats};

/// The most rows that a column may have.
pub const ROWS_MAX: usize = 65_536;

/// The most items in all that the arrays of one column may have.
const ITEMS_MAX: usize = 1 << 26;

/// How deep arrays of arrays may be.
const DEPTH_MAX: u8 = 4;

const VERSION: u8 = 1;

/// Why a column could not be encoded or decoded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodingError {
    /// The bytes are not what was encoded.
    #[error("encoded column is damaged: {0}")]
    Damaged(&'static str),
    /// The bytes were written by a newer version.
    #[error("encoded column has the unknown version {0}")]
    Version(u8),
    /// A type that is not stored.
    #[error("columns of type {0} are not stored")]
    Unsupported(DataType),
    /// The bytes hold a column of another type or count of rows than asked for.
    #[error("encoded column is not the one asked for: {0}")]
    Mismatch(&'static str),
    /// More rows or bytes than a column may have.
    #[error("column is too large: {0}")]
    TooLarge(&'static str),
    /// A compressor refused.
    #[error("column could not be compressed: {0}")]
    Compressor(String),
}

/// Encodes a column of at most [`ROWS_MAX`] rows and 2 GiB.
///
/// # Errors
/// [`EncodingError::Unsupported`] for types that [`perigee_types::SqlType::arrow`] does not give (u64 is stored too);
/// [`EncodingError::TooLarge`].
pub fn encode_column(column: &ArrayRef) -> Result<Bytes, EncodingError> {
    if column.len() > ROWS_MAX {
        return Err(EncodingError::TooLarge("too many rows"));
    }
    let mut out = Vec::with_capacity(64 + column.len());
    encode_into(column, 0, &mut out)?;
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.shrink_to_fit();
    Ok(out.into())
}

/// Decodes a column that must have type `ty` and `rows` rows.
///
/// # Errors
/// [`EncodingError::Damaged`] where any bit differs from what was encoded; [`EncodingError::Mismatch`] where the bytes are
/// another column; [`EncodingError::Version`].
pub fn decode_column(bytes: &[u8], ty: &DataType, rows: usize) -> Result<ArrayRef, EncodingError> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or(EncodingError::Damaged("it ends early"))?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(EncodingError::Damaged("its checksum differs"));
    }
    if rows > ROWS_MAX {
        return Err(EncodingError::TooLarge("too many rows"));
    }
    let mut cursor = Cursor::new(body);
    let column = decode_from(&mut cursor, ty, rows, 0)?;
    cursor.finish()?;
    Ok(column)
}

fn encode_into(column: &dyn Array, depth: u8, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    let unsupported = || EncodingError::Unsupported(column.data_type().clone());
    let (tag, parameter) = tag::of(column.data_type()).ok_or_else(unsupported)?;
    if depth > DEPTH_MAX {
        return Err(EncodingError::TooLarge("arrays are too deep"));
    }
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
    let null_count = nulls.map_or(0, NullBuffer::null_count);
    let rows = u32::try_from(column.len()).map_err(|_| EncodingError::TooLarge("too many items"))?;
    out.extend_from_slice(&[VERSION, tag]);
    out.extend_from_slice(&parameter.to_le_bytes());
    out.extend_from_slice(&rows.to_le_bytes());
    out.extend_from_slice(&(null_count as u32).to_le_bytes());
    if null_count == column.len() {
        return Ok(());
    }
    if let Some(nulls) = nulls {
        packed::write(nulls.inner().sliced().as_slice(), out)?;
    }
    match column.data_type() {
        DataType::Int16 => numbers::write_array::<Int16Type>(column.as_primitive(), out),
        DataType::Int32 => numbers::write_array::<Int32Type>(column.as_primitive(), out),
        DataType::Int64 => numbers::write_array::<Int64Type>(column.as_primitive(), out),
        DataType::UInt32 => numbers::write_array::<UInt32Type>(column.as_primitive(), out),
        DataType::UInt64 => numbers::write_array::<UInt64Type>(column.as_primitive(), out),
        DataType::Float32 => numbers::write_array::<Float32Type>(column.as_primitive(), out),
        DataType::Float64 => numbers::write_array::<Float64Type>(column.as_primitive(), out),
        DataType::Date32 => numbers::write_array::<Date32Type>(column.as_primitive(), out),
        DataType::Time64(_) => numbers::write_array::<Time64MicrosecondType>(column.as_primitive(), out),
        DataType::Timestamp(TimeUnit::Second, _) => {
            numbers::write_array::<TimestampSecondType>(column.as_primitive(), out)
        }
        DataType::Timestamp(..) => numbers::write_array::<TimestampMicrosecondType>(column.as_primitive(), out),
        DataType::Decimal128(..) => fixed::write_decimals(column.as_primitive(), out),
        DataType::Interval(_) => fixed::write_intervals(column.as_primitive(), out),
        DataType::Boolean => fixed::write_booleans(column.as_boolean(), out),
        DataType::FixedSizeBinary(_) => fixed::write_uuids(column.as_fixed_size_binary(), out),
        DataType::Utf8View => strings::write(column.as_string_view(), out),
        DataType::BinaryView => strings::write(column.as_binary_view(), out),
        DataType::LargeBinary => strings::write(&BinaryViewArray::from(column.as_binary::<i64>()), out),
        DataType::List(_) => list::write(column.as_list(), depth, out),
        _ => Err(unsupported()),
    }
}

fn decode_from(cursor: &mut Cursor<'_>, ty: &DataType, rows: usize, depth: u8) -> Result<ArrayRef, EncodingError> {
    let [version, tag] = cursor.array()?;
    if version != VERSION {
        return Err(EncodingError::Version(version));
    }
    let parameter = u16::from_le_bytes(cursor.array()?);
    let wanted = tag::of(ty).ok_or_else(|| EncodingError::Unsupported(ty.clone()))?;
    if (tag, parameter) != wanted {
        return Err(EncodingError::Mismatch("it has another type"));
    }
    if cursor.u32()? as usize != rows {
        return Err(EncodingError::Mismatch("it has another count of rows"));
    }
    let null_count = cursor.u32()? as usize;
    if depth > DEPTH_MAX || null_count > rows {
        return Err(EncodingError::Damaged("its header does not fit"));
    }
    if null_count == rows {
        return Ok(new_null_array(ty, rows));
    }
    let nulls = read_nulls(cursor, rows, null_count)?;
    match ty {
        DataType::Int16 => numbers::read_array::<Int16Type>(cursor, ty, rows, nulls),
        DataType::Int32 => numbers::read_array::<Int32Type>(cursor, ty, rows, nulls),
        DataType::Int64 => numbers::read_array::<Int64Type>(cursor, ty, rows, nulls),
        DataType::UInt32 => numbers::read_array::<UInt32Type>(cursor, ty, rows, nulls),
        DataType::UInt64 => numbers::read_array::<UInt64Type>(cursor, ty, rows, nulls),
        DataType::Float32 => numbers::read_array::<Float32Type>(cursor, ty, rows, nulls),
        DataType::Float64 => numbers::read_array::<Float64Type>(cursor, ty, rows, nulls),
        DataType::Date32 => numbers::read_array::<Date32Type>(cursor, ty, rows, nulls),
        DataType::Time64(_) => numbers::read_array::<Time64MicrosecondType>(cursor, ty, rows, nulls),
        DataType::Timestamp(TimeUnit::Second, _) => numbers::read_array::<TimestampSecondType>(cursor, ty, rows, nulls),
        DataType::Timestamp(..) => numbers::read_array::<TimestampMicrosecondType>(cursor, ty, rows, nulls),
        DataType::Decimal128(..) => fixed::read_decimals(cursor, ty, rows, nulls),
        DataType::Interval(_) => fixed::read_intervals(cursor, rows, nulls),
        DataType::Boolean => fixed::read_booleans(cursor, rows, nulls),
        DataType::FixedSizeBinary(_) => fixed::read_uuids(cursor, rows, nulls),
        DataType::Utf8View => strings::read_text(cursor, rows, nulls),
        DataType::BinaryView => strings::read_binary(cursor, rows, nulls),
        DataType::LargeBinary => strings::read_numeric(cursor, rows, nulls),
        DataType::List(item) => list::read(cursor, item, rows, nulls, depth),
        other => Err(EncodingError::Unsupported(other.clone())),
    }
}

fn read_nulls(cursor: &mut Cursor<'_>, rows: usize, null_count: usize) -> Result<Option<NullBuffer>, EncodingError> {
    if null_count == 0 {
        return Ok(None);
    }
    let bits = packed::read_exactly(cursor, rows.div_ceil(8))?;
    let nulls = NullBuffer::new(arrow::buffer::BooleanBuffer::new(bits.into(), 0, rows));
    if nulls.null_count() != null_count {
        return Err(EncodingError::Damaged("its count of nulls differs"));
    }
    Ok(Some(nulls))
}

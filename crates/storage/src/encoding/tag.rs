//! How an Arrow type stands in the header. The numbers are on disk.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// Tag and parameter of a type, `None` for types that are not stored.
pub(super) fn of(ty: &DataType) -> Option<(u8, u16)> {
    let tag = match ty {
        DataType::Boolean => 1,
        DataType::Int16 => 2,
        DataType::Int32 => 3,
        DataType::Int64 => 4,
        DataType::UInt32 => 5,
        DataType::UInt64 => 6,
        DataType::Float32 => 7,
        DataType::Float64 => 8,
        DataType::Decimal128(precision, scale) => return Some((9, u16::from_le_bytes([*precision, *scale as u8]))),
        DataType::Utf8View => 10,
        DataType::BinaryView => 11,
        DataType::Date32 => 12,
        DataType::Time64(TimeUnit::Microsecond) => 13,
        DataType::Timestamp(TimeUnit::Microsecond, None) => 14,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => 15,
        DataType::Interval(IntervalUnit::MonthDayNano) => 16,
        DataType::FixedSizeBinary(16) => 17,
        DataType::List(_) => 18,
        DataType::Timestamp(TimeUnit::Second, Some(_)) => 19,
        DataType::LargeBinary => 20,
        _ => return None,
    };
    Some((tag, 0))
}

//! What is known of a column's values without reading it.

use std::cmp::Ordering;

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, TimestampSecondType, UInt32Type,
    UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute;
use arrow::datatypes::{ArrowNumericType, DataType, TimeUnit};
use perigee_types::numeric;
use perigee_types::value::float_cmp;
use perigee_types::{Interval, Value};

/// Text and bytea are cut to this many bytes: the least one down, the greatest one up.
pub const STATS_BYTES_MAX: usize = 64;

/// What is known of a column's values without reading it, in PostgreSQL's order ([`Value::sql_cmp`]).
///
/// Text is compared by bytes: what orders otherwise (jsonb) must not use its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStats {
    /// No value is less; `Null` where no such value is known.
    pub min: Value,
    /// No value is greater; `Null` where no such value is known.
    pub max: Value,
    /// Rows that are NULL.
    pub null_count: usize,
}

/// Statistics of a column; arrays and types that are not stored have no bounds.
#[must_use]
pub fn stats(column: &ArrayRef) -> ColumnStats {
    let null_count = column.logical_null_count();
    let (min, max) =
        if null_count == column.len() { None } else { bounds(column) }.unwrap_or((Value::Null, Value::Null));
    ColumnStats { min, max, null_count }
}

fn bounds(column: &ArrayRef) -> Option<(Value, Value)> {
    match column.data_type() {
        DataType::Boolean => {
            let column = column.as_boolean();
            Some((Value::Bool(compute::min_boolean(column)?), Value::Bool(compute::max_boolean(column)?)))
        }
        DataType::Int16 => ends::<Int16Type>(column, Value::Int2),
        DataType::Int32 => ends::<Int32Type>(column, Value::Int4),
        DataType::Int64 => ends::<Int64Type>(column, Value::Int8),
        DataType::UInt32 => ends::<UInt32Type>(column, Value::Oid),
        DataType::UInt64 => ends::<UInt64Type>(column, |v| Value::Numeric(v.into(), 0)),
        DataType::Date32 => ends::<Date32Type>(column, Value::Date),
        DataType::Time64(_) => ends::<Time64MicrosecondType>(column, Value::Time),
        DataType::Timestamp(_, None) => ends::<TimestampMicrosecondType>(column, Value::Timestamp),
        DataType::Timestamp(TimeUnit::Second, Some(_)) => ends::<TimestampSecondType>(column, Value::Enum),
        DataType::Timestamp(_, Some(_)) => ends::<TimestampMicrosecondType>(column, Value::Timestamptz),
        DataType::Decimal128(_, scale) => ends::<Decimal128Type>(column, |v| Value::Numeric(v, *scale)),
        DataType::Float32 => {
            let (min, max) =
                extremes(valid::<Float32Type>(column.as_primitive()), |a, b| float_cmp((*a).into(), (*b).into()))?;
            Some((
                Value::Float4(if min == 0.0 { -0.0 } else { min }),
                Value::Float4(if max == 0.0 { 0.0 } else { max }),
            ))
        }
        DataType::Float64 => {
            let (min, max) = extremes(valid::<Float64Type>(column.as_primitive()), |a, b| float_cmp(*a, *b))?;
            Some((
                Value::Float8(if min == 0.0 { -0.0 } else { min }),
                Value::Float8(if max == 0.0 { 0.0 } else { max }),
            ))
        }
        DataType::Interval(_) => {
            let intervals = valid::<IntervalMonthDayNanoType>(column.as_primitive()).map(|v| Interval {
                months: v.months,
                days: v.days,
                micros: v.nanoseconds / 1_000,
            });
            let (min, max) = extremes(intervals, |a, b| a.approximate_micros().cmp(&b.approximate_micros()))?;
            Some((Value::Interval(min), Value::Interval(max)))
        }
        DataType::FixedSizeBinary(16) => {
            let (min, max) = extremes(column.as_fixed_size_binary().iter().flatten(), Ord::cmp)?;
            Some((Value::Uuid(min.try_into().ok()?), Value::Uuid(max.try_into().ok()?)))
        }
        DataType::Utf8View => {
            let (min, max) = extremes(column.as_string_view().iter().flatten(), Ord::cmp)?;
            Some((Value::Text(cut_text(min).to_owned()), text_above(max).map_or(Value::Null, Value::Text)))
        }
        DataType::LargeBinary => {
            let numbers = column.as_binary::<i64>().iter().flatten();
            let (min, max) = extremes(numbers, |a, b| numeric::key_of(a).cmp(numeric::key_of(b)))?;
            let value = |form: &[u8]| Some(numeric::decode(form)?.into_value());
            Some((value(min).filter(is_short)?, value(max).filter(is_short)?))
        }
        DataType::BinaryView => {
            let (min, max) = extremes(column.as_binary_view().iter().flatten(), Ord::cmp)?;
            let min = &min[..min.len().min(STATS_BYTES_MAX)];
            Some((Value::Bytea(min.to_vec()), bytes_above(max).map_or(Value::Null, Value::Bytea)))
        }
        _ => None,
    }
}

/// Statistics are kept in memory for every chunk: a number of many digits is not.
fn is_short(value: &Value) -> bool {
    value.size_bytes() <= STATS_BYTES_MAX + size_of::<Value>()
}

fn ends<T: ArrowNumericType>(column: &ArrayRef, value: impl Fn(T::Native) -> Value) -> Option<(Value, Value)> {
    let column = column.as_primitive::<T>();
    Some((value(compute::min(column)?), value(compute::max(column)?)))
}

fn valid<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> impl Iterator<Item = T::Native> {
    array.iter().flatten()
}

fn extremes<T: Copy>(mut values: impl Iterator<Item = T>, compare: impl Fn(&T, &T) -> Ordering) -> Option<(T, T)> {
    let first = values.next()?;
    Some(values.fold((first, first), |(min, max), v| {
        (if compare(&v, &min).is_lt() { v } else { min }, if compare(&v, &max).is_gt() { v } else { max })
    }))
}

fn cut_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(STATS_BYTES_MAX)]
}

/// The text itself, or a short one above everything that begins like it: its beginning with the last character that has
/// one raised to the next.
fn text_above(text: &str) -> Option<String> {
    let cut = cut_text(text);
    if cut.len() == text.len() {
        return Some(text.to_owned());
    }
    cut.char_indices().rev().find_map(|(at, c)| {
        // Bytes of UTF-8 order as code points do. The step over the surrogates is the one gap.
        let next = char::from_u32(if c == '\u{d7ff}' { 0xe000 } else { c as u32 + 1 })?;
        let mut above = cut[..at].to_owned();
        above.push(next);
        Some(above)
    })
}

fn bytes_above(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() <= STATS_BYTES_MAX {
        return Some(bytes.to_vec());
    }
    let cut = &bytes[..STATS_BYTES_MAX];
    let last = cut.iter().rposition(|byte| *byte != 0xff)?;
    let mut above = cut[..=last].to_vec();
    above[last] += 1;
    Some(above)
}

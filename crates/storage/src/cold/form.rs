//! How types of Arrow stand in a Parquet file.
//!
//! Most as they are. Intervals, which Parquet cannot keep to the microsecond, are 16 bytes: months, days (i32) and
//! nanoseconds (i64), little endian. Enumerated values are the order of their label as an integer, because the zone that
//! carries the type changes with each new label. A `numeric` that has no 128 bits is its text, which others can read.

use std::sync::Arc;

use arrow::array::types::{Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampSecondType};
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, LargeBinaryBuilder, ListArray,
    PrimitiveArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use arrow::error::ArrowError;
use perigee_types::numeric::{self, Numeric};

const INTERVAL_BYTES: i32 = 16;

/// The type in a file.
#[must_use]
pub fn file_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Interval(IntervalUnit::MonthDayNano) => DataType::FixedSizeBinary(INTERVAL_BYTES),
        DataType::Timestamp(TimeUnit::Second, _) => DataType::Int64,
        DataType::LargeBinary => DataType::Utf8View,
        DataType::List(item) => DataType::List(Arc::new(Field::new("item", file_type(item.data_type()), true))),
        other => other.clone(),
    }
}

/// Whether a value looks the same in a file, and compares there as it does here: bounds that a file keeps of floats leave
/// out NaN, and numbers as bytes are equal without being the same.
#[must_use]
pub fn compares(ty: &DataType) -> bool {
    !ty.is_floating() && !matches!(ty, DataType::LargeBinary | DataType::List(_)) && file_type(ty) == *ty
}

/// A column as it goes into a file.
///
/// # Errors
/// Arrow's, for what is no column of a table.
pub fn to_file(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            let mut out = FixedSizeBinaryBuilder::with_capacity(intervals.len(), INTERVAL_BYTES);
            for interval in intervals {
                match interval {
                    Some(interval) => out.append_value(interval_bytes(interval))?,
                    None => out.append_null(),
                }
            }
            Ok(Arc::new(out.finish()))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            let labels = array.as_primitive::<TimestampSecondType>();
            Ok(Arc::new(PrimitiveArray::<Int64Type>::new(labels.values().clone(), labels.nulls().cloned())))
        }
        DataType::LargeBinary => {
            let mut out = StringViewBuilder::with_capacity(array.len());
            for number in array.as_binary::<i64>() {
                let number = number.map(|bytes| numeric::decode(bytes).ok_or_else(not_a_number)).transpose()?;
                out.append_option(number.map(|number| number.to_string()));
            }
            Ok(Arc::new(out.finish()))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let values = to_file(list.values())?;
            let item = Arc::new(Field::new("item", values.data_type().clone(), true));
            Ok(Arc::new(ListArray::try_new(item, list.offsets().clone(), values, list.nulls().cloned())?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// A column of a file as one of a table, of type `ty`.
///
/// # Errors
/// Arrow's, where the file's column cannot be one of that type.
pub fn from_file(array: &ArrayRef, ty: &DataType) -> Result<ArrayRef, ArrowError> {
    let wrong = || ArrowError::CastError(format!("a cold column of {} cannot be {ty}", array.data_type()));
    match ty {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let bytes = array.as_any().downcast_ref::<FixedSizeBinaryArray>().ok_or_else(wrong)?;
            let intervals: Option<Vec<Option<IntervalMonthDayNano>>> = bytes
                .iter()
                .map(|value| match value {
                    Some(value) => interval(value).map(Some),
                    None => Some(None),
                })
                .collect();
            let intervals = intervals.ok_or_else(wrong)?;
            Ok(Arc::new(PrimitiveArray::<IntervalMonthDayNanoType>::from_iter(intervals)))
        }
        DataType::Timestamp(TimeUnit::Second, zone) => {
            let labels = array.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
            let values = PrimitiveArray::<TimestampSecondType>::new(labels.values().clone(), labels.nulls().cloned());
            Ok(Arc::new(values.with_timezone_opt(zone.clone())))
        }
        DataType::LargeBinary if array.data_type() != ty => {
            let texts = arrow::compute::cast(array, &DataType::Utf8View)?;
            let (mut out, mut bytes) = (LargeBinaryBuilder::new(), Vec::new());
            for text in texts.as_string_view() {
                let number = text.map(|text| Numeric::parse(text).map_err(|_| not_a_number())).transpose()?;
                bytes.clear();
                if let Some(number) = &number {
                    numeric::encode(number, &mut bytes);
                }
                out.append_option(number.map(|_| bytes.as_slice()));
            }
            Ok(Arc::new(out.finish()))
        }
        DataType::List(item) => {
            let list = array.as_list_opt::<i32>().ok_or_else(wrong)?;
            let values = from_file(list.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?))
        }
        ty if array.data_type() == ty => Ok(Arc::clone(array)),
        // The declared type has changed within one storage form, e.g. the precision of a numeric.
        ty => arrow::compute::cast(array, ty),
    }
}

fn not_a_number() -> ArrowError {
    ArrowError::CastError("a cold column of numbers has something else".to_owned())
}

fn interval_bytes(interval: IntervalMonthDayNano) -> [u8; 16] {
    let mut out = [0; 16];
    out[..4].copy_from_slice(&interval.months.to_le_bytes());
    out[4..8].copy_from_slice(&interval.days.to_le_bytes());
    out[8..].copy_from_slice(&interval.nanoseconds.to_le_bytes());
    out
}

fn interval(bytes: &[u8]) -> Option<IntervalMonthDayNano> {
    let (months, rest) = bytes.split_first_chunk::<4>()?;
    let (days, rest) = rest.split_first_chunk::<4>()?;
    let nanoseconds = rest.first_chunk::<8>()?;
    Some(IntervalMonthDayNano::new(
        i32::from_le_bytes(*months),
        i32::from_le_bytes(*days),
        i64::from_le_bytes(*nanoseconds),
    ))
}

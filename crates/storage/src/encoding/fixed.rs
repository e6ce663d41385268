//! Types of fixed width that are not one stream of numbers.

use std::sync::Arc;

use arrow::array::types::{Decimal128Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use arrow::array::{Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;

use super::cursor::Cursor;
use super::numbers::filled;
use super::{EncodingError, numbers, packed};

const NARROW: u8 = 0;
const HALVES: u8 = 1;

const UUID_BYTES: usize = 16;

fn built<T>(result: Result<T, arrow::error::ArrowError>) -> Result<T, EncodingError> {
    result.map_err(|_| EncodingError::Damaged("an array"))
}

pub(super) fn write_decimals(array: &PrimitiveArray<Decimal128Type>, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    let values = filled(array.values(), array.nulls());
    let narrow: Option<Vec<i64>> = values.iter().map(|v| i64::try_from(*v).ok()).collect();
    if let Some(narrow) = narrow {
        out.push(NARROW);
        return numbers::write(&narrow, out);
    }
    out.push(HALVES);
    let upper: Vec<i64> = values.iter().map(|v| (v >> 64) as i64).collect();
    let lower: Vec<u64> = values.iter().map(|v| *v as u64).collect();
    numbers::write(&upper, out)?;
    numbers::write(&lower, out)
}

pub(super) fn read_decimals(
    cursor: &mut Cursor<'_>,
    ty: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError> {
    let values: Vec<i128> = match cursor.u8()? {
        NARROW => numbers::read::<i64>(cursor, rows)?.into_iter().map(i128::from).collect(),
        HALVES => {
            let upper = numbers::read::<i64>(cursor, rows)?;
            let lower = numbers::read::<u64>(cursor, rows)?;
            upper.into_iter().zip(lower).map(|(u, l)| (i128::from(u) << 64) | i128::from(l)).collect()
        }
        _ => return Err(EncodingError::Damaged("unknown form of numeric")),
    };
    let array = built(PrimitiveArray::<Decimal128Type>::try_new(values.into(), nulls))?;
    Ok(Arc::new(array.with_data_type(ty.clone())))
}

pub(super) fn write_intervals(
    array: &PrimitiveArray<IntervalMonthDayNanoType>,
    out: &mut Vec<u8>,
) -> Result<(), EncodingError> {
    let values = filled(array.values(), array.nulls());
    numbers::write(&values.iter().map(|v| v.months).collect::<Vec<_>>(), out)?;
    numbers::write(&values.iter().map(|v| v.days).collect::<Vec<_>>(), out)?;
    numbers::write(&values.iter().map(|v| v.nanoseconds).collect::<Vec<_>>(), out)
}

pub(super) fn read_intervals(
    cursor: &mut Cursor<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError> {
    let months = numbers::read::<i32>(cursor, rows)?;
    let days = numbers::read::<i32>(cursor, rows)?;
    let nanos = numbers::read::<i64>(cursor, rows)?;
    let fields = months.into_iter().zip(days).zip(nanos);
    let values: Vec<_> = fields.map(|((m, d), n)| IntervalMonthDayNano::new(m, d, n)).collect();
    Ok(Arc::new(built(PrimitiveArray::<IntervalMonthDayNanoType>::try_new(values.into(), nulls))?))
}

pub(super) fn write_booleans(array: &BooleanArray, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    // What lies under a NULL is false.
    let values = match array.nulls() {
        Some(nulls) => array.values() & nulls.inner(),
        None => array.values().clone(),
    };
    let bits = values.sliced();
    packed::write(&bits[..array.len().div_ceil(8)], out)
}

pub(super) fn read_booleans(
    cursor: &mut Cursor<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError> {
    let bits = packed::read_exactly(cursor, rows.div_ceil(8))?;
    let values = BooleanBuffer::new(Buffer::from_vec(bits), 0, rows);
    Ok(Arc::new(BooleanArray::new(values, nulls)))
}

pub(super) fn write_uuids(array: &FixedSizeBinaryArray, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    let mut bytes = Vec::with_capacity(array.len() * UUID_BYTES);
    for value in array.iter() {
        bytes.extend_from_slice(value.unwrap_or(&[0; UUID_BYTES]));
    }
    packed::write(&bytes, out)
}

pub(super) fn read_uuids(
    cursor: &mut Cursor<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError> {
    let bytes = packed::read_exactly(cursor, rows * UUID_BYTES)?;
    let array = FixedSizeBinaryArray::try_new(UUID_BYTES as i32, Buffer::from_vec(bytes), nulls);
    Ok(Arc::new(built(array)?))
}

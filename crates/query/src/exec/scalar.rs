//! Our values as DataFusion's scalars.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use datafusion::scalar::ScalarValue;
use perigee_types::numeric::{self, Numeric};
use perigee_types::{SqlError, SqlState, SqlType, Value};

use super::error::from_sql;

/// `value` as a scalar of exactly the Arrow type `ty`.
///
/// # Errors
/// Where the value is of another kind than the type, or beyond it.
pub(super) fn scalar(value: &Value, ty: &DataType) -> Result<ScalarValue> {
    let natural = match value {
        Value::Null => return ScalarValue::try_from(ty),
        Value::Bool(v) => ScalarValue::Boolean(Some(*v)),
        Value::Int2(v) => ScalarValue::Int16(Some(*v)),
        Value::Int4(v) => ScalarValue::Int32(Some(*v)),
        Value::Int8(v) => ScalarValue::Int64(Some(*v)),
        Value::Oid(v) => ScalarValue::UInt32(Some(*v)),
        Value::Float4(v) => ScalarValue::Float32(Some(*v)),
        Value::Float8(v) => ScalarValue::Float64(Some(*v)),
        Value::Numeric(v, scale) => match ty {
            DataType::Decimal128(precision, wanted) => {
                return Ok(ScalarValue::Decimal128(Some(rescale(*v, *scale, *wanted)?), *precision, *wanted));
            }
            DataType::LargeBinary => wide(value),
            _ => return ScalarValue::Decimal128(Some(*v), 38, *scale).cast_to(ty),
        },
        Value::Wide(_) => match wide(value) {
            wide if *ty == DataType::LargeBinary => wide,
            _ => return Err(from_sql(numeric::overflow())),
        },
        Value::Text(v) => ScalarValue::Utf8View(Some(v.clone())),
        Value::Bytea(v) => ScalarValue::BinaryView(Some(v.clone())),
        Value::Date(v) => ScalarValue::Date32(Some(*v)),
        Value::Time(v) => ScalarValue::Time64Microsecond(Some(*v)),
        Value::Timestamp(v) => ScalarValue::TimestampMicrosecond(Some(*v), None),
        Value::Timestamptz(v) => {
            let zone = match ty {
                DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => Arc::clone(zone),
                _ => perigee_types::sql_type::UTC.into(),
            };
            ScalarValue::TimestampMicrosecond(Some(*v), Some(zone))
        }
        Value::Interval(v) => {
            let nanos = v
                .micros
                .checked_mul(1_000)
                .ok_or_else(|| from_sql(SqlError::new(SqlState::IntervalFieldOverflow, "interval out of range")))?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(v.months, v.days, nanos)))
        }
        Value::Enum(v) => match ty {
            DataType::Timestamp(TimeUnit::Second, zone) => ScalarValue::TimestampSecond(Some(*v), zone.clone()),
            other => return Err(DataFusionError::Internal(format!("an enum value for type {other}"))),
        },
        Value::Uuid(v) => ScalarValue::FixedSizeBinary(16, Some(v.to_vec())),
        Value::Array(values) => return array(values, ty),
    };
    if natural.data_type() == *ty {
        return Ok(natural);
    }
    if *ty == DataType::LargeBinary && value.as_i64().is_some() {
        return Ok(wide(value));
    }
    natural.cast_to(ty)
}

/// `value` as a scalar of the type that it has by itself, for parameters that nothing gave a type.
pub(super) fn natural(value: &Value) -> Result<ScalarValue> {
    let ty = match value {
        Value::Null | Value::Text(_) => SqlType::Text,
        Value::Bool(_) => SqlType::Bool,
        Value::Int2(_) => SqlType::Int2,
        Value::Int4(_) => SqlType::Int4,
        Value::Int8(_) => SqlType::Int8,
        Value::Oid(_) => SqlType::Oid,
        Value::Float4(_) => SqlType::Float4,
        Value::Float8(_) => SqlType::Float8,
        Value::Numeric(..) | Value::Wide(_) => SqlType::Numeric(None),
        Value::Bytea(_) => SqlType::Bytea,
        Value::Date(_) => SqlType::Date,
        Value::Time(_) => SqlType::Time(None),
        Value::Timestamp(_) => SqlType::Timestamp(None),
        Value::Timestamptz(_) => SqlType::Timestamptz(None),
        Value::Interval(_) => SqlType::Interval,
        Value::Uuid(_) => SqlType::Uuid,
        Value::Enum(_) | Value::Array(_) => {
            return Err(from_sql(SqlError::new(
                SqlState::IndeterminateDatatype,
                "could not determine data type of an array or enum parameter",
            )));
        }
    };
    scalar(value, &ty.arrow())
}

/// A number in the form of wide numerics.
fn wide(value: &Value) -> ScalarValue {
    let mut form = Vec::new();
    numeric::encode(&Numeric::of(value).unwrap_or(Numeric::NaN), &mut form);
    ScalarValue::LargeBinary(Some(form))
}

fn array(values: &[Value], ty: &DataType) -> Result<ScalarValue> {
    if let DataType::Struct(fields) = ty {
        let columns = values
            .iter()
            .zip(fields)
            .map(|(value, field)| scalar(value, field.data_type())?.to_array())
            .collect::<Result<Vec<_>>>()?;
        let record = arrow::array::StructArray::try_new_with_length(fields.clone(), columns, None, 1)?;
        return Ok(ScalarValue::Struct(Arc::new(record)));
    }
    let DataType::List(item) = ty else {
        return Err(DataFusionError::Internal(format!("an array value for type {ty}")));
    };
    let elements = values.iter().map(|v| scalar(v, item.data_type())).collect::<Result<Vec<_>>>()?;
    let elements: ArrayRef =
        if elements.is_empty() { new_empty_array(item.data_type()) } else { ScalarValue::iter_to_array(elements)? };
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([elements.len()]);
    let list = arrow::array::ListArray::try_new(Arc::clone(item), offsets, elements, None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

/// An unscaled number at another count of decimal places, rounded half away from zero.
pub(super) fn rescale(value: i128, from: i8, to: i8) -> Result<i128> {
    let overflow = || from_sql(SqlError::new(SqlState::NumericValueOutOfRange, "numeric field overflow"));
    if to >= from {
        let factor = 10i128.checked_pow(u32::from((to - from).unsigned_abs())).ok_or_else(overflow)?;
        value.checked_mul(factor).ok_or_else(overflow)
    } else {
        let Some(divisor) = 10i128.checked_pow(u32::from((from - to).unsigned_abs())) else { return Ok(0) };
        let (quotient, rest) = (value / divisor, value % divisor);
        Ok(if rest.unsigned_abs() * 2 >= divisor.unsigned_abs() { quotient + value.signum() } else { quotient })
    }
}

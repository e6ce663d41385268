//! Columns of a COPY … FROM, filled value by value from text or binary.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder,
    LargeBinaryBuilder, ListArray, NullBufferBuilder, StringViewBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, TimestampSecondBuilder, UInt32Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::IntervalMonthDayNano;
use perigee_types::numeric::{self, Numeric};
use perigee_types::sql_type::short_numeric;
use perigee_types::text::{
    self, OutputSettings, array, binary, check_text, datetime_in, interval, json, jsonpath, number,
};
use perigee_types::timetz::TimeTz;
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value, vector};

/// Builds one column.
pub struct Column {
    ty: SqlType,
    settings: OutputSettings,
    builder: Builder,
}

enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Oid(UInt32Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    /// With the modifier, the scale and the least number that is too large.
    Numeric(Decimal128Builder, Option<(u16, i16)>, i8, i128),
    Wide(LargeBinaryBuilder, Option<(u16, i16)>),
    Text(StringViewBuilder),
    Bytea(BinaryViewBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Enum(TimestampSecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
    List {
        lengths: Vec<usize>,
        nulls: NullBufferBuilder,
        values: Box<Column>,
    },
}

impl Column {
    /// A column of type `ty` with room for some rows.
    #[must_use]
    pub fn new(ty: &SqlType, settings: OutputSettings, rows: usize) -> Self {
        let builder = match ty {
            SqlType::Bool => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            SqlType::Int2 => Builder::Int2(Int16Builder::with_capacity(rows)),
            SqlType::Int4 => Builder::Int4(Int32Builder::with_capacity(rows)),
            SqlType::Int8 => Builder::Int8(Int64Builder::with_capacity(rows)),
            SqlType::Oid | SqlType::Xid | SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole => {
                Builder::Oid(UInt32Builder::with_capacity(rows))
            }
            SqlType::Float4 => Builder::Float4(Float32Builder::with_capacity(rows)),
            SqlType::Float8 => Builder::Float8(Float64Builder::with_capacity(rows)),
            SqlType::Numeric(modifier) => match short_numeric(*modifier) {
                Some((precision, scale)) => {
                    let builder = Decimal128Builder::with_capacity(rows).with_data_type(ty.arrow());
                    Builder::Numeric(builder, *modifier, scale, 10i128.pow(u32::from(precision)))
                }
                None => Builder::Wide(LargeBinaryBuilder::with_capacity(rows, rows * 12), *modifier),
            },
            SqlType::Bytea
            | SqlType::Timetz(_)
            | SqlType::Vector(_)
            | SqlType::Address(_)
            | SqlType::Coded(_)
            | SqlType::Composite(_)
            | SqlType::Range(_)
            | SqlType::Multirange(_) => {
                Builder::Bytea(BinaryViewBuilder::with_capacity(rows))
            }
            SqlType::Date => Builder::Date(Date32Builder::with_capacity(rows)),
            SqlType::Time(_) => Builder::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            SqlType::Timestamp(_) | SqlType::Timestamptz(_) => {
                Builder::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(ty.arrow()))
            }
            SqlType::Interval | SqlType::IntervalOf(_) => Builder::Interval(IntervalMonthDayNanoBuilder::with_capacity(rows)),
            SqlType::Enum(_) => Builder::Enum(TimestampSecondBuilder::with_capacity(rows).with_data_type(ty.arrow())),
            SqlType::Uuid => Builder::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            SqlType::Array(of) => Builder::List {
                lengths: Vec::new(),
                nulls: NullBufferBuilder::new(rows),
                values: Box::new(Column::new(of, settings, rows)),
            },
            SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Char(_)
            | SqlType::Name
            | SqlType::InternalChar
            | SqlType::Json
            | SqlType::Jsonb
            | SqlType::JsonPath
            | SqlType::Citext
            | SqlType::Unknown
            // No table has a column that is a record.
            | SqlType::Record(_)
            | SqlType::Void => Builder::Text(StringViewBuilder::with_capacity(rows)),
        };
        Self { ty: ty.clone(), settings, builder }
    }

    /// Appends a value from its text.
    ///
    /// # Errors
    /// As [`text::parse`].
    pub fn push_text(&mut self, text: &str) -> SqlResult<()> {
        let settings = &self.settings;
        match &mut self.builder {
            Builder::Bool(b) => b.append_value(number::parse_bool(text)?),
            Builder::Int2(b) => b.append_value(match short_integer(text.as_bytes()).map(i16::try_from) {
                Some(Ok(v)) => v,
                _ => number::parse_int2(text)?,
            }),
            Builder::Int4(b) => b.append_value(match short_integer(text.as_bytes()).map(i32::try_from) {
                Some(Ok(v)) => v,
                _ => number::parse_int4(text)?,
            }),
            Builder::Int8(b) => b.append_value(match short_integer(text.as_bytes()) {
                Some(v) => v,
                None => number::parse_int8(text)?,
            }),
            Builder::Oid(b) => match text::parse(text, &self.ty)? {
                Value::Oid(v) => b.append_value(v),
                _ => return Err(mismatch(&self.ty)),
            },
            Builder::Float4(b) => b.append_value(number::parse_float4(text)?),
            Builder::Float8(b) => b.append_value(number::parse_float8(text)?),
            Builder::Numeric(b, modifier, scale, bound) => {
                b.append_value(match short_decimal(text.as_bytes(), *scale).filter(|v| v.abs() < *bound) {
                    Some(v) => v,
                    None => match number::parse_numeric(text, *modifier)? {
                        Value::Numeric(v, _) => v,
                        _ => return Err(mismatch(&self.ty)),
                    },
                });
            }
            Builder::Wide(b, modifier) => append_wide(b, &number::parse_numeric(text, *modifier)?),
            Builder::Text(b) => match &self.ty {
                SqlType::Text => b.append_value(check_text(text, &SqlType::Text)?),
                SqlType::Json => {
                    json::validate(text)?;
                    b.append_value(text);
                }
                SqlType::Jsonb => b.append_value(json::normalize(text)?),
                SqlType::JsonPath => b.append_value(jsonpath::normalize(text)?),
                ty => b.append_value(check_text(text, ty)?),
            },
            Builder::Bytea(b) => match &self.ty {
                SqlType::Vector(wanted) => b.append_value(vector::parse(text, *wanted)?),
                SqlType::Timetz(_) => b.append_value(TimeTz::parse(text, settings)?.rounded(&self.ty).encode()),
                SqlType::Address(of) => b.append_value(of.parse(text)?),
                SqlType::Coded(of) => b.append_value(of.parse(text)?),
                SqlType::Composite(of) => b.append_value(of.parse(text, settings)?),
                SqlType::Range(of) => b.append_value(of.parse(text, settings)?),
                SqlType::Multirange(of) => b.append_value(of.parse_multirange(text, settings)?),
                _ => b.append_value(binary::parse_bytea(text)?),
            },
            Builder::Date(b) => b.append_value(datetime_in::parse_date(text, settings)?),
            Builder::Time(b) => b.append_value(self.ty.rounded_micros(datetime_in::parse_time(text, settings)?)),
            Builder::Timestamp(b) => b.append_value(self.ty.rounded_micros(match self.ty {
                SqlType::Timestamptz(_) => datetime_in::parse_timestamptz(text, settings)?,
                _ => datetime_in::parse_timestamp(text, settings)?,
            })),
            Builder::Interval(b) => append_interval(
                b,
                match self.ty {
                    SqlType::IntervalOf(of) => of.parse(text)?,
                    _ => interval::parse_interval(text)?,
                },
            )?,
            Builder::Uuid(b) => b.append_value(binary::parse_uuid(text)?).map_err(SqlError::internal)?,
            Builder::Enum(b) => {
                let SqlType::Enum(of) = &self.ty else { return Err(mismatch(&self.ty)) };
                b.append_value(of.parse(text)?);
            }
            Builder::List { .. } => {
                let SqlType::Array(of) = &self.ty else { return Err(mismatch(&self.ty)) };
                let values = array::parse_array(text, of, settings)?;
                self.push(Value::Array(values))?;
            }
        }
        Ok(())
    }

    /// Appends a value.
    ///
    /// # Errors
    /// `XX000` for a value of another type.
    pub fn push(&mut self, value: Value) -> SqlResult<()> {
        match (&mut self.builder, value) {
            (_, Value::Null) => self.push_null(),
            (Builder::Bool(b), Value::Bool(v)) => b.append_value(v),
            (Builder::Int2(b), Value::Int2(v)) => b.append_value(v),
            (Builder::Int4(b), Value::Int4(v)) => b.append_value(v),
            (Builder::Int8(b), Value::Int8(v)) => b.append_value(v),
            (Builder::Oid(b), Value::Oid(v)) => b.append_value(v),
            (Builder::Float4(b), Value::Float4(v)) => b.append_value(v),
            (Builder::Float8(b), Value::Float8(v)) => b.append_value(v),
            (Builder::Numeric(b, ..), Value::Numeric(v, _)) => b.append_value(v),
            (Builder::Wide(b, _), v @ (Value::Numeric(..) | Value::Wide(_))) => append_wide(b, &v),
            (Builder::Text(b), Value::Text(v)) => b.append_value(v),
            (Builder::Bytea(b), Value::Bytea(v)) => b.append_value(v),
            (Builder::Date(b), Value::Date(v)) => b.append_value(v),
            (Builder::Time(b), Value::Time(v)) => b.append_value(v),
            (Builder::Timestamp(b), Value::Timestamp(v) | Value::Timestamptz(v)) => b.append_value(v),
            (Builder::Interval(b), Value::Interval(v)) => append_interval(b, v)?,
            (Builder::Enum(b), Value::Enum(v)) => b.append_value(v),
            (Builder::Uuid(b), Value::Uuid(v)) => b.append_value(v).map_err(SqlError::internal)?,
            (Builder::List { lengths, nulls, values }, Value::Array(elements)) => {
                lengths.push(elements.len());
                nulls.append_non_null();
                for element in elements {
                    values.push(element)?;
                }
            }
            _ => return Err(mismatch(&self.ty)),
        }
        Ok(())
    }

    /// Appends NULL.
    pub fn push_null(&mut self) {
        match &mut self.builder {
            Builder::Bool(b) => b.append_null(),
            Builder::Int2(b) => b.append_null(),
            Builder::Int4(b) => b.append_null(),
            Builder::Int8(b) => b.append_null(),
            Builder::Oid(b) => b.append_null(),
            Builder::Float4(b) => b.append_null(),
            Builder::Float8(b) => b.append_null(),
            Builder::Numeric(b, ..) => b.append_null(),
            Builder::Wide(b, _) => b.append_null(),
            Builder::Text(b) => b.append_null(),
            Builder::Bytea(b) => b.append_null(),
            Builder::Date(b) => b.append_null(),
            Builder::Time(b) => b.append_null(),
            Builder::Timestamp(b) => b.append_null(),
            Builder::Interval(b) => b.append_null(),
            Builder::Enum(b) => b.append_null(),
            Builder::Uuid(b) => b.append_null(),
            Builder::List { lengths, nulls, .. } => {
                lengths.push(0);
                nulls.append_null();
            }
        }
    }

    /// Takes the column; the next value begins a new one.
    ///
    /// # Errors
    /// `XX000` when an array's parts do not fit together, which would be a mistake here.
    pub fn finish(&mut self) -> SqlResult<ArrayRef> {
        Ok(match &mut self.builder {
            Builder::Bool(b) => Arc::new(b.finish()),
            Builder::Int2(b) => Arc::new(b.finish()),
            Builder::Int4(b) => Arc::new(b.finish()),
            Builder::Int8(b) => Arc::new(b.finish()),
            Builder::Oid(b) => Arc::new(b.finish()),
            Builder::Float4(b) => Arc::new(b.finish()),
            Builder::Float8(b) => Arc::new(b.finish()),
            Builder::Numeric(b, ..) => Arc::new(b.finish()),
            Builder::Wide(b, _) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Bytea(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::Interval(b) => Arc::new(b.finish()),
            Builder::Enum(b) => Arc::new(b.finish()),
            Builder::Uuid(b) => Arc::new(b.finish()),
            Builder::List { lengths, nulls, values } => {
                let offsets = OffsetBuffer::from_lengths(lengths.drain(..));
                let field = Arc::new(values.ty.item());
                let list = ListArray::try_new(field, offsets, values.finish()?, nulls.finish());
                Arc::new(list.map_err(SqlError::internal)?)
            }
        })
    }
}

fn append_wide(builder: &mut LargeBinaryBuilder, value: &Value) {
    let mut form = Vec::with_capacity(24);
    numeric::encode(&Numeric::of(value).unwrap_or(Numeric::NaN), &mut form);
    builder.append_value(&form);
}

fn append_interval(builder: &mut IntervalMonthDayNanoBuilder, value: Interval) -> SqlResult<()> {
    let nanos = value
        .micros
        .checked_mul(1000)
        .ok_or_else(|| SqlError::new(SqlState::IntervalFieldOverflow, "interval field value out of range"))?;
    builder.append_value(IntervalMonthDayNano::new(value.months, value.days, nanos));
    Ok(())
}

fn mismatch(ty: &SqlType) -> SqlError {
    SqlError::internal(format!("a value is not of its column's type {ty}"))
}

/// Digits with a minus at most, too few to overflow: what nearly every integer looks like.
fn short_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut number = 0i64;
    for b in digits {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if negative { -number } else { number })
}

/// Digits with a point and no more decimal places than `scale`: what nearly every numeric looks like.
fn short_decimal(bytes: &[u8], scale: i8) -> Option<i128> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.len() > 18 {
        return None;
    }
    let (mut number, mut count, mut places) = (0i64, 0, None::<u32>);
    for b in digits {
        let digit = b.wrapping_sub(b'0');
        if digit <= 9 {
            number = number * 10 + i64::from(digit);
            count += 1;
            places = places.map(|p| p + 1);
        } else if *b == b'.' && places.is_none() {
            places = Some(0);
        } else {
            return None;
        }
    }
    let missing = u32::try_from(scale).ok()?.checked_sub(places.unwrap_or(0))?;
    if count == 0 {
        return None;
    }
    let number = i128::from(number).checked_mul(10i128.checked_pow(missing)?)?;
    Some(if negative { -number } else { number })
}

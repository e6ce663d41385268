//! A column that grows by single values and can be read while it grows.

use std::sync::Arc;

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    TimestampSecondType, UInt32Type,
};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanBuilder, FixedSizeBinaryArray, LargeBinaryBuilder, ListArray,
    NullBufferBuilder, PrimitiveBuilder, StringViewBuilder, StructArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields, TimeUnit};
use perigee_types::numeric::{self, Numeric};
use perigee_types::{Interval, SqlType, Value};

use super::read::{item_type, value_at};
use super::{ValueError, kind};

/// Bytes of one block of strings: what [`ColumnBuilder::finish_cloned`] copies at most, and what an almost empty column
/// takes.
const STRING_BLOCK_BYTES: u32 = 16 << 10;

/// A column that grows by single values and can be read while it grows. One enum, no virtual call per value.
pub struct ColumnBuilder {
    ty: SqlType,
    body: Body,
}

enum Body {
    Bool(BooleanBuilder),
    Int2(PrimitiveBuilder<Int16Type>),
    Int4(PrimitiveBuilder<Int32Type>),
    Int8(PrimitiveBuilder<Int64Type>),
    Oid(PrimitiveBuilder<UInt32Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Numeric {
        values: PrimitiveBuilder<Decimal128Type>,
        precision: u8,
        scale: i8,
    },
    /// numeric of any count of digits, each in [`numeric`]'s form.
    Wide(LargeBinaryBuilder),
    Text(StringViewBuilder),
    Bytea(BinaryViewBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Timestamptz(PrimitiveBuilder<TimestampMicrosecondType>),
    Interval(PrimitiveBuilder<IntervalMonthDayNanoType>),
    Enum(PrimitiveBuilder<TimestampSecondType>),
    Uuid {
        bytes: Vec<u8>,
        nulls: NullBufferBuilder,
    },
    Array {
        ends: Vec<i32>,
        items: Box<ColumnBuilder>,
        nulls: NullBufferBuilder,
    },
    Record {
        columns: Vec<ColumnBuilder>,
        nulls: NullBufferBuilder,
    },
}

/// Does the same with every variant that is a builder of primitive values.
macro_rules! each {
    ($body:expr, $b:ident => $primitive:expr, bool $bool:expr, text $text:expr, bytea $bytea:expr,
     wide $wide:expr, uuid($bytes:ident, $nulls:ident) $uuid:expr, array($ends:ident, $items:ident, $marks:ident) $array:expr,
     record($columns:ident, $present:ident) $record:expr $(,)?) => {
        match $body {
            Body::Bool($b) => $bool,
            Body::Int2($b) => $primitive,
            Body::Int4($b) => $primitive,
            Body::Int8($b) => $primitive,
            Body::Oid($b) => $primitive,
            Body::Float4($b) => $primitive,
            Body::Float8($b) => $primitive,
            Body::Numeric { values: $b, .. } => $primitive,
            Body::Wide($b) => $wide,
            Body::Text($b) => $text,
            Body::Bytea($b) => $bytea,
            Body::Date($b) => $primitive,
            Body::Time($b) => $primitive,
            Body::Timestamp($b) | Body::Timestamptz($b) => $primitive,
            Body::Interval($b) => $primitive,
            Body::Enum($b) => $primitive,
            Body::Uuid { bytes: $bytes, nulls: $nulls } => $uuid,
            Body::Array { ends: $ends, items: $items, nulls: $marks } => $array,
            Body::Record { columns: $columns, nulls: $present } => $record,
        }
    };
}

impl ColumnBuilder {
    /// An empty column with room for `capacity` rows.
    #[must_use]
    pub fn new(ty: &SqlType, capacity: usize) -> Self {
        Self { body: Body::new(ty, capacity), ty: ty.clone() }
    }

    /// The column's type.
    #[must_use]
    pub fn sql_type(&self) -> &SqlType {
        &self.ty
    }

    /// Appends a value; integers of another width and numerics of another scale where they fit exactly.
    ///
    /// # Errors
    /// [`ValueError::Type`], [`ValueError::OutOfRange`]; nothing is appended then.
    pub fn push(&mut self, value: &Value) -> Result<(), ValueError> {
        if value.is_null() {
            self.push_null();
            return Ok(());
        }
        let Self { ty, body } = self;
        let wrong = || ValueError::Type { column: ty.clone(), found: kind(value) };
        let range = || ValueError::OutOfRange(ty.clone());
        match (body, value) {
            (Body::Bool(b), Value::Bool(v)) => b.append_value(*v),
            (Body::Int2(b), v) => b.append_value(fit(v.as_i64().ok_or_else(wrong)?).ok_or_else(range)?),
            (Body::Int4(b), v) => b.append_value(fit(v.as_i64().ok_or_else(wrong)?).ok_or_else(range)?),
            (Body::Int8(b), v) => b.append_value(v.as_i64().ok_or_else(wrong)?),
            (Body::Oid(b), v) => b.append_value(fit(v.as_i64().ok_or_else(wrong)?).ok_or_else(range)?),
            (Body::Float4(b), Value::Float4(v)) => b.append_value(*v),
            (Body::Float8(b), Value::Float8(v)) => b.append_value(*v),
            (Body::Float8(b), Value::Float4(v)) => b.append_value(f64::from(*v)),
            (Body::Numeric { values, precision, scale }, v) => {
                let (unscaled, from) = match v {
                    Value::Numeric(v, from) => (*v, *from),
                    v => (i128::from(v.as_i64().ok_or_else(wrong)?), 0),
                };
                let unscaled = rescale(unscaled, from, *scale).filter(|v| has_precision(*v, *precision));
                values.append_value(unscaled.ok_or_else(range)?);
            }
            (Body::Wide(b), v) => {
                let mut form = Vec::with_capacity(24);
                match v {
                    Value::Numeric(v, scale) if *scale >= 0 => {
                        numeric::encode_finite(*v, u32::from(scale.unsigned_abs()), &mut form);
                    }
                    v => numeric::encode(&Numeric::of(v).ok_or_else(wrong)?, &mut form),
                }
                b.append_value(&form);
            }
            (Body::Text(b), Value::Text(v)) => b.try_append_value(v)?,
            (Body::Bytea(b), Value::Bytea(v)) => b.try_append_value(v)?,
            (Body::Date(b), Value::Date(v)) => b.append_value(*v),
            (Body::Time(b), Value::Time(v)) => b.append_value(*v),
            (Body::Timestamp(b), Value::Timestamp(v)) | (Body::Timestamptz(b), Value::Timestamptz(v)) => {
                b.append_value(*v);
            }
            (Body::Interval(b), Value::Interval(v)) => b.append_value(nanos(*v).ok_or_else(range)?),
            (Body::Enum(b), Value::Enum(v)) => b.append_value(*v),
            (Body::Uuid { bytes, nulls }, Value::Uuid(v)) => {
                bytes.extend_from_slice(v);
                nulls.append_non_null();
            }
            (Body::Array { ends, items, nulls }, Value::Array(values)) => {
                let end = i32::try_from(items.len() + values.len()).map_err(|_| range())?;
                check_items(items, values)?;
                for value in values {
                    items.push(value)?;
                }
                ends.push(end);
                nulls.append_non_null();
            }
            (Body::Record { columns, nulls }, Value::Array(values)) if columns.len() == values.len() => {
                for (column, value) in columns.iter().zip(values) {
                    ColumnBuilder::new(&column.ty, 1).push(value)?;
                }
                for (column, value) in columns.iter_mut().zip(values) {
                    column.push(value)?;
                }
                nulls.append_non_null();
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Appends NULL.
    pub fn push_null(&mut self) {
        each!(&mut self.body, b => b.append_null(),
            bool b.append_null(),
            text b.append_null(),
            bytea b.append_null(),
            wide b.append_null(),
            uuid(bytes, nulls) {
                bytes.extend_from_slice(&[0; 16]);
                nulls.append_null();
            },
            array(ends, items, nulls) {
                ends.push(ends.last().copied().unwrap_or(items.len() as i32));
                nulls.append_null();
            },
            record(columns, nulls) {
                columns.iter_mut().for_each(ColumnBuilder::push_null);
                nulls.append_null();
            },
        );
    }

    /// Appends all rows of an array of the column's form. Strings are copied, so nothing of `array` is kept alive.
    ///
    /// # Errors
    /// [`ValueError::Array`] for another form; nothing is appended then.
    pub fn append_array(&mut self, array: &dyn Array) -> Result<(), ValueError> {
        let wrong = || ValueError::Array { column: self.ty.clone(), found: array.data_type().to_string() };
        if !same_form(array.data_type(), &self.ty.arrow()) {
            return Err(wrong());
        }
        match &mut self.body {
            Body::Bool(b) => b.append_array(array.as_boolean()),
            Body::Int2(b) => b.append_array(array.as_primitive()),
            Body::Int4(b) => b.append_array(array.as_primitive()),
            Body::Int8(b) => b.append_array(array.as_primitive()),
            Body::Oid(b) => b.append_array(array.as_primitive()),
            Body::Float4(b) => b.append_array(array.as_primitive()),
            Body::Float8(b) => b.append_array(array.as_primitive()),
            Body::Numeric { values, .. } => values.append_array(array.as_primitive()),
            Body::Date(b) => b.append_array(array.as_primitive()),
            Body::Time(b) => b.append_array(array.as_primitive()),
            Body::Timestamp(b) | Body::Timestamptz(b) => b.append_array(array.as_primitive()),
            Body::Interval(b) => b.append_array(array.as_primitive()),
            Body::Enum(b) => b.append_array(array.as_primitive()),
            Body::Wide(b) => b.append_array(array.as_binary())?,
            Body::Text(b) => array.as_string_view().iter().try_for_each(|v| append_text(b, v))?,
            Body::Bytea(b) => array.as_binary_view().iter().try_for_each(|v| append_bytea(b, v))?,
            Body::Uuid { .. } | Body::Array { .. } | Body::Record { .. } => {
                for row in 0..array.len() {
                    let value = value_at(array, row, &self.ty);
                    self.push(&value)?;
                }
            }
        }
        Ok(())
    }

    /// Count of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        use arrow::array::ArrayBuilder as _;
        each!(&self.body, b => b.len(), bool b.len(), text b.len(), bytea b.len(), wide b.len(),
            uuid(bytes, _nulls) bytes.len() / 16,
            array(ends, _items, _nulls) ends.len(),
            record(_columns, nulls) nulls.len(),
        )
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a row is NULL.
    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        let validity = each!(&self.body, b => b.validity_slice(),
            bool b.validity_slice(), text b.validity_slice(), bytea b.validity_slice(), wide b.validity_slice(),
            uuid(_bytes, nulls) nulls.as_slice(),
            array(_ends, _items, nulls) nulls.as_slice(),
            record(_columns, nulls) nulls.as_slice(),
        );
        validity.is_some_and(|bits| bits[row / 8] & (1 << (row % 8)) == 0)
    }

    /// The value of a row.
    ///
    /// # Panics
    /// Where `row` is not below [`Self::len`].
    #[must_use]
    pub fn value(&self, row: usize) -> Value {
        if self.is_null(row) {
            return Value::Null;
        }
        match &self.body {
            Body::Bool(b) => Value::Bool(b.values_slice()[row / 8] & (1 << (row % 8)) != 0),
            Body::Int2(b) => Value::Int2(b.values_slice()[row]),
            Body::Int4(b) => Value::Int4(b.values_slice()[row]),
            Body::Int8(b) => Value::Int8(b.values_slice()[row]),
            Body::Oid(b) => Value::Oid(b.values_slice()[row]),
            Body::Float4(b) => Value::Float4(b.values_slice()[row]),
            Body::Float8(b) => Value::Float8(b.values_slice()[row]),
            Body::Numeric { values, scale, .. } => Value::Numeric(values.values_slice()[row], *scale),
            Body::Wide(b) => {
                let range = b.offsets_slice()[row] as usize..b.offsets_slice()[row + 1] as usize;
                numeric::decode(&b.values_slice()[range]).map_or(Value::Null, Numeric::into_value)
            }
            Body::Text(b) => Value::Text(String::from_utf8_lossy(b.get_value(row)).into_owned()),
            Body::Bytea(b) => Value::Bytea(b.get_value(row).to_vec()),
            Body::Date(b) => Value::Date(b.values_slice()[row]),
            Body::Time(b) => Value::Time(b.values_slice()[row]),
            Body::Timestamp(b) => Value::Timestamp(b.values_slice()[row]),
            Body::Timestamptz(b) => Value::Timestamptz(b.values_slice()[row]),
            Body::Enum(b) => Value::Enum(b.values_slice()[row]),
            Body::Interval(b) => {
                let v = b.values_slice()[row];
                Value::Interval(Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1_000 })
            }
            Body::Uuid { bytes, .. } => {
                let mut uuid = [0; 16];
                uuid.copy_from_slice(&bytes[row * 16..row * 16 + 16]);
                Value::Uuid(uuid)
            }
            Body::Array { ends, items, .. } => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                Value::Array((start..ends[row]).map(|item| items.value(item as usize)).collect())
            }
            Body::Record { columns, .. } => Value::Array(columns.iter().map(|column| column.value(row)).collect()),
        }
    }

    /// Bytes allocated.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        fn primitive<T: ArrowPrimitiveType>(b: &PrimitiveBuilder<T>) -> usize {
            b.capacity() * size_of::<T::Native>() + b.validity_slice().map_or(0, <[u8]>::len)
        }
        each!(&self.body, b => primitive(b),
            bool b.capacity() / 8 + b.validity_slice().map_or(0, <[u8]>::len),
            text b.allocated_size(),
            bytea b.allocated_size(),
            wide b.values_slice().len() + b.offsets_slice().len() * 8 + b.validity_slice().map_or(0, <[u8]>::len),
            uuid(bytes, nulls) bytes.capacity() + nulls.allocated_size(),
            array(ends, items, nulls) ends.capacity() * 4 + items.size_bytes() + nulls.allocated_size(),
            record(columns, nulls) {
                columns.iter().map(ColumnBuilder::size_bytes).sum::<usize>() + nulls.allocated_size()
            },
        )
    }

    /// The rows so far as an array; the builder goes on. Full blocks of strings are shared, the rest is copied.
    #[must_use]
    pub fn finish_cloned(&self) -> ArrayRef {
        each!(&self.body, b => Arc::new(b.finish_cloned()) as ArrayRef,
            bool Arc::new(b.finish_cloned()),
            text Arc::new(b.finish_cloned()),
            bytea Arc::new(b.finish_cloned()),
            wide Arc::new(b.finish_cloned()),
            uuid(bytes, nulls) uuids(Buffer::from_slice_ref(bytes), nulls.finish_cloned()),
            array(ends, items, nulls) lists(&self.ty, ends, items.finish_cloned(), nulls.finish_cloned()),
            record(columns, nulls) {
                let (rows, columns) = (nulls.len(), columns.iter().map(ColumnBuilder::finish_cloned).collect());
                records(&self.ty, columns, nulls.finish_cloned(), rows)
            },
        )
    }

    /// The rows as an array; the builder is empty then.
    #[must_use]
    pub fn finish(&mut self) -> ArrayRef {
        let ty = &self.ty;
        each!(&mut self.body, b => Arc::new(b.finish()) as ArrayRef,
            bool Arc::new(b.finish()),
            text Arc::new(b.finish()),
            bytea Arc::new(b.finish()),
            wide Arc::new(b.finish()),
            uuid(bytes, nulls) uuids(Buffer::from_vec(std::mem::take(bytes)), nulls.finish()),
            array(ends, items, nulls) lists(ty, &std::mem::take(ends), items.finish(), nulls.finish()),
            record(columns, nulls) {
                let (rows, columns) = (nulls.len(), columns.iter_mut().map(ColumnBuilder::finish).collect());
                records(ty, columns, nulls.finish(), rows)
            },
        )
    }
}

impl Body {
    fn new(ty: &SqlType, n: usize) -> Self {
        match ty.arrow() {
            DataType::Boolean => Body::Bool(BooleanBuilder::with_capacity(n)),
            DataType::Int16 => Body::Int2(PrimitiveBuilder::with_capacity(n)),
            DataType::Int32 => Body::Int4(PrimitiveBuilder::with_capacity(n)),
            DataType::Int64 => Body::Int8(PrimitiveBuilder::with_capacity(n)),
            DataType::UInt32 => Body::Oid(PrimitiveBuilder::with_capacity(n)),
            DataType::Float32 => Body::Float4(PrimitiveBuilder::with_capacity(n)),
            DataType::Float64 => Body::Float8(PrimitiveBuilder::with_capacity(n)),
            of @ DataType::Decimal128(precision, scale) => {
                Body::Numeric { values: PrimitiveBuilder::with_capacity(n).with_data_type(of), precision, scale }
            }
            DataType::LargeBinary => Body::Wide(LargeBinaryBuilder::with_capacity(n, n * 12)),
            DataType::BinaryView => {
                Body::Bytea(BinaryViewBuilder::with_capacity(n).with_fixed_block_size(STRING_BLOCK_BYTES))
            }
            DataType::Date32 => Body::Date(PrimitiveBuilder::with_capacity(n)),
            DataType::Time64(_) => Body::Time(PrimitiveBuilder::with_capacity(n)),
            of @ DataType::Timestamp(TimeUnit::Second, Some(_)) => {
                Body::Enum(PrimitiveBuilder::with_capacity(n).with_data_type(of))
            }
            of @ DataType::Timestamp(_, Some(_)) => {
                Body::Timestamptz(PrimitiveBuilder::with_capacity(n).with_data_type(of))
            }
            DataType::Timestamp(_, None) => Body::Timestamp(PrimitiveBuilder::with_capacity(n)),
            DataType::Interval(_) => Body::Interval(PrimitiveBuilder::with_capacity(n)),
            DataType::FixedSizeBinary(_) => {
                Body::Uuid { bytes: Vec::with_capacity(n * 16), nulls: NullBufferBuilder::new(n) }
            }
            DataType::List(_) => Body::Array {
                ends: Vec::with_capacity(n),
                items: Box::new(ColumnBuilder::new(item_type(ty), 0)),
                nulls: NullBufferBuilder::new(n),
            },
            DataType::Struct(_) => Body::Record {
                columns: match ty {
                    SqlType::Record(fields) => fields.iter().map(|(_, ty)| ColumnBuilder::new(ty, n)).collect(),
                    _ => Vec::new(),
                },
                nulls: NullBufferBuilder::new(n),
            },
            // Every other type is stored as text.
            _ => Body::Text(StringViewBuilder::with_capacity(n).with_fixed_block_size(STRING_BLOCK_BYTES)),
        }
    }
}

/// What [`ColumnBuilder::push`] says of a value in a column of a type, without the column.
///
/// # Errors
/// [`ValueError::Type`], [`ValueError::OutOfRange`]
pub fn check_value(ty: &SqlType, value: &Value) -> Result<(), ValueError> {
    let fits = match (ty, value) {
        (_, Value::Null)
        | (SqlType::Bool, Value::Bool(_))
        | (SqlType::Int2, Value::Int2(_))
        | (SqlType::Int4, Value::Int4(_) | Value::Int2(_))
        | (SqlType::Int8, Value::Int8(_) | Value::Int4(_) | Value::Int2(_))
        | (SqlType::Float4, Value::Float4(_))
        | (SqlType::Float8, Value::Float8(_) | Value::Float4(_))
        | (SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Json | SqlType::Jsonb, Value::Text(_))
        | (SqlType::Bytea, Value::Bytea(_))
        | (SqlType::Date, Value::Date(_))
        | (SqlType::Time(_), Value::Time(_))
        | (SqlType::Timestamp(_), Value::Timestamp(_))
        | (SqlType::Timestamptz(_), Value::Timestamptz(_))
        | (SqlType::Uuid, Value::Uuid(_))
        | (SqlType::Enum(_), Value::Enum(_)) => true,
        (SqlType::Numeric(_), Value::Numeric(unscaled, from)) => match ty.arrow() {
            DataType::Decimal128(precision, scale) => {
                rescale(*unscaled, *from, scale).is_some_and(|v| has_precision(v, precision))
            }
            _ => true,
        },
        _ => false,
    };
    // What is not common is tried.
    if fits { Ok(()) } else { ColumnBuilder::new(ty, 1).push(value) }
}

/// So that an array whose third item does not fit leaves no items of its first two behind.
fn check_items(items: &ColumnBuilder, values: &[Value]) -> Result<(), ValueError> {
    let mut trial = ColumnBuilder::new(&items.ty, values.len());
    values.iter().try_for_each(|value| trial.push(value))
}

fn append_text(builder: &mut StringViewBuilder, value: Option<&str>) -> Result<(), ValueError> {
    match value {
        Some(value) => builder.try_append_value(value)?,
        None => builder.append_null(),
    }
    Ok(())
}

fn append_bytea(builder: &mut BinaryViewBuilder, value: Option<&[u8]>) -> Result<(), ValueError> {
    match value {
        Some(value) => builder.try_append_value(value)?,
        None => builder.append_null(),
    }
    Ok(())
}

fn uuids(bytes: Buffer, nulls: Option<arrow::buffer::NullBuffer>) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::new(16, bytes, nulls))
}

fn lists(ty: &SqlType, ends: &[i32], items: ArrayRef, nulls: Option<arrow::buffer::NullBuffer>) -> ArrayRef {
    let offsets: Vec<i32> = std::iter::once(0).chain(ends.iter().copied()).collect();
    let field = Arc::new(item_type(ty).item());
    Arc::new(ListArray::new(field, OffsetBuffer::new(ScalarBuffer::from(offsets)), items, nulls))
}

fn records(ty: &SqlType, columns: Vec<ArrayRef>, nulls: Option<arrow::buffer::NullBuffer>, rows: usize) -> ArrayRef {
    let fields = if let DataType::Struct(fields) = ty.arrow() { fields } else { Fields::empty() };
    let made = StructArray::try_new_with_length(fields.clone(), columns, nulls, rows);
    Arc::new(made.unwrap_or_else(|_| StructArray::new_null(fields, rows)))
}

/// Whether two types are the same but for names and metadata of list items.
fn same_form(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => same_form(a.data_type(), b.data_type()),
        _ => a == b,
    }
}

fn fit<T: TryFrom<i64>>(v: i64) -> Option<T> {
    T::try_from(v).ok()
}

/// `v` with another count of decimal places, `None` where that is not exact or does not fit.
fn rescale(v: i128, from: i8, to: i8) -> Option<i128> {
    let steps = i32::from(to) - i32::from(from);
    let factor = 10i128.checked_pow(steps.unsigned_abs());
    match (steps, factor) {
        (0, _) => Some(v),
        (_, _) if v == 0 => Some(0),
        (1.., Some(factor)) => v.checked_mul(factor),
        (..0, Some(factor)) => (v % factor == 0).then(|| v / factor),
        _ => None,
    }
}

fn has_precision(v: i128, precision: u8) -> bool {
    10u128.checked_pow(u32::from(precision)).is_none_or(|limit| v.unsigned_abs() < limit)
}

fn nanos(v: Interval) -> Option<IntervalMonthDayNano> {
    Some(IntervalMonthDayNano::new(v.months, v.days, v.micros.checked_mul(1_000)?))
}

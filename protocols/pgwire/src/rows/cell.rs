//! One Arrow column, its type known, its values written as text or binary.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeBinaryArray, GenericBinaryArray, GenericStringArray, IntervalMonthDayNanoArray, ListArray, PrimitiveArray,
    StringViewArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalUnit, TimeUnit, UInt32Type,
};
use arrow::record_batch::RecordBatch;
use perigee_types::numeric::{self, Numeric};
use perigee_types::text::binary::{format_bytea, format_uuid};
use perigee_types::text::interval::format_interval;
use perigee_types::text::number::{format_float4, format_float8, format_integer, format_numeric};
use perigee_types::text::{OutputSettings, array, datetime_out, pad_char, record};
use perigee_types::{EnumType, Interval, SqlError, SqlResult, SqlState, SqlType, Value, timetz, vector};

use crate::backend::{int32, length_prefixed};
use crate::binary;

/// A column of a batch.
pub(crate) enum Cell {
    /// NULL in every row.
    Null,
    Bool(BooleanArray),
    Int2(PrimitiveArray<Int16Type>),
    Int4(PrimitiveArray<Int32Type>),
    Int8(PrimitiveArray<Int64Type>),
    Oid(PrimitiveArray<UInt32Type>),
    Float4(PrimitiveArray<Float32Type>),
    Float8(PrimitiveArray<Float64Type>),
    Numeric(Decimal128Array, i8),
    Wide(GenericBinaryArray<i64>),
    Text(StringViewArray),
    SmallText(GenericStringArray<i32>),
    LargeText(GenericStringArray<i64>),
    Bytes(BinaryViewArray),
    SmallBytes(GenericBinaryArray<i32>),
    Uuid(FixedSizeBinaryArray),
    FixedBytes(FixedSizeBinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray, bool),
    Interval(IntervalMonthDayNanoArray),
    Enum(TimestampSecondArray, Arc<EnumType>),
    List(ListArray, Box<Cell>),
    Record(StructArray, Vec<Cell>),
}

/// The cells of a batch's columns.
///
/// # Errors
/// `XX000` when the batch does not have these columns.
pub(crate) fn cells<'a>(
    batch: &RecordBatch,
    types: impl ExactSizeIterator<Item = &'a SqlType>,
) -> SqlResult<Vec<Cell>> {
    if batch.num_columns() != types.len() {
        return Err(SqlError::internal(format!(
            "the result has {} columns where {} were described",
            batch.num_columns(),
            types.len()
        )));
    }
    batch.columns().iter().zip(types).map(|(column, ty)| Cell::new(column, ty)).collect()
}

impl Cell {
    /// Looks at the type of a column. Cloning the typed array is a few reference counts, no data.
    ///
    /// # Errors
    /// `XX000` for a column that is not of the type `ty` and cannot be made one.
    pub(crate) fn new(column: &ArrayRef, ty: &SqlType) -> SqlResult<Cell> {
        fn typed<T: ArrowPrimitiveType>(column: &ArrayRef) -> PrimitiveArray<T> {
            column.as_primitive::<T>().clone()
        }
        Ok(match column.data_type() {
            DataType::Null => Cell::Null,
            DataType::Boolean => Cell::Bool(column.as_boolean().clone()),
            DataType::Int16 => Cell::Int2(typed(column)),
            DataType::Int32 => Cell::Int4(typed(column)),
            DataType::Int64 => Cell::Int8(typed(column)),
            DataType::UInt32 => Cell::Oid(typed(column)),
            DataType::Float32 => Cell::Float4(typed(column)),
            DataType::Float64 => Cell::Float8(typed(column)),
            DataType::Decimal128(_, scale) => Cell::Numeric(typed(column), *scale),
            DataType::LargeBinary => Cell::Wide(column.as_binary::<i64>().clone()),
            DataType::Utf8View => Cell::Text(column.as_string_view().clone()),
            DataType::Utf8 => Cell::SmallText(column.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Cell::LargeText(column.as_string::<i64>().clone()),
            DataType::BinaryView => Cell::Bytes(column.as_binary_view().clone()),
            DataType::Binary => Cell::SmallBytes(column.as_binary::<i32>().clone()),
            DataType::FixedSizeBinary(16) if *ty == SqlType::Uuid => Cell::Uuid(column.as_fixed_size_binary().clone()),
            DataType::FixedSizeBinary(_) => Cell::FixedBytes(column.as_fixed_size_binary().clone()),
            DataType::Date32 => Cell::Date(typed(column)),
            DataType::Time64(TimeUnit::Microsecond) => Cell::Time(typed(column)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Cell::Timestamp(typed(column), zone.is_some()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Cell::Interval(typed(column)),
            form @ DataType::Timestamp(TimeUnit::Second, Some(_)) => match SqlType::of_arrow(form) {
                Some(SqlType::Enum(of)) => Cell::Enum(typed(column), of),
                _ => return Cell::cast(column, form, ty),
            },
            DataType::List(_) => {
                let list = column.as_list::<i32>().clone();
                let of = if let SqlType::Array(of) = ty { of } else { &SqlType::Text };
                let values = Box::new(Cell::new(list.values(), of)?);
                Cell::List(list, values)
            }
            DataType::Struct(_) => {
                let record = column.as_struct().clone();
                let cells = record.columns().iter().zip(fields(ty)).map(|(column, (_, ty))| Cell::new(column, ty));
                let cells = cells.collect::<SqlResult<Vec<_>>>()?;
                Cell::Record(record, cells)
            }
            other => return Cell::cast(column, other, ty),
        })
    }

    /// The rarer Arrow types are made the type's own first.
    fn cast(column: &ArrayRef, from: &DataType, ty: &SqlType) -> SqlResult<Cell> {
        let to = match (from, ty) {
            (DataType::Dictionary(_, values), _) => values.as_ref().clone(),
            (DataType::RunEndEncoded(_, values), _) => values.data_type().clone(),
            (DataType::LargeList(item) | DataType::FixedSizeList(item, _), _) => DataType::List(Arc::clone(item)),
            _ => ty.arrow(),
        };
        if to == *from {
            return Err(SqlError::internal(format!("a column of type {from} cannot be written as {ty}")));
        }
        let cast = arrow::compute::cast(column, &to).map_err(|error| {
            SqlError::internal(format!("a column of type {from} cannot be written as {ty}: {error}"))
        })?;
        Cell::new(&cast, ty)
    }

    fn array(&self) -> Option<&dyn Array> {
        Some(match self {
            Cell::Null => return None,
            Cell::Bool(a) => a,
            Cell::Int2(a) => a,
            Cell::Int4(a) => a,
            Cell::Int8(a) => a,
            Cell::Oid(a) => a,
            Cell::Float4(a) => a,
            Cell::Float8(a) => a,
            Cell::Numeric(a, _) => a,
            Cell::Wide(a) => a,
            Cell::Text(a) => a,
            Cell::SmallText(a) => a,
            Cell::LargeText(a) => a,
            Cell::Bytes(a) => a,
            Cell::SmallBytes(a) => a,
            Cell::Uuid(a) | Cell::FixedBytes(a) => a,
            Cell::Date(a) => a,
            Cell::Time(a) => a,
            Cell::Timestamp(a, _) => a,
            Cell::Interval(a) => a,
            Cell::Enum(a, _) => a,
            Cell::List(a, _) => a,
            Cell::Record(a, _) => a,
        })
    }

    /// Whether the row's value is NULL.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array().is_none_or(|array| array.is_null(row))
    }

    /// Appends the text of the row's value, which is not NULL.
    pub(crate) fn text(
        &self,
        out: &mut Vec<u8>,
        row: usize,
        ty: &SqlType,
        settings: &OutputSettings,
        scratch: &mut Vec<u8>,
    ) {
        match self {
            Cell::Null => {}
            Cell::Bool(a) => out.push(if a.value(row) { b't' } else { b'f' }),
            Cell::Int2(a) => format_integer(out, a.value(row)),
            Cell::Int4(a) => format_integer(out, a.value(row)),
            Cell::Int8(a) => format_integer(out, a.value(row)),
            Cell::Oid(a) => match (a.value(row), ty) {
                (
                    0,
                    SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole,
                ) => out.push(b'-'),
                (oid, _) => format_integer(out, oid),
            },
            Cell::Float4(a) => format_float4(out, a.value(row), settings.extra_float_digits),
            Cell::Float8(a) => format_float8(out, a.value(row), settings.extra_float_digits),
            Cell::Numeric(a, scale) => format_numeric(out, a.value(row), *scale),
            Cell::Wide(a) => wide(a, row).write(out),
            Cell::Text(a) => text(out, a.value(row), ty),
            Cell::SmallText(a) => text(out, a.value(row), ty),
            Cell::LargeText(a) => text(out, a.value(row), ty),
            Cell::Bytes(a) if matches!(ty, SqlType::Vector(_)) => {
                vector::format_into(out, a.value(row), settings.extra_float_digits);
            }
            Cell::Bytes(a) => match ty {
                SqlType::Timetz(_) => timetz::format_into(out, a.value(row)),
                SqlType::Address(of) => out.extend_from_slice(of.format(a.value(row)).as_bytes()),
                SqlType::Coded(of) => out.extend_from_slice(of.format(a.value(row), settings).as_bytes()),
                SqlType::Composite(of) => out.extend_from_slice(of.format(a.value(row), settings).as_bytes()),
                SqlType::Range(of) => out.extend_from_slice(of.format(a.value(row), settings).as_bytes()),
                SqlType::Multirange(of) => {
                    out.extend_from_slice(of.format_multirange(a.value(row), settings).as_bytes());
                }
                _ => format_bytea(out, a.value(row), settings.bytea_output),
            },
            Cell::SmallBytes(a) => format_bytea(out, a.value(row), settings.bytea_output),
            Cell::FixedBytes(a) => format_bytea(out, a.value(row), settings.bytea_output),
            Cell::Uuid(a) => {
                if let Ok(uuid) = a.value(row).try_into() {
                    format_uuid(out, uuid);
                }
            }
            Cell::Date(a) => datetime_out::format_date(out, a.value(row), settings),
            Cell::Time(a) => datetime_out::format_time(out, a.value(row)),
            Cell::Timestamp(a, true) => datetime_out::format_timestamptz(out, a.value(row), settings),
            Cell::Timestamp(a, false) => datetime_out::format_timestamp(out, a.value(row), settings),
            Cell::Interval(a) => format_interval(out, interval(a, row), settings.interval_style),
            Cell::Enum(a, of) => out.extend_from_slice(of.label(a.value(row)).unwrap_or_default().as_bytes()),
            Cell::List(a, values) => {
                let of = if let SqlType::Array(of) = ty { of } else { &SqlType::Text };
                list_text(out, range(a, row), values, of, settings, scratch);
            }
            Cell::Record(_, cells) => record_text(out, row, cells, fields(ty), settings, scratch),
        }
    }

    /// Appends the binary form of the row's value, which is not NULL, without its length.
    ///
    /// # Errors
    /// `22003` for a number that the type described to the client cannot hold.
    pub(crate) fn binary(&self, out: &mut Vec<u8>, row: usize, ty: &SqlType) -> SqlResult<()> {
        match self {
            Cell::Null => {}
            Cell::Bool(a) => out.push(u8::from(a.value(row))),
            Cell::Int2(a) => integer(out, i64::from(a.value(row)), ty)?,
            Cell::Int4(a) => integer(out, i64::from(a.value(row)), ty)?,
            Cell::Int8(a) => integer(out, a.value(row), ty)?,
            Cell::Oid(a) => integer(out, i64::from(a.value(row)), ty)?,
            Cell::Float4(a) if *ty == SqlType::Float8 => {
                out.extend_from_slice(&f64::from(a.value(row)).to_be_bytes());
            }
            Cell::Float4(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Cell::Float8(a) if *ty == SqlType::Float4 => {
                out.extend_from_slice(&(a.value(row) as f32).to_be_bytes());
            }
            Cell::Float8(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Cell::Numeric(a, scale) => binary::encode_numeric(out, &short(a.value(row), *scale)),
            Cell::Wide(a) => binary::encode_numeric(out, &wide(a, row)),
            Cell::Text(a) => binary::encode_text(out, a.value(row), ty),
            Cell::SmallText(a) => binary::encode_text(out, a.value(row), ty),
            Cell::LargeText(a) => binary::encode_text(out, a.value(row), ty),
            Cell::Bytes(a) => match ty {
                SqlType::Timetz(_) => out.extend_from_slice(&timetz::to_wire(a.value(row))),
                SqlType::Address(of) => out.extend_from_slice(&of.to_wire(a.value(row))),
                SqlType::Coded(of) => out.extend_from_slice(&of.to_wire(a.value(row))),
                SqlType::Composite(of) => binary::encode_composite(out, a.value(row), of)?,
                SqlType::Range(of) => binary::encode_range(out, &binary::range(a.value(row), of), of),
                SqlType::Multirange(of) => binary::encode_multirange(out, a.value(row), of),
                _ => out.extend_from_slice(a.value(row)),
            },
            Cell::SmallBytes(a) => out.extend_from_slice(a.value(row)),
            Cell::FixedBytes(a) | Cell::Uuid(a) => out.extend_from_slice(a.value(row)),
            Cell::Date(a) => binary::encode_date(out, a.value(row)),
            Cell::Time(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Cell::Timestamp(a, _) => binary::encode_timestamp(out, a.value(row)),
            Cell::Interval(a) => binary::encode_interval(out, interval(a, row)),
            Cell::Enum(a, of) => out.extend_from_slice(of.label(a.value(row)).unwrap_or_default().as_bytes()),
            Cell::List(a, values) => {
                let mut of: &SqlType = if let SqlType::Array(of) = ty { of } else { &SqlType::Text };
                let mut range = range(a, row);
                let mut lengths = vec![range.len()];
                let mut values: &Cell = values;
                // Lists in lists are further dimensions: their values lie side by side.
                while let (Cell::List(inner, below), SqlType::Array(element)) = (values, of) {
                    let count = range.len();
                    range = spanned(inner, range);
                    lengths.push(range.len().checked_div(count).unwrap_or(0));
                    values = &**below;
                    of = &**element;
                }
                if range.is_empty() || lengths.iter().product::<usize>() != range.len() {
                    lengths = vec![range.len()];
                }
                let nulls = range.clone().any(|i| values.is_null(i));
                binary::encode_array_header(out, &lengths, nulls, of);
                for i in range {
                    let mut written = Ok(());
                    if values.is_null(i) {
                        int32(out, -1);
                    } else {
                        length_prefixed(out, 0, |out| written = values.binary(out, i, of));
                    }
                    written?;
                }
            }
            Cell::Record(_, cells) => {
                int32(out, cells.len() as i32);
                for (cell, (_, ty)) in cells.iter().zip(fields(ty)) {
                    int32(out, ty.oid().cast_signed());
                    let mut written = Ok(());
                    if cell.is_null(row) {
                        int32(out, -1);
                    } else {
                        length_prefixed(out, 0, |out| written = cell.binary(out, row, ty));
                    }
                    written?;
                }
            }
        }
        Ok(())
    }
}

/// The names and types of a record.
fn fields(ty: &SqlType) -> &[(String, SqlType)] {
    if let SqlType::Record(fields) = ty { fields } else { &[] }
}

fn record_text(
    out: &mut Vec<u8>,
    row: usize,
    cells: &[Cell],
    fields: &[(String, SqlType)],
    settings: &OutputSettings,
    scratch: &mut Vec<u8>,
) {
    out.push(b'(');
    for (place, (cell, (_, ty))) in cells.iter().zip(fields).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if !cell.is_null(row) {
            let mut text = std::mem::take(scratch);
            text.clear();
            cell.text(&mut text, row, ty, settings, scratch);
            record::write_field(out, &text);
            *scratch = text;
        }
    }
    out.push(b')');
}

fn short(unscaled: i128, scale: i8) -> Numeric {
    Numeric::of(&Value::Numeric(unscaled, scale)).unwrap_or(Numeric::ZERO)
}

/// The row's number. Bytes that are none cannot stand in a column: they were checked where they came from.
fn wide(array: &GenericBinaryArray<i64>, row: usize) -> Numeric {
    numeric::decode(array.value(row)).unwrap_or(Numeric::NaN)
}

fn text(out: &mut Vec<u8>, text: &str, ty: &SqlType) {
    out.extend_from_slice(text.as_bytes());
    if let SqlType::Char(n) = ty {
        pad_char(out, text, *n);
    }
}

fn list_text(
    out: &mut Vec<u8>,
    range: std::ops::Range<usize>,
    values: &Cell,
    of: &SqlType,
    settings: &OutputSettings,
    scratch: &mut Vec<u8>,
) {
    out.push(b'{');
    for (place, i) in range.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if values.is_null(i) {
            out.extend_from_slice(b"NULL");
            continue;
        }
        if let (Cell::List(inner, below), SqlType::Array(element)) = (values, of) {
            list_text(out, self::range(inner, i), below, element, settings, scratch);
            continue;
        }
        let mut element = std::mem::take(scratch);
        element.clear();
        values.text(&mut element, i, of, settings, scratch);
        array::write_element(out, &element);
        *scratch = element;
    }
    out.push(b'}');
}

/// Where the values of neighbouring lists lie.
fn spanned(list: &ListArray, rows: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let offset = |row: usize| list.value_offsets().get(row).map_or(0, |at| *at as usize);
    offset(rows.start)..offset(rows.end)
}

fn range(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

fn interval(array: &IntervalMonthDayNanoArray, row: usize) -> Interval {
    let value = array.value(row);
    Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1000 }
}

/// Appends an integer in the width that the client was told.
fn integer(out: &mut Vec<u8>, value: i64, ty: &SqlType) -> SqlResult<()> {
    let out_of_range = |_| SqlError::new(SqlState::NumericValueOutOfRange, format!("{ty} out of range"));
    match ty {
        SqlType::Int2 => out.extend_from_slice(&i16::try_from(value).map_err(out_of_range)?.to_be_bytes()),
        SqlType::Int4 => out.extend_from_slice(&i32::try_from(value).map_err(out_of_range)?.to_be_bytes()),
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => {
            out.extend_from_slice(&u32::try_from(value).map_err(out_of_range)?.to_be_bytes());
        }
        SqlType::Numeric(_) => binary::encode_numeric(out, &Numeric::integer(value)),
        _ => out.extend_from_slice(&value.to_be_bytes()),
    }
    Ok(())
}

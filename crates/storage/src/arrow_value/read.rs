//! One value of an array.

use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType, TimestampSecondType, UInt32Type, UInt64Type,
};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use arrow::util::display::array_value_to_string;
use perigee_types::numeric::{self, Numeric};
use perigee_types::{Interval, SqlType, Value};

/// The value of a row of an array whose column has type `ty`.
///
/// Reads [`SqlType::arrow`]'s form of `ty` at once; another form that means the same (a narrower integer, a dictionary,
/// a timestamp in other units) by a cast of that one value; a form that no SQL type has as its text.
///
/// # Panics
/// Where `row` is not a row of `array`.
#[must_use]
pub fn value_at(array: &dyn Array, row: usize, ty: &SqlType) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int16 => integer(i64::from(array.as_primitive::<Int16Type>().value(row)), ty),
        DataType::Int32 => integer(i64::from(array.as_primitive::<Int32Type>().value(row)), ty),
        DataType::Int64 => integer(array.as_primitive::<Int64Type>().value(row), ty),
        DataType::UInt32 => integer(i64::from(array.as_primitive::<UInt32Type>().value(row)), ty),
        DataType::UInt64 => unsigned(array.as_primitive::<UInt64Type>().value(row), ty),
        DataType::Float32 => match array.as_primitive::<Float32Type>().value(row) {
            v if *ty == SqlType::Float8 => Value::Float8(f64::from(v)),
            v => Value::Float4(v),
        },
        DataType::Float64 => match array.as_primitive::<Float64Type>().value(row) {
            v if *ty == SqlType::Float4 => Value::Float4(v as f32),
            v => Value::Float8(v),
        },
        DataType::Decimal128(_, scale) => Value::Numeric(array.as_primitive::<Decimal128Type>().value(row), *scale),
        DataType::LargeBinary => {
            numeric::decode(array.as_binary::<i64>().value(row)).map_or(Value::Null, Numeric::into_value)
        }
        DataType::Utf8View => Value::Text(array.as_string_view().value(row).to_owned()),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::BinaryView => Value::Bytea(array.as_binary_view().value(row).to_vec()),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            match ty {
                SqlType::Timestamptz(_) => Value::Timestamptz(micros),
                SqlType::Timestamp(_) => Value::Timestamp(micros),
                _ if zone.is_some() => Value::Timestamptz(micros),
                _ => Value::Timestamp(micros),
            }
        }
        DataType::Timestamp(TimeUnit::Second, Some(_)) => {
            Value::Enum(array.as_primitive::<TimestampSecondType>().value(row))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let v = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Value::Interval(Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1_000 })
        }
        DataType::FixedSizeBinary(_) => {
            let bytes = array.as_fixed_size_binary().value(row);
            bytes.try_into().map_or_else(|_| Value::Bytea(bytes.to_vec()), Value::Uuid)
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Value::Array((0..items.len()).map(|item| value_at(&items, item, item_type(ty))).collect())
        }
        DataType::Struct(_) => {
            let (columns, fields) =
                (array.as_struct().columns(), if let SqlType::Record(f) = ty { f } else { &[][..] });
            Value::Array(columns.iter().zip(fields).map(|(column, (_, ty))| value_at(column, row, ty)).collect())
        }
        _ => of_another_form(array, row, ty),
    }
}

/// The type of an array type's items.
pub(super) fn item_type(ty: &SqlType) -> &SqlType {
    match ty {
        SqlType::Array(of) => of,
        other => other,
    }
}

fn integer(v: i64, ty: &SqlType) -> Value {
    let fits = match ty {
        SqlType::Int2 => i16::try_from(v).map(Value::Int2).ok(),
        SqlType::Int4 => i32::try_from(v).map(Value::Int4).ok(),
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => u32::try_from(v).map(Value::Oid).ok(),
        _ => None,
    };
    fits.unwrap_or(Value::Int8(v))
}

fn unsigned(v: u64, ty: &SqlType) -> Value {
    match i64::try_from(v) {
        Ok(v) if !matches!(ty, SqlType::Numeric(_)) => integer(v, ty),
        _ => Value::Numeric(i128::from(v), 0),
    }
}

#[cold]
fn of_another_form(array: &dyn Array, row: usize, ty: &SqlType) -> Value {
    let one = array.slice(row, 1);
    let wanted = ty.arrow();
    if *array.data_type() != wanted
        && let Ok(one) = cast(&one, &wanted)
        && one.is_valid(0)
    {
        return value_at(&one, 0, ty);
    }
    // A dictionary may hold NULL where its key does not; text is what every form has.
    array_value_to_string(&one, 0).map_or(Value::Null, Value::Text)
}

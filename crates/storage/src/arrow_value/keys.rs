//! Index keys of rows that stand in Arrow columns.

use std::borrow::Cow;

use arrow::array::LargeBinaryArray;
use arrow::array::types::{Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Int16Array, Int32Array, Int64Array};
use arrow::array::{StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use perigee_types::{SqlType, Value, key};

use super::value_at;

/// One column of a key. Its form is told apart once, not for each row.
pub struct KeyColumn<'a>(Form<'a>);

enum Form<'a> {
    Constant(Cow<'a, Value>),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
    Numeric(&'a Decimal128Array, i8),
    Wide(&'a LargeBinaryArray),
    Text(&'a StringViewArray),
    Other(&'a ArrayRef, &'a SqlType),
}

impl<'a> KeyColumn<'a> {
    /// A column of type `ty`.
    #[must_use]
    pub fn new(array: &'a ArrayRef, ty: &'a SqlType) -> Self {
        Self(match array.data_type() {
            DataType::Int16 => Form::Int16(array.as_primitive::<Int16Type>()),
            DataType::Int32 => Form::Int32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Form::Int64(array.as_primitive::<Int64Type>()),
            DataType::Date32 => Form::Date(array.as_primitive::<Date32Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Form::Timestamp(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Decimal128(_, scale) => Form::Numeric(array.as_primitive::<Decimal128Type>(), *scale),
            DataType::LargeBinary => Form::Wide(array.as_binary::<i64>()),
            DataType::Utf8View if *ty != SqlType::Citext => Form::Text(array.as_string_view()),
            _ => Form::Other(array, ty),
        })
    }

    /// The same value of type `ty` for all rows.
    #[must_use]
    pub fn constant(value: &'a Value, ty: &SqlType) -> Self {
        Self(Form::Constant(key::comparable(value, ty)))
    }

    /// Appends the key of a row; `false` where it is NULL.
    fn encode(&self, row: usize, out: &mut Vec<u8>) -> bool {
        let array: &dyn Array = match &self.0 {
            Form::Constant(value) => {
                key::encode_value(value, out);
                return !value.is_null();
            }
            Form::Int16(array) => *array,
            Form::Int32(array) => *array,
            Form::Int64(array) => *array,
            Form::Date(array) => *array,
            Form::Timestamp(array) => *array,
            Form::Numeric(array, _) => *array,
            Form::Wide(array) => *array,
            Form::Text(array) => *array,
            Form::Other(array, _) => array,
        };
        if array.is_null(row) {
            key::encode_null(out);
            return false;
        }
        match &self.0 {
            Form::Constant(_) => {}
            Form::Int16(array) => key::encode_i64(i64::from(array.value(row)), out),
            Form::Int32(array) => key::encode_i64(i64::from(array.value(row)), out),
            Form::Int64(array) => key::encode_i64(array.value(row), out),
            Form::Date(array) => key::encode_i64(i64::from(array.value(row)), out),
            Form::Timestamp(array) => key::encode_i64(array.value(row), out),
            Form::Numeric(array, scale) => key::encode_numeric(array.value(row), *scale, out),
            Form::Wide(array) => key::encode_numeric_form(array.value(row), out),
            Form::Text(array) => key::encode_bytes(array.value(row).as_bytes(), out),
            Form::Other(array, ty) => key::encode_as(&value_at(array, row, ty), ty, out),
        }
        true
    }
}

/// Appends the key of a row of `columns`; `false` where a column of it is NULL.
pub fn encode_key(columns: &[KeyColumn<'_>], row: usize, out: &mut Vec<u8>) -> bool {
    let mut whole = true;
    for column in columns {
        whole &= column.encode(row, out);
    }
    whole
}

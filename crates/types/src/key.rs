//! Order-preserving encoding of keys: comparing the bytes compares the values.
//!
//! Each value is one marker byte and its data. NULL sorts behind every value, as PostgreSQL orders by default.
//!
//! | value | bytes behind the marker |
//! | --- | --- |
//! | integers, dates, times, timestamps | 8, big endian, sign bit flipped |
//! | oid, enumerated types | as integers |
//! | floats | 8, big endian, IEEE order made total; NaN last, both zeros alike |
//! | numeric | the key of [`crate::numeric`]'s form |
//! | text, bytea | bytes with `00` as `00 ff`, then `00 00`; of citext those of its lower case |
//! | boolean | 1 |
//! | uuid | 16 |
//! | interval | 16, its length as PostgreSQL compares it |
//! | arrays | elements, then `00` |

use std::borrow::Cow;

use crate::error::{SqlError, SqlResult, SqlState};
use crate::numeric;
use crate::sql_type::SqlType;
use crate::value::Value;

/// The longest key of an index, in bytes; PostgreSQL's own limit is near it.
pub const KEY_BYTES_MAX: usize = 2_700;

const VALUE: u8 = 0x01;
const NULL: u8 = 0x02;

/// Appends the key of `values` to `out`.
pub fn encode<'a>(values: impl IntoIterator<Item = &'a Value>, out: &mut Vec<u8>) {
    for value in values {
        encode_value(value, out);
    }
}

/// The key of `values`, refused where it is too long for an index.
///
/// # Errors
/// `54000` past [`KEY_BYTES_MAX`].
pub fn encode_checked<'a>(values: impl IntoIterator<Item = &'a Value>) -> SqlResult<Vec<u8>> {
    let mut out = Vec::with_capacity(16);
    encode(values, &mut out);
    if out.len() > KEY_BYTES_MAX {
        return Err(SqlError::new(
            SqlState::ProgramLimitExceeded,
            format!("index row size {} exceeds maximum {KEY_BYTES_MAX}", out.len()),
        ));
    }
    Ok(out)
}

/// Appends the key of one value.
pub fn encode_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => encode_null(out),
        Value::Bool(v) => out.extend_from_slice(&[VALUE, u8::from(*v)]),
        Value::Int2(v) => encode_i64(i64::from(*v), out),
        Value::Int4(v) | Value::Date(v) => encode_i64(i64::from(*v), out),
        Value::Int8(v) | Value::Time(v) | Value::Timestamp(v) | Value::Timestamptz(v) => encode_i64(*v, out),
        Value::Enum(v) => encode_i64(*v, out),
        Value::Oid(v) => encode_i64(i64::from(*v), out),
        Value::Float4(v) => float(f64::from(*v), out),
        Value::Float8(v) => float(*v, out),
        Value::Numeric(v, scale) => encode_numeric(*v, *scale, out),
        Value::Wide(number) => encode_form(|form| numeric::encode(number, form), out),
        Value::Interval(v) => {
            out.push(VALUE);
            out.extend_from_slice(&((v.approximate_micros() as u128) ^ (1 << 127)).to_be_bytes());
        }
        Value::Text(v) => encode_bytes(v.as_bytes(), out),
        Value::Bytea(v) => encode_bytes(v, out),
        Value::Uuid(v) => {
            out.push(VALUE);
            out.extend_from_slice(v);
        }
        Value::Array(v) => {
            out.push(VALUE);
            for element in v {
                encode_value(element, out);
            }
            out.push(0);
        }
    }
}

/// Appends the key of a value of a column of type `ty`: equal values have one key, whatever forms they are kept in.
pub fn encode_as(value: &Value, ty: &SqlType, out: &mut Vec<u8>) {
    encode_value(&comparable(value, ty), out);
}

/// What a value of a type compares by: that of citext by its lower case.
#[must_use]
pub fn comparable<'v>(value: &'v Value, ty: &SqlType) -> Cow<'v, Value> {
    match (value, ty) {
        (Value::Text(text), SqlType::Citext) => Cow::Owned(Value::Text(text.to_lowercase())),
        (Value::Array(items), SqlType::Array(of)) if *of.element() == SqlType::Citext => {
            Cow::Owned(Value::Array(items.iter().map(|item| comparable(item, of).into_owned()).collect()))
        }
        _ => Cow::Borrowed(value),
    }
}

/// Appends the key of NULL.
pub fn encode_null(out: &mut Vec<u8>) {
    out.push(NULL);
}

/// Appends the key of an integer, an oid, a date, a time or a timestamp.
pub fn encode_i64(v: i64, out: &mut Vec<u8>) {
    let mut key = [VALUE; 9];
    key[1..].copy_from_slice(&((v as u64) ^ (1 << 63)).to_be_bytes());
    out.extend_from_slice(&key);
}

/// Appends the key of a numeric by its unscaled value and its count of decimal places.
pub fn encode_numeric(v: i128, scale: i8, out: &mut Vec<u8>) {
    match u32::try_from(scale) {
        Ok(scale) => encode_form(|form| numeric::encode_finite(v, scale, form), out),
        Err(_) => {
            let number = numeric::Numeric::of(&Value::Numeric(v, scale)).unwrap_or(numeric::Numeric::ZERO);
            encode_form(|form| numeric::encode(&number, form), out);
        }
    }
}

/// Appends the key within the form that `write` appends.
fn encode_form(write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(VALUE);
    let start = out.len();
    write(out);
    let key = numeric::key_of(&out[start..]).len();
    out.truncate(start + key);
}

/// Appends the key of a numeric by its form in a column.
pub fn encode_numeric_form(form: &[u8], out: &mut Vec<u8>) {
    out.push(VALUE);
    out.extend_from_slice(numeric::key_of(form));
}

/// Appends the key of a text or a bytea.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(VALUE);
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// The smallest byte string greater than every key that starts with `prefix`; `None` where there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Whether the first value of `key` is NULL.
#[must_use]
pub fn is_null(key: &[u8]) -> bool {
    key.first() == Some(&NULL)
}

/// How many bytes of `key` its first value takes, one of `ty` or NULL; `None` where the type alone does not say it.
#[must_use]
pub fn value_bytes(ty: &SqlType, key: &[u8]) -> Option<usize> {
    if is_null(key) {
        return Some(1);
    }
    let behind = match ty {
        SqlType::Bool => 1,
        SqlType::Int2
        | SqlType::Int4
        | SqlType::Int8
        | SqlType::Oid
        | SqlType::Float4
        | SqlType::Float8
        | SqlType::Date
        | SqlType::Time(_)
        | SqlType::Timestamp(_)
        | SqlType::Timestamptz(_)
        | SqlType::Enum(_) => 8,
        SqlType::Uuid | SqlType::Interval | SqlType::IntervalOf(_) => 16,
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Bytea => {
            // Zeros within are followed by `ff`.
            key.get(1..)?.windows(2).position(|two| two == [0, 0])? + 2
        }
        _ => return None,
    };
    (key.len() > behind).then_some(1 + behind)
}

fn float(v: f64, out: &mut Vec<u8>) {
    out.push(VALUE);
    let v = if v == 0.0 {
        0.0
    } else if v.is_nan() {
        f64::NAN
    } else {
        v
    };
    let bits = v.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) };
    out.extend_from_slice(&ordered.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(values, &mut out);
        out
    }

    #[test]
    fn bytes_order_as_values_do() {
        let ascending: &[&[Value]] =
            &[&[Value::Int4(-5)], &[Value::Int8(-1)], &[Value::Int2(0)], &[Value::Int8(i64::MAX)], &[Value::Null]];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        for (a, b) in [
            (Value::Text("a".into()), Value::Text("a\0".into())),
            (Value::Text("a\0b".into()), Value::Text("aa".into())),
            (Value::Text(String::new()), Value::Text("\0".into())),
            (Value::Float8(-1.5), Value::Float8(-0.5)),
            (Value::Float8(f64::INFINITY), Value::Float8(f64::NAN)),
            (Value::Numeric(-1, 2), Value::Numeric(1, 2)),
            (Value::Array(vec![Value::Int4(1)]), Value::Array(vec![Value::Int4(1), Value::Int4(0)])),
        ] {
            assert!(key(std::slice::from_ref(&a)) < key(std::slice::from_ref(&b)), "{a:?} {b:?}");
        }
        assert_eq!(key(&[Value::Float8(0.0)]), key(&[Value::Float8(-0.0)]));
    }

    #[test]
    fn the_type_says_where_a_value_ends() {
        for (ty, value) in [
            (SqlType::Int2, Value::Int2(-1)),
            (SqlType::Timestamptz(None), Value::Timestamptz(7)),
            (SqlType::Text, Value::Text("a\0\0b\0".into())),
            (SqlType::Bytea, Value::Bytea(vec![0, 255, 0])),
            (SqlType::Uuid, Value::Uuid([0; 16])),
            (SqlType::Bool, Value::Bool(true)),
            (SqlType::Text, Value::Null),
        ] {
            let alone = key(std::slice::from_ref(&value)).len();
            assert_eq!(value_bytes(&ty, &key(&[value.clone(), Value::Int4(0)])), Some(alone), "{value:?}");
            assert_eq!(value_bytes(&ty, &key(std::slice::from_ref(&value))), Some(alone), "{value:?}");
        }
        assert_eq!(value_bytes(&SqlType::Int4, &[VALUE, 0, 0]), None);
        assert_eq!(value_bytes(&SqlType::Text, &[VALUE, b'a', 0]), None);
    }

    #[test]
    fn columns_do_not_run_into_each_other() {
        let a = key(&[Value::Text("a".into()), Value::Text("b".into())]);
        let b = key(&[Value::Text("ab".into()), Value::Text(String::new())]);
        assert_ne!(a, b);
        assert!(a < b);
    }

    #[test]
    fn a_prefix_ends_behind_its_last_key() {
        assert_eq!(prefix_end(&[1, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff]), None);
    }
}

//! Compact row encoding, as rows stand in the log: for each value one tag byte and its data.
//!
//! Integers are zigzag varints; text and bytea carry their length as a varint. Decoding never trusts a length further
//! than the bytes that are there, so damaged or hostile bytes give an error and no allocation.

use thiserror::Error;

use crate::numeric;
use crate::value::{Interval, Row, Value};

/// Why bytes are not a row.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RowError {
    /// The bytes end inside a value.
    #[error("row ends inside a value")]
    Truncated,
    /// A tag that no value has.
    #[error("unknown value tag {0}")]
    UnknownTag(u8),
    /// Text that is not UTF-8.
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// A numeric whose bytes are none.
    #[error("numeric is not valid")]
    InvalidNumeric,
    /// Arrays inside of arrays beyond what Perigee has.
    #[error("array is nested too deeply")]
    TooDeep,
}

mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INT2: u8 = 3;
    pub(super) const INT4: u8 = 4;
    pub(super) const INT8: u8 = 5;
    pub(super) const OID: u8 = 6;
    pub(super) const FLOAT4: u8 = 7;
    pub(super) const FLOAT8: u8 = 8;
    pub(super) const NUMERIC: u8 = 9;
    pub(super) const TEXT: u8 = 10;
    pub(super) const BYTEA: u8 = 11;
    pub(super) const DATE: u8 = 12;
    pub(super) const TIME: u8 = 13;
    pub(super) const TIMESTAMP: u8 = 14;
    pub(super) const TIMESTAMPTZ: u8 = 15;
    pub(super) const INTERVAL: u8 = 16;
    pub(super) const UUID: u8 = 17;
    pub(super) const ARRAY: u8 = 18;
    pub(super) const ENUM: u8 = 19;
    pub(super) const WIDE: u8 = 20;
}

const DEPTH_MAX: u32 = 8;

/// Appends a row of `values` to `out`. The count of values is not written: the reader knows it.
pub fn encode(values: &[Value], out: &mut Vec<u8>) {
    for value in values {
        encode_value(value, out);
    }
}

fn encode_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(tag::NULL),
        Value::Bool(v) => out.push(if *v { tag::TRUE } else { tag::FALSE }),
        Value::Int2(v) => tagged(tag::INT2, i64::from(*v), out),
        Value::Int4(v) => tagged(tag::INT4, i64::from(*v), out),
        Value::Int8(v) => tagged(tag::INT8, *v, out),
        Value::Oid(v) => tagged(tag::OID, i64::from(*v), out),
        Value::Float4(v) => {
            out.push(tag::FLOAT4);
            out.extend_from_slice(&v.to_le_bytes());
        }
        Value::Float8(v) => {
            out.push(tag::FLOAT8);
            out.extend_from_slice(&v.to_le_bytes());
        }
        Value::Numeric(v, scale) => {
            out.push(tag::NUMERIC);
            out.push(*scale as u8);
            put_varint_wide(zigzag_wide(*v), out);
        }
        Value::Wide(number) => {
            let mut form = Vec::new();
            numeric::encode(number, &mut form);
            out.push(tag::WIDE);
            put_bytes(&form, out);
        }
        Value::Text(v) => {
            out.push(tag::TEXT);
            put_bytes(v.as_bytes(), out);
        }
        Value::Bytea(v) => {
            out.push(tag::BYTEA);
            put_bytes(v, out);
        }
        Value::Date(v) => tagged(tag::DATE, i64::from(*v), out),
        Value::Time(v) => tagged(tag::TIME, *v, out),
        Value::Timestamp(v) => tagged(tag::TIMESTAMP, *v, out),
        Value::Timestamptz(v) => tagged(tag::TIMESTAMPTZ, *v, out),
        Value::Enum(v) => tagged(tag::ENUM, *v, out),
        Value::Interval(v) => {
            tagged(tag::INTERVAL, i64::from(v.months), out);
            put_varint(zigzag(i64::from(v.days)), out);
            put_varint(zigzag(v.micros), out);
        }
        Value::Uuid(v) => {
            out.push(tag::UUID);
            out.extend_from_slice(v);
        }
        Value::Array(v) => {
            out.push(tag::ARRAY);
            put_varint(v.len() as u64, out);
            encode(v, out);
        }
    }
}

/// Reads a row of `count` values from the front of `bytes` and moves `bytes` behind it.
///
/// # Errors
/// [`RowError`] where the bytes are not such a row.
pub fn decode(bytes: &mut &[u8], count: usize) -> Result<Row, RowError> {
    let mut row = Vec::with_capacity(count.min(bytes.len()));
    for _ in 0..count {
        row.push(decode_value(bytes, 0)?);
    }
    Ok(row)
}

fn decode_value(bytes: &mut &[u8], depth: u32) -> Result<Value, RowError> {
    Ok(match take(bytes, 1)?[0] {
        tag::NULL => Value::Null,
        tag::FALSE => Value::Bool(false),
        tag::TRUE => Value::Bool(true),
        tag::INT2 => Value::Int2(get_signed(bytes)? as i16),
        tag::INT4 => Value::Int4(get_signed(bytes)? as i32),
        tag::INT8 => Value::Int8(get_signed(bytes)?),
        tag::OID => Value::Oid(get_signed(bytes)? as u32),
        tag::FLOAT4 => Value::Float4(f32::from_le_bytes(take_array(bytes)?)),
        tag::FLOAT8 => Value::Float8(f64::from_le_bytes(take_array(bytes)?)),
        tag::NUMERIC => {
            let scale = take(bytes, 1)?[0] as i8;
            let wide = get_varint_wide(bytes)?;
            Value::Numeric((wide >> 1) as i128 ^ -((wide & 1) as i128), scale)
        }
        tag::WIDE => {
            let number = numeric::decode(get_bytes(bytes)?).ok_or(RowError::InvalidNumeric)?;
            Value::Wide(Box::new(number))
        }
        tag::TEXT => {
            let text = std::str::from_utf8(get_bytes(bytes)?).map_err(|_| RowError::InvalidUtf8)?;
            Value::Text(text.to_owned())
        }
        tag::BYTEA => Value::Bytea(get_bytes(bytes)?.to_vec()),
        tag::DATE => Value::Date(get_signed(bytes)? as i32),
        tag::TIME => Value::Time(get_signed(bytes)?),
        tag::TIMESTAMP => Value::Timestamp(get_signed(bytes)?),
        tag::TIMESTAMPTZ => Value::Timestamptz(get_signed(bytes)?),
        tag::ENUM => Value::Enum(get_signed(bytes)?),
        tag::INTERVAL => Value::Interval(Interval {
            months: get_signed(bytes)? as i32,
            days: get_signed(bytes)? as i32,
            micros: get_signed(bytes)?,
        }),
        tag::UUID => Value::Uuid(take_array(bytes)?),
        tag::ARRAY => {
            if depth >= DEPTH_MAX {
                return Err(RowError::TooDeep);
            }
            let count = get_varint(bytes)? as usize;
            let mut values = Vec::with_capacity(count.min(bytes.len()));
            for _ in 0..count {
                values.push(decode_value(bytes, depth + 1)?);
            }
            Value::Array(values)
        }
        other => return Err(RowError::UnknownTag(other)),
    })
}

fn tagged(tag: u8, v: i64, out: &mut Vec<u8>) {
    out.push(tag);
    put_varint(zigzag(v), out);
}

fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

fn zigzag_wide(v: i128) -> u128 {
    ((v << 1) ^ (v >> 127)) as u128
}

/// Appends a varint: seven bits a byte, lowest first.
pub fn put_varint(mut v: u64, out: &mut Vec<u8>) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

fn put_varint_wide(mut v: u128, out: &mut Vec<u8>) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends bytes behind their length as a varint.
pub fn put_bytes(v: &[u8], out: &mut Vec<u8>) {
    put_varint(v.len() as u64, out);
    out.extend_from_slice(v);
}

/// Reads a varint and moves `bytes` behind it.
///
/// # Errors
/// [`RowError::Truncated`] where it does not end within 64 bits.
pub fn get_varint(bytes: &mut &[u8]) -> Result<u64, RowError> {
    let mut v = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        v |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(v);
        }
    }
    Err(RowError::Truncated)
}

fn get_varint_wide(bytes: &mut &[u8]) -> Result<u128, RowError> {
    let mut v = 0u128;
    for shift in (0..128).step_by(7) {
        let byte = take(bytes, 1)?[0];
        v |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(v);
        }
    }
    Err(RowError::Truncated)
}

fn get_signed(bytes: &mut &[u8]) -> Result<i64, RowError> {
    let v = get_varint(bytes)?;
    Ok((v >> 1) as i64 ^ -((v & 1) as i64))
}

/// Reads bytes behind their length and moves `bytes` behind them.
///
/// # Errors
/// [`RowError::Truncated`] where fewer are there.
pub fn get_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], RowError> {
    let count = get_varint(bytes)?;
    take(bytes, usize::try_from(count).map_err(|_| RowError::Truncated)?)
}

/// Takes `count` bytes from the front.
///
/// # Errors
/// [`RowError::Truncated`] where fewer are there.
pub fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], RowError> {
    let (front, rest) = bytes.split_at_checked(count).ok_or(RowError::Truncated)?;
    *bytes = rest;
    Ok(front)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], RowError> {
    take(bytes, N)?.try_into().map_err(|_| RowError::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Row {
        vec![
            Value::Null,
            Value::Bool(true),
            Value::Int2(-7),
            Value::Int4(i32::MIN),
            Value::Int8(i64::MAX),
            Value::Oid(u32::MAX),
            Value::Float4(1.5),
            Value::Float8(-0.25),
            Value::Numeric(i128::MIN, 10),
            Value::Numeric(-12_345, 2),
            Value::Text("Grüße".into()),
            Value::Bytea(vec![0, 255]),
            Value::Date(-1),
            Value::Time(86_399_999_999),
            Value::Timestamp(i64::MIN),
            Value::Timestamptz(1),
            Value::Interval(Interval { months: -1, days: 2, micros: -3 }),
            Value::Uuid([7; 16]),
            Value::Enum(-(1 << 40)),
            Value::Array(vec![Value::Text("a".into()), Value::Null]),
        ]
    }

    #[test]
    fn a_row_comes_back() {
        let mut bytes = Vec::new();
        encode(&sample(), &mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(decode(&mut rest, sample().len()).unwrap(), sample());
        assert!(rest.is_empty());
    }

    #[test]
    fn a_cut_row_is_an_error() {
        let mut bytes = Vec::new();
        encode(&sample(), &mut bytes);
        for end in 0..bytes.len() {
            assert!(decode(&mut &bytes[..end], sample().len()).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn hostile_lengths_do_not_allocate() {
        let huge = [tag::TEXT, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(decode(&mut huge.as_slice(), 1), Err(RowError::Truncated));
        let deep: Vec<u8> = [tag::ARRAY, 1].repeat(100_000);
        assert_eq!(decode(&mut deep.as_slice(), 1), Err(RowError::TooDeep));
    }
}

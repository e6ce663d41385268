//! PostgreSQL's text form of every type: what its input and output functions do.
//!
//! COPY, parameters and results in text format, casts from and to text and literals all go through here, so that a
//! value looks the same wherever it appears. Values in and out are [`Value`]s; the typed functions underneath are public
//! for callers that read straight into columns.
//!
//! - [`settings`]: DateStyle, TimeZone, IntervalStyle, … of a session
//! - [`number`]: boolean, integers, floats, numeric
//! - [`calendar`], [`zone`]: days and dates, time zones
//! - [`datetime_in`], [`datetime_out`]: date, time, timestamp, timestamptz
//! - [`interval`], [`binary`] (bytea, uuid), [`json`], [`jsonpath`], [`array`]
//! - [`pattern`]: regular expressions

pub mod array;
pub mod binary;
pub mod calendar;
pub mod datetime_in;
pub mod datetime_out;
pub mod interval;
pub mod json;
pub mod jsonpath;
pub mod number;
pub mod pattern;
pub mod record;
pub mod settings;
pub mod zone;

use std::borrow::Cow;

pub use settings::{ByteaOutput, DateOrder, DateStyle, IntervalStyle, OutputSettings};
pub use zone::TimeZone;

use crate::timetz::{self, TimeTz};
use crate::{SqlError, SqlResult, SqlState, SqlType, Value, vector};

/// Reads a value's text with the default settings (UTC, ISO dates in the order month, day, year).
///
/// # Errors
/// `22P02`, `22003`, `22001`, `22007`, `22008` as PostgreSQL gives them, with its messages; `0A000` for what Perigee
/// cannot hold (arrays of several dimensions).
pub fn parse(text: &str, ty: &SqlType) -> SqlResult<Value> {
    parse_with(text, ty, &OutputSettings::DEFAULT)
}

/// Reads a value's text as a session with these settings does.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(text: &str, ty: &SqlType, settings: &OutputSettings) -> SqlResult<Value> {
    Ok(match ty {
        SqlType::Bool => Value::Bool(number::parse_bool(text)?),
        SqlType::Int2 => Value::Int2(number::parse_int2(text)?),
        SqlType::Int4 => Value::Int4(number::parse_int4(text)?),
        SqlType::Int8 => Value::Int8(number::parse_int8(text)?),
        SqlType::Float4 => Value::Float4(number::parse_float4(text)?),
        SqlType::Float8 => Value::Float8(number::parse_float8(text)?),
        SqlType::Numeric(modifier) => number::parse_numeric(text, *modifier)?,
        SqlType::Text
        | SqlType::Varchar(_)
        | SqlType::Char(_)
        | SqlType::Name
        | SqlType::InternalChar
        | SqlType::Citext => Value::Text(check_text(text, ty)?.into_owned()),
        SqlType::Unknown => Value::Text(check_text(text, ty)?.into_owned()),
        SqlType::Void => Value::Text(String::new()),
        SqlType::Bytea => Value::Bytea(binary::parse_bytea(text)?),
        SqlType::Vector(wanted) => Value::Bytea(vector::parse(text, *wanted)?),
        SqlType::Address(of) => Value::Bytea(of.parse(text)?),
        SqlType::Coded(of) => Value::Bytea(of.parse(text)?),
        SqlType::Composite(of) => Value::Bytea(of.parse(text, settings)?),
        SqlType::Range(of) => Value::Bytea(of.parse(text, settings)?),
        SqlType::Multirange(of) => Value::Bytea(of.parse_multirange(text, settings)?),
        SqlType::Date => Value::Date(datetime_in::parse_date(text, settings)?),
        SqlType::Time(_) => Value::Time(ty.rounded_micros(datetime_in::parse_time(text, settings)?)),
        SqlType::Timetz(_) => Value::Bytea(TimeTz::parse(text, settings)?.rounded(ty).encode()),
        SqlType::Timestamp(_) => Value::Timestamp(ty.rounded_micros(datetime_in::parse_timestamp(text, settings)?)),
        SqlType::Timestamptz(_) => {
            Value::Timestamptz(ty.rounded_micros(datetime_in::parse_timestamptz(text, settings)?))
        }
        SqlType::Interval => Value::Interval(interval::parse_interval(text)?),
        SqlType::IntervalOf(of) => Value::Interval(of.parse(text)?),
        SqlType::Uuid => Value::Uuid(binary::parse_uuid(text)?),
        SqlType::Json => {
            json::validate(text)?;
            Value::Text(text.to_owned())
        }
        SqlType::Jsonb => Value::Text(json::normalize(text)?),
        SqlType::JsonPath => Value::Text(jsonpath::normalize(text)?),
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => Value::Oid(parse_oid(text, ty)?),
        SqlType::Enum(of) => Value::Enum(of.parse(text)?),
        SqlType::Array(of) => Value::Array(array::parse_array(text, of, settings)?),
        SqlType::Record(_) => {
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                "input of anonymous composite types is not implemented",
            ));
        }
    })
}

/// The text of a value of a type; NULL gives an empty string (a caller that can say NULL otherwise asks first).
#[must_use]
pub fn format(value: &Value, ty: &SqlType, settings: &OutputSettings) -> String {
    let mut out = Vec::new();
    format_into(&mut out, value, ty, settings);
    // Every writer below writes UTF-8.
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Appends the text of a value of a type; NULL appends nothing.
pub fn format_into(out: &mut Vec<u8>, value: &Value, ty: &SqlType, settings: &OutputSettings) {
    match value {
        Value::Null => {}
        Value::Bool(v) => out.push(if *v { b't' } else { b'f' }),
        Value::Int2(v) => number::format_integer(out, *v),
        Value::Int4(v) => number::format_integer(out, *v),
        Value::Int8(v) => number::format_integer(out, *v),
        Value::Oid(0)
            if matches!(
                ty,
                SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole
            ) =>
        {
            out.push(b'-')
        }
        Value::Oid(v) => number::format_integer(out, *v),
        Value::Float4(v) => number::format_float4(out, *v, settings.extra_float_digits),
        Value::Float8(v) => number::format_float8(out, *v, settings.extra_float_digits),
        Value::Numeric(v, scale) => number::format_numeric(out, *v, *scale),
        Value::Wide(number) => number.write(out),
        Value::Text(v) => {
            out.extend_from_slice(v.as_bytes());
            if let SqlType::Char(n) = ty {
                pad_char(out, v, *n);
            }
        }
        Value::Bytea(v) if matches!(ty, SqlType::Vector(_)) => {
            vector::format_into(out, v, settings.extra_float_digits);
        }
        Value::Bytea(v) => match ty {
            SqlType::Timetz(_) => timetz::format_into(out, v),
            SqlType::Address(of) => out.extend_from_slice(of.format(v).as_bytes()),
            SqlType::Coded(of) => out.extend_from_slice(of.format(v, settings).as_bytes()),
            SqlType::Composite(of) => out.extend_from_slice(of.format(v, settings).as_bytes()),
            SqlType::Range(of) => out.extend_from_slice(of.format(v, settings).as_bytes()),
            SqlType::Multirange(of) => out.extend_from_slice(of.format_multirange(v, settings).as_bytes()),
            _ => binary::format_bytea(out, v, settings.bytea_output),
        },
        Value::Date(v) => datetime_out::format_date(out, *v, settings),
        Value::Time(v) => datetime_out::format_time(out, *v),
        Value::Timestamp(v) => datetime_out::format_timestamp(out, *v, settings),
        Value::Timestamptz(v) => datetime_out::format_timestamptz(out, *v, settings),
        Value::Interval(v) => interval::format_interval(out, *v, settings.interval_style),
        Value::Uuid(v) => binary::format_uuid(out, v),
        Value::Enum(v) => match ty {
            SqlType::Enum(of) => out.extend_from_slice(of.label(*v).unwrap_or_default().as_bytes()),
            _ => number::format_integer(out, *v),
        },
        Value::Array(values) => match ty {
            SqlType::Array(of) => array::format_array(out, values, of, settings),
            SqlType::Record(fields) => record::format_record(out, values, fields, settings),
            _ => array::format_array(out, values, &SqlType::Text, settings),
        },
    }
}

/// A string as a column of a string type keeps it.
///
/// `varchar(n)` and `char(n)` refuse more than n characters unless the rest is blanks. `char(n)` is kept without its
/// trailing blanks, which PostgreSQL ignores in every comparison and cast; they come back on output.
///
/// # Errors
/// `22001` when it is too long, `22021` when it holds a NUL byte.
pub fn check_text<'a>(text: &'a str, ty: &SqlType) -> SqlResult<Cow<'a, str>> {
    if text.as_bytes().contains(&0) {
        return Err(nul_byte());
    }
    Ok(match ty {
        SqlType::Varchar(Some(n)) => Cow::Borrowed(cut(text, *n, ty)?),
        SqlType::Char(n) => Cow::Borrowed(cut(text, *n, ty)?.trim_end_matches(' ')),
        SqlType::Name if text.len() > 63 => {
            // A name is cut silently to 63 bytes, on a character's boundary.
            let end = (0..=63).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            Cow::Borrowed(&text[..end])
        }
        SqlType::InternalChar => Cow::Owned(text.chars().take(1).collect()),
        _ => Cow::Borrowed(text),
    })
}

fn cut<'a>(text: &'a str, n: u32, ty: &SqlType) -> SqlResult<&'a str> {
    let n = n as usize;
    if text.len() <= n {
        return Ok(text);
    }
    let Some((end, _)) = text.char_indices().nth(n) else { return Ok(text) };
    if text[end..].bytes().all(|b| b == b' ') {
        return Ok(&text[..end]);
    }
    Err(SqlError::new(SqlState::StringDataRightTruncation, format!("value too long for type {ty}")))
}

/// Appends the blanks that a `char(n)` has behind `text`.
pub fn pad_char(out: &mut Vec<u8>, text: &str, n: u32) {
    let missing = (n as usize).saturating_sub(text.chars().count());
    out.resize(out.len() + missing, b' ');
}

fn parse_oid(text: &str, ty: &SqlType) -> SqlResult<u32> {
    let trimmed = text.trim_ascii();
    if *ty != SqlType::Oid {
        if trimmed == "-" {
            return Ok(0);
        }
        if !trimmed.bytes().all(|b| b.is_ascii_digit()) || trimmed.is_empty() {
            // Names are looked up in a catalog, which this function does not have.
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                format!("a {} can only be given by its number here: \"{text}\"", ty.internal_name()),
            ));
        }
    }
    number::parse_oid(text)
}

/// `22P02` with PostgreSQL's words.
#[must_use]
pub fn invalid_syntax(type_name: &str, text: &str) -> SqlError {
    SqlError::new(SqlState::InvalidTextRepresentation, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// `22003` with PostgreSQL's words.
#[must_use]
pub fn out_of_range(type_name: &str, text: &str) -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, format!("value \"{text}\" is out of range for type {type_name}"))
}

/// `22021` for a NUL byte in a string.
#[must_use]
pub fn nul_byte() -> SqlError {
    SqlError::new(SqlState::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\": 0x00")
}

#[cfg(test)]
mod tests;

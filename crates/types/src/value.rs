//! One datum outside of Arrow: what the point path, keys, defaults and the log work on.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::numeric::Numeric;

/// A row outside of Arrow: one value for each column asked for.
pub type Row = Vec<Value>;

/// An SQL interval: three fields that do not add up to one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

impl Interval {
    /// Microseconds when a month has 30 days and a day 24 hours, as PostgreSQL compares intervals.
    #[must_use]
    pub fn approximate_micros(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * 86_400_000_000 + i128::from(self.micros)
    }
}

/// One datum. The variant follows the physical form; what it means to a client is the column's [`crate::SqlType`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// boolean
    Bool(bool),
    /// smallint
    Int2(i16),
    /// integer
    Int4(i32),
    /// bigint
    Int8(i64),
    /// oid and the `reg…` types
    Oid(u32),
    /// real
    Float4(f32),
    /// double precision
    Float8(f64),
    /// numeric of at most 38 digits: the unscaled number and its count of decimal places.
    Numeric(i128, i8),
    /// any other numeric
    Wide(Box<Numeric>),
    /// text, varchar, char, name, json, jsonb
    Text(String),
    /// bytea
    Bytea(Vec<u8>),
    /// date: days since 1970-01-01
    Date(i32),
    /// time: microseconds since midnight
    Time(i64),
    /// timestamp: microseconds since 1970-01-01 00:00, without a zone
    Timestamp(i64),
    /// timestamptz: microseconds since 1970-01-01 00:00 UTC
    Timestamptz(i64),
    /// interval
    Interval(Interval),
    /// uuid
    Uuid([u8; 16]),
    /// a value of an enumerated type: the order of its label
    Enum(i64),
    /// an array, of arrays where it has several dimensions, or the values of a record
    Array(Vec<Value>),
}

impl Value {
    /// Whether it is SQL NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The value of any integer type.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int2(v) => Some(i64::from(*v)),
            Value::Int4(v) => Some(i64::from(*v)),
            Value::Int8(v) => Some(*v),
            Value::Oid(v) => Some(i64::from(*v)),
            _ => None,
        }
    }

    /// The text of any string type.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(v) => Some(v),
            _ => None,
        }
    }

    /// SQL comparison of two values of comparable types; `None` with a NULL or where the types do not compare.
    ///
    /// NaN equals itself and is greater than every number, as in PostgreSQL. Text compares by bytes.
    #[must_use]
    pub fn sql_cmp(&self, other: &Value) -> Option<Ordering> {
        if let (Some(a), Some(b)) = (self.as_i64(), other.as_i64()) {
            return Some(a.cmp(&b));
        }
        Some(match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bytea(a), Value::Bytea(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b))
            | (Value::Timestamp(a), Value::Timestamp(b))
            | (Value::Timestamptz(a), Value::Timestamptz(b))
            | (Value::Enum(a), Value::Enum(b)) => a.cmp(b),
            (Value::Interval(a), Value::Interval(b)) => a.approximate_micros().cmp(&b.approximate_micros()),
            (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
            (Value::Numeric(a, s), Value::Numeric(b, t)) if s == t => a.cmp(b),
            (Value::Array(a), Value::Array(b)) => {
                for (x, y) in a.iter().zip(b) {
                    match x.sql_cmp(y)? {
                        Ordering::Equal => {}
                        other => return Some(other),
                    }
                }
                a.len().cmp(&b.len())
            }
            _ => match (Numeric::of(self), Numeric::of(other)) {
                (Some(a), Some(b)) => a.compare(&b),
                _ => float_cmp(self.as_f64()?, other.as_f64()?),
            },
        })
    }

    /// The value of any numeric type as a double; loses precision beyond 53 bits.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float4(v) => Some(f64::from(*v)),
            Value::Float8(v) => Some(*v),
            Value::Numeric(v, 0) => Some(*v as f64),
            Value::Numeric(..) => Numeric::of(self).map(|number| number.to_f64()),
            Value::Wide(number) => Some(number.to_f64()),
            other => other.as_i64().map(|v| v as f64),
        }
    }

    /// Bytes that the value takes in memory, about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        std::mem::size_of::<Value>()
            + match self {
                Value::Text(v) => v.len(),
                Value::Bytea(v) => v.len(),
                Value::Wide(v) => size_of::<Numeric>() + v.heap_bytes(),
                Value::Array(v) => v.iter().map(Value::size_bytes).sum(),
                _ => 0,
            }
    }
}

/// PostgreSQL's order of doubles: NaN last and equal to itself, both zeros equal.
#[must_use]
pub fn float_cmp(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_as_postgresql_does() {
        let check = |a: Value, b: Value, want| assert_eq!(a.sql_cmp(&b), want, "{a:?} {b:?}");
        check(Value::Int2(3), Value::Int8(4), Some(Ordering::Less));
        check(Value::Null, Value::Int8(4), None);
        check(Value::Float8(f64::NAN), Value::Float8(1e300), Some(Ordering::Greater));
        check(Value::Float8(f64::NAN), Value::Float8(f64::NAN), Some(Ordering::Equal));
        check(Value::Text("a".into()), Value::Text("B".into()), Some(Ordering::Greater));
        check(Value::Numeric(150, 2), Value::Int4(1), Some(Ordering::Greater));
        check(Value::Bool(true), Value::Text("t".into()), None);
    }
}

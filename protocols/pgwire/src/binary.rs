//! Values in PostgreSQL's binary format, in and out.
//!
//! Source: the `…recv` and `…send` functions of PostgreSQL's `src/backend/utils/adt`.

use perigee_copy::utf8;
use perigee_types::multirange;
use perigee_types::numeric::{Numeric, WireNumeric};
use perigee_types::range::{Edges, Range, RangeType, flags};
use perigee_types::text::array::{DIMENSIONS_MAX, flattened, lengths};
use perigee_types::text::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MICROS, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS, TIMESTAMP_INFINITY,
    TIMESTAMP_MINUS_INFINITY,
};
use perigee_types::text::number::fit_numeric;
use perigee_types::text::{check_text, json, jsonpath, pad_char};
use perigee_types::timetz::{self, TimeTz};
use perigee_types::{CompositeType, Interval, SqlError, SqlResult, SqlState, SqlType, Value, vector};

use crate::backend::{int16, int32, length_prefixed};
use crate::frontend::Reader;

const NUMERIC_NEGATIVE: u16 = 0x4000;
const NUMERIC_NAN: u16 = 0xC000;
const NUMERIC_INFINITY: u16 = 0xD000;
const NUMERIC_NEGATIVE_INFINITY: u16 = 0xF000;

/// Appends a value that is not NULL, without its length.
pub(crate) fn encode(out: &mut Vec<u8>, value: &Value, ty: &SqlType) {
    match value {
        Value::Null => {}
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Int2(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Int4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Int8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Float4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Float8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Numeric(..) | Value::Wide(_) => {
            encode_numeric(out, &Numeric::of(value).unwrap_or(Numeric::NaN));
        }
        Value::Text(v) => encode_text(out, v, ty),
        Value::Bytea(v) => match ty {
            SqlType::Timetz(_) => out.extend_from_slice(&timetz::to_wire(v)),
            SqlType::Address(of) => out.extend_from_slice(&of.to_wire(v)),
            SqlType::Coded(of) => out.extend_from_slice(&of.to_wire(v)),
            SqlType::Composite(of) => encode_fields(out, &of.decode(v).unwrap_or_default(), &of.attributes),
            SqlType::Range(of) => encode_range(out, &range(v, of), of),
            SqlType::Multirange(of) => encode_multirange(out, v, of),
            _ => out.extend_from_slice(v),
        },
        Value::Date(v) => encode_date(out, *v),
        Value::Time(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Timestamp(v) | Value::Timestamptz(v) => encode_timestamp(out, *v),
        Value::Interval(v) => encode_interval(out, *v),
        Value::Uuid(v) => out.extend_from_slice(v),
        Value::Enum(v) => {
            if let SqlType::Enum(of) = ty {
                out.extend_from_slice(of.label(*v).unwrap_or_default().as_bytes());
            }
        }
        Value::Array(values) if matches!(ty, SqlType::Record(_)) => {
            let fields: &[(String, SqlType)] = if let SqlType::Record(fields) = ty { fields } else { &[] };
            encode_fields(out, values, fields);
        }
        Value::Array(values) => {
            let of = ty.element();
            let lengths = lengths(values).filter(|lengths| !lengths.is_empty()).unwrap_or_else(|| vec![0]);
            let values = flattened(values.clone());
            encode_array_header(out, &lengths, values.iter().any(Value::is_null), of);
            for value in values {
                match value {
                    Value::Null => int32(out, -1),
                    value => length_prefixed(out, 0, |out| encode(out, &value, of)),
                }
            }
        }
    }
}

/// Appends the values of a record, each with the oid of its type.
fn encode_fields(out: &mut Vec<u8>, values: &[Value], fields: &[(String, SqlType)]) {
    int32(out, fields.len() as i32);
    for (value, (_, ty)) in values.iter().zip(fields) {
        int32(out, ty.oid().cast_signed());
        match value {
            Value::Null => int32(out, -1),
            value => length_prefixed(out, 0, |out| encode(out, value, ty)),
        }
    }
}

/// Appends a value of a composite type.
///
/// # Errors
/// `XX000` for bytes that are none.
pub(crate) fn encode_composite(out: &mut Vec<u8>, kept: &[u8], of: &CompositeType) -> SqlResult<()> {
    encode_fields(out, &of.decode(kept)?, &of.attributes);
    Ok(())
}

fn decode_composite(reader: &mut Reader, of: &CompositeType) -> SqlResult<Vec<u8>> {
    let mismatch = |message: String| SqlError::new(SqlState::DatatypeMismatch, message);
    let (count, wanted) = (reader.int32()?, of.attributes.len());
    if usize::try_from(count) != Ok(wanted) {
        return Err(mismatch(format!("wrong number of columns: {count}, expected {wanted}")));
    }
    let mut values = Vec::with_capacity(wanted);
    for (at, (_, ty)) in of.attributes.iter().enumerate() {
        let oid = reader.int32()?.cast_unsigned();
        if oid != ty.oid() {
            let at = at + 1;
            let wanted = ty.oid();
            let message =
                format!("binary data has type {oid} instead of expected {wanted} ({ty}) in record column {at}");
            return Err(mismatch(message));
        }
        values.push(match usize::try_from(reader.int32()?) {
            Ok(length) => decode(reader.bytes(length)?, ty)?,
            Err(_) => Value::Null,
        });
    }
    Ok(of.encode(&values))
}

/// Appends a string of a string type.
pub(crate) fn encode_text(out: &mut Vec<u8>, text: &str, ty: &SqlType) {
    match ty {
        SqlType::Jsonb | SqlType::JsonPath => out.push(1), // the format's version
        SqlType::InternalChar => {
            out.push(text.bytes().next().unwrap_or(0));
            return;
        }
        _ => {}
    }
    out.extend_from_slice(text.as_bytes());
    if let SqlType::Char(n) = ty {
        pad_char(out, text, *n);
    }
}

pub(crate) fn encode_date(out: &mut Vec<u8>, days: i32) {
    let days = match days {
        DATE_INFINITY | DATE_MINUS_INFINITY => days,
        days => days.saturating_sub(POSTGRES_EPOCH_DAYS),
    };
    int32(out, days);
}

pub(crate) fn encode_timestamp(out: &mut Vec<u8>, micros: i64) {
    let micros = match micros {
        TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY => micros,
        micros => micros.saturating_sub(POSTGRES_EPOCH_MICROS),
    };
    out.extend_from_slice(&micros.to_be_bytes());
}

pub(crate) fn encode_interval(out: &mut Vec<u8>, interval: Interval) {
    out.extend_from_slice(&interval.micros.to_be_bytes());
    int32(out, interval.days);
    int32(out, interval.months);
}

/// Appends a range: its flags, and the bounds that there are.
pub(crate) fn encode_range(out: &mut Vec<u8>, range: &Range, of: &RangeType) {
    out.push(range.flags());
    for bound in range.bounds() {
        length_prefixed(out, 0, |out| encode(out, bound, &of.subtype()));
    }
}

/// The range that bytes of a column are.
pub(crate) fn range(kept: &[u8], of: &RangeType) -> Range {
    Range::decode(of, kept).unwrap_or(Range::Empty)
}

/// Appends a multirange: the count of its ranges, and each with its length.
pub(crate) fn encode_multirange(out: &mut Vec<u8>, kept: &[u8], of: &RangeType) {
    let ranges = multirange::decode(of, kept).unwrap_or_default();
    int32(out, ranges.len() as i32);
    for range in ranges {
        length_prefixed(out, 0, |out| encode_range(out, &range, of));
    }
}

fn decode_multirange(reader: &mut Reader, of: &RangeType) -> SqlResult<Vec<u8>> {
    let mut ranges = Vec::new();
    for _ in 0..reader.int32()? {
        let Some(bytes) = reader.field()? else { return Err(invalid("a multirange with a NULL in it")) };
        let mut range = Reader(bytes);
        ranges.push(decode_range(&mut range, of)?);
        if !range.0.is_empty() {
            return Err(invalid("incorrect binary data format"));
        }
    }
    Ok(multirange::encode(of, &multirange::apart(of, ranges)?))
}

fn decode_range(reader: &mut Reader, of: &RangeType) -> SqlResult<Range> {
    let given = reader.bytes(1)?[0];
    if given & flags::EMPTY != 0 {
        return Ok(Range::Empty);
    }
    let mut bound = |infinite: u8| {
        if given & infinite != 0 {
            return Ok(None);
        }
        let Ok(length) = usize::try_from(reader.int32()?) else { return Err(invalid("invalid length of a bound")) };
        decode(reader.bytes(length)?, &of.subtype()).map(Some)
    };
    let (lower, upper) = (bound(flags::LOWER_INFINITE)?, bound(flags::UPPER_INFINITE)?);
    let edges = Edges { lower: given & flags::LOWER_INCLUSIVE != 0, upper: given & flags::UPPER_INCLUSIVE != 0 };
    Range::new(of, lower, upper, edges)
}

/// Appends what stands before an array's elements.
pub(crate) fn encode_array_header(out: &mut Vec<u8>, lengths: &[usize], nulls: bool, of: &SqlType) {
    let is_empty = lengths.contains(&0);
    int32(out, if is_empty { 0 } else { lengths.len() as i32 });
    int32(out, i32::from(nulls));
    int32(out, of.oid().cast_signed());
    if !is_empty {
        for length in lengths {
            int32(out, *length as i32);
            int32(out, 1);
        }
    }
}

/// Appends a numeric: groups of four decimal digits.
pub(crate) fn encode_numeric(out: &mut Vec<u8>, number: &Numeric) {
    let Some(wire) = WireNumeric::of(number) else {
        let (sign, scale) = match number {
            Numeric::Infinity => (NUMERIC_INFINITY, 32),
            Numeric::NegativeInfinity => (NUMERIC_NEGATIVE_INFINITY, 32),
            _ => (NUMERIC_NAN, 0),
        };
        int16(out, 0);
        int16(out, 0);
        out.extend_from_slice(&sign.to_be_bytes());
        return int16(out, scale);
    };
    int16(out, wire.groups.len() as i16);
    int16(out, wire.weight as i16);
    out.extend_from_slice(&(if wire.negative { NUMERIC_NEGATIVE } else { 0 }).to_be_bytes());
    int16(out, wire.scale as i16);
    for group in wire.groups {
        int16(out, group);
    }
}

/// Reads a value that is not NULL.
///
/// # Errors
/// `08P01` for too few bytes, `22P03` for too many or bad ones, and what the type refuses.
pub(crate) fn decode(bytes: &[u8], ty: &SqlType) -> SqlResult<Value> {
    let mut reader = Reader(bytes);
    let value = match ty {
        SqlType::Bool => Value::Bool(reader.bytes(1)?[0] != 0),
        SqlType::Int2 => Value::Int2(reader.int16()?),
        SqlType::Int4 => Value::Int4(reader.int32()?),
        SqlType::Int8 => Value::Int8(reader.int64()?),
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => Value::Oid(reader.int32()?.cast_unsigned()),
        SqlType::Float4 => Value::Float4(f32::from_bits(reader.int32()?.cast_unsigned())),
        SqlType::Float8 => Value::Float8(f64::from_bits(reader.int64()?.cast_unsigned())),
        SqlType::Numeric(modifier) => fit_numeric(decode_numeric(&mut reader)?, *modifier)?,
        SqlType::Bytea => return Ok(Value::Bytea(bytes.to_vec())),
        SqlType::Vector(wanted) => {
            vector::check(bytes)?;
            vector::fit(bytes, *wanted)?;
            return Ok(Value::Bytea(bytes.to_vec()));
        }
        SqlType::Timetz(_) => return Ok(Value::Bytea(TimeTz::from_wire(bytes)?.rounded(ty).encode())),
        SqlType::Address(of) => return Ok(Value::Bytea(of.from_wire(bytes)?)),
        SqlType::Coded(of) => return Ok(Value::Bytea(of.from_wire(bytes)?)),
        SqlType::Composite(of) => Value::Bytea(decode_composite(&mut reader, of)?),
        SqlType::Range(of) => Value::Bytea(decode_range(&mut reader, of)?.encode(of)),
        SqlType::Multirange(of) => Value::Bytea(decode_multirange(&mut reader, of)?),
        SqlType::Text
        | SqlType::Varchar(_)
        | SqlType::Char(_)
        | SqlType::Name
        | SqlType::InternalChar
        | SqlType::Citext
        | SqlType::Unknown => return Ok(Value::Text(check_text(utf8(bytes)?, ty)?.into_owned())),
        SqlType::Void => return Ok(Value::Null),
        SqlType::Json => {
            let text = utf8(bytes)?;
            json::validate(text)?;
            return Ok(Value::Text(text.to_owned()));
        }
        SqlType::Jsonb => {
            let version = reader.bytes(1)?[0];
            if version != 1 {
                return Err(SqlError::internal(format!("unsupported jsonb version number {version}")));
            }
            return Ok(Value::Text(json::normalize(utf8(reader.0)?)?));
        }
        SqlType::JsonPath => {
            let version = reader.bytes(1)?[0];
            if version != 1 {
                return Err(SqlError::internal(format!("unsupported jsonpath version number: {version}")));
            }
            return Ok(Value::Text(jsonpath::normalize(utf8(reader.0)?)?));
        }
        SqlType::Date => Value::Date(match reader.int32()? {
            infinite @ (DATE_INFINITY | DATE_MINUS_INFINITY) => infinite,
            days => days.checked_add(POSTGRES_EPOCH_DAYS).ok_or_else(|| out_of_range("date"))?,
        }),
        SqlType::Time(_) => match reader.int64()? {
            micros @ 0..=DAY_MICROS => Value::Time(micros),
            _ => return Err(out_of_range("time")),
        },
        SqlType::Timestamp(_) => Value::Timestamp(decode_timestamp(&mut reader)?),
        SqlType::Timestamptz(_) => Value::Timestamptz(decode_timestamp(&mut reader)?),
        SqlType::Interval | SqlType::IntervalOf(_) => {
            let (micros, days, months) = (reader.int64()?, reader.int32()?, reader.int32()?);
            let value = Interval { months, days, micros };
            Value::Interval(if let SqlType::IntervalOf(of) = ty { of.cut(value) } else { value })
        }
        SqlType::Uuid => {
            let mut uuid = [0; 16];
            uuid.copy_from_slice(reader.bytes(16)?);
            Value::Uuid(uuid)
        }
        SqlType::Enum(of) => {
            let rest = reader.0.len();
            Value::Enum(of.parse(utf8(reader.bytes(rest)?)?)?)
        }
        SqlType::Array(of) => Value::Array(decode_array(&mut reader, of)?),
        SqlType::Record(_) => return Err(SqlError::unsupported("input of anonymous composite types")),
    };
    if reader.0.is_empty() { Ok(value) } else { Err(invalid("incorrect binary data format")) }
}

fn decode_timestamp(reader: &mut Reader) -> SqlResult<i64> {
    match reader.int64()? {
        infinite @ (TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) => Ok(infinite),
        micros => micros.checked_add(POSTGRES_EPOCH_MICROS).ok_or_else(|| out_of_range("timestamp")),
    }
}

fn decode_numeric(reader: &mut Reader) -> SqlResult<Numeric> {
    let count = reader.int16()?;
    let weight = i32::from(reader.int16()?);
    let sign = reader.int16()?.cast_unsigned();
    let scale = reader.int16()?;
    let special = match sign {
        0 | NUMERIC_NEGATIVE => None,
        NUMERIC_NAN => Some(Numeric::NaN),
        NUMERIC_INFINITY => Some(Numeric::Infinity),
        NUMERIC_NEGATIVE_INFINITY => Some(Numeric::NegativeInfinity),
        _ => return Err(invalid("invalid sign in external \"numeric\" value")),
    };
    let Ok(scale) = u16::try_from(scale) else { return Err(invalid("invalid scale in external \"numeric\" value")) };
    let Ok(count) = usize::try_from(count) else { return Err(invalid("invalid length in external \"numeric\" value")) };
    // Two bytes each: a count that does not fit is not believed.
    let mut groups = Vec::with_capacity(count.min(reader.0.len() / 2));
    for _ in 0..count {
        let group = reader.int16()?;
        if !(0..10_000).contains(&group) {
            return Err(invalid("invalid digit in external \"numeric\" value"));
        }
        groups.push(group);
    }
    match special {
        Some(special) => Ok(special),
        None if scale > 0x3fff => Err(invalid("invalid scale in external \"numeric\" value")),
        None => WireNumeric { negative: sign == NUMERIC_NEGATIVE, weight, scale: u32::from(scale), groups }
            .number()
            .checked(),
    }
}

fn decode_array(reader: &mut Reader, of: &SqlType) -> SqlResult<Vec<Value>> {
    let dimensions = reader.int32()?;
    let flags = reader.int32()?;
    let oid = reader.int32()?.cast_unsigned();
    if !matches!(flags, 0 | 1) {
        return Err(invalid("invalid array flags"));
    }
    let element = of.element();
    if oid != element.oid() && !(element.is_string() && SqlType::from_oid(oid).is_some_and(|t| t.is_string())) {
        return Err(SqlError::new(
            SqlState::DatatypeMismatch,
            format!("binary data has array element type {oid} instead of expected {} ({element})", element.oid()),
        ));
    }
    let count = match dimensions {
        0 => return Ok(Vec::new()),
        1..=6 => dimensions.cast_unsigned() as usize,
        _ => return Err(invalid(format!("invalid number of dimensions: {dimensions}"))),
    };
    if count != 1 + of.dimensions() {
        return Err(SqlError::unsupported("an array of several dimensions"));
    }
    let mut lengths = Vec::with_capacity(count);
    let mut total = 1_usize;
    for _ in 0..count {
        let length = usize::try_from(reader.int32()?).map_err(|_| invalid("invalid array size"))?;
        if reader.int32()? != 1 {
            return Err(SqlError::unsupported("an array with a lower bound other than 1"));
        }
        total = total.saturating_mul(length);
        lengths.push(length);
    }
    // Each element has at least its length: a count that does not fit is not believed.
    if total > reader.0.len() / 4 {
        return Err(crate::frontend::insufficient());
    }
    let read = |reader: &mut Reader| reader.field()?.map_or(Ok(Value::Null), |bytes| decode(bytes, element));
    let mut values = (0..total).map(|_| read(reader)).collect::<SqlResult<Vec<_>>>()?;
    // From the innermost dimension on.
    for length in lengths.iter().skip(1).rev().filter(|length| **length > 0) {
        let mut rest = values.into_iter();
        let inner = std::iter::from_fn(|| {
            let values: Vec<Value> = rest.by_ref().take(*length).collect();
            (!values.is_empty()).then_some(Value::Array(values))
        });
        values = inner.collect();
    }
    Ok(values)
}

/// How many dimensions the binary form of an array has; one where it has none.
pub(crate) fn dimensions(bytes: &[u8]) -> usize {
    let count = bytes.first_chunk::<4>().map_or(1, |count| i32::from_be_bytes(*count));
    usize::try_from(count).unwrap_or(1).clamp(1, DIMENSIONS_MAX)
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidBinaryRepresentation, message)
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeFieldOverflow, format!("{what} out of range"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use perigee_types::Oid;
    use perigee_types::coded::{CodedType, Shape};
    use perigee_types::network::AddressType;
    use perigee_types::text::parse;

    use super::*;

    const INET: SqlType = SqlType::Address(AddressType::Inet);

    fn array(of: SqlType) -> SqlType {
        SqlType::Array(Box::new(of))
    }

    #[test]
    fn values_come_back() {
        let numeric = SqlType::Numeric(Some((20, 3)));
        for (value, ty) in [
            (Value::Bool(true), SqlType::Bool),
            (Value::Int2(-5), SqlType::Int2),
            (Value::Int4(i32::MIN), SqlType::Int4),
            (Value::Int8(i64::MAX), SqlType::Int8),
            (Value::Oid(u32::MAX), SqlType::Oid),
            (Value::Float4(1.5), SqlType::Float4),
            (Value::Float8(-0.1), SqlType::Float8),
            (Value::Text("ä".into()), SqlType::Text),
            (Value::Bytea(vec![0, 255]), SqlType::Bytea),
            (parse("10.1.2.3/8", &INET).unwrap(), INET),
            (Value::Array(vec![parse("::1", &INET).unwrap()]), array(INET)),
            (Value::Date(0), SqlType::Date),
            (Value::Date(DATE_INFINITY), SqlType::Date),
            (Value::Time(1), SqlType::Time(None)),
            (Value::Timestamp(-1), SqlType::Timestamp(None)),
            (Value::Timestamptz(TIMESTAMP_INFINITY), SqlType::Timestamptz(None)),
            (Value::Interval(Interval { months: 1, days: -2, micros: 3 }), SqlType::Interval),
            (Value::Uuid([7; 16]), SqlType::Uuid),
            (Value::Text("{\"a\": 1}".into()), SqlType::Jsonb),
            (Value::Array(vec![]), array(SqlType::Int4)),
            (Value::Array(vec![Value::Int4(1), Value::Null]), array(SqlType::Int4)),
            (Value::Numeric(0, 3), numeric.clone()),
            (Value::Numeric(1, 3), numeric.clone()),
            (Value::Numeric(-123_456_789, 3), numeric.clone()),
            (Value::Numeric(10_000_000, 3), numeric.clone()),
            (Value::Numeric(99_999_999_999_999_999_999, 3), numeric),
            (Value::Numeric(15_000_000_000, 10), SqlType::Numeric(None)),
            (Value::Wide(Box::new(Numeric::NaN)), SqlType::Numeric(None)),
            (Value::Wide(Box::new(Numeric::NegativeInfinity)), SqlType::Numeric(None)),
            (Value::Numeric(10i128.pow(37) * 9, 0), SqlType::Numeric(Some((38, 0)))),
        ] {
            let mut out = Vec::new();
            encode(&mut out, &value, &ty);
            assert_eq!(decode(&out, &ty), Ok(value), "{ty}: {out:?}");
        }
    }

    #[test]
    fn coded_and_composite_values_are_as_postgresql_sends_them() {
        let coded = |ty: CodedType| SqlType::Coded(ty);
        let composite = SqlType::Composite(Arc::new(CompositeType {
            oid: Oid(16_400),
            array: Oid(16_401),
            relation: Oid(16_402),
            name: "item".to_owned(),
            attributes: vec![("name".to_owned(), SqlType::Text), ("n".to_owned(), SqlType::Int4)],
        }));
        for (text, ty, want) in [
            (
                "(1,-2)",
                coded(CodedType::Shape(Shape::Point)),
                &[63, 240, 0, 0, 0, 0, 0, 0, 192, 0, 0, 0, 0, 0, 0, 0][..],
            ),
            ("101", coded(CodedType::Bit(Some(3))), &[0, 0, 0, 3, 160]),
            (
                "b=>NULL,a=>x",
                coded(CodedType::Hstore),
                &[0, 0, 0, 2, 0, 0, 0, 1, 97, 0, 0, 0, 1, 120, 0, 0, 0, 1, 98, 255, 255, 255, 255],
            ),
            ("a.b", coded(CodedType::Ltree), &[1, 97, 46, 98]),
            ("a & b", coded(CodedType::Ltxtquery), &[1, 97, 32, 38, 32, 98]),
            ("1/A", coded(CodedType::Lsn), &[0, 0, 0, 1, 0, 0, 0, 10]),
            (
                "(pen,7)",
                composite.clone(),
                &[0, 0, 0, 2, 0, 0, 0, 25, 0, 0, 0, 3, 112, 101, 110, 0, 0, 0, 23, 0, 0, 0, 4, 0, 0, 0, 7],
            ),
            (
                "(,7)",
                composite.clone(),
                &[0, 0, 0, 2, 0, 0, 0, 25, 255, 255, 255, 255, 0, 0, 0, 23, 0, 0, 0, 4, 0, 0, 0, 7],
            ),
        ] {
            let value = parse(text, &ty).unwrap();
            let mut out = Vec::new();
            encode(&mut out, &value, &ty);
            assert_eq!(out, want, "{text}");
            assert_eq!(decode(&out, &ty), Ok(value), "{text}");
        }
        let state = |bytes: &[u8]| decode(bytes, &composite).map_err(|error| error.state().code());
        assert_eq!(state(&[0, 0, 0, 1]), Err("42804"));
        assert_eq!(state(&[0, 0, 0, 2, 0, 0, 0, 23, 255, 255, 255, 255]), Err("42804"));
        assert_eq!(state(&[0, 0, 0, 2, 0, 0, 0, 25, 127, 255, 255, 255]), Err("08P01"));
    }

    #[test]
    fn numerics_are_as_postgresql_sends_them() {
        for (value, scale, want) in [
            (12_345, 2, &[0, 2, 0, 0, 0, 0, 0, 2, 0, 123, 17, 148][..]), // 123.45
            (1, 4, &[0, 1, 255, 255, 0, 0, 0, 4, 0, 1]),                 // 0.0001
            (-10_000, 0, &[0, 1, 0, 1, 64, 0, 0, 0, 0, 1]),
            (0, 2, &[0, 0, 0, 0, 0, 0, 0, 2]),
        ] {
            let mut out = Vec::new();
            encode_numeric(&mut out, &Numeric::small(value, scale));
            assert_eq!(out, want, "{value} at {scale}");
        }
    }

    #[test]
    fn bad_bytes_have_their_states() {
        let numeric = SqlType::Numeric(Some((5, 2)));
        for (bytes, ty, want) in [
            (&[0, 0, 0][..], SqlType::Int4, "08P01"),
            (&[0; 5], SqlType::Int4, "22P03"),
            (&[255], SqlType::Text, "22021"),
            (&[2, b'1'], SqlType::Jsonb, "XX000"),
            (&[0; 15], SqlType::Uuid, "08P01"),
            (&[0, 0, 0, 0, 192, 0, 0, 0], numeric.clone(), "22003"),
            (&[0, 0, 0, 0, 160, 0, 0, 0], numeric.clone(), "22P03"),
            (&[0, 1, 0, 0, 0, 0, 0, 0, 127, 255], numeric.clone(), "22P03"),
            (&[0, 1, 0, 9, 0, 0, 0, 0, 0, 1], numeric.clone(), "22003"),
            (&[127, 255, 0, 9, 0, 0, 0, 0], numeric, "08P01"),
            (&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 127, 255, 255, 255, 0, 0, 0, 1], array(SqlType::Int4), "08P01"),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25], array(SqlType::Int4), "42804"),
            (&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 23], array(SqlType::Int4), "0A000"),
        ] {
            assert_eq!(decode(bytes, &ty).map_err(|e| e.state().code()), Err(want), "{ty}: {bytes:?}");
        }
    }

    #[test]
    fn random_bytes_are_no_danger() {
        let types = [
            SqlType::Numeric(None),
            SqlType::Numeric(Some((38, 37))),
            array(SqlType::Numeric(None)),
            array(SqlType::Text),
            SqlType::Jsonb,
            SqlType::Timestamp(None),
            SqlType::Date,
            SqlType::Time(None),
        ];
        let mut seed = 3u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u8
        };
        for _ in 0..200_000 {
            let length = usize::from(next() % 32);
            let bytes: Vec<u8> = (0..length).map(|_| if next() % 2 == 0 { next() % 3 } else { next() }).collect();
            drop(decode(&bytes, &types[usize::from(next()) % types.len()]));
        }
    }
}

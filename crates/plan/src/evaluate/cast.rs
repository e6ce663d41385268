//! Casts between types, as PostgreSQL's assignment and explicit casts do them.

use perigee_types::coded::{Bits, CodedType, hstore, money};
use perigee_types::network::{AddressType, Network};
use perigee_types::numeric::Numeric;
use perigee_types::sql_type::short_numeric;
use perigee_types::text::number::fit_numeric;
use perigee_types::text::{self, OutputSettings};
use perigee_types::timetz::TimeTz;
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value, vector};

use super::arithmetic::{integer, out_of_range};

const DAY_MICROS: i64 = 86_400_000_000;

/// Casts a value. `explicit`: `x::varchar(3)` cuts; an assignment refuses what is too long (22001).
///
/// # Errors
/// PostgreSQL's for the two types; `42846` where there is no such cast.
pub fn cast(value: Value, from: &SqlType, to: &SqlType, explicit: bool, settings: OutputSettings) -> SqlResult<Value> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    match to {
        _ if *from == SqlType::Jsonb && explicit && (to.is_number() || *to == SqlType::Bool) => {
            from_jsonb(&value, to, settings)
        }
        _ if is_text(to) => to_text(value, from, to, explicit, &settings),
        // A cast makes as many bits as are declared; text that is assigned must have them.
        SqlType::Coded(of @ (CodedType::Bit(_) | CodedType::VarBit(_))) if explicit && is_text(from) => match &value {
            Value::Text(text) => of.fit(of.without_modifier().parse(text)?, true).map(Value::Bytea),
            _ => Err(no_cast(from, to)),
        },
        // Text goes through the type's input function.
        _ if is_text(from) => match &value {
            Value::Text(text) => text::parse_with(text, to, &settings),
            _ => Err(no_cast(from, to)),
        },
        SqlType::Vector(wanted) => to_vector(&value, from, *wanted).unwrap_or_else(|| Err(no_cast(from, to))),
        SqlType::Address(to_type) => match (&value, from) {
            (Value::Bytea(kept), SqlType::Address(from_type)) => {
                to_address(kept, *from_type, *to_type).map(Value::Bytea).ok_or_else(|| no_cast(from, to))
            }
            _ => Err(no_cast(from, to)),
        },
        SqlType::Composite(to_type) => match (value, from) {
            (Value::Array(values), SqlType::Record(fields)) if fields.len() == to_type.attributes.len() => {
                let pairs = values.into_iter().zip(fields).zip(&to_type.attributes);
                let values = pairs.map(|((value, (_, from)), (_, to))| cast(value, from, to, explicit, settings));
                Ok(Value::Bytea(to_type.encode(&values.collect::<SqlResult<Vec<_>>>()?)))
            }
            (value @ Value::Bytea(_), SqlType::Composite(from_type)) if from_type.oid == to_type.oid => Ok(value),
            _ => Err(no_cast(from, to)),
        },
        SqlType::Coded(to_type) => to_coded(&value, from, *to_type, explicit),
        SqlType::Int4 | SqlType::Int8 if matches!(from, SqlType::Coded(CodedType::Bit(_))) => match &value {
            Value::Bytea(kept) => {
                let width = if *to == SqlType::Int4 { 32 } else { 64 };
                let number = Bits::decode(kept).to_integer(width).ok_or_else(|| out_of_range(to))?;
                integer(number, to)
            }
            _ => Err(no_cast(from, to)),
        },
        SqlType::Json | SqlType::Jsonb if matches!(from, SqlType::Coded(CodedType::Hstore)) => match &value {
            Value::Bytea(kept) => text::parse_with(&hstore::to_json(kept), to, &settings),
            _ => Err(no_cast(from, to)),
        },
        SqlType::Timetz(_) if matches!(value, Value::Timestamptz(i64::MAX | i64::MIN)) => Ok(Value::Null),
        SqlType::Timetz(_) => to_timetz(&value, from, &settings)
            .map(|time| Value::Bytea(time.rounded(to).encode()))
            .ok_or_else(|| no_cast(from, to)),
        SqlType::Time(_) if matches!(from, SqlType::Timetz(_)) => match &value {
            Value::Bytea(kept) => {
                let time = TimeTz::decode(kept).ok_or_else(|| SqlError::internal("a time is not kept as one"))?;
                Ok(Value::Time(to.rounded_micros(time.micros)))
            }
            _ => Err(no_cast(from, to)),
        },
        SqlType::Array(to_item) if matches!(from, SqlType::Vector(_)) => match &value {
            Value::Bytea(bytes) => vector::floats(bytes)
                .map(|float| cast(Value::Float4(float), &SqlType::Float4, to_item, explicit, settings))
                .collect::<SqlResult<_>>()
                .map(Value::Array),
            _ => Err(no_cast(from, to)),
        },
        SqlType::Array(to_item) => match (value, from) {
            (Value::Array(items), SqlType::Array(from_item)) => items
                .into_iter()
                .map(|item| cast(item, from_item, to_item, explicit, settings))
                .collect::<SqlResult<_>>()
                .map(Value::Array),
            _ => Err(no_cast(from, to)),
        },
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => to_integer(&value, from, to),
        SqlType::Numeric(modifier) if *from == SqlType::Coded(CodedType::Money) => match &value {
            Value::Bytea(kept) => fit_numeric(Numeric::small(i128::from(money::decode(kept)), 2), *modifier),
            _ => Err(no_cast(from, to)),
        },
        SqlType::Numeric(modifier) => to_numeric(&value, *modifier).unwrap_or_else(|| Err(no_cast(from, to))),
        SqlType::Float4 => match value.as_f64() {
            Some(wide) => {
                let narrow = wide as f32;
                if narrow.is_infinite() && wide.is_finite() { Err(out_of_range(to)) } else { Ok(Value::Float4(narrow)) }
            }
            None => Err(no_cast(from, to)),
        },
        SqlType::Float8 => value.as_f64().map(Value::Float8).ok_or_else(|| no_cast(from, to)),
        SqlType::Bool => match value {
            Value::Bool(_) => Ok(value),
            Value::Int4(v) => Ok(Value::Bool(v != 0)),
            _ => Err(no_cast(from, to)),
        },
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => match value.as_i64() {
            Some(v) => u32::try_from(v)
                .map(Value::Oid)
                .map_err(|_| SqlError::new(SqlState::NumericValueOutOfRange, "OID out of range")),
            None => Err(no_cast(from, to)),
        },
        SqlType::Timestamp(_) | SqlType::Timestamptz(_) if matches!(value, Value::Date(days) if is_beyond(days)) => {
            Err(SqlError::new(SqlState::DatetimeFieldOverflow, "date out of range for timestamp"))
        }
        SqlType::Date
        | SqlType::Time(_)
        | SqlType::Timestamp(_)
        | SqlType::Timestamptz(_)
        | SqlType::Interval
        | SqlType::IntervalOf(_) => {
            datetime(value, to, &settings).map(|value| rounded(value, to)).ok_or_else(|| no_cast(from, to))
        }
        SqlType::Json | SqlType::Jsonb if matches!(from, SqlType::Json | SqlType::Jsonb) => match &value {
            Value::Text(text) => text::parse_with(text, to, &settings),
            _ => Err(no_cast(from, to)),
        },
        _ if from == to => Ok(value),
        _ => Err(no_cast(from, to)),
    }
}

/// Casts a value to the type of a key column; NULL where no value of that type equals it.
///
/// # Errors
/// `42846` where the types do not compare.
pub fn cast_for_key(value: Value, from: &SqlType, to: &SqlType) -> SqlResult<Value> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    match to {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => {
            let whole = match (&value, Numeric::of(&value)) {
                (_, Some(number)) => number.exactly_at(0).and_then(|v| i64::try_from(v).ok()),
                // Up to 2^53 a double stands for one integer.
                (Value::Float4(_) | Value::Float8(_), None) => {
                    value.as_f64().filter(|v| v.fract() == 0.0 && v.abs() <= 9e15).map(|v| v as i64)
                }
                _ => return Err(no_cast(from, to)),
            };
            Ok(whole.and_then(|v| integer(v, to).ok()).unwrap_or(Value::Null))
        }
        SqlType::Numeric(modifier) => {
            let Some(number) = Numeric::of(&value) else { return Err(no_cast(from, to)) };
            let Some((_, scale)) = short_numeric(*modifier) else { return Ok(number.into_value()) };
            Ok(number.exactly_at(u32::from(scale.unsigned_abs())).map_or(Value::Null, |v| Value::Numeric(v, scale)))
        }
        SqlType::Char(_) => match value {
            Value::Text(text) => Ok(Value::Text(text.trim_end_matches(' ').to_owned())),
            _ => Err(no_cast(from, to)),
        },
        _ => Ok(value),
    }
}

/// Whether values of the type are strings for a cast (json and jsonb have rules of their own).
fn is_text(ty: &SqlType) -> bool {
    ty.is_string() || *ty == SqlType::InternalChar
}

/// A scalar of jsonb as a number or truth value; null as NULL.
fn from_jsonb(value: &Value, to: &SqlType, settings: OutputSettings) -> SqlResult<Value> {
    let json = value.as_str().unwrap_or_default().trim();
    let kind = match json.as_bytes().first() {
        Some(b'n') => return Ok(Value::Null),
        Some(b't' | b'f') if *to == SqlType::Bool => return Ok(Value::Bool(json == "true")),
        Some(b't' | b'f') => "boolean",
        Some(b'"') => "string",
        Some(b'[') => "array",
        Some(b'{') => "object",
        _ if *to == SqlType::Bool => "numeric",
        _ => {
            let numeric = SqlType::Numeric(None);
            let number = text::parse_with(json, &numeric, &settings)?;
            return cast(number, &numeric, to, true, settings);
        }
    };
    Err(SqlError::new(SqlState::InvalidParameterValue, format!("cannot cast jsonb {kind} to type {to}")))
}

fn to_text(value: Value, from: &SqlType, to: &SqlType, explicit: bool, settings: &OutputSettings) -> SqlResult<Value> {
    let text = match value {
        Value::Text(text) => text,
        // A boolean's text is a word in a cast and a letter on the wire.
        Value::Bool(v) => v.to_string(),
        // As text an address always says its mask.
        Value::Bytea(kept) if matches!(from, SqlType::Address(AddressType::Inet)) => AddressType::Cidr.format(&kept),
        other => text::format(&other, from, settings),
    };
    let longest = match to {
        SqlType::Varchar(Some(n)) | SqlType::Char(n) if explicit => *n as usize,
        _ => return Ok(Value::Text(text::check_text(&text, to)?.into_owned())),
    };
    let cut = match text.char_indices().nth(longest) {
        Some((end, _)) => &text[..end],
        None => &text,
    };
    Ok(Value::Text(text::check_text(cut, to)?.into_owned()))
}

/// Bits with the length that is declared, the lowest bits of a number, or a value of the same type.
fn to_coded(value: &Value, from: &SqlType, to: CodedType, explicit: bool) -> SqlResult<Value> {
    let is_bits = |ty: CodedType| matches!(ty, CodedType::Bit(_) | CodedType::VarBit(_));
    let refused = || no_cast(from, &SqlType::Coded(to));
    match (value, from) {
        (Value::Bytea(kept), SqlType::Coded(of)) if is_bits(*of) && is_bits(to) => {
            to.fit(kept.clone(), explicit).map(Value::Bytea)
        }
        (Value::Bytea(_), SqlType::Coded(of)) if *of == to => Ok(value.clone()),
        (_, SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(_)) if to == CodedType::Money => {
            let out_of_range = || SqlError::new(SqlState::NumericValueOutOfRange, "bigint out of range");
            let number = Numeric::of(value).filter(Numeric::is_finite).ok_or_else(out_of_range)?;
            let hundredths = number.round(2).exactly_at(2).and_then(|number| i64::try_from(number).ok());
            hundredths.map(|hundredths| Value::Bytea(money::encode(hundredths))).ok_or_else(out_of_range)
        }
        (_, SqlType::Int4 | SqlType::Int8) if explicit => match (value.as_i64(), to) {
            (Some(number), CodedType::Bit(length)) => {
                Ok(Value::Bytea(Bits::of_integer(number, length.unwrap_or(1) as usize).encode()))
            }
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

/// A vector as one of so many dimensions, or an array of numbers as a vector; `None` where there is no such cast.
fn to_vector(value: &Value, from: &SqlType, wanted: Option<u16>) -> Option<SqlResult<Value>> {
    let bytes = match (value, from) {
        (Value::Bytea(bytes), SqlType::Vector(_)) => Ok(bytes.clone()),
        (Value::Array(items), SqlType::Array(of)) if of.is_number() => {
            let null = || SqlError::new(SqlState::NullValueNotAllowed, "array must not contain nulls");
            let float = |item: &Value| match item {
                Value::Null => Err(null()),
                item => match (item.as_f64(), Numeric::of(item)) {
                    (Some(float), _) => Ok(float as f32),
                    (None, Some(number)) => Ok(number.to_f64() as f32),
                    (None, None) => Err(no_cast(from, &SqlType::Vector(wanted))),
                },
            };
            items.iter().map(float).collect::<SqlResult<Vec<f32>>>().and_then(|floats| vector::encode(&floats))
        }
        _ => return None,
    };
    Some(bytes.and_then(|bytes| vector::fit(&bytes, wanted).map(|()| Value::Bytea(bytes))))
}

/// An address as another type's: a network of an address, and a short hardware address as a long one; `None` where there is no such
/// cast.
fn to_address(kept: &[u8], from: AddressType, to: AddressType) -> Option<Vec<u8>> {
    match (from, to) {
        (AddressType::Inet, AddressType::Cidr) => Some(Network::decode(kept)?.network().encode()),
        (AddressType::Mac, AddressType::Mac8) => to.from_wire(kept).ok(),
        (AddressType::Cidr, AddressType::Inet) => Some(kept.to_vec()),
        _ => (from == to).then(|| kept.to_vec()),
    }
}

fn to_integer(value: &Value, from: &SqlType, to: &SqlType) -> SqlResult<Value> {
    if let Some(v) = value.as_i64() {
        return integer(v, to);
    }
    match value {
        Value::Bool(v) if *to == SqlType::Int4 => Ok(Value::Int4(i32::from(*v))),
        Value::Numeric(..) | Value::Wide(_) => {
            let number = Numeric::of(value).ok_or_else(|| no_cast(from, to))?;
            integer(number.to_i64(&to.to_string())?, to)
        }
        Value::Float4(_) | Value::Float8(_) => {
            let rounded = value.as_f64().map_or(f64::NAN, f64::round_ties_even);
            // 2^63 as a double: every smaller one fits.
            if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                return Err(out_of_range(to));
            }
            integer(rounded as i64, to)
        }
        _ => Err(no_cast(from, to)),
    }
}

fn to_numeric(value: &Value, modifier: Option<(u16, i16)>) -> Option<SqlResult<Value>> {
    // Of a float PostgreSQL takes the digits that it surely has: 15 of a double, 6 of a real.
    let number = match value {
        Value::Float4(v) => Numeric::from_f64(f64::from(*v), 5),
        Value::Float8(v) => Numeric::from_f64(*v, 14),
        other => Numeric::of(other)?,
    };
    Some(fit_numeric(number, modifier))
}

/// A time with a zone: the session's, where the value says none; `None` where there is no such cast.
fn to_timetz(value: &Value, from: &SqlType, settings: &OutputSettings) -> Option<TimeTz> {
    let zone = settings.time_zone;
    match (value, from) {
        (Value::Bytea(kept), SqlType::Timetz(_)) => TimeTz::decode(kept),
        (Value::Time(micros), _) => {
            Some(TimeTz { micros: *micros, west: -zone.offset_at(settings.now.unwrap_or_default()) })
        }
        (Value::Timestamptz(at), _) if *at != i64::MAX && *at != i64::MIN => {
            let east = zone.offset_at(*at);
            let local = at.checked_add(i64::from(east) * 1_000_000)?;
            Some(TimeTz { micros: local.rem_euclid(DAY_MICROS), west: -east })
        }
        _ => None,
    }
}

/// Whether a date has no midnight that is a timestamp. An infinite one has.
fn is_beyond(days: i32) -> bool {
    !matches!(days, i32::MAX | i32::MIN) && i64::from(days).checked_mul(DAY_MICROS).is_none()
}

/// Casts among dates, times and intervals; `None` where there is none.
fn datetime(value: Value, to: &SqlType, settings: &OutputSettings) -> Option<Value> {
    let zone = settings.time_zone;
    // The ends of the range stand for ±infinity and have no zone and no time of day.
    let finite = |micros: i64| micros != i64::MAX && micros != i64::MIN;
    let shift = |micros: i64, seconds: i32| micros.saturating_add(i64::from(seconds) * 1_000_000);
    let to_local = |utc: i64| if finite(utc) { shift(utc, zone.offset_at(utc)) } else { utc };
    let to_utc = |local: i64| if finite(local) { shift(local, -zone.offset_of_local(local)) } else { local };
    let midnight = |days: i32| match days {
        i32::MAX => i64::MAX,
        i32::MIN => i64::MIN,
        days => i64::from(days).saturating_mul(DAY_MICROS),
    };
    let day = |micros: i64| match micros {
        i64::MAX => i32::MAX,
        i64::MIN => i32::MIN,
        micros => i32::try_from(micros.div_euclid(DAY_MICROS)).unwrap_or(i32::MAX),
    };
    Some(match (value, to) {
        (Value::Date(v), SqlType::Date) => Value::Date(v),
        (Value::Date(v), SqlType::Timestamp(_)) => Value::Timestamp(midnight(v)),
        (Value::Date(v), SqlType::Timestamptz(_)) => Value::Timestamptz(to_utc(midnight(v))),
        (Value::Timestamp(v), SqlType::Timestamp(_)) => Value::Timestamp(v),
        (Value::Timestamp(v), SqlType::Timestamptz(_)) => Value::Timestamptz(to_utc(v)),
        (Value::Timestamp(v), SqlType::Date) => Value::Date(day(v)),
        (Value::Timestamp(v), SqlType::Time(_)) if finite(v) => Value::Time(v.rem_euclid(DAY_MICROS)),
        (Value::Timestamptz(v), SqlType::Timestamptz(_)) => Value::Timestamptz(v),
        (Value::Timestamptz(v), SqlType::Timestamp(_)) => Value::Timestamp(to_local(v)),
        (Value::Timestamptz(v), SqlType::Date) => Value::Date(day(to_local(v))),
        (Value::Timestamptz(v), SqlType::Time(_)) if finite(v) => Value::Time(to_local(v).rem_euclid(DAY_MICROS)),
        (Value::Timestamp(_) | Value::Timestamptz(_), SqlType::Time(_)) => Value::Null,
        (Value::Time(v), SqlType::Time(_)) => Value::Time(v),
        (Value::Time(v), SqlType::Interval | SqlType::IntervalOf(_)) => {
            Value::Interval(Interval { months: 0, days: 0, micros: v })
        }
        (Value::Interval(v), SqlType::Interval | SqlType::IntervalOf(_)) => Value::Interval(v),
        (Value::Interval(v), SqlType::Time(_)) => Value::Time(v.micros.rem_euclid(DAY_MICROS)),
        _ => return None,
    })
}

/// With the digits of a second, or the fields of an interval, that a type was declared with.
fn rounded(value: Value, to: &SqlType) -> Value {
    match (value, to) {
        (Value::Interval(v), SqlType::IntervalOf(of)) => Value::Interval(of.cut(v)),
        (value, _) => rounded_time(value, to),
    }
}

fn rounded_time(value: Value, to: &SqlType) -> Value {
    match value {
        Value::Time(v) => Value::Time(to.rounded_micros(v)),
        Value::Timestamp(v) => Value::Timestamp(to.rounded_micros(v)),
        Value::Timestamptz(v) => Value::Timestamptz(to.rounded_micros(v)),
        other => other,
    }
}

fn no_cast(from: &SqlType, to: &SqlType) -> SqlError {
    SqlError::new(SqlState::CannotCoerce, format!("cannot cast type {from} to {to}"))
}

//! Values of JSON as values of SQL.
//!
//! Numbers are read from their own digits, never through a double: `12345678901234567.10` stays what it is for a numeric.

use perigee_types::text::{OutputSettings, parse_with};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use serde_json::value::RawValue;

/// A value of JSON as one of type `ty`. What `json` and `jsonb` get is the JSON itself; null is NULL.
///
/// # Errors
/// `22P02` and the like for what is no value of the type.
pub(crate) fn value(json: &RawValue, ty: &SqlType, settings: &OutputSettings) -> SqlResult<Value> {
    let text = json.get();
    match (text.as_bytes().first(), ty) {
        (Some(b'n'), _) => Ok(Value::Null),
        (_, SqlType::Json | SqlType::Jsonb) => parse_with(text, ty, settings),
        (Some(b'['), SqlType::Array(of)) => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
            let values = items.into_iter().map(|item| value(item, of, settings));
            Ok(Value::Array(values.collect::<SqlResult<_>>()?))
        }
        (Some(b'"'), _) => {
            let string: String = serde_json::from_str(text).map_err(|error| malformed(&error))?;
            parse_with(&string, ty, settings)
        }
        // Numbers, true, false; objects and arrays as their JSON, for columns of text.
        _ => parse_with(text, ty, settings),
    }
}

fn malformed(error: &serde_json::Error) -> SqlError {
    SqlError::new(SqlState::InvalidTextRepresentation, format!("malformed JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, ty: SqlType, expected: Result<Value, &str>) {
        let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
        let found = value(&raw, &ty, &OutputSettings::default());
        assert_eq!(found.map_err(|error| error.state().code()), expected, "{json} as {ty}");
    }

    #[test]
    fn values_keep_their_digits() {
        check("null", SqlType::Int4, Ok(Value::Null));
        check("9223372036854775807", SqlType::Int8, Ok(Value::Int8(i64::MAX)));
        check("9223372036854775808", SqlType::Int8, Err("22003"));
        check("1.5", SqlType::Int4, Err("22P02"));
        check(
            "12345678901234567.10",
            SqlType::Numeric(Some((20, 2))),
            Ok(Value::Numeric(1_234_567_890_123_456_710, 2)),
        );
        check("\"12\"", SqlType::Int4, Ok(Value::Int4(12)));
        check("true", SqlType::Bool, Ok(Value::Bool(true)));
        check("12", SqlType::Text, Ok(Value::Text("12".into())));
        check("\"a\\u00e4\"", SqlType::Text, Ok(Value::Text("aä".into())));
        check("\"\\u0000\"", SqlType::Text, Err("22021"));
        check("\"abc\"", SqlType::Jsonb, Ok(Value::Text("\"abc\"".into())));
        check("{\"a\":1}", SqlType::Json, Ok(Value::Text("{\"a\":1}".into())));
        check("[1,null]", SqlType::Array(Box::new(SqlType::Int4)), Ok(Value::Array(vec![Value::Int4(1), Value::Null])));
        check(
            "\"{1,2}\"",
            SqlType::Array(Box::new(SqlType::Int4)),
            Ok(Value::Array(vec![Value::Int4(1), Value::Int4(2)])),
        );
        check("\"\\\\x00ff\"", SqlType::Bytea, Ok(Value::Bytea(vec![0, 255])));
        check("{}", SqlType::Int4, Err("22P02"));
    }
}

//! Values of SQL as messages, and back.

use std::borrow::Cow;

use perigee_door::{Given, Parameter};
use perigee_engine::{ObjectNames, Session};
use perigee_types::text::{DateStyle, OutputSettings, format};
use perigee_types::{Oid, SqlType, Value};
use tonic::Status;

use crate::v1;
use crate::v1::value::Kind;

/// How values are written as text.
pub(crate) struct Style {
    settings: OutputSettings,
    /// Names of objects, for `regclass` and the like.
    names: Option<ObjectNames>,
}

impl Style {
    /// That of a session; dates are always ISO 8601.
    pub(crate) fn of(session: &Session) -> Self {
        let settings = OutputSettings { date_style: DateStyle::Iso, ..session.output_settings() };
        Self { settings, names: Some(session.object_names()) }
    }

    /// A value as a message.
    pub(crate) fn message(&self, value: Value, ty: &SqlType) -> v1::Value {
        let kind = match value {
            Value::Null => None,
            Value::Bool(value) => Some(Kind::Boolean(value)),
            Value::Int2(value) => Some(Kind::Integer(value.into())),
            Value::Int4(value) => Some(Kind::Integer(value.into())),
            Value::Int8(value) => Some(Kind::Integer(value)),
            Value::Float4(value) => Some(Kind::Double(value.into())),
            Value::Float8(value) => Some(Kind::Double(value)),
            Value::Bytea(bytes) if !ty.is_kept_as_bytes() => Some(Kind::Bytes(bytes)),
            Value::Array(values) => {
                let of = if let SqlType::Array(of) = ty { of } else { &SqlType::Text };
                let values = values.into_iter().map(|value| self.message(value, of)).collect();
                Some(Kind::Array(v1::Array { values }))
            }
            Value::Oid(oid) => Some(match (ty, &self.names) {
                (
                    SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole,
                    Some(names),
                ) => Kind::Text(names.text(Oid(oid), ty)),
                _ => Kind::Integer(oid.into()),
            }),
            value => Some(Kind::Text(format(&value, ty, &self.settings))),
        };
        v1::Value { kind }
    }
}

/// The parameters of a statement.
///
/// # Errors
/// `INVALID_ARGUMENT` for more types than parameters.
pub(crate) fn parameters(values: Vec<v1::Value>, types: Vec<String>) -> Result<Vec<Parameter>, Status> {
    if types.len() > values.len() {
        return Err(Status::invalid_argument("there are more types than parameters"));
    }
    let types = types.into_iter().map(|name| Some(name).filter(|name| !name.is_empty()));
    let types = types.chain(std::iter::repeat(None));
    Ok(values.into_iter().zip(types).map(|(value, ty)| Parameter { ty, given: given(value) }).collect())
}

fn given(value: v1::Value) -> Given<'static> {
    Given::Value(match value.kind {
        None => Value::Null,
        Some(Kind::Boolean(value)) => Value::Bool(value),
        Some(Kind::Integer(value)) => Value::Int8(value),
        Some(Kind::Double(value)) => Value::Float8(value),
        Some(Kind::Bytes(bytes)) => Value::Bytea(bytes),
        Some(Kind::Text(text)) => return Given::Text(Cow::Owned(text)),
        // PostgreSQL's text of an array is one that every type of elements is read from.
        Some(Kind::Array(array)) => {
            let mut text = String::new();
            array_text(&array, &mut text);
            return Given::Text(Cow::Owned(text));
        }
    })
}

fn array_text(array: &v1::Array, out: &mut String) {
    out.push('{');
    for (at, value) in array.values.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match &value.kind {
            None => out.push_str("NULL"),
            Some(Kind::Array(inner)) => array_text(inner, out),
            Some(kind) => element(&text(kind), out),
        }
    }
    out.push('}');
}

/// PostgreSQL's text of a value.
#[must_use]
pub fn text(kind: &Kind) -> String {
    let formatted = |value: Value, ty: SqlType| format(&value, &ty, &OutputSettings::default());
    match kind {
        Kind::Boolean(value) => if *value { "t" } else { "f" }.to_owned(),
        Kind::Integer(value) => value.to_string(),
        Kind::Double(value) => formatted(Value::Float8(*value), SqlType::Float8),
        Kind::Text(text) => text.clone(),
        Kind::Bytes(bytes) => formatted(Value::Bytea(bytes.clone()), SqlType::Bytea),
        Kind::Array(array) => {
            let mut text = String::new();
            array_text(array, &mut text);
            text
        }
    }
}

/// An element of an array's text, in quotes where it would be read as something else without.
fn element(text: &str, out: &mut String) {
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_whitespace();
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use perigee_types::text::parse;

    use super::*;

    fn check(text: &str, ty: SqlType, expected: Kind) {
        let style = Style { settings: OutputSettings::default(), names: None };
        let found = style.message(parse(text, &ty).unwrap(), &ty);
        assert_eq!(found.kind, Some(expected), "{text} as {ty}");
    }

    #[test]
    fn values_become_messages() {
        let text = |text: &str| Kind::Text(text.to_owned());
        check("t", SqlType::Bool, Kind::Boolean(true));
        check("-3", SqlType::Int2, Kind::Integer(-3));
        check("9223372036854775807", SqlType::Int8, Kind::Integer(i64::MAX));
        check("0.5", SqlType::Float4, Kind::Double(0.5));
        check("1.10", SqlType::Numeric(None), text("1.10"));
        check("2026-01-02 03:04:05.5", SqlType::Timestamp(None), text("2026-01-02 03:04:05.5"));
        check("{\"a\": 1}", SqlType::Json, text("{\"a\": 1}"));
        check("\\x00ff", SqlType::Bytea, Kind::Bytes(vec![0, 255]));
        let values = vec![v1::Value { kind: Some(Kind::Integer(1)) }, v1::Value { kind: None }];
        check("{1,NULL}", SqlType::Array(Box::new(SqlType::Int4)), Kind::Array(v1::Array { values }));
    }

    #[test]
    fn arrays_are_read_by_their_text() {
        let kinds = [Some(Kind::Text("a\"b\\,{".into())), None, Some(Kind::Text(String::new()))];
        let values = kinds.into_iter().map(|kind| v1::Value { kind }).collect();
        let Given::Text(text) = given(v1::Value { kind: Some(Kind::Array(v1::Array { values })) }) else {
            panic!("no text")
        };
        let read = parse(&text, &SqlType::Array(Box::new(SqlType::Text))).unwrap();
        assert_eq!(read, Value::Array(vec![Value::Text("a\"b\\,{".into()), Value::Null, Value::Text(String::new())]));
    }

    #[test]
    fn values_have_the_texts_of_postgresql() {
        let value = |kind| v1::Value { kind: Some(kind) };
        let inner = vec![value(Kind::Double(0.5)), value(Kind::Bytes(vec![0, 255]))];
        let words = ["a b", "c", "Null"].map(|word| value(Kind::Text(word.to_owned())));
        let array = v1::Array { values: vec![value(Kind::Array(v1::Array { values: inner }))] };
        assert_eq!(text(&Kind::Array(array)), r#"{{0.5,"\\x00ff"}}"#);
        assert_eq!(text(&Kind::Array(v1::Array { values: words.to_vec() })), r#"{"a b",c,"Null"}"#);
        assert_eq!(text(&Kind::Boolean(true)), "t");
        assert_eq!(text(&Kind::Double(1e300)), "1e+300");
    }

    #[test]
    fn types_go_with_their_parameters() {
        let value = || v1::Value { kind: Some(Kind::Integer(1)) };
        let found = parameters(vec![value(), value()], vec![String::new(), "numeric".into()]).unwrap();
        assert_eq!(found.iter().map(|p| p.ty.as_deref()).collect::<Vec<_>>(), [None, Some("numeric")]);
        assert!(parameters(Vec::new(), vec!["int".into()]).is_err());
    }
}

//! `json_to_record` and its like: the columns of a definition list, one function for each.
//!
//! `json_to_record(j) AS x(a int)` is `CAST(__json_to_record(j, 'a', 'text') AS int)`: the function gives what the type's
//! input function reads, as an array with one element for each row.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::text::array::write_element;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::super::function::{Function, overload};
use super::tree::{Json, Kind};
use super::{normal, str, text, wrong};

use SqlType as T;

/// The functions behind those that return records: one row, and one for each element.
pub(crate) const RECORD: &str = "__json_to_record";
pub(crate) const RECORD_SET: &str = "__json_to_recordset";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts = T::Array(Box::new(T::Text));
    let parameters = [T::Text, T::Text, T::Text];
    vec![
        Function::new(
            RECORD,
            vec![overload(&parameters, texts.clone(), |a, _| {
                let json = Json::read(str(&a[0]))?;
                Ok(Value::Array(vec![column(&json, str(&a[1]), str(&a[2]), "json_to_record")?]))
            })],
        )
        .set_returning()
        .udf(),
        Function::new(
            RECORD_SET,
            vec![overload(&parameters, texts, |a, _| {
                let json = Json::read(str(&a[0]))?;
                let rows = match &json.kind {
                    Kind::Array(elements) => elements,
                    Kind::Object(_) => return Err(wrong("cannot call json_to_recordset on an object".to_owned())),
                    _ => return Err(wrong("cannot call json_to_recordset on a scalar".to_owned())),
                };
                let rows: SqlResult<_> = rows
                    .iter()
                    .map(|row| match row.kind {
                        Kind::Object(_) => column(row, str(&a[1]), str(&a[2]), "json_to_recordset"),
                        _ => Err(wrong("argument of json_to_recordset must be an array of objects".to_owned())),
                    })
                    .collect();
                rows.map(Value::Array)
            })],
        )
        .set_returning()
        .udf(),
    ]
}

/// A field as the input function of a type reads it. `form`: `text`, `json`, `jsonb` or `array`.
fn column(json: &Json<'_>, name: &str, form: &str, function: &str) -> SqlResult<Value> {
    if !matches!(json.kind, Kind::Object(_)) {
        let what = if matches!(json.kind, Kind::Array(_)) { "an array" } else { "a scalar" };
        return Err(wrong(format!("cannot call {function} on {what}")));
    }
    let Some(field) = json.field(name) else { return Ok(Value::Null) };
    Ok(match (form, &field.kind) {
        ("json", _) => text(field.shown(false)),
        ("jsonb", _) => {
            let shown = field.shown(false);
            text(normal(&Value::Text(shown))?.into_owned())
        }
        (_, Kind::Null) => Value::Null,
        ("array", Kind::Array(elements)) => text(array(elements, name)?),
        // What PostgreSQL takes for an array literal.
        ("array", Kind::String(literal)) => text(literal.as_ref()),
        ("array", _) => {
            return Err(SqlError::new(SqlState::InvalidTextRepresentation, "expected JSON array")
                .hint(format!("See the value of key \"{name}\".")));
        }
        _ => field.text(false).map_or(Value::Null, text),
    })
}

/// The literal of an array.
fn array(elements: &[Json<'_>], name: &str) -> SqlResult<String> {
    let mut out = vec![b'{'];
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match &element.kind {
            Kind::Null => out.extend_from_slice(b"NULL"),
            Kind::Array(_) => return Err(SqlError::unsupported("an array of several dimensions")),
            _ => write_element(&mut out, element.text(false).unwrap_or_default().as_bytes()),
        }
    }
    out.push(b'}');
    String::from_utf8(out).map_err(|_| wrong(format!("the value of key \"{name}\" is not text")))
}

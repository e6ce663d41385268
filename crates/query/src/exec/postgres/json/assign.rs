//! `j['a'][0]`, read and assigned to.

use std::borrow::Cow;

use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::super::function::Call;
use super::edit::put;
use super::tree::{Json, Kind, index};
use super::{normal, str, text, wrong};

/// The deepest path of subscripts, and how far a place may lie behind an array's end.
const PLACES_MAX: i64 = 1 << 20;

/// What a subscript of a jsonb leads to.
pub(super) fn read(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = normal(&args[0])?;
    let step = subscript(&args[1]);
    Ok(Json::read(&source)?.step(&step).map_or(Value::Null, |found| text(found.shown(true))))
}

fn subscript(value: &Value) -> String {
    match value.as_i64() {
        Some(place) => place.to_string(),
        None => str(value).to_owned(),
    }
}

/// A jsonb with a value at a path of subscripts, made where it is not there yet. A container that is NULL becomes what the
/// first subscript wants.
///
/// # Errors
/// `22004` for a subscript that is NULL, `22023` where a scalar stands in the way.
pub(in crate::exec::postgres) fn assigned(container: &Value, value: &Value, path: &[Value]) -> SqlResult<Value> {
    if path.iter().any(Value::is_null) {
        return Err(SqlError::new(SqlState::NullValueNotAllowed, "jsonb subscript in assignment must not be null"));
    }
    let empty = match path.first().and_then(Value::as_i64) {
        Some(_) => "[]",
        None => "{}",
    };
    let source = if container.is_null() { Cow::Borrowed(empty) } else { normal(container)? };
    let null = Value::Text("null".to_owned());
    let value = normal(if value.is_null() { &null } else { value })?;
    let mut json = Json::read(&source)?.owned();
    let steps: Vec<String> = path.iter().map(subscript).collect();
    set(&mut json, &steps, 1, &Json::read(&value)?.owned())?;
    Ok(text(json.shown(true)))
}

fn set(json: &mut Json<'static>, path: &[String], depth: usize, value: &Json<'static>) -> SqlResult<()> {
    let Some((step, rest)) = path.split_first() else {
        *json = value.clone();
        return Ok(());
    };
    match &mut json.kind {
        Kind::Object(fields) => match fields.iter().position(|(key, _)| key == step) {
            Some(at) => set(&mut fields[at].1, rest, depth + 1, value),
            None => {
                put(fields, step.clone().into(), made(rest, value)?);
                Ok(())
            }
        },
        Kind::Array(elements) => {
            let place: i64 = step.trim().parse().map_err(|_| {
                SqlError::new(
                    SqlState::InvalidTextRepresentation,
                    format!("path element at position {depth} is not an integer: \"{step}\""),
                )
            })?;
            let out_of_range = || wrong(format!("path element at position {depth} is out of range: {place}"));
            let at = index(place, elements.len()).ok_or_else(out_of_range)?;
            if let Some(element) = elements.get_mut(at) {
                return set(element, rest, depth + 1, value);
            }
            if place > PLACES_MAX {
                return Err(out_of_range());
            }
            elements.resize_with(at, || Json::made(Kind::Null));
            elements.push(made(rest, value)?);
            Ok(())
        }
        _ => Err(wrong("cannot replace existing key".to_owned())
            .detail("The path assumes key is a composite object, but it is a scalar value.")),
    }
}

/// A value within the containers that a path wants: arrays for numbers, objects for the rest.
fn made(path: &[String], value: &Json<'static>) -> SqlResult<Json<'static>> {
    let mut made = value.clone();
    for step in path.iter().rev() {
        made = Json::made(match step.parse::<i64>() {
            Ok(place) => {
                let count = usize::try_from(place.max(0)).unwrap_or(0);
                if place > PLACES_MAX {
                    return Err(wrong(format!("path element is out of range: {place}")));
                }
                let mut elements: Vec<Json<'static>> = Vec::new();
                elements.resize_with(count, || Json::made(Kind::Null));
                elements.push(made);
                Kind::Array(elements)
            }
            Err(_) => Kind::Object(vec![(step.clone().into(), made)]),
        });
    }
    Ok(made)
}

/// `jsonb_set_lax(target, path, value, create, treatment)`: what NULL as a value does.
pub(super) fn set_lax(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let create = args.get(3).cloned().unwrap_or(Value::Bool(true));
    if args[0].is_null() || args[1].is_null() || create.is_null() {
        return Ok(Value::Null);
    }
    let treatment = args.get(4).cloned().unwrap_or_else(|| text("use_json_null"));
    let Some(treatment) = treatment.as_str() else {
        return Err(wrong(
            "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\""
                .to_owned(),
        ));
    };
    let with = |value: Value| super::edit::set(&[args[0].clone(), args[1].clone(), value, create.clone()], call);
    if !args[2].is_null() {
        return with(args[2].clone());
    }
    match treatment {
        "use_json_null" => with(text("null")),
        "delete_key" => super::edit::delete_path(&args[..2], call),
        "return_target" => Ok(text(normal(&args[0])?.into_owned())),
        "raise_exception" => Err(SqlError::new(SqlState::NullValueNotAllowed, "JSON value must not be null")
            .detail("Exception was raised because null_value_treatment is \"raise_exception\".")
            .hint(
                "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.",
            )),
        _ => Err(wrong(
            "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\""
                .to_owned(),
        )),
    }
}

/// Types of subscripts: numbers and text.
pub(super) fn parameters() -> [Vec<SqlType>; 2] {
    [vec![SqlType::Text, SqlType::Int8], vec![SqlType::Text, SqlType::Text]]
}

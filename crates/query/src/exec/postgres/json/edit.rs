//! Functions that change a jsonb, and containment.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use rustc_hash::FxHashSet;

use super::super::function::{Call, Function, overload};
use super::tree::{Json, Kind, compare, index, key_order};
use super::{document, normal, text, wrong};

use SqlType as T;

/// The fields of an object.
type Fields<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts = || T::Array(Box::new(T::Text));
    vec![
        Function::new(
            "jsonb_set",
            vec![
                overload(&[T::Text, texts(), T::Text], T::Jsonb, set),
                overload(&[T::Text, texts(), T::Text, T::Bool], T::Jsonb, set),
            ],
        )
        .udf(),
        Function::new(
            "jsonb_insert",
            vec![
                overload(&[T::Text, texts(), T::Text], T::Jsonb, insert),
                overload(&[T::Text, texts(), T::Text, T::Bool], T::Jsonb, insert),
            ],
        )
        .udf(),
        Function::new("jsonb_delete_path", vec![overload(&[T::Text, texts()], T::Jsonb, delete_path)]).udf(),
        Function::new("jsonb_concat", vec![overload(&[T::Text, T::Text], T::Jsonb, concat)]).udf(),
        Function::new(
            "jsonb_pretty",
            vec![overload(&[T::Text], T::Text, |a, _| {
                let source = normal(&a[0])?;
                let mut out = String::new();
                pretty(&Json::read(&source)?, 0, &mut out);
                Ok(Value::Text(out))
            })],
        )
        .udf(),
        Function::new(
            "json_strip_nulls",
            vec![overload(&[T::Text], T::Json, |a, _| {
                let mut out = String::new();
                compact(&without_nulls(&document(&a[0])?), &mut out);
                Ok(Value::Text(out))
            })],
        )
        .udf(),
        Function::new(
            "jsonb_strip_nulls",
            vec![overload(&[T::Text], T::Jsonb, |a, _| {
                let source = normal(&a[0])?;
                Ok(Value::Text(without_nulls(&Json::read(&source)?).shown(true)))
            })],
        )
        .udf(),
        Function::new("jsonb_contains", vec![overload(&[T::Text, T::Text], T::Bool, |a, _| contains(&a[0], &a[1]))])
            .udf(),
        Function::new("jsonb_contained", vec![overload(&[T::Text, T::Text], T::Bool, |a, _| contains(&a[1], &a[0]))])
            .udf(),
        Function::new("jsonb_exists", vec![overload(&[T::Text, T::Text], T::Bool, super::exists)]).udf(),
        Function::new("jsonb_exists_any", vec![overload(&[T::Text, texts()], T::Bool, super::exists_any)]).udf(),
        Function::new("jsonb_exists_all", vec![overload(&[T::Text, texts()], T::Bool, super::exists_all)]).udf(),
    ]
}

/// `whole @> part`
pub(super) fn contains(whole: &Value, part: &Value) -> SqlResult<Value> {
    let (whole, part) = (normal(whole)?, normal(part)?);
    Ok(Value::Bool(holds(&Json::read(&whole)?, &Json::read(&part)?, true)))
}

/// Elements of an array from which on its scalars are looked up instead of compared.
const LOOKED_UP_MIN: usize = 16;

/// Whether `part` stands in `whole`, both in jsonb's normal form; an array also contains a scalar that is one of its
/// elements, at the top.
fn holds(whole: &Json<'_>, part: &Json<'_>, top: bool) -> bool {
    match (&whole.kind, &part.kind) {
        (Kind::Object(known), Kind::Object(fields)) => fields.iter().all(|(key, value)| {
            let found = known.binary_search_by(|(known, _)| key_order(known, key)).ok();
            found.and_then(|at| known.get(at)).is_some_and(|(_, found)| holds(found, value, false))
        }),
        (Kind::Array(elements), Kind::Array(wanted)) if wanted.len() < LOOKED_UP_MIN => {
            wanted.iter().all(|wanted| elements.iter().any(|element| holds(element, wanted, false)))
        }
        (Kind::Array(elements), Kind::Array(wanted)) => {
            let scalars: FxHashSet<String> = elements.iter().filter_map(scalar_text).collect();
            wanted.iter().all(|wanted| match scalar_text(wanted) {
                Some(scalar) => scalars.contains(&scalar),
                None => elements.iter().any(|element| holds(element, wanted, false)),
            })
        }
        (Kind::Array(elements), Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_)) if top => {
            elements.iter().any(|element| compare(element, part).is_eq())
        }
        (Kind::Array(_) | Kind::Object(_), _) | (_, Kind::Array(_) | Kind::Object(_)) => false,
        _ => compare(whole, part).is_eq(),
    }
}

/// A text that equal scalars share; `None` for an array or object.
fn scalar_text(json: &Json<'_>) -> Option<String> {
    match &json.kind {
        Kind::Array(_) | Kind::Object(_) => None,
        Kind::Number(number) if number.contains('.') => {
            Some(number.trim_end_matches('0').trim_end_matches('.').to_owned())
        }
        _ => Some(json.shown(true)),
    }
}

/// Two objects in jsonb's order as one; fields of the second replace those of the first.
fn merged<'a>(first: Fields<'a>, second: Fields<'a>) -> Fields<'a> {
    let mut out = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    loop {
        let order = match (first.peek(), second.peek()) {
            (Some((a, _)), Some((b, _))) => key_order(a, b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return out,
        };
        if order.is_eq() {
            first.next();
        }
        out.extend(if order.is_lt() { first.next() } else { second.next() });
    }
}

/// Puts a field into an object that is in jsonb's order.
pub(super) fn put<'a>(fields: &mut Fields<'a>, key: Cow<'a, str>, value: Json<'a>) {
    match fields.binary_search_by(|(known, _)| key_order(known, &key)) {
        Ok(at) => fields[at].1 = value,
        Err(at) => fields.insert(at, (key, value)),
    }
}

pub(super) fn concat(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let (left, right) = (normal(&args[0])?, normal(&args[1])?);
    let (left, right) = (Json::read(&left)?, Json::read(&right)?);
    let kind = match (left.kind, right.kind) {
        (Kind::Object(fields), Kind::Object(more)) => Kind::Object(merged(fields, more)),
        (left, right) => {
            let elements = |kind| match kind {
                Kind::Array(elements) => elements,
                other => vec![Json::made(other)],
            };
            let mut all = elements(left);
            all.extend(elements(right));
            Kind::Array(all)
        }
    };
    Ok(text(Json::made(kind).shown(true)))
}

/// `jsonb - key`, `jsonb - place`, `jsonb - keys`
pub(super) fn delete(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = normal(&args[0])?;
    let json = Json::read(&source)?;
    if matches!(json.kind, Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_)) {
        return Err(wrong("cannot delete from scalar".to_owned()));
    }
    let keys: FxHashSet<&str> = match &args[1] {
        Value::Array(keys) => keys.iter().filter_map(Value::as_str).collect(),
        Value::Text(key) => std::iter::once(key.as_str()).collect(),
        place => {
            let Kind::Array(mut elements) = json.kind else {
                return Err(wrong("cannot delete from object using integer index".to_owned()));
            };
            if let Some(at) =
                index(place.as_i64().unwrap_or_default(), elements.len()).filter(|at| *at < elements.len())
            {
                elements.remove(at);
            }
            return Ok(text(Json::made(Kind::Array(elements)).shown(true)));
        }
    };
    let kind = match json.kind {
        Kind::Object(mut fields) => {
            fields.retain(|(key, _)| !keys.contains(key.as_ref()));
            Kind::Object(fields)
        }
        Kind::Array(mut elements) => {
            elements.retain(|e| !matches!(&e.kind, Kind::String(s) if keys.contains(s.as_ref())));
            Kind::Array(elements)
        }
        other => other,
    };
    Ok(text(Json::made(kind).shown(true)))
}

/// What is done at the end of a path.
enum Change<'a> {
    Delete,
    /// Replace, or create where the flag says so.
    Set(Json<'a>, bool),
    /// Insert into an array before or behind the place, or as a new field.
    Insert(Json<'a>, bool),
}

pub(super) fn set(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let value = normal(&args[2])?;
    let create = args.get(3) != Some(&Value::Bool(false));
    changed(&args[0], &args[1], Change::Set(Json::read(&value)?, create), "set path in")
}

fn insert(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let value = normal(&args[2])?;
    let behind = args.get(3) == Some(&Value::Bool(true));
    changed(&args[0], &args[1], Change::Insert(Json::read(&value)?, behind), "set path in")
}

pub(super) fn delete_path(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    changed(&args[0], &args[1], Change::Delete, "delete path in")
}

fn changed(target: &Value, path: &Value, change: Change<'_>, what: &str) -> SqlResult<Value> {
    let source = normal(target)?;
    let mut json = Json::read(&source)?.owned();
    let Value::Array(path) = path else { return Ok(Value::Null) };
    if matches!(json.kind, Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_)) {
        return Err(wrong(format!("cannot {what} scalar")));
    }
    if path.is_empty() {
        return Ok(text(json.shown(true)));
    }
    apply(&mut json, path, 1, &change)?;
    Ok(text(json.shown(true)))
}

fn apply(json: &mut Json<'static>, path: &[Value], depth: usize, change: &Change<'_>) -> SqlResult<()> {
    let Some((step, rest)) = path.split_first() else { return Ok(()) };
    let Some(step) = step.as_str() else {
        return Err(SqlError::new(SqlState::NullValueNotAllowed, format!("path element at position {depth} is null")));
    };
    match &mut json.kind {
        Kind::Object(fields) => {
            let at = fields.binary_search_by(|(key, _)| key_order(key, step)).ok();
            match (at, rest.is_empty(), change) {
                (Some(at), false, _) => apply(&mut fields[at].1, rest, depth + 1, change)?,
                (Some(at), true, Change::Delete) => {
                    fields.remove(at);
                }
                (Some(at), true, Change::Set(value, _)) => fields[at].1 = value.owned(),
                (Some(_), true, Change::Insert(..)) => {
                    return Err(SqlError::new(SqlState::InvalidParameterValue, "cannot replace existing key")
                        .hint("Try using the function jsonb_set to replace key value."));
                }
                (None, true, Change::Set(value, true) | Change::Insert(value, _)) => {
                    put(fields, Cow::Owned(step.to_owned()), value.owned());
                }
                (None, ..) => {}
            }
        }
        Kind::Array(elements) if elements.is_empty() && matches!(change, Change::Delete) => {}
        Kind::Array(elements) => {
            let place: i64 = step.trim().parse().map_err(|_| {
                SqlError::new(
                    SqlState::InvalidTextRepresentation,
                    format!("path element at position {depth} is not an integer: \"{step}\""),
                )
            })?;
            let found = index(place, elements.len()).filter(|at| *at < elements.len());
            match (found, rest.is_empty(), change) {
                (Some(at), false, _) => apply(&mut elements[at], rest, depth + 1, change)?,
                (Some(at), true, Change::Delete) => {
                    elements.remove(at);
                }
                (Some(at), true, Change::Set(value, _)) => elements[at] = value.owned(),
                (Some(at), true, Change::Insert(value, behind)) => {
                    elements.insert(at + usize::from(*behind), value.owned());
                }
                (None, true, Change::Set(value, true) | Change::Insert(value, _)) => {
                    let at = if place < 0 { 0 } else { elements.len() };
                    elements.insert(at, value.owned());
                }
                (None, ..) => {}
            }
        }
        _ => {}
    }
    Ok(())
}

fn without_nulls<'a>(json: &Json<'a>) -> Json<'a> {
    match &json.kind {
        Kind::Object(fields) => Json::made(Kind::Object(
            fields
                .iter()
                .filter(|(_, value)| !matches!(value.kind, Kind::Null))
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        )),
        Kind::Array(elements) => Json::made(Kind::Array(elements.iter().map(without_nulls).collect())),
        _ => json.clone(),
    }
}

/// Without blanks.
fn compact(json: &Json<'_>, out: &mut String) {
    let separated = |out: &mut String, at: usize| {
        if at > 0 {
            out.push(',');
        }
    };
    match &json.kind {
        Kind::Object(fields) => {
            out.push('{');
            for (at, (key, value)) in fields.iter().enumerate() {
                separated(out, at);
                perigee_types::text::json::write_string(out, key);
                out.push(':');
                compact(value, out);
            }
            out.push('}');
        }
        Kind::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                separated(out, at);
                compact(element, out);
            }
            out.push(']');
        }
        _ => json.write(out),
    }
}

fn pretty(json: &Json<'_>, depth: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"    ".repeat(depth));
    };
    match &json.kind {
        Kind::Object(fields) => {
            out.push('{');
            for (at, (key, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                perigee_types::text::json::write_string(out, key);
                out.push_str(": ");
                pretty(value, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        Kind::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                pretty(element, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
        _ => json.write(out),
    }
}

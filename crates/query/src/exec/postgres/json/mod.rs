//! json and jsonb: operators and functions.
//!
//! Both are text: json as it was written, jsonb in its normal form. What json functions take out of a json is the text
//! as it stood there.

mod assign;
mod build;
mod edit;
mod order;
mod path;
mod record;
mod tree;

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::text::json;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::ast::BinaryOperator;

use super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};
use tree::{Json, Kind};

pub(super) use assign::assigned;
pub(crate) use build::JSON_ROW;
pub(super) use build::{aggregate, aggregates, build_array, build_array_binary, build_object, build_object_binary};
pub(super) use order::{extreme, key};
pub(crate) use record::{RECORD, RECORD_SET};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = Vec::new();
    for binary in [false, true] {
        let name = |rest: &str| format!("{}_{rest}", if binary { "jsonb" } else { "json" });
        let ty = if binary { T::Jsonb } else { T::Json };
        let pick = |json: Eval, jsonb: Eval| if binary { jsonb } else { json };
        let of = |name: &str, parameters: &[T], returns: T, eval: Eval| {
            Function::new(name, vec![overload(parameters, returns, eval)])
        };
        let list = |ty: &T| T::Array(Box::new(ty.clone()));
        let steps = |returns: &T, eval: Eval| {
            let parameters = vec![Parameter::Of(T::Text), Parameter::Of(T::Text)];
            vec![
                overload_of(parameters, Returns::Type(returns.clone()), eval).variadic(),
                overload(&[T::Text, list(&T::Text)], returns.clone(), eval),
            ]
        };
        all.extend([
            of(&name("typeof"), &[T::Text], T::Text, |a, _| Ok(text(document(&a[0])?.type_name()))).udf(),
            of(&name("array_length"), &[T::Text], T::Int4, array_length).udf(),
            Function::new(&name("extract_path"), steps(&ty, pick(path::<false>, path::<true>))).udf(),
            Function::new(&name("extract_path_text"), steps(&T::Text, pick(path_text::<false>, path_text::<true>)))
                .udf(),
            of(&name("object_keys"), &[T::Text], list(&T::Text), pick(keys::<false>, keys::<true>))
                .set_returning()
                .udf(),
            of(&name("array_elements"), &[T::Text], list(&ty), pick(elements::<false>, elements::<true>))
                .set_returning()
                .udf(),
            of(
                &name("array_elements_text"),
                &[T::Text],
                list(&T::Text),
                pick(elements_text::<false>, elements_text::<true>),
            )
            .set_returning()
            .udf(),
            of(&format!("__{}", name("each")), &[T::Text], list(&ty), pick(values::<false>, values::<true>))
                .set_returning()
                .udf(),
            of(
                &format!("__{}", name("each_text")),
                &[T::Text],
                list(&T::Text),
                pick(values_text::<false>, values_text::<true>),
            )
            .set_returning()
            .udf(),
        ]);
    }
    all.extend(build::functions());
    all.extend(edit::functions());
    all.extend(path::functions());
    all.extend(record::functions());
    all.extend(subscripts());
    all
}

/// The columns of the functions here that return records.
pub(super) fn record_columns(function: &str) -> Option<&'static [(&'static str, &'static str)]> {
    Some(match function {
        "json_each" => &[("key", "json_object_keys"), ("value", "__json_each")],
        "jsonb_each" => &[("key", "jsonb_object_keys"), ("value", "__jsonb_each")],
        "json_each_text" => &[("key", "json_object_keys"), ("value", "__json_each_text")],
        "jsonb_each_text" => &[("key", "jsonb_object_keys"), ("value", "__jsonb_each_text")],
        _ => return None,
    })
}

/// The function of an operator between values of these types, where it is one of json's.
pub(super) fn operator(op: &BinaryOperator, left: &SqlType, right: &SqlType) -> Option<Arc<ScalarUDF>> {
    use BinaryOperator as B;
    let is_json = |ty: &SqlType| matches!(ty, T::Json | T::Jsonb);
    let one = |name: &str, symbol: &'static str, parameters: &[T], returns: T, eval: Eval| {
        Some(Function::new(name, vec![overload(parameters, returns, eval)]).operator(symbol).udf())
    };
    let texts = T::Array(Box::new(T::Text));
    let place = left.clone();
    if is_json(left) {
        let by_number = matches!(right, T::Int2 | T::Int4 | T::Int8);
        let binary = *left == T::Jsonb;
        match op {
            B::Arrow if by_number => return one("json_element", "->", &[T::Text, T::Int8], place, element),
            B::Arrow => return one("json_field", "->", &[T::Text, T::Text], place, field),
            B::LongArrow if by_number => {
                return one("json_element_text", "->>", &[T::Text, T::Int8], T::Text, element_text);
            }
            B::LongArrow => return one("json_field_text", "->>", &[T::Text, T::Text], T::Text, field_text),
            B::HashArrow => return one("json_path", "#>", &[T::Text, texts], place, operator_path),
            B::HashLongArrow => return one("json_path_text", "#>>", &[T::Text, texts], T::Text, operator_path_text),
            B::HashMinus if binary => {
                return one("jsonb_delete_path", "#-", &[T::Text, texts], T::Jsonb, edit::delete_path);
            }
            B::Minus if binary => {
                let eval = edit::delete;
                return match right {
                    T::Int2 | T::Int4 | T::Int8 => one("jsonb_delete_at", "-", &[T::Text, T::Int8], T::Jsonb, eval),
                    T::Array(_) => one("jsonb_delete_all", "-", &[T::Text, texts], T::Jsonb, eval),
                    _ => one("jsonb_delete", "-", &[T::Text, T::Text], T::Jsonb, eval),
                };
            }
            B::Question if binary => return one("jsonb_exists", "?", &[T::Text, T::Text], T::Bool, exists),
            B::QuestionPipe if binary => return one("jsonb_exists_any", "?|", &[T::Text, texts], T::Bool, exists_any),
            B::QuestionAnd if binary => return one("jsonb_exists_all", "?&", &[T::Text, texts], T::Bool, exists_all),
            _ => {}
        }
    }
    if takes_path(left, right) {
        match op {
            B::AtQuestion => {
                return one("jsonb_path_exists_opr", "@?", &[T::Text, T::Text], T::Bool, path::exists_operator);
            }
            B::AtAt => return one("jsonb_path_match_opr", "@@", &[T::Text, T::Text], T::Bool, path::match_operator),
            _ => {}
        }
    }
    let (is_jsonb, takes) = (|ty: &T| *ty == T::Jsonb, |ty: &T| matches!(ty, T::Jsonb | T::Unknown));
    if takes(left) && takes(right) && (is_jsonb(left) || is_jsonb(right)) {
        return match op {
            B::AtArrow => {
                one("jsonb_contains", "@>", &[T::Text, T::Text], T::Bool, |a, _| edit::contains(&a[0], &a[1]))
            }
            B::ArrowAt => {
                one("jsonb_contained", "<@", &[T::Text, T::Text], T::Bool, |a, _| edit::contains(&a[1], &a[0]))
            }
            B::StringConcat => one("jsonb_concat", "||", &[T::Text, T::Text], T::Jsonb, edit::concat),
            _ => None,
        };
    }
    None
}

/// Whether a jsonb stands on the left of a path, one of them perhaps without a type.
fn takes_path(left: &SqlType, right: &SqlType) -> bool {
    matches!((left, right), (T::Jsonb, T::JsonPath | T::Unknown) | (T::Unknown, T::JsonPath))
}

/// A subscript of a jsonb.
pub(super) fn subscript() -> Arc<ScalarUDF> {
    let overloads = assign::parameters().iter().map(|p| overload(p, T::Jsonb, assign::read)).collect();
    Function::new("jsonb_subscript", overloads).udf()
}

fn subscripts() -> Vec<Arc<ScalarUDF>> {
    let texts = T::Array(Box::new(T::Text));
    let lax = [
        vec![T::Text, texts.clone(), T::Text],
        vec![T::Text, texts.clone(), T::Text, T::Bool],
        vec![T::Text, texts.clone(), T::Text, T::Bool, T::Text],
    ];
    let lax = lax.iter().map(|p| overload(p, T::Jsonb, assign::set_lax).called_on_null()).collect();
    let delete = [vec![T::Text, T::Text], vec![T::Text, T::Int4], vec![T::Text, texts]];
    let delete = delete.iter().map(|p| overload(p, T::Jsonb, edit::delete)).collect();
    vec![Function::new("jsonb_set_lax", lax).udf(), Function::new("jsonb_delete", delete).udf()]
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn document(value: &Value) -> SqlResult<Json<'_>> {
    Json::read(str(value))
}

/// A jsonb's text in its normal form, which that of a literal need not be.
fn normal(value: &Value) -> SqlResult<Cow<'_, str>> {
    json::normalize(str(value)).map(Cow::Owned)
}

/// What a function of json or jsonb reads: jsonb's in its normal form.
fn source<const BINARY: bool>(value: &Value) -> SqlResult<Cow<'_, str>> {
    if BINARY { normal(value) } else { Ok(Cow::Borrowed(str(value))) }
}

fn wrong(message: String) -> SqlError {
    SqlError::new(SqlState::InvalidParameterValue, message)
}

fn array_length(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match document(&args[0])?.kind {
        Kind::Array(elements) => Ok(Value::Int4(i32::try_from(elements.len()).unwrap_or(i32::MAX))),
        Kind::Object(_) => Err(wrong("cannot get array length of a non-array".to_owned())),
        _ => Err(wrong("cannot get array length of a scalar".to_owned())),
    }
}

fn is_binary(call: &Call<'_>) -> bool {
    call.types.first() == Some(&T::Jsonb)
}

fn json_or_null(found: Option<&Json<'_>>, binary: bool) -> Value {
    found.map_or(Value::Null, |json| Value::Text(json.shown(binary)))
}

fn text_or_null(found: Option<&Json<'_>>, binary: bool) -> Value {
    found.and_then(|json| json.text(binary)).map_or(Value::Null, Value::Text)
}

fn field(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(json_or_null(document(&args[0])?.field(str(&args[1])), is_binary(call)))
}

fn field_text(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(text_or_null(document(&args[0])?.field(str(&args[1])), is_binary(call)))
}

fn element(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(json_or_null(document(&args[0])?.element(args[1].as_i64().unwrap_or_default()), is_binary(call)))
}

fn element_text(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(text_or_null(document(&args[0])?.element(args[1].as_i64().unwrap_or_default()), is_binary(call)))
}

/// What a path of steps leads to; a NULL step leads nowhere.
fn walk<'t, 'a>(json: &'t Json<'a>, steps: &[Value]) -> Option<&'t Json<'a>> {
    steps.iter().try_fold(json, |json, step| json.step(step.as_str()?))
}

/// The steps among a function's arguments: one array, or one argument for each.
fn steps(args: &[Value]) -> &[Value] {
    match args.get(1) {
        Some(Value::Array(steps)) => steps,
        _ => args.get(1..).unwrap_or_default(),
    }
}

fn path<const BINARY: bool>(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = source::<BINARY>(&args[0])?;
    Ok(json_or_null(walk(&Json::read(&source)?, steps(args)), BINARY))
}

fn path_text<const BINARY: bool>(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = source::<BINARY>(&args[0])?;
    Ok(text_or_null(walk(&Json::read(&source)?, steps(args)), BINARY))
}

fn operator_path(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(json_or_null(walk(&document(&args[0])?, steps(args)), is_binary(call)))
}

fn operator_path_text(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(text_or_null(walk(&document(&args[0])?, steps(args)), is_binary(call)))
}

/// The fields of an object, for a function of this name.
fn fields<'t, 'a>(json: &'t Json<'a>, function: &str) -> SqlResult<&'t [(Cow<'a, str>, Json<'a>)]> {
    match &json.kind {
        Kind::Object(fields) => Ok(fields),
        Kind::Array(_) => Err(wrong(format!("cannot call {function} on an array"))),
        _ => Err(wrong(format!("cannot call {function} on a scalar"))),
    }
}

fn keys<const BINARY: bool>(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = source::<BINARY>(&args[0])?;
    let json = Json::read(&source)?;
    let function = if BINARY { "jsonb_object_keys" } else { "json_object_keys" };
    Ok(Value::Array(fields(&json, function)?.iter().map(|(key, _)| text(key.as_ref())).collect()))
}

fn values<const BINARY: bool>(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = source::<BINARY>(&args[0])?;
    let json = Json::read(&source)?;
    let function = if BINARY { "jsonb_each" } else { "json_each" };
    Ok(Value::Array(fields(&json, function)?.iter().map(|(_, value)| text(value.shown(BINARY))).collect()))
}

fn values_text<const BINARY: bool>(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = source::<BINARY>(&args[0])?;
    let json = Json::read(&source)?;
    let function = if BINARY { "jsonb_each_text" } else { "json_each_text" };
    Ok(Value::Array(fields(&json, function)?.iter().map(|(_, v)| text_or_null(Some(v), BINARY)).collect()))
}

fn elements_of<'t, 'a>(json: &'t Json<'a>) -> SqlResult<&'t [Json<'a>]> {
    match &json.kind {
        Kind::Array(elements) => Ok(elements),
        Kind::Object(_) => Err(wrong("cannot extract elements from an object".to_owned())),
        _ => Err(wrong("cannot extract elements from a scalar".to_owned())),
    }
}

fn elements<const BINARY: bool>(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = source::<BINARY>(&args[0])?;
    let json = Json::read(&source)?;
    Ok(Value::Array(elements_of(&json)?.iter().map(|e| text(e.shown(BINARY))).collect()))
}

fn elements_text<const BINARY: bool>(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = source::<BINARY>(&args[0])?;
    let json = Json::read(&source)?;
    Ok(Value::Array(elements_of(&json)?.iter().map(|e| text_or_null(Some(e), BINARY)).collect()))
}

/// Whether a key, or an element that is this string, stands at the top.
fn has(json: &Json<'_>, key: &str) -> bool {
    match &json.kind {
        Kind::Object(_) => json.field(key).is_some(),
        Kind::Array(elements) => elements.iter().any(|e| matches!(&e.kind, Kind::String(s) if s == key)),
        Kind::String(s) => s == key,
        _ => false,
    }
}

fn exists(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    Ok(Value::Bool(has(&document(&args[0])?, str(&args[1]))))
}

fn exists_any(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let json = document(&args[0])?;
    Ok(Value::Bool(steps(args).iter().filter_map(Value::as_str).any(|key| has(&json, key))))
}

fn exists_all(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let json = document(&args[0])?;
    Ok(Value::Bool(steps(args).iter().filter_map(Value::as_str).all(|key| has(&json, key))))
}

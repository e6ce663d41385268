//! Functions that make strings of a length that is asked for, and of characters by number.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};
use super::limits::check_bytes;

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::new("repeat", vec![overload(&[T::Text, T::Int4], T::Text, repeat)]).udf(),
        Function::new(
            "lpad",
            vec![
                overload(&[T::Text, T::Int4], T::Text, |a, _| pad(a, true)),
                overload(&[T::Text, T::Int4, T::Text], T::Text, |a, _| pad(a, true)),
            ],
        )
        .udf(),
        Function::new(
            "rpad",
            vec![
                overload(&[T::Text, T::Int4], T::Text, |a, _| pad(a, false)),
                overload(&[T::Text, T::Int4, T::Text], T::Text, |a, _| pad(a, false)),
            ],
        )
        .udf(),
        Function::new("replace", vec![overload(&[T::Text, T::Text, T::Text], T::Text, replace)]).udf(),
        Function::new("chr", vec![overload(&[T::Int4], T::Text, character)]).udf(),
        nulls("num_nulls", |a, _| Ok(number_of(a, true))),
        nulls("num_nonnulls", |a, _| Ok(number_of(a, false))),
    ]
}

/// A count over arguments of any type.
fn nulls(name: &'static str, count: Eval) -> Arc<ScalarUDF> {
    let overload = overload_of(vec![Parameter::Any], Returns::Type(T::Int4), count);
    Function::new(name, vec![overload.variadic().called_on_null()]).udf()
}

fn number_of(args: &[Value], null: bool) -> Value {
    Value::Int4(args.iter().filter(|value| value.is_null() == null).count() as i32)
}

fn repeat(args: &[Value], _: &Call) -> SqlResult<Value> {
    let (Value::Text(text), Value::Int4(times)) = (&args[0], &args[1]) else { return Err(kind()) };
    let times = usize::try_from(*times).unwrap_or(0);
    check_bytes(text.len().checked_mul(times))?;
    Ok(Value::Text(text.repeat(times)))
}

/// The text in as many characters as asked for: filled up at one side, or cut at its end.
fn pad(args: &[Value], left: bool) -> SqlResult<Value> {
    let (Value::Text(text), Value::Int4(length)) = (&args[0], &args[1]) else { return Err(kind()) };
    let fill = match args.get(2) {
        Some(Value::Text(fill)) => fill.as_str(),
        Some(_) => return Err(kind()),
        None => " ",
    };
    let length = usize::try_from(*length).unwrap_or(0);
    let widest = fill.chars().map(char::len_utf8).max().unwrap_or(0);
    check_bytes(length.checked_mul(widest))?;
    let missing = length.saturating_sub(text.chars().count());
    let filling: String = fill.chars().cycle().take(if fill.is_empty() { 0 } else { missing }).collect();
    let kept: String = text.chars().take(length).collect();
    Ok(Value::Text(if left { filling + &kept } else { kept + &filling }))
}

fn character(args: &[Value], _: &Call) -> SqlResult<Value> {
    let Value::Int4(code) = args[0] else { return Err(kind()) };
    match u32::try_from(code) {
        Ok(0) => Err(SqlError::new(SqlState::ProgramLimitExceeded, "null character not permitted")),
        Ok(code) => match char::from_u32(code) {
            Some(character) => Ok(Value::Text(character.to_string())),
            None => Err(SqlError::new(
                SqlState::ProgramLimitExceeded,
                format!("requested character too large for encoding: {code}"),
            )),
        },
        Err(_) => Err(SqlError::new(SqlState::InvalidParameterValue, "character number must be positive")),
    }
}

/// The text with another in the place of a part, wherever it stands.
fn replace(args: &[Value], call: &Call) -> SqlResult<Value> {
    let (Value::Text(text), Value::Text(from), Value::Text(to)) = (&args[0], &args[1], &args[2]) else {
        return Err(kind());
    };
    if from.is_empty() {
        return Ok(args[0].clone());
    }
    let found = text.matches(from.as_str()).count();
    call.check_canceled()?;
    check_bytes(to.len().checked_mul(found).and_then(|bytes| bytes.checked_add(text.len() - from.len() * found)))?;
    Ok(Value::Text(text.replace(from.as_str(), to)))
}

fn kind() -> SqlError {
    SqlError::internal("a string function was called with a value of another type")
}

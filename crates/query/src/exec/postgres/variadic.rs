//! `f(a, VARIADIC array)` for functions that take any number of arguments: the parser writes `__variadic_f(a, array)`.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Eval, Function, Parameter, Returns, overload_of};
use super::{json, text};

use SqlType as T;

/// What stands before the name of a function that is called with VARIADIC.
pub(crate) const PREFIX: &str = "__variadic_";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of = |name: &str, front: usize, returns: T, eval: Eval| {
        let parameters = vec![Parameter::Any; front + 1];
        let overload = overload_of(parameters, Returns::Type(returns), eval).called_on_null();
        Function::new(&format!("{PREFIX}{name}"), vec![overload]).udf()
    };
    vec![
        of("concat", 0, T::Text, |a, c| spread(a, c, text::concat)),
        of("concat_ws", 1, T::Text, |a, c| spread(a, c, text::concat_ws)),
        of("format", 1, T::Text, |a, c| {
            let none = Value::Array(Vec::new());
            let array = if a[1].is_null() { &none } else { &a[1] };
            spread(&[a[0].clone(), array.clone()], c, text::format)
        }),
        of("json_build_array", 0, T::Json, |a, c| spread(a, c, json::build_array)),
        of("jsonb_build_array", 0, T::Jsonb, |a, c| spread(a, c, json::build_array_binary)),
        of("json_build_object", 0, T::Json, |a, c| spread(a, c, json::build_object)),
        of("jsonb_build_object", 0, T::Jsonb, |a, c| spread(a, c, json::build_object_binary)),
    ]
}

/// Calls a function with the elements of the last argument as arguments.
fn spread(args: &[Value], call: &Call<'_>, eval: Eval) -> SqlResult<Value> {
    let Some((last, front)) = args.split_last() else { return Ok(Value::Null) };
    let of = match (call.types.last(), last) {
        (Some(T::Array(of)), _) => of.as_ref(),
        (_, Value::Null) => return Ok(Value::Null),
        _ => return Err(SqlError::new(SqlState::DatatypeMismatch, "VARIADIC argument must be an array")),
    };
    let Value::Array(elements) = last else { return Ok(Value::Null) };
    let args: Vec<Value> = front.iter().chain(elements).cloned().collect();
    let types: Vec<T> = call.types[..front.len()].iter().chain(elements.iter().map(|_| of)).cloned().collect();
    let call = Call { types: &types, returned: call.returned, declared: call.declared, view: call.view };
    eval(&args, &call)
}

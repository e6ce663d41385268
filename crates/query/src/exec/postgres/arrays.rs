//! Arrays: containment and what DataFusion does otherwise.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlResult, SqlType, Value};
use sqlparser::ast::BinaryOperator;

use super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let list = || T::Array(Box::new(T::Text));
    vec![
        Function::new(
            "string_to_table",
            vec![
                overload(&[T::Text, T::Text], list(), split).called_on_null(),
                overload(&[T::Text, T::Text, T::Text], list(), split).called_on_null(),
            ],
        )
        .set_returning()
        .udf(),
        Function::new(
            "string_to_array",
            vec![
                overload(&[T::Text, T::Text], list(), split).called_on_null(),
                overload(&[T::Text, T::Text, T::Text], list(), split).called_on_null(),
            ],
        )
        .udf(),
    ]
}

/// The function of an operator on arrays.
pub(super) fn operator(op: &BinaryOperator) -> Option<Arc<ScalarUDF>> {
    let one = |name: &str, symbol: &'static str, eval: Eval| {
        let overload = overload_of(vec![Parameter::Any, Parameter::Any], Returns::Type(T::Bool), eval);
        Some(Function::new(name, vec![overload]).operator(symbol).udf())
    };
    match op {
        BinaryOperator::AtArrow => one("arraycontains", "@>", |a, _| Ok(Value::Bool(contains(&a[0], &a[1])))),
        BinaryOperator::ArrowAt => one("arraycontained", "<@", |a, _| Ok(Value::Bool(contains(&a[1], &a[0])))),
        BinaryOperator::PGOverlap => one("arrayoverlap", "&&", |a, _| {
            let (Value::Array(left), Value::Array(right)) = (&a[0], &a[1]) else { return Ok(Value::Null) };
            Ok(Value::Bool(left.iter().any(|e| has(right, e))))
        }),
        _ => None,
    }
}

/// Whether an element is one of an array's. Integers are the same whatever their widths.
fn has(array: &[Value], element: &Value) -> bool {
    array.iter().any(|known| match (known.as_i64(), element.as_i64()) {
        (Some(known), Some(element)) => known == element,
        _ => !known.is_null() && known == element,
    })
}

/// Whether every element of `part` is one of `whole`; NULL is none.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Array(whole), Value::Array(part)) => part.iter().all(|e| has(whole, e)),
        _ => false,
    }
}

/// The pieces of a text between delimiters: all of it where the delimiter is empty, its characters where it is NULL.
/// Pieces that are the third argument are NULL.
fn split(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let Some(text) = args[0].as_str() else { return Ok(Value::Null) };
    let null = args.get(2).and_then(Value::as_str);
    let pieces: Vec<String> = match args[1].as_str() {
        _ if text.is_empty() => Vec::new(),
        None => text.chars().map(String::from).collect(),
        Some("") => vec![text.to_owned()],
        Some(delimiter) => text.split(delimiter).map(str::to_owned).collect(),
    };
    let value = |piece: String| if Some(piece.as_str()) == null { Value::Null } else { Value::Text(piece) };
    Ok(Value::Array(pieces.into_iter().map(value).collect()))
}

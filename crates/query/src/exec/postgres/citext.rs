//! `citext`: text whose equality and order go by its lower case.

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF};
use perigee_types::{SqlType, Value};

use super::function::{Function, overload};

/// The function that values compare by.
pub(in crate::exec) const KEY: &str = "__citext_key";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let cast = overload(&[SqlType::Text], SqlType::Citext, |args, _| Ok(args[0].clone()));
    vec![Function::new("citext", vec![cast]).udf(), key_function()]
}

/// What a value compares by; of an array, what each of its items does.
pub(super) fn key(value: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(key_function(), vec![value]))
}

fn key_function() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let key = overload(&[SqlType::Text], SqlType::Text, |args, _| Ok(lower(&args[0])));
        let texts = SqlType::Array(Box::new(SqlType::Text));
        let keys = overload(std::slice::from_ref(&texts), texts.clone(), |args, _| {
            Ok(match &args[0] {
                Value::Array(items) => Value::Array(items.iter().map(lower).collect()),
                _ => Value::Null,
            })
        });
        Function::new(KEY, vec![key, keys]).udf()
    });
    Arc::clone(&FUNCTION)
}

fn lower(value: &Value) -> Value {
    value.as_str().map_or(Value::Null, |text| Value::Text(text.to_lowercase()))
}

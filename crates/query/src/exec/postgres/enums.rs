//! Functions of enumerated types. Their arguments say by their type alone which one is meant.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::enum_type::EnumLabel;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Eval, Function, Parameter, Returns, overload_of};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let same: fn(&[SqlType], &[Option<Value>]) -> SqlType = |types, _| argument(types);
    let array: fn(&[SqlType], &[Option<Value>]) -> SqlType = |types, _| SqlType::Array(Box::new(argument(types)));
    let one = |name: &str, returns, eval: Eval| {
        let overload = overload_of(vec![Parameter::Any], Returns::Derived(returns), eval).called_on_null();
        Function::new(name, vec![overload]).udf()
    };
    let range = |count| overload_of(vec![Parameter::Any; count], Returns::Derived(array), range).called_on_null();
    vec![
        one("enum_first", same, |_, call| end(call, <[EnumLabel]>::first)),
        one("enum_last", same, |_, call| end(call, <[EnumLabel]>::last)),
        Function::new("enum_range", vec![range(1), range(2)]).udf(),
    ]
}

/// The enumerated type among the arguments'; else the first, which `labels` refuses.
fn argument(types: &[SqlType]) -> SqlType {
    let named = types.iter().find(|ty| matches!(ty, SqlType::Enum(_)));
    named.or(types.first()).cloned().unwrap_or(SqlType::Unknown)
}

fn labels(call: &Call<'_>) -> SqlResult<Vec<EnumLabel>> {
    match argument(call.types) {
        SqlType::Enum(of) => Ok(of.labels().to_vec()),
        _ => Err(SqlError::new(SqlState::DatatypeMismatch, "could not determine actual enum type")),
    }
}

fn end(call: &Call<'_>, pick: fn(&[EnumLabel]) -> Option<&EnumLabel>) -> SqlResult<Value> {
    let labels = labels(call)?;
    pick(&labels)
        .map(|label| Value::Enum(label.order))
        .ok_or_else(|| SqlError::new(SqlState::ObjectNotInPrerequisiteState, "the enum contains no values"))
}

/// All labels, or those from one to another; NULL leaves an end open.
fn range(values: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let order = |at: usize| match values.get(at) {
        Some(Value::Enum(order)) if values.len() == 2 => Some(*order),
        _ => None,
    };
    let (low, high) = (order(0).unwrap_or(i64::MIN), order(1).unwrap_or(i64::MAX));
    let within = labels(call)?.into_iter().map(|label| label.order).filter(|order| (low..=high).contains(order));
    Ok(Value::Array(within.map(Value::Enum).collect()))
}

//! What a sequence is at: `SELECT * FROM sequence` is made of these.

use perigee_types::{SqlResult, SqlType, Value};

use super::{SystemFunction, function, oid_at};
use crate::pg_catalog::scope::Scope;

/// The value that was given last, or will be given first.
pub(crate) const SEQUENCE_VALUE: &str = "__sequence_value";
/// Whether a value was given.
pub(crate) const SEQUENCE_CALLED: &str = "__sequence_called";

pub(super) fn all() -> Vec<SystemFunction> {
    vec![
        function("pg_sequence_last_value", 1..=1, SqlType::Int8, |scope, values| {
            Ok(match state(scope, values) {
                Some((last, true)) => Value::Int8(last),
                _ => Value::Null,
            })
        }),
        function(SEQUENCE_VALUE, 1..=1, SqlType::Int8, value),
        function(SEQUENCE_CALLED, 1..=1, SqlType::Bool, |scope, values| {
            Ok(state(scope, values).map_or(Value::Null, |(_, called)| Value::Bool(called)))
        }),
    ]
}

fn value(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    Ok(state(scope, values).map_or(Value::Null, |(last, _)| Value::Int8(last)))
}

/// `last_value` and `is_called`
fn state(scope: &Scope, values: &[Value]) -> Option<(i64, bool)> {
    let oid = oid_at(values, 0);
    let sequence = scope.sequences().find(|sequence| sequence.oid == oid)?;
    let services = scope.session().services.as_ref();
    if let Some(next) = services.and_then(|services| services.taken_value(oid)) {
        return Some((next.saturating_sub(sequence.increment), true));
    }
    Some(match scope.view().snapshot.store().sequence(oid) {
        Some(state) if state.called => (state.next.saturating_sub(sequence.increment), true),
        Some(state) => (state.next, false),
        // One that this transaction has made.
        None => (sequence.start, false),
    })
}

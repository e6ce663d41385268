//! Dates, times and intervals.
//!
//! - [`calculate`]: adding and subtracting
//! - [`parts`]: EXTRACT, date_part, date_trunc, age
//! - [`make`]: making values from numbers, moving between zones
//! - `overlaps`: the predicate OVERLAPS
//! - [`pattern`]: to_char, to_date, to_timestamp

mod buckets;
mod calculate;
mod make;
mod overlaps;
mod parts;
mod pattern;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Operator, ScalarUDF};
use perigee_types::{SqlError, SqlState, SqlType};

pub(crate) use buckets::BUCKETS;
pub(super) use calculate::{instant_plus, interval_times};

/// Microseconds of a day.
pub(in crate::exec::postgres) const DAY: i64 = 86_400_000_000;
/// Microseconds of a second.
pub(super) const SECOND: i64 = 1_000_000;

/// All functions here that SQL may name.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = parts::functions();
    all.extend(make::functions());
    all.push(buckets::function());
    all.extend(overlaps::functions());
    all.extend(pattern::functions());
    all
}

/// The operator on dates, times and intervals; `None` for `%`.
pub(super) fn operator(symbol: &str) -> Option<Arc<ScalarUDF>> {
    static OPERATORS: LazyLock<Vec<(&'static str, Arc<ScalarUDF>)>> = LazyLock::new(calculate::operators);
    OPERATORS.iter().find(|(s, _)| *s == symbol).map(|(_, udf)| Arc::clone(udf))
}

/// EXTRACT.
pub(super) fn extract() -> Arc<ScalarUDF> {
    static EXTRACT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(parts::extract);
    Arc::clone(&EXTRACT)
}

/// An interval's length as one number.
pub(super) fn interval_length(interval: Expr) -> Expr {
    static LENGTH: LazyLock<Arc<ScalarUDF>> = LazyLock::new(calculate::length);
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&LENGTH), vec![interval]))
}

/// The type of an untyped literal or parameter on the other side of an operator.
pub(super) fn other_side(op: Operator, known: &SqlType, known_is_right: bool) -> SqlType {
    match (op, known) {
        (Operator::Plus, SqlType::Date | SqlType::Time(_) | SqlType::Timestamp(_) | SqlType::Timestamptz(_)) => {
            SqlType::Interval
        }
        (Operator::Multiply, SqlType::Interval) => SqlType::Float8,
        (Operator::Divide, SqlType::Interval) if !known_is_right => SqlType::Float8,
        (_, known) => known.clone(),
    }
}

/// `22008`
fn out_of_range(what: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeFieldOverflow, format!("{what} out of range"))
}

//! Buckets of time one after the other, for `time_bucket_gapfill`.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::bucket::{BucketWidth, micros, time_value};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::calculate::interval;
use crate::exec::postgres::function::{Call, Function, overload};

/// `(first bucket, next bucket with rows or infinity, finish, finish included, width)` as an array of buckets.
pub(crate) const BUCKETS: &str = "__buckets";

/// Buckets between two rows, at most.
const BUCKETS_MAX: usize = 1_000_000;

pub(super) fn function() -> Arc<ScalarUDF> {
    let of = |ty: SqlType| {
        let args = [ty.clone(), ty.clone(), ty.clone(), SqlType::Bool, SqlType::Interval];
        let array = SqlType::Array(Box::new(ty));
        overload(&args, array, buckets)
    };
    Function::new(BUCKETS, vec![of(SqlType::Timestamptz(None)), of(SqlType::Timestamp(None)), of(SqlType::Date)]).udf()
}

fn buckets(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let ty = match args[0] {
        Value::Date(_) => SqlType::Date,
        Value::Timestamp(_) => SqlType::Timestamp(None),
        _ => SqlType::Timestamptz(None),
    };
    let time = |at: usize| micros(&args[at]).ok_or_else(|| SqlError::internal("a bucket for something without a time"));
    let (mut at, next, finish) = (time(0)?, time(1)?, time(2)?);
    let width = BucketWidth::new(interval(&args[4])?)?;
    let included = matches!(args[3], Value::Bool(true));
    let infinite = |at: i64| at == i64::MAX || at == i64::MIN;
    if infinite(at) || (infinite(next) && infinite(finish)) {
        return Ok(Value::Array(vec![args[0].clone()]));
    }
    let mut out = Vec::new();
    loop {
        let within = if infinite(next) { at < finish || (included && at == finish) } else { at < next };
        // The first is there in any case: a row stands in it.
        if !within && !out.is_empty() {
            return Ok(Value::Array(out));
        }
        if out.len() == BUCKETS_MAX {
            let message = format!("time_bucket_gapfill would make more than {BUCKETS_MAX} buckets in a row");
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
        }
        out.push(time_value(at, &ty));
        at = width.last(at).saturating_add(1);
    }
}

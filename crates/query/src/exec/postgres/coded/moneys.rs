//! Operators of `money`, and the casts that are called like functions.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_plan::evaluate::cast;
use perigee_types::coded::money;
use perigee_types::text::OutputSettings;
use perigee_types::{CodedType, SqlError, SqlResult, SqlState, SqlType, Value};

use super::{Operation, kept};
use crate::exec::postgres::function::{Call, Function, overload};

const MONEY: SqlType = SqlType::Coded(CodedType::Money);

pub(super) fn operations() -> Vec<Operation> {
    use SqlType::{Float8, Int8};
    vec![
        Operation::new("+", "cash_pl", [MONEY, MONEY], MONEY, |a, c| both(a, c, i64::checked_add)),
        Operation::new("-", "cash_mi", [MONEY, MONEY], MONEY, |a, c| both(a, c, i64::checked_sub)),
        Operation::new("*", "cash_mul_int8", [MONEY, Int8], MONEY, |a, c| {
            made(amount(a, c, 0)?.checked_mul(integer(a, 1)?))
        }),
        Operation::new("*", "int8_mul_cash", [Int8, MONEY], MONEY, |a, c| {
            made(amount(a, c, 1)?.checked_mul(integer(a, 0)?))
        }),
        Operation::new("*", "cash_mul_flt8", [MONEY, Float8], MONEY, |a, c| {
            rounded(amount(a, c, 0)? as f64 * float(a, 1)?)
        }),
        Operation::new("*", "flt8_mul_cash", [Float8, MONEY], MONEY, |a, c| {
            rounded(amount(a, c, 1)? as f64 * float(a, 0)?)
        }),
        // What has no type yet is of the other side's.
        Operation::new("/", "cash_div_cash", [MONEY, MONEY], Float8, |a, c| {
            let by = amount(a, c, 1)?;
            Ok(Value::Float8(amount(a, c, 0)? as f64 / not_zero(by, by == 0)? as f64))
        }),
        Operation::new("/", "cash_div_int8", [MONEY, Int8], MONEY, |a, c| {
            let by = integer(a, 1)?;
            made(amount(a, c, 0)?.checked_div(not_zero(by, by == 0)?))
        }),
        Operation::new("/", "cash_div_flt8", [MONEY, Float8], MONEY, |a, c| {
            let by = float(a, 1)?;
            rounded(amount(a, c, 0)? as f64 / not_zero(by, by == 0.0)?)
        }),
    ]
}

/// `money(number)`
pub(super) fn function() -> Arc<ScalarUDF> {
    let of = |ty: SqlType| {
        overload(&[ty], MONEY, |a, c| {
            let from = c.types.first().unwrap_or(&SqlType::Unknown);
            let value = a.first().cloned().unwrap_or(Value::Null);
            cast(value, from, &MONEY, true, OutputSettings::DEFAULT)
        })
    };
    Function::new("money", vec![of(SqlType::Int4), of(SqlType::Int8), of(SqlType::Numeric(None))]).udf()
}

fn amount(args: &[Value], call: &Call<'_>, at: usize) -> SqlResult<i64> {
    kept(args, call, at, CodedType::Money).map(money::decode)
}

fn both(args: &[Value], call: &Call<'_>, of: fn(i64, i64) -> Option<i64>) -> SqlResult<Value> {
    made(of(amount(args, call, 0)?, amount(args, call, 1)?))
}

fn integer(args: &[Value], at: usize) -> SqlResult<i64> {
    args.get(at).and_then(Value::as_i64).ok_or_else(|| SqlError::internal("a factor of money is no number"))
}

fn float(args: &[Value], at: usize) -> SqlResult<f64> {
    args.get(at).and_then(Value::as_f64).ok_or_else(|| SqlError::internal("a factor of money is no number"))
}

fn not_zero<T>(by: T, is_zero: bool) -> SqlResult<T> {
    if is_zero { Err(SqlError::new(SqlState::DivisionByZero, "division by zero")) } else { Ok(by) }
}

fn made(hundredths: Option<i64>) -> SqlResult<Value> {
    let out_of_range = || SqlError::new(SqlState::NumericValueOutOfRange, "money out of range");
    hundredths.map(|hundredths| Value::Bytea(money::encode(hundredths))).ok_or_else(out_of_range)
}

/// Halves go to the even neighbour, as in PostgreSQL.
fn rounded(hundredths: f64) -> SqlResult<Value> {
    let whole = hundredths.round_ties_even();
    // The first double that is too large is the first beyond the range.
    made((i64::MIN as f64..i64::MAX as f64).contains(&whole).then_some(whole as i64))
}

//! Evaluation of [`Expr`] over one row.

use perigee_types::{Oid, SqlError, SqlResult, Value};

use crate::expr::Expr;

/// What an expression may ask for besides its row and parameters.
#[derive(Clone, Copy)]
pub struct EvaluationContext<'a> {
    /// `now()`: microseconds since 1970 UTC at the start of the transaction.
    pub transaction_time: i64,
    /// `statement_timestamp()`: microseconds since 1970 UTC at the start of the statement.
    pub statement_time: i64,
    /// Seconds east of UTC of the session's zone at a UTC time (microseconds since 1970).
    pub utc_offset: &'a dyn Fn(i64) -> i32,
    /// `nextval` of a sequence.
    pub next_value: &'a dyn Fn(Oid) -> SqlResult<i64>,
    /// 16 random bytes for `gen_random_uuid()`; version and variant are put in here.
    pub random_uuid: &'a dyn Fn() -> [u8; 16],
}

impl Expr {
    /// The expression's value over `row` (values of the table's columns; empty where it names none).
    ///
    /// # Errors
    /// PostgreSQL's, by SQLSTATE.
    pub fn evaluate(&self, row: &[Value], parameters: &[Value], context: &EvaluationContext) -> SqlResult<Value> {
        let _ = (row, parameters, context);
        Err(SqlError::unsupported("expression"))
    }
}

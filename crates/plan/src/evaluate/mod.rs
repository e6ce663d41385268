//! Values of [`Expr`], with PostgreSQL's rules and errors.
//!
//! - [`arithmetic`]: operators on numbers and text
//! - [`cast`]: casts between types

mod arithmetic;
mod cast;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use perigee_types::text::OutputSettings;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};

use crate::expr::{Expr, Operator};

pub use cast::{cast, cast_for_key};

/// What an expression may ask for besides its row and parameters.
#[derive(Clone, Copy)]
pub struct EvaluationContext<'a> {
    /// `now()`: microseconds since 1970 UTC at the start of the transaction.
    pub transaction_time: i64,
    /// `statement_timestamp()`: microseconds since 1970 UTC at the start of the statement.
    pub statement_time: i64,
    /// How the session reads and writes values; the zone is used where timestamptz meets a type without one.
    pub settings: &'a OutputSettings,
    /// `nextval` of a sequence.
    pub next_value: &'a dyn Fn(Oid) -> SqlResult<i64>,
    /// 16 random bytes for `gen_random_uuid()`; version and variant are put in here.
    pub random_uuid: &'a dyn Fn() -> [u8; 16],
}

impl EvaluationContext<'_> {
    /// For expressions that are constant: without a session; sequences are refused.
    #[must_use]
    pub fn constant() -> EvaluationContext<'static> {
        EvaluationContext {
            transaction_time: 0,
            statement_time: 0,
            settings: &OutputSettings::DEFAULT,
            next_value: &|_| Err(SqlError::internal("nextval in a constant expression")),
            random_uuid: &|| [0; 16],
        }
    }
}

impl Expr {
    /// The expression's value over `row` (values of the table's columns; empty where it names none).
    ///
    /// # Errors
    /// PostgreSQL's, by SQLSTATE; `XX000` where the plan names a column or parameter that is not there.
    pub fn evaluate(&self, row: &[Value], parameters: &[Value], context: &EvaluationContext) -> SqlResult<Value> {
        Ok(match self {
            Expr::Column(place) => row.get(*place).cloned().ok_or_else(|| missing("column", *place))?,
            Expr::Parameter(place) => parameters.get(*place).cloned().ok_or_else(|| missing("parameter", *place))?,
            Expr::Literal(value) => value.clone(),
            Expr::Binary { left, operator, right, ty } => match operator {
                Operator::And | Operator::Or => logic(left, *operator, right, row, parameters, context)?,
                _ => {
                    let left = left.evaluate(row, parameters, context)?;
                    let right = right.evaluate(row, parameters, context)?;
                    binary(&left, *operator, &right, ty)?
                }
            },
            Expr::Not(inner) => match boolean(inner.evaluate(row, parameters, context)?)? {
                Some(value) => Value::Bool(!value),
                None => Value::Null,
            },
            Expr::Negate(inner) => arithmetic::negate(inner.evaluate(row, parameters, context)?)?,
            Expr::IsNull(inner) => Value::Bool(inner.evaluate(row, parameters, context)?.is_null()),
            Expr::IsNotNull(inner) => Value::Bool(!inner.evaluate(row, parameters, context)?.is_null()),
            Expr::Coalesce(list) => {
                for inner in list {
                    let value = inner.evaluate(row, parameters, context)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Value::Null
            }
            Expr::Cast { from, from_type, to, explicit } => {
                let value = from.evaluate(row, parameters, context)?;
                cast(value, from_type, to, *explicit, context.settings_now())?
            }
            Expr::KeyCast { from, from_type, to } => {
                cast_for_key(from.evaluate(row, parameters, context)?, from_type, to)?
            }
            Expr::TransactionTime => Value::Timestamptz(context.transaction_time),
            Expr::StatementTime => Value::Timestamptz(context.statement_time),
            Expr::NextValue(sequence) => Value::Int8((context.next_value)(*sequence)?),
            Expr::RandomUuid => Value::Uuid(version_4((context.random_uuid)())),
        })
    }

    /// Whether the expression holds for a row, as WHERE asks: NULL is no.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn holds(&self, row: &[Value], parameters: &[Value], context: &EvaluationContext) -> SqlResult<bool> {
        Ok(boolean(self.evaluate(row, parameters, context)?)?.unwrap_or(false))
    }
}

impl EvaluationContext<'_> {
    /// The settings with the transaction's time, for inputs like `'now'::timestamptz`.
    fn settings_now(&self) -> OutputSettings {
        OutputSettings { now: self.settings.now.or(Some(self.transaction_time)), ..*self.settings }
    }
}

/// AND and OR: three-valued, and the right side is left alone where the left decides.
fn logic(
    left: &Expr,
    operator: Operator,
    right: &Expr,
    row: &[Value],
    parameters: &[Value],
    context: &EvaluationContext,
) -> SqlResult<Value> {
    // What decides: false for AND, true for OR.
    let decisive = operator == Operator::Or;
    let left = boolean(left.evaluate(row, parameters, context)?)?;
    if left == Some(decisive) {
        return Ok(Value::Bool(decisive));
    }
    let right = boolean(right.evaluate(row, parameters, context)?)?;
    Ok(match (left, right) {
        (_, Some(value)) if value == decisive => Value::Bool(decisive),
        (Some(_), Some(_)) => Value::Bool(!decisive),
        _ => Value::Null,
    })
}

fn binary(left: &Value, operator: Operator, right: &Value, ty: &SqlType) -> SqlResult<Value> {
    if left.is_null() || right.is_null() {
        return Ok(Value::Null);
    }
    let wanted: fn(Ordering) -> bool = match operator {
        Operator::Eq => Ordering::is_eq,
        Operator::NotEq => Ordering::is_ne,
        Operator::Lt => Ordering::is_lt,
        Operator::LtEq => Ordering::is_le,
        Operator::Gt => Ordering::is_gt,
        Operator::GtEq => Ordering::is_ge,
        _ => return arithmetic::apply(left, operator, right, ty),
    };
    compare(left, right).map(|ordering| Value::Bool(wanted(ordering)))
}

/// The order of two values that are not NULL.
fn compare(left: &Value, right: &Value) -> SqlResult<Ordering> {
    left.sql_cmp(right)
        .ok_or_else(|| SqlError::new(SqlState::UndefinedFunction, "the values of this comparison have no common order"))
}

fn boolean(value: Value) -> SqlResult<Option<bool>> {
    match value {
        Value::Bool(value) => Ok(Some(value)),
        Value::Null => Ok(None),
        _ => Err(SqlError::new(SqlState::DatatypeMismatch, "argument must be type boolean")),
    }
}

fn version_4(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}

fn missing(what: &str, place: usize) -> SqlError {
    SqlError::internal(format_args!("the plan names {what} {place}, which is not there"))
}

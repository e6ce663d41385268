//! Types made to fit.

use perigee_plan::Expr;
use perigee_types::coded::CodedType;
use perigee_types::network::AddressType;
use perigee_types::text;
use perigee_types::{SqlError, SqlState, SqlType, Value};

use super::{Bound, Scope, Stop};
use crate::sql::plan::literal::depends_on_session;

impl Scope<'_> {
    /// An expression as `to`, where its type is unknown or becomes `to` by itself.
    pub(in crate::sql::plan) fn coerce(&mut self, bound: Bound, to: &SqlType) -> Result<Expr, Stop> {
        let (expr, from) = bound;
        let to = &to.without_second_digits();
        if from != SqlType::Unknown {
            return if from.without_second_digits() == *to || (is_string(&from) && is_string(to) && !has_length(to)) {
                Ok(expr)
            } else if implicit(&from, to) {
                Ok(cast(expr, from, to, false))
            } else {
                Err(Stop::Relational)
            };
        }
        self.untyped(expr, to, false)
    }

    /// An untyped constant or parameter as `to`.
    fn untyped(&mut self, expr: Expr, to: &SqlType, explicit: bool) -> Result<Expr, Stop> {
        match expr {
            Expr::Literal(Value::Text(value)) => {
                if depends_on_session(to) || (explicit && has_length(to)) {
                    return Ok(cast(Expr::Literal(Value::Text(value)), SqlType::Text, to, explicit));
                }
                if matches!(
                    to,
                    SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole
                ) {
                    return Err(Stop::Relational);
                }
                Ok(Expr::Literal(text::parse(&value, to)?))
            }
            Expr::Parameter(place) => {
                self.parameters.infer(place, to);
                let ty = self.parameters.get(place).cloned().unwrap_or(SqlType::Text);
                Ok(if ty == *to { Expr::Parameter(place) } else { cast(Expr::Parameter(place), ty, to, explicit) })
            }
            other => Ok(other),
        }
    }

    /// An expression as a column of type `to` takes it in INSERT and UPDATE.
    ///
    /// `column` is for the message.
    pub(in crate::sql::plan) fn assign(&mut self, bound: Bound, to: &SqlType, column: &str) -> Result<Expr, Stop> {
        let (expr, from) = bound;
        if from == SqlType::Unknown {
            return self.untyped(expr, to, false);
        }
        if from == *to {
            return Ok(expr);
        }
        if !assignable(&from, to) {
            return Err(Stop::Error(type_mismatch(column, to, &from)));
        }
        Ok(cast(expr, from, to, false))
    }

    /// `expr::to`
    pub(super) fn explicit_cast(&mut self, bound: Bound, to: &SqlType) -> Result<Bound, Stop> {
        let (expr, from) = bound;
        if matches!(
            to,
            SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole
        ) {
            return Err(Stop::Relational);
        }
        if from == SqlType::Unknown {
            return Ok((self.untyped(expr, to, true)?, to.clone()));
        }
        if from == *to {
            return Ok((expr, from));
        }
        let known = assignable(&from, to)
            || is_string(&from)
            || matches!((&from, to), (SqlType::Int4, SqlType::Bool) | (SqlType::Bool, SqlType::Int4));
        if !known {
            return Err(Stop::Relational);
        }
        Ok((cast(expr, from, to, true), to.clone()))
    }

    /// An expression as a value to look up in a column of type `column`; its own type may be wider.
    pub(in crate::sql::plan) fn key(&mut self, bound: Bound, column: &SqlType) -> Result<Expr, Stop> {
        let (expr, from) = bound;
        // A constant is not rounded to what the column holds: it equals none of its values then.
        let column = &column.without_second_digits();
        let from = from.without_second_digits();
        let looked_up = |expr, from_type| Expr::KeyCast { from: Box::new(expr), from_type, to: column.clone() };
        match column {
            // Keys of these compare without their length.
            SqlType::Char(_) if from == SqlType::Unknown => {
                let expr = self.untyped(expr, &SqlType::Text, false)?;
                Ok(looked_up(expr, SqlType::Text))
            }
            SqlType::Varchar(_) | SqlType::Name if from == SqlType::Unknown => {
                self.untyped(expr, &SqlType::Text, false)
            }
            SqlType::Numeric(_) if from == SqlType::Unknown => {
                let expr = self.untyped(expr, &SqlType::Numeric(None), false)?;
                Ok(looked_up(expr, SqlType::Numeric(None)))
            }
            _ if from == SqlType::Unknown => self.untyped(expr, column, false),
            SqlType::Text | SqlType::Varchar(_) | SqlType::Name if is_string(&from) => Ok(expr),
            SqlType::Numeric(_) if from.is_integer() || matches!(from, SqlType::Numeric(_)) => {
                Ok(looked_up(expr, from))
            }
            _ if from == *column => Ok(expr),
            SqlType::Int2 | SqlType::Int4 if from.is_number() => Ok(looked_up(expr, from)),
            // A bigint that meets a double compares as a double, of which several may be one bigint.
            SqlType::Int8 if from.is_integer() || matches!(from, SqlType::Numeric(_)) => Ok(looked_up(expr, from)),
            SqlType::Float8 if from.is_number() => Ok(cast(expr, from, column, false)),
            _ => Err(Stop::Relational),
        }
    }
}

/// A cast; constants are cast here and now unless the session decides.
pub(super) fn cast(expr: Expr, from: SqlType, to: &SqlType, explicit: bool) -> Expr {
    let made = Expr::Cast { from: Box::new(expr), from_type: from, to: to.clone(), explicit };
    if let Expr::Cast { from, from_type, to, .. } = &made
        && matches!(**from, Expr::Literal(_))
        && !depends_on_session(from_type)
        && !depends_on_session(to)
        && let Ok(value) = made.evaluate(&[], &[], &perigee_plan::EvaluationContext::constant())
    {
        return Expr::Literal(value);
    }
    made
}

/// `42804` for a value that a column does not take.
pub(in crate::sql::plan) fn type_mismatch(column: &str, to: &SqlType, from: &SqlType) -> SqlError {
    let plain = |ty: &SqlType| match ty {
        SqlType::Numeric(_) => "numeric".to_owned(),
        SqlType::Varchar(_) => "character varying".to_owned(),
        SqlType::Char(_) => "character".to_owned(),
        other => other.to_string(),
    };
    SqlError::new(
        SqlState::DatatypeMismatch,
        format!("column \"{column}\" is of type {} but expression is of type {}", plain(to), plain(from)),
    )
    .hint("You will need to rewrite or cast the expression.")
}

fn is_string(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name)
}

fn has_length(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Varchar(Some(_)) | SqlType::Char(_) | SqlType::Name)
}

/// How far an automatic cast goes up among the numbers.
pub(super) fn number_rank(ty: &SqlType) -> Option<u8> {
    Some(match ty {
        SqlType::Int2 => 0,
        SqlType::Int4 => 1,
        SqlType::Int8 => 2,
        SqlType::Numeric(_) => 3,
        SqlType::Float4 => 4,
        SqlType::Float8 => 5,
        _ => return None,
    })
}

fn implicit(from: &SqlType, to: &SqlType) -> bool {
    match (number_rank(from), number_rank(to)) {
        (Some(a), Some(b)) => a <= b,
        _ => false,
    }
}

/// Whether INSERT and UPDATE cast from one type to another by themselves.
pub(in crate::sql::plan) fn assignable(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Date, InternalChar, Interval, Json, Jsonb, Oid, Time, Timestamp, Timestamptz, Timetz, Unknown};
    if let SqlType::IntervalOf(_) = to {
        return assignable(&from.without_second_digits(), &Interval);
    }
    if from == to || *from == Unknown || (number_rank(from).is_some() && number_rank(to).is_some()) {
        return true;
    }
    // Every type becomes text by assignment.
    if is_string(to) || matches!(to, InternalChar | SqlType::Citext) {
        return true;
    }
    match (from, to) {
        (SqlType::Array(from), SqlType::Array(to)) => assignable(from, to),
        (SqlType::Array(from), SqlType::Vector(_)) => from.is_number(),
        (SqlType::Coded(from), SqlType::Coded(to)) => {
            let is_bits = |ty: &CodedType| matches!(ty, CodedType::Bit(_) | CodedType::VarBit(_));
            from.without_modifier() == to.without_modifier() || is_bits(from) && is_bits(to)
        }
        (SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(_), SqlType::Coded(CodedType::Money))
        | (SqlType::Coded(CodedType::Money), SqlType::Numeric(_)) => true,
        (SqlType::Record(from), SqlType::Composite(to)) => from.len() == to.attributes.len(),
        (SqlType::Vector(_), SqlType::Vector(_))
        | (SqlType::Address(AddressType::Mac), SqlType::Address(AddressType::Mac8)) => true,
        (SqlType::Address(from), SqlType::Address(to)) => {
            from == to
                || matches!((from, to), (AddressType::Inet, AddressType::Cidr) | (AddressType::Cidr, AddressType::Inet))
        }
        (SqlType::Vector(_), SqlType::Array(to)) => **to == SqlType::Float4,
        (Date, Timestamp(_) | Timestamptz(_))
        | (Timestamp(_), Date | Time(_) | Timestamp(_) | Timestamptz(_))
        | (Timestamptz(_), Date | Time(_) | Timestamp(_) | Timestamptz(_))
        | (Time(_), Interval | Time(_) | Timetz(_))
        | (Timestamptz(_), Timetz(_))
        | (Timetz(_), Time(_) | Timetz(_))
        | (Interval | SqlType::IntervalOf(_), Interval | Time(_))
        | (Json, Jsonb)
        | (Jsonb, Json) => true,
        (
            from,
            Oid | SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole,
        ) => from.is_integer() || *from == Oid,
        (
            Oid | SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole,
            to,
        ) => {
            matches!(to, SqlType::Int4 | SqlType::Int8)
        }
        _ => false,
    }
}

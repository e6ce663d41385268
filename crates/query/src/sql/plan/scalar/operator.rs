//! Operators: which type both sides have, and what comes out.

use perigee_plan::Expr;
use perigee_plan::expr::Operator;
use perigee_types::{SqlType, Value};
use sqlparser::ast::{self, BinaryOperator, UnaryOperator};

use super::coerce::number_rank;
use super::{Bound, Scope, Stop};

impl Scope<'_> {
    pub(super) fn binary(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Bound, Stop> {
        let operator = match op {
            BinaryOperator::Plus => Operator::Add,
            BinaryOperator::Minus => Operator::Subtract,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Modulo,
            BinaryOperator::StringConcat => Operator::Concat,
            BinaryOperator::Eq => Operator::Eq,
            BinaryOperator::NotEq => Operator::NotEq,
            BinaryOperator::Lt => Operator::Lt,
            BinaryOperator::LtEq => Operator::LtEq,
            BinaryOperator::Gt => Operator::Gt,
            BinaryOperator::GtEq => Operator::GtEq,
            BinaryOperator::And => Operator::And,
            BinaryOperator::Or => Operator::Or,
            _ => return Err(Stop::Relational),
        };
        if matches!(operator, Operator::And | Operator::Or) {
            let (left, right) = (self.condition(left)?, self.condition(right)?);
            return Ok((made(left, operator, right, SqlType::Bool), SqlType::Bool));
        }
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        match operator {
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                self.arithmetic(left, operator, right)
            }
            Operator::Concat => self.concat(left, right),
            _ => self.compare(left, operator, right),
        }
    }

    fn arithmetic(&mut self, left: Bound, operator: Operator, right: Bound) -> Result<Bound, Stop> {
        let ty = number_type(&left.1, &right.1).ok_or(Stop::Relational)?;
        if operator == Operator::Modulo && matches!(ty, SqlType::Float4 | SqlType::Float8) {
            return Err(Stop::Relational);
        }
        let (left, right) = (self.operand(left, &ty)?, self.operand(right, &ty)?);
        Ok((made(left, operator, right, ty.clone()), ty))
    }

    /// One side of an operation on numbers. Integers go into decimal arithmetic as they are.
    fn operand(&mut self, side: Bound, ty: &SqlType) -> Result<Expr, Stop> {
        if matches!(ty, SqlType::Numeric(_)) && (side.1.is_integer() || matches!(side.1, SqlType::Numeric(_))) {
            return Ok(side.0);
        }
        if ty.is_integer() && side.1.is_integer() {
            return Ok(side.0);
        }
        self.coerce(side, ty)
    }

    fn concat(&mut self, left: Bound, right: Bound) -> Result<Bound, Stop> {
        let text = |ty: &SqlType| matches!(ty, SqlType::Text | SqlType::Varchar(_) | SqlType::Name | SqlType::Unknown);
        if !text(&left.1) || !text(&right.1) || (left.1 == SqlType::Unknown && right.1 == SqlType::Unknown) {
            return Err(Stop::Relational);
        }
        let (left, right) = (self.coerce(left, &SqlType::Text)?, self.coerce(right, &SqlType::Text)?);
        Ok((made(left, Operator::Concat, right, SqlType::Text), SqlType::Text))
    }

    pub(super) fn compare(&mut self, left: Bound, operator: Operator, right: Bound) -> Result<Bound, Stop> {
        let ty = compared_type(&left.1, &right.1).ok_or(Stop::Relational)?;
        let (left, right) = (self.compared(left, &ty)?, self.compared(right, &ty)?);
        Ok((made(left, operator, right, ty), SqlType::Bool))
    }

    fn compared(&mut self, side: Bound, ty: &SqlType) -> Result<Expr, Stop> {
        match ty {
            SqlType::Numeric(_) => {
                if side.1 == SqlType::Unknown {
                    return self.coerce(side, &SqlType::Numeric(None));
                }
                self.operand(side, ty)
            }
            // Blanks at the end of a char(n) do not count.
            SqlType::Char(_) if side.1 == SqlType::Unknown => {
                let expr = self.coerce(side, &SqlType::Text)?;
                Ok(Expr::KeyCast { from: Box::new(expr), from_type: SqlType::Text, to: ty.clone() })
            }
            SqlType::Char(_) => Ok(side.0),
            _ => self.operand(side, ty),
        }
    }

    pub(super) fn unary(&mut self, op: UnaryOperator, expr: &ast::Expr) -> Result<Bound, Stop> {
        match op {
            UnaryOperator::Not => Ok((Expr::Not(Box::new(self.condition(expr)?)), SqlType::Bool)),
            UnaryOperator::Plus => {
                let bound = self.bind(expr)?;
                if number_rank(&bound.1).is_some() { Ok(bound) } else { Err(Stop::Relational) }
            }
            UnaryOperator::Minus => {
                let (expr, ty) = self.bind(expr)?;
                if number_rank(&ty).is_none() {
                    return Err(Stop::Relational);
                }
                let negated = Expr::Negate(Box::new(expr));
                let folded = match &negated {
                    Expr::Negate(inner) if matches!(**inner, Expr::Literal(_)) => {
                        negated.evaluate(&[], &[], &perigee_plan::EvaluationContext::constant()).ok()
                    }
                    _ => None,
                };
                Ok((folded.map_or(negated, Expr::Literal), ty))
            }
            _ => Err(Stop::Relational),
        }
    }

    pub(super) fn between(
        &mut self,
        expr: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
    ) -> Result<Bound, Stop> {
        let value = self.bind(expr)?;
        let (low, high) = (self.bind(low)?, self.bind(high)?);
        let (above, _) = self.compare(value.clone(), Operator::GtEq, low)?;
        let (below, _) = self.compare(value, Operator::LtEq, high)?;
        Ok((negate_if(negated, made(above, Operator::And, below, SqlType::Bool)), SqlType::Bool))
    }

    pub(super) fn in_list(&mut self, expr: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Bound, Stop> {
        let value = self.bind(expr)?;
        let mut found: Option<Expr> = None;
        for item in list {
            let item = self.bind(item)?;
            let (equal, _) = self.compare(value.clone(), Operator::Eq, item)?;
            found = Some(match found {
                Some(found) => made(found, Operator::Or, equal, SqlType::Bool),
                None => equal,
            });
        }
        let found = found.unwrap_or(Expr::Literal(Value::Bool(false)));
        Ok((negate_if(negated, found), SqlType::Bool))
    }
}

fn negate_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::Not(Box::new(expr)) } else { expr }
}

fn made(left: Expr, operator: Operator, right: Expr, ty: SqlType) -> Expr {
    Expr::Binary { left: Box::new(left), operator, right: Box::new(right), ty }
}

/// The type in which two numbers meet.
fn number_type(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    let ty = match (left, right) {
        (SqlType::Unknown, SqlType::Unknown) => return None,
        (SqlType::Unknown, other) | (other, SqlType::Unknown) => {
            number_rank(other)?;
            other.clone()
        }
        _ => {
            let (a, b) = (number_rank(left)?, number_rank(right)?);
            match (left, right) {
                _ if left == right => left.clone(),
                // There is no operator of a real and another number: both become double.
                (SqlType::Float4, _) | (_, SqlType::Float4) => SqlType::Float8,
                _ if a >= b => left.clone(),
                _ => right.clone(),
            }
        }
    };
    Some(match ty {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        other => other,
    })
}

/// The type in which two values compare.
fn compared_type(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    if let Some(ty) = number_type(left, right) {
        return Some(ty);
    }
    let string = |ty: &SqlType| matches!(ty, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name);
    match (left, right) {
        (SqlType::Unknown, SqlType::Unknown) => Some(SqlType::Text),
        (SqlType::Char(n), SqlType::Unknown | SqlType::Char(_)) | (SqlType::Unknown, SqlType::Char(n)) => {
            Some(SqlType::Char(*n))
        }
        (a, b) if string(a) && string(b) => Some(SqlType::Text),
        (SqlType::Unknown, other) | (other, SqlType::Unknown) if string(other) => Some(SqlType::Text),
        // Without an order, or with one that is not that of their text.
        (SqlType::Coded(of), _) | (_, SqlType::Coded(of)) if !of.has_order() => None,
        (SqlType::Citext | SqlType::Composite(_), _) | (_, SqlType::Citext | SqlType::Composite(_)) => None,
        // Without operators of equality.
        (SqlType::Json, _) | (_, SqlType::Json) | (SqlType::Jsonb, _) | (_, SqlType::Jsonb) => None,
        (SqlType::Unknown, other) | (other, SqlType::Unknown) => Some(other.without_second_digits()),
        (a, b) if a.without_second_digits() == b.without_second_digits() => Some(a.without_second_digits()),
        _ => None,
    }
}

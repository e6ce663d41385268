//! `WHERE ('true')`: a text without a type where a condition is wanted is one. Hasura writes all that is always true like this.

use perigee_types::{SqlType, text};
use sqlparser::ast::{BinaryOperator, Expr, JoinConstraint, Select, TableFactor, TableWithJoins, UnaryOperator, Value};

use super::joins::constraint;

/// In WHERE, HAVING and ON.
pub(super) fn of_select(select: &mut Select) {
    select.selection.iter_mut().chain(&mut select.having).for_each(condition);
    select.from.iter_mut().for_each(of_joins);
}

fn of_joins(table: &mut TableWithJoins) {
    let relations = std::iter::once(&mut table.relation).chain(table.joins.iter_mut().map(|join| &mut join.relation));
    for relation in relations {
        if let TableFactor::NestedJoin { table_with_joins, .. } = relation {
            of_joins(table_with_joins);
        }
    }
    for join in &mut table.joins {
        if let Some(JoinConstraint::On(on)) = constraint(&mut join.join_operator) {
            condition(on);
        }
    }
}

/// In AND, OR and NOT.
pub(super) fn of_operator(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            condition(left);
            condition(right);
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => condition(expr),
        _ => {}
    }
}

fn condition(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) => condition(inner),
        Expr::Value(value) => {
            if let Value::SingleQuotedString(literal) = &value.value
                && let Ok(perigee_types::Value::Bool(known)) = text::parse(literal, &SqlType::Bool)
            {
                *expr = Expr::value(Value::Boolean(known));
            }
        }
        _ => {}
    }
}

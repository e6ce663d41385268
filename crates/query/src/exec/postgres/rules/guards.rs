//! What a condition guards is not evaluated where the condition says no: `d <> 0 AND 100 / d > 1` fails for no row.
//!
//! DataFusion evaluates both sides of AND and OR for all rows, and makes AND and OR of a CASE that gives booleans. Of its
//! expressions only CASE leaves rows out, and one with an operand its rules leave alone:
//!
//! - a boolean CASE becomes `CASE true WHEN … END`
//! - `a AND b`, where b can fail, becomes `CASE true WHEN a IS NOT FALSE THEN b AND a ELSE false END`
//! - `a OR b` becomes `CASE true WHEN a IS NOT TRUE THEN b OR a ELSE true END`
//!
//! The conditions that a filter joins with AND stay as they are: scans take them one by one, and indexes find them.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{BinaryExpr, Case};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, lit};

use super::super::chains::{append, joined};
use super::super::function::Function;

/// How many guards may stand within each other: what evaluates them recurses.
const GUARDS_MAX: usize = 64;

/// How many nodes the guards of one chain may have. Each stands twice, those within each other four times and more often.
const GUARD_NODES_MAX: usize = 256;

/// Functions that give a value for whatever values their arguments have. Others may fail.
const TOTAL: &[&str] = &[
    "__like",
    "__range_key",
    "array_has",
    "array_length",
    "array_position",
    "btrim",
    "cardinality",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "date_part",
    "date_trunc",
    "extract",
    "greatest",
    "json_field",
    "json_field_text",
    "jsonb_contained",
    "jsonb_contains",
    "jsonb_exists",
    "least",
    "length",
    "lower",
    "ltrim",
    "md5",
    "nullif",
    "numeric_key",
    "octet_length",
    "rtrim",
    "starts_with",
    "strpos",
    "text",
    "upper",
    "widen",
];

/// Whether a function gives a value for whatever values its arguments have.
pub(in crate::exec) fn is_total(function: &str) -> bool {
    TOTAL.contains(&function)
}

/// Guards within an expression, or within each of the conditions of a filter.
pub(super) fn guard(expr: Expr, is_filter: bool, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !can_fail(&expr)? {
        return Ok(Transformed::no(expr));
    }
    let guarded = match is_filter {
        true => joined(each_guarded(terms(expr, Operator::And), schema)?, Operator::And),
        false => guarded(expr, schema)?,
    };
    Ok(Transformed::yes(guarded))
}

fn guarded(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    if !can_fail(&expr)? {
        return Ok(expr);
    }
    let guarded = expr.transform_down(|expr| {
        if let Some(op) = junction(&expr) {
            let chain = chain(each_guarded(terms(expr, op), schema)?, op)?;
            return Ok(Transformed::new(chain, true, TreeNodeRecursion::Jump));
        }
        match expr {
            Expr::Case(case) if case.expr.is_none() && is_boolean(&case, schema) => {
                Ok(Transformed::yes(Expr::Case(Case { expr: Some(Box::new(lit(true))), ..case })))
            }
            other => Ok(Transformed::no(other)),
        }
    })?;
    Ok(guarded.data)
}

fn each_guarded(terms: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    terms.into_iter().map(|term| guarded(term, schema)).collect()
}

/// AND or OR.
fn junction(expr: &Expr) -> Option<Operator> {
    match expr {
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => Some(binary.op),
        _ => None,
    }
}

/// What `op` joins, in the order it is written. Chains are long, so this does not recurse.
fn terms(expr: Expr, op: Operator) -> Vec<Expr> {
    let (mut terms, mut rest) = (Vec::new(), vec![expr]);
    while let Some(expr) = rest.pop() {
        match expr {
            Expr::BinaryExpr(binary) if binary.op == op => rest.extend([*binary.right, *binary.left]),
            other => terms.push(other),
        }
    }
    terms
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// A chain of AND or OR where each term that can fail is guarded by those before it.
fn chain(terms: Vec<Expr>, op: Operator) -> Result<Expr> {
    let mut groups: Vec<Expr> = Vec::new();
    for term in terms {
        let fails = can_fail(&term)?;
        match groups.pop() {
            Some(group) if fails => groups.extend([group, term]),
            Some(group) => groups.push(append(group, op, term)),
            None => groups.push(term),
        }
    }
    if groups.len() > GUARDS_MAX || !are_small(&groups) || !groups.iter().all(is_repeatable) {
        return Ok(joined(groups, op));
    }
    let last = groups.pop().unwrap_or_default();
    Ok(groups.into_iter().rev().fold(last, |guarded, guard| behind(guard, op, guarded)))
}

fn are_small(guards: &[Expr]) -> bool {
    let mut left = GUARD_NODES_MAX;
    let mut count = |_: &Expr| {
        left = left.saturating_sub(1);
        Ok(if left == 0 { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    };
    guards.iter().all(|guard| guard.apply(&mut count).is_ok()) && left > 0
}

/// `guard op guarded`, which evaluates the second only where the first does not decide. Where it is NULL both count.
fn behind(guard: Expr, op: Operator, guarded: Expr) -> Expr {
    let is_and = op == Operator::And;
    let open = if is_and { guard.clone().is_not_false() } else { guard.clone().is_not_true() };
    Expr::Case(Case {
        expr: Some(Box::new(lit(true))),
        when_then_expr: vec![(Box::new(open), Box::new(binary(guarded, op, guard)))],
        else_expr: Some(Box::new(lit(!is_and))),
    })
}

/// Whether an expression may stand twice, and in a CASE: subqueries become joins and sets rows, which rules look for, and
/// a subquery that runs for each row would run twice.
fn is_repeatable(expr: &Expr) -> bool {
    let is_query = |expr: &Expr| match expr {
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::Unnest(_) => {
            true
        }
        Expr::ScalarFunction(call) if call.func.name() == "subplan" => true,
        Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Function>().is_some_and(Function::returns_set),
        _ => false,
    };
    !expr.is_volatile() && !expr.exists(|expr| Ok(is_query(expr))).unwrap_or(true)
}

fn is_boolean(case: &Case, schema: &DFSchema) -> bool {
    let mut arms = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
    arms.any(|arm| arm.get_type(schema).is_ok_and(|ty| ty == DataType::Boolean))
}

/// Whether an expression may fail for some row. What has no columns fails for all or none.
fn can_fail(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| Ok(may_fail(expr) && has_column(expr)?))
}

fn may_fail(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => !is_total(call.func.name()),
        Expr::Cast(cast) => !matches!(cast.field.data_type(), DataType::Utf8View | DataType::Float64),
        Expr::BinaryExpr(binary) => matches!(
            binary.op,
            Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
        ),
        _ => false,
    }
}

fn has_column(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| Ok(matches!(expr, Expr::Column(_) | Expr::OuterReferenceColumn(..))))
}

//! `f(…) WITHIN GROUP (ORDER BY x)` in terms of plain aggregates.
//!
//! - `percentile_disc`, `percentile_cont`, `mode`: a function of `array_agg(x ORDER BY x)`
//! - `rank(v)` and its like: `1 + count(*) FILTER (WHERE x < v)`

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName, OrderByExpr, Value,
};

use super::functions::call;

/// The rewritten call; `None` where it is none of these.
pub(super) fn within_group(function: &Function) -> Option<Expr> {
    let [order] = function.within_group.as_slice() else { return None };
    let name = function.name.to_string().to_lowercase();
    let FunctionArguments::List(list) = &function.args else { return None };
    let args: Option<Vec<&Expr>> = list.args.iter().map(unnamed).collect();
    match (name.as_str(), args?.as_slice()) {
        ("percentile_disc" | "percentile_cont", [fraction]) => {
            let collected = collected(order, function.filter.as_deref());
            Some(call(&format!("__{name}"), vec![collected, (*fraction).clone()]))
        }
        ("mode", []) => Some(call("__mode", vec![collected(order, function.filter.as_deref())])),
        ("rank" | "dense_rank" | "percent_rank" | "cume_dist", [value]) => {
            Some(hypothetical(&name, value, order, function.filter.as_deref()))
        }
        _ => None,
    }
}

fn unnamed(arg: &FunctionArg) -> Option<&Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn aggregate(
    name: &str,
    args: Vec<FunctionArgExpr>,
    distinct: bool,
    order: Option<OrderByExpr>,
    filter: Option<Expr>,
) -> Expr {
    let clauses = order.map(|order| FunctionArgumentClause::OrderBy(vec![order])).into_iter().collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: distinct.then_some(DuplicateTreatment::Distinct),
            args: args.into_iter().map(FunctionArg::Unnamed).collect(),
            clauses,
        }),
        filter: filter.map(Box::new),
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `array_agg(x ORDER BY x)`
fn collected(order: &OrderByExpr, filter: Option<&Expr>) -> Expr {
    let element = FunctionArgExpr::Expr(order.expr.clone());
    aggregate("array_agg", vec![element], false, Some(order.clone()), filter.cloned())
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

fn number(text: &str) -> Expr {
    Expr::value(Value::Number(text.to_owned(), false))
}

fn float(expr: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: DataType::DoublePrecision,
        array: false,
        format: None,
    }
}

/// Where a value would stand among the others.
fn hypothetical(name: &str, value: &Expr, order: &OrderByExpr, filter: Option<&Expr>) -> Expr {
    let descending = order.options.asc == Some(false);
    let count = |op: Option<BinaryOperator>, distinct: bool| {
        let before = op.map(|op| binary(order.expr.clone(), op, value.clone()));
        let filter = match (filter.cloned(), before) {
            (Some(filter), Some(before)) => Some(binary(Expr::Nested(Box::new(filter)), BinaryOperator::And, before)),
            (filter, before) => filter.or(before),
        };
        let arg = if distinct { FunctionArgExpr::Expr(order.expr.clone()) } else { FunctionArgExpr::Wildcard };
        aggregate("count", vec![arg], distinct, None, filter)
    };
    let less = || Some(if descending { BinaryOperator::Gt } else { BinaryOperator::Lt });
    let not_greater = || Some(if descending { BinaryOperator::GtEq } else { BinaryOperator::LtEq });
    let plus_one = |expr| binary(expr, BinaryOperator::Plus, number("1"));
    match name {
        "dense_rank" => plus_one(count(less(), true)),
        "percent_rank" => {
            // Among no others it is 0.
            let others = call("nullif", vec![count(None, false), number("0")]);
            let part = binary(float(count(less(), false)), BinaryOperator::Divide, others);
            call("coalesce", vec![part, float(number("0"))])
        }
        "cume_dist" => {
            binary(float(plus_one(count(not_greater(), false))), BinaryOperator::Divide, plus_one(count(None, false)))
        }
        _ => plus_one(count(less(), false)),
    }
}

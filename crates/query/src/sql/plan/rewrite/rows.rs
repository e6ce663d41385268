//! Row values: `(a, b) = (c, d)`, `(a, b) < (c, d)`, `(a, b) IN (…)`, `(a, b) IS NULL`, written as what they mean column by
//! column. DataFusion compares structs, for which a NULL inside is a value like any other.

use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SelectItem,
    TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, UnaryOperator, Value,
};

use super::{functions, whole_rows};

/// What an expression over row values is without them; `None` where it has none.
///
/// # Errors
/// `42601` where rows of different lengths meet.
pub(super) fn rewrite(expr: &Expr, scopes: &[whole_rows::Relations]) -> SqlResult<Option<Expr>> {
    let parts = |expr: &Expr| parts_in(expr, scopes);
    Ok(match expr {
        Expr::BinaryOp { left, op, right } => match (parts(left), parts(right)) {
            (Some(left), Some(right)) => compare(&left, op, &right)?,
            _ => None,
        },
        Expr::IsNull(inner) => parts(inner).map(|parts| every(parts, |part| Expr::IsNull(Box::new(part)))),
        Expr::IsNotNull(inner) => parts(inner).map(|parts| every(parts, |part| Expr::IsNotNull(Box::new(part)))),
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => match (parts(left), parts(right)) {
            (Some(left), Some(right)) => {
                same_length(&left, &right)?;
                let pairs = left.into_iter().zip(right);
                let same = pairs.map(|(l, r)| Expr::IsNotDistinctFrom(Box::new(l), Box::new(r)));
                let same = joined(same, BinaryOperator::And);
                Some(if matches!(expr, Expr::IsDistinctFrom(..)) { not(same) } else { same })
            }
            _ => None,
        },
        Expr::InList { expr, list, negated } => match parts(expr) {
            Some(left) => {
                let mut equals = Vec::new();
                for row in list {
                    let Some(right) = parts(row) else { return Ok(None) };
                    same_length(&left, &right)?;
                    equals.push(equal(&left, &right));
                }
                let any = joined(equals.into_iter(), BinaryOperator::Or);
                Some(if *negated { not(any) } else { any })
            }
            None => None,
        },
        Expr::InSubquery { expr, subquery, negated } => parts(expr).map(|left| in_subquery(&left, subquery, *negated)),
        _ => None,
    })
}

/// `(a, b) IN (SELECT …)` as a column of a result, where NULL is not false.
pub(super) fn value(item: &mut SelectItem) {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return };
    let Expr::InSubquery { expr: left, subquery, negated } = &*expr else { return };
    let Some(left) = parts(left) else { return };
    let missing = Expr::value(Value::Boolean(*negated));
    let maybe = in_subquery(&left, subquery, true);
    let conditions = vec![
        CaseWhen { condition: in_subquery(&left, subquery, false), result: Expr::value(Value::Boolean(!negated)) },
        CaseWhen { condition: maybe, result: missing },
    ];
    *expr = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions,
        else_result: None,
    };
}

/// The columns of a row value that stands there, or of a whole row.
fn parts_in(expr: &Expr, scopes: &[whole_rows::Relations]) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(inner) => parts_in(inner, scopes),
        _ => parts(expr).or_else(|| whole_rows::columns_of_row(expr, scopes)),
    }
}

/// The columns of a row value that stands there.
fn parts(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(inner) => parts(inner),
        Expr::Tuple(parts) if parts.len() > 1 => Some(parts.clone()),
        Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, .. })
            if name.to_string().eq_ignore_ascii_case("row") && !list.args.is_empty() =>
        {
            let part = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            };
            list.args.iter().map(part).collect()
        }
        _ => None,
    }
}

fn compare(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> SqlResult<Option<Expr>> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    if !matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
        return Ok(None);
    }
    same_length(left, right)?;
    Ok(Some(match op {
        Eq => equal(left, right),
        NotEq => {
            let pairs = left.iter().zip(right).map(|(l, r)| binary(l.clone(), NotEq, r.clone()));
            joined(pairs, BinaryOperator::Or)
        }
        _ => in_order(left, op, right),
    }))
}

/// `(a, b) < (c, d)`: the first columns that differ decide, `a < c OR (a = c AND b < d)`; NULL where they cannot.
fn in_order(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Expr {
    use BinaryOperator::{Gt, GtEq, Lt};
    let strict = if matches!(op, Gt | GtEq) { Gt } else { Lt };
    match (left, right) {
        ([l], [r]) => binary(l.clone(), op.clone(), r.clone()),
        ([l, left @ ..], [r, right @ ..]) => {
            let first = binary(l.clone(), strict, r.clone());
            let same = binary(l.clone(), BinaryOperator::Eq, r.clone());
            let rest = binary(same, BinaryOperator::And, nested(in_order(left, op, right)));
            nested(binary(first, BinaryOperator::Or, nested(rest)))
        }
        _ => Expr::value(Value::Null),
    }
}

/// `(a, b) IN (SELECT …)` is whether a row of the subquery is equal; NULL where none is and one might be.
fn in_subquery(left: &[Expr], subquery: &sqlparser::ast::Query, negated: bool) -> Expr {
    let columns: Vec<Ident> = (0..left.len()).map(|at| Ident::new(format!("__in_{at}"))).collect();
    let right: Vec<Expr> = columns.iter().map(|column| Expr::Identifier(column.clone())).collect();
    let exists = |condition: Expr, negated: bool| {
        let alias = TableAlias {
            explicit: true,
            name: Ident::new("__in"),
            columns: columns.iter().map(|c| TableAliasColumnDef { name: c.clone(), data_type: None }).collect(),
            at: None,
        };
        let relation = TableFactor::Derived {
            lateral: false,
            subquery: Box::new(subquery.clone()),
            alias: Some(alias),
            sample: None,
        };
        let from = vec![TableWithJoins { relation, joins: Vec::new() }];
        let one = SelectItem::UnnamedExpr(Expr::value(Value::Number("1".to_owned(), false)));
        Expr::Exists { subquery: Box::new(functions::select(vec![one], from, Some(condition))), negated }
    };
    let equal = equal(left, &right);
    if negated {
        // In WHERE, where this stands, NULL and false are the same.
        exists(Expr::IsNotFalse(Box::new(nested(equal))), true)
    } else {
        exists(equal, false)
    }
}

fn equal(left: &[Expr], right: &[Expr]) -> Expr {
    let pairs = left.iter().zip(right).map(|(l, r)| binary(l.clone(), BinaryOperator::Eq, r.clone()));
    joined(pairs, BinaryOperator::And)
}

fn every(parts: Vec<Expr>, test: impl Fn(Expr) -> Expr) -> Expr {
    joined(parts.into_iter().map(test), BinaryOperator::And)
}

/// The conditions with an operator between them, in parentheses.
fn joined(conditions: impl Iterator<Item = Expr>, op: BinaryOperator) -> Expr {
    let all = conditions.reduce(|so_far, next| binary(so_far, op.clone(), next));
    nested(all.unwrap_or_else(|| Expr::value(Value::Boolean(true))))
}

fn same_length(left: &[Expr], right: &[Expr]) -> SqlResult<()> {
    if left.len() == right.len() {
        Ok(())
    } else {
        Err(SqlError::syntax("unequal number of entries in row expressions"))
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
}

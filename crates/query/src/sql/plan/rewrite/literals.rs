//! Types of literals where the planner would settle on others than PostgreSQL.
//!
//! The planner makes every integer int8 and lets set operations and recursive queries agree on that before analysis makes
//! them int4. So those of select lists get their type here.

use sqlparser::ast::{CastKind, DataType, ExactNumberInfo, Expr, Ident, SelectItem, UnaryOperator, Value};

/// The text that the planner names a column of this literal by.
fn integer(expr: &Expr) -> Option<i32> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, false) if number.bytes().all(|b| b.is_ascii_digit()) => number.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => integer(expr)?.checked_neg(),
        _ => None,
    }
}

fn cast(expr: &mut Expr, data_type: DataType) {
    let inner = std::mem::replace(expr, Expr::value(Value::Null));
    *expr = Expr::Cast { kind: CastKind::Cast, expr: Box::new(inner), data_type, array: false, format: None };
}

/// Integers of a select list become int4.
pub(super) fn in_select_list(items: &mut [SelectItem]) {
    for item in items {
        match item {
            SelectItem::ExprWithAlias { expr, .. } if integer(expr).is_some() => cast(expr, DataType::Int4(None)),
            SelectItem::UnnamedExpr(expr) => {
                let Some(number) = integer(expr) else { continue };
                // The name that the planner would have given it.
                let alias = Ident::with_quote('"', format!("Int64({number})"));
                let mut expr = std::mem::replace(expr, Expr::value(Value::Null));
                cast(&mut expr, DataType::Int4(None));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
            _ => {}
        }
    }
}

/// A number of more digits than Arrow's decimals, or with an exponent, as `'…'::numeric`; a sign before it belongs to it.
pub(super) fn long_number(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => signed("-", expr),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => signed("", expr),
        expr => signed("", expr),
    }
}

fn signed(sign: &str, expr: &Expr) -> Option<Expr> {
    const DIGITS_MAX: usize = 38;
    if let Expr::Nested(inner) = expr {
        return signed(sign, inner);
    }
    let Expr::Value(value) = expr else { return None };
    let Value::Number(text, _) = &value.value else { return None };
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits <= DIGITS_MAX && !text.contains(['e', 'E']) {
        return None;
    }
    let mut number = Expr::value(Value::SingleQuotedString(format!("{sign}{text}")));
    cast(&mut number, DataType::Numeric(ExactNumberInfo::None));
    Some(number)
}

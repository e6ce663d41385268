//! Types of literals where the planner would settle on others than PostgreSQL.
//!
//! The planner makes every integer int8 and lets set operations, recursive queries and VALUES agree on that before
//! analysis makes them int4. So those of select lists, and those beside a NULL in VALUES, get their type here. In
//! VALUES a literal in quotes has the type that another row gives the column.

use sqlparser::ast::{CastKind, DataType, Expr, Ident, Query, SelectItem, SetExpr, UnaryOperator, Value, Values};

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

/// The literals of VALUES, and those that a recursive query begins with.
pub(super) fn in_values(query: &mut Query) {
    if let SetExpr::Values(values) = query.body.as_mut() {
        columns(values, false);
    }
    for cte in query.with.iter_mut().filter(|with| with.recursive).flat_map(|with| &mut with.cte_tables) {
        let mut body = cte.query.body.as_mut();
        while let SetExpr::SetOperation { left, .. } = body {
            body = left.as_mut();
        }
        if let SetExpr::Values(values) = body {
            columns(values, true);
        }
    }
}

fn columns(values: &mut Values, all_integers: bool) {
    let width = values.rows.first().map_or(0, |row| row.len());
    for place in 0..width {
        let column = || values.rows.iter().filter_map(|row| row.get(place));
        let is_null = |expr: &Expr| matches!(expr, Expr::Value(value) if value.value == Value::Null);
        let has_null = column().any(is_null);
        let typed = column().find_map(|expr| match expr {
            Expr::Cast { data_type, .. } => Some(data_type.clone()),
            Expr::TypedString(typed) => Some(typed.data_type.clone()),
            _ => None,
        });
        for expr in values.rows.iter_mut().filter_map(|row| row.get_mut(place)) {
            let quoted = matches!(&*expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
            match &typed {
                Some(data_type) if quoted || is_null(expr) => cast(expr, data_type.clone()),
                None if (has_null || all_integers) && integer(expr).is_some() => cast(expr, DataType::Int4(None)),
                _ => {}
            }
        }
    }
}

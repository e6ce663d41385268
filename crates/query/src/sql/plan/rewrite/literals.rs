//! Types of literals where the planner would settle on others than PostgreSQL.
//!
//! The planner makes every integer int8 and lets set operations, recursive queries and VALUES agree on that before
//! analysis makes them int4. So those of select lists, and those beside a NULL in VALUES, get their type here. In
//! VALUES a literal in quotes has the type that another row gives the column.

use sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Ident, Query, SelectItem, SetExpr, UnaryOperator, Value, Values,
};

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
        numerics(values);
        columns(values, false);
    }
    for cte in query.with.iter_mut().filter(|with| with.recursive).flat_map(|with| &mut with.cte_tables) {
        let mut body = cte.query.body.as_mut();
        while let SetExpr::SetOperation { left, .. } = body {
            body = left.as_mut();
        }
        if let SetExpr::Values(values) = body {
            numerics(values);
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

/// A column of VALUES in which numerics of several scales stand is a numeric of any in each of its rows: each shows its own
/// places, and DataFusion's planner knows no type that they have in common.
fn numerics(values: &mut Values) {
    let width = values.rows.first().map_or(0, |row| row.len());
    for at in 0..width {
        let kinds: Option<Vec<Number>> = values.rows.iter().map(|row| row.get(at).and_then(number_kind)).collect();
        // What else than a constant stands there may be a double, and make one of all.
        let Some(kinds) = kinds else { continue };
        let mut scales = kinds.iter().filter_map(|kind| match kind {
            Number::Scale(scale) => Some(*scale),
            _ => None,
        });
        let first = scales.next();
        let mixed = first.is_some_and(|first| scales.any(|scale| scale != first));
        if !kinds.contains(&Number::Wide) && !mixed {
            continue;
        }
        for (row, kind) in values.rows.iter_mut().zip(&kinds) {
            if let Some(expr) = row.get_mut(at).filter(|_| *kind != Number::Wide) {
                cast(expr, DataType::Numeric(ExactNumberInfo::None));
            }
        }
    }
}

/// What a constant is as a number.
#[derive(Clone, Copy, PartialEq)]
enum Number {
    /// A number with so many places.
    Scale(usize),
    /// A numeric of any scale.
    Wide,
    /// NULL, or a literal in quotes, which becomes what the others are.
    Unknown,
}

fn number_kind(expr: &Expr) -> Option<Number> {
    match expr {
        Expr::Cast { data_type, .. } => {
            matches!(data_type, DataType::Numeric(ExactNumberInfo::None) | DataType::Decimal(ExactNumberInfo::None))
                .then_some(Number::Wide)
        }
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } | Expr::Nested(expr) => {
            number_kind(expr)
        }
        Expr::Value(value) => match &value.value {
            Value::Number(..) if long_number(expr).is_some() => Some(Number::Wide),
            Value::Number(text, _) => Some(Number::Scale(text.split_once('.').map_or(0, |(_, places)| places.len()))),
            Value::SingleQuotedString(_) | Value::Null => Some(Number::Unknown),
            _ => None,
        },
        _ => None,
    }
}

/// A number of more digits than Arrow's decimals, or with an exponent, as `'…'::numeric`.
pub(super) fn long_number(expr: &Expr) -> Option<Expr> {
    const DIGITS_MAX: usize = 38;
    let Expr::Value(value) = expr else { return None };
    let Value::Number(text, _) = &value.value else { return None };
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits <= DIGITS_MAX && !text.contains(['e', 'E']) {
        return None;
    }
    let mut number = Expr::value(Value::SingleQuotedString(text.clone()));
    cast(&mut number, DataType::Numeric(ExactNumberInfo::None));
    Some(number)
}

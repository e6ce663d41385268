//! Syntax that DataFusion's planner reads otherwise than PostgreSQL, in terms of syntax that it reads alike.

use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    Interval, ObjectName, Value,
};

/// Rewrites one expression, without those inside of it: call it for each one, outer before inner.
///
/// - `INTERVAL '1 year 2 days 03:04'`, `INTERVAL '90' DAY`: a cast, so that PostgreSQL's input function reads it
/// - `x AT TIME ZONE z`: `timezone(z, x)`
pub fn rewrite_expression(expr: &mut Expr) {
    match expr {
        Expr::Interval(interval) => {
            if let Some(text) = interval_text(interval) {
                *expr = Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(Expr::value(Value::SingleQuotedString(text))),
                    data_type: DataType::Interval { fields: None, precision: None },
                    array: false,
                    format: None,
                };
            }
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            let null = || Expr::value(Value::Null);
            let args = [std::mem::replace(time_zone.as_mut(), null()), std::mem::replace(timestamp.as_mut(), null())];
            *expr = call("timezone", args.into_iter().collect());
        }
        _ => {}
    }
}

/// What the literal says, with its unit: units behind the literal are part of the text that is read.
fn interval_text(interval: &Interval) -> Option<String> {
    let Expr::Value(value) = interval.value.as_ref() else { return None };
    let text = match &value.value {
        Value::SingleQuotedString(text) => text.clone(),
        Value::Number(number, _) => number.clone(),
        _ => return None,
    };
    if interval.last_field.is_some() {
        // `'1-2' YEAR TO MONTH` and its like say by themselves what they are.
        return Some(text);
    }
    let bare = text.trim().parse::<f64>().is_ok();
    Some(match &interval.leading_field {
        Some(unit) if bare => format!("{text} {}", unit.to_string().to_lowercase()),
        _ => text,
    })
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

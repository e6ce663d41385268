//! Syntax that DataFusion's planner reads otherwise than PostgreSQL, in terms of syntax that it reads alike.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, Interval, IntervalFields, ObjectName, ObjectNamePart,
    UnaryOperator, Value,
};

/// Rewrites one expression, without those inside of it: call it for each one, outer before inner.
///
/// - `INTERVAL '1 year 2 days 03:04'`, `INTERVAL '90' DAY`: a cast, so that PostgreSQL's input function reads it
/// - `x AT TIME ZONE z`: `timezone(z, x)`
/// - `NULLIF(a, b)`: CASE
/// - `(a, b) OVERLAPS (c, d)`: `overlaps(a, b, c, d)`
/// - `-x`, `+x`, `@ x`, `|/ x`, `||/ x`: functions
pub fn rewrite_expression(expr: &mut Expr) {
    match expr {
        Expr::Interval(interval) => {
            if let Some(text) = interval_text(interval) {
                *expr = Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(Expr::value(Value::SingleQuotedString(text))),
                    data_type: interval_type(interval),
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
        Expr::Function(function) => {
            if let Some(case) = null_if(function) {
                *expr = case;
            }
        }
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
            if let (Expr::Tuple(a), Expr::Tuple(b)) = (left.as_mut(), right.as_mut())
                && (a.len(), b.len()) == (2, 2)
            {
                *expr = call("overlaps", a.drain(..).chain(b.drain(..)).collect());
            }
        }
        Expr::UnaryOp { op, expr: operand } => {
            let double = |operand: Expr| Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(operand),
                data_type: DataType::DoublePrecision,
                array: false,
                format: None,
            };
            let name = match op {
                UnaryOperator::Minus if !is_number(operand) => NEGATE,
                UnaryOperator::Plus if !is_number(operand) => AS_IT_IS,
                UnaryOperator::PGAbs => "abs",
                UnaryOperator::PGSquareRoot => "sqrt",
                UnaryOperator::PGCubeRoot => "cbrt",
                _ => return,
            };
            let operand = std::mem::replace(operand.as_mut(), Expr::value(Value::Null));
            let operand = if matches!(name, "sqrt" | "cbrt") { double(operand) } else { operand };
            *expr = call(name, vec![operand]);
        }
        _ => {}
    }
}

/// `NULLIF(a, b)` as a CASE, whose comparison is that of its arguments' types.
fn null_if(function: &Function) -> Option<Expr> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(a)), FunctionArg::Unnamed(FunctionArgExpr::Expr(b))] =
        list.args.as_slice()
    else {
        return None;
    };
    if !name.value.eq_ignore_ascii_case("nullif") || function.over.is_some() {
        return None;
    }
    // The value stands twice in the CASE: nested ones would double with each level.
    if a.to_string().to_ascii_lowercase().contains("nullif") {
        return None;
    }
    let (left, right) = (Box::new(a.clone()), Box::new(b.clone()));
    Some(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition: Expr::BinaryOp { left, op: BinaryOperator::Eq, right },
            result: Expr::value(Value::Null),
        }],
        else_result: Some(Box::new(a.clone())),
    })
}

/// `-x`, which DataFusion's planner refuses of what it does not know as a number.
pub(super) const NEGATE: &str = "__negate";

/// `+x`, likewise.
pub(super) const AS_IT_IS: &str = "__as_it_is";

fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::Nested(inner) => is_number(inner),
        _ => false,
    }
}

/// The type that the words behind the literal say.
fn interval_type(interval: &Interval) -> DataType {
    use DateTimeField as F;
    let fields = match (&interval.leading_field, &interval.last_field) {
        (Some(F::Year), None) => Some(IntervalFields::Year),
        (Some(F::Month), None) => Some(IntervalFields::Month),
        (Some(F::Day), None) => Some(IntervalFields::Day),
        (Some(F::Hour), None) => Some(IntervalFields::Hour),
        (Some(F::Minute), None) => Some(IntervalFields::Minute),
        (Some(F::Second), None) => Some(IntervalFields::Second),
        (Some(F::Year), Some(F::Month)) => Some(IntervalFields::YearToMonth),
        (Some(F::Day), Some(F::Hour)) => Some(IntervalFields::DayToHour),
        (Some(F::Day), Some(F::Minute)) => Some(IntervalFields::DayToMinute),
        (Some(F::Day), Some(F::Second)) => Some(IntervalFields::DayToSecond),
        (Some(F::Hour), Some(F::Minute)) => Some(IntervalFields::HourToMinute),
        (Some(F::Hour), Some(F::Second)) => Some(IntervalFields::HourToSecond),
        (Some(F::Minute), Some(F::Second)) => Some(IntervalFields::MinuteToSecond),
        _ => None,
    };
    // The digits of SECOND alone stand where other fields have theirs for the whole number.
    let alone = interval.last_field.is_none().then_some(interval.leading_precision).flatten();
    DataType::Interval { fields, precision: interval.fractional_seconds_precision.or(alone) }
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

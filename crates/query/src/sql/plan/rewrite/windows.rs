//! `WINDOW w AS (…), v AS (w ORDER BY …)`: a window that is made from another one. DataFusion's planner
//! leaves out what is taken over, also behind OVER.

use std::ops::ControlFlow;

use perigee_types::{SqlError, SqlResult, SqlState, SqlType, text};
use sqlparser::ast::{
    Expr, NamedWindowDefinition, NamedWindowExpr, UnaryOperator, Value, WindowFrameBound, WindowFrameUnits, WindowSpec,
    visit_expressions,
};

use crate::sql::parse::fold;

/// Writes into each window what it takes from the one that it names.
///
/// # Errors
/// `42704` for a window that is not there, `42P20` for what cannot be taken over.
pub(super) fn resolve(windows: &mut [NamedWindowDefinition]) -> SqlResult<()> {
    for at in 0..windows.len() {
        let (before, rest) = windows.split_at_mut(at);
        let Some(NamedWindowDefinition(name, NamedWindowExpr::WindowSpec(spec))) = rest.first_mut() else { continue };
        if before.iter().any(|NamedWindowDefinition(known, _)| fold(known) == fold(name)) {
            return Err(windowing(format!("window \"{}\" is already defined", fold(name))));
        }
        let Some(base_name) = spec.window_name.take() else {
            check_frame(spec)?;
            continue;
        };
        let base_name = fold(&base_name);
        let base = before.iter().find(|NamedWindowDefinition(known, _)| fold(known) == base_name);
        let Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(base))) = base else {
            let message = format!("window \"{base_name}\" does not exist");
            return Err(SqlError::new(SqlState::UndefinedObject, message));
        };
        inherit(spec, base, &base_name)?;
        check_frame(spec)?;
    }
    Ok(())
}

/// Writes into `OVER (w …)` what it takes from the window that it names.
///
/// # Errors
/// As [`resolve`].
pub(super) fn inherit_over(spec: &mut WindowSpec, windows: &[NamedWindowDefinition]) -> SqlResult<()> {
    let Some(name) = spec.window_name.take() else { return check_frame(spec) };
    let name = fold(&name);
    match windows.iter().find(|NamedWindowDefinition(known, _)| fold(known) == name) {
        Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(base))) => {
            inherit(spec, base, &name)?;
            check_frame(spec)
        }
        _ => Err(SqlError::new(SqlState::UndefinedObject, format!("window \"{name}\" does not exist"))),
    }
}

/// Frames as PostgreSQL takes them, their offsets as the planner does: constants, to which it gives the type that they need.
/// A frame's order is known when what it takes over from another window is.
///
/// # Errors
/// `42P20`, `22013`, `42P10` and `0A000` for frames that PostgreSQL refuses, or that cannot be planned.
fn check_frame(spec: &mut WindowSpec) -> SqlResult<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let ordered_by = spec.order_by.len();
    let Some(frame) = &mut spec.window_frame else { return Ok(()) };
    let current = CurrentRow;
    let end = frame.end_bound.as_ref().unwrap_or(&current);
    let wrong = match (&frame.start_bound, end) {
        (Following(None), _) => Some("frame start cannot be UNBOUNDED FOLLOWING"),
        (_, Preceding(None)) => Some("frame end cannot be UNBOUNDED PRECEDING"),
        (CurrentRow, Preceding(_)) => Some("frame starting from current row cannot have preceding rows"),
        (Following(_), CurrentRow | Preceding(_)) => {
            Some("frame starting from following row cannot have preceding rows")
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(windowing(wrong.to_owned()));
    }
    if frame.units == WindowFrameUnits::Groups && ordered_by == 0 {
        return Err(windowing("GROUPS mode requires an ORDER BY clause".to_owned()));
    }
    let by_distance = frame.units == WindowFrameUnits::Range;
    for (which, bound) in
        ["starting", "ending"].iter().zip(std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound))
    {
        let (Preceding(Some(offset)) | Following(Some(offset))) = bound else { continue };
        if by_distance && ordered_by != 1 {
            let wrong = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
            return Err(windowing(wrong.to_owned()));
        }
        **offset = constant_offset(offset, frame.units, which)?;
    }
    Ok(())
}

/// `2::int8`, `INTERVAL '1 day'`, `'1 day'`, `'1 day'::interval` as the planner takes them: as numbers, whatever stands in them.
fn constant_offset(offset: &Expr, units: WindowFrameUnits, which: &str) -> SqlResult<Expr> {
    let number = |text: String| Expr::value(Value::Number(text, false));
    let negative = || {
        let message = format!("frame {which} offset must not be negative");
        SqlError::new(SqlState::InvalidPrecedingOrFollowingSize, message)
    };
    let mut constant = offset;
    while let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = constant {
        constant = inner;
    }
    let written = match constant {
        Expr::Value(value) => match &value.value {
            Value::Number(..) if units != WindowFrameUnits::Range => return Ok(constant.clone()),
            Value::Number(text, _) => return Ok(number(text.clone())),
            Value::SingleQuotedString(text) if text.trim().parse::<f64>().is_ok() => return Ok(number(text.clone())),
            Value::SingleQuotedString(text) => text.clone(),
            _ => return Err(no_constant()),
        },
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text) => text.clone(),
            _ => return Err(no_constant()),
        },
        Expr::Interval(interval) => match (interval.value.as_ref(), &interval.leading_field, &interval.last_field) {
            (Expr::Value(value), field, None) => match (&value.value, field) {
                (Value::SingleQuotedString(text), None) => text.clone(),
                (Value::SingleQuotedString(text), Some(field)) => format!("{text} {field}"),
                _ => return Err(no_constant()),
            },
            _ => return Err(no_constant()),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(**expr, Expr::Value(_)) => return Err(negative()),
        other => {
            let named = visit_expressions(other, |expr| match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            });
            return Err(match named.is_break() {
                true => SqlError::new(
                    SqlState::InvalidColumnReference,
                    format!("argument of {units} must not contain variables"),
                ),
                false => no_constant(),
            });
        }
    };
    let perigee_types::Value::Interval(distance) = text::parse(&written, &SqlType::Interval)? else {
        return Err(no_constant());
    };
    // Without an `e`, which would make it a number that is written with an exponent.
    Ok(number(format!("{} mons {} days {} us", distance.months, distance.days, distance.micros)))
}

fn no_constant() -> SqlError {
    SqlError::unsupported("a frame's offset that is no constant")
}

fn inherit(spec: &mut WindowSpec, base: &WindowSpec, name: &str) -> SqlResult<()> {
    if !spec.partition_by.is_empty() {
        return Err(windowing(format!("cannot override PARTITION BY clause of window \"{name}\"")));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(windowing(format!("cannot override ORDER BY clause of window \"{name}\"")));
    }
    if base.window_frame.is_some() {
        return Err(windowing(format!("cannot copy window \"{name}\" because it has a frame clause")));
    }
    spec.partition_by.clone_from(&base.partition_by);
    if spec.order_by.is_empty() {
        spec.order_by.clone_from(&base.order_by);
    }
    Ok(())
}

fn windowing(message: String) -> SqlError {
    SqlError::new(SqlState::WindowingError, message)
}

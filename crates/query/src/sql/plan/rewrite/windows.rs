//! `WINDOW w AS (…), v AS (w ORDER BY …)`: a window that is made from another one. DataFusion's planner
//! leaves out what is taken over, also behind OVER.

use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{Expr, NamedWindowDefinition, NamedWindowExpr, WindowFrameBound, WindowSpec};

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
        plain_offsets(spec);
        let Some(base_name) = spec.window_name.take() else { continue };
        let base_name = fold(&base_name);
        let base = before.iter().find(|NamedWindowDefinition(known, _)| fold(known) == base_name);
        let Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(base))) = base else {
            let message = format!("window \"{base_name}\" does not exist");
            return Err(SqlError::new(SqlState::UndefinedObject, message));
        };
        inherit(spec, base, &base_name)?;
    }
    Ok(())
}

/// Writes into `OVER (w …)` what it takes from the window that it names.
///
/// # Errors
/// As [`resolve`].
pub(super) fn inherit_over(spec: &mut WindowSpec, windows: &[NamedWindowDefinition]) -> SqlResult<()> {
    plain_offsets(spec);
    let Some(name) = spec.window_name.take() else { return Ok(()) };
    let name = fold(&name);
    match windows.iter().find(|NamedWindowDefinition(known, _)| fold(known) == name) {
        Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(base))) => inherit(spec, base, &name),
        _ => Err(SqlError::new(SqlState::UndefinedObject, format!("window \"{name}\" does not exist"))),
    }
}

/// `2::int8 PRECEDING` is `2 PRECEDING`: the planner takes constants alone, and gives them the type that they need.
fn plain_offsets(spec: &mut WindowSpec) {
    let Some(frame) = &mut spec.window_frame else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        let (WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset))) = bound else {
            continue;
        };
        let mut constant = offset.as_ref();
        while let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = constant {
            constant = inner;
        }
        if let Expr::Value(_) = constant {
            **offset = constant.clone();
        }
    }
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

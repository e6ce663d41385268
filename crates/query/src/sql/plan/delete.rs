//! DELETE: of one row by key, else of the rows that a query finds.

use std::sync::Arc;

use perigee_plan::relational::WriteKind;
use perigee_plan::{Plan, Point};
use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::{Delete, FromTable, With};

use super::others::Returning;
use super::parameters::Parameters;
use super::point::{self, Target};
use super::scalar::Stop;
use super::update::{hidden_columns, old_columns, select, table_of, written_query};
use super::view_target::Verb;
use super::{Planned, refuse, returning};
use crate::sql::context::PlanContext;

/// Plans a DELETE.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn plan(delete: &Delete, context: &PlanContext) -> SqlResult<Planned> {
    let target = resolve(delete, context)?;
    match point_delete(delete, &target, context)? {
        Some(planned) => Ok(planned),
        None => relational(delete, None, &target, context),
    }
}

/// Plans a DELETE of a statement with WITH, as one of the rows that a query finds.
///
/// # Errors
/// As [`plan`].
pub(super) fn plan_with(delete: &Delete, with: Option<&With>, context: &PlanContext) -> SqlResult<Planned> {
    relational(delete, with, &resolve(delete, context)?, context)
}

/// DELETE by key; `None` where it is none.
///
/// # Errors
/// What is wrong whichever way it is planned.
pub(super) fn point(delete: &Delete, context: &PlanContext) -> SqlResult<Option<Planned>> {
    point_delete(delete, &resolve(delete, context)?, context)
}

fn resolve(delete: &Delete, context: &PlanContext) -> SqlResult<Target> {
    refuse(delete.output.is_some() || !delete.tables.is_empty(), "this form of DELETE")?;
    refuse(delete.limit.is_some() || !delete.order_by.is_empty(), "DELETE with ORDER BY or LIMIT")?;
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [from] = from.as_slice() else {
        return Err(SqlError::syntax("DELETE names one table; others stand in USING"));
    };
    let (name, alias) = table_of(from, "DELETE")?;
    point::written_through(name, alias.map(|a| &a.name), Verb::Delete, context)
}

fn relational(delete: &Delete, with: Option<&With>, target: &Target, context: &PlanContext) -> SqlResult<Planned> {
    let mut items = old_columns(target, context);
    let using = delete.using.clone().unwrap_or_default();
    let returning = Returning::over(delete.returning.as_deref(), target, &using, with, context)?;
    items.extend(returning.selected());
    items.extend(hidden_columns(target, context));
    let mut source = select(target, items, using, delete.selection.clone(), context);
    source.with = with.cloned();
    let parameters = Parameters::declared(context.declared);
    let (source, parameters) = written_query(source, target, parameters, |_| None, context)?;
    returning::write(target, WriteKind::Delete, source, &returning, with, parameters, "DELETE", context)
}

fn point_delete(delete: &Delete, target: &Target, context: &PlanContext) -> SqlResult<Option<Planned>> {
    if target.is_keys() {
        return Ok(None);
    }
    let (Some(selection), None, None) = (&delete.selection, &delete.using, &target.through) else { return Ok(None) };
    let mut parameters = Parameters::declared(context.declared);
    let mut scope = target.scope(context, &mut parameters);
    let bound = point::lookup(target, selection, &mut scope)
        .and_then(|lookup| Ok((lookup, returning::outputs(target, delete.returning.as_deref(), &mut scope)?)));
    match bound {
        Ok((lookup, returned)) => {
            let (returning, columns) = returned.unzip();
            Ok(Some(Planned {
                plan: Plan::Point(Point::Delete { lookup, returning }),
                parameters: parameters.finish(),
                columns: columns.map(Arc::from),
                tag: "DELETE",
            }))
        }
        Err(Stop::Relational) => Ok(None),
        Err(Stop::Error(error)) => Err(error),
    }
}

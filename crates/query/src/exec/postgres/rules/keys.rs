//! What sorts, groups and joins by another value than its own: jsonb, numerics of any count of digits, and ranges of them. Equal
//! values of these have several forms.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions_aggregate::first_last::first_value;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, SortExpr,
};
use perigee_types::{SqlError, SqlState, SqlType};

use super::super::meeting::compared;
use super::super::numeric::{brought, canonical, is_wide, key};
use super::super::operators::jsonb_key;
use super::super::{forms, sets};
use crate::exec::error::from_sql;

/// A node with whatever of it compares such values by their bytes made to compare their keys.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            let schema = Arc::clone(sort.input.schema());
            sort.expr = sort.expr.into_iter().map(|by| sorted(by, &schema)).collect::<Result<_>>()?;
            Ok(LogicalPlan::Sort(sort))
        }
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) if input.schema().fields().iter().any(|f| has_key(f)) => {
            let columns: Vec<Expr> = input.schema().iter().map(|(q, f)| Expr::Column(Column::from((q, f)))).collect();
            grouped(Aggregate::try_new(input, columns, Vec::new())?)
        }
        LogicalPlan::Distinct(Distinct::On(on)) => distinct_on(on),
        LogicalPlan::Join(join) => joined(join),
        other => Ok(other),
    }
}

/// Whether values of a column compare by a key, or not at all.
fn has_key(field: &Field) -> bool {
    let has_no_order = || match SqlType::of_field(field) {
        SqlType::Coded(of) => !of.has_order(),
        ty => matches!(ty, SqlType::Composite(_)),
    };
    has_no_order() || is_wide(field.data_type()) || is_jsonb(field) || forms::has_key(&SqlType::of_field(field))
}

fn is_jsonb(field: &Field) -> bool {
    SqlType::of_field(field) == SqlType::Jsonb
}

fn sorted(by: SortExpr, schema: &DFSchema) -> Result<SortExpr> {
    let SortExpr { expr, asc, nulls_first } = by;
    Ok(SortExpr { expr: keyed(expr, schema)?, asc, nulls_first })
}

/// What values of an expression compare by: a key, or the value.
pub(super) fn keyed(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let field = expr.to_field(schema)?.1;
    Ok(if is_wide(field.data_type()) {
        key(expr)
    } else if is_jsonb(&field) {
        jsonb_key(expr)
    } else {
        match SqlType::of_field(&field) {
            ty if forms::has_key(&ty) => forms::key(expr, &ty),
            SqlType::Coded(of) if !of.has_order() => {
                let text = format!("could not identify an ordering operator for type {}", of.display_name());
                return Err(from_sql(SqlError::new(SqlState::UndefinedFunction, text)));
            }
            SqlType::Composite(_) => {
                return Err(from_sql(SqlError::unsupported("an order of values of a composite type")));
            }
            _ => expr,
        }
    })
}

/// Groups by keys; the first value of a group stands for it.
fn grouped(aggregate: Aggregate) -> Result<LogicalPlan> {
    let input_schema = Arc::clone(aggregate.input.schema());
    if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
        return grouping_sets(aggregate, &input_schema);
    }
    let fields = aggregate.group_expr.iter().map(|e| Ok(e.to_field(input_schema.as_ref())?.1));
    let fields = fields.collect::<Result<Vec<_>>>()?;
    if !fields.iter().any(|f| has_key(f)) {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let before = Arc::clone(&aggregate.schema);
    let mut aggregates = aggregate.aggr_expr;
    let mut groups = Vec::with_capacity(fields.len());
    // Where each column of the result stands by now.
    let mut places: Vec<usize> = (0..before.fields().len()).collect();
    for (at, (group, field)) in aggregate.group_expr.into_iter().zip(&fields).enumerate() {
        if !has_key(field) {
            groups.push(group);
            continue;
        }
        let group = group.unalias();
        places[at] = fields.len() + aggregates.len();
        aggregates.push(first_value(group.clone(), Vec::new()).alias(format!("__shown_{at}")));
        groups.push(keyed(group, &input_schema)?.alias(format!("__group_{at}")));
    }
    let aggregate = Aggregate::try_new(aggregate.input, groups, aggregates)?;
    let after = Arc::clone(&aggregate.schema);
    let columns = before.iter().zip(places).enumerate().map(|(at, ((qualifier, field), place))| {
        let column = Expr::Column(Column::from(after.qualified_field(place)));
        let column = match fields.get(at) {
            Some(shown) if has_key(shown) && !shown.metadata().is_empty() => sets::labeled(column, Arc::clone(shown)),
            _ => column,
        };
        column.alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(aggregate)).project(columns)?.build()
}

/// Grouping sets show each number without zeros at the end of its places.
fn grouping_sets(aggregate: Aggregate, schema: &DFSchema) -> Result<LogicalPlan> {
    let mut any = false;
    for expr in &aggregate.group_expr {
        let Expr::GroupingSet(set) = expr else { continue };
        for inner in set.distinct_expr() {
            any |= is_wide(&inner.get_type(schema)?);
        }
    }
    if !any {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    // The columns themselves are made canonical below, so that all names stay.
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        if is_wide(field.data_type()) {
            canonical(column).alias_qualified(qualifier.cloned(), field.name())
        } else {
            column
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone()).project(columns)?.build()?;
    Aggregate::try_new(Arc::new(input), aggregate.group_expr, aggregate.aggr_expr).map(LogicalPlan::Aggregate)
}

fn distinct_on(on: DistinctOn) -> Result<LogicalPlan> {
    let schema = Arc::clone(on.input.schema());
    let on_expr = on.on_expr.into_iter().map(|e| keyed(e, &schema)).collect::<Result<Vec<_>>>()?;
    let sort_expr = match on.sort_expr {
        Some(by) => Some(by.into_iter().map(|by| sorted(by, &schema)).collect::<Result<Vec<_>>>()?),
        None => None,
    };
    DistinctOn::try_new(on_expr, on.select_expr, sort_expr, on.input).map(|on| LogicalPlan::Distinct(Distinct::On(on)))
}

/// A join whose pairs of columns compare by keys.
fn joined(mut join: Join) -> Result<LogicalPlan> {
    let (left, right) = (Arc::clone(join.left.schema()), Arc::clone(join.right.schema()));
    let mut pairs = Vec::with_capacity(join.on.len());
    for (l, r) in join.on {
        let (l_type, r_type) = (l.get_type(&left)?, r.get_type(&right)?);
        pairs.push(match compared([&l_type, &r_type].into_iter()) {
            None => (keyed(l, &left)?, keyed(r, &right)?),
            Some(to) => {
                let (l, r) = (brought(l, &to, &left)?, brought(r, &to, &right)?);
                if is_wide(&to.arrow()) { (key(l), key(r)) } else { (l, r) }
            }
        });
    }
    join.on = pairs;
    Ok(LogicalPlan::Join(join))
}

//! Plans: set-returning functions in a select list, recursive queries, columns without a type.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, UnnestOptions};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, RecursiveQuery, TableScan,
    TableScanBuilder, Union,
};
use perigee_types::{SqlError, SqlState, SqlType};

use super::super::function::{Function, is_enum, is_unknown};
use super::super::numeric::brought;
use super::super::{cast, sets};
use super::{keys, set_operation, ties};
use crate::exec::error::from_sql;
use crate::exec::own_names::OwnNames;

/// A node whose expressions have been rewritten, with its schema made anew.
pub(super) fn rewrite(plan: Transformed<LogicalPlan>) -> Result<LogicalPlan> {
    match plan.data {
        // Its schema is made from its rows.
        LogicalPlan::Values(values) if plan.transformed => LogicalPlanBuilder::values(values.values)?.build(),
        LogicalPlan::RecursiveQuery(query) => recursive(query),
        LogicalPlan::Union(union) => match enums_of_union(union)? {
            LogicalPlan::Union(union) => set_operation::union(union),
            other => other.recompute_schema(),
        },
        LogicalPlan::Join(join) if set_operation::is_set_operation(&join) => set_operation::intersection(join),
        LogicalPlan::Projection(projection) if projection.expr.iter().any(has_series) => series(projection),
        LogicalPlan::Limit(limit) => ties::limit(limit)?.recompute_schema(),
        LogicalPlan::Sort(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Join(_) => {
            keys::rewrite(plan.data.recompute_schema()?)?.recompute_schema()
        }
        other => other.recompute_schema(),
    }
}

/// Gives the table that the last step of a recursive query reads the types of its first step, as that will be rewritten:
/// the planner knew it before literals had their types.
pub(super) fn type_recursion(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::RecursiveQuery(query) = plan else { return Ok(Transformed::no(plan)) };
    let first = query.static_term.as_ref().clone().transform_up_with_subqueries(super::rewrite_node)?.data;
    let first = untyped_as_text(first)?;
    let recursive = query.recursive_term.as_ref().clone().transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(mut scan) if is_work_table(&scan, &query.name) => {
            let old = scan.source.schema();
            let fields = old.fields().iter().zip(first.schema().fields()).map(|(old, now)| {
                arrow::datatypes::Field::new(old.name(), now.data_type().clone(), true)
                    .with_metadata(now.metadata().clone())
            });
            let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
            if schema.fields().len() != old.fields().len() {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            }
            scan.source = provider_as_source(Arc::new(CteWorkTable::new(&query.name, schema)));
            let scan = TableScanBuilder::from(scan).build()?;
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::yes(other.recompute_schema()?)),
    })?;
    let RecursiveQuery { name, static_term, is_distinct, .. } = query;
    let query = RecursiveQuery::try_new(name, static_term, Arc::new(recursive.data), is_distinct)?;
    Ok(Transformed::yes(LogicalPlan::RecursiveQuery(query)))
}

fn is_work_table(scan: &TableScan, name: &str) -> bool {
    scan.table_name.table() == name && source_as_provider(&scan.source).is_ok_and(|p| p.is::<CteWorkTable>())
}

/// A result's columns that nothing has given a type are text.
pub(super) fn untyped_as_text(plan: LogicalPlan) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let is_query =
        !matches!(plan, LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
    if !is_query || !schema.fields().iter().any(|f| is_unknown(f.data_type())) {
        return Ok(plan);
    }
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        if is_unknown(field.data_type()) {
            let text = Arc::new(SqlType::Text.field("text", true));
            let cast = Expr::Cast(Cast::new_from_field(Box::new(column), text));
            cast.alias_qualified(qualifier.cloned(), field.name())
        } else {
            column
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// Literals in quotes are labels where another term of a UNION has an enumerated type; DataFusion would compare times.
fn enums_of_union(mut union: Union) -> Result<LogicalPlan> {
    let width = union.schema.fields().len();
    let of = |plan: &LogicalPlan, at: usize| plan.schema().fields().get(at).map(Arc::clone);
    let mut wanted: Vec<Option<FieldRef>> = vec![None; width];
    for (at, wanted) in wanted.iter_mut().enumerate() {
        let mut fields = union.inputs.iter().filter_map(|input| of(input, at));
        *wanted = fields.find(|field| is_enum(field.data_type()));
    }
    if wanted.iter().all(Option::is_none) {
        return Ok(LogicalPlan::Union(union));
    }
    for input in &mut union.inputs {
        let schema = Arc::clone(input.schema());
        let mut changed = false;
        let mut columns = Vec::with_capacity(width);
        for (at, (qualifier, field)) in schema.iter().enumerate() {
            let column = Expr::Column(Column::from((qualifier, field)));
            let target = wanted.get(at).cloned().flatten().filter(|target| target.data_type() != field.data_type());
            let Some(target) = target else {
                columns.push(column);
                continue;
            };
            if !is_unknown(field.data_type()) {
                let (a, b) = (SqlType::of_field(&target), SqlType::of_field(field));
                return Err(from_sql(SqlError::new(
                    SqlState::DatatypeMismatch,
                    format!("UNION types {a} and {b} cannot be matched"),
                )));
            }
            changed = true;
            let label = cast::rewrite(Cast::new_from_field(Box::new(column), target), schema.as_ref())?;
            columns.push(label.alias_qualified(qualifier.cloned(), field.name()));
        }
        if changed {
            *input = Arc::new(LogicalPlanBuilder::from(input.as_ref().clone()).project(columns)?.build()?);
        }
    }
    Ok(LogicalPlan::Union(union))
}

/// Brings both terms to the types that the table of the last step was planned with: literals in them have other types
/// by now.
fn recursive(query: RecursiveQuery) -> Result<LogicalPlan> {
    let mut types: Option<Vec<DataType>> = None;
    query.recursive_term.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && is_work_table(scan, &query.name)
        {
            types = Some(scan.source.schema().fields().iter().map(|f| f.data_type().clone()).collect());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let Some(types) = types else {
        // It does not read itself.
        return RecursiveQuery::try_new(query.name, query.static_term, query.recursive_term, query.is_distinct)
            .map(LogicalPlan::RecursiveQuery);
    };
    let static_term = Arc::new(with_types(query.static_term.as_ref().clone(), &types)?);
    let recursive_term = Arc::new(with_types(query.recursive_term.as_ref().clone(), &types)?);
    RecursiveQuery::try_new(query.name, static_term, recursive_term, query.is_distinct).map(LogicalPlan::RecursiveQuery)
}

/// The plan with its columns cast to these types.
fn with_types(plan: LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    if schema.fields().len() != types.len() {
        return Err(DataFusionError::Plan("each UNION query must have the same number of columns".to_owned()));
    }
    if schema.fields().iter().zip(types).all(|(f, ty)| f.data_type() == ty) {
        return Ok(plan);
    }
    let columns = schema.iter().zip(types).map(|((qualifier, field), ty)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        if field.data_type() == ty {
            return Ok(column);
        }
        let to = SqlType::of_arrow(ty).unwrap_or(SqlType::Text);
        Ok(brought(column, &to, schema.as_ref())?.alias_qualified(qualifier.cloned(), field.name()))
    });
    let columns: Vec<Expr> = columns.collect::<Result<_>>()?;
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// Whether a set-returning function stands in an expression.
fn has_series(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_series(e))).unwrap_or(false)
}

fn has_subquery(expr: &Expr) -> bool {
    use Expr::{Exists, InSubquery, ScalarSubquery, SetComparison};
    let is_one = |e: &Expr| matches!(e, ScalarSubquery(_) | Exists(_) | InSubquery(_) | SetComparison(_));
    expr.exists(|e| Ok(is_one(e))).unwrap_or(true)
}

fn is_series(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call)
        if call.func.inner().downcast_ref::<Function>().is_some_and(Function::returns_set))
}

/// `SELECT generate_series(…)`: the function makes an array for each row, whose elements become rows. Several of them
/// go on together, and the shorter ones end in NULLs.
fn series(projection: Projection) -> Result<LogicalPlan> {
    let input = projection.input;
    let schema = Arc::clone(input.schema());
    // A subquery calls what it reads of this one by its name.
    let is_read = projection.expr.iter().any(has_subquery);
    let names = if is_read { OwnNames::unchanged(&schema) } else { OwnNames::of(&schema) };
    let mut calls: Vec<Expr> = Vec::new();
    let mut replace = |expr: Expr| {
        expr.transform_down(|e| {
            if let Expr::Column(column) = &e
                && let Some(other) = names.other(column)
            {
                return Ok(Transformed::yes(Expr::Column(other.clone())));
            }
            if !is_series(&e) {
                return Ok(Transformed::no(e));
            }
            let field = e.to_field(schema.as_ref())?.1;
            let array = as_array(e)?;
            let at = calls.iter().position(|c| *c == array).unwrap_or_else(|| {
                calls.push(array);
                calls.len() - 1
            });
            let column = Expr::Column(Column::new_unqualified(format!("__series_{at}")));
            // The column of the elements forgets what the array's type says of them.
            let column = if field.metadata().is_empty() { column } else { sets::labeled(column, field) };
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })
        .map(|t| t.data)
    };
    let preserver = NamePreserver::new_for_projection();
    let outer = projection
        .expr
        .into_iter()
        .map(|expr| {
            let name = preserver.save(&expr);
            replace(expr).map(|e| name.restore(e))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut inner = names.below();
    let arrays: Vec<Column> = (0..calls.len()).map(|at| Column::new_unqualified(format!("__series_{at}"))).collect();
    inner.extend(calls.into_iter().enumerate().map(|(at, call)| call.alias(format!("__series_{at}"))));
    let options = UnnestOptions::new().with_preserve_nulls(false);
    LogicalPlanBuilder::from(input.as_ref().clone())
        .project(inner)?
        .unnest_columns_with_options(arrays, options)?
        .project(outer)?
        .build()
}

/// A call of a set-returning function as one that gives the array of its rows, also within its arguments.
fn as_array(call: Expr) -> Result<Expr> {
    call.transform_up(|e| match e {
        Expr::ScalarFunction(mut call) => match call.func.inner().downcast_ref::<Function>() {
            Some(function) if function.returns_set() => {
                call.func = function.as_array();
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            }
            _ => Ok(Transformed::no(Expr::ScalarFunction(call))),
        },
        other => Ok(Transformed::no(other)),
    })
    .map(|t| t.data)
}

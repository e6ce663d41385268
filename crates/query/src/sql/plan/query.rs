//! SELECT: a point read where it is one, else through DataFusion's planner.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::{Expr as DfExpr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use perigee_plan::relational::RowLock;
use perigee_plan::{Expr, Plan, Query, ResultColumn};
use perigee_types::catalog::Table;
use perigee_types::{Oid, SqlError, SqlResult, SqlType};
use sqlparser::ast;

use super::columns::{self, OutputNames};
use super::parameters::Parameters;
use super::scalar::{Scope, Stop};
use super::view::Views;
use super::{Planned, named, point, probe, rewrite, row_lock, size};
use crate::exec::{Planning, PlanningOptions, Shape, from_sql, optimize, sql_error};
use crate::keyspace::KeyTable;
use crate::sql::context::PlanContext;

/// Name under which a statement's target is planned, so that its scan alone has the hidden column.
pub(super) const TARGET: &str = "_target";

/// A query as DataFusion planned it, not optimized.
pub(super) struct Relational {
    pub(super) logical: LogicalPlan,
    pub(super) reads: Vec<Oid>,
    pub(super) parameters: Vec<SqlType>,
    pub(super) names: OutputNames,
}

/// A relation that a query sees besides the catalog's.
pub(super) enum Extra<'a> {
    /// A table whose scan ends with the hidden columns, under [`TARGET`]; with ONLY or not.
    Target(&'a Arc<Table>, bool),
    /// Tables whose scans end with the hidden columns, under names of their own.
    Locked(&'a [row_lock::LockedTable]),
    /// A plan under a name.
    Named(String, Box<LogicalPlan>),
}

/// Plans a SELECT statement.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn plan(query: &ast::Query, context: &PlanContext) -> SqlResult<Planned> {
    match point::select(query, context)? {
        Some(planned) => Ok(planned),
        None => plan_behind(query.clone(), context),
    }
}

/// Plans a query that is no read by key.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn plan_behind(query: ast::Query, context: &PlanContext) -> SqlResult<Planned> {
    let (query, lock) = row_lock::take(query, context)?;
    let locked = lock.as_ref().map(|lock| Extra::Locked(&lock.tables));
    let relational = relational(query, context, Parameters::declared(context.declared), locked)?;
    let hidden = lock.as_ref().map_or(0, |lock| lock.tables.len() * row_lock::HIDDEN);
    let mut types = relational.parameters.clone();
    let row_lock = match lock {
        None => None,
        Some(lock) => Some(RowLock {
            tables: lock.tables.iter().map(|locked| locked.table.oid).collect(),
            shared: lock.shared,
            wait: lock.wait,
            limit: row_count(lock.limit.as_ref(), "LIMIT", &mut types, context)?,
            offset: row_count(lock.offset.as_ref(), "OFFSET", &mut types, context)?,
        }),
    };
    let (query, columns) = finish(&relational, row_lock, hidden, context)?;
    Ok(Planned { plan: Plan::Query(query), parameters: types, columns: Some(columns), tag: "SELECT" })
}

/// A LIMIT or OFFSET that the engine counts: a bigint over the parameters, whose types it may add to.
fn row_count(
    expr: Option<&ast::Expr>,
    word: &str,
    types: &mut Vec<SqlType>,
    context: &PlanContext,
) -> SqlResult<Option<Expr>> {
    let Some(expr) = expr else { return Ok(None) };
    let typed: Vec<_> = types.iter().cloned().map(Some).collect();
    let mut parameters = Parameters::declared(&typed);
    let mut scope = Scope { table: None, context, parameters: &mut parameters };
    let bound = scope.bind(expr).and_then(|bound| scope.assign(bound, &SqlType::Int8, word));
    match bound {
        Ok(bound) => {
            *types = parameters.finish();
            Ok(Some(bound))
        }
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Relational) => Err(SqlError::unsupported(format_args!("this {word} with SKIP LOCKED"))),
    }
}

/// Plans a query without optimizing it.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn relational(
    mut query: ast::Query,
    context: &PlanContext,
    mut parameters: Parameters,
    extra: Option<Extra>,
) -> SqlResult<Relational> {
    let names = columns::name_outputs(&mut query);
    rewrite::query(&mut query, context)?;
    parameters.look_at(&query)?;
    let (logical, reads) = run_planner(context, &mut parameters, extra, query)?;
    Ok(Relational { logical, reads, parameters: parameters.finish(), names })
}

/// Optimizes a query and names its columns; the last `hidden` are not part of the result.
pub(super) fn finish(
    relational: &Relational,
    row_lock: Option<RowLock>,
    hidden: usize,
    context: &PlanContext,
) -> SqlResult<(Query, Arc<[ResultColumn]>)> {
    let logical = optimize(&relational.logical)?;
    let columns = columns::result_columns(&relational.logical, &logical, &relational.names, hidden, context);
    let query = Query {
        logical: Arc::new(logical),
        reads: relational.reads.clone(),
        named: named::columns(&relational.logical),
        replan: !relational.parameters.is_empty(),
        row_lock,
    };
    Ok((query, columns))
}

/// Runs DataFusion's planner until every parameter has a type.
///
/// Each round knows more types than the one before: first what was declared and what the syntax says, then what the
/// planner found, then text for the rest.
fn run_planner(
    context: &PlanContext,
    parameters: &mut Parameters,
    extra: Option<Extra>,
    query: ast::Query,
) -> SqlResult<(LogicalPlan, Vec<Oid>)> {
    let complete = parameters.is_complete();
    let probe = if complete { None } else { probe::of(&query) };
    let statement = |query: ast::Query| ast::Statement::Query(Box::new(query));
    let (query, probe) = (statement(query), probe.map(statement));
    let views = Views::new(context);
    let planning = planning(context, &views);
    let mut base = PlannerContext::new();
    for (name, plan) in context.relations {
        base.insert_cte(name, plan.clone());
    }
    let base = match extra {
        Some(extra) => with_extra(base, extra, &planning, context)?,
        None => base,
    };
    let planner = SqlToRel::new_with_options(&planning, planning.parser_options());
    let attempt = |statement: &ast::Statement, fields| -> datafusion::error::Result<LogicalPlan> {
        let mut planner_context = base.clone().with_prepare_param_data_types(fields);
        let plan = planner.sql_statement_to_plan_with_context(statement.clone(), &mut planner_context)?;
        size::check_plan(&plan).map_err(from_sql)?;
        Ok(plan)
    };
    if complete {
        let logical = attempt(&query, parameters.fields()).map_err(sql_error)?;
        parameters.learn(&logical)?;
        return Ok((logical, planning.reads()));
    }
    let first = match &probe {
        Some(probe) => attempt(probe, parameters.fields()).or_else(|_| attempt(&query, parameters.fields())),
        None => attempt(&query, parameters.fields()),
    };
    // A parameter without a type may be what it fails on.
    if let Ok(plan) = first {
        parameters.learn(&plan)?;
    }
    let logical = attempt(&query, parameters.fields_or_text()).map_err(sql_error)?;
    Ok((logical, planning.reads()))
}

/// The names that a statement may use.
pub(super) fn planning<'a>(context: &'a PlanContext<'a>, views: &'a Views<'a>) -> Planning<'a> {
    Planning::new(PlanningOptions {
        catalog: Arc::clone(context.catalog),
        tenant: context.tenant,
        database: context.database,
        search_path: context.search_path,
        temporary: context.temporary.name,
        views: Some(views),
        with_vid: &[],
    })
}

fn with_extra(
    mut base: PlannerContext,
    extra: Extra,
    planning: &Planning,
    context: &PlanContext,
) -> SqlResult<PlannerContext> {
    match extra {
        Extra::Target(table, _) if KeyTable::of(table.oid).is_some() => {
            let source = planning.system_source("redis", &table.name)?;
            let scan = LogicalPlanBuilder::scan(TableReference::partial("redis", table.name.clone()), source, None)
                .and_then(LogicalPlanBuilder::build)
                .map_err(sql_error)?;
            base.insert_cte(TARGET, scan);
        }
        Extra::Target(table, only) => base.insert_cte(TARGET, with_hidden(table, only, planning, context)?),
        Extra::Locked(tables) => {
            for locked in tables {
                let scan = with_hidden(&locked.table, locked.only, planning, context)?;
                base.insert_cte(locked.scan.clone(), scan);
            }
        }
        Extra::Named(name, plan) => base.insert_cte(name, *plan),
    }
    Ok(base)
}

/// Whether a name stands for a scan that has the hidden columns.
pub(super) fn is_target(name: &ast::ObjectName) -> bool {
    let [part] = name.0.as_slice() else { return false };
    let place = part.as_ident().and_then(|ident| ident.value.strip_prefix(TARGET));
    place.is_some_and(|place| place.bytes().all(|digit| digit.is_ascii_digit()))
}

/// The scan of a table that ends with the hidden columns.
fn with_hidden(table: &Arc<Table>, only: bool, planning: &Planning, context: &PlanContext) -> SqlResult<LogicalPlan> {
    let source = planning.source(table, Shape { only, vid: true, tid: false, oid: true });
    LogicalPlanBuilder::scan(table_reference(table, context), source, None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)
}

/// A table's name with its schema.
pub(super) fn table_reference(table: &Table, context: &PlanContext) -> TableReference {
    match context.catalog.object(table.schema) {
        Some(schema) => TableReference::partial(schema.name().to_owned(), table.name.clone()),
        None => TableReference::bare(table.name.clone()),
    }
}

/// Plans one expression over a schema, without the schema's placeholders.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn expression(expr: ast::Expr, schema: &DFSchema, context: &PlanContext) -> SqlResult<(DfExpr, Vec<Oid>)> {
    let views = Views::new(context);
    let planning = planning(context, &views);
    let planner = SqlToRel::new_with_options(&planning, planning.parser_options());
    let expr = planner.sql_to_expr(expr, schema, &mut PlannerContext::new()).map_err(sql_error)?;
    Ok((expr, planning.reads()))
}

/// The type of an expression that names nothing of a query around it, as analysis leaves it; `None` where it does name
/// something, or is wrong.
pub(super) fn type_alone(mut expr: ast::Expr, parameters: &Parameters, context: &PlanContext) -> Option<SqlType> {
    rewrite::expression(&mut expr, context).ok()?;
    let views = Views::new(context);
    let planning = planning(context, &views);
    let planner = SqlToRel::new_with_options(&planning, planning.parser_options());
    let mut known = PlannerContext::new().with_prepare_param_data_types(parameters.fields());
    let expr = planner.sql_to_expr(expr, &DFSchema::empty(), &mut known).ok()?;
    let plan = LogicalPlanBuilder::empty(true).project([expr]).and_then(LogicalPlanBuilder::build).ok()?;
    let field = plan.schema().fields().first()?;
    if matches!(field.data_type(), DataType::Utf8 | DataType::Null) {
        return Some(SqlType::Unknown);
    }
    match SqlType::of_field(field) {
        // It may be what the planner makes of integer literals.
        SqlType::Int8 | SqlType::Array(_) => Some(SqlType::of_field(optimize(&plan).ok()?.schema().fields().first()?)),
        ty => Some(ty),
    }
}

/// The type of an expression.
///
/// # Errors
/// Where its parts do not fit.
pub(super) fn type_of(expr: &DfExpr, schema: &DFSchema) -> SqlResult<SqlType> {
    let (_, field) = expr.to_field(schema).map_err(sql_error)?;
    Ok(SqlType::of_field(&field))
}

//! INSERT: a few rows of simple expressions as they are, else the rows of a query.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan, LogicalPlanBuilder};
use perigee_plan::relational::WriteKind;
use perigee_plan::{Expr, Plan, Point};
use perigee_types::catalog::{Column, ColumnDefault, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{self, Insert, Query, SelectItem, SetExpr, TableObject, Values};

use super::conflict::{self, Conflict};
use super::others::{Returning, names_xmax};
use super::parameters::Parameters;
use super::point::{self, Target};
use super::query::{self, relational};
use super::scalar::{Scope, Stop, assignable, type_mismatch};
use super::update::{assignments, cast_assigned, default_expression, default_value, is_default, of_domains, query_of};
use super::view_target::Verb;
use super::{Planned, names, refuse, returning, rewrite};
use crate::exec::sql_error;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// More rows than this go through a query.
const POINT_ROWS_MAX: usize = 1_000;

/// An INSERT whose names are resolved.
struct Resolved<'a> {
    insert: &'a Insert,
    target: Target,
    /// Places of the columns that values are given for, in their order.
    columns: Vec<usize>,
    conflict: Option<Conflict<'a>>,
    overriding: Option<Overriding>,
}

/// OVERRIDING … VALUE
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overriding {
    /// SYSTEM: values for GENERATED ALWAYS columns are taken.
    System,
    /// USER: values for identity columns are not taken.
    User,
}

/// Plans an INSERT.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn plan(insert: &Insert, context: &PlanContext) -> SqlResult<Planned> {
    let resolved = resolve(insert, context)?;
    if let Some(planned) = point_rows(&resolved, context)? {
        return Ok(planned);
    }
    relational_insert(resolved, None, context)
}

/// Plans an INSERT of a statement with WITH, as one of the rows of a query, which sees the clause's names.
///
/// # Errors
/// As [`plan`].
pub(super) fn plan_with(insert: &Insert, with: Option<ast::With>, context: &PlanContext) -> SqlResult<Planned> {
    let resolved = resolve(insert, context)?;
    if let Some(values) = insert.source.as_deref().and_then(plain_values) {
        check_width(values, &resolved.target.table, &resolved)?;
    }
    relational_insert(resolved, with, context)
}

fn relational_insert(resolved: Resolved, with: Option<ast::With>, context: &PlanContext) -> SqlResult<Planned> {
    match &resolved.insert.source {
        Some(source) => from_query(&resolved, source, with, context),
        None => {
            // A default that a point plan does not carry is selected.
            let table = &resolved.target.table;
            let columns: Vec<usize> = (0..table.columns.len()).collect();
            let items = columns
                .iter()
                .map(|place| Ok(SelectItem::UnnamedExpr(default_expression(table, *place, context)?)))
                .collect::<SqlResult<Vec<_>>>()?;
            let source = returning::select_query(items, Vec::new(), None);
            from_query(&Resolved { columns, ..resolved }, &source, with, context)
        }
    }
}

/// INSERT of a few simple rows; `None` where it is none.
///
/// # Errors
/// What is wrong whichever way it is planned.
pub(super) fn point(insert: &Insert, context: &PlanContext) -> SqlResult<Option<Planned>> {
    point_rows(&resolve(insert, context)?, context)
}

fn resolve<'a>(insert: &'a Insert, context: &PlanContext) -> SqlResult<Resolved<'a>> {
    let odd = insert.or.is_some()
        || insert.ignore
        || insert.partitioned.is_some()
        || !insert.assignments.is_empty()
        || insert.output.is_some()
        || insert.replace_into
        || insert.insert_alias.is_some()
        || insert.multi_table_insert_type.is_some();
    refuse(odd, "this form of INSERT")?;
    let TableObject::TableName(name) = &insert.table else {
        return Err(SqlError::unsupported("INSERT into what is not a table"));
    };
    let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
    let target = point::written_through(name, alias, Verb::Insert, context)?;
    let names_columns = insert.on.as_ref().is_some_and(conflict::names_columns);
    if names_columns && target.through.as_ref().is_some_and(|through| !through.keeps_names(&target.table)) {
        return Err(SqlError::unsupported("ON CONFLICT through a view that computes or renames columns"));
    }
    let columns = target_columns(insert, &target)?;
    // What the parser's rewriting makes of OVERRIDING.
    let overriding = match (insert.overwrite, insert.has_table_keyword) {
        (true, _) => Some(Overriding::System),
        (_, true) => Some(Overriding::User),
        _ => None,
    };
    let conflict = conflict::resolve(insert, &target.table, context)?;
    Ok(Resolved { insert, target, columns, conflict, overriding })
}

/// The values in VALUES, and those that DO UPDATE assigns, that columns of domains get, each with its column's domain; none where
/// INSERT is refused.
pub(super) fn values_of_domains(insert: &Insert, context: &PlanContext) -> Vec<(ast::Expr, Oid)> {
    let Ok(Resolved { target, columns, .. }) = resolve(insert, context) else { return Vec::new() };
    let rows = insert.source.as_deref().and_then(plain_values).map_or(&[][..], |values| values.rows.as_slice());
    let mut found = Vec::new();
    for row in rows {
        for (place, value) in columns.iter().zip(&row.content) {
            if let Some(domain) = target.table.columns.get(*place).and_then(|column| column.domain) {
                found.push((value.clone(), domain));
            }
        }
    }
    if let Some(ast::OnInsert::OnConflict(on)) = &insert.on
        && let ast::OnConflictAction::DoUpdate(update) = &on.action
        && let Ok(assigned) = assignments(&target.table, &update.assignments)
    {
        found.extend(of_domains(&target.table, assigned));
    }
    found
}

/// Places of the columns that values are given for, in their order.
fn target_columns(insert: &Insert, target: &Target) -> SqlResult<Vec<usize>> {
    let Target { table, through, .. } = target;
    if insert.columns.is_empty() {
        let Some(through) = through else { return Ok((0..table.visible_columns().len()).collect()) };
        let places = through.columns.iter().map(|(name, _)| through.place(name, Verb::Insert));
        return match insert.source.as_deref() {
            None => Ok(Vec::new()),
            Some(source) => match plain_values(source) {
                Some(values) => places.take(values.rows.first().map_or(0, |row| row.content.len())).collect(),
                // How many columns a query has is not known yet: as many as may be written from the front on.
                None => Ok(places.map_while(Result::ok).collect()),
            },
        };
    }
    let mut places = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        let name = fold(names::last_ident(name)?);
        let place = match through {
            Some(through) => through.place(&name, Verb::Insert)?,
            None => names::column(table, &name)?,
        };
        if places.contains(&place) {
            return Err(SqlError::new(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        places.push(place);
    }
    Ok(places)
}

/// The VALUES that a source is, with nothing around it.
fn plain_values(source: &Query) -> Option<&Values> {
    match (&*source.body, &source.with, &source.order_by, &source.limit_clause, &source.fetch) {
        (SetExpr::Values(values), None, None, None, None) => Some(values),
        _ => None,
    }
}

fn check_width(values: &Values, table: &Table, resolved: &Resolved) -> SqlResult<()> {
    let Resolved { columns, insert, .. } = resolved;
    let width = values.rows.first().map_or(0, |row| row.content.len());
    if values.rows.iter().any(|row| row.content.len() != width) {
        return Err(SqlError::syntax("VALUES lists must all be the same length"));
    }
    for row in &values.rows {
        for (place, value) in columns.iter().zip(&row.content) {
            if !is_default(value) && resolved.refuses(&table.columns[*place]) {
                return Err(always_generated(&table.columns[*place]));
            }
        }
    }
    check_count(width, columns, insert)
}

fn check_count(width: usize, columns: &[usize], insert: &Insert) -> SqlResult<()> {
    if width > columns.len() {
        return Err(SqlError::syntax("INSERT has more expressions than target columns"));
    }
    if width < columns.len() && !insert.columns.is_empty() {
        return Err(SqlError::syntax("INSERT has more target columns than expressions"));
    }
    Ok(())
}

/// Refuses a value for a column that makes its own.
///
/// # Errors
/// `428C9`
pub(super) fn refuse_always_identity(table: &Table, place: usize, value: &ast::Expr) -> SqlResult<()> {
    let column = &table.columns[place];
    if (column.generated().is_some() || column.identity_always == Some(true)) && !is_default(value) {
        return Err(always_generated(column));
    }
    Ok(())
}

impl Resolved<'_> {
    /// Whether a column takes no value but its own.
    fn refuses(&self, column: &Column) -> bool {
        column.generated().is_some() || column.identity_always == Some(true) && self.overriding.is_none()
    }

    /// Whether a value that is given for a column is not taken.
    fn ignores(&self, column: &Column) -> bool {
        self.overriding == Some(Overriding::User) && column.identity_always.is_some()
    }
}

fn always_generated(column: &Column) -> SqlError {
    let name = &column.name;
    let text = format!("cannot insert a non-DEFAULT value into column \"{name}\"");
    let detail = match column.generated() {
        Some(_) => format!("Column \"{name}\" is a generated column."),
        None => format!("Column \"{name}\" is an identity column defined as GENERATED ALWAYS."),
    };
    let error = SqlError::new(SqlState::GeneratedAlways, text).detail(detail);
    match column.generated() {
        Some(_) => error,
        None => error.hint("Use OVERRIDING SYSTEM VALUE to override."),
    }
}

fn point_rows(resolved: &Resolved, context: &PlanContext) -> SqlResult<Option<Planned>> {
    let Resolved { insert, target, conflict, .. } = resolved;
    let table = &target.table;
    let rows: Vec<&[ast::Expr]> = match &insert.source {
        None => vec![&[]],
        Some(source) => match plain_values(source) {
            Some(values) => {
                check_width(values, table, resolved)?;
                values.rows.iter().map(|row| row.content.as_slice()).collect()
            }
            None => return Ok(None),
        },
    };
    let is_seen = target.through.as_ref().is_some_and(|through| insert.returning.is_some() || through.is_checked());
    let asks = names_xmax(insert.returning.as_deref(), target);
    if rows.len() > POINT_ROWS_MAX || target.is_keys() || is_seen || asks {
        return Ok(None);
    }
    let mut parameters = Parameters::declared(context.declared);
    let mut scope = Scope { table: None, context, parameters: &mut parameters };
    let mut bind = || -> Result<Planned, Stop> {
        let defaults = (0..table.columns.len())
            .map(|place| default_value(table, place, &mut scope))
            .collect::<Result<Vec<_>, _>>()?;
        let rows =
            rows.iter().map(|row| bind_row(resolved, row, &defaults, &mut scope)).collect::<Result<Vec<_>, _>>()?;
        let on_conflict = match conflict {
            Some(conflict) => Some(conflict.bind(target, context, scope.parameters)?),
            None => None,
        };
        let mut over_row = target.scope(context, &mut *scope.parameters);
        let returned = returning::outputs(target, insert.returning.as_deref(), &mut over_row)?;
        let (returning, result) = returned.unzip();
        Ok(Planned {
            plan: Plan::Point(Point::Insert { table: Arc::clone(table), rows, on_conflict, returning }),
            parameters: scope.parameters.finish(),
            columns: result.map(Arc::from),
            tag: "INSERT",
        })
    };
    match bind() {
        Ok(planned) => Ok(Some(planned)),
        Err(Stop::Relational) => Ok(None),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn bind_row(
    resolved: &Resolved,
    values: &[ast::Expr],
    defaults: &[Expr],
    scope: &mut Scope,
) -> Result<Vec<Expr>, Stop> {
    let mut row = defaults.to_vec();
    for (place, value) in resolved.columns.iter().zip(values) {
        let column = &resolved.target.table.columns[*place];
        if is_default(value) || resolved.ignores(column) {
            continue;
        }
        let bound = scope.bind(value)?;
        row[*place] = scope.assign(bound, &column.ty, &column.name)?;
    }
    Ok(row)
}

fn from_query(
    resolved: &Resolved,
    source: &Query,
    with: Option<ast::With>,
    context: &PlanContext,
) -> SqlResult<Planned> {
    let Resolved { insert, target, columns, conflict, .. } = resolved;
    let table = &target.table;
    let mut query = source.clone();
    query.with = match (with.clone(), query.with.take()) {
        (Some(mut outer), Some(own)) => {
            outer.recursive |= own.recursive;
            // Its own names hide those around.
            let is_own = |cte: &ast::Cte| own.cte_tables.iter().any(|o| fold(&o.alias.name) == fold(&cte.alias.name));
            outer.cte_tables.retain(|cte| !is_own(cte));
            outer.cte_tables.extend(own.cte_tables);
            Some(outer)
        }
        (outer, own) => outer.or(own),
    };
    let mut parameters = Parameters::declared(context.declared);
    prepare_source(&mut query.body, table, columns, &mut parameters, context)?;
    let planned = relational(query, context, parameters, None)?;
    let width = planned.logical.schema().fields().len();
    check_count(width, columns, insert)?;
    let given = &columns[..width];
    // VALUES were looked at one by one.
    if let Some(place) = given.iter().find(|place| resolved.refuses(&table.columns[**place]))
        && insert.source.as_deref().is_some_and(|source| plain_values(source).is_none())
    {
        return Err(always_generated(&table.columns[*place]));
    }
    let logical = cast_assigned(planned.logical, table, |at| given.get(at).copied())?;
    let taken: Vec<Option<usize>> =
        given.iter().map(|place| (!resolved.ignores(&table.columns[*place])).then_some(*place)).collect();
    let mut reads = planned.reads;
    let logical = in_table_order(logical, table, &taken, &mut reads, context)?;
    let mut query = query_of(&logical, reads, &planned.parameters)?;
    let mut types = planned.parameters;
    let on_conflict = match conflict {
        Some(conflict) => Some(conflict.plan(target, with.as_ref(), context, &mut types, &mut query.reads)?),
        None => None,
    };
    query.replan |= !types.is_empty();
    let kind = WriteKind::Insert { on_conflict };
    let returning = Returning::of_insert(insert.returning.as_deref(), target)?;
    returning::write(target, kind, query, &returning, with.as_ref(), types, "INSERT", context)
}

/// Puts defaults in for DEFAULT and types parameters that stand alone by their columns.
fn prepare_source(
    body: &mut SetExpr,
    table: &Table,
    columns: &[usize],
    parameters: &mut Parameters,
    context: &PlanContext,
) -> SqlResult<()> {
    match body {
        SetExpr::Values(values) => {
            for row in &mut values.rows {
                for (place, value) in columns.iter().zip(&mut row.content) {
                    if is_default(value) {
                        *value = default_expression(table, *place, context)?;
                    }
                    parameters.infer_target(value, &table.columns[*place].ty)?;
                }
            }
            let targets: Vec<&SqlType> = columns.iter().map(|place| &table.columns[*place].ty).collect();
            rewrite::values::assigned(values, &targets, parameters, context, |at, from| {
                let column = &table.columns[columns[at]];
                if assignable(from, &column.ty) { Ok(()) } else { Err(type_mismatch(&column.name, &column.ty, from)) }
            })?;
        }
        SetExpr::Select(select) => {
            for (place, item) in columns.iter().zip(&select.projection) {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    parameters.infer_target(expr, &table.columns[*place].ty)?;
                }
            }
        }
        SetExpr::Query(query) => prepare_source(&mut query.body, table, columns, parameters, context)?,
        _ => {}
    }
    Ok(())
}

/// One column for each of the table's: what the query gives for it, else its default. What defaults read is added to `reads`.
fn in_table_order(
    plan: LogicalPlan,
    table: &Table,
    given: &[Option<usize>],
    reads: &mut Vec<Oid>,
    context: &PlanContext,
) -> SqlResult<LogicalPlan> {
    let columns = plan.schema().columns();
    let mut expressions = Vec::with_capacity(table.columns.len());
    for (place, column) in table.columns.iter().enumerate() {
        let expr = match given.iter().position(|g| *g == Some(place)) {
            Some(at) => DfExpr::Column(columns[at].clone()),
            None => default_over(&plan, table, place, reads, context)?,
        };
        expressions.push(expr.alias(&column.name));
    }
    LogicalPlanBuilder::from(plan).project(expressions).and_then(LogicalPlanBuilder::build).map_err(sql_error)
}

/// A column's default as an expression of DataFusion, cast to the column's type.
fn default_over(
    plan: &LogicalPlan,
    table: &Table,
    place: usize,
    reads: &mut Vec<Oid>,
    context: &PlanContext,
) -> SqlResult<DfExpr> {
    let column = &table.columns[place];
    if matches!(context.catalog.default_of(column).as_deref(), None | Some(ColumnDefault::Generated(_))) {
        let null = ScalarValue::try_from(&column.ty.arrow()).map_err(sql_error)?;
        return Ok(DfExpr::Literal(null, None));
    }
    let mut default = default_expression(table, place, context)?;
    super::rewrite::expression(&mut default, context)?;
    let (expr, read) = query::expression(default, plan.schema(), context)?;
    reads.extend(read);
    let from = query::type_of(&expr, plan.schema())?;
    super::assign::assign_default(expr, &from, column)
}

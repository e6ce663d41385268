//! UPDATE: of one row by key, else of the rows that a query finds.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan, LogicalPlanBuilder};
use perigee_plan::relational::{TABLE_OID_COLUMN, VID_COLUMN, WriteKind};
use perigee_plan::{Expr, Plan, Point, Query, Write};
use perigee_types::catalog::{ColumnDefault, Object, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{
    self, Assignment, AssignmentTarget, Ident, ObjectName, SelectItem, TableAlias, TableFactor, TableWithJoins, Update,
    UpdateTableFromKind,
};

use super::others::Returning;
use super::parameters::Parameters;
use super::point::{self, Target};
use super::query::{self, Extra, TARGET};
use super::scalar::{Scope, Stop};
use super::view_target::{Verb, base_name};
use super::{Planned, names, refuse, returning, several};
use crate::exec::{optimize, sql_error, types_behind_analysis};
use crate::sql::context::PlanContext;
use crate::sql::parse::{fold, parse_expression};

/// Plans an UPDATE.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn plan(update: &Update, context: &PlanContext) -> SqlResult<Planned> {
    let update = &over_table(update, context)?;
    let (target, assignments) = resolve(update, context)?;
    match point_update(update, &target, &assignments, context)? {
        Some(planned) => Ok(planned),
        None => relational(update, None, &target, &assignments, context),
    }
}

/// Plans an UPDATE of a statement with WITH, as one of the rows that a query finds.
///
/// # Errors
/// As [`plan`].
pub(super) fn plan_with(update: &Update, with: Option<&ast::With>, context: &PlanContext) -> SqlResult<Planned> {
    let update = &over_table(update, context)?;
    let (target, assignments) = resolve(update, context)?;
    relational(update, with, &target, &assignments, context)
}

/// UPDATE by key; `None` where it is none.
///
/// # Errors
/// What is wrong whichever way it is planned.
pub(super) fn point(update: &Update, context: &PlanContext) -> SqlResult<Option<Planned>> {
    let update = &over_table(update, context)?;
    let (target, assignments) = resolve(update, context)?;
    point_update(update, &target, &assignments, context)
}

/// The place of a column and its new value.
pub(super) type Assigned<'a> = (usize, Cow<'a, ast::Expr>);

/// The statement with the names of the table's columns where it assigns to those of a view.
fn over_table<'a>(update: &'a Update, context: &PlanContext) -> SqlResult<Cow<'a, Update>> {
    let (name, alias) = table_of(&update.table, "UPDATE")?;
    if !matches!(names::find(&names::qualified(name, context)?, context), Some(Object::View(_))) {
        return Ok(Cow::Borrowed(update));
    }
    let target = point::written_through(name, alias.map(|a| &a.name), Verb::Update, context)?;
    let Some(through) = &target.through else { return Ok(Cow::Borrowed(update)) };
    let assignments = through.assignments(&update.assignments, &target.table)?;
    Ok(Cow::Owned(Update { assignments, ..update.clone() }))
}

/// The table of an UPDATE, and what is assigned.
fn resolve<'a>(update: &'a Update, context: &PlanContext) -> SqlResult<(Target, Vec<Assigned<'a>>)> {
    refuse(update.or.is_some() || update.output.is_some(), "this form of UPDATE")?;
    refuse(update.limit.is_some() || !update.order_by.is_empty(), "UPDATE with ORDER BY or LIMIT")?;
    let (name, alias) = table_of(&update.table, "UPDATE")?;
    let target = point::written_through(name, alias.map(|a| &a.name), Verb::Update, context)?;
    let assignments = assignments(&target.table, &update.assignments)?;
    Ok((target, assignments))
}

/// What is assigned to columns of domains, each with its column's domain; none where UPDATE is refused.
pub(super) fn values_of_domains(update: &Update, context: &PlanContext) -> Vec<(ast::Expr, Oid)> {
    let Ok(update) = over_table(update, context) else { return Vec::new() };
    let Ok((target, assigned)) = resolve(&update, context) else { return Vec::new() };
    of_domains(&target.table, assigned)
}

/// Of assigned values those that columns of domains get, each with its column's domain.
pub(super) fn of_domains(table: &Table, assigned: Vec<Assigned>) -> Vec<(ast::Expr, Oid)> {
    let of_domain = |(place, value): Assigned| Some((value.into_owned(), table.columns.get(place)?.domain?));
    assigned.into_iter().filter_map(of_domain).collect()
}

/// The one table that UPDATE or DELETE names.
pub(super) fn table_of<'a>(
    table: &'a TableWithJoins,
    verb: &str,
) -> SqlResult<(&'a ObjectName, Option<&'a TableAlias>)> {
    match &table.relation {
        TableFactor::Table { name, alias, args: None, .. } if table.joins.is_empty() => Ok((name, alias.as_ref())),
        other => Err(SqlError::syntax(format!("{verb} of \"{other}\" is not possible"))),
    }
}

/// (place of the column, its new value), in the statement's order.
///
/// # Errors
/// `42703`, `42601` for a column twice.
pub(super) fn assignments<'a>(table: &Table, list: &'a [Assignment]) -> SqlResult<Vec<Assigned<'a>>> {
    let mut found: Vec<Assigned> = Vec::new();
    let mut add = |name: &ObjectName, value: Cow<'a, ast::Expr>| {
        let ident = names::last_ident(name)?;
        let place = names::column(table, &fold(ident))?;
        if found.iter().any(|(other, _)| *other == place) {
            return Err(SqlError::syntax(format!(
                "multiple assignments to same column \"{}\"",
                table.columns[place].name
            )));
        }
        refuse_always_identity(table, place, &value)?;
        found.push((place, value));
        Ok(())
    };
    for assignment in list {
        match &assignment.target {
            AssignmentTarget::ColumnName(name) => add(name, Cow::Borrowed(&assignment.value))?,
            AssignmentTarget::Tuple(targets) => {
                for (target, value) in targets.iter().zip(several::values(&assignment.value, targets.len())?) {
                    add(target, value)?;
                }
            }
        }
    }
    Ok(found)
}

/// GENERATED ALWAYS columns take DEFAULT only.
fn refuse_always_identity(table: &Table, place: usize, value: &ast::Expr) -> SqlResult<()> {
    let column = &table.columns[place];
    if column.generated().is_some() && !is_default(value) {
        return Err(SqlError::new(
            SqlState::GeneratedAlways,
            format!("column \"{}\" can only be updated to DEFAULT", column.name),
        )
        .detail(format!("Column \"{}\" is a generated column.", column.name)));
    }
    if column.identity_always == Some(true) && !is_default(value) {
        return Err(SqlError::new(
            SqlState::GeneratedAlways,
            format!("column \"{}\" can only be updated to DEFAULT", column.name),
        )
        .detail(format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name)));
    }
    Ok(())
}

/// Whether a value is the word DEFAULT.
pub(super) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

fn point_update(
    update: &Update,
    target: &Target,
    assignments: &[Assigned],
    context: &PlanContext,
) -> SqlResult<Option<Planned>> {
    if target.is_keys() {
        return Ok(None);
    }
    let (Some(selection), None, None) = (&update.selection, &update.from, &target.through) else { return Ok(None) };
    let mut parameters = Parameters::declared(context.declared);
    let mut scope = target.scope(context, &mut parameters);
    let mut bind = || -> Result<Planned, Stop> {
        let assignments = assignments
            .iter()
            .map(|(place, value)| Ok((*place, assigned(&target.table, *place, value, &mut scope)?)))
            .collect::<Result<Vec<_>, Stop>>()?;
        let lookup = point::lookup(target, selection, &mut scope)?;
        let returned = returning::outputs(target, update.returning.as_deref(), &mut scope)?;
        let (returning, columns) = returned.unzip();
        Ok(Planned {
            plan: Plan::Point(Point::Update { lookup, assignments, returning }),
            parameters: scope.parameters.finish(),
            columns: columns.map(Arc::from),
            tag: "UPDATE",
        })
    };
    match bind() {
        Ok(planned) => Ok(Some(planned)),
        Err(Stop::Relational) => Ok(None),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// A new value as its column takes it.
pub(super) fn assigned(table: &Table, place: usize, value: &ast::Expr, scope: &mut Scope) -> Result<Expr, Stop> {
    let column = &table.columns[place];
    if is_default(value) {
        return default_value(table, place, scope);
    }
    let bound = scope.bind(value)?;
    scope.assign(bound, &column.ty, &column.name)
}

/// What a column gets when nothing is given for it.
pub(super) fn default_value(table: &Table, place: usize, scope: &mut Scope) -> Result<Expr, Stop> {
    let column = &table.columns[place];
    let default = scope.context.catalog.default_of(column);
    match default.as_deref() {
        // A generated column gets its value when the rest of the row is known.
        None | Some(ColumnDefault::Generated(_)) => Ok(Expr::Literal(perigee_types::Value::Null)),
        Some(ColumnDefault::Sequence(sequence)) => {
            scope.assign((Expr::NextValue(*sequence), SqlType::Int8), &column.ty, &column.name)
        }
        Some(ColumnDefault::Expression(text)) => {
            let expr = parse_expression(text)?;
            // A default names no column of its row.
            let mut scope = Scope { table: None, context: scope.context, parameters: &mut *scope.parameters };
            let bound = scope.bind(&expr)?;
            scope.assign(bound, &column.ty, &column.name)
        }
    }
}

/// What a column gets when COPY gives nothing for it.
///
/// # Errors
/// `0A000` for a default that only a query can compute.
pub fn column_default(table: &Table, place: usize, context: &PlanContext) -> SqlResult<Expr> {
    let mut parameters = Parameters::default();
    let mut scope = Scope { table: None, context, parameters: &mut parameters };
    context.with_types(|| default_value(table, place, &mut scope)).map_err(|stop| match stop {
        Stop::Error(error) => error,
        Stop::Relational => {
            let name = table.columns.get(place).map_or("", |column| &column.name);
            SqlError::unsupported(format_args!("COPY that leaves out column \"{name}\", whose default needs a query"))
        }
    })
}

/// Writes every row of a table again, so that its generated columns are made anew.
///
/// # Errors
/// Internal, where the table cannot be scanned.
pub fn refresh_rows(table: &Arc<Table>, context: &PlanContext) -> SqlResult<Write> {
    let target = Target { table: Arc::clone(table), known_as: table.name.clone(), only: true, through: None };
    let mut items = old_columns(&target, context);
    items.extend(hidden_columns(&target, context));
    let source = select(&target, items, Vec::new(), None, context);
    let (source, _) = written_query(source, &target, Parameters::default(), |_| None, context)?;
    let kind = WriteKind::Update { assigned: Vec::new() };
    Ok(Write {
        table: Arc::clone(table),
        family: false,
        kind,
        source,
        others: Vec::new(),
        returning: None,
        view_checks: Vec::new(),
    })
}

fn relational(
    update: &Update,
    with: Option<&ast::With>,
    target: &Target,
    assignments: &[Assigned],
    context: &PlanContext,
) -> SqlResult<Planned> {
    let table = &target.table;
    let mut parameters = Parameters::declared(context.declared);
    let mut items = old_columns(target, context);
    let width = items.len();
    for (place, value) in assignments {
        parameters.infer_target(value, &table.columns[*place].ty)?;
        let value = match is_default(value) {
            true => default_expression(table, *place, context)?,
            false => value.clone().into_owned(),
        };
        items.push(aliased(value, &format!("new\u{1}{place}")));
    }
    let from = match &update.from {
        None => Vec::new(),
        Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => from.clone(),
    };
    let returning = Returning::over(update.returning.as_deref(), target, &from, with, context)?;
    items.extend(returning.selected());
    items.extend(hidden_columns(target, context));
    let mut source = select(target, items, from, update.selection.clone(), context);
    source.with = with.cloned();
    let places: Vec<usize> = assignments.iter().map(|(place, _)| *place).collect();
    let casts = |at: usize| at.checked_sub(width).and_then(|at| places.get(at)).copied();
    let (source, parameters) = written_query(source, target, parameters, casts, context)?;
    let kind = WriteKind::Update { assigned: places };
    returning::write(target, kind, source, &returning, with, parameters, "UPDATE", context)
}

/// The table's columns, as a select list: of a family those that all of its tables have.
pub(super) fn old_columns(target: &Target, context: &PlanContext) -> Vec<SelectItem> {
    let columns = match target.is_family(context) {
        true => target.table.visible_columns(),
        false => &target.table.columns,
    };
    let item = |(place, name): (usize, &String)| {
        let column = match &target.through {
            Some(_) => qualified(&target.known_as, &base_name(name)),
            None => qualified(&target.known_as, name),
        };
        aliased(column, &format!("old\u{1}{place}"))
    };
    columns.iter().map(|column| &column.name).enumerate().map(item).collect()
}

/// What names the version that a row is, and in a family its table.
pub(super) fn hidden_columns(target: &Target, context: &PlanContext) -> Vec<SelectItem> {
    // What a row of the keyspace is stands in its own columns.
    if target.is_keys() {
        return Vec::new();
    }
    let oid = target.is_family(context).then_some(TABLE_OID_COLUMN);
    let item = |column| aliased(qualified(&target.known_as, column), &format!("{column}\u{1}hidden"));
    oid.into_iter().chain([VID_COLUMN]).map(item).collect()
}

/// `"table"."column"`
pub(super) fn qualified(table: &str, column: &str) -> ast::Expr {
    ast::Expr::CompoundIdentifier(vec![Ident::with_quote('"', table), Ident::with_quote('"', column)])
}

fn aliased(expr: ast::Expr, alias: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) }
}

/// `SELECT items FROM target [, others] [WHERE condition]`, the target under [`TARGET`].
pub(super) fn select(
    target: &Target,
    items: Vec<SelectItem>,
    others: Vec<TableWithJoins>,
    condition: Option<ast::Expr>,
    context: &PlanContext,
) -> ast::Query {
    if let Some(through) = &target.through {
        let relation = through.relation(&target.known_as, &target.table, target.is_family(context));
        let mut from = vec![TableWithJoins { relation, joins: Vec::new() }];
        from.extend(others);
        return returning::select_query(items, from, condition);
    }
    let alias = TableAlias {
        explicit: true,
        name: Ident::with_quote('"', target.known_as.clone()),
        columns: Vec::new(),
        at: None,
    };
    let relation = TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', TARGET)]),
        alias: Some(alias),
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    let mut from = vec![TableWithJoins { relation, joins: Vec::new() }];
    from.extend(others);
    returning::select_query(items, from, condition)
}

/// Plans the query of a write. `assigned` says which column of the table a column of the query is assigned to.
pub(super) fn written_query(
    source: ast::Query,
    target: &Target,
    parameters: Parameters,
    assigned: impl Fn(usize) -> Option<usize>,
    context: &PlanContext,
) -> SqlResult<(Query, Vec<SqlType>)> {
    let relational = query::relational(source, context, parameters, Some(Extra::Target(&target.table, target.only)))?;
    let logical = cast_assigned(relational.logical, &target.table, assigned)?;
    Ok((query_of(&logical, relational.reads, &relational.parameters)?, relational.parameters))
}

/// Optimizes the query of a write.
pub(super) fn query_of(logical: &LogicalPlan, reads: Vec<Oid>, parameters: &[SqlType]) -> SqlResult<Query> {
    let logical = Arc::new(optimize(logical)?);
    Ok(Query { logical, reads, named: Vec::new(), replan: !parameters.is_empty(), row_lock: None })
}

/// Casts the columns of a query that are assigned to columns of the table.
///
/// # Errors
/// `42804` where the types do not fit.
pub(super) fn cast_assigned(
    plan: LogicalPlan,
    table: &Table,
    assigned: impl Fn(usize) -> Option<usize>,
) -> SqlResult<LogicalPlan> {
    let columns = plan.schema().columns();
    let behind = types_behind_analysis(&plan).filter(|types| types.len() == columns.len()).unwrap_or_default();
    let mut expressions = Vec::with_capacity(columns.len());
    let mut changed = false;
    for (at, column) in columns.into_iter().enumerate() {
        let expr = DfExpr::Column(column.clone());
        expressions.push(match assigned(at).and_then(|place| table.columns.get(place)) {
            Some(into) => {
                changed = true;
                let from = SqlType::of_field(plan.schema().field(at));
                let assigned = match behind.get(at) {
                    Some(ty) if ty.arrow() != from.arrow() => super::assign::assign_analyzed(expr, ty, into)?,
                    Some(ty) if is_form(&from) && !is_form(ty) => super::assign::assign(expr, ty, into, at, &plan)?,
                    _ => super::assign::assign(expr, &from, into, at, &plan)?,
                };
                assigned.alias(column.name)
            }
            None => expr,
        });
    }
    if !changed {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan).project(expressions).and_then(LogicalPlanBuilder::build).map_err(sql_error)
}

/// Whether a type, or the type of an array's elements, is what an Arrow type says alone: a choice or an array may be known to
/// be of jsonb, say, only behind the analysis.
fn is_form(ty: &SqlType) -> bool {
    matches!(ty.element(), SqlType::Text | SqlType::Bytea)
}

/// What a column gets when nothing is given for it, as syntax.
///
/// # Errors
/// `42601` where the catalog's text is damaged.
pub(super) fn default_expression(table: &Table, place: usize, context: &PlanContext) -> SqlResult<ast::Expr> {
    match context.catalog.default_of(&table.columns[place]).as_deref() {
        None | Some(ColumnDefault::Generated(_)) => Ok(ast::Expr::value(ast::Value::Null)),
        Some(ColumnDefault::Expression(text)) => parse_expression(text),
        Some(ColumnDefault::Sequence(oid)) => {
            let sequence = context
                .catalog
                .sequence(*oid)
                .ok_or_else(|| SqlError::internal(format_args!("sequence {oid} of a default is gone")))?;
            let schema = context.catalog.object(sequence.schema).map_or("public", |schema| schema.name());
            let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            let name = format!("{}.{}", quoted(schema), quoted(&sequence.name)).replace('\'', "''");
            parse_expression(&format!("nextval('{name}')"))
        }
    }
}

//! RETURNING: over one row as expressions, over a write's rows as a plan.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use perigee_plan::relational::{RETURNING_TABLE, WriteKind};
use perigee_plan::{Expr, Plan, ResultColumn, Write};
use perigee_types::{Oid, SqlResult, SqlType};
use sqlparser::ast::{
    self, GroupByExpr, Ident, ObjectName, Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TableFactor, TableWithJoins, visit_expressions_mut,
};

use super::Planned;
use super::names;
use super::others::Returning;
use super::parameters::Parameters;
use super::point::{self, Target};
use super::query::{self, Extra, TARGET};
use super::scalar::{Scope, Stop};
use crate::exec::{optimize, returning as rows, sql_error};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Expressions over a row, and what their columns are called.
type Outputs = (Vec<Expr>, Vec<ResultColumn>);

/// Binds RETURNING over one row.
pub(super) fn outputs(
    target: &Target,
    items: Option<&[SelectItem]>,
    scope: &mut Scope,
) -> Result<Option<Outputs>, Stop> {
    items.map(|items| point::outputs(target, items, scope)).transpose()
}

/// A RETURNING over a write's rows: its plan, the columns of its result, what it reads by itself, and the types of the statement's
/// parameters with those that stand in it alone.
type Returned = (Arc<LogicalPlan>, Arc<[ResultColumn]>, Vec<Oid>, Vec<SqlType>);

/// A planned write with its RETURNING. `parameters` are those of its query.
///
/// # Errors
/// What PostgreSQL's analysis would refuse in RETURNING.
#[expect(clippy::too_many_arguments, reason = "the parts of a statement")]
pub(super) fn write(
    target: &Target,
    kind: WriteKind,
    mut source: perigee_plan::Query,
    returning: &Returning,
    with: Option<&ast::With>,
    mut parameters: Vec<SqlType>,
    tag: &'static str,
    context: &PlanContext,
) -> SqlResult<Planned> {
    let (planned, columns) = match relational(target, returning, with, &parameters, context)? {
        None => (None, None),
        Some((planned, columns, reads, all)) => {
            source.reads.extend(reads);
            parameters = all;
            (Some(planned), Some(columns))
        }
    };
    let others = returning.fields();
    let family = target.is_family(context);
    let view_checks = match (&target.through, &kind) {
        (None, _) | (_, WriteKind::Delete) => Vec::new(),
        (Some(through), _) => through.checks()?,
    };
    let table = Arc::clone(&target.table);
    let write = Write { table, family, kind, source, others, returning: planned, view_checks };
    Ok(Planned { plan: Plan::Write(write), parameters, columns, tag })
}

/// Leaves the schema before the target's name out, which is an alias here.
fn without_schema(items: &mut Vec<SelectItem>, target: &str) {
    for item in items.iter_mut() {
        if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
            && let Ok(last) = names::last_ident(name)
            && fold(last) == target
        {
            *name = ObjectName::from(vec![last.clone()]);
        }
    }
    let all: ControlFlow<()> = visit_expressions_mut(items, |expr| {
        if let ast::Expr::CompoundIdentifier(parts) = expr
            && let [.., table, _] = parts.as_slice()
            && fold(table) == target
        {
            parts.drain(..parts.len() - 2);
        }
        ControlFlow::Continue(())
    });
    debug_assert!(all.is_continue());
}

/// Plans RETURNING over the rows that a write makes. `parameters` are those of the statement.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
fn relational(
    target: &Target,
    returning: &Returning,
    with: Option<&ast::With>,
    parameters: &[SqlType],
    context: &PlanContext,
) -> SqlResult<Option<Returned>> {
    let Some(items) = &returning.items else { return Ok(None) };
    super::rewrite::refuse_tid(items, "RETURNING")?;
    let scan = LogicalPlanBuilder::scan(RETURNING_TABLE, rows::source_with(&target.table, &returning.fields()), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)?;
    // Under a name of its own: in a subquery the table's name means the table.
    let relation = match &target.through {
        Some(through) => {
            let others: Vec<String> = returning.fields().into_iter().map(|(name, _)| name).collect();
            through.returned(&target.known_as, &others)
        }
        None => known_as(TARGET, &target.known_as),
    };
    let from = TableWithJoins { relation, joins: Vec::new() };
    let mut items = items.clone();
    without_schema(&mut items, &target.known_as);
    // A view has no such column.
    if target.through.is_none() {
        super::rewrite::hide_table_oid(&mut items);
    }
    let mut query = select_query(items, vec![from], None);
    query.with = with.cloned();
    let typed: Vec<_> = parameters.iter().cloned().map(Some).collect();
    let extra = Extra::Named(TARGET.to_owned(), Box::new(scan));
    let relational = query::relational(query, context, Parameters::declared(&typed), Some(extra))?;
    let logical = optimize(&relational.logical)?;
    let columns = super::columns::result_columns(&relational.logical, &logical, &relational.names, 0, context)
        .iter()
        .map(|column| with_source(column, target))
        .collect();
    Ok(Some((Arc::new(logical), columns, relational.reads, relational.parameters)))
}

/// The rows in memory are not in the catalog: a column with a column's name and type is taken for it.
fn with_source(column: &ResultColumn, target: &Target) -> ResultColumn {
    if target.through.is_some() {
        return column.clone();
    }
    let found = target.table.columns.iter().find(|c| c.name == column.name && c.ty == column.ty);
    ResultColumn { source: found.map(|c| (target.table.oid, c.number)), ..column.clone() }
}

/// A relation of this name.
pub(super) fn named(name: &str) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', name)]),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// `name AS alias`
pub(super) fn known_as(name: &str, alias: &str) -> TableFactor {
    let alias = ast::TableAlias { explicit: true, name: Ident::with_quote('"', alias), columns: Vec::new(), at: None };
    match named(name) {
        TableFactor::Table {
            name,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
            ..
        } => TableFactor::Table {
            name,
            alias: Some(alias),
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        },
        other => other,
    }
}

/// `SELECT items FROM from [WHERE condition]`
pub(super) fn select_query(items: Vec<SelectItem>, from: Vec<TableWithJoins>, condition: Option<ast::Expr>) -> Query {
    let select = Select {
        select_token: ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: items,
        exclude: None,
        into: None,
        from,
        lateral_views: Vec::new(),
        prewhere: None,
        selection: condition,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

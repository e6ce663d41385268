//! ON CONFLICT: which unique indexes are meant, and what becomes of the row that has the key.
//!
//! DO UPDATE sees two rows, the one that is there and the one that was to be inserted. They are planned as one row of
//! twice the table's columns: `excluded.a` is renamed to a column of the second half before anything is bound.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlanBuilder;
use perigee_plan::relational::{ConflictAction, ConflictValues, OnConflict, RETURNING_TABLE};
use perigee_types::catalog::{Column, Deferral, Index, Table};
use perigee_types::{IndexId, Oid, SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{
    self, ConflictTarget, DoUpdate, Ident, Insert, OnConflictAction, OnInsert, Query, SelectItem, VisitMut, VisitorMut,
};

use super::parameters::Parameters;
use super::point::Target;
use super::query::{self, Extra, TARGET};
use super::scalar::{Scope, Stop};
use super::update::{assigned, assignments, cast_assigned, default_expression, is_default};
use super::{names, returning};
use crate::exec::{optimize, returning as rows, sql_error};
use crate::keyspace::KeyTable;
use crate::sql::context::PlanContext;
use crate::sql::parse::{CONFLICT_TARGET, fold, parse_expression};

/// What stands before the name of a column of the row that was to be inserted.
const EXCLUDED: &str = "excluded\u{1}";

/// An ON CONFLICT whose target is resolved.
pub(super) struct Conflict<'a> {
    arbiters: Vec<IndexId>,
    update: Option<&'a DoUpdate>,
}

/// Whether the clause may name columns of the table.
pub(super) fn names_columns(on: &OnInsert) -> bool {
    match on {
        OnInsert::OnConflict(on) => on.conflict_target.is_some() || matches!(on.action, OnConflictAction::DoUpdate(_)),
        _ => false,
    }
}

/// Resolves the clause of an INSERT, if it has one.
///
/// # Errors
/// `42P10` where no unique index fits, `42704` for an unknown constraint, `42601` for DO UPDATE without a target.
pub(super) fn resolve<'a>(insert: &'a Insert, table: &Table, context: &PlanContext) -> SqlResult<Option<Conflict<'a>>> {
    let Some(on) = &insert.on else { return Ok(None) };
    let OnInsert::OnConflict(on) = on else {
        return Err(SqlError::syntax("syntax error at or near \"ON\""));
    };
    let update = match &on.action {
        OnConflictAction::DoNothing => None,
        OnConflictAction::DoUpdate(update) => Some(update),
    };
    if update.is_some() && on.conflict_target.is_none() {
        return Err(SqlError::syntax("ON CONFLICT DO UPDATE requires inference specification or constraint name")
            .hint("For example, ON CONFLICT (column_name)."));
    }
    let deferrable = |index: &Index| index.unique && index.definition.deferral != Deferral::Never;
    let arbiters = match &on.conflict_target {
        None => Vec::new(),
        Some(target) if KeyTable::of(table.oid).is_some() => key_arbiters(target, table)?,
        Some(target) => arbiters(target, table, context)?,
    };
    let mut indexes = context.catalog.indexes_of(table);
    if indexes.any(|index| deferrable(index) && (arbiters.is_empty() || arbiters.contains(&index.oid))) {
        let text = "ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters";
        return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, text));
    }
    Ok(Some(Conflict { arbiters, update }))
}

/// Rows of the keyspace have one identity, which the target names: with the database or without.
fn key_arbiters(target: &ConflictTarget, table: &Table) -> SqlResult<Vec<IndexId>> {
    let ConflictTarget::Columns(columns) = target else { return Err(no_arbiter()) };
    let places = columns.iter().map(|column| names::column(table, &fold(column)));
    let places = places.collect::<SqlResult<BTreeSet<usize>>>()?;
    let identity: BTreeSet<usize> = KeyTable::of(table.oid).into_iter().flat_map(KeyTable::identity).copied().collect();
    let named: BTreeSet<usize> = places.into_iter().filter(|place| *place > 0).collect();
    if named == identity { Ok(Vec::new()) } else { Err(no_arbiter()) }
}

fn arbiters(target: &ConflictTarget, table: &Table, context: &PlanContext) -> SqlResult<Vec<IndexId>> {
    let unique = context.catalog.indexes_of(table).filter(|index| index.unique);
    match target {
        ConflictTarget::Columns(columns) => {
            let mut numbers = Vec::with_capacity(columns.len());
            for column in columns {
                let number = table.columns[names::column(table, &fold(column))?].number;
                if !numbers.contains(&number) {
                    numbers.push(number);
                }
            }
            let fits = |columns: &[u16]| columns.len() == numbers.len() && columns.iter().all(|n| numbers.contains(n));
            let found: Vec<_> = unique.filter(|index| fits(&index.columns)).map(|index| index.oid).collect();
            if found.is_empty() { Err(no_arbiter()) } else { Ok(found) }
        }
        ConflictTarget::OnConstraint(name) => {
            let name = fold(names::last_ident(name)?);
            if let Some(target) = name.strip_prefix(CONFLICT_TARGET) {
                return inferred(target, table, context);
            }
            let found: Vec<_> = unique.filter(|i| i.constraint && i.name == name).map(|i| i.oid).collect();
            if found.is_empty() {
                return Err(SqlError::new(
                    SqlState::UndefinedObject,
                    format!("constraint \"{name}\" for table \"{}\" does not exist", table.name),
                ));
            }
            Ok(found)
        }
    }
}

fn no_arbiter() -> SqlError {
    SqlError::new(
        SqlState::InvalidColumnReference,
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
    )
}

/// The unique indexes that a target with expressions or WHERE means: those of the same keys whose own WHERE holds
/// wherever the target's does.
fn inferred(target: &str, table: &Table, context: &PlanContext) -> SqlResult<Vec<IndexId>> {
    let (keys, filter) = target.split_once(CONFLICT_TARGET).unwrap_or((target, ""));
    let keys = match parse_expression(keys)? {
        ast::Expr::Tuple(keys) => keys,
        ast::Expr::Nested(key) => vec![*key],
        other => vec![other],
    };
    let mut wanted = BTreeSet::new();
    for key in keys {
        if let ast::Expr::Identifier(ident) = &key {
            names::column(table, &fold(ident))?;
        }
        wanted.insert(normal(key));
    }
    let given = if filter.is_empty() { BTreeSet::new() } else { conjuncts(parse_expression(filter)?) };
    let mut found = Vec::new();
    for index in context.catalog.indexes_of(table).filter(|index| index.unique) {
        let mut has = BTreeSet::new();
        for text in index.key_texts(table, |name| Ident::with_quote('"', name).to_string()) {
            has.insert(normal(parse_expression(&text)?));
        }
        let needs = match &index.definition.predicate {
            Some(predicate) => conjuncts(parse_expression(predicate)?),
            None => BTreeSet::new(),
        };
        if has == wanted && needs.is_subset(&given) {
            found.push(index.oid);
        }
    }
    if found.is_empty() { Err(no_arbiter()) } else { Ok(found) }
}

/// The parts of a condition that must all hold.
fn conjuncts(expr: ast::Expr) -> BTreeSet<String> {
    match expr {
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
            let mut all = conjuncts(*left);
            all.append(&mut conjuncts(*right));
            all
        }
        ast::Expr::Nested(inner) => conjuncts(*inner),
        other => BTreeSet::from([normal(other)]),
    }
}

/// A text that two ways of writing one expression share: names folded, no parentheses.
fn normal(mut expr: ast::Expr) -> String {
    let quoted = |ident: &Ident| Ident::with_quote('"', fold(ident));
    let _: ControlFlow<()> = ast::visit_expressions_mut(&mut expr, |expr| {
        while let ast::Expr::Nested(inner) = expr {
            *expr = std::mem::replace(inner, ast::Expr::value(ast::Value::Null));
        }
        match expr {
            ast::Expr::Identifier(ident) => *ident = quoted(ident),
            // Only one table is there to be named.
            ast::Expr::CompoundIdentifier(parts) => {
                if let Some(last) = parts.last() {
                    *expr = ast::Expr::Identifier(quoted(last));
                }
            }
            ast::Expr::Function(function) => {
                for part in &mut function.name.0 {
                    if let ast::ObjectNamePart::Identifier(ident) = part {
                        *ident = quoted(ident);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    expr.to_string()
}

impl Conflict<'_> {
    /// Binds the clause over one row; the parameters are the statement's.
    pub(super) fn bind(
        &self,
        target: &Target,
        context: &PlanContext,
        parameters: &mut Parameters,
    ) -> Result<OnConflict, Stop> {
        let Some(update) = self.update else { return Ok(self.with(ConflictAction::Nothing)) };
        let both = both(target);
        let update = renamed(update, target)?;
        let assignments = assignments(&target.table, &update.assignments)?;
        let mut scope = Scope { table: Some((&both.table, both.known_as.clone())), context, parameters };
        let mut values = Vec::with_capacity(assignments.len());
        for (place, value) in &assignments {
            values.push(assigned(&target.table, *place, value, &mut scope)?);
        }
        let filter = update.selection.as_ref().map(|filter| scope.condition(filter)).transpose()?;
        let assigned = assignments.iter().map(|(place, _)| *place).collect();
        Ok(self.with(ConflictAction::Update { assigned, values: ConflictValues::Row { values, filter } }))
    }

    /// As [`Conflict::bind`], with a plan where the clause is no simple expression. `parameters` are the types of the
    /// statement's; those that stand in the clause alone are added to them, and to `reads` what the clause reads.
    ///
    /// # Errors
    /// What PostgreSQL's analysis would refuse.
    pub(super) fn plan(
        &self,
        target: &Target,
        with: Option<&ast::With>,
        context: &PlanContext,
        parameters: &mut Vec<SqlType>,
        reads: &mut Vec<Oid>,
    ) -> SqlResult<OnConflict> {
        let typed: Vec<_> = parameters.iter().cloned().map(Some).collect();
        let mut known = Parameters::declared(&typed);
        match self.bind(target, context, &mut known) {
            Ok(bound) => {
                *parameters = known.finish();
                return Ok(bound);
            }
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Relational) => {}
        }
        let Some(update) = self.update else { return Ok(self.with(ConflictAction::Nothing)) };
        let both = both(target);
        let update = renamed(update, target)?;
        let assignments = assignments(&target.table, &update.assignments)?;
        let mut known = Parameters::declared(&typed);
        let mut items = Vec::with_capacity(assignments.len() + 1);
        for (at, (place, value)) in assignments.iter().enumerate() {
            known.infer_target(value, &target.table.columns[*place].ty)?;
            let value = match is_default(value) {
                true => default_expression(&target.table, *place, context)?,
                false => value.clone().into_owned(),
            };
            items.push(aliased(value, &format!("new\u{1}{at}")));
        }
        let filter = update.selection.clone().unwrap_or_else(|| ast::Expr::value(ast::Value::Boolean(true)));
        items.push(aliased(filter, "filter\u{1}"));
        let scan = LogicalPlanBuilder::scan(RETURNING_TABLE, rows::source(&both.table), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(sql_error)?;
        let from = ast::TableWithJoins { relation: returning::known_as(TARGET, &both.known_as), joins: Vec::new() };
        let mut query = returning::select_query(items, vec![from], None);
        query.with = with.cloned();
        let extra = Extra::Named(TARGET.to_owned(), Box::new(scan));
        let relational = query::relational(query, context, known, Some(extra))?;
        let places: Vec<usize> = assignments.iter().map(|(place, _)| *place).collect();
        let logical = cast_assigned(relational.logical, &target.table, |at| places.get(at).copied())?;
        let logical = Arc::new(optimize(&logical)?);
        *parameters = relational.parameters;
        reads.extend(relational.reads);
        Ok(self.with(ConflictAction::Update { assigned: places, values: ConflictValues::Rows(logical) }))
    }

    fn with(&self, action: ConflictAction) -> OnConflict {
        OnConflict { arbiters: self.arbiters.clone(), action }
    }
}

fn aliased(expr: ast::Expr, alias: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) }
}

/// The table with its columns twice.
fn both(target: &Target) -> Target {
    let mut table = Table::clone(&target.table);
    let excluded = target.table.columns.iter();
    table.columns.extend(excluded.map(|c| Column { name: format!("{EXCLUDED}{}", c.name), ..c.clone() }));
    Target { table: Arc::new(table), known_as: target.known_as.clone(), only: true, through: None }
}

/// The clause with `excluded.a` renamed.
fn renamed(update: &DoUpdate, target: &Target) -> SqlResult<DoUpdate> {
    let mut update = update.clone();
    let mut rename = Rename { table: &target.table, depth: 0 };
    for assignment in &mut update.assignments {
        visited(assignment.value.visit(&mut rename))?;
    }
    if let Some(selection) = &mut update.selection {
        visited(selection.visit(&mut rename))?;
    }
    Ok(update)
}

fn visited(flow: ControlFlow<SqlError>) -> SqlResult<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rename<'a> {
    table: &'a Table,
    /// Subqueries around.
    depth: usize,
}

impl VisitorMut for Rename<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<SqlError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<SqlError> {
        match expr {
            ast::Expr::CompoundIdentifier(parts) => {
                let [qualifier, column] = parts.as_slice() else { return ControlFlow::Continue(()) };
                if fold(qualifier) != "excluded" {
                    return ControlFlow::Continue(());
                }
                let name = fold(column);
                if self.table.column_position(&name).is_none() {
                    let text = format!("column excluded.{name} does not exist");
                    return ControlFlow::Break(SqlError::new(SqlState::UndefinedColumn, text));
                }
                *expr = ast::Expr::Identifier(Ident::with_quote('"', format!("{EXCLUDED}{name}")));
            }
            // Both rows have the column. In a subquery the name may mean another table's.
            ast::Expr::Identifier(ident) if self.depth == 0 => {
                let name = fold(ident);
                if self.table.column_position(&name).is_some() {
                    let text = format!("column reference \"{name}\" is ambiguous");
                    return ControlFlow::Break(SqlError::new(SqlState::AmbiguousColumn, text));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

//! Reads and writes of one row by its key, found in the syntax.

use std::sync::Arc;

use perigee_plan::point::KeyLookup;
use perigee_plan::{Expr, Plan, Point, ResultColumn};
use perigee_types::catalog::{Deferral, Index, IndexState, Object, Table};
use perigee_types::{SqlResult, SqlType};
use sqlparser::ast::{
    self, BinaryOperator, GroupByExpr, LimitClause, LockType, ObjectName, Query, Select, SelectItem, SetExpr,
    TableAlias, TableFactor, TableWithJoins,
};

use super::columns::expression_name;
use super::parameters::Parameters;
use super::scalar::{Bound, Scope, Stop};
use super::view_target::{self, Through, Verb};
use super::{Planned, names};
use crate::keyspace::KeyTable;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// The one table of a statement.
pub(super) struct Target {
    pub(super) table: Arc<Table>,
    /// What its columns may be qualified with.
    pub(super) known_as: String,
    /// ONLY: without its partitions and those that inherit from it.
    pub(super) only: bool,
    /// The view that the statement names.
    pub(super) through: Option<Arc<Through>>,
}

/// SELECT by key; `None` where it is none.
///
/// # Errors
/// What is wrong whichever way it is planned.
pub(super) fn select(query: &Query, context: &PlanContext) -> SqlResult<Option<Planned>> {
    let Some((select, for_update)) = simple_select(query) else { return Ok(None) };
    let [from] = select.from.as_slice() else { return Ok(None) };
    let Some(selection) = &select.selection else { return Ok(None) };
    let Some(target) = target(from, context) else { return Ok(None) };
    let mut parameters = Parameters::declared(context.declared);
    let mut scope = target.scope(context, &mut parameters);
    let bound = lookup(&target, selection, &mut scope)
        .and_then(|lookup| outputs(&target, &select.projection, &mut scope).map(|outputs| (lookup, outputs)));
    let (lookup, (output, columns)) = match bound {
        Ok(bound) => bound,
        Err(Stop::Relational) => return Ok(None),
        Err(Stop::Error(error)) => return Err(error),
    };
    Ok(Some(Planned {
        plan: Plan::Point(Point::Select { lookup, output, for_update }),
        parameters: parameters.finish(),
        columns: Some(columns.into()),
        tag: "SELECT",
    }))
}

/// The parts of a query that has nothing but a select list, FROM and WHERE; and whether it is FOR UPDATE.
fn simple_select(query: &Query) -> Option<(&Select, bool)> {
    let Query { with: None, body, order_by: None, limit_clause, fetch: None, locks, for_clause: None, .. } = query
    else {
        return None;
    };
    let for_update = match locks.as_slice() {
        [] => false,
        [lock] if lock.lock_type == LockType::Update && lock.of.is_none() && lock.nonblock.is_none() => true,
        _ => return None,
    };
    match limit_clause {
        None => {}
        // One row at most comes anyway.
        Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by })
            if limit_by.is_empty() && is_positive(limit) => {}
        Some(_) => return None,
    }
    let SetExpr::Select(select) = &**body else { return None };
    let plain = select.distinct.is_none()
        && select.top.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.having.is_none()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(list, modifiers) if list.is_empty() && modifiers.is_empty());
    plain.then_some((select, for_update))
}

fn is_positive(limit: &ast::Expr) -> bool {
    matches!(limit, ast::Expr::Value(value)
        if matches!(&value.value, ast::Value::Number(n, _) if n.parse::<u64>().is_ok_and(|n| n > 0)))
}

/// The table of a FROM item without joins; `None` where it is something else.
pub(super) fn target(from: &TableWithJoins, context: &PlanContext) -> Option<Target> {
    if !from.joins.is_empty() {
        return None;
    }
    let TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } = &from.relation
    else {
        return None;
    };
    target_named(name, alias.as_ref(), context)
}

fn target_named(name: &ObjectName, alias: Option<&TableAlias>, context: &PlanContext) -> Option<Target> {
    if alias.is_some_and(|alias| !alias.columns.is_empty()) {
        return None;
    }
    let qualified = names::qualified(name, context).ok()?;
    let Object::Table(table) = names::find(&qualified, context)? else { return None };
    // Its rows may not be there yet, or not be all of what it shows.
    if table.materialized.is_some() {
        return None;
    }
    let known_as = alias.map_or_else(|| table.name.clone(), |alias| fold(&alias.name));
    Some(Target { table: Arc::clone(table), known_as, only: names::is_only(name), through: None })
}

impl Target {
    /// Whether its rows are keys: it is a table of schema `redis`.
    pub(super) fn is_keys(&self) -> bool {
        KeyTable::of(self.table.oid).is_some()
    }

    /// Whether other tables hold rows of it.
    pub(super) fn is_family(&self, context: &PlanContext) -> bool {
        !self.only && context.catalog.has_children(self.table.oid)
    }

    /// The names of the columns that the statement may name, in their order.
    pub(super) fn visible_names(&self) -> Vec<&str> {
        match &self.through {
            Some(through) => through.columns.iter().map(|(name, _)| name.as_str()).collect(),
            None => self.table.visible_columns().iter().map(|column| column.name.as_str()).collect(),
        }
    }

    /// What the statement's expressions may name.
    pub(super) fn scope<'a>(&'a self, context: &'a PlanContext<'a>, parameters: &'a mut Parameters) -> Scope<'a> {
        Scope { table: Some((&self.table, self.known_as.clone())), context, parameters }
    }
}

/// The row that a condition names by a whole unique key.
pub(super) fn lookup(target: &Target, condition: &ast::Expr, scope: &mut Scope) -> Result<KeyLookup, Stop> {
    if target.is_family(scope.context) {
        return Err(Stop::Relational);
    }
    let mut conjuncts = Vec::new();
    split(condition, &mut conjuncts);
    // (column's place, its value, which conjunct says so)
    let mut equal: Vec<(usize, Bound, usize)> = Vec::new();
    for (at, conjunct) in conjuncts.iter().enumerate() {
        if let Some((place, value)) = equality(target, conjunct, scope)?
            && equal.iter().all(|(other, ..)| *other != place)
        {
            equal.push((place, value, at));
        }
    }
    let index = covered_index(&target.table, &equal, scope.context).ok_or(Stop::Relational)?;
    let mut key = Vec::with_capacity(index.columns.len());
    let mut used = Vec::with_capacity(index.columns.len());
    for number in &index.columns {
        let found = equal.iter().find(|(place, ..)| target.table.columns[*place].number == *number);
        let (place, value, at) = found.ok_or(Stop::Relational)?;
        key.push(scope.key(value.clone(), &target.table.columns[*place].ty)?);
        used.push(*at);
    }
    let mut residual: Option<Expr> = None;
    for (at, conjunct) in conjuncts.iter().enumerate() {
        if used.contains(&at) {
            continue;
        }
        let condition = scope.condition(conjunct)?;
        residual = Some(match residual {
            None => condition,
            Some(residual) => Expr::Binary {
                left: Box::new(residual),
                operator: perigee_plan::expr::Operator::And,
                right: Box::new(condition),
                ty: SqlType::Bool,
            },
        });
    }
    Ok(KeyLookup { table: Arc::clone(&target.table), index: index.oid, key, residual })
}

fn split<'a>(condition: &'a ast::Expr, into: &mut Vec<&'a ast::Expr>) {
    match condition {
        ast::Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(left, into);
            split(right, into);
        }
        ast::Expr::Nested(inner) => split(inner, into),
        other => into.push(other),
    }
}

/// The column and the value of `column = value` or `value = column`, the value without columns.
fn equality(target: &Target, conjunct: &ast::Expr, scope: &mut Scope) -> Result<Option<(usize, Bound)>, Stop> {
    let ast::Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = conjunct else { return Ok(None) };
    for (column, value) in [(left, right), (right, left)] {
        let Some(place) = column_place(target, column) else { continue };
        let bound = scope.bind(value)?;
        if !bound.0.has_column() && !is_volatile(&bound.0) {
            return Ok(Some((place, bound)));
        }
    }
    Ok(None)
}

/// A lookup evaluates its key once; `id = nextval(…)` would be asked once for each row.
fn is_volatile(expr: &Expr) -> bool {
    match expr {
        Expr::NextValue(_) | Expr::RandomUuid => true,
        Expr::Binary { left, right, .. } => is_volatile(left) || is_volatile(right),
        Expr::Not(e) | Expr::Negate(e) | Expr::IsNull(e) | Expr::IsNotNull(e) => is_volatile(e),
        Expr::Coalesce(list) => list.iter().any(is_volatile),
        Expr::Cast { from, .. } | Expr::KeyCast { from, .. } => is_volatile(from),
        _ => false,
    }
}

fn column_place(target: &Target, expr: &ast::Expr) -> Option<usize> {
    match expr {
        ast::Expr::Identifier(ident) => target.table.column_position(&fold(ident)),
        ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] if fold(table) == target.known_as => target.table.column_position(&fold(column)),
            _ => None,
        },
        ast::Expr::Nested(inner) => column_place(target, inner),
        _ => None,
    }
}

/// A unique index all of whose columns have a value; the primary key if it is one.
fn covered_index(table: &Table, equal: &[(usize, Bound, usize)], context: &PlanContext) -> Option<Arc<Index>> {
    let covered = |index: &&Arc<Index>| {
        index.unique
            && index.definition.deferral == Deferral::Never
            && index.state == IndexState::Valid
            && !index.columns.is_empty()
            && index.columns.iter().all(|number| {
                table.number_position(*number).is_some_and(|place| {
                    // A key of citext is not the value that is looked up.
                    table.columns.get(place).is_some_and(|column| *column.ty.element() != SqlType::Citext)
                        && equal.iter().any(|(p, ..)| *p == place)
                })
            })
    };
    let primary = table.primary_key.and_then(|oid| context.catalog.index(oid)).filter(covered);
    primary.or_else(|| context.catalog.indexes_of(table).find(covered)).cloned()
}

/// What a select list or RETURNING over one row of the table yields.
pub(super) fn outputs(
    target: &Target,
    items: &[SelectItem],
    scope: &mut Scope,
) -> Result<(Vec<Expr>, Vec<ResultColumn>), Stop> {
    let mut output = Vec::with_capacity(items.len());
    let mut columns = Vec::with_capacity(items.len());
    let table = &target.table;
    for item in items {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, expression_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias)),
            SelectItem::Wildcard(options) if is_plain(options) => {
                all_columns(table, &mut output, &mut columns);
                continue;
            }
            SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options)
                if is_plain(options) && names::last_ident(name).is_ok_and(|n| fold(n) == target.known_as) =>
            {
                all_columns(table, &mut output, &mut columns);
                continue;
            }
            _ => return Err(Stop::Relational),
        };
        let bound = scope.bind(expr)?;
        let ty = match &bound.1 {
            SqlType::Unknown => SqlType::Text,
            other => other.clone(),
        };
        let source = match &bound.0 {
            Expr::Column(place) => table.columns.get(*place).map(|column| (table.oid, column.number)),
            // How many places it shows is not known from its type.
            Expr::Binary { .. } | Expr::Coalesce(_) if matches!(ty, SqlType::Numeric(_)) => {
                return Err(Stop::Relational);
            }
            _ => None,
        };
        output.push(scope.coerce(bound, &ty)?);
        columns.push(ResultColumn { name, ty, source, vector: false });
    }
    Ok((output, columns))
}

fn is_plain(options: &ast::WildcardAdditionalOptions) -> bool {
    options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_ilike.is_none()
}

fn all_columns(table: &Table, output: &mut Vec<Expr>, columns: &mut Vec<ResultColumn>) {
    for (place, column) in table.visible_columns().iter().enumerate() {
        output.push(Expr::Column(place));
        columns.push(ResultColumn {
            name: column.name.clone(),
            ty: column.ty.clone(),
            source: Some((table.oid, column.number)),
            vector: false,
        });
    }
}

/// The table that UPDATE, DELETE or INSERT changes.
///
/// # Errors
/// `42P01`, `42809` where it is no table.
pub(super) fn written(name: &ObjectName, alias: Option<&ast::Ident>, context: &PlanContext) -> SqlResult<Target> {
    if let Some(table) = names::key_table(name, context)? {
        let known_as = alias.map_or_else(|| table.name.clone(), fold);
        return Ok(Target { table, known_as, only: true, through: None });
    }
    let table = names::table(name, context)?;
    super::materialized::refuse_change(&table, context)?;
    let known_as = alias.map_or_else(|| table.name.clone(), fold);
    Ok(Target { table, known_as, only: names::is_only(name), through: None })
}

/// As [`written`], for statements that may also name a view.
///
/// # Errors
/// As [`written`]; `55000` for a view that is not simple.
pub(super) fn written_through(
    name: &ObjectName,
    alias: Option<&ast::Ident>,
    verb: Verb,
    context: &PlanContext,
) -> SqlResult<Target> {
    let qualified = names::qualified(name, context)?;
    match names::find(&qualified, context) {
        Some(Object::View(view)) => {
            view_target::resolve(view, alias.map_or_else(|| view.name.clone(), fold), verb, context)
        }
        _ => written(name, alias, context),
    }
}

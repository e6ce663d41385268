//! Writes through a view whose rows are rows of one table: which view that is, and how the table looks through it.
//!
//! The statement is planned over the table as any write is. Only what its expressions name are the view's columns: the
//! relation that they are over is the view's query with the table's own columns beside its own, under names that nobody
//! can write.
//!
//! ```text
//! UPDATE v SET x = x + 1    with v: SELECT a AS x, lower(b) AS y FROM t WHERE c > 0
//!
//! SELECT v."base a", …, v.x + 1, v.vid
//! FROM (SELECT a AS x, lower(b) AS y, t.a AS "base a", …, t.vid AS vid FROM t WHERE c > 0) AS v
//! ```

use std::sync::Arc;

use perigee_plan::relational::{TABLE_OID_COLUMN, VID_COLUMN, ViewCheck};
use perigee_types::catalog::{CheckOption, Object, Table, View};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    self, Assignment, AssignmentTarget, Expr, Function, GroupByExpr, Ident, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
};

use super::point::Target;
use super::query::TARGET;
use super::update::qualified;
use super::{names, returning};
use crate::exec::is_aggregate;
use crate::sql::context::PlanContext;
use crate::sql::parse::{fold, parse};
use crate::sql::statement::Ast;

/// How deep views may stand on views.
const DEPTH_MAX: usize = 32;
/// What the names of the table's own columns begin with.
const BASE: &str = "base\u{1}";

/// What a statement does to a view, as its errors say it.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    /// INSERT
    Insert,
    /// UPDATE
    Update,
    /// DELETE
    Delete,
}

/// A view that is written to.
pub(super) struct Through {
    /// Its name.
    pub(super) name: String,
    /// Its columns, with the places of those that are columns of the table.
    pub(super) columns: Vec<(String, Option<usize>)>,
    /// From the view down to the one over the table: whose rights count for what is below it, and that relation.
    pub(super) below: Vec<(Oid, Oid)>,
    /// What its subqueries and those of the views below read: whose rights count, and what.
    pub(super) queried: Vec<(Oid, Oid)>,
    /// Its SELECT, without the table's own columns.
    select: Box<Select>,
    /// What the relation below it is called in its SELECT, and that relation where it is a view too.
    alias: String,
    inner: Option<Box<Through>>,
    check_option: Option<CheckOption>,
    /// Its columns as expressions over the table, and so its WHERE.
    over_table: Vec<(String, Expr)>,
    condition: Option<Expr>,
}

/// The table below a view that a statement writes to.
///
/// # Errors
/// `55000` where its rows are not rows of one table.
pub(super) fn resolve(view: &View, known_as: String, verb: Verb, context: &PlanContext) -> SqlResult<Target> {
    let (table, only, through) = look(view, verb, 0, context)?;
    Ok(Target { table, known_as, only, through: Some(Arc::new(through)) })
}

/// Which columns of a view a statement may change; `None` where its rows are not rows of one table.
pub(crate) fn updatable_columns(view: &View, context: &PlanContext) -> Option<Vec<bool>> {
    let (.., through) = look(view, Verb::Update, 0, context).ok()?;
    Some(through.columns.iter().map(|(_, place)| place.is_some()).collect())
}

fn look(view: &View, verb: Verb, depth: usize, context: &PlanContext) -> SqlResult<(Arc<Table>, bool, Through)> {
    let refused = |detail: &str| Err(not_updatable(view, verb, detail));
    if depth >= DEPTH_MAX {
        return Err(SqlError::new(SqlState::StatementTooComplex, "views are nested too deeply"));
    }
    let statement = parse(&view.query)?.pop();
    let Some(Ast::Sql(statement)) = statement.map(|statement| statement.ast) else {
        return refused("Its query is not simple.");
    };
    let ast::Statement::Query(query) = *statement else { return refused("Its query is not simple.") };
    if query.with.is_some() {
        return refused("Views containing WITH are not automatically updatable.");
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return refused("Views containing LIMIT or OFFSET are not automatically updatable.");
    }
    let select = match *query.body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { .. } => {
            return refused("Views containing UNION, INTERSECT, or EXCEPT are not automatically updatable.");
        }
        _ => return refused("Views that do not select from a single table or view are not automatically updatable."),
    };
    if select.distinct.is_some() {
        return refused("Views containing DISTINCT are not automatically updatable.");
    }
    if !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty()) {
        return refused("Views containing GROUP BY are not automatically updatable.");
    }
    if select.having.is_some() {
        return refused("Views containing HAVING are not automatically updatable.");
    }
    let mut calls = Calls { found: None };
    let _ = select.projection.visit(&mut calls);
    if let Some(detail) = calls.found {
        return refused(detail);
    }
    let single = "Views that do not select from a single table or view are not automatically updatable.";
    let [TableWithJoins { relation: TableFactor::Table { name, alias, args: None, sample, .. }, joins }] =
        select.from.as_slice()
    else {
        return refused(single);
    };
    if sample.is_some() {
        return refused("Views containing TABLESAMPLE are not automatically updatable.");
    }
    if !joins.is_empty() || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return refused(single);
    }
    let only = names::is_only(name);
    let found = names::qualified(name, context)?;
    let alias = alias.as_ref().map_or_else(|| found.1.clone(), |alias| fold(&alias.name));
    let (table, only, inner, oid) = match names::find(&found, context) {
        Some(Object::Table(table)) if table.materialized.is_none() => (Arc::clone(table), only, None, table.oid),
        Some(Object::View(below)) => {
            let (table, only, through) = look(below, verb, depth + 1, context)?;
            (table, only, Some(Box::new(through)), below.oid)
        }
        _ => return refused(single),
    };
    // The columns of the relation below, which the view's are among.
    let below_columns: Vec<(String, Option<usize>)> = match &inner {
        Some(through) => through.columns.clone(),
        None => table.visible_columns().iter().enumerate().map(|(at, c)| (c.name.clone(), Some(at))).collect(),
    };
    let outputs = outputs(&select, &alias, &below_columns);
    let mut used = Vec::new();
    let columns = view
        .columns
        .iter()
        .zip(&outputs)
        .map(|((name, _), (_, place))| {
            // A column that the view shows twice is written under its first name.
            let place = place.filter(|place| !used.contains(place));
            used.extend(place);
            (name.clone(), place)
        })
        .collect::<Vec<_>>();
    if columns.iter().all(|(_, place)| place.is_none()) {
        return refused("Views that return no updatable columns are not automatically updatable.");
    }
    let mut below = vec![(view.owner, oid)];
    below.extend(inner.iter().flat_map(|inner| inner.below.iter().copied()));
    let below_exprs: Vec<(String, Expr)> = match &inner {
        Some(through) => through.over_table.clone(),
        None => {
            let column = |name: &String| Expr::Identifier(Ident::with_quote('"', name));
            table.visible_columns().iter().map(|c| (c.name.clone(), column(&c.name))).collect()
        }
    };
    let shown = |expr: &Expr| substituted(expr, &alias, &below_exprs);
    let over_table =
        view.columns.iter().zip(&outputs).map(|((name, _), (expr, _))| (name.clone(), shown(expr))).collect();
    let condition = select.selection.as_ref().map(shown);
    let mut queried = Relations { context, found: Vec::new() };
    let _ = Visit::visit(&select.projection, &mut queried);
    let _ = Visit::visit(&select.selection, &mut queried);
    let mut queried: Vec<(Oid, Oid)> = queried.found.into_iter().map(|oid| (view.owner, oid)).collect();
    queried.extend(inner.iter().flat_map(|inner| inner.queried.iter().copied()));
    let projection = view
        .columns
        .iter()
        .zip(outputs)
        .map(|((name, _), (expr, _))| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) })
        .collect();
    let select = Box::new(Select { projection, ..*select });
    let name = view.name.clone();
    let check_option = view.check_option;
    let through = Through { name, columns, below, queried, select, alias, inner, check_option, over_table, condition };
    Ok((table, only, through))
}

/// The tables and views that a part of a statement names.
pub(super) struct Relations<'a> {
    pub(super) context: &'a PlanContext<'a>,
    pub(super) found: Vec<Oid>,
}

impl Visitor for Relations<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ObjectName) -> std::ops::ControlFlow<()> {
        let found = names::qualified(name, self.context).ok();
        let found = found.and_then(|name| names::find(&name, self.context).map(Object::oid));
        self.found.extend(found);
        std::ops::ControlFlow::Continue(())
    }
}

/// An expression over a view's relation as one over what the relation's columns are.
fn substituted(expr: &Expr, alias: &str, below: &[(String, Expr)]) -> Expr {
    let mut expr = expr.clone();
    let _ = VisitMut::visit(&mut expr, &mut Substitution { alias, below });
    expr
}

struct Substitution<'a> {
    alias: &'a str,
    below: &'a [(String, Expr)],
}

impl VisitorMut for Substitution<'_> {
    type Break = ();

    // Behind its parts: what takes a name's place is not looked at again.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> std::ops::ControlFlow<()> {
        let column = match &*expr {
            Expr::Identifier(column) => Some(column),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] if fold(table) == self.alias => Some(column),
                _ => None,
            },
            _ => None,
        };
        if let Some(name) = column.map(fold)
            && let Some((_, below)) = self.below.iter().find(|(known, _)| *known == name)
        {
            *expr = match below {
                Expr::Identifier(_) => below.clone(),
                other => Expr::Nested(Box::new(other.clone())),
            };
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// Refuses WITH CHECK OPTION of a view that is not written through.
///
/// # Errors
/// `0A000`
pub(super) fn check_is_possible(view: &View, context: &PlanContext) -> SqlResult<()> {
    look(view, Verb::Update, 0, context).map(|_| ()).map_err(|error| {
        let text = "WITH CHECK OPTION is supported only on automatically updatable views";
        let refused = SqlError::new(SqlState::FeatureNotSupported, text);
        match error.fields().detail.clone() {
            Some(detail) => refused.hint(detail),
            None => refused,
        }
    })
}

/// What a view's query yields, with the places of columns that are the table's.
fn outputs(select: &Select, alias: &str, below: &[(String, Option<usize>)]) -> Vec<(Expr, Option<usize>)> {
    let place_of = |name: &str| below.iter().find(|(known, _)| known == name).and_then(|(_, place)| *place);
    let mut found = Vec::new();
    for item in &select.projection {
        let expr = match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr,
            // A wildcard: every column of the one relation.
            _ => {
                found.extend(below.iter().map(|(name, place)| (qualified(alias, name), *place)));
                continue;
            }
        };
        let place = match expr {
            Expr::Identifier(ident) => place_of(&fold(ident)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] if fold(table) == alias => place_of(&fold(column)),
                _ => None,
            },
            _ => None,
        };
        found.push((expr.clone(), place));
    }
    found
}

/// Whether a select list calls what makes one row of many, or many of one.
struct Calls {
    found: Option<&'static str>,
}

impl Visitor for Calls {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<()> {
        let Expr::Function(Function { name, over, .. }) = expr else { return std::ops::ControlFlow::Continue(()) };
        let called = name.0.last().and_then(ObjectNamePart::as_ident).map(fold).unwrap_or_default();
        if over.is_some() {
            self.found = Some("Views that return window functions are not automatically updatable.");
        } else if called.starts_with("generate_") || called == "unnest" {
            self.found = Some("Views that return set-returning functions are not automatically updatable.");
        } else if is_aggregate(&called) {
            self.found = Some("Views that return aggregate functions are not automatically updatable.");
        }
        std::ops::ControlFlow::Continue(())
    }
}

impl Through {
    /// The view's rows with the table's own columns, as the statement's query reads them. `family`: also which table.
    pub(super) fn relation(&self, known_as: &str, table: &Table, family: bool) -> TableFactor {
        let columns = if family { table.visible_columns() } else { &table.columns };
        let mut own: Vec<(String, String)> =
            columns.iter().map(|column| (column.name.clone(), base_name(&column.name))).collect();
        own.extend(family.then(|| (TABLE_OID_COLUMN.to_owned(), TABLE_OID_COLUMN.to_owned())));
        own.push((VID_COLUMN.to_owned(), VID_COLUMN.to_owned()));
        self.derived(known_as, &own)
    }

    /// The view's rows, as RETURNING reads them, with columns of other tables.
    pub(super) fn returned(&self, known_as: &str, others: &[String]) -> TableFactor {
        let own: Vec<(String, String)> = others.iter().map(|name| (name.clone(), name.clone())).collect();
        self.derived(known_as, &own)
    }

    /// `own`: columns of the table, and what they are called here.
    fn derived(&self, known_as: &str, own: &[(String, String)]) -> TableFactor {
        let mut select = self.select.clone();
        let relation = match &self.inner {
            Some(inner) => inner.derived(&self.alias, own),
            None => returning::known_as(TARGET, &self.alias),
        };
        select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
        select.projection.extend(own.iter().map(|(column, name)| {
            // A view below has given them their names.
            let column = if self.inner.is_some() { name } else { column };
            let alias = Ident::with_quote('"', name);
            SelectItem::ExprWithAlias { expr: qualified(&self.alias, column), alias }
        }));
        let query =
            Query { body: Box::new(SetExpr::Select(select)), ..returning::select_query(Vec::new(), Vec::new(), None) };
        let name = Ident::with_quote('"', known_as);
        TableFactor::Derived {
            lateral: false,
            subquery: Box::new(query),
            alias: Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None }),
            sample: None,
        }
    }

    /// Whether rows that are written through it are tested.
    pub(super) fn is_checked(&self) -> bool {
        self.check_option.is_some() || self.inner.as_ref().is_some_and(|inner| inner.is_checked())
    }

    /// What rows that are written through it must fulfil, the conditions of views below first.
    ///
    /// # Errors
    /// `0A000` for a condition with a subquery.
    pub(super) fn checks(&self) -> SqlResult<Vec<ViewCheck>> {
        let mut found = Vec::new();
        self.collect_checks(false, &mut found)?;
        Ok(found)
    }

    fn collect_checks(&self, asked: bool, found: &mut Vec<ViewCheck>) -> SqlResult<()> {
        if let Some(inner) = &self.inner {
            inner.collect_checks(asked || self.check_option == Some(CheckOption::Cascaded), found)?;
        }
        let Some(condition) = self.condition.as_ref().filter(|_| asked || self.check_option.is_some()) else {
            return Ok(());
        };
        let queries = ast::visit_expressions(condition, |expr| match expr {
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => std::ops::ControlFlow::Break(()),
            _ => std::ops::ControlFlow::Continue(()),
        });
        if queries.is_break() {
            return Err(SqlError::unsupported("a view's check option over a subquery"));
        }
        // NULL is not true.
        found.push(ViewCheck { view: self.name.clone(), condition: format!("({condition}) IS TRUE") });
        Ok(())
    }

    /// The place in the table of a column of the view.
    ///
    /// # Errors
    /// `42703`, `0A000` for a column that is computed.
    pub(super) fn place(&self, column: &str, verb: Verb) -> SqlResult<usize> {
        match self.columns.iter().find(|(name, _)| name == column) {
            Some((_, Some(place))) => Ok(*place),
            Some((_, None)) => {
                let verb = match verb {
                    Verb::Insert => "insert into",
                    Verb::Update => "update",
                    Verb::Delete => "delete from",
                };
                let text = format!("cannot {verb} column \"{column}\" of view \"{}\"", self.name);
                Err(SqlError::new(SqlState::FeatureNotSupported, text)
                    .detail("View columns that are not columns of their base relation are not updatable."))
            }
            None => {
                let text = format!("column \"{column}\" of relation \"{}\" does not exist", self.name);
                Err(SqlError::new(SqlState::UndefinedColumn, text))
            }
        }
    }

    /// Whether columns of the table have the same names in the view.
    pub(super) fn keeps_names(&self, table: &Table) -> bool {
        self.columns.iter().all(|(name, place)| {
            place.is_some_and(|place| table.columns.get(place).is_some_and(|column| column.name == *name))
        })
    }

    /// Assignments to columns of the view as such to columns of the table.
    ///
    /// # Errors
    /// As [`Through::place`].
    pub(super) fn assignments(&self, list: &[Assignment], table: &Table) -> SqlResult<Vec<Assignment>> {
        let renamed = |name: &ObjectName| -> SqlResult<ObjectName> {
            let place = self.place(&fold(names::last_ident(name)?), Verb::Update)?;
            let column = table.columns.get(place).map_or("", |column| column.name.as_str());
            Ok(ObjectName::from(vec![Ident::with_quote('"', column)]))
        };
        list.iter()
            .map(|assignment| {
                let target = match &assignment.target {
                    AssignmentTarget::ColumnName(name) => AssignmentTarget::ColumnName(renamed(name)?),
                    AssignmentTarget::Tuple(names) => {
                        AssignmentTarget::Tuple(names.iter().map(renamed).collect::<SqlResult<_>>()?)
                    }
                };
                Ok(Assignment { target, value: assignment.value.clone() })
            })
            .collect()
    }
}

/// What a column of the table is called beside the view's.
pub(super) fn base_name(column: &str) -> String {
    format!("{BASE}{column}")
}

fn not_updatable(view: &View, verb: Verb, detail: &str) -> SqlError {
    let (text, hint) = match verb {
        Verb::Insert => ("insert into", ("inserting into", "INSERT")),
        Verb::Update => ("update", ("updating", "UPDATE")),
        Verb::Delete => ("delete from", ("deleting from", "DELETE")),
    };
    let text = format!("cannot {text} view \"{}\"", view.name);
    let hint = format!(
        "To enable {} the view, provide an INSTEAD OF {1} trigger or an unconditional ON {1} DO INSTEAD rule.",
        hint.0, hint.1
    );
    SqlError::new(SqlState::ObjectNotInPrerequisiteState, text).detail(detail).hint(hint)
}

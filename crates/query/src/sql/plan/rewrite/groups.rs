//! What GROUP BY names: places in grouping sets, and set-returning functions.
//!
//! `SELECT unnest(tags) AS tag, count(*) FROM t GROUP BY tag` makes the rows of the function before it groups them, so the
//! function becomes a relation of FROM.

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Expr, GroupByExpr, Ident, Select, SelectItem, TableAlias, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};

use super::super::columns;
use super::{functions, whole_rows};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Name of the relation whose columns are the functions that a SELECT groups by.
const SETS: &str = "\u{1}sets";

/// `GROUP BY ROLLUP (1)` by what stands at that place of the select list: the planner knows places outside of sets alone.
pub(super) fn places_in_sets(select: &mut Select) {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return };
    let items = &select.projection;
    for group in groups {
        let (Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets)) = group else { continue };
        for expr in sets.iter_mut().flatten() {
            if let Some(item) = item_at(expr, items).and_then(expression_of) {
                *expr = item.clone();
            }
        }
    }
}

/// The item of a select list at a place that an expression says by number.
fn item_at<'a>(place: &Expr, items: &'a [SelectItem]) -> Option<&'a SelectItem> {
    let Expr::Value(value) = place else { return None };
    let ast::Value::Number(text, _) = &value.value else { return None };
    items.get(text.parse::<usize>().ok()?.checked_sub(1)?)
}

fn expression_of(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Moves the set-returning functions that a SELECT groups by into its FROM.
pub(super) fn sets_into_from(select: &mut Select, context: &PlanContext) {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return };
    if groups.is_empty() || !functions::makes_rows(&select.projection) {
        return;
    }
    let inputs = whole_rows::relations(&select.from, context);
    let mut calls: Vec<Expr> = Vec::new();
    for group in groups {
        let grouped = match group {
            // A column of FROM comes before one of the select list.
            Expr::Identifier(name) if whole_rows::has_column(name, &inputs) => None,
            Expr::Identifier(name) => {
                let wanted = fold(name);
                let is_named = |item: &&SelectItem| match item {
                    SelectItem::ExprWithAlias { alias, .. } => fold(alias) == wanted,
                    SelectItem::UnnamedExpr(expr) => columns::expression_name(expr) == wanted,
                    _ => false,
                };
                select.projection.iter().find(is_named).and_then(expression_of)
            }
            other => item_at(other, &select.projection).and_then(expression_of).or(Some(other)),
        };
        if let Some(expr) = grouped {
            functions::sets_in(expr, &mut calls);
        }
    }
    if calls.is_empty() {
        return;
    }
    let mut moved = Moved { calls: &calls };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item {
            let alias = Ident::with_quote('"', columns::expression_name(expr));
            let expr = std::mem::replace(expr, Expr::value(ast::Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
    // What is visited never ends early.
    let _ = VisitMut::visit(&mut select.projection, &mut moved);
    let _ = VisitMut::visit(&mut select.group_by, &mut moved);
    let lateral = !select.from.is_empty() && ast::visit_expressions(&calls, looks_out).is_break();
    let items = calls.into_iter().enumerate().map(|(place, expr)| {
        let alias = Ident::with_quote('"', column_of(place));
        SelectItem::ExprWithAlias { expr, alias }
    });
    let subquery = functions::select(items.collect(), Vec::new(), None);
    let alias = TableAlias { explicit: true, name: Ident::with_quote('"', SETS), columns: Vec::new(), at: None };
    let relation = TableFactor::Derived { lateral, subquery: Box::new(subquery), alias: Some(alias), sample: None };
    select.from.push(TableWithJoins { relation, joins: Vec::new() });
}

fn column_of(place: usize) -> String {
    format!("set{place}")
}

fn looks_out(expr: &Expr) -> ControlFlow<()> {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

/// Puts columns in the place of the functions that have moved.
struct Moved<'a> {
    calls: &'a [Expr],
}

impl VisitorMut for Moved<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(place) = self.calls.iter().position(|call| call == expr) {
            let parts = [SETS.to_owned(), column_of(place)];
            *expr = Expr::CompoundIdentifier(parts.into_iter().map(|part| Ident::with_quote('"', part)).collect());
        }
        ControlFlow::Continue(())
    }
}

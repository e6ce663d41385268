//! `FROM jsonb_array_elements(x) e`: its column is called `value`, and `e` alone stands for it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins,
    VisitMut, VisitorMut,
};

use super::{functions, whole_rows};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Functions with one output that has a name of its own.
const FUNCTIONS: &[&str] =
    &["json_array_elements", "json_array_elements_text", "jsonb_array_elements", "jsonb_array_elements_text"];
const VALUE: &str = "value";

/// Names the columns of such functions in a query's own FROM.
pub(super) fn name(query: &mut Query, context: &PlanContext) {
    let Query { body, order_by, .. } = query;
    in_body(body, context, &mut |names| {
        let mut values = Values { names, context, hidden: Vec::new() };
        let _ = VisitMut::visit(&mut *order_by, &mut values);
    });
}

fn in_body(body: &mut SetExpr, context: &PlanContext, order: &mut dyn FnMut(&[String])) {
    match body {
        SetExpr::Select(select) => {
            let names = in_select(select, context);
            if !names.is_empty() {
                order(&names);
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            // What sorts a set operation names its columns alone.
            in_body(left, context, &mut |_| {});
            in_body(right, context, &mut |_| {});
        }
        _ => {}
    }
}

/// The relations whose names alone stand for their values.
fn in_select(select: &mut Select, context: &PlanContext) -> Vec<String> {
    let mut names = Vec::new();
    select.from.iter_mut().for_each(|table| in_table(table, &mut names));
    if names.is_empty() {
        return names;
    }
    let relations = whole_rows::relations(&select.from, context);
    names.retain(|name| !whole_rows::has_column(&Ident::with_quote('"', name), &relations));
    let mut values = Values { names: &names, context, hidden: Vec::new() };
    values.in_list(&mut select.projection);
    let _ = VisitMut::visit(select, &mut values);
    names
}

fn in_table(table: &mut TableWithJoins, names: &mut Vec<String>) {
    in_factor(&mut table.relation, names);
    table.joins.iter_mut().for_each(|join| in_factor(&mut join.relation, names));
}

fn in_factor(factor: &mut TableFactor, names: &mut Vec<String>) {
    let (name, alias) = match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => return in_table(table_with_joins, names),
        TableFactor::Table { name, args: Some(_), alias, .. } => (name, alias),
        TableFactor::Function { name, alias, .. } => (name, alias),
        _ => return,
    };
    let Some(function) = functions::bare(name).filter(|name| FUNCTIONS.contains(&name.as_str())) else { return };
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', function),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: Ident::with_quote('"', VALUE), data_type: None });
        names.push(fold(&alias.name));
    }
}

struct Values<'a> {
    names: &'a [String],
    context: &'a PlanContext<'a>,
    /// The names that have another meaning in each of the queries within.
    hidden: Vec<Vec<String>>,
}

impl Values<'_> {
    fn value(&self, expr: &Expr) -> Option<Expr> {
        let Expr::Identifier(ident) = expr else { return None };
        let name = fold(ident);
        let stands = self.names.contains(&name) && !self.hidden.iter().flatten().any(|hidden| *hidden == name);
        let value = || Expr::CompoundIdentifier(vec![ident.clone(), Ident::with_quote('"', VALUE)]);
        stands.then(value)
    }

    /// The items of a select list, which are still called as they were.
    fn in_list(&self, items: &mut [SelectItem]) {
        for item in items {
            if let SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) = item
                && let (Some(value), Expr::Identifier(alias)) = (self.value(expr), &*expr)
            {
                *item = SelectItem::ExprWithAlias { alias: alias.clone(), expr: value };
            }
        }
    }
}

impl VisitorMut for Values<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut hidden = Vec::new();
        if let SetExpr::Select(select) = query.body.as_ref() {
            let relations = whole_rows::relations(&select.from, self.context);
            let is_column = |name: &&String| whole_rows::has_column(&Ident::with_quote('"', *name), &relations);
            hidden.extend(self.names.iter().filter(is_column).cloned());
        }
        self.hidden.push(hidden);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.hidden.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.in_list(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(value) = self.value(expr) {
            *expr = value;
        }
        ControlFlow::Continue(())
    }
}

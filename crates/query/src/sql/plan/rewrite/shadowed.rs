//! A relation that is called like a column of a query within: `FROM groups g WHERE EXISTS (SELECT FROM people p WHERE p.g = g.id)`.
//!
//! DataFusion's planner takes `g.id` for a field of the column. So such a relation gets a name that no column has.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Visit, VisitMut,
    Visitor, VisitorMut,
};

use super::whole_rows;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Renames such relations of a query's own FROM, wherever they are named.
pub(super) fn rename(query: &mut Query, context: &PlanContext) {
    let Query { body, order_by, .. } = query;
    let SetExpr::Select(select) = &mut **body else { return };
    let mut mentions = Mentions { names: names(&select.from), context, within: Vec::new(), found: BTreeSet::new() };
    let _ = Visit::visit(&**select, &mut mentions);
    for name in mentions.found {
        let columns = whole_rows::relations(&select.from, context);
        let is_column = whole_rows::has_column(&Ident::with_quote('"', &name), &columns);
        select.from.iter_mut().for_each(|table| rename_in(table, &name));
        select.projection.iter_mut().for_each(|item| {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), _) = item {
                rename_object(of, &name);
            }
        });
        let mut renamed = Renamed { name: &name, is_column, hidden: Vec::new() };
        let _ = VisitMut::visit(&mut **select, &mut renamed);
        let _ = VisitMut::visit(&mut *order_by, &mut renamed);
    }
}

/// What the relations of a FROM are called that can be renamed.
fn names(from: &[TableWithJoins]) -> Vec<String> {
    fn of_factor(factor: &TableFactor, found: &mut Vec<String>) {
        match factor {
            TableFactor::Table { alias: Some(alias), args: None, .. }
            | TableFactor::Derived { alias: Some(alias), .. } => {
                found.push(fold(&alias.name));
            }
            TableFactor::Table { name, alias: None, args: None, .. } => {
                found.extend(name.0.last().and_then(ObjectNamePart::as_ident).map(fold));
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => of_table(table_with_joins, found),
            _ => {}
        }
    }
    fn of_table(table: &TableWithJoins, found: &mut Vec<String>) {
        of_factor(&table.relation, found);
        table.joins.iter().for_each(|join| of_factor(&join.relation, found));
    }
    let mut found = Vec::new();
    from.iter().for_each(|table| of_table(table, &mut found));
    found
}

fn new_name(name: &str) -> Ident {
    Ident::with_quote('"', format!("{name}\u{1}"))
}

fn rename_in(table: &mut TableWithJoins, name: &str) {
    fn in_factor(factor: &mut TableFactor, old: &str) {
        match factor {
            TableFactor::Table { alias: Some(alias), args: None, .. }
            | TableFactor::Derived { alias: Some(alias), .. }
                if fold(&alias.name) == old =>
            {
                alias.name = new_name(old);
            }
            TableFactor::Table { name, alias: alias @ None, args: None, .. }
                if name.0.last().and_then(ObjectNamePart::as_ident).map(fold).as_deref() == Some(old) =>
            {
                *alias = Some(TableAlias { explicit: true, name: new_name(old), columns: Vec::new(), at: None });
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => rename_in(table_with_joins, old),
            _ => {}
        }
    }
    in_factor(&mut table.relation, name);
    table.joins.iter_mut().for_each(|join| in_factor(&mut join.relation, name));
}

fn rename_object(object: &mut ObjectName, name: &str) {
    if let [ObjectNamePart::Identifier(ident)] = object.0.as_mut_slice()
        && fold(ident) == name
    {
        *ident = new_name(name);
    }
}

/// Whether a query has a relation of that name in its own FROM.
fn has_relation(query: &Query, name: &str) -> bool {
    fn of_body(body: &SetExpr, name: &str) -> bool {
        match body {
            SetExpr::Select(select) => names(&select.from).iter().any(|known| known == name),
            SetExpr::SetOperation { left, right, .. } => of_body(left, name) || of_body(right, name),
            _ => false,
        }
    }
    of_body(&query.body, name)
}

/// Looks for queries within that may have a column of a relation's name, and that name the relation.
struct Mentions<'a> {
    names: Vec<String>,
    context: &'a PlanContext<'a>,
    /// The relations of the queries within, outermost first.
    within: Vec<Within>,
    found: BTreeSet<String>,
}

#[derive(Default)]
struct Within {
    /// What its own relations are called.
    names: Vec<String>,
    relations: whole_rows::Relations,
}

impl Visitor for Mentions<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.within.push(Within::default());
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let Some(query) = self.within.last_mut() {
            query.names.extend(names(&select.from));
            query.relations.extend(whole_rows::relations(&select.from, self.context));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.within.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::CompoundIdentifier(parts) = expr else { return ControlFlow::Continue(()) };
        let [relation, _] = parts.as_slice() else { return ControlFlow::Continue(()) };
        let name = fold(relation);
        if self.within.is_empty() || !self.names.contains(&name) {
            return ControlFlow::Continue(());
        }
        let hidden = self.within.iter().any(|query| query.names.contains(&name));
        if !hidden && self.within.iter().any(|query| whole_rows::may_have_column(&name, &query.relations)) {
            self.found.insert(name);
        }
        ControlFlow::Continue(())
    }
}

/// Gives the relation its new name.
struct Renamed<'a> {
    name: &'a str,
    /// Whether the name alone is a column's.
    is_column: bool,
    /// Whether each of the queries within has a relation of the name itself.
    hidden: Vec<bool>,
}

impl VisitorMut for Renamed<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let hidden = self.hidden.last().copied().unwrap_or(false) || has_relation(query, self.name);
        self.hidden.push(hidden);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.hidden.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.hidden.last() == Some(&true) {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::CompoundIdentifier(parts) => {
                if let [relation, _] = parts.as_mut_slice()
                    && fold(relation) == self.name
                {
                    *relation = new_name(self.name);
                }
            }
            // A whole row.
            Expr::Identifier(ident) if self.hidden.is_empty() && !self.is_column && fold(ident) == self.name => {
                *ident = new_name(self.name);
            }
            Expr::Function(function) => {
                if let FunctionArguments::List(list) = &mut function.args {
                    for arg in &mut list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(of)) = arg {
                            rename_object(of, self.name);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

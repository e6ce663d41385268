//! Which columns of which tables a query names, also where its result does not need them: what is not optimized yet says it.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};
use perigee_types::Oid;

use crate::exec::scanned_table;

/// The tables that a query reads, with the numbers of the columns of each that it names.
pub(super) fn columns(plan: &LogicalPlan) -> Vec<(Oid, Vec<u16>)> {
    let mut named = Named::default();
    named.walk(plan, &mut Vec::new());
    named.found.into_iter().map(|(table, columns)| (table, columns.into_iter().collect())).collect()
}

#[derive(Default)]
struct Named {
    found: BTreeMap<Oid, BTreeSet<u16>>,
}

impl Named {
    /// `around`: the nodes that `plan` stands below, and those whose expressions have it as a subquery, outermost first.
    fn walk<'p>(&mut self, plan: &'p LogicalPlan, around: &mut Vec<&'p LogicalPlan>) {
        if let LogicalPlan::TableScan(scan) = plan {
            self.scan(scan, None);
        }
        around.push(plan);
        // The closures never fail.
        let _ = plan.apply_expressions(|expr| {
            expr.apply(|part| {
                self.expression(part, plan, &*around);
                Ok(TreeNodeRecursion::Continue)
            })
        });
        let _ = plan.apply_expressions(|expr| {
            let mut queries = Vec::new();
            expr.apply(|part| {
                queries.extend(subquery(part));
                Ok(TreeNodeRecursion::Continue)
            })?;
            for query in queries {
                let mut around: Vec<&LogicalPlan> = around.to_vec();
                self.walk(query, &mut around);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        for input in plan.inputs() {
            self.walk(input, around);
        }
        around.pop();
    }

    fn expression(&mut self, expr: &Expr, plan: &LogicalPlan, around: &[&LogicalPlan]) {
        match expr {
            Expr::Column(column) => {
                self.find(column, plan);
            }
            Expr::OuterReferenceColumn(_, column) => {
                let _ = around.iter().rev().skip(1).any(|outer| self.find(column, outer));
            }
            _ => {}
        }
    }

    /// Takes down what stands behind a column that `plan` sees; `false` where no input of it has one of that name.
    fn find(&mut self, column: &Column, plan: &LogicalPlan) -> bool {
        for input in plan.inputs() {
            if let Some(place) = input.schema().maybe_index_of_column(column) {
                self.behind(input, place);
                return true;
            }
        }
        false
    }

    /// Takes down what a column of `plan` is a column of. What computes it names its columns itself.
    fn behind(&mut self, plan: &LogicalPlan, place: usize) {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, Some(place)),
            LogicalPlan::SubqueryAlias(alias) => self.behind(&alias.input, place),
            LogicalPlan::Subquery(query) => self.behind(&query.subquery, place),
            LogicalPlan::Filter(filter) => self.behind(&filter.input, place),
            LogicalPlan::Sort(sort) => self.behind(&sort.input, place),
            LogicalPlan::Limit(limit) => self.behind(&limit.input, place),
            LogicalPlan::Distinct(Distinct::All(input)) => self.behind(input, place),
            LogicalPlan::Union(union) => union.inputs.iter().for_each(|input| self.behind(input, place)),
            LogicalPlan::Window(window) if place < window.input.schema().fields().len() => {
                self.behind(&window.input, place);
            }
            LogicalPlan::Join(join) => match place.checked_sub(join.left.schema().fields().len()) {
                None => self.behind(&join.left, place),
                Some(place) => self.behind(&join.right, place),
            },
            _ => {}
        }
    }

    fn scan(&mut self, scan: &TableScan, place: Option<usize>) {
        let Ok(Some(table)) = scanned_table(&scan.source) else { return };
        let known = self.found.entry(table.oid).or_default();
        let Some((_, field)) = place.map(|place| scan.projected_schema.qualified_field(place)) else { return };
        let column = table.column_position(field.name()).and_then(|position| table.columns.get(position));
        known.extend(column.map(|column| column.number));
    }
}

/// The plan of a subquery.
fn subquery(expr: &Expr) -> Option<&LogicalPlan> {
    Some(match expr {
        Expr::ScalarSubquery(query) => &*query.subquery,
        Expr::Exists(exists) => &*exists.subquery.subquery,
        Expr::InSubquery(list) => &*list.subquery.subquery,
        Expr::SetComparison(comparison) => &*comparison.subquery.subquery,
        _ => return None,
    })
}

//! The order of a subquery in FROM, for what depends on one and names none.
//!
//! `SELECT array_agg(x) FROM (SELECT x FROM t ORDER BY y) s` collects by `y` in PostgreSQL, which hands rows on as they come.
//! Here the order of an input is nothing that an aggregate could rely on, so it gets the subquery's keys as its own ORDER
//! BY, and so do windows without one and DISTINCT ON. Keys that the subquery does not give go along in hidden columns.
//!
//! A query's own rows come in the order of its subquery where nothing between them changes it. All other sorts of
//! subqueries go: nobody would see them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, LogicalPlan, Projection, Subquery, SubqueryAlias, Window, WindowFrame,
    WindowFrameUnits,
};

/// Aggregates whose result depends on the order of their input.
const AGGREGATES: &[&str] = &["array_agg", "string_agg", "first_value", "last_value", "nth_value"];
/// Window functions whose result depends on the order of rows, also of those that no ORDER BY tells apart.
const WINDOWS: &[&str] = &["row_number", "ntile", "lag", "lead"];

/// The plan with the orders of subqueries where something depends on them, and without those that nobody sees.
pub(super) fn keep(plan: LogicalPlan) -> Result<LogicalPlan> {
    if !has_sorts(&plan)? {
        return Ok(plan);
    }
    Orders::default().walk(plan, true)
}

fn has_sorts(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found = found || matches!(node, LogicalPlan::Sort(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A plan whose rows come in the order of these keys, which are over its columns.
type Ordered = (LogicalPlan, Vec<SortExpr>);

#[derive(Default)]
struct Orders {
    /// Hidden columns that there are already.
    hidden: usize,
}

impl Orders {
    /// `wanted`: who reads the plan sees the order of its rows.
    fn walk(&mut self, plan: LogicalPlan, wanted: bool) -> Result<LogicalPlan> {
        let plan = self.give(plan)?;
        let below = match &plan {
            LogicalPlan::Sort(sort) if !wanted && sort.fetch.is_none() => {
                return self.walk(sort.input.as_ref().clone(), false);
            }
            // It counts rows in their order.
            LogicalPlan::Limit(_) => true,
            LogicalPlan::Projection(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Window(_) => wanted,
            _ => false,
        };
        let plan = plan.map_children(|child| self.walk(child, below).map(Transformed::yes))?.data;
        let plan = plan.map_subqueries(|subquery| match subquery {
            LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }) => {
                let subquery = Arc::new(self.walk(Arc::unwrap_or_clone(subquery), false)?);
                Ok(Transformed::yes(LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans })))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(plan.data)
    }

    /// A node that depends on the order of its input with that order as its own.
    fn give(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        match plan {
            LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(collects) => {
                let Some((input, keys)) = self.order_of(&aggregate.input)? else {
                    return Ok(LogicalPlan::Aggregate(aggregate));
                };
                let Aggregate { group_expr, aggr_expr, .. } = aggregate;
                let names = NamePreserver::new_for_projection();
                let give = |expr: Expr| {
                    let name = names.save(&expr);
                    let ordered = expr.transform_down(|e| Ok(with_keys(e, &keys)))?;
                    Ok(name.restore(ordered.data))
                };
                let aggr_expr = aggr_expr.into_iter().map(give).collect::<Result<Vec<_>>>()?;
                Aggregate::try_new(Arc::new(input), group_expr, aggr_expr).map(LogicalPlan::Aggregate)
            }
            LogicalPlan::Window(window) if window.window_expr.iter().any(is_open) => {
                let Some((input, keys)) = self.order_of(&window.input)? else { return Ok(LogicalPlan::Window(window)) };
                // What has a node in common must have its keys in common.
                let (open, closed): (Vec<Expr>, Vec<Expr>) = window.window_expr.into_iter().partition(is_open);
                let mut input = input;
                if !closed.is_empty() {
                    input = LogicalPlan::Window(Window::try_new(closed, Arc::new(input))?);
                }
                let names = NamePreserver::new_for_projection();
                let open = open.into_iter().map(|expr| {
                    let name = names.save(&expr);
                    name.restore(windowed(expr, &keys))
                });
                Window::try_new(open.collect(), Arc::new(input)).map(LogicalPlan::Window)
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                let Some((input, keys)) = self.order_of(&on.input)? else {
                    return Ok(LogicalPlan::Distinct(Distinct::On(on)));
                };
                let count = on.on_expr.len();
                let leads = keys.len() >= count && keys[..count].iter().all(|key| on.on_expr.contains(&key.expr));
                let mut sorted = match on.sort_expr {
                    Some(own) => own,
                    None if leads => Vec::new(),
                    None => on.on_expr.iter().map(|e| SortExpr::new(e.clone(), true, false)).collect(),
                };
                sorted.extend(keys);
                DistinctOn::try_new(on.on_expr, on.select_expr, Some(sorted), Arc::new(input))
                    .map(|on| LogicalPlan::Distinct(Distinct::On(on)))
            }
            other => Ok(other),
        }
    }

    /// The order that a plan's rows come in, with the plan that has all of its keys; `None` where they have none.
    fn order_of(&mut self, plan: &LogicalPlan) -> Result<Option<Ordered>> {
        Ok(match plan {
            LogicalPlan::Sort(sort) => {
                let again = |key: &SortExpr| !key.expr.is_volatile() && !has_subquery(&key.expr);
                sort.expr.iter().all(again).then(|| (plan.clone(), sort.expr.clone()))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some((input, keys)) = self.order_of(&alias.input)? else { return Ok(None) };
                let before = Arc::clone(input.schema());
                let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
                let after = Arc::clone(&alias.schema);
                let place = |column: &Column| before.maybe_index_of_column(column);
                moved(keys, place, &after)?.map(|keys| (LogicalPlan::SubqueryAlias(alias), keys))
            }
            LogicalPlan::Projection(projection) => {
                let Some((input, keys)) = self.order_of(&projection.input)? else { return Ok(None) };
                let (exprs, places) = self.with_columns(projection.expr.clone(), &keys);
                let projection = Projection::try_new(exprs, Arc::new(input))?;
                let after = Arc::clone(&projection.schema);
                let place = |column: &Column| place_of(column, &places);
                moved(keys, place, &after)?.map(|keys| (LogicalPlan::Projection(projection), keys))
            }
            LogicalPlan::Distinct(Distinct::On(_)) => {
                let LogicalPlan::Distinct(Distinct::On(on)) = self.give(plan.clone())? else { return Ok(None) };
                let Some(keys) = on.sort_expr.clone() else { return Ok(None) };
                let (exprs, places) = self.with_columns(on.select_expr, &keys);
                let on = DistinctOn::try_new(on.on_expr, exprs, on.sort_expr, on.input)?;
                let after = Arc::clone(&on.schema);
                let place = |column: &Column| place_of(column, &places);
                moved(keys, place, &after)?.map(|keys| (LogicalPlan::Distinct(Distinct::On(on)), keys))
            }
            LogicalPlan::Filter(filter) => self.order_of(&filter.input)?.map(|(input, keys)| {
                let mut filter = filter.clone();
                filter.input = Arc::new(input);
                (LogicalPlan::Filter(filter), keys)
            }),
            LogicalPlan::Limit(limit) => self.order_of(&limit.input)?.map(|(input, keys)| {
                let mut limit = limit.clone();
                limit.input = Arc::new(input);
                (LogicalPlan::Limit(limit), keys)
            }),
            LogicalPlan::Window(window) => match self.order_of(&window.input)? {
                Some((input, keys)) => {
                    let window = Window::try_new(window.window_expr.clone(), Arc::new(input))?;
                    Some((LogicalPlan::Window(window), keys))
                }
                None => None,
            },
            _ => None,
        })
    }

    /// A select list that gives all columns of the keys too, and where they stand in it.
    fn with_columns(&mut self, mut exprs: Vec<Expr>, keys: &[SortExpr]) -> (Vec<Expr>, Vec<(Column, usize)>) {
        let mut columns: Vec<&Column> = keys.iter().flat_map(|key| key.expr.column_refs()).collect();
        columns.sort();
        columns.dedup();
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            let shown = |e: &Expr| matches!(e.clone().unalias(), Expr::Column(shown) if shown == *column);
            let place = exprs.iter().position(shown).unwrap_or_else(|| {
                exprs.push(Expr::Column(column.clone()).alias(format!("\u{1}order{}", self.hidden)));
                self.hidden += 1;
                exprs.len() - 1
            });
            places.push((column.clone(), place));
        }
        (exprs, places)
    }
}

fn place_of(column: &Column, places: &[(Column, usize)]) -> Option<usize> {
    places.iter().find(|(known, _)| known == column).map(|(_, place)| *place)
}

/// Keys over the columns of another schema: a column stands at `place` in it.
fn moved(
    keys: Vec<SortExpr>,
    place: impl Fn(&Column) -> Option<usize>,
    schema: &DFSchema,
) -> Result<Option<Vec<SortExpr>>> {
    let mut all = true;
    let keys = keys.into_iter().map(|key| {
        let expr = key.expr.transform_up(|e| match &e {
            Expr::Column(column) => match place(column) {
                Some(place) if place < schema.fields().len() => {
                    let column = Column::from(schema.qualified_field(place));
                    Ok(Transformed::yes(Expr::Column(column)))
                }
                _ => {
                    all = false;
                    Ok(Transformed::no(e))
                }
            },
            _ => Ok(Transformed::no(e)),
        })?;
        Ok(SortExpr { expr: expr.data, ..key })
    });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    Ok(all.then_some(keys))
}

fn has_subquery(expr: &Expr) -> bool {
    let is = |e: &Expr| {
        matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
    };
    expr.exists(|e| Ok(is(e))).unwrap_or(true)
}

/// Whether an aggregate depends on the order of its input and names none.
fn collects(expr: &Expr) -> bool {
    expr.exists(|e| Ok(matches!(e, Expr::AggregateFunction(call) if is_collecting(call)))).unwrap_or(false)
}

fn is_collecting(call: &AggregateFunction) -> bool {
    // Those of DISTINCT are sorted.
    AGGREGATES.contains(&call.func.name()) && call.params.order_by.is_empty() && !call.params.distinct
}

fn with_keys(expr: Expr, keys: &[SortExpr]) -> Transformed<Expr> {
    match expr {
        Expr::AggregateFunction(mut call) if is_collecting(&call) => {
            call.params.order_by = keys.to_vec();
            Transformed::new(Expr::AggregateFunction(call), true, TreeNodeRecursion::Jump)
        }
        other => Transformed::no(other),
    }
}

/// Whether a window depends on the order of its input and names none.
fn is_open(expr: &Expr) -> bool {
    let call = match expr {
        Expr::WindowFunction(call) => call,
        Expr::Alias(alias) => return is_open(&alias.expr),
        _ => return false,
    };
    let WindowFunction { fun, params } = call.as_ref();
    let by_rows = params.window_frame.units == WindowFrameUnits::Rows;
    let frame_counts = params.window_frame != WindowFrame::new(None);
    params.order_by.is_empty()
        && by_rows
        && (frame_counts || WINDOWS.contains(&fun.name()) || AGGREGATES.contains(&fun.name()))
}

fn windowed(expr: Expr, keys: &[SortExpr]) -> Expr {
    match expr {
        Expr::WindowFunction(mut call) => {
            call.params.order_by = keys.to_vec();
            Expr::WindowFunction(call)
        }
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(windowed(*alias.expr, keys));
            Expr::Alias(alias)
        }
        other => other,
    }
}

//! Subqueries that depend on rows outside of them.
//!
//! DataFusion makes joins of many correlated subqueries and refuses the others. PostgreSQL runs such a subquery for each
//! outer row, and so does a [subplan](function): a function whose arguments are everything that the subquery takes from
//! outside, and which runs the subquery's plan with these values as literals. Equal arguments within a batch run it once.
//!
//! [`optimize`] leaves to DataFusion what it plans well. Where subqueries remain behind that, all of the statement's
//! correlated ones become subplans. A lateral call of functions alone needs neither: it becomes columns of its left side.

mod function;
mod lateral;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::functions_aggregate::expr_fn::{bool_and, bool_or, count};
use datafusion::logical_expr::expr::{Exists, InSubquery, Placeholder, ScalarFunction, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, Values, cast, lit,
    when,
};

use perigee_types::SqlType;

use super::planning::optimize_plan;
use super::{postgres, subquery_order};
use function::PARAMETER;

/// Which subqueries become subplans.
#[derive(Clone, Copy, PartialEq)]
enum Which {
    /// Those that DataFusion surely refuses or makes a wrong join of, or that a scan of computed tables answers at once.
    Needed,
    /// All that depend on an outer row, or that stand where DataFusion makes no join of them.
    All,
    /// All, whatever they depend on.
    Everywhere,
}

/// Analyzes and optimizes a plan, its subqueries with it.
///
/// # Errors
/// What the plan's types, names or constants refuse.
pub(super) fn optimize(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = lateral::calls(subquery_order::keep(plan)?)?;
    if !has_subqueries(&plan)? {
        return optimize_plan(&plan);
    }
    match replace(plan.clone(), Which::Needed).and_then(|plan| optimize_plan(&plan)) {
        Ok(done) if !is_open(&done)? => Ok(done),
        _ => optimize_plan(&replace(plan, Which::All)?),
    }
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

fn has_subqueries(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found = found || matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expr| {
            found = found || expr.exists(|e| Ok(subquery_of(e).is_some()))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether a subquery is left in an optimized plan that nothing can run.
fn is_open(plan: &LogicalPlan) -> Result<bool> {
    let mut open = false;
    plan.apply_with_subqueries(|node| {
        // One that takes nothing from outside is run once, before the rest.
        open = open || matches!(node, LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty());
        node.apply_expressions(|expr| {
            open = open
                || expr.exists(|e| {
                    Ok(match e {
                        Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
                        Expr::OuterReferenceColumn(..) => true,
                        other => subquery_of(other).is_some(),
                    })
                })?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if open { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(open)
}

/// The plan with subplans in it. Shares what it does not change.
fn replace(plan: LogicalPlan, which: Which) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Join(join) if lateral::is_unmarked(&join) => lateral::rows(lateral::marked(join)?)?,
            LogicalPlan::Join(join)
                if lateral::is_lateral(&join) && (which == Which::All || !lateral::joins_keep_rows(&join)?) =>
            {
                lateral::rows(join)?
            }
            LogicalPlan::Subquery(subquery) => LogicalPlan::Subquery(referring(subquery)),
            other => other,
        };
        let mut found = false;
        node.apply_expressions(|expr| {
            found = found || expr.exists(|e| Ok(subquery_of(e).is_some()))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !found {
            return Ok(Transformed::yes(node));
        }
        let node = node.map_expressions(|expr| expr.transform_up(|e| Ok(Transformed::yes(refreshed(e)))))?.data;
        let schema = merge_schema(&node.inputs());
        if let LogicalPlan::Values(values) = node {
            return subplans_of_rows(values).map(Transformed::yes);
        }
        if let LogicalPlan::Filter(_) = node {
            return node.map_expressions(|expr| predicate(expr, &schema, which, true).map(Transformed::yes));
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|e| subplan(e, &schema, which, false))?;
            Ok(expr.update_data(|e| name.restore(e)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })
    .map(|t| t.data)
}

/// A subquery that says what it takes from outside: what subqueries within it take from farther out has become part of it.
fn referring(subquery: Subquery) -> Subquery {
    Subquery { outer_ref_columns: subquery.subquery.all_out_ref_exprs(), ..subquery }
}

/// As [`referring`], of an expression that is a subquery.
fn refreshed(expr: Expr) -> Expr {
    match expr {
        Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(referring(subquery)),
        Expr::Exists(exists) => Expr::Exists(Exists { subquery: referring(exists.subquery), ..exists }),
        Expr::InSubquery(of) => Expr::InSubquery(InSubquery { subquery: referring(of.subquery), ..of }),
        Expr::SetComparison(of) => Expr::SetComparison(SetComparison { subquery: referring(of.subquery), ..of }),
        other => other,
    }
}

/// Whether all that a subquery takes from outside are columns of the query right around it. DataFusion's joins know no other.
fn refers_near(subquery: &Subquery, schema: &DFSchema) -> bool {
    let is_near = |e: &Expr| match e {
        Expr::OuterReferenceColumn(_, column) => schema.maybe_index_of_column(column).is_some(),
        _ => true,
    };
    let all_near = |e: &Expr| e.exists(|e| Ok(!is_near(e))).is_ok_and(|far| !far);
    subquery.outer_ref_columns.iter().all(all_near)
}

/// VALUES with subplans in it: its rows are made while the plan is, before any subquery has run.
fn subplans_of_rows(mut values: Values) -> Result<LogicalPlan> {
    let nothing = DFSchema::empty();
    let types: Vec<DataType> = values.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    for row in &mut values.values {
        for (value, ty) in row.iter_mut().zip(&types) {
            let expr = std::mem::replace(value, Expr::Literal(ScalarValue::Null, None));
            let made = expr.transform_up(|e| subplan(e, &nothing, Which::Everywhere, false))?;
            // The subquery is optimized by itself, and may have found another type than the planner.
            let differs = made.transformed && made.data.to_field(&nothing)?.1.data_type() != ty;
            *value = if differs { cast(made.data, ty.clone()) } else { made.data };
        }
    }
    Ok(LogicalPlan::Values(values))
}

/// A filter's predicate with subplans in it. DataFusion makes joins of the subqueries that are the predicate's operands;
/// `conjunct`: the predicate, or one of several that must all hold.
///
/// Its joins know of NULL only for an uncorrelated NOT IN that is a conjunct. Elsewhere they take NULL for false, which is
/// the same only where nothing negates or looks at it.
fn predicate(expr: Expr, schema: &DFSchema, which: Which, conjunct: bool) -> Result<Expr> {
    let joins = match &expr {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => {
            let conjunct = conjunct && *op == Operator::And;
            let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Ok(expr) };
            let left = Box::new(predicate(*left, schema, which, conjunct)?);
            let right = Box::new(predicate(*right, schema, which, conjunct)?);
            return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }));
        }
        Expr::Exists(exists) => joins_keep_rows(&exists.subquery, schema, true)?,
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Exists(exists) => joins_keep_rows(&exists.subquery, schema, true)?,
            Expr::InSubquery(of) => joins_in(of, schema, !of.negated, conjunct)?,
            _ => false,
        },
        Expr::InSubquery(of) => joins_in(of, schema, of.negated, conjunct)?,
        _ => false,
    };
    Ok(expr.transform_up(|e| subplan(e, schema, which, joins))?.data)
}

/// Whether DataFusion's join for an operand `IN` or `NOT IN` of a predicate gives PostgreSQL's rows.
fn joins_in(of: &InSubquery, schema: &DFSchema, negated: bool, conjunct: bool) -> Result<bool> {
    let correlated = !of.subquery.outer_ref_columns.is_empty();
    // Without a column on the left there is no key to join by, and with a correlation there are several.
    let knows_null = !negated || (conjunct && !correlated && !of.expr.column_refs().is_empty());
    Ok(knows_null && joins_keep_rows(&of.subquery, schema, false)?)
}

/// Whether a correlated subquery has the same rows when its correlation is pulled up into a join: a LIMIT would count the
/// rows of all outer rows, aggregates without groups have a row where nothing matches, and see [`pulls_up`].
fn joins_keep_rows(subquery: &Subquery, schema: &DFSchema, exists: bool) -> Result<bool> {
    if subquery.outer_ref_columns.is_empty() {
        return Ok(true);
    }
    let mut keep = refers_near(subquery, schema) && pulls_up(&subquery.subquery);
    subquery.subquery.apply(|node| {
        keep = keep
            && match node {
                LogicalPlan::Limit(limit) => {
                    let some = |n: &Expr| matches!(n, Expr::Literal(ScalarValue::Int64(Some(1..)), _));
                    exists && limit.skip.is_none() && limit.fetch.as_deref().is_some_and(some)
                }
                LogicalPlan::Aggregate(aggregate) => !aggregate.group_expr.is_empty(),
                _ => true,
            };
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(keep)
}

/// Whether filters of a plan that name an outer row may stand in a join around the plan instead. A window there would be one
/// over the rows of all outer rows, and what a side of an outer join lacks would not be filled up.
fn pulls_up(plan: &LogicalPlan) -> bool {
    let correlated = |plan: &LogicalPlan| !plan.all_out_ref_exprs().is_empty();
    if !correlated(plan) {
        return true;
    }
    let here = match plan {
        LogicalPlan::Window(_) | LogicalPlan::Unnest(_) | LogicalPlan::RecursiveQuery(_) => false,
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner => true,
            JoinType::Left => !correlated(&join.right),
            JoinType::Right => !correlated(&join.left),
            // The others are what EXCEPT and INTERSECT have become.
            _ => false,
        },
        _ => true,
    };
    here && plan.inputs().into_iter().all(pulls_up)
}

/// A subquery in an expression as a subplan, where it is to be one. `joins`: DataFusion makes joins of subqueries here.
fn subplan(expr: Expr, schema: &DFSchema, which: Which, joins: bool) -> Result<Transformed<Expr>> {
    let Some(subquery) = subquery_of(&expr) else { return Ok(Transformed::no(expr)) };
    let correlated = !subquery.outer_ref_columns.is_empty();
    let wanted = match (&expr, which) {
        (_, Which::Everywhere) => true,
        (Expr::ScalarSubquery(_), Which::All) => correlated,
        (Expr::ScalarSubquery(s), Which::Needed) => {
            let joined = is_aggregate(&s.subquery) && pulls_up(&s.subquery) && refers_near(s, schema);
            correlated && (reads_only_system_tables(&s.subquery)? || !joined)
        }
        (_, Which::All) => correlated || !joins,
        (_, Which::Needed) => !joins,
    };
    if !wanted {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::yes(match expr {
        Expr::ScalarSubquery(subquery) => value(subquery.subquery.as_ref().clone(), schema)?,
        Expr::Exists(Exists { subquery, negated }) => {
            let one = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).limit(0, Some(1))?;
            let rows = count(lit(1)).alias("rows");
            let compared = Expr::Column("rows".into());
            let op = if negated { Operator::Eq } else { Operator::NotEq };
            let found = Expr::BinaryExpr(BinaryExpr::new(
                Box::new(compared),
                op,
                Box::new(Expr::Literal(ScalarValue::Int64(Some(0)), None)),
            ));
            let plan = one.aggregate(Vec::<Expr>::new(), vec![rows])?.project(vec![found.alias("exists")])?.build()?;
            value(plan, schema)?
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let found = compared(*expr, Operator::Eq, false, &subquery, schema)?;
            if negated { Expr::Not(Box::new(found)) } else { found }
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            compared(*expr, op, quantifier == SetQuantifier::All, &subquery, schema)?
        }
        other => other,
    }))
}

/// `expr op ANY (subquery)`, or `ALL`.
fn compared(expr: Expr, op: Operator, all: bool, subquery: &Subquery, schema: &DFSchema) -> Result<Expr> {
    let plan = subquery.subquery.as_ref().clone();
    let Some((qualifier, field)) = plan.schema().iter().next().map(|(q, f)| (q.cloned(), Arc::clone(f))) else {
        return Ok(Expr::Literal(ScalarValue::Boolean(Some(all)), None));
    };
    let expr = postgres::adopt(postgres::shrink(expr), &SqlType::of_field(&field))?;
    let left_field = expr.to_field(schema)?.1;
    let left = Expr::Placeholder(Placeholder::new_with_field(format!("{PARAMETER}_left"), Some(left_field)));
    let right = Expr::Column(datafusion::common::Column::from((qualifier.as_ref(), &field)));
    let test = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
    let plan = LogicalPlanBuilder::from(plan)
        .project(vec![test.alias("test")])?
        .aggregate(
            Vec::<Expr>::new(),
            vec![
                count(lit(1)).alias("rows"),
                count(Expr::Column("test".into())).alias("known"),
                if all { bool_and(Expr::Column("test".into())) } else { bool_or(Expr::Column("test".into())) }
                    .alias("result"),
            ],
        )?
        .project(vec![
            when(Expr::Column("rows".into()).eq(Expr::Literal(ScalarValue::Int64(Some(0)), None)), lit(all))
                // One test decides, else one that is NULL leaves it open.
                .when(
                    if all {
                        Expr::Column("result".into()).is_false()
                    } else {
                        Expr::Column("result".into()).is_true()
                    },
                    lit(!all),
                )
                .when(
                    Expr::Column("known".into()).lt(Expr::Column("rows".into())),
                    Expr::Literal(ScalarValue::Boolean(None), None),
                )
                .otherwise(lit(all))?
                .alias("found"),
        ])?
        .build()?;
    let Parameterized { plan, arguments, types } = parameterized(plan, schema, Some(expr))?;
    let udf = function::value(plan, types)?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), arguments)))
}

/// The only value of a plan that may name columns of `schema`.
fn value(plan: LogicalPlan, schema: &DFSchema) -> Result<Expr> {
    let Parameterized { plan, arguments, types } = parameterized(plan, schema, None)?;
    let udf = function::value(plan, types)?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), arguments)))
}

/// An optimized plan that asks for what it takes from outside.
struct Parameterized {
    plan: LogicalPlan,
    /// The values of its parameters, for an outer row.
    arguments: Vec<Expr>,
    /// The types that it was planned with.
    types: Vec<DataType>,
}

/// The plan, optimized, with parameters for everything that it takes from outside, and the values of these for a row of
/// `schema`. `left` is the value of the parameter that stands for the left side of a comparison.
fn parameterized(plan: LogicalPlan, schema: &DFSchema, left: Option<Expr>) -> Result<Parameterized> {
    // Behind this no subquery in it refers to it: what refers to the outside refers to ours.
    let plan = replace(plan, Which::All)?;
    let mut outside = Outside { schema, left, arguments: Vec::new(), types: Vec::new() };
    let plan = optimize_plan(&outside.take_all(plan)?)?;
    // Analysis puts values of the session in, for now() and for casts that ask for the time zone.
    let plan = outside.take_all(plan)?;
    Ok(Parameterized { plan, arguments: outside.arguments, types: outside.types })
}

/// What a subplan takes from outside.
struct Outside<'a> {
    /// The columns of the outer row.
    schema: &'a DFSchema,
    left: Option<Expr>,
    arguments: Vec<Expr>,
    types: Vec<DataType>,
}

impl Outside<'_> {
    /// The plan with parameters for what it takes from outside.
    fn take_all(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|e| self.take(e))?;
                Ok(expr.update_data(|e| name.restore(e)))
            })
        })
        .map(|t| t.data)
    }

    /// The parameter that stands for an expression, where it takes something from outside.
    fn take(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let (argument, field) = match &expr {
            Expr::OuterReferenceColumn(field, column) => {
                let inner = self.schema.maybe_index_of_column(column).is_some();
                (if inner { Expr::Column(column.clone()) } else { expr.clone() }, Arc::clone(field))
            }
            Expr::ScalarVariable(field, _) => (expr.clone(), Arc::clone(field)),
            Expr::Placeholder(Placeholder { id, field: Some(field) }) => match &self.left {
                Some(left) if id.strip_prefix(PARAMETER) == Some("_left") => (left.clone(), Arc::clone(field)),
                _ if !id.starts_with(PARAMETER) => (expr.clone(), Arc::clone(field)),
                _ => return Ok(Transformed::no(expr)),
            },
            _ => return Ok(Transformed::no(expr)),
        };
        let place = self.arguments.iter().position(|known| *known == argument).unwrap_or_else(|| {
            self.arguments.push(argument);
            self.types.push(field.data_type().clone());
            self.arguments.len() - 1
        });
        let id = format!("{PARAMETER}{place}");
        Ok(Transformed::yes(Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))))
    }
}

/// Whether a plan is one row of aggregates, which DataFusion joins.
fn is_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => is_aggregate(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_aggregate(&alias.input),
        _ => false,
    }
}

fn reads_only_system_tables(plan: &LogicalPlan) -> Result<bool> {
    let mut only = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            only = only && source_as_provider(&scan.source).is_ok_and(|p| crate::pg_catalog::is_system_table(&*p));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(only)
}

/// Whether a join keeps rows of its left side that match nothing.
fn keeps_left(join_type: JoinType) -> bool {
    join_type == JoinType::Left
}

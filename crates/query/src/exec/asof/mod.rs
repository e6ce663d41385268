//! ASOF JOIN: each row of the left side with the one row of the right side whose time is nearest before it, or behind it.
//!
//! ```text
//! l ASOF JOIN r ON l.k = r.k AND l.t >= r.t          text
//! l JOIN r ON l.k = r.k AND asof(l.t >= r.t)         what DataFusion's planner reads: names and types are its matter
//! AsofJoin { on: (l.k, r.k), time: (l.t, r.t) }      the first optimizer rule makes the node
//! AsofJoinExec over two sorted inputs                one pass over both
//! ```

mod exec;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::Session;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, JoinType, Result};
use datafusion::error::DataFusionError;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Extension, Join, LogicalPlan, LogicalPlanBuilder, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, UserDefinedLogicalNode, UserDefinedLogicalNodeCore, Volatility,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use perigee_types::{SqlError, SqlResult, SqlState};

use self::exec::AsofJoinExec;
use super::error::from_sql;

/// The function around the comparison of times in the condition of an ASOF JOIN.
pub(crate) const MARK: &str = "__asof";

/// The function that marks the comparison; nothing ever calls it.
pub(super) fn mark() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Mark { signature: Signature::exact(vec![DataType::Boolean], Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    signature: Signature,
}

impl ScalarUDFImpl for Mark {
    fn name(&self) -> &str {
        MARK
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(from_sql(SqlError::internal("the condition of an ASOF JOIN was evaluated")))
    }
}

/// The join of two inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AsofJoin {
    left: Arc<LogicalPlan>,
    right: Arc<LogicalPlan>,
    /// What must be equal: of a left row, of a right row.
    on: Vec<(Expr, Expr)>,
    /// The times of a left row and of a right row.
    time: (Expr, Expr),
    /// How the left time compares with the right one: `>=`, `>`, `<=` or `<`.
    comparison: Operator,
    /// Left rows without a match stay.
    outer: bool,
    schema: DFSchemaRef,
}

impl PartialOrd for AsofJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.time.partial_cmp(&other.time)
    }
}

impl AsofJoin {
    fn new(
        (left, right): (Arc<LogicalPlan>, Arc<LogicalPlan>),
        on: Vec<(Expr, Expr)>,
        time: (Expr, Expr),
        comparison: Operator,
        outer: bool,
    ) -> Result<Self> {
        let join_type = if outer { JoinType::Left } else { JoinType::Inner };
        let schema = datafusion::logical_expr::build_join_schema(left.schema(), right.schema(), &join_type)?;
        Ok(Self { left, right, on, time, comparison, outer, schema: Arc::new(schema) })
    }
}

impl UserDefinedLogicalNodeCore for AsofJoin {
    fn name(&self) -> &str {
        "AsofJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let on = self.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
        on.chain([self.time.0.clone(), self.time.1.clone()]).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.outer { "Left " } else { "" };
        write!(f, "{kind}AsofJoin: {} {} {}", self.time.0, self.comparison, self.time.1)?;
        self.on.iter().try_for_each(|(left, right)| write!(f, ", {left} = {right}"))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut inputs = inputs.into_iter().map(Arc::new);
        let mut exprs = exprs.into_iter();
        let mut pairs = Vec::with_capacity(self.on.len() + 1);
        while let (Some(left), Some(right)) = (exprs.next(), exprs.next()) {
            pairs.push((left, right));
        }
        match (inputs.next(), inputs.next(), pairs.pop()) {
            (Some(left), Some(right), Some(time)) => Self::new((left, right), pairs, time, self.comparison, self.outer),
            _ => Err(DataFusionError::Internal("an ASOF JOIN without two inputs".to_owned())),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let (left, right) = (self.left.schema(), self.right.schema());
        let count = left.fields().len();
        let mut needed = (Vec::new(), Vec::new());
        for column in output_columns {
            match column.checked_sub(count) {
                None => needed.0.push(*column),
                Some(column) => needed.1.push(column),
            }
        }
        for (of_left, of_right) in self.on.iter().chain([&self.time]) {
            needed.0.extend(of_left.column_refs().into_iter().filter_map(|c| left.maybe_index_of_column(c)));
            needed.1.extend(of_right.column_refs().into_iter().filter_map(|c| right.maybe_index_of_column(c)));
        }
        for columns in [&mut needed.0, &mut needed.1] {
            columns.sort_unstable();
            columns.dedup();
        }
        Some(vec![needed.0, needed.1])
    }
}

/// Makes the node of a join whose condition has the [`MARK`]. Runs before any rule takes conditions apart.
#[derive(Debug)]
pub(super) struct PlanAsofJoins;

impl OptimizerRule for PlanAsofJoins {
    fn name(&self) -> &str {
        "plan_asof_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_mark) => {
                asof(join).map(|node| Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

fn has_mark(expr: &Expr) -> bool {
    split_conjunction_owned(expr.clone()).iter().any(|operand| marked(operand).is_some())
}

/// The comparison of times, if that is what an operand of a condition is.
fn marked(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.name() == MARK => call.args.first(),
        _ => None,
    }
}

fn asof(join: Join) -> Result<AsofJoin> {
    let (left, right) = (Arc::clone(&join.left), Arc::clone(&join.right));
    let (mut on, mut time, mut of_right) = (join.on, None, Vec::new());
    for operand in join.filter.into_iter().flat_map(split_conjunction_owned) {
        let (comparison, operand) = match marked(&operand) {
            Some(comparison) => (true, comparison.clone()),
            None => (false, operand),
        };
        match operand {
            Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) if comparison || op == Operator::Eq => {
                let in_order = is_of(&a, &left) && is_of(&b, &right);
                let swapped = is_of(&b, &left) && is_of(&a, &right);
                let (pair, op) = match (in_order, swapped) {
                    (true, _) => ((*a, *b), Some(op)),
                    (false, true) => ((*b, *a), op.swap()),
                    (false, false) => return Err(from_sql(between_both())),
                };
                match (comparison, op) {
                    (false, _) => on.push(pair),
                    (true, Some(op)) => time = Some((pair, op)),
                    (true, None) => return Err(from_sql(between_both())),
                }
            }
            operand if !comparison && is_of(&operand, &right) => of_right.push(operand),
            _ => return Err(from_sql(between_both())),
        }
    }
    let Some((time, comparison)) = time else { return Err(from_sql(between_both())) };
    // What says something of right rows alone decides which of them there are.
    let right = match conjunction(of_right) {
        None => right,
        Some(filter) => Arc::new(LogicalPlanBuilder::from(right.as_ref().clone()).filter(filter)?.build()?),
    };
    AsofJoin::new((left, right), on, time, comparison, join.join_type == JoinType::Left)
}

/// Whether an expression names columns of `plan`, and no others.
fn is_of(expr: &Expr, plan: &LogicalPlan) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|c| plan.schema().maybe_index_of_column(c).is_some())
}

fn between_both() -> SqlError {
    SqlError::unsupported("ASOF JOIN with a condition that is not between a column of either side")
}

/// `42601` unless a condition compares times once.
///
/// # Errors
/// That.
pub(crate) fn one_comparison(count: usize) -> SqlResult<()> {
    match count {
        1 => Ok(()),
        0 => Err(SqlError::new(SqlState::SyntaxError, "ASOF JOIN needs a comparison of times: >=, >, <= or <")),
        _ => Err(SqlError::new(SqlState::SyntaxError, "ASOF JOIN takes one comparison of times")),
    }
}

/// DataFusion's planner, which knows the node too.
#[derive(Debug)]
pub(super) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(PlanExec)]);
        planner.create_physical_plan(logical_plan, session).await
    }
}

struct PlanExec;

#[async_trait]
impl ExtensionPlanner for PlanExec {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [left, right]) = (node.as_any().downcast_ref::<AsofJoin>(), inputs) else { return Ok(None) };
        let of_left = |expr: &Expr| planner.create_physical_expr(expr, node.left.schema(), session, context);
        let of_right = |expr: &Expr| planner.create_physical_expr(expr, node.right.schema(), session, context);
        let pairs = node.on.iter().map(|(left, right)| Ok((of_left(left)?, of_right(right)?)));
        let on = pairs.collect::<Result<Vec<_>>>()?;
        let time = (of_left(&node.time.0)?, of_right(&node.time.1)?);
        let inputs = [Arc::clone(left), Arc::clone(right)];
        let schema = Arc::clone(node.schema.inner());
        Ok(Some(Arc::new(AsofJoinExec::new(inputs, on, time, node.comparison, node.outer, schema))))
    }
}

//! Correlated scalar subqueries, one run for each row of the outer query.
//!
//! DataFusion makes joins of correlated subqueries that aggregate, and refuses the others; it also cannot join on what
//! is not an equality. PostgreSQL runs such a subquery for each outer row, and so does a [`Subplan`]: a function whose
//! arguments are everything that the subquery takes from outside, and which runs the subquery's plan with these values
//! as literals. Equal arguments within a batch run it once.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Subquery, Volatility,
};
use datafusion::physical_plan::collect;
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlState};
use tokio::runtime::Handle;

use super::provider::SystemTable;
use crate::exec::error::from_sql;
use crate::exec::optimize_plan;
use crate::exec::view::{ReadView, attach, view_of};

/// Bytes that all subplans together may hold.
const MEMORY_BYTES: usize = 64 << 20;
/// What the names of a subplan's own parameters start with: no client's parameter is called so.
const PARAMETER: &str = "$outer";

/// The subquery as a subplan, where DataFusion would not plan it or would not plan it well.
///
/// # Errors
/// Those of optimizing the subquery.
pub(super) fn from_subquery(subquery: Subquery) -> Result<Transformed<Expr>> {
    if subquery.outer_ref_columns.is_empty()
        || (is_aggregate(&subquery.subquery) && !reads_only_system_tables(&subquery.subquery)?)
    {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let mut arguments: Vec<Expr> = Vec::new();
    let plan = subquery.subquery.as_ref().clone().transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| expr.transform_up(|e| take_argument(e, &mut arguments)))
    })?;
    let plan = optimize_plan(&plan.data)?;
    let subplan = ScalarUDF::new_from_impl(Subplan {
        field: Arc::clone(
            plan.schema().inner().fields().first().ok_or_else(|| exec_datafusion_err!("a subquery without columns"))?,
        ),
        plan: Arc::new(plan),
        signature: Signature::user_defined(Volatility::Stable),
    });
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(subplan), arguments))))
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
            only = only && source_as_provider(&scan.source).is_ok_and(|p| p.downcast_ref::<SystemTable>().is_some());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(only)
}

/// Makes a parameter of the subplan of what it takes from outside, and that its argument.
fn take_argument(expr: Expr, arguments: &mut Vec<Expr>) -> Result<Transformed<Expr>> {
    let (argument, field) = match &expr {
        Expr::OuterReferenceColumn(field, column) => (Expr::Column(column.clone()), Arc::clone(field)),
        Expr::ScalarVariable(field, _) => (expr.clone(), Arc::clone(field)),
        Expr::Placeholder(placeholder) if !placeholder.id.starts_with(PARAMETER) => match &placeholder.field {
            Some(field) => (expr.clone(), Arc::clone(field)),
            None => return Ok(Transformed::no(expr)),
        },
        _ => return Ok(Transformed::no(expr)),
    };
    let at = arguments.iter().position(|known| *known == argument).unwrap_or_else(|| {
        arguments.push(argument);
        arguments.len() - 1
    });
    Ok(Transformed::yes(Expr::Placeholder(Placeholder::new_with_field(format!("{PARAMETER}{at}"), Some(field)))))
}

/// A subquery as a function of what it takes from outside.
#[derive(Debug)]
struct Subplan {
    plan: Arc<LogicalPlan>,
    field: FieldRef,
    signature: Signature,
}

impl PartialEq for Subplan {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
    }
}

impl Eq for Subplan {}

impl Hash for Subplan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.plan).hash(state);
    }
}

impl ScalarUDFImpl for Subplan {
    fn name(&self) -> &str {
        "subplan"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.field.as_ref().clone().with_nullable(true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let view = view_of(&args.config_options)
            .ok_or_else(|| from_sql(SqlError::internal("a subquery asks for a session where there is none")))?;
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let rows = columns.first().map_or(args.number_rows, |c| c.len());
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            let values = columns.iter().map(|c| ScalarValue::try_from_array(c, row)).collect::<Result<Vec<_>>>()?;
            let result = match known.get(&values) {
                Some(result) => result.clone(),
                None => {
                    let result = self.run(&values, &view)?;
                    known.insert(values, result.clone());
                    result
                }
            };
            results.push(result);
        }
        if results.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(self.field.data_type())));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(results)?))
    }
}

impl Subplan {
    /// The subquery's value for these arguments.
    fn run(&self, values: &[ScalarValue], view: &Arc<ReadView>) -> Result<ScalarValue> {
        let bound =
            self.plan.as_ref().clone().transform_up_with_subqueries(|node| {
                node.map_expressions(|expr| expr.transform_up(|e| bind(e, values)))
            })?;
        let state = state(view);
        // Functions are called on the query threads, which may wait.
        let batches: Vec<RecordBatch> = tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                let plan = state.query_planner().create_physical_plan(&bound.data, &state).await?;
                collect(plan, state.task_ctx()).await
            })
        })?;
        let mut rows = batches.iter().filter(|b| b.num_rows() > 0);
        let (first, second) = (rows.next(), rows.next());
        match first {
            None => ScalarValue::try_from(self.field.data_type()),
            Some(batch) if batch.num_rows() == 1 && second.is_none() => ScalarValue::try_from_array(batch.column(0), 0),
            Some(_) => Err(from_sql(SqlError::new(
                SqlState::CardinalityViolation,
                "more than one row returned by a subquery used as an expression",
            ))),
        }
    }
}

fn bind(expr: Expr, values: &[ScalarValue]) -> Result<Transformed<Expr>> {
    if let Expr::Placeholder(placeholder) = &expr
        && let Some(number) = placeholder.id.strip_prefix(PARAMETER)
        && let Some(value) = number.parse::<usize>().ok().and_then(|at| values.get(at))
    {
        return Ok(Transformed::yes(Expr::Literal(value.clone(), None)));
    }
    Ok(Transformed::no(expr))
}

/// A state to run a subplan with.
fn state(view: &Arc<ReadView>) -> SessionState {
    static STATE: LazyLock<Option<SessionState>> = LazyLock::new(|| {
        let env = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY_BYTES)))
            .build_arc()
            .ok()?;
        Some(crate::exec::running_state(env, 1))
    });
    let mut state = match &*STATE {
        Some(state) => state.clone(),
        None => crate::exec::running_state(Arc::default(), 1),
    };
    attach(&mut state, view);
    state
}

//! A subquery as a function of what it takes from outside.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, StructArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_plan::collect;
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlState};
use tokio::runtime::Handle;

use crate::exec::error::{canceled, from_sql};
use crate::exec::template;
use crate::exec::view::{ReadView, attach, view_of};

/// Bytes that all subplans together may hold.
const MEMORY_BYTES: usize = 64 << 20;
/// What the names of a subplan's own parameters start with: no client's parameter is called so.
pub(super) const PARAMETER: &str = "$outer";

/// What a subplan gives for its rows.
#[derive(Clone, Debug)]
enum Gives {
    /// The only column of the only row; NULL without a row.
    Value,
    /// All rows, as a list of structs; with `or_null` one of NULLs where there is none.
    Rows { columns: Fields, or_null: bool },
}

/// The function that runs `plan` for one value.
pub(super) fn value(plan: LogicalPlan, parameters: Vec<DataType>) -> Result<ScalarUDF> {
    let field = plan
        .schema()
        .inner()
        .fields()
        .first()
        .cloned()
        .ok_or_else(|| from_sql(SqlError::new(SqlState::SyntaxError, "subquery must return only one column")))?;
    Ok(subplan(plan, parameters, field, Gives::Value))
}

/// The function that runs `plan` for all its rows. The columns of the structs are called by their places.
pub(super) fn rows(plan: LogicalPlan, parameters: Vec<DataType>, or_null: bool) -> ScalarUDF {
    let fields = plan.schema().inner().fields();
    let columns: Fields = fields
        .iter()
        .enumerate()
        .map(|(place, field)| field.as_ref().clone().with_name(column_name(place)).with_nullable(true))
        .collect();
    let item = Field::new("item", DataType::Struct(columns.clone()), true);
    let field = Arc::new(Field::new("rows", DataType::List(Arc::new(item)), true));
    subplan(plan, parameters, field, Gives::Rows { columns, or_null })
}

/// The name of a column of [`rows`].
pub(super) fn column_name(place: usize) -> String {
    format!("c{place}")
}

fn subplan(plan: LogicalPlan, parameters: Vec<DataType>, field: FieldRef, gives: Gives) -> ScalarUDF {
    ScalarUDF::new_from_impl(Subplan {
        plan: Arc::new(plan),
        parameters,
        field,
        gives,
        signature: Signature::user_defined(Volatility::Stable),
    })
}

/// A subquery as a function of what it takes from outside.
#[derive(Debug)]
struct Subplan {
    plan: Arc<LogicalPlan>,
    /// Types of the parameters: those that the plan was made with, whatever the outer columns have become.
    parameters: Vec<DataType>,
    field: FieldRef,
    gives: Gives,
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

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        Ok(self.parameters.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let view = view_of(&args.config_options)
            .ok_or_else(|| from_sql(SqlError::internal("a subquery asks for a session where there is none")))?;
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let rows = columns.first().map_or(args.number_rows, |c| c.len());
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut results = Vec::with_capacity(rows);
        let mut bytes = 0;
        for row in 0..rows {
            if view.cancel.is_cancelled() {
                return Err(from_sql(canceled()));
            }
            let values = columns.iter().map(|c| ScalarValue::try_from_array(c, row)).collect::<Result<Vec<_>>>()?;
            let result = match known.get(&values) {
                Some(result) => result.clone(),
                None => {
                    let result = self.run(&values, &view)?;
                    bytes += result.size();
                    if bytes > MEMORY_BYTES {
                        let message = "the rows of a subquery for one batch of outer rows are too many to hold";
                        return Err(from_sql(SqlError::new(SqlState::OutOfMemory, message)));
                    }
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
    /// What the subquery gives for these arguments.
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
                tokio::select! {
                    biased;
                    () = view.cancel.cancelled() => Err(from_sql(canceled())),
                    batches = collect(plan, state.task_ctx()) => batches,
                }
            })
        })?;
        match &self.gives {
            Gives::Value => self.only_value(&batches),
            Gives::Rows { columns, or_null } => all_rows(columns, &batches, *or_null),
        }
    }

    fn only_value(&self, batches: &[RecordBatch]) -> Result<ScalarValue> {
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

/// The rows as one list.
fn all_rows(columns: &Fields, batches: &[RecordBatch], or_null: bool) -> Result<ScalarValue> {
    let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let structs: ArrayRef = match batches.first() {
        Some(first) if count > 0 => {
            let all = concat_batches(&first.schema(), batches)?;
            Arc::new(StructArray::try_new_with_length(columns.clone(), all.columns().to_vec(), None, count)?)
        }
        _ => Arc::new(StructArray::new_null(columns.clone(), usize::from(or_null))),
    };
    Ok(SingleRowListArrayBuilder::new(structs).build_list_scalar())
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
        Some(template::running(env, 1))
    });
    let mut state = match &*STATE {
        Some(state) => state.clone(),
        None => template::running(Arc::default(), 1),
    };
    attach(&mut state, view);
    state
}

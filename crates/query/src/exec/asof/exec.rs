//! One pass over both sides of an ASOF JOIN, each sorted by its keys and then its time.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinType, Result};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    PlanProperties, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt};

type Pair = (Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>);

/// Batches of the right side that one batch of the result takes rows from, at most: they stay in memory until it is made.
const RIGHT_BATCHES_MAX: usize = 64;

/// Joins two inputs that are sorted and, where there are keys, partitioned by them.
#[derive(Debug)]
pub(super) struct AsofJoinExec {
    inputs: [Arc<dyn ExecutionPlan>; 2],
    on: Vec<Pair>,
    time: Pair,
    comparison: Operator,
    outer: bool,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl AsofJoinExec {
    pub(super) fn new(
        inputs: [Arc<dyn ExecutionPlan>; 2],
        on: Vec<Pair>,
        time: Pair,
        comparison: Operator,
        outer: bool,
        schema: SchemaRef,
    ) -> Self {
        // As the left side is: it keeps its rows and their order.
        let partitioning = match on.is_empty() {
            true => datafusion::physical_plan::Partitioning::UnknownPartitioning(1),
            false => {
                let count = inputs[0].output_partitioning().partition_count();
                datafusion::physical_plan::Partitioning::UnknownPartitioning(count)
            }
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Self { inputs, on, time, comparison, outer, properties: Arc::new(properties), metrics }
    }

    /// The order of the times: from the past where the match is before, from the future where it is behind.
    fn time_order(&self) -> SortOptions {
        SortOptions { descending: matches!(self.comparison, Operator::Lt | Operator::LtEq), nulls_first: true }
    }

    fn side(&self, side: usize) -> Vec<Arc<dyn PhysicalExpr>> {
        let pick = |pair: &Pair| Arc::clone(if side == 0 { &pair.0 } else { &pair.1 });
        self.on.iter().chain([&self.time]).map(pick).collect()
    }

    fn ordering(&self, side: usize) -> Option<OrderingRequirements> {
        let mut exprs = self.side(side);
        let time = exprs.pop()?;
        let keys = exprs.into_iter().map(|key| PhysicalSortExpr::new(key, KEY_ORDER));
        let all = keys.chain([PhysicalSortExpr::new(time, self.time_order())]);
        LexOrdering::new(all).map(OrderingRequirements::from)
    }
}

const KEY_ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

impl DisplayAs for AsofJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.outer { JoinType::Left } else { JoinType::Inner };
        write!(f, "AsofJoinExec: {kind}, {} {} {}", self.time.0, self.comparison, self.time.1)?;
        self.on.iter().try_for_each(|(left, right)| write!(f, ", {left} = {right}"))
    }
}

impl ExecutionPlan for AsofJoinExec {
    fn name(&self) -> &'static str {
        "AsofJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        if self.on.is_empty() {
            return InputDistributionRequirements::new(vec![Distribution::SinglePartition; 2]);
        }
        let keys = |side| {
            let mut exprs = self.side(side);
            exprs.pop();
            Distribution::KeyPartitioned(exprs)
        };
        InputDistributionRequirements::co_partitioned(vec![keys(0), keys(1)])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.ordering(0), self.ordering(1)]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in self.side(0).iter().chain(&self.side(1)) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let inputs = <[_; 2]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("an ASOF JOIN has two inputs".to_owned()))?;
        let (on, time, schema) = (self.on.clone(), self.time.clone(), self.schema());
        Ok(Arc::new(Self::new(inputs, on, time, self.comparison, self.outer, schema)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let order = self.time_order();
        let side = |side: usize| Side::new(self.side(side), &self.inputs[side].schema(), order);
        let state = Merge {
            left: self.inputs[0].execute(partition, Arc::clone(&context))?,
            right: self.inputs[1].execute(partition, context)?,
            left_side: side(0)?,
            right_side: side(1)?,
            strict: matches!(self.comparison, Operator::Gt | Operator::Lt),
            outer: self.outer,
            schema: self.schema(),
            probe: None,
            ahead: None,
            candidate: None,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let batches = futures::stream::try_unfold(state, |mut state| async move {
            let batch = state.next().await?;
            Ok(batch.map(|batch| (batch, state)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// Makes rows of one side comparable with rows of the other.
struct Side {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    keys: RowConverter,
    all: RowConverter,
}

/// A batch with its comparable rows.
struct Sorted {
    batch: RecordBatch,
    keys: Rows,
    all: Rows,
    /// The values compared, to tell NULLs.
    values: Vec<ArrayRef>,
    /// The next row.
    at: usize,
}

impl Side {
    fn new(exprs: Vec<Arc<dyn PhysicalExpr>>, schema: &SchemaRef, time: SortOptions) -> Result<Self> {
        let types = exprs.iter().map(|expr| expr.data_type(schema)).collect::<Result<Vec<_>>>()?;
        let count = types.len() - 1;
        let field = |(at, ty): (usize, &arrow::datatypes::DataType)| {
            SortField::new_with_options(ty.clone(), if at == count { time } else { KEY_ORDER })
        };
        let keys = RowConverter::new(types[..count].iter().enumerate().map(field).collect())?;
        Ok(Self { exprs, keys, all: RowConverter::new(types.iter().enumerate().map(field).collect())? })
    }

    fn sorted(&self, batch: RecordBatch) -> Result<Sorted> {
        let evaluate = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&batch)?.into_array(batch.num_rows());
        let values = self.exprs.iter().map(evaluate).collect::<Result<Vec<_>>>()?;
        let keys = &values[..values.len() - 1];
        // A converter of no columns counts no rows.
        let keys = if keys.is_empty() { self.keys.empty_rows(0, 0) } else { self.keys.convert_columns(keys)? };
        let all = self.all.convert_columns(&values)?;
        Ok(Sorted { batch, keys, all, values, at: 0 })
    }
}

impl Sorted {
    fn is_done(&self) -> bool {
        self.at >= self.batch.num_rows()
    }

    /// Whether the next row can match anything: NULL equals nothing and is at no time.
    fn is_known(&self) -> bool {
        self.values.iter().all(|array| array.is_valid(self.at))
    }
}

/// The newest row of the right side that is not behind the left side's.
struct Candidate {
    batch: RecordBatch,
    row: usize,
    key: Option<OwnedRow>,
}

struct Merge {
    left: SendableRecordBatchStream,
    right: SendableRecordBatchStream,
    left_side: Side,
    right_side: Side,
    strict: bool,
    outer: bool,
    schema: SchemaRef,
    probe: Option<Sorted>,
    ahead: Option<Sorted>,
    candidate: Option<Candidate>,
    metrics: BaselineMetrics,
}

/// What a batch of the result is made of.
#[derive(Default)]
struct Output {
    left_rows: Vec<u32>,
    /// Of each row: the place in `right` and the row there; place 0 is one row of NULLs.
    right_rows: Vec<(usize, usize)>,
    right: Vec<RecordBatch>,
}

impl Output {
    fn push(&mut self, left_row: usize, matched: Option<&Candidate>) {
        self.left_rows.push(left_row as u32);
        let Some(matched) = matched else { return self.right_rows.push((0, 0)) };
        // Candidates come in the order of the right side, so the last batch is the only one that may come again.
        let same = self.right.last().is_some_and(|last| same_batch(last, &matched.batch));
        if !same {
            self.right.push(matched.batch.clone());
        }
        self.right_rows.push((self.right.len(), matched.row));
    }
}

fn same_batch(a: &RecordBatch, b: &RecordBatch) -> bool {
    match (a.columns().first(), b.columns().first()) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        // Without columns there is nothing to take.
        _ => true,
    }
}

impl Merge {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.probe.as_ref().is_none_or(Sorted::is_done) {
                self.probe = match self.left.try_next().await? {
                    None => return Ok(None),
                    Some(batch) => Some(self.left_side.sorted(batch)?),
                };
            }
            let Some(mut probe) = self.probe.take() else { continue };
            let output = self.merge(&mut probe).await;
            let batch = output.and_then(|output| self.batch(&probe.batch, output));
            self.probe = Some(probe);
            match batch? {
                batch if batch.num_rows() == 0 => {}
                batch => return Ok(Some(batch.record_output(&self.metrics))),
            }
        }
    }

    /// Matches rows of a left batch, all of them or as many as a batch of the result may hold.
    async fn merge(&mut self, probe: &mut Sorted) -> Result<Output> {
        let mut output = Output::default();
        while !probe.is_done() && output.right.len() < RIGHT_BATCHES_MAX {
            let known = probe.is_known();
            if known {
                self.advance(probe).await?;
            }
            let key = |candidate: &Candidate| match &candidate.key {
                None => true,
                Some(key) => key.row() == probe.keys.row(probe.at),
            };
            let matched = self.candidate.as_ref().filter(|candidate| known && key(candidate));
            if matched.is_some() || self.outer {
                output.push(probe.at, matched);
            }
            probe.at += 1;
        }
        Ok(output)
    }

    /// Moves the candidate to the last right row that is before the next left row, or at its time.
    async fn advance(&mut self, probe: &Sorted) -> Result<()> {
        loop {
            if self.ahead.as_ref().is_none_or(Sorted::is_done) {
                self.ahead = match self.right.next().await {
                    None => return Ok(()),
                    Some(batch) => Some(self.right_side.sorted(batch?)?),
                };
                continue;
            }
            let Some(ahead) = &mut self.ahead else { return Ok(()) };
            let (right, left) = (ahead.all.row(ahead.at), probe.all.row(probe.at));
            if right > left || (self.strict && right == left) {
                return Ok(());
            }
            if ahead.is_known() {
                let key = (self.right_side.exprs.len() > 1).then(|| ahead.keys.row(ahead.at).owned());
                self.candidate = Some(Candidate { batch: ahead.batch.clone(), row: ahead.at, key });
            }
            ahead.at += 1;
        }
    }

    fn batch(&self, left: &RecordBatch, output: Output) -> Result<RecordBatch> {
        let rows = output.left_rows.len();
        let picked = UInt32Array::from(output.left_rows);
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in left.columns() {
            columns.push(take(column, &picked, None)?);
        }
        for (at, field) in self.schema.fields()[left.num_columns()..].iter().enumerate() {
            let nothing = new_null_array(field.data_type(), 1);
            let mut arrays: Vec<&dyn arrow::array::Array> = vec![nothing.as_ref()];
            arrays.extend(output.right.iter().map(|batch| batch.column(at).as_ref()));
            columns.push(interleave(&arrays, &output.right_rows)?);
        }
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

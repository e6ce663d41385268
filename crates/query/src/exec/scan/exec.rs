//! The operator: what a scan is, before it runs.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Statistics};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::{EmbeddedProjection, ProjectionExec, try_embed_projection};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::TryStreamExt;
use parking_lot::Mutex;
use perigee_storage::cold::ColdError;
use perigee_storage::table::ChunkScan;
use perigee_types::catalog::Table;
use tokio_util::sync::CancellationToken;

use super::cold::{ColdFiles, ColdPart, ColdReading};
use super::keyed::Keyed;
use super::newest::{self, Newest};
use super::own::OwnRows;
use super::reader::Reader;
use super::{cut, prune, statistics};
use crate::exec::error::store_error;
use crate::exec::reads::ScanRead;
use crate::exec::template::BATCH_ROWS;

/// What is read, whatever columns and filters a plan asks for.
pub(in crate::exec) struct Source {
    pub(super) table: Arc<Table>,
    /// The table's live columns, then the vid, then the table's oid.
    pub(super) schema: SchemaRef,
    /// Places of columns in which no value stands twice.
    pub(super) unique: Vec<usize>,
    pub(super) chunks: Vec<ChunkScan>,
    /// Instead of the chunks that are cold.
    pub(super) cold: Option<Arc<ColdPart>>,
    pub(super) own: Option<OwnRows>,
    /// Only the newest rows are asked for, and there is an index to find them.
    pub(super) newest: Option<Newest>,
    /// There are indexes that filters may ask for.
    pub(super) keyed: Option<Keyed>,
    /// Where it is written down what is read.
    pub(super) read: Option<Arc<ScanRead>>,
    pub(super) cancel: CancellationToken,
}

/// Reads the visible rows of a table. See the module for how.
#[derive(Clone)]
pub(in crate::exec) struct ScanExec {
    pub(super) source: Arc<Source>,
    /// Places in the source's schema of the columns that filters see.
    pub(super) columns: Arc<[usize]>,
    /// The source's schema cut to `columns`.
    pub(super) read_schema: SchemaRef,
    /// Places in `columns` of what comes out, in order.
    output: Arc<[usize]>,
    /// Filters over `read_schema` that only rows for which all are true survive.
    filters: Vec<Arc<dyn PhysicalExpr>>,
    /// Filters over `read_schema` that may be applied or not: they change while the query runs.
    hints: Vec<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    /// The next chunk to be read by any partition.
    queue: Arc<AtomicUsize>,
    /// Chunks that have become cold since the scan began and that no partition has read yet.
    late: Arc<Mutex<Vec<usize>>>,
    metrics: ExecutionPlanMetricsSet,
    unfiltered: Arc<OnceLock<Arc<Statistics>>>,
    /// For each chunk whether `filters` may be true in it; found when the first partition starts.
    matching: Arc<OnceLock<Option<Vec<bool>>>>,
    /// The rows to be read, where an index has found them; it is asked when the first partition starts.
    chosen: Arc<OnceLock<Option<Vec<u64>>>>,
    /// What reads files; made when the first partition starts.
    cold: Arc<Mutex<Option<Arc<Vec<ColdFiles>>>>>,
}

impl ScanExec {
    pub(super) fn new(source: Source) -> Self {
        let schema = Arc::clone(&source.schema);
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        Self {
            output: columns.clone().into(),
            columns: columns.into(),
            properties: properties(&schema, 1),
            read_schema: schema,
            source: Arc::new(source),
            filters: Vec::new(),
            hints: Vec::new(),
            limit: None,
            queue: Arc::default(),
            late: Arc::default(),
            metrics: ExecutionPlanMetricsSet::new(),
            unfiltered: Arc::default(),
            matching: Arc::default(),
            chosen: Arc::default(),
            cold: Arc::default(),
        }
    }

    /// Reads these columns of the source's schema, in this order. Comes before filters.
    pub(super) fn with_columns(mut self, columns: Vec<usize>) -> Self {
        let fields: Vec<_> = columns.iter().map(|c| Arc::clone(&self.source.schema.fields()[*c])).collect();
        self.read_schema = Arc::new(arrow::datatypes::Schema::new(fields));
        self.output = (0..columns.len()).collect();
        self.columns = columns.into();
        self.properties = properties(&self.read_schema, self.properties.partitioning.partition_count());
        self
    }

    /// Ends after so many rows a partition.
    pub(super) fn with_limit(mut self, limit: Option<usize>) -> Self {
        self.limit = limit;
        self
    }

    /// Splits the work in at most so many partitions.
    pub(super) fn with_partitions(mut self, partitions: usize) -> Self {
        let partitions = partitions.min(self.source.chunks.len()).max(1);
        self.properties = properties(&self.schema(), partitions);
        self.cold = Arc::default();
        self
    }

    fn with_output(&self, output: Vec<usize>) -> Self {
        let fields: Vec<_> = output.iter().map(|c| Arc::clone(&self.read_schema.fields()[*c])).collect();
        let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::new(fields));
        let partitions = self.properties.partitioning.partition_count();
        let properties = properties(&schema, partitions);
        Self { output: output.into(), properties, cold: Arc::default(), ..self.clone() }
    }

    /// All filters that a row must pass.
    pub(super) fn filters(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.filters
    }

    /// Filters that may be applied or not.
    pub(super) fn hints(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.hints
    }

    /// Places in `columns` of what comes out.
    pub(super) fn output(&self) -> &[usize] {
        &self.output
    }

    /// For each chunk whether the filters may be true in it; `None` where they may be in all.
    pub(super) fn matching(&self) -> Option<&[bool]> {
        self.matching.get_or_init(|| prune::matching(&self.source, &self.read_schema, &self.filters)).as_deref()
    }

    /// Of a chunk the vids that are to be read; `None` where all are.
    pub(super) fn chosen(&self, chunk: usize) -> Option<&[u64]> {
        let (newest, keyed) = (&self.source.newest, &self.source.keyed);
        let find = || newest.as_ref().and_then(|newest| newest.rows(self)).or_else(|| keyed.as_ref()?.rows(self));
        let vids = self.chosen.get_or_init(find).as_deref()?;
        Some(newest::in_chunk(vids, &self.source.chunks, chunk))
    }

    pub(super) fn partitions(&self) -> usize {
        self.properties.partitioning.partition_count()
    }

    /// The operators for cold files, the same for all partitions; none where the filters exclude all that is visible there.
    pub(super) fn cold_files(&self, context: &TaskContext) -> Result<Arc<Vec<ColdFiles>>> {
        let mut planned = self.cold.lock();
        if let Some(planned) = &*planned {
            return Ok(Arc::clone(planned));
        }
        let cold = self.source.cold.as_ref().filter(|_| {
            let mut chunks = self.source.chunks.iter().enumerate().filter(|(_, chunk)| chunk.is_cold());
            if self.chosen(0).is_some() {
                return chunks.any(|(at, _)| self.chosen(at).is_none_or(|vids| !vids.is_empty()));
            }
            prune::any_matches(&self.source, &self.read_schema, &self.filters, chunks.map(|(_, chunk)| chunk))
        });
        let files = match cold {
            Some(cold) => cold.plan(self, context)?,
            None => Vec::new(),
        };
        Ok(Arc::clone(planned.insert(Arc::new(files))))
    }

    pub(super) fn limit(&self) -> Option<usize> {
        self.limit
    }

    pub(super) fn queue(&self) -> &AtomicUsize {
        &self.queue
    }

    /// Leaves a chunk that has become cold to who reads files.
    pub(super) fn put_off(&self, chunk: usize) {
        self.late.lock().push(chunk);
    }

    /// What reads the files of the chunks that were put off up to now; `None` where there are none. A partition asks behind its
    /// last chunk, so that all of them are read.
    ///
    /// By vid, chunk after chunk, they would cost the whole of the files each.
    pub(super) fn late(&self, context: &TaskContext) -> Result<Option<ColdReading>> {
        let late = std::mem::take(&mut *self.late.lock());
        let chunks: Vec<ChunkScan> = late.iter().filter_map(|place| self.source.chunks.get(*place)).cloned().collect();
        let Some(manifests) = chunks.first().map(ChunkScan::manifests) else { return Ok(None) };
        let store = chunks.first().and_then(ChunkScan::cold_store);
        let store = store.ok_or_else(|| store_error(ColdError::NoStore.into()))?;
        let part = ColdPart::of_all(chunks, &manifests, &store);
        let files = part.plan(&self.clone().with_partitions(1), context)?;
        Ok(Some(ColdReading::new(Arc::new(part), Arc::new(files), 0)))
    }

    pub(super) fn metrics_set(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn unfiltered_statistics(&self) -> Arc<Statistics> {
        Arc::clone(self.unfiltered.get_or_init(|| Arc::new(statistics::of(&self.source, &self.columns))))
    }

    /// A filter over the output as one over the columns read.
    fn over_columns(&self, filter: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        filter
            .transform_down(|expr| {
                let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
                let at = *self.output.get(column.index()).ok_or_else(|| {
                    DataFusionError::Internal(format!("filter names column {} behind the last", column.index()))
                })?;
                Ok(Transformed::yes(Arc::new(Column::new(self.read_schema.field(at).name(), at)) as _))
            })
            .map(|t| t.data)
    }
}

fn properties(schema: &SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(Arc::clone(schema)),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanExec").field("table", &self.source.table.name).finish_non_exhaustive()
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.output.iter().map(|c| self.read_schema.field(*c).name().as_str()).collect();
        write!(f, "TableScan: {}, columns=[{}]", self.source.table.name, names.join(", "))?;
        if !self.filters.is_empty() {
            write!(f, ", filter={}", conjunction(self.filters.iter().cloned()))?;
        }
        if !self.hints.is_empty() {
            write!(f, ", dynamic filter={}", conjunction(self.hints.iter().cloned()))?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        if let Some(newest) = &self.source.newest {
            write!(f, ", newest by index={}", newest.index_name)?;
        } else if let Some(name) = self.source.keyed.as_ref().and_then(|keyed| keyed.name(self)) {
            write!(f, ", index={name}")?;
        }
        let cold = self.source.chunks.iter().filter(|chunk| chunk.is_cold()).count();
        write!(f, ", chunks={}", self.source.chunks.len() - cold)?;
        match &self.source.cold {
            Some(cold) => write!(f, ", cold files={}", cold.files()),
            None => Ok(()),
        }
    }
}

impl EmbeddedProjection for ScanExec {
    fn with_projection(&self, projection: Option<Vec<usize>>) -> Result<Self> {
        let Some(places) = projection else { return Ok(self.clone()) };
        let output = places.iter().map(|place| self.output.get(*place).copied()).collect::<Option<Vec<usize>>>();
        let output =
            output.ok_or_else(|| DataFusionError::Internal(format!("columns {places:?} of a scan of fewer")))?;
        Ok(self.with_output(output))
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for filter in self.filters.iter().chain(&self.hints) {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut fresh = Arc::unwrap_or_clone(self);
        fresh.queue = Arc::default();
        fresh.late = Arc::default();
        fresh.metrics = ExecutionPlanMetricsSet::new();
        fresh.cold = Arc::default();
        fresh.chosen = Arc::default();
        Ok(Arc::new(fresh))
    }

    fn repartitioned(&self, partitions: usize, _: &ConfigOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let wider = self.clone().with_partitions(partitions);
        let more = wider.properties.partitioning.partition_count() > self.properties.partitioning.partition_count();
        Ok(more.then(|| Arc::new(wider) as _))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if let Some(read) = &self.source.read {
            read.runs(&self.filters, &self.columns, &self.read_schema);
        }
        let cold = match &self.source.cold {
            Some(part) => Some(ColdReading::new(Arc::clone(part), self.cold_files(&context)?, partition)),
            None => None,
        };
        let reader = Reader::new(self, partition, cold, &context);
        let batches = futures::stream::try_unfold(reader, |mut reader| async move {
            Ok::<_, DataFusionError>(reader.next().await?.map(|batch| (batch, reader)))
        });
        let rows_max = context.session_config().batch_size();
        if rows_max < BATCH_ROWS {
            let small = batches.map_ok(move |batch| futures::stream::iter(cut::pieces(batch, rows_max))).try_flatten();
            return Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), small)));
        }
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        let mut metrics = self.metrics.clone_inner();
        if let Some(cold) = &*self.cold.lock() {
            cold.iter().for_each(|files| files.measure(&mut metrics));
        }
        Some(metrics)
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let all = self.unfiltered_statistics();
        let filtered = if self.filters.is_empty() {
            all
        } else {
            // How many rows a filter leaves is FilterExec's business.
            let bare = Self { filters: Vec::new(), hints: Vec::new(), limit: None, ..self.clone() };
            let bare = bare.with_output((0..self.columns.len()).collect());
            let filter = FilterExec::try_new(conjunction(self.filters.iter().cloned()), Arc::new(bare))?;
            StatisticsContext::new().compute(&filter, &StatisticsArgs::new())?
        };
        let mut projected = filtered.as_ref().clone().project(Some(&self.output.to_vec()));
        if let Some(limit) = self.limit {
            projected = projected.with_fetch(Some(limit), 0, 1)?;
        }
        if args.partition().is_some() {
            projected = statistics::share(projected, self.properties.partitioning.partition_count());
        }
        Ok(Arc::new(projected))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.clone().with_limit(limit)))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut output = Vec::with_capacity(projection.expr().len());
        for expr in projection.expr() {
            match expr.expr.downcast_ref::<Column>() {
                Some(column) if column.name() == expr.alias => output.push(self.output[column.index()]),
                // What it computes stays above; what only filters here have named is not handed over.
                _ => return try_embed_projection(projection, self),
            }
        }
        Ok(Some(Arc::new(self.with_output(output))))
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let mut scan = self.clone();
        let mut answers = Vec::with_capacity(pushed.parent_filters.len());
        for filter in pushed.parent_filters {
            // A limit counts rows behind the filters below it; one that comes later belongs above.
            let possible = self.limit.is_none() && !is_volatile(&filter.filter);
            match phase {
                FilterPushdownPhase::Pre if possible => {
                    scan.filters.push(self.over_columns(filter.filter)?);
                    scan.matching = Arc::default();
                    scan.chosen = Arc::default();
                    scan.cold = Arc::default();
                    answers.push(PushedDown::Yes);
                }
                FilterPushdownPhase::Post if possible => {
                    scan.hints.push(self.over_columns(filter.filter)?);
                    scan.chosen = Arc::default();
                    scan.cold = Arc::default();
                    answers.push(PushedDown::No);
                }
                _ => answers.push(PushedDown::No),
            }
        }
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        Ok(propagation.with_updated_node(Arc::new(scan)))
    }
}

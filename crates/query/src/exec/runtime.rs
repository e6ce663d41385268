//! Where queries run: threads and memory of their own, so that a long scan delays nobody's point work.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use futures::StreamExt;
use perigee_plan::Query;
use perigee_types::{Row, SqlError, SqlResult, Value};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::bind::bind;
use super::error::{canceled, sql_error};
use super::returning;
use super::stream::BatchStream;
use super::table::CatalogTable;
use super::template;
use super::view::ReadView;

/// Rows of a batch where memory has run out once, and where it has run out again: merging sorted runs takes a batch of each.
const BATCH_ROWS_SHORT_OF_MEMORY: [usize; 2] = [1024, 16];
/// Batches between a query and its reader.
const BATCHES_WAITING: usize = 4;
/// Plans that read fewer rows than this run on one thread: splitting costs more than it saves.
const ROWS_FOR_ONE_THREAD: u64 = 50_000;
/// Consumers named when memory runs out.
const CONSUMERS_NAMED: usize = 5;

/// What a [`QueryRuntime`] may use.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Threads; the machine's cores by default.
    pub threads: usize,
    /// Bytes that all queries together may hold.
    pub memory_bytes: usize,
    /// Where queries spill; emptied at start.
    pub spill_dir: PathBuf,
    /// Bytes that all queries together may spill.
    pub spill_bytes_max: u64,
}

/// Runs queries. One for the process.
pub struct QueryRuntime {
    options: QueryOptions,
    /// Runs plans on all threads.
    wide: Arc<SessionState>,
    /// Runs small plans on one thread.
    narrow: Arc<SessionState>,
    /// `None` only while dropping.
    threads: Option<Runtime>,
}

impl fmt::Debug for QueryRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryRuntime").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Drop for QueryRuntime {
    fn drop(&mut self) {
        // The last holder may be a task of the network runtime, where waiting for threads is not allowed.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl QueryRuntime {
    /// Starts the threads and empties the spill directory.
    ///
    /// # Errors
    /// Where threads or the spill directory cannot be had.
    pub fn new(options: QueryOptions) -> SqlResult<Arc<Self>> {
        let io = |e: std::io::Error| SqlError::new(perigee_types::SqlState::IoError, e.to_string());
        if options.spill_dir.exists() {
            std::fs::remove_dir_all(&options.spill_dir).map_err(io)?;
        }
        std::fs::create_dir_all(&options.spill_dir).map_err(io)?;
        super::postgres::limits::set_memory(options.memory_bytes);
        let threads = options.threads.max(1);
        let consumers = std::num::NonZeroUsize::new(CONSUMERS_NAMED).unwrap_or(std::num::NonZeroUsize::MIN);
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![options.spill_dir.clone()]))
            .with_max_temp_directory_size(options.spill_bytes_max);
        let env = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(options.memory_bytes), consumers)))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(sql_error)?;
        let pool = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("query")
            .thread_stack_size(perigee_runtime::STACK_BYTES)
            .enable_all()
            .build()
            .map_err(io)?;
        Ok(Arc::new(Self {
            wide: Arc::new(template::running(Arc::clone(&env), threads)),
            narrow: Arc::new(template::running(env, 1)),
            options,
            threads: Some(pool),
        }))
    }

    /// Starts a query. `parameters` are values of the types that planning found for `$1`, `$2`, …
    ///
    /// Binding and planning too happen on the query threads; every error comes through the stream.
    #[must_use]
    pub fn run(self: &Arc<Self>, query: &Query, parameters: &[Value], view: Arc<ReadView>) -> BatchStream {
        let job = Job {
            runtime: Arc::clone(self),
            logical: Arc::clone(&query.logical),
            replan: query.replan,
            parameters: parameters.to_vec(),
            view,
        };
        self.start(job)
    }

    pub(super) fn start(self: &Arc<Self>, job: Job) -> BatchStream {
        let schema: SchemaRef = Arc::clone(job.logical.schema().inner());
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let cancel = job.view.cancel.clone();
        match self.spawn(async move { job.serve(sender).await }) {
            Ok(task) => BatchStream::new(schema, receiver, cancel, task),
            Err(error) => BatchStream::failed(schema, error),
        }
    }

    /// Runs a query to its end and gives its rows.
    ///
    /// # Errors
    /// Those of binding, planning and running.
    pub async fn fetch_rows(
        self: &Arc<Self>,
        query: &Query,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Vec<Row>> {
        let mut rows = Vec::new();
        for batch in self.fetch_batches(query, parameters, view).await? {
            rows.append(&mut perigee_storage::arrow_value::batch_to_rows(&batch));
        }
        Ok(rows)
    }

    /// Runs a query to its end and gives its batches.
    ///
    /// # Errors
    /// Those of binding, planning and running.
    pub async fn fetch_batches(
        self: &Arc<Self>,
        query: &Query,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Vec<RecordBatch>> {
        collect(self.run(query, parameters, view)).await
    }

    /// Evaluates a RETURNING plan over the rows that a write made: the plan's one scan is
    /// [`perigee_plan::relational::RETURNING_TABLE`], its columns are those of `rows`.
    ///
    /// # Errors
    /// Those of binding, planning and running.
    pub async fn evaluate(
        self: &Arc<Self>,
        plan: &LogicalPlan,
        rows: RecordBatch,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Vec<RecordBatch>> {
        let logical = Arc::new(returning::over(plan, rows).map_err(sql_error)?);
        let job = Job { runtime: Arc::clone(self), logical, replan: false, parameters: parameters.to_vec(), view };
        collect(self.start(job)).await
    }

    /// Runs something on the query threads; it ends when the handle is dropped.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> SqlResult<AbortOnDropHandle<T>> {
        match &self.threads {
            Some(threads) => Ok(AbortOnDropHandle::new(threads.spawn(work))),
            // Cannot happen: only drop takes the threads.
            None => Err(SqlError::internal("query threads have stopped")),
        }
    }

    /// The state of work that no statement asked for.
    pub(super) fn sorting(&self) -> &SessionState {
        &self.narrow
    }

    /// The state that a plan over this view runs with, when it reads about so many rows.
    /// `batch_rows`: memory has run out, and batches shall be this small.
    pub(super) fn state(&self, rows: u64, view: &Arc<ReadView>, batch_rows: Option<usize>) -> SessionState {
        let template = if rows < ROWS_FOR_ONE_THREAD { &self.narrow } else { &self.wide };
        let mut state = template.as_ref().clone();
        if let Some(batch_rows) = batch_rows {
            // Few sorts, so that each has much of the memory, and small batches to merge. DataFusion plans sort-merge joins
            // from two partitions on only.
            let config = std::mem::take(state.config_mut());
            *state.config_mut() = config.with_batch_size(batch_rows).with_target_partitions(2);
            state.config_mut().options_mut().optimizer.prefer_hash_join = false;
        }
        super::view::attach(&mut state, view);
        state
    }
}

/// Rows of all tables that a plan scans, about.
fn rows_read(logical: &LogicalPlan, view: &ReadView) -> u64 {
    let mut rows = 0u64;
    // The walk itself cannot fail.
    let _ = logical.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
        {
            rows = rows.saturating_add(match provider.downcast_ref::<CatalogTable>() {
                Some(table) => table.rows(view),
                None => 0,
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    rows
}

async fn collect(mut stream: BatchStream) -> SqlResult<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

/// One query to run.
pub(super) struct Job {
    pub(super) runtime: Arc<QueryRuntime>,
    pub(super) logical: Arc<LogicalPlan>,
    pub(super) replan: bool,
    pub(super) parameters: Vec<Value>,
    pub(super) view: Arc<ReadView>,
}

/// How one attempt to run a query ended.
enum Attempt {
    Done,
    Failed(DataFusionError),
    /// Memory ran out and nothing had been handed over.
    OutOfMemory(DataFusionError),
}

impl Job {
    async fn serve(self, sender: mpsc::Sender<SqlResult<RecordBatch>>) {
        let cancel = self.view.cancel.clone();
        let error = tokio::select! {
            biased;
            () = cancel.cancelled() => Some(canceled()),
            // The reader went away: what it would have read is of no use to anybody.
            () = sender.closed() => None,
            error = self.attempts(&sender) => error,
        };
        if let Some(error) = error {
            // A reader that is gone needs no error.
            let _ = sender.send(Err(error)).await;
        }
    }

    async fn attempts(&self, sender: &mpsc::Sender<SqlResult<RecordBatch>>) -> Option<SqlError> {
        let mut attempt = self.attempt(None, sender).await;
        for batch_rows in BATCH_ROWS_SHORT_OF_MEMORY {
            let Attempt::OutOfMemory(error) = &attempt else { break };
            // A hash join cannot spill; a sort-merge join can.
            tracing::debug!(%error, batch_rows, "running a query again with sort-merge joins");
            attempt = self.attempt(Some(batch_rows), sender).await;
        }
        match attempt {
            Attempt::Done => None,
            Attempt::Failed(error) | Attempt::OutOfMemory(error) => Some(sql_error(error)),
        }
    }

    async fn attempt(&self, batch_rows: Option<usize>, sender: &mpsc::Sender<SqlResult<RecordBatch>>) -> Attempt {
        let mut sent = false;
        match self.stream(batch_rows, sender, &mut sent).await {
            Ok(()) => Attempt::Done,
            Err(error) if !sent && matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => {
                Attempt::OutOfMemory(error)
            }
            Err(error) => Attempt::Failed(error),
        }
    }

    async fn stream(
        &self,
        batch_rows: Option<usize>,
        sender: &mpsc::Sender<SqlResult<RecordBatch>>,
        sent: &mut bool,
    ) -> Result<()> {
        let (plan, state) = self.physical(batch_rows).await?;
        let mut batches = execute_stream(plan, state.task_ctx())?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            *sent = true;
            if sender.send(Ok(batch)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The plan as it will run, and the state to run it with.
    ///
    /// # Errors
    /// Those of binding and planning.
    pub(super) async fn physical(&self, batch_rows: Option<usize>) -> Result<(Arc<dyn ExecutionPlan>, SessionState)> {
        let bound = bind(&self.logical, &self.parameters, &self.view.session)?;
        let rows = rows_read(&bound, &self.view);
        // Where few rows are read, planning again with the values costs more than a better plan saves.
        let bound = if self.replan && rows >= ROWS_FOR_ONE_THREAD { template::optimize_again(bound)? } else { bound };
        let state = self.runtime.state(rows, &self.view, batch_rows);
        let mut state = state;
        let plan = state.query_planner().create_physical_plan(&bound, &state).await?;
        if batch_rows.is_some() {
            // Merging takes the keys of the rows, about as much as the rows themselves where the key is most of them. The
            // rest is for the sorts' rows and for the repartitions and joins between them.
            let merging = self.runtime.options.memory_bytes / 5 * 2;
            state.config_mut().options_mut().execution.sort_spill_reservation_bytes = merging / sorts(&plan).max(1);
        }
        Ok((plan, state))
    }
}

/// Sorts of a plan that may run at once.
fn sorts(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = if plan.is::<SortExec>() { plan.output_partitioning().partition_count() } else { 0 };
    own + plan.children().into_iter().map(sorts).sum::<usize>()
}

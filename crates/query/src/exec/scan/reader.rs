//! What one partition of a scan does: take a chunk, read, filter, hand over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{BatchCoalescer, and, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::{snapshot_generation, snapshot_physical_expr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashTableLookupExpr;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, MetricBuilder, Time};
use perigee_storage::table::{ChunkScan, Tier};

use super::cold::ColdReading;
use super::exec::ScanExec;
use super::prune::DynamicPruner;
use crate::exec::error::{canceled, from_sql, store_error};
use crate::exec::template::BATCH_ROWS;

/// Batches from here on are handed over as they are; smaller ones are gathered.
const BATCH_ROWS_MIN: usize = BATCH_ROWS / 4;
/// Bytes of long values that are gathered at most: a batch is in memory whole.
const GATHERED_BYTES_MAX: usize = 8 << 20;
/// A dynamic filter that keeps more than this share of the rows is not worth its time.
const HINT_KEEPS_MAX: f64 = 0.7;
/// Of so many rows one is few: the next filter is asked of those alone that have passed.
const ROWS_PER_FEW: usize = 5;
/// Rows after which a dynamic filter is judged.
const HINT_ROWS_JUDGED: usize = 4 * BATCH_ROWS;

/// Counters of one partition.
struct Counters {
    baseline: BaselineMetrics,
    hot_rows: Count,
    hot_time: Time,
    warm_rows: Count,
    warm_time: Time,
    cold_rows: Count,
    cold_time: Time,
    own_rows: Count,
    index_rows: Count,
    chunks_read: Count,
    chunks_pruned: Count,
    filter_time: Time,
}

/// What a filter needs: in this order filters are applied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Values of one length, which are compared fast.
    Plain,
    /// Texts and the like.
    Long,
    /// It may fail, and sees only rows that passed the others, as `WHERE a <> 0 AND b / a > 1` expects.
    Checked,
}

/// A dynamic filter and what it has done so far.
struct Hint {
    filter: Arc<dyn PhysicalExpr>,
    /// State of the filter that `looks_up` was found of.
    generation: Option<u64>,
    /// It asks the hash table of a join, which costs more than what it saves: the join itself asks it faster.
    looks_up: bool,
    rows_in: usize,
    rows_out: usize,
}

impl Hint {
    fn new(filter: &Arc<dyn PhysicalExpr>) -> Self {
        Self { filter: Arc::clone(filter), generation: None, looks_up: false, rows_in: 0, rows_out: 0 }
    }

    /// Whether to apply it to rows.
    fn is_worth_its_time(&mut self) -> bool {
        let generation = snapshot_generation(&self.filter);
        if self.generation != Some(generation) {
            self.generation = Some(generation);
            self.looks_up = looks_up(&self.filter);
        }
        let judged = self.rows_in >= HINT_ROWS_JUDGED;
        !self.looks_up && !(judged && self.rows_out as f64 > HINT_KEEPS_MAX * self.rows_in as f64)
    }
}

pub(super) struct Reader {
    scan: ScanExec,
    output_schema: SchemaRef,
    /// Numbers of the table's columns to read, and for each column of the scan its place in what is read; `None` for the
    /// table's oid.
    numbers: Vec<u16>,
    places: Vec<Option<usize>>,
    with_vid: bool,
    pruner: Option<DynamicPruner>,
    /// In the order in which they are applied.
    filters: Vec<(Need, Arc<dyn PhysicalExpr>)>,
    hints: Vec<Hint>,
    pending: BatchCoalescer,
    /// Bytes of long values in `pending`, about.
    pending_bytes: usize,
    left: usize,
    own_first: bool,
    done: bool,
    /// What reads cold files, of those that are left.
    cold: Option<ColdReading>,
    context: Arc<TaskContext>,
    counters: Counters,
}

impl Reader {
    pub(super) fn new(
        scan: &ScanExec,
        partition: usize,
        cold: Option<ColdReading>,
        context: &Arc<TaskContext>,
    ) -> Self {
        let live = scan.source.table.columns.len();
        let ends_rows = scan.source.own.as_ref().is_some_and(super::own::OwnRows::ends_rows);
        let numbers: Vec<u16> =
            scan.columns.iter().filter_map(|c| scan.source.table.columns.get(*c)).map(|c| c.number).collect();
        let mut next = 0;
        let places = scan.columns.iter().map(|c| {
            if *c < live {
                next += 1;
                Some(next - 1)
            } else {
                (*c == live).then_some(numbers.len())
            }
        });
        let places: Vec<Option<usize>> = places.collect();
        let counter = |name| MetricBuilder::new(scan.metrics_set()).counter(name, partition);
        let time = |name| MetricBuilder::new(scan.metrics_set()).subset_time(name, partition);
        let counters = Counters {
            baseline: BaselineMetrics::new(scan.metrics_set(), partition),
            hot_rows: counter("hot_rows"),
            hot_time: time("hot_time"),
            warm_rows: counter("warm_rows"),
            warm_time: time("warm_time"),
            cold_rows: counter("cold_rows"),
            cold_time: time("cold_time"),
            own_rows: counter("own_rows"),
            index_rows: counter("index_rows"),
            chunks_read: counter("chunks_read"),
            chunks_pruned: counter("chunks_pruned"),
            filter_time: time("filter_time"),
        };
        let output_schema = scan.schema();
        let filters = scan.filters().iter().map(|filter| (need(filter, &scan.read_schema), Arc::clone(filter)));
        let mut filters: Vec<_> = filters.collect();
        filters.sort_by_key(|(need, _)| *need);
        Self {
            pending: BatchCoalescer::new(Arc::clone(&output_schema), BATCH_ROWS)
                .with_biggest_coalesce_batch_size(Some(BATCH_ROWS_MIN)),
            pending_bytes: 0,
            output_schema,
            with_vid: ends_rows || scan.columns.contains(&live),
            numbers,
            places,
            pruner: DynamicPruner::new(scan),
            filters,
            hints: scan.hints().iter().map(Hint::new).collect(),
            left: scan.limit().unwrap_or(usize::MAX),
            // One partition gives the transaction's own rows.
            own_first: partition == 0 && scan.source.own.as_ref().is_some_and(|own| own.inserted_count() > 0),
            done: false,
            cold,
            context: Arc::clone(context),
            counters,
            scan: scan.clone(),
        }
    }

    /// The next batch; `None` behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = self.gather().await?;
        if let Some(batch) = &batch {
            self.counters.baseline.record_output(batch.num_rows());
        }
        Ok(batch)
    }

    async fn gather(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.pending.next_completed_batch() {
                self.pending_bytes = 0;
                return Ok(Some(batch));
            }
            if self.done {
                return Ok(None);
            }
            if self.scan.source.cancel.is_cancelled() {
                return Err(from_sql(canceled()));
            }
            let read = {
                let elapsed = self.counters.baseline.elapsed_compute().clone();
                let _timer = elapsed.timer();
                self.read()?
            };
            let read = match read {
                Some(batch) => Some(batch),
                None => self.read_cold().await?,
            };
            match read {
                Some(mut batch) => {
                    if batch.num_rows() > self.left {
                        batch = batch.slice(0, self.left);
                    }
                    self.left -= batch.num_rows();
                    if self.left == 0 {
                        self.done = true;
                    }
                    if batch.num_columns() == 0 && batch.num_rows() > 0 {
                        // The coalescer does not count rows without columns, and there is nothing to copy.
                        return Ok(Some(batch));
                    }
                    if batch.num_rows() > 0 {
                        self.pending_bytes = self.pending_bytes.saturating_add(long_bytes(&batch));
                        self.pending.push_batch(batch)?;
                    }
                    if self.done || self.pending_bytes > GATHERED_BYTES_MAX {
                        self.pending.finish_buffered_batch()?;
                    }
                }
                None => {
                    self.done = true;
                    self.pending.finish_buffered_batch()?;
                }
            }
        }
    }

    /// Filtered rows of the next batch of cold files, perhaps none of them; `None` behind the last.
    async fn read_cold(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(reading) = &mut self.cold else {
                self.cold = self.scan.late(&self.context)?;
                if self.cold.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let start = Instant::now();
            let batch = reading.next(&self.context).await?;
            self.counters.cold_time.add_duration(start.elapsed());
            let Some(batch) = batch else {
                self.cold = None;
                continue;
            };
            let elapsed = self.counters.baseline.elapsed_compute().clone();
            let _timer = elapsed.timer();
            let batch = reading.restore(&self.scan, batch)?;
            self.counters.cold_rows.add(batch.num_rows());
            return self.select(batch).map(Some);
        }
    }

    /// Filtered rows of the next chunk, perhaps none of them; `None` behind the last chunk.
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        if self.own_first {
            self.own_first = false;
            if let Some(own) = &self.scan.source.own {
                let batch = own.inserted(&self.scan.read_schema, &self.scan.columns)?;
                self.counters.own_rows.add(batch.num_rows());
                return self.select(batch).map(Some);
            }
        }
        let source = Arc::clone(&self.scan.source);
        let (place, chunk) = loop {
            let place = self.scan.queue().fetch_add(1, Ordering::Relaxed);
            match source.chunks.get(place) {
                None => return Ok(None),
                Some(chunk) if chunk.is_cold() => {}
                Some(chunk) => break (place, chunk),
            }
        };
        let excluded = match self.scan.chosen(place) {
            Some(vids) => vids.is_empty(),
            None => {
                self.scan.matching().is_some_and(|chunks| !chunks.get(place).copied().unwrap_or(true))
                    || self.pruner.as_mut().is_some_and(|pruner| !pruner.may_match(chunk))
            }
        };
        if excluded {
            self.counters.chunks_pruned.add(1);
            return Ok(Some(RecordBatch::new_empty(Arc::clone(&self.output_schema))));
        }
        if chunk.became_cold() && self.scan.chosen(place).is_none() {
            self.scan.put_off(place);
            return Ok(Some(RecordBatch::new_empty(Arc::clone(&self.output_schema))));
        }
        let batch = self.read_chunk(chunk, place)?;
        self.select(batch).map(Some)
    }

    /// The visible rows of the chunk at `place` with the scan's columns.
    fn read_chunk(&mut self, chunk: &ChunkScan, place: usize) -> Result<RecordBatch> {
        let start = Instant::now();
        // Asked before the read: reading may make a warm chunk hot.
        let tier = chunk.tier();
        let chosen = self.scan.chosen(place);
        let batch = match chosen {
            Some(vids) => chunk.batch_of(vids, &self.numbers, self.with_vid),
            None => chunk.batch(&self.numbers, self.with_vid),
        };
        let batch = batch.map_err(store_error)?;
        let (rows, time) = match tier {
            Tier::Hot => (&self.counters.hot_rows, &self.counters.hot_time),
            Tier::Warm => (&self.counters.warm_rows, &self.counters.warm_time),
            // It has become cold since the scan began.
            Tier::Cold => (&self.counters.cold_rows, &self.counters.cold_time),
        };
        rows.add(batch.num_rows());
        if chosen.is_some() {
            self.counters.index_rows.add(batch.num_rows());
        }
        time.add_duration(start.elapsed());
        self.counters.chunks_read.add(1);

        let alive = match &self.scan.source.own {
            // None of those that were chosen was ended.
            Some(own) if chosen.is_none() && own.ends_rows() => own.alive(batch.column(self.numbers.len()))?,
            _ => None,
        };
        let table = self.scan.source.table.oid.0;
        let array = |place: &Option<usize>| match place {
            Some(place) => Arc::clone(batch.column(*place)),
            None => Arc::new(UInt32Array::from_value(table, batch.num_rows())) as ArrayRef,
        };
        let mut arrays: Vec<ArrayRef> = self.places.iter().map(array).collect();
        for (array, field) in arrays.iter_mut().zip(self.scan.read_schema.fields()) {
            if array.data_type() != field.data_type() {
                // The type has more labels or digits by now than in the statement's snapshot.
                *array = arrow::compute::cast(array, field.data_type())?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.scan.read_schema), arrays, &options)?;
        match alive {
            Some(alive) => Ok(filter_record_batch(&batch, &alive)?),
            None => Ok(batch),
        }
    }

    /// Rows that pass the filters, with the columns that come out.
    fn select(&mut self, mut batch: RecordBatch) -> Result<RecordBatch> {
        let filter_time = self.counters.filter_time.clone();
        let _timer = filter_time.timer();
        let mut keep: Option<BooleanArray> = None;
        for (need, filter) in &self.filters {
            batch = narrow(batch, &mut keep, *need == Need::Checked)?;
            if batch.num_rows() == 0 {
                break;
            }
            let mask = evaluate(filter, &batch)?;
            merge(&mut keep, mask)?;
        }
        for hint in &mut self.hints {
            if !hint.is_worth_its_time() {
                continue;
            }
            batch = narrow(batch, &mut keep, false)?;
            let mask = evaluate(&hint.filter, &batch)?;
            hint.rows_in += mask.len();
            hint.rows_out += mask.true_count();
            merge(&mut keep, mask)?;
        }
        let batch = batch.project(self.scan.output())?;
        match keep {
            Some(keep) if keep.true_count() == batch.num_rows() => Ok(batch),
            Some(keep) => Ok(filter_record_batch(&batch, &keep)?),
            None => Ok(batch),
        }
    }
}

/// Bytes of a batch's values that may be long.
fn long_bytes(batch: &RecordBatch) -> usize {
    /// The length of a view is in its lowest quarter.
    fn lengths(views: &[u128]) -> usize {
        views.iter().map(|view| *view as u32 as usize).sum()
    }
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => lengths(column.as_string_view().views()),
        DataType::BinaryView => lengths(column.as_binary_view().views()),
        ty if ty.is_nested() => column.get_array_memory_size(),
        _ => 0,
    });
    columns.sum()
}

/// The rows that have passed, where they are few or where the next filter must see no others.
fn narrow(batch: RecordBatch, keep: &mut Option<BooleanArray>, strictly: bool) -> Result<RecordBatch> {
    let few = |mask: &BooleanArray| {
        let passed = mask.true_count();
        passed * ROWS_PER_FEW <= mask.len() || strictly && passed < mask.len()
    };
    match keep.take_if(|mask| few(mask)) {
        Some(mask) => Ok(filter_record_batch(&batch, &mask)?),
        None => Ok(batch),
    }
}

/// Which rows a filter is true for; NULL counts as false.
fn evaluate(filter: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    boolean(filter, &filter.evaluate(batch)?.into_array(batch.num_rows())?)
}

fn boolean(filter: &Arc<dyn PhysicalExpr>, mask: &ArrayRef) -> Result<BooleanArray> {
    let mask =
        mask.as_boolean_opt().ok_or_else(|| DataFusionError::Internal(format!("filter {filter} is not boolean")))?;
    Ok(if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() })
}

fn merge(keep: &mut Option<BooleanArray>, mask: BooleanArray) -> Result<()> {
    *keep = Some(match keep.take() {
        Some(before) => and(&before, &mask)?,
        None => mask,
    });
    Ok(())
}

fn need(filter: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Need {
    let ty = |column: &Column| schema.fields().get(column.index()).map(|field| field.data_type());
    let plain = |ty: Option<&DataType>| ty.is_some_and(|ty| ty.is_primitive() || *ty == DataType::Boolean);
    match may_fail(filter) {
        true => Need::Checked,
        false if collect_columns(filter).iter().all(|column| plain(ty(column))) => Need::Plain,
        false => Need::Long,
    }
}

/// Whether a dynamic filter, as it is now, asks the hash table of a join.
fn looks_up(filter: &Arc<dyn PhysicalExpr>) -> bool {
    let Ok(now) = snapshot_physical_expr(Arc::clone(filter)) else { return false };
    let found = now.exists(|expr| Ok(expr.is::<HashTableLookupExpr>()));
    found.unwrap_or(false)
}

/// Whether evaluating a filter may give an error, such as a division by zero.
pub(super) fn may_fail(filter: &Arc<dyn PhysicalExpr>) -> bool {
    let mut fails = false;
    // The walk itself cannot fail.
    let _ = filter.apply(|expr| {
        if expr.is::<ScalarFunctionExpr>() || expr.is::<CastExpr>() {
            fails = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    fails
}

//! The part of a scan that is in cold files, through DataFusion's own Parquet source: it leaves out row groups and pages by
//! bounds, page index and bloom filter, and decodes other columns only of rows that pass the filters.
//!
//! What comes out of a file is what was exported. Rows that have ended since are told by their vids, which are read only
//! where there are any.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{and, filter_record_batch};
use arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use perigee_storage::arrow_value::ColumnBuilder;
use perigee_storage::cold::{ColdColumn, ColdFile, ColdRows, ColdStore, LoggedManifest, Manifests, form};
use perigee_storage::table::ChunkScan;
use perigee_types::Value;
use perigee_types::catalog::Table;

use super::exec::ScanExec;
use super::reader::may_fail;
use crate::exec::error::store_error;

/// Under this name DataFusion finds the store in its registry; it is nobody's address.
const STORE_URL: &str = "cold://store";

/// Bytes of a value, on average and without compression, from which on it is worth to leave values out.
const LONG_VALUE_BYTES: u64 = 16;

/// Bytes of one column that neighbouring rows may have in a batch, about.
const BATCH_BYTES_MAX: u64 = 128 << 20;

/// What the files of a scan's snapshot hold.
pub(in crate::exec) struct ColdPart {
    rows: ColdRows,
    store: Arc<ColdStore>,
}

/// The files with one set of columns, as an operator of DataFusion.
pub(super) struct ColdFiles {
    exec: Arc<dyn ExecutionPlan>,
    /// For each column of the scan where it comes from.
    places: Vec<Place>,
    /// Where the vids are among the columns of the operator.
    vid: Option<usize>,
}

#[derive(Clone)]
enum Place {
    /// A column of the operator.
    File(usize),
    /// The files are older than the column.
    Missing(Value),
    Vid,
    TableOid,
}

impl ColdPart {
    /// What of chunks is in files of `manifests`; `None` where none of them is cold.
    pub(super) fn of(chunks: &[ChunkScan], manifests: &Manifests, store: &Arc<ColdStore>) -> Option<Self> {
        let cold: Vec<ChunkScan> = chunks.iter().filter(|chunk| chunk.is_cold()).cloned().collect();
        (!cold.is_empty()).then(|| Self::of_all(cold, manifests, store))
    }

    /// The same of chunks all of which are cold by now.
    pub(super) fn of_all(chunks: Vec<ChunkScan>, manifests: &Manifests, store: &Arc<ColdStore>) -> Self {
        Self { rows: ColdRows::new(Arc::clone(manifests), chunks), store: Arc::clone(store) }
    }

    pub(super) fn files(&self) -> usize {
        self.rows.manifests().iter().map(|manifest| manifest.manifest.files.len()).sum()
    }

    /// The operators that read what `scan` asks for.
    pub(super) fn plan(&self, scan: &ScanExec, context: &TaskContext) -> Result<Vec<ColdFiles>> {
        let url = ObjectStoreUrl::parse(STORE_URL)?;
        context.runtime_env().register_object_store(url.as_ref(), Arc::clone(self.store.objects()));
        let mut alike: Vec<(&LoggedManifest, Vec<&ColdFile>)> = Vec::new();
        for manifest in self.rows.manifests().iter() {
            let columns = &manifest.manifest.columns;
            match alike.iter_mut().find(|(first, _)| first.manifest.columns == *columns) {
                Some((_, files)) => files.extend(&manifest.manifest.files),
                None => alike.push((manifest, manifest.manifest.files.iter().collect())),
            }
        }
        let alike = alike.into_iter().filter(|(_, files)| !files.is_empty());
        alike.map(|(manifest, files)| self.plan_files(scan, manifest, &files, &url, context)).collect()
    }

    fn plan_files(
        &self,
        scan: &ScanExec,
        manifest: &LoggedManifest,
        files: &[&ColdFile],
        url: &ObjectStoreUrl,
        context: &TaskContext,
    ) -> Result<ColdFiles> {
        let manifest = &manifest.manifest;
        let schema = manifest.file_schema();
        let vid_place = manifest.columns.len();
        let table = &scan.source.table;
        let in_file = |place: usize| {
            let column = table.columns.get(place)?;
            manifest.columns.iter().position(|known| known.number == column.number)
        };
        // Columns of the file that are read, and where each of them is among these.
        let mut read: Vec<usize> = Vec::new();
        let live = table.columns.len();
        let places = scan.columns.iter().map(|place| match (in_file(*place), table.columns.get(*place)) {
            (Some(column), _) => Place::File(at(column, &mut read)),
            (None, Some(column)) => Place::Missing(column.missing.clone()),
            (None, None) if *place == live => Place::Vid,
            (None, None) => Place::TableOid,
        });
        let places: Vec<Place> = places.collect();
        let ends_rows = scan.source.own.as_ref().is_some_and(super::own::OwnRows::ends_rows);
        let with_vid = !self.rows.is_whole() || ends_rows || places.iter().any(|p| matches!(p, Place::Vid));
        let vid = with_vid.then(|| at(vid_place, &mut read));

        let cache = context.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(self.store.checked(files.iter().copied()), cache);
        let mut source = ParquetSource::new(Arc::clone(&schema)).with_parquet_file_reader_factory(Arc::new(readers));
        let over_file = |filter| over_file(filter, scan, &manifest.columns, &schema, &in_file);
        let mut filters: Vec<Arc<dyn PhysicalExpr>> =
            scan.filters().iter().filter(|filter| !may_fail(filter)).filter_map(over_file).collect();
        let late = !filters.is_empty() && self.is_worth_reading_late(scan, files, &in_file);
        if !late {
            // They leave out row groups and pages, and rows behind the files.
            filters.extend(scan.hints().iter().filter_map(over_file));
        }
        if !filters.is_empty() {
            source = source.with_predicate(conjunction(filters)).with_pushdown_filters(late);
        }
        let partitions = scan.partitions();
        let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); files.len().min(partitions).max(1)];
        for (number, file) in files.iter().enumerate() {
            let place = number % groups.len();
            groups[place].push(PartitionedFile::new(self.store.place(&file.path), file.bytes));
        }
        let batch_rows = self.batch_rows(&read, &schema, files, context.session_config().batch_size());
        let config = FileScanConfigBuilder::new(url.clone(), Arc::new(source))
            .with_batch_size(Some(batch_rows))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(Some(read))?
            .build();
        let exec = DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>;
        let wider = exec.repartitioned(partitions, context.session_config().options())?;
        Ok(ColdFiles { exec: wider.unwrap_or(exec), places, vid })
    }

    /// Whether other columns are read of those rows alone that pass the filters: it costs more than it saves unless some of them
    /// have long values.
    fn is_worth_reading_late(
        &self,
        scan: &ScanExec,
        files: &[&ColdFile],
        in_file: &impl Fn(usize) -> Option<usize>,
    ) -> bool {
        let tested: HashSet<usize> =
            scan.filters().iter().flat_map(collect_columns).map(|column| column.index()).collect();
        let others = scan.output().iter().filter(|place| !tested.contains(*place));
        let others = others.filter_map(|place| scan.columns.get(*place));
        others.filter_map(|column| Some((scan.source.table.columns.get(*column)?, in_file(*column)?))).any(
            |(column, place)| {
                let variable = matches!(
                    column.ty.arrow(),
                    DataType::Utf8View | DataType::BinaryView | DataType::LargeBinary | DataType::List(_)
                );
                // One file tells of all.
                let known = || files.first().and_then(|file| self.store.value_bytes(file, place));
                variable && known().is_none_or(|bytes| bytes >= LONG_VALUE_BYTES)
            },
        )
    }

    /// Rows of a batch, at most `rows_max`: fewer where they are long, as a batch is in memory whole.
    fn batch_rows(&self, read: &[usize], schema: &SchemaRef, files: &[&ColdFile], rows_max: usize) -> usize {
        let long =
            |column: &&usize| schema.fields().get(**column).is_some_and(|field| !field.data_type().is_primitive());
        let long: Vec<usize> = read.iter().filter(long).copied().collect();
        // The file with the longest rows tells of all.
        match files.iter().max_by_key(|file| file.bytes / file.rows.max(1)) {
            Some(file) if !long.is_empty() => self.store.rows_at_once(file, &long, BATCH_BYTES_MAX, rows_max),
            _ => rows_max,
        }
    }

    /// The visible rows of what an operator gave, with the columns of the scan.
    fn restore(&self, scan: &ScanExec, files: &ColdFiles, batch: RecordBatch) -> Result<RecordBatch> {
        let batch = match self.visible(scan, files, &batch)? {
            Some(mask) => filter_record_batch(&batch, &mask)?,
            None => batch,
        };
        let rows = batch.num_rows();
        let column = |at: usize| {
            batch.columns().get(at).ok_or_else(|| DataFusionError::Internal("a cold column is missing".to_owned()))
        };
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(files.places.len());
        for (place, field) in files.places.iter().zip(scan.read_schema.fields()) {
            arrays.push(match place {
                Place::File(at) => form::from_file(column(*at)?, field.data_type())?,
                Place::Vid => Arc::clone(column(files.vid.unwrap_or(usize::MAX))?),
                Place::TableOid => Arc::new(UInt32Array::from_value(scan.source.table.oid.0, rows)),
                Place::Missing(value) => constant(&scan.source.table, field.name(), value, rows)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&scan.read_schema), arrays, &options)?)
    }

    /// Which rows are visible; `None` for all.
    fn visible(&self, scan: &ScanExec, files: &ColdFiles, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(vids) = files.vid.and_then(|at| batch.columns().get(at)) else { return Ok(None) };
        let committed = match vids.as_primitive_opt::<UInt64Type>() {
            Some(vids) if !self.rows.is_whole() => Some(self.rows.mask(vids)),
            Some(_) => None,
            None => return Err(DataFusionError::Internal("vids are not UInt64".to_owned())),
        };
        let own = match &scan.source.own {
            Some(own) if own.ends_rows() => own.alive(vids)?,
            _ => None,
        };
        Ok(match (committed, own) {
            (Some(a), Some(b)) => Some(and(&a, &b)?),
            (a, b) => a.or(b),
        })
    }
}

/// What one partition has read of cold files: one operator after the other.
pub(super) struct ColdReading {
    part: Arc<ColdPart>,
    files: Arc<Vec<ColdFiles>>,
    /// Which partition of each operator.
    partition: usize,
    /// How many operators were begun.
    begun: usize,
    batches: Option<SendableRecordBatchStream>,
}

impl ColdReading {
    pub(super) fn new(part: Arc<ColdPart>, files: Arc<Vec<ColdFiles>>, partition: usize) -> Self {
        Self { part, files, partition, begun: 0, batches: None }
    }

    /// The next rows as they stand in the files; `None` behind the last.
    pub(super) async fn next(&mut self, context: &Arc<TaskContext>) -> Result<Option<RecordBatch>> {
        loop {
            let Some(batches) = &mut self.batches else {
                let Some(files) = self.files.get(self.begun) else { return Ok(None) };
                self.begun += 1;
                self.batches = files.execute(self.partition, context)?;
                continue;
            };
            match batches.next().await {
                Some(batch) => return batch.map(Some),
                None => self.batches = None,
            }
        }
    }

    /// As [`ColdPart::restore`], of what [`next`](Self::next) gave last.
    pub(super) fn restore(&self, scan: &ScanExec, batch: RecordBatch) -> Result<RecordBatch> {
        let files = self.begun.checked_sub(1).and_then(|at| self.files.get(at));
        let files = files.ok_or_else(|| DataFusionError::Internal("no cold file was read".to_owned()))?;
        self.part.restore(scan, files, batch)
    }
}

impl ColdFiles {
    /// What one partition reads; `None` for one that has no part of the files.
    fn execute(&self, partition: usize, context: &Arc<TaskContext>) -> Result<Option<SendableRecordBatchStream>> {
        if partition >= self.exec.output_partitioning().partition_count() {
            return Ok(None);
        }
        self.exec.execute(partition, Arc::clone(context)).map(Some)
    }

    /// Adds what EXPLAIN ANALYZE shows of files.
    pub(super) fn measure(&self, into: &mut MetricsSet) {
        let shown = |value: &MetricValue| {
            matches!(
                value.name(),
                "bytes_scanned"
                    | "row_groups_pruned_statistics"
                    | "row_groups_pruned_bloom_filter"
                    | "page_index_pages_pruned"
                    | "files_ranges_pruned_statistics"
                    | "pushdown_rows_pruned"
            )
        };
        for metric in self.exec.metrics().iter().flat_map(MetricsSet::iter).filter(|metric| shown(metric.value())) {
            into.push(Arc::clone(metric));
        }
    }
}

/// The place of a column among those that are read; it is added where it is new.
fn at(column: usize, read: &mut Vec<usize>) -> usize {
    match read.iter().position(|known| *known == column) {
        Some(at) => at,
        None => {
            read.push(column);
            read.len() - 1
        }
    }
}

/// A filter over the scan's columns as one over those of files; `None` where files have something else there, or where
/// what they keep of values is not PostgreSQL's order.
fn over_file(
    filter: &Arc<dyn PhysicalExpr>,
    scan: &ScanExec,
    columns: &[ColdColumn],
    schema: &SchemaRef,
    in_file: &impl Fn(usize) -> Option<usize>,
) -> Option<Arc<dyn PhysicalExpr>> {
    let mut known: HashMap<usize, usize> = HashMap::new();
    let mut possible = true;
    // The walk itself cannot fail.
    let _ = filter.apply(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(TreeNodeRecursion::Continue) };
        let place = scan.columns.get(column.index()).and_then(|place| in_file(*place));
        let plain = place.filter(|place| {
            let ty = columns[*place].ty.arrow();
            form::compares(&ty) && scan.read_schema.field(column.index()).data_type() == &ty
        });
        match plain {
            Some(place) => {
                known.insert(column.index(), place);
                Ok(TreeNodeRecursion::Continue)
            }
            None => {
                possible = false;
                Ok(TreeNodeRecursion::Stop)
            }
        }
    });
    if !possible {
        return None;
    }
    let over = Arc::clone(filter).transform_down(|expr| {
        let Some(place) = expr.downcast_ref::<Column>().and_then(|column| known.get(&column.index())) else {
            return Ok(Transformed::no(expr));
        };
        Ok(Transformed::new(
            Arc::new(Column::new(schema.field(*place).name(), *place)) as _,
            true,
            TreeNodeRecursion::Jump,
        ))
    });
    over.ok().map(|over| over.data)
}

/// A column of one value.
fn constant(table: &Table, name: &str, value: &Value, rows: usize) -> Result<ArrayRef> {
    let column = table.column_position(name).and_then(|place| table.columns.get(place));
    let column = column.ok_or_else(|| DataFusionError::Internal(format!("no column {name}")))?;
    let mut builder = ColumnBuilder::new(&column.ty, rows);
    for _ in 0..rows {
        builder.push(value).map_err(|error| store_error(error.into()))?;
    }
    Ok(builder.finish())
}

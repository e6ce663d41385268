//! Which chunks cannot hold a matching row.
//!
//! Filters that stay as they are judge all chunks at once, when the scan starts. Dynamic filters, which joins and top-k
//! operators narrow while the query runs, are asked again for each chunk when they have changed.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use perigee_storage::arrow_value::ColumnBuilder;
use perigee_storage::encoding::ColumnStats;
use perigee_storage::table::ChunkScan;
use perigee_types::Value;

use super::exec::{ScanExec, Source};

/// Chunks that are asked at a time whether any of them matters.
const CHUNKS_ASKED: usize = 64;

/// Chunks that may hold a row for which all `filters`, over `schema`, are true; `None` where that may be any.
pub(super) fn matching(source: &Source, schema: &SchemaRef, filters: &[Arc<dyn PhysicalExpr>]) -> Option<Vec<bool>> {
    if filters.is_empty() || source.chunks.is_empty() {
        return None;
    }
    // A predicate that cannot be evaluated prunes nothing.
    predicate(schema, filters)?.prune(&Statistics { source, chunks: &source.chunks }).ok()
}

/// Whether some of `chunks` may hold a row for which all `filters`, over `schema`, are true. Mostly the first ones tell.
pub(super) fn any_matches<'a>(
    source: &Source,
    schema: &SchemaRef,
    filters: &[Arc<dyn PhysicalExpr>],
    chunks: impl Iterator<Item = &'a ChunkScan>,
) -> bool {
    let mut chunks = chunks.cloned().peekable();
    let predicate = if filters.is_empty() { None } else { predicate(schema, filters) };
    let Some(predicate) = predicate else { return chunks.peek().is_some() };
    while chunks.peek().is_some() {
        let some: Vec<ChunkScan> = chunks.by_ref().take(CHUNKS_ASKED).collect();
        let matching = predicate.prune(&Statistics { source, chunks: &some });
        if matching.map_or(true, |matching| matching.contains(&true)) {
            return true;
        }
    }
    false
}

fn predicate(schema: &SchemaRef, filters: &[Arc<dyn PhysicalExpr>]) -> Option<Arc<PruningPredicate>> {
    PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).build(conjunction(filters.iter().cloned()))
}

/// Asks the dynamic filters about one chunk after the other. One for each partition.
pub(super) struct DynamicPruner {
    source: Arc<Source>,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    /// State of the filters that `predicate` was made from.
    generation: u64,
    predicate: Option<Arc<PruningPredicate>>,
}

impl DynamicPruner {
    /// `None` where there is no dynamic filter.
    pub(super) fn new(scan: &ScanExec) -> Option<Self> {
        let filters = scan.hints().to_vec();
        if filters.is_empty() {
            return None;
        }
        // A filter that nothing has narrowed yet lets everything through.
        let generation = generation_of(&filters);
        let (source, schema) = (Arc::clone(&scan.source), Arc::clone(&scan.read_schema));
        Some(Self { source, schema, generation, predicate: None, filters })
    }

    /// Whether the chunk may hold a row that passes the filters as they are now.
    pub(super) fn may_match(&mut self, chunk: &ChunkScan) -> bool {
        let generation = generation_of(&self.filters);
        if generation != self.generation {
            self.generation = generation;
            self.predicate = predicate(&self.schema, &self.filters);
        }
        let Some(predicate) = &self.predicate else { return true };
        let statistics = Statistics { source: &self.source, chunks: std::slice::from_ref(chunk) };
        predicate.prune(&statistics).map_or(true, |keep| keep.first().copied().unwrap_or(true))
    }
}

fn generation_of(filters: &[Arc<dyn PhysicalExpr>]) -> u64 {
    filters.iter().map(snapshot_generation).fold(0, u64::wrapping_add)
}

/// Statistics of some chunks, as DataFusion asks for them.
struct Statistics<'a> {
    source: &'a Source,
    chunks: &'a [ChunkScan],
}

impl Statistics<'_> {
    fn bounds(&self, column: &Column, pick: fn(ColumnStats) -> Value) -> Option<ArrayRef> {
        let column = &self.source.table.columns[self.source.table.column_position(&column.name)?];
        let mut bounds = ColumnBuilder::new(&column.ty, self.chunks.len());
        for chunk in self.chunks {
            // NULL says that the bound is not known.
            bounds.push(&chunk.stats(column.number).map_or(Value::Null, pick)).ok()?;
        }
        Some(bounds.finish())
    }
}

impl PruningStatistics for Statistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |s| s.min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |s| s.max)
    }

    fn num_containers(&self) -> usize {
        self.chunks.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let column = &self.source.table.columns[self.source.table.column_position(&column.name)?];
        let counts = self.chunks.iter().map(|chunk| chunk.stats(column.number).map(|s| s.null_count as u64));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.chunks.iter().map(|chunk| chunk.rows_max() as u64))))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

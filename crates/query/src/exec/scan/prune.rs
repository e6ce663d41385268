//! Which chunks cannot hold a matching row.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use perigee_storage::table::ChunkScan;

use super::exec::{ScanExec, Source};
use crate::exec::scalar::scalar;

/// Tells chunks that may match from those that cannot. One for each partition.
pub(super) struct Pruner {
    source: Arc<Source>,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    schema: arrow::datatypes::SchemaRef,
    /// State of the dynamic filters that `predicate` was made from.
    generation: u64,
    predicate: Option<Arc<PruningPredicate>>,
}

impl Pruner {
    /// `None` where there is no filter at all.
    pub(super) fn new(scan: &ScanExec) -> Option<Self> {
        let filters: Vec<_> = scan.filters().iter().chain(scan.hints()).cloned().collect();
        if filters.is_empty() {
            return None;
        }
        let mut pruner = Self {
            source: Arc::clone(&scan.source),
            schema: Arc::clone(&scan.read_schema),
            generation: 0,
            predicate: None,
            filters,
        };
        pruner.generation = pruner.current_generation();
        pruner.build();
        Some(pruner)
    }

    /// Whether the chunk may hold a row that passes the filters as they are now.
    pub(super) fn may_match(&mut self, chunk: &ChunkScan) -> bool {
        let generation = self.current_generation();
        if generation != self.generation {
            self.generation = generation;
            self.build();
        }
        let Some(predicate) = &self.predicate else { return true };
        let statistics = ChunkStatistics { source: &self.source, chunk };
        // A predicate that cannot be evaluated prunes nothing.
        predicate.prune(&statistics).map_or(true, |keep| keep.first().copied().unwrap_or(true))
    }

    fn current_generation(&self) -> u64 {
        self.filters.iter().map(snapshot_generation).fold(0, u64::wrapping_add)
    }

    fn build(&mut self) {
        let predicate = conjunction(self.filters.iter().cloned());
        self.predicate = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema)).build(predicate);
    }
}

struct ChunkStatistics<'a> {
    source: &'a Source,
    chunk: &'a ChunkScan,
}

impl ChunkStatistics<'_> {
    fn bound(
        &self,
        column: &Column,
        pick: fn(perigee_storage::encoding::ColumnStats) -> perigee_types::Value,
    ) -> Option<ArrayRef> {
        let column = &self.source.table.columns[self.source.table.column_position(&column.name)?];
        let value = pick(self.chunk.stats(column.number)?);
        if value.is_null() {
            return None;
        }
        scalar(&value, &column.ty.arrow()).ok()?.to_array().ok()
    }
}

impl PruningStatistics for ChunkStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, |s| s.min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, |s| s.max)
    }

    fn num_containers(&self) -> usize {
        1
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let column = &self.source.table.columns[self.source.table.column_position(&column.name)?];
        let stats = self.chunk.stats(column.number)?;
        Some(Arc::new(UInt64Array::from(vec![stats.null_count as u64])))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from(vec![self.chunk.rows_max() as u64])))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

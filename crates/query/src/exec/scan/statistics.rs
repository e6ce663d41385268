//! What the optimizer is told about a table: estimates from the chunks' statistics.

use std::cmp::Ordering;

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::scalar::ScalarValue;
use perigee_types::Value;

use super::exec::Source;
use crate::exec::scalar::scalar;

/// Chunks that are asked for minima and maxima; of a larger table evenly chosen ones stand for all.
const CHUNKS_ASKED_MAX: usize = 512;

/// Statistics of these columns of the source. Nothing in them is exact: chunks count versions that the snapshot may
/// not see.
pub(super) fn of(source: &Source, columns: &[usize]) -> Statistics {
    let in_chunks: usize = source.chunks.iter().map(perigee_storage::table::ChunkScan::rows_max).sum();
    let rows = match &source.own {
        Some(own) => in_chunks.saturating_sub(own.ended_count()) + own.inserted_count(),
        None => in_chunks,
    };
    let column_statistics = columns.iter().map(|c| column(source, *c, rows)).collect();
    let mut statistics =
        Statistics { num_rows: Precision::Inexact(rows), total_byte_size: Precision::Absent, column_statistics };
    let fields: Vec<_> = columns.iter().map(|c| source.schema.fields()[*c].clone()).collect();
    statistics.calculate_total_byte_size(&arrow::datatypes::Schema::new(fields));
    statistics
}

fn column(source: &Source, position: usize, rows: usize) -> ColumnStatistics {
    let mut statistics = ColumnStatistics::new_unknown();
    if source.unique.contains(&position) {
        statistics.distinct_count = Precision::Inexact(rows);
    }
    // The hidden column has no statistics.
    let Some(column) = source.table.columns.get(position) else { return statistics };
    let ty = column.ty.arrow();
    let step = source.chunks.len().div_ceil(CHUNKS_ASKED_MAX).max(1);
    let (mut min, mut max, mut nulls) = (None, None, 0usize);
    for chunk in source.chunks.iter().step_by(step) {
        let Some(stats) = chunk.stats(column.number) else { return statistics };
        nulls += stats.null_count;
        if stats.null_count >= chunk.rows_max() {
            continue;
        }
        if stats.min.is_null() || stats.max.is_null() {
            return statistics;
        }
        extend(&mut min, stats.min, Ordering::Less);
        extend(&mut max, stats.max, Ordering::Greater);
    }
    statistics.null_count = Precision::Inexact(nulls * step);
    statistics.min_value = bound(min, &ty);
    statistics.max_value = bound(max, &ty);
    statistics
}

fn extend(bound: &mut Option<Value>, value: Value, wanted: Ordering) {
    if bound.as_ref().is_none_or(|b| value.sql_cmp(b) == Some(wanted)) {
        *bound = Some(value);
    }
}

fn bound(value: Option<Value>, ty: &arrow::datatypes::DataType) -> Precision<ScalarValue> {
    match value.map(|v| scalar(&v, ty)) {
        Some(Ok(scalar)) => Precision::Inexact(scalar),
        _ => Precision::Absent,
    }
}

/// What one of `partitions` is expected to give.
pub(super) fn share(mut statistics: Statistics, partitions: usize) -> Statistics {
    let divide = |n: usize| n / partitions.max(1);
    statistics.num_rows = statistics.num_rows.map(divide).to_inexact();
    statistics.total_byte_size = statistics.total_byte_size.map(divide).to_inexact();
    for column in &mut statistics.column_statistics {
        column.null_count = column.null_count.map(divide).to_inexact();
    }
    statistics
}

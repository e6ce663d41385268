//! Batches cut small, where memory has run out once: a sort must hold at least one batch of its input.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::spill::get_record_batch_memory_size;

/// Bytes of a batch, about; one row may be larger.
const BYTES_MAX: usize = 256 << 10;

/// The batch in pieces of at most `rows_max` rows and about [`BYTES_MAX`], each with its own copy of its strings.
pub(super) fn pieces(batch: RecordBatch, rows_max: usize) -> impl Iterator<Item = Result<RecordBatch>> {
    let rows = batch.num_rows();
    let row_bytes = get_record_batch_memory_size(&batch).div_ceil(rows.max(1)).max(1);
    let step = (BYTES_MAX / row_bytes).clamp(1, rows_max.max(1));
    let whole = rows <= step;
    (0..rows).step_by(step).map(move |from| {
        let piece = batch.slice(from, step.min(rows - from));
        if whole { Ok(piece) } else { compacted(&piece) }
    })
}

/// The batch without what its buffers hold besides.
fn compacted(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => Ok(Arc::new(column.as_string_view().gc()) as ArrayRef),
        DataType::BinaryView => Ok(Arc::new(column.as_binary_view().gc()) as ArrayRef),
        other if other.is_nested() => arrow::compute::concat(&[column.as_ref()]),
        _ => Ok(Arc::clone(column)),
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).map_err(DataFusionError::from)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringViewArray};

    use super::*;

    fn batch(rows: usize, width: usize) -> RecordBatch {
        let texts: StringViewArray = (0..rows).map(|row| Some(format!("{row}{}", "x".repeat(width)))).collect();
        let numbers = Int32Array::from_iter_values(0..rows as i32);
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef), ("t", Arc::new(texts) as ArrayRef)]).unwrap()
    }

    #[test]
    fn wide_rows_make_small_pieces() {
        for (rows, width, least) in [(1_000, 20_000, 70), (8_192, 20, 8), (3, 2 << 20, 3), (10, 10, 1)] {
            let all = batch(rows, width);
            let parts: Vec<RecordBatch> = pieces(all.clone(), 1_024).collect::<Result<_>>().unwrap();
            assert!(parts.len() >= least, "{rows} rows of {width} bytes: {} pieces", parts.len());
            for part in &parts {
                assert!(part.num_rows() <= 1_024);
                let bytes = get_record_batch_memory_size(part);
                assert!(part.num_rows() == 1 || bytes <= 2 * BYTES_MAX, "{bytes} bytes of {} rows", part.num_rows());
            }
            assert_eq!(arrow::compute::concat_batches(&all.schema(), &parts).unwrap(), all);
        }
    }
}

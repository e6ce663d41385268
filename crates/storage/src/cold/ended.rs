//! Rows of files that have ended since these were written, for readers that know nothing of vids: where such rows stand, and
//! files that say so, as Iceberg has them (position deletes).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::read::{damaged, parquet, unreadable};
use super::{ColdError, ColdFile, ColdRows, ColdStore};

/// Rows that are looked at, or written, at a time.
const ROWS_AT_ONCE: usize = 64 << 10;
/// The ids that Iceberg keeps for the two columns.
const PATH_FIELD_ID: i32 = 2_147_483_546;
const POSITION_FIELD_ID: i32 = 2_147_483_545;

impl ColdStore {
    /// The places, from 0 and ascending, of the rows of a file that `rows` does not show. `vid_place` is that of the vids among
    /// its columns. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Missing`], [`ColdError::Away`], [`ColdError::Damaged`]
    pub fn ended_rows(
        self: &Arc<Self>,
        file: &ColdFile,
        vid_place: usize,
        rows: &ColdRows,
    ) -> Result<Vec<i64>, ColdError> {
        let footer = self.footer(file)?;
        let mask = ProjectionMask::roots(footer.parquet_schema(), [vid_place]);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.remote(file), footer.as_ref().clone())
            .with_projection(mask)
            .with_batch_size(ROWS_AT_ONCE)
            .build()
            .map_err(|error| parquet(file, error))?;
        let (mut first, mut ended) = (0_i64, Vec::new());
        for batch in reader {
            let batch = batch.map_err(|error| unreadable(file, error))?;
            let vids = batch.columns().first().and_then(|vids| vids.as_primitive_opt::<UInt64Type>());
            let vids = vids.ok_or_else(|| damaged(file, "its last column holds no vids"))?;
            let seen = rows.mask(vids);
            ended.extend((first..).zip(seen.values().iter()).filter(|(_, seen)| !seen).map(|(place, _)| place));
            first += batch.num_rows() as i64;
        }
        Ok(ended)
    }
}

/// A file that says of the rows of another one, which readers know as `path`, that they have ended.
///
/// # Errors
/// [`ColdError::Write`]
pub fn position_deletes(path: &str, places: &[i64]) -> Result<Bytes, ColdError> {
    let failed = |error: &dyn std::fmt::Display| ColdError::Write(error.to_string());
    let field = |name: &str, ty, id: i32| {
        let id = (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string());
        Field::new(name, ty, false).with_metadata([id].into())
    };
    let schema = Arc::new(Schema::new(vec![
        field("file_path", DataType::Utf8, PATH_FIELD_ID),
        field("pos", DataType::Int64, POSITION_FIELD_ID),
    ]));
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()));
    let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties.build()));
    let mut writer = writer.map_err(|e| failed(&e))?;
    for places in places.chunks(ROWS_AT_ONCE) {
        let paths = StringArray::from_iter_values(std::iter::repeat_n(path, places.len()));
        let arrays: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(Int64Array::from(places.to_vec()))];
        let rows = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|e| failed(&e))?;
        writer.write(&rows).map_err(|e| failed(&e))?;
    }
    Ok(Bytes::from(writer.into_inner().map_err(|e| failed(&e))?))
}

//! Rows into files: ZSTD, a page index, bounds and, for keys, bloom filters.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::xxh3_64;

use super::{ColdColumn, ColdError, form};
use crate::table::VID_COLUMN;

/// Compression that is still fast; higher levels gain a few percent.
const ZSTD_LEVEL: i32 = 3;
/// Rows of a page at most: what one row of a point lookup costs.
const PAGE_ROWS_MAX: usize = 8_192;
/// Share of keys that a bloom filter takes for present although they are not.
const BLOOM_FALSE_SHARE: f64 = 0.01;

/// How files are cut.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Bytes from which a file is closed. It is made in memory.
    pub file_bytes: usize,
    /// Rows of a row group, which is what bounds and bloom filters are kept of.
    pub group_rows: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, group_rows: 128 << 10 }
    }
}

/// Makes files of rows.
pub struct ColdWriter {
    schema: SchemaRef,
    properties: WriterProperties,
    options: WriteOptions,
    open: Option<Open>,
}

struct Open {
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
    vid_first: u64,
    vid_last: u64,
}

/// A whole file, to be uploaded.
#[derive(Clone, Debug)]
pub struct FinishedFile {
    /// All of it.
    pub bytes: Bytes,
    /// Count of rows.
    pub rows: u64,
    /// XXH3 (64 bits) of all bytes.
    pub checksum: u64,
    /// The least vid in it.
    pub vid_first: u64,
    /// The greatest vid in it.
    pub vid_last: u64,
}

impl ColdWriter {
    /// A writer of files with these columns; `keys` are numbers of those that rows are looked up by.
    #[must_use]
    pub fn new(columns: &[ColdColumn], keys: &[u16], options: WriteOptions) -> Self {
        let vid = ColumnPath::from(vec![VID_COLUMN.to_owned()]);
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default()))
            .set_max_row_group_row_count(Some(options.group_rows))
            .set_data_page_row_count_limit(PAGE_ROWS_MAX)
            .set_write_batch_size(PAGE_ROWS_MAX)
            .set_created_by(format!("perigee {}", env!("CARGO_PKG_VERSION")))
            .set_column_dictionary_enabled(vid.clone(), false)
            .set_column_encoding(vid, Encoding::DELTA_BINARY_PACKED);
        for column in columns.iter().filter(|column| keys.contains(&column.number)) {
            // What is equal here must be so there.
            if form::compares(&column.ty.arrow()) && column.ty.arrow() != DataType::Boolean {
                let path = ColumnPath::from(vec![column.name.clone()]);
                properties = properties
                    .set_column_bloom_filter_enabled(path.clone(), true)
                    .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_SHARE)
                    .set_column_bloom_filter_max_ndv(path, options.group_rows as u64);
            }
        }
        Self { schema: file_schema(columns, true), properties: properties.build(), options, open: None }
    }

    /// Adds rows: the writer's columns in their order, then the vids. Gives a file when one is full.
    ///
    /// # Errors
    /// [`ColdError::Write`]
    pub fn push(&mut self, batch: &RecordBatch) -> Result<Option<FinishedFile>, ColdError> {
        let failed = |error: &dyn std::fmt::Display| ColdError::Write(error.to_string());
        let Some(vids) = batch.columns().last().and_then(|vids| vids.as_primitive_opt::<UInt64Type>()) else {
            return Err(ColdError::Write("the rows have no vids".to_owned()));
        };
        let (Some(first), Some(last)) = (min(vids), max(vids)) else { return Ok(None) };
        let arrays: Result<Vec<ArrayRef>, _> = batch.columns().iter().map(form::to_file).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), arrays.map_err(|e| failed(&e))?);
        let rows = rows.map_err(|e| failed(&e))?;
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), Some(self.properties.clone()));
                let writer = writer.map_err(|e| failed(&e))?;
                self.open.insert(Open { writer, rows: 0, vid_first: u64::MAX, vid_last: 0 })
            }
        };
        open.writer.write(&rows).map_err(|e| failed(&e))?;
        open.rows += batch.num_rows() as u64;
        open.vid_first = open.vid_first.min(first);
        open.vid_last = open.vid_last.max(last);
        if open.writer.bytes_written() + open.writer.in_progress_size() >= self.options.file_bytes {
            return self.finish();
        }
        Ok(None)
    }

    /// Ends the file that is open, if there is one.
    ///
    /// # Errors
    /// [`ColdError::Write`]
    pub fn finish(&mut self) -> Result<Option<FinishedFile>, ColdError> {
        let Some(Open { writer, rows, vid_first, vid_last }) = self.open.take() else { return Ok(None) };
        let bytes = Bytes::from(writer.into_inner().map_err(|error| ColdError::Write(error.to_string()))?);
        Ok(Some(FinishedFile { checksum: xxh3_64(&bytes), bytes, rows, vid_first, vid_last }))
    }
}

/// The columns of files, the vid last; with `ids` each knows its number.
pub(super) fn file_schema(columns: &[ColdColumn], ids: bool) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::with_capacity(columns.len() + 1);
    for column in columns {
        let mut field = Field::new(&column.name, form::file_type(&column.ty.arrow()), true);
        if ids {
            let id = (PARQUET_FIELD_ID_META_KEY.to_owned(), column.number.to_string());
            field = field.with_metadata([id].into());
        }
        fields.push(field);
    }
    fields.push(Field::new(VID_COLUMN, DataType::UInt64, false));
    Arc::new(Schema::new(fields))
}

impl super::Manifest {
    /// The columns of its files as Arrow, the vid last.
    #[must_use]
    pub fn file_schema(&self) -> SchemaRef {
        file_schema(&self.columns, false)
    }
}

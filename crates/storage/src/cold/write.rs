//! Rows into files: ZSTD, a page index, bounds and, for keys, bloom filters.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{
    ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, ArrowWriter, PARQUET_FIELD_ID_META_KEY, encode_arrow_schema,
};
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type};
use perigee_types::SqlType;
use xxhash_rust::xxh3::xxh3_64;

use super::sums::{self, Tail};
use super::{ColdColumn, ColdError, form};
use crate::table::VID_COLUMN;

/// Compression that is still fast; higher levels gain a few percent.
const ZSTD_LEVEL: i32 = 3;
/// Rows of a page at most: what one row of a point lookup costs.
const PAGE_ROWS_MAX: usize = 8_192;
/// The Parquet field id of the vids: no column of a table has such a number.
const VID_FIELD_ID: i32 = 1 << 16;
/// What the items of an array have as their field id, above the number of its column.
const ITEM_FIELD_ID: i32 = 2 << 16;
const UUID_BYTES: i32 = 16;
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
    columns: Vec<ColdColumn>,
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
    /// Its end, which has the checksums of all before it.
    pub tail: Tail,
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
            .set_key_value_metadata(Some(vec![KeyValue::new(
                ARROW_SCHEMA_META_KEY.to_owned(),
                encode_arrow_schema(&told_schema(columns)),
            )]))
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
        Self {
            schema: file_schema(columns, true),
            columns: columns.to_vec(),
            properties: properties.build(),
            options,
            open: None,
        }
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
        let arrays = batch.columns().iter().zip(self.schema.fields());
        let arrays: Result<Vec<ArrayRef>, _> =
            arrays.map(|(array, field)| named(form::to_file(array)?, field)).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), arrays.map_err(|e| failed(&e))?);
        let rows = rows.map_err(|e| failed(&e))?;
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let options = ArrowWriterOptions::new()
                    .with_properties(self.properties.clone())
                    .with_skip_arrow_metadata(true)
                    .with_parquet_schema(parquet_schema(&self.columns, &self.schema).map_err(|e| failed(&e))?);
                let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&self.schema), options);
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

    /// Files are twice as large from here on.
    pub fn double_files(&mut self) {
        self.options.file_bytes = self.options.file_bytes.saturating_mul(2);
    }

    /// Ends the file that is open, if there is one.
    ///
    /// # Errors
    /// [`ColdError::Write`]
    pub fn finish(&mut self) -> Result<Option<FinishedFile>, ColdError> {
        let Some(Open { mut writer, rows, vid_first, vid_last }) = self.open.take() else { return Ok(None) };
        let failed = |error: &dyn std::fmt::Display| ColdError::Write(error.to_string());
        writer.flush().map_err(|e| failed(&e))?;
        writer.sync().map_err(|e| failed(&e))?;
        let from = writer.inner().len();
        let blocks = sums::of_blocks(writer.inner());
        writer.append_key_value_metadata(blocks);
        let bytes = Bytes::from(writer.into_inner().map_err(|e| failed(&e))?);
        let tail = Tail { from: from as u64, checksum: xxh3_64(bytes.get(from..).unwrap_or_default()) };
        Ok(Some(FinishedFile { checksum: xxh3_64(&bytes), bytes, rows, tail, vid_first, vid_last }))
    }
}

/// The columns of files, the vid last; with `ids` each knows its number.
pub(super) fn file_schema(columns: &[ColdColumn], ids: bool) -> SchemaRef {
    let with_id = |field: Field, id: i32| match ids {
        true => field.with_metadata([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())].into()),
        false => field,
    };
    let mut fields: Vec<Field> = Vec::with_capacity(columns.len() + 1);
    for column in columns {
        let ty = match form::file_type(&column.ty.arrow()) {
            DataType::List(item) => {
                DataType::List(Arc::new(with_id(item.as_ref().clone(), item_field_id(column.number))))
            }
            ty => ty,
        };
        fields.push(with_id(Field::new(&column.name, ty, true), column.number.into()));
    }
    fields.push(with_id(Field::new(VID_COLUMN, DataType::UInt64, false), VID_FIELD_ID));
    Arc::new(Schema::new(fields))
}

/// The Parquet field id of what is in the arrays of a column.
#[must_use]
pub fn item_field_id(number: u16) -> i32 {
    ITEM_FIELD_ID + i32::from(number)
}

/// A column whose type names its items as the schema does.
fn named(array: ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    let (DataType::List(item), Some(list)) = (field.data_type(), array.as_list_opt::<i32>()) else { return Ok(array) };
    let values = Arc::clone(list.values());
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?))
}

/// What readers that go by Arrow's types are told: not all of them have Arrow's views.
fn told_schema(columns: &[ColdColumn]) -> Schema {
    fn plain(field: &Field) -> Field {
        let ty = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            DataType::List(item) => DataType::List(Arc::new(plain(item))),
            ty => ty.clone(),
        };
        field.clone().with_data_type(ty)
    }
    let schema = file_schema(columns, true);
    let fields = schema.fields().iter().enumerate().map(|(place, field)| {
        let mut field = plain(field);
        if columns.get(place).is_some_and(|column| column.ty == SqlType::Uuid) {
            let mut metadata = field.metadata().clone();
            metadata.insert("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned());
            metadata.insert("ARROW:extension:metadata".to_owned(), String::new());
            field.set_metadata(metadata);
        }
        field
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The columns as Parquet has them: as Arrow's writer would, and 16 bytes that are a UUID called so.
fn parquet_schema(columns: &[ColdColumn], schema: &Schema) -> ParquetResult<SchemaDescriptor> {
    let usual = ArrowSchemaConverter::new().convert(schema)?;
    let usual = usual.root_schema();
    let fields = usual.get_fields().iter().enumerate().map(|(place, field)| match columns.get(place) {
        Some(column) if column.ty == SqlType::Uuid => {
            let uuid = Type::primitive_type_builder(field.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY)
                .with_length(UUID_BYTES)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::Uuid))
                .with_id(Some(column.number.into()))
                .build()?;
            Ok(Arc::new(uuid))
        }
        _ => Ok(Arc::clone(field)),
    });
    let fields = fields.collect::<ParquetResult<Vec<_>>>()?;
    let root = Type::group_type_builder(usual.name()).with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

impl super::Manifest {
    /// The columns of its files as Arrow, the vid last.
    #[must_use]
    pub fn file_schema(&self) -> SchemaRef {
        file_schema(&self.columns, false)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, UInt64Array};

    use super::*;

    /// Rows of the next file.
    fn rows_of_file(writer: &mut ColdWriter) -> u64 {
        for block in 0_u64.. {
            let vids = block * 100..block * 100 + 100;
            let numbers: Int64Array = vids.clone().map(|vid| vid.wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64).collect();
            let arrays: [(&str, ArrayRef); 2] =
                [("n", Arc::new(numbers)), ("v", Arc::new(vids.collect::<UInt64Array>()))];
            if let Some(file) = writer.push(&RecordBatch::try_from_iter(arrays).unwrap()).unwrap() {
                return file.rows;
            }
        }
        0
    }

    #[test]
    fn files_are_as_large_as_they_shall_be() {
        let column = ColdColumn { number: 1, name: "n".to_owned(), ty: SqlType::Int8 };
        let mut writer = ColdWriter::new(&[column], &[], WriteOptions { file_bytes: 20_000, group_rows: 100 });
        let rows = rows_of_file(&mut writer);
        assert_eq!(rows_of_file(&mut writer), rows);
        writer.double_files();
        let more = rows_of_file(&mut writer);
        assert!((rows * 3 / 2..=rows * 5 / 2).contains(&more), "{rows} rows, then {more}");
    }
}

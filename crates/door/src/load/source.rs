//! Where rows come from: one reader for each form, on a thread.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchReader as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use perigee_copy::{BATCH_ROWS, ForeignColumns, IpcStream};
use perigee_engine::CopyIn;
use perigee_types::text::OutputSettings;
use perigee_types::{SqlError, SqlResult, SqlState};

use super::body::{Body, error_of};
use super::csv::CsvRows;
use super::ndjson::NdjsonRows;
use super::{Form, Refused, footer, quoted};

/// Bytes of a column of a row group, packed and unpacked, and its values.
const CHUNK_BYTES_MAX: i64 = 1 << 30;

/// Rows of the table's columns.
pub(crate) struct Rows {
    pub(crate) batch: RecordBatch,
    pub(crate) places: Place,
}

/// Where the rows of a batch stand in the data.
pub(crate) enum Place {
    /// The line of each.
    Lines(Vec<u64>),
    /// The number of the first one, from 1; the others follow.
    Rows(u64),
}

/// Takes rows.
pub(crate) type Take<'a> = dyn FnMut(Rows) -> Result<(), Refused> + 'a;

/// What rows are read from.
pub(crate) enum Source {
    Csv(Box<CsvRows>),
    Ndjson(Box<NdjsonRows>),
    /// Batches, and the places of the columns that are wanted.
    Arrow(Box<IpcStream<Body>>, Vec<usize>),
    Parquet(Box<ParquetRecordBatchReader>),
}

fn unreadable(why: impl std::fmt::Display) -> SqlError {
    SqlError::new(SqlState::BadCopyFileFormat, format!("the data cannot be read: {why}"))
}

impl Source {
    /// Reads so far that the columns are known.
    pub(crate) fn open(form: Form, columns: Option<Vec<String>>, body: Body, folder: &Path) -> SqlResult<Self> {
        match form {
            Form::Csv(form) => Ok(Source::Csv(Box::new(CsvRows::open(form, body)?))),
            Form::Ndjson => Ok(Source::Ndjson(Box::new(NdjsonRows::open(body)?))),
            Form::Arrow => {
                let stream = IpcStream::open(body)?;
                let places = places(&stream.schema(), columns.as_deref())?;
                Ok(Source::Arrow(Box::new(stream), places))
            }
            Form::Parquet => {
                let mut file = put_down(body, folder)?;
                footer::check(&mut file)?;
                let reader = parquet(file, columns.as_deref())?;
                Ok(Source::Parquet(Box::new(reader)))
            }
        }
    }

    /// The COPY that takes the rows.
    pub(crate) fn statement(&self, table: &str, columns: Option<&[String]>) -> String {
        let of_schema = |schema: SchemaRef, places: &[usize]| {
            places.iter().map(|place| schema.field(*place).name().clone()).collect::<Vec<_>>()
        };
        let names = match (self, columns) {
            // Columns of Parquet come in the order of the file, whatever was asked for.
            (Source::Parquet(reader), _) => {
                let schema = reader.schema();
                Some(of_schema(schema.clone(), &(0..schema.fields().len()).collect::<Vec<_>>()))
            }
            (_, Some(columns)) => Some(columns.to_vec()),
            (Source::Csv(rows), None) => rows.names.clone(),
            (Source::Ndjson(rows), None) => rows.names.clone(),
            (Source::Arrow(stream, places), None) => Some(of_schema(stream.schema(), places)),
        };
        let options = if let Source::Csv(rows) = self { rows.form.options() } else { String::new() };
        let names = names.map(|names| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "));
        let names = names.map_or_else(String::new, |names| format!(" ({names})"));
        format!("COPY {table}{names} FROM STDIN{options}")
    }

    /// Reads all rows.
    pub(crate) fn read(self, copy: CopyIn, settings: OutputSettings, take: &mut Take<'_>) -> Result<(), Refused> {
        let nowhere = |error| Refused { error, row: None };
        match self {
            Source::Csv(rows) => rows.read(copy, settings, take),
            Source::Ndjson(rows) => rows.read(copy, settings, take),
            Source::Arrow(mut stream, places) => {
                let mut taking = Taking::new(copy, settings);
                while let Some(batch) = stream.batch().map_err(nowhere)? {
                    let batch = batch.project(&places).map_err(|error| nowhere(unreadable(error)))?;
                    taking.batch(&batch, take)?;
                }
                Ok(())
            }
            Source::Parquet(reader) => {
                let mut taking = Taking::new(copy, settings);
                for batch in *reader {
                    let sql = |error: ArrowError| nowhere(unreadable(error));
                    taking.batch(&batch.map_err(sql)?, take)?;
                }
                Ok(())
            }
        }
    }
}

/// Reads a Parquet file, of which each row group says how large its columns are.
fn parquet(file: File, columns: Option<&[String]>) -> SqlResult<ParquetRecordBatchReader> {
    let written = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(unreadable)?;
    let places = places(written.schema(), columns)?;
    let mask = ProjectionMask::roots(written.parquet_schema(), places);
    for group in written.metadata().row_groups() {
        let chunks = group.columns().iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf));
        for (_, chunk) in chunks {
            let bytes = [chunk.uncompressed_size(), chunk.compressed_size(), chunk.num_values()];
            if bytes.iter().any(|count| *count < 0) {
                return Err(unreadable("a column has a length below 0"));
            }
            if bytes.iter().any(|count| *count > CHUNK_BYTES_MAX) {
                let message = format!("a column of a row group has more than {CHUNK_BYTES_MAX} bytes");
                let hint = "write row groups of fewer rows";
                return Err(SqlError::new(SqlState::ProgramLimitExceeded, message).hint(hint));
            }
        }
    }
    let fields: Vec<_> = written.schema().fields().iter().map(shared).collect();
    let schema = Schema::new_with_metadata(fields, written.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(written.metadata()), options).map_err(unreadable)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(unreadable)
}

/// A field whose values share bytes: a value of a dictionary that many rows have is there once.
fn shared(field: &FieldRef) -> FieldRef {
    let form = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => match &**values {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            other => other.clone(),
        },
        DataType::List(item) => DataType::List(shared(item)),
        DataType::LargeList(item) => DataType::LargeList(shared(item)),
        DataType::FixedSizeList(item, count) => DataType::FixedSizeList(shared(item), *count),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(shared).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(shared(entries), *is_sorted),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(form))
}

/// The places of the columns that are wanted.
fn places(schema: &SchemaRef, columns: Option<&[String]>) -> SqlResult<Vec<usize>> {
    let Some(columns) = columns else { return Ok((0..schema.fields().len()).collect()) };
    let place = |name: &String| {
        let missing = || SqlError::new(SqlState::UndefinedColumn, format!("the data has no column \"{name}\""));
        schema.fields().iter().position(|field| field.name() == name).ok_or_else(missing)
    };
    columns.iter().map(place).collect()
}

/// Batches of others on their way to the table.
struct Taking {
    copy: CopyIn,
    columns: ForeignColumns,
    /// The number of the next row, from 1.
    next: u64,
}

impl Taking {
    fn new(copy: CopyIn, settings: OutputSettings) -> Self {
        let columns = ForeignColumns::new(&copy.columns, settings);
        Self { copy, columns, next: 1 }
    }

    fn batch(&mut self, batch: &RecordBatch, take: &mut Take<'_>) -> Result<(), Refused> {
        for from in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            let part = batch.slice(from, BATCH_ROWS.min(batch.num_rows() - from));
            let taken = self.columns.batch(&part).map_err(|unfit| {
                let row = unfit.row.map(|row| self.next + row as u64);
                let name = unfit.column.and_then(|place| self.copy.columns.get(place));
                let mut context = format!("COPY {}", self.copy.table);
                if let Some(row) = row {
                    context.push_str(&format!(", row {row}"));
                }
                if let Some((name, _)) = name {
                    context.push_str(&format!(", column {name}"));
                }
                Refused { error: unfit.error.context(context), row }
            })?;
            take(Rows { batch: taken, places: Place::Rows(self.next) })?;
            self.next += part.num_rows() as u64;
        }
        Ok(())
    }
}

/// Puts a body into a file without a name, which is gone with who reads it.
fn put_down(mut body: Body, folder: &Path) -> SqlResult<File> {
    let refused = |error: io::Error| error_of(error, "put down");
    fs::create_dir_all(folder).map_err(refused)?;
    let path = folder.join(format!("{:032x}", rand::random::<u128>()));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(refused)?;
    fs::remove_file(&path).map_err(refused)?;
    io::copy(&mut body, &mut file).map_err(refused)?;
    file.rewind().map_err(refused)?;
    Ok(file)
}

//! Bytes of a COPY … FROM STDIN become batches of columns.
//!
//! The client cuts the data into messages anywhere. A record that a message holds whole is decoded in place; one that
//! goes over is put together first.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perigee_engine::CopyIn;
use perigee_plan::command::{CopyFormat, CopyKind};
use perigee_types::text::OutputSettings;
use perigee_types::{SqlError, SqlResult, SqlState};

use crate::binary_format::BinaryReader;
use crate::column::Column;
use crate::{DecodeBinary, csv, text, utf8};

/// Rows of a batch.
pub const BATCH_ROWS: usize = 8_192;
/// Input of a batch: wide rows make smaller ones.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes of one record.
const RECORD_BYTES_MAX: usize = 256 << 20;
/// Characters of the data that an error shows, as in PostgreSQL.
const SHOWN_CHARS: usize = 100;

/// Decodes the data of one COPY.
pub struct CopyDecoder {
    copy: CopyIn,
    schema: SchemaRef,
    columns: Vec<Column>,
    force_not_null: Vec<bool>,
    force_null: Vec<bool>,
    framing: Framing,
    /// The beginning of a record whose end has not come.
    pending: Vec<u8>,
    /// The end marker came: what follows is ignored.
    ended: bool,
    rows: usize,
    bytes: usize,
    line: u64,
    /// The line of each row of the batch.
    lines: Vec<u64>,
    /// Lines end with CR LF, as the first one does.
    carriage_returns: Option<bool>,
    spans: Vec<(usize, usize)>,
    fields: Vec<csv::Field>,
    scratch: Vec<u8>,
}

enum Framing {
    Text(text::Lines),
    Csv(csv::Records, csv::Dialect),
    Binary(BinaryReader),
}

impl CopyDecoder {
    /// For a COPY. `binary` decodes values of the binary format, which only some doors take.
    #[must_use]
    pub fn new(copy: CopyIn, settings: OutputSettings, binary: DecodeBinary) -> Self {
        let fields: Vec<_> = copy.columns.iter().map(|(name, ty)| ty.field(name, true)).collect();
        let columns = copy.columns.iter().map(|(_, ty)| Column::new(ty, settings, BATCH_ROWS)).collect();
        let flags = |places: &[usize]| (0..copy.columns.len()).map(|i| places.contains(&i)).collect::<Vec<bool>>();
        let framing = match copy.format.kind {
            CopyKind::Text => Framing::Text(text::Lines::default()),
            CopyKind::Csv => {
                let dialect = dialect(&copy.format);
                Framing::Csv(csv::Records::new(dialect), dialect)
            }
            CopyKind::Binary => Framing::Binary(BinaryReader::new(binary)),
        };
        Self {
            schema: Arc::new(Schema::new(fields)),
            columns,
            force_not_null: flags(&copy.format.force_not_null),
            force_null: flags(&copy.format.force_null),
            framing,
            pending: Vec::new(),
            ended: false,
            rows: 0,
            bytes: 0,
            line: 0,
            lines: Vec::new(),
            carriage_returns: None,
            spans: Vec::new(),
            fields: Vec::new(),
            scratch: Vec::new(),
            copy,
        }
    }

    /// Takes input until it is used up or a batch is full; returns what is left.
    ///
    /// # Errors
    /// `22P04` and what the values give, with the line as context.
    pub fn feed<'a>(&mut self, data: &'a [u8]) -> SqlResult<&'a [u8]> {
        let mut data = data;
        while !data.is_empty() && !self.is_full() {
            if self.ended {
                return Ok(&[]);
            }
            let end = match &mut self.framing {
                Framing::Text(lines) => lines.end(data),
                Framing::Csv(records, _) => records.end(data),
                Framing::Binary(_) => return self.feed_binary(data),
            };
            let Some(end) = end else {
                if self.pending.len() + data.len() > RECORD_BYTES_MAX {
                    return Err(self.in_line(too_long(), None));
                }
                self.pending.extend_from_slice(data);
                return Ok(&[]);
            };
            self.bytes += end;
            if self.pending.is_empty() {
                self.record(&data[..end])?;
            } else {
                let mut record = std::mem::take(&mut self.pending);
                record.extend_from_slice(&data[..end]);
                self.record(&record)?;
                record.clear();
                self.pending = record;
            }
            data = &data[end + 1..];
        }
        Ok(data)
    }

    /// Whether the batch must be taken before more is fed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// The client has sent everything: what it left without a line end is the last record.
    ///
    /// # Errors
    /// As [`CopyDecoder::feed`].
    pub fn end(&mut self) -> SqlResult<()> {
        match &mut self.framing {
            Framing::Binary(reader) => reader.end(&self.pending).map_err(|error| self.in_line(error, None)),
            Framing::Csv(records, _) if records.in_quotes && !self.ended => {
                let error = SqlError::new(SqlState::BadCopyFileFormat, "unterminated CSV quoted field");
                self.line += 1;
                let pending = std::mem::take(&mut self.pending);
                Err(self.in_line(error, Some(&pending)))
            }
            _ if !self.pending.is_empty() && !self.ended => {
                let record = std::mem::take(&mut self.pending);
                self.record(&record)
            }
            _ => Ok(()),
        }
    }

    /// Takes the rows so far, `None` where there are none.
    ///
    /// # Errors
    /// `XX000` for a mistake here.
    pub fn batch(&mut self) -> SqlResult<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns = self.columns.iter_mut().map(Column::finish).collect::<SqlResult<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(SqlError::internal)
    }

    /// An error about the batch that was taken last: about a row of it, or about none, which is told with the line that
    /// the data has come to.
    #[must_use]
    pub fn in_batch(&self, error: SqlError, row: Option<usize>) -> SqlError {
        if error.fields().context.is_some() {
            return error;
        }
        let line = row.and_then(|row| self.lines.get(row).copied()).unwrap_or(self.line);
        error.context(format!("COPY {}, line {line}", self.copy.table))
    }

    /// An error that came while the next line was waited for.
    #[must_use]
    pub fn in_next_line(&self, error: SqlError) -> SqlError {
        error.context(format!("COPY {}, line {}", self.copy.table, self.line + 1))
    }

    /// The batch was taken over: errors from here on concern later lines.
    pub fn batch_written(&mut self) {
        self.lines.clear();
    }

    /// The line of each row of the batch that was taken last, for who writes it while later lines are decoded.
    #[must_use]
    pub fn take_lines(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.lines)
    }

    /// The line that the data has come to, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line.max(1)
    }

    /// One line or record, without its newline.
    fn record(&mut self, record: &[u8]) -> SqlResult<()> {
        self.line += 1;
        let carriage_returns = *self.carriage_returns.get_or_insert(record.ends_with(b"\r"));
        let record = if carriage_returns { record.strip_suffix(b"\r").unwrap_or(record) } else { record };
        if record == b"\\." {
            self.ended = true;
            return Ok(());
        }
        if self.copy.format.header && self.line == 1 {
            return Ok(());
        }
        utf8(record).map_err(|error| self.in_line(error, None))?;
        match self.framing {
            Framing::Text(_) => self.text_record(record)?,
            Framing::Csv(_, dialect) => self.csv_record(record, dialect)?,
            Framing::Binary(_) => {}
        }
        self.rows += 1;
        self.lines.push(self.line);
        Ok(())
    }

    fn text_record(&mut self, record: &[u8]) -> SqlResult<()> {
        let has_escapes = memchr::memchr(b'\\', record).is_some();
        let mut spans = std::mem::take(&mut self.spans);
        text::split(record, self.copy.format.delimiter, has_escapes, &mut spans);
        self.check_surplus(spans.len(), record)?;
        // A table without columns has empty lines.
        for (i, column) in self.columns.iter_mut().enumerate() {
            let Some(&(start, end)) = spans.get(i) else { return Err(self.missing(i, record)) };
            let field = &record[start..end];
            if field == self.copy.format.null.as_bytes() {
                column.push_null();
                continue;
            }
            let pushed = if has_escapes && field.contains(&b'\\') {
                self.scratch.clear();
                text::unescape(field, &mut self.scratch);
                utf8(&self.scratch).and_then(|text| column.push_text(text))
            } else {
                utf8(field).and_then(|text| column.push_text(text))
            };
            if let Err(error) = pushed {
                let shown = if has_escapes && field.contains(&b'\\') { self.scratch.clone() } else { field.to_vec() };
                return Err(self.in_column(error, i, &shown));
            }
        }
        self.spans = spans;
        Ok(())
    }

    fn csv_record(&mut self, record: &[u8], dialect: csv::Dialect) -> SqlResult<()> {
        // An error names the last of the record's lines.
        self.line += memchr::memchr_iter(b'\n', record).count() as u64;
        let mut fields = std::mem::take(&mut self.fields);
        csv::split(record, dialect, &mut self.scratch, &mut fields);
        self.check_surplus(fields.len(), record)?;
        let null = self.copy.format.null.as_bytes();
        for (i, column) in self.columns.iter_mut().enumerate() {
            let Some(&csv::Field { start, end, quoted }) = fields.get(i) else {
                return Err(self.missing(i, record));
            };
            let field = &self.scratch[start..end];
            let is_null = field == null && if quoted { self.force_null[i] } else { !self.force_not_null[i] };
            if is_null {
                column.push_null();
                continue;
            }
            if let Err(error) = utf8(field).and_then(|text| column.push_text(text)) {
                let shown = field.to_vec();
                return Err(self.in_column(error, i, &shown));
            }
        }
        self.fields = fields;
        Ok(())
    }

    /// Refuses a record with more values than columns, before any of them is read.
    fn check_surplus(&self, count: usize, record: &[u8]) -> SqlResult<()> {
        if count > self.columns.len() && !(self.columns.is_empty() && record.is_empty()) {
            let error = SqlError::new(SqlState::BadCopyFileFormat, "extra data after last expected column");
            return Err(self.in_line(error, Some(record)));
        }
        Ok(())
    }

    /// The error of a record that ends before a column. The values before it are read first: PostgreSQL tells of the
    /// leftmost mistake.
    fn missing(&self, column: usize, record: &[u8]) -> SqlError {
        let name = self.copy.columns.get(column).map_or("", |(name, _)| name);
        let error = SqlError::new(SqlState::BadCopyFileFormat, format!("missing data for column \"{name}\""));
        self.in_line(error, Some(record))
    }

    fn feed_binary<'a>(&mut self, data: &'a [u8]) -> SqlResult<&'a [u8]> {
        let mut data = data;
        if !self.pending.is_empty() {
            if self.pending.len() + data.len() > RECORD_BYTES_MAX {
                return Err(self.in_line(too_long(), None));
            }
            let before = self.pending.len();
            let mut together = std::mem::take(&mut self.pending);
            together.extend_from_slice(data);
            let Some(used) = self.tuple(&together)? else {
                self.pending = together;
                return Ok(&[]);
            };
            // The piece was not whole before, so it ends in this message.
            data = data.get(used.saturating_sub(before)..).unwrap_or_default();
            together.clear();
            self.pending = together;
        }
        while !data.is_empty() && !self.is_full() {
            let Some(used) = self.tuple(data)? else {
                self.pending.extend_from_slice(data);
                return Ok(&[]);
            };
            data = &data[used..];
        }
        Ok(data)
    }

    /// One piece of binary data at the start of `bytes`: its length, `None` where its end has not come.
    fn tuple(&mut self, bytes: &[u8]) -> SqlResult<Option<usize>> {
        let Framing::Binary(reader) = &mut self.framing else { return Ok(None) };
        match reader.tuple(bytes, &self.copy.columns, &mut self.columns) {
            Ok(None) => Ok(None),
            Ok(Some((used, is_row))) => {
                self.bytes += used;
                if is_row {
                    self.rows += 1;
                    self.line += 1;
                    self.lines.push(self.line);
                }
                Ok(Some(used))
            }
            Err((error, column)) => {
                self.line += 1;
                Err(match column {
                    Some(column) => self.at_column(error, column),
                    None => self.in_line(error, None),
                })
            }
        }
    }

    /// `COPY t, line 3: "the line"`
    fn in_line(&self, error: SqlError, record: Option<&[u8]>) -> SqlError {
        let at = format!("COPY {}, line {}", self.copy.table, self.line.max(1));
        error.context(match record {
            Some(record) => format!("{at}: \"{}\"", shown(record)),
            None => at,
        })
    }

    /// `COPY t, line 3, column b`
    fn at_column(&self, error: SqlError, column: usize) -> SqlError {
        let name = self.copy.columns.get(column).map_or("", |(name, _)| name.as_str());
        error.context(format!("COPY {}, line {}, column {name}", self.copy.table, self.line))
    }

    /// `COPY t, line 3, column b: "x"`
    fn in_column(&self, error: SqlError, column: usize, value: &[u8]) -> SqlError {
        let name = self.copy.columns.get(column).map_or("", |(name, _)| name.as_str());
        error.context(format!("COPY {}, line {}, column {name}: \"{}\"", self.copy.table, self.line, shown(value)))
    }
}

/// The CSV characters of a format.
#[must_use]
pub fn dialect(format: &CopyFormat) -> csv::Dialect {
    csv::Dialect { delimiter: format.delimiter, quote: format.quote, escape: format.escape }
}

/// As much of a value as an error shows.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

fn too_long() -> SqlError {
    SqlError::new(SqlState::ProgramLimitExceeded, "a record of the COPY data is too long")
        .detail(format!("The limit is {RECORD_BYTES_MAX} bytes."))
}

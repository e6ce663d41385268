//! Rows as CSV: COPY's, whose first line names the columns.

use std::io::Read as _;

use perigee_copy::{CopyDecoder, csv, utf8};
use perigee_engine::CopyIn;
use perigee_types::text::OutputSettings;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::Refused;
use super::body::{Body, error_of};
use super::source::{Place, Rows, Take};

/// Bytes of the line with the names.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// Bytes that are decoded at a time.
const PART_BYTES: usize = 64 << 10;
/// What some programs begin UTF-8 with.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How CSV is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvForm {
    /// The first line has the names of the columns.
    pub header: bool,
    /// Stands between fields.
    pub delimiter: char,
    /// Stands around a field that holds what means something.
    pub quote: char,
    /// Stands before a quote inside of quotes.
    pub escape: char,
    /// What NULL looks like.
    pub null: String,
}

impl Default for CsvForm {
    fn default() -> Self {
        Self { header: true, delimiter: ',', quote: '"', escape: '"', null: String::new() }
    }
}

impl CsvForm {
    /// What COPY is told of it.
    pub(crate) fn options(&self) -> String {
        let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let one = |c: char| literal(&c.to_string());
        format!(
            " WITH (FORMAT csv, HEADER {}, DELIMITER {}, QUOTE {}, ESCAPE {}, NULL {})",
            self.header,
            one(self.delimiter),
            one(self.quote),
            one(self.escape),
            literal(&self.null)
        )
    }

    fn dialect(&self) -> SqlResult<csv::Dialect> {
        let byte = |what: &str, c: char| {
            let wrong = || {
                SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!("the {what} of CSV must be one character of one byte"),
                )
            };
            u8::try_from(c).ok().filter(u8::is_ascii).ok_or_else(wrong)
        };
        Ok(csv::Dialect {
            delimiter: byte("delimiter", self.delimiter)?,
            quote: byte("quote", self.quote)?,
            escape: byte("escape", self.escape)?,
        })
    }
}

/// Rows that are CSV.
pub(crate) struct CsvRows {
    body: Body,
    /// What was read of the body, to see the names.
    begin: Vec<u8>,
    pub(crate) form: CsvForm,
    /// The names of the first line.
    pub(crate) names: Option<Vec<String>>,
}

impl CsvRows {
    pub(crate) fn open(form: CsvForm, mut body: Body) -> SqlResult<Self> {
        let dialect = form.dialect()?;
        let mut begin = part(&mut body, PART_BYTES)?;
        if begin.starts_with(MARK) {
            begin.drain(..MARK.len());
        }
        if !form.header {
            return Ok(Self { body, begin, form, names: None });
        }
        let mut records = csv::Records::new(dialect);
        let mut seen = 0;
        let end = loop {
            if let Some(end) = records.end(&begin[seen..]) {
                break seen + end;
            }
            seen = begin.len();
            if seen > HEADER_BYTES_MAX {
                return Err(SqlError::new(SqlState::ProgramLimitExceeded, "the line with the names is too long"));
            }
            let more = part(&mut body, PART_BYTES)?;
            if more.is_empty() {
                break seen;
            }
            begin.extend(more);
        };
        let line = begin[..end].strip_suffix(b"\r").unwrap_or(&begin[..end]);
        if line.is_empty() {
            return Err(SqlError::new(SqlState::BadCopyFileFormat, "there is no line with the names of the columns"));
        }
        let (mut text, mut fields) = (Vec::new(), Vec::new());
        csv::split(line, dialect, &mut text, &mut fields);
        let name = |field: &csv::Field| Ok(utf8(&text[field.start..field.end])?.to_owned());
        let names = fields.iter().map(name).collect::<SqlResult<_>>()?;
        Ok(Self { body, begin, form, names: Some(names) })
    }

    pub(crate) fn read(mut self, copy: CopyIn, settings: OutputSettings, take: &mut Take<'_>) -> Result<(), Refused> {
        let mut decoder = CopyDecoder::new(copy, settings, no_binary);
        let mut bytes = std::mem::take(&mut self.begin);
        while !bytes.is_empty() {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                rest = decoder.feed(rest).map_err(|error| Refused { error, row: Some(decoder.line()) })?;
                if decoder.is_full() {
                    give(&mut decoder, take)?;
                }
            }
            bytes = part(&mut self.body, PART_BYTES).map_err(|error| Refused { error, row: None })?;
        }
        decoder.end().map_err(|error| Refused { error, row: Some(decoder.line()) })?;
        give(&mut decoder, take)
    }
}

fn no_binary(_: &[u8], _: &SqlType) -> SqlResult<Value> {
    Err(SqlError::internal("CSV has no binary values"))
}

fn give(decoder: &mut CopyDecoder, take: &mut Take<'_>) -> Result<(), Refused> {
    match decoder.batch().map_err(|error| Refused { error, row: None })? {
        Some(batch) => take(Rows { batch, places: Place::Lines(decoder.take_lines()) }),
        None => Ok(()),
    }
}

/// The next bytes, none at the end.
fn part(body: &mut Body, most: usize) -> SqlResult<Vec<u8>> {
    let mut bytes = Vec::new();
    body.take(most as u64).read_to_end(&mut bytes).map_err(|error| error_of(error, "read"))?;
    Ok(bytes)
}

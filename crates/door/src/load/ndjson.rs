//! Rows as NDJSON: an object per line. The columns are the keys of the first one, unless they are said.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead as _, Read as _};
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perigee_copy::{BATCH_ROWS, Column, shown};
use perigee_engine::CopyIn;
use perigee_types::text::OutputSettings;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Refused;
use super::body::{Body, error_of};
use super::source::{Place, Rows, Take};
use crate::value::value;

/// Bytes of a line.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Bytes of the lines of a batch: wide rows make smaller ones.
const BATCH_BYTES: usize = 4 << 20;

/// Rows that are NDJSON.
pub(crate) struct NdjsonRows {
    body: Body,
    /// The line that is read next, and its number, from 1; nothing at the end.
    line: Vec<u8>,
    number: u64,
    /// The keys of the first row.
    pub(crate) names: Option<Vec<String>>,
}

impl NdjsonRows {
    pub(crate) fn open(body: Body) -> SqlResult<Self> {
        let mut rows = Self { body, line: Vec::new(), number: 0, names: None };
        if rows.advance()? {
            let names = serde_json::Deserializer::from_slice(&rows.line).deserialize_map(Names);
            rows.names = Some(names.map_err(|error| malformed(&error).context(format!("line {}", rows.number)))?);
        }
        Ok(rows)
    }

    /// Reads the next line that is not empty; whether there is one.
    fn advance(&mut self) -> SqlResult<bool> {
        loop {
            self.line.clear();
            let most = LINE_BYTES_MAX as u64 + 1;
            let count = (&mut self.body).take(most).read_until(b'\n', &mut self.line);
            let count = count.map_err(|error| error_of(error, "read"))?;
            self.number += 1;
            if count > LINE_BYTES_MAX {
                let message = format!("line {} has more than {LINE_BYTES_MAX} bytes", self.number);
                return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
            }
            if count == 0 {
                return Ok(false);
            }
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }

    pub(crate) fn read(mut self, copy: CopyIn, settings: OutputSettings, take: &mut Take<'_>) -> Result<(), Refused> {
        let places = copy.columns.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        let fields: Vec<_> = copy.columns.iter().map(|(name, ty)| ty.field(name.as_str(), true)).collect();
        let mut rows = Gathering {
            places,
            schema: Arc::new(Schema::new(fields)),
            columns: copy.columns.iter().map(|(_, ty)| Column::new(ty, settings, BATCH_ROWS)).collect(),
            lines: Vec::new(),
            bytes: 0,
            settings,
            copy,
        };
        while !self.line.is_empty() {
            let number = self.number;
            rows.row(&self.line, number).map_err(|error| Refused { error, row: Some(number) })?;
            if rows.lines.len() >= BATCH_ROWS || rows.bytes >= BATCH_BYTES {
                rows.give(take)?;
            }
            self.advance().map_err(|error| Refused { error, row: Some(self.number) })?;
        }
        rows.give(take)
    }
}

/// Rows on their way into a batch.
struct Gathering {
    copy: CopyIn,
    places: HashMap<String, usize>,
    schema: Arc<Schema>,
    columns: Vec<Column>,
    lines: Vec<u64>,
    bytes: usize,
    settings: OutputSettings,
}

impl Gathering {
    fn row(&mut self, line: &[u8], number: u64) -> SqlResult<()> {
        let at = format!("COPY {}, line {number}", self.copy.table);
        let mut values = vec![None; self.columns.len()];
        let seed = RowSeed { places: &self.places, values: &mut values };
        let mut json = serde_json::Deserializer::from_slice(line);
        let unknown = seed.deserialize(&mut json).and_then(|unknown| json.end().map(|()| unknown));
        if let Some(name) = unknown.map_err(|error| malformed(&error).context(at.clone()))? {
            let message = format!("\"{name}\" is no column that is loaded");
            let hint = "the columns are the keys of the first row, unless the request names them";
            return Err(SqlError::new(SqlState::BadCopyFileFormat, message).hint(hint).context(at));
        }
        let types = self.copy.columns.iter();
        for ((column, given), (name, ty)) in self.columns.iter_mut().zip(values).zip(types) {
            let Some(given) = given else {
                column.push_null();
                continue;
            };
            push(column, given, ty, &self.settings).map_err(|error| {
                error.context(format!("{at}, column {name}: \"{}\"", shown(given.get().as_bytes())))
            })?;
        }
        self.lines.push(number);
        self.bytes += line.len();
        Ok(())
    }

    fn give(&mut self, take: &mut Take<'_>) -> Result<(), Refused> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let internal = |error| Refused { error, row: None };
        let columns = self.columns.iter_mut().map(Column::finish).collect::<SqlResult<Vec<_>>>().map_err(internal)?;
        let lines = std::mem::take(&mut self.lines);
        self.bytes = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        take(Rows { batch: batch.map_err(|error| internal(SqlError::internal(error)))?, places: Place::Lines(lines) })
    }
}

/// Appends a value of JSON, as [`value`] reads it, without a copy where that is not needed.
fn push(column: &mut Column, given: &RawValue, ty: &SqlType, settings: &OutputSettings) -> SqlResult<()> {
    let text = given.get();
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|text| !text.contains('\\'));
    match (text.as_bytes().first(), ty, inside) {
        (Some(b'n'), ..) => {
            column.push_null();
            Ok(())
        }
        (_, SqlType::Json | SqlType::Jsonb, _) => column.push_text(text),
        (_, _, Some(inside)) => column.push_text(inside),
        (Some(b'"' | b'['), ..) => column.push(value(given, ty, settings)?),
        _ => column.push_text(text),
    }
}

fn malformed(error: &serde_json::Error) -> SqlError {
    SqlError::new(SqlState::BadCopyFileFormat, format!("a line is an object of JSON: {error}"))
}

/// Reads the keys of an object.
struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Reads the values of an object, each to its place; gives a key that has none.
struct RowSeed<'a, 'de> {
    places: &'a HashMap<String, usize>,
    values: &'a mut Vec<Option<&'de RawValue>>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, 'de> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, 'de> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        let mut unknown = None;
        while let Some(place) = map.next_key_seed(KeySeed(self.places))? {
            match place {
                Ok(place) => self.values[place] = Some(map.next_value()?),
                Err(name) => {
                    map.next_value::<IgnoredAny>()?;
                    unknown = unknown.or(Some(name));
                }
            }
        }
        Ok(unknown)
    }
}

/// Reads a key as the place of its column, or as itself where it has none.
struct KeySeed<'a>(&'a HashMap<String, usize>);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(name).copied().ok_or_else(|| name.to_owned()))
    }
}

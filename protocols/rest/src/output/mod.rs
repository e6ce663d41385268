//! Results as bytes of a media type, block by block.

mod arrow;
mod csv;
mod json;
mod parquet;

use perigee_engine::{Notice, ObjectNames, RowBlock, Severity};
use perigee_plan::ResultColumn;
use perigee_types::text::{DateStyle, OutputSettings};
use perigee_types::{Oid, SqlResult, SqlType, Value};
use serde_json::json;

pub(crate) use json::write_value;
use perigee_door::run::for_rows;

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One object with columns and rows.
    Json,
    /// One object per line and row.
    Ndjson,
    /// RFC 4180 with a header line.
    Csv,
    /// Arrow's IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Arrow => "application/vnd.apache.arrow.stream",
            Format::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// What a header `Accept` asks for; `None` where nothing of it can be given.
    pub(crate) fn accepted(accept: Option<&str>) -> Option<Self> {
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return Some(Format::Json) };
        let mut best: Option<(f32, Format)> = None;
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "*/*" | "application/*" | "application/json" => Format::Json,
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Format::Ndjson,
                "text/csv" | "text/*" => Format::Csv,
                "application/vnd.apache.arrow.stream" => Format::Arrow,
                "application/vnd.apache.parquet" => Format::Parquet,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
            let Some(quality) = quality.filter(|quality| *quality > 0.0) else { continue };
            if best.is_none_or(|(most, _)| quality > most) {
                best = Some((quality, format));
            }
        }
        best.map(|(_, format)| format)
    }

    /// What writes it.
    pub(crate) fn encoder(self, style: Style) -> Box<dyn Encoder> {
        match self {
            Format::Json => Box::new(json::JsonEncoder::new(style)),
            Format::Ndjson => Box::new(json::NdjsonEncoder::new(style)),
            Format::Csv => Box::new(csv::CsvEncoder::new(style)),
            Format::Arrow => Box::new(arrow::ArrowEncoder::default()),
            Format::Parquet => Box::new(parquet::ParquetEncoder::default()),
        }
    }
}

/// How values are written as text.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) settings: OutputSettings,
    /// Names of objects, for `regclass` and the like.
    pub(crate) names: Option<ObjectNames>,
    /// Rows of JSON as arrays in the order of the columns, not as objects.
    pub(crate) arrays: bool,
    /// bytea as base64, not as hexadecimal digits behind `\x`.
    pub(crate) base64: bool,
}

impl Style {
    /// Dates are always ISO 8601; the time zone is the session's.
    pub(crate) fn new(settings: OutputSettings) -> Self {
        let settings = OutputSettings { date_style: DateStyle::Iso, ..settings };
        Self { settings, names: None, arrays: false, base64: false }
    }

    /// The name that an oid of `ty` is shown as.
    fn name(&self, value: &Value, ty: &SqlType) -> Option<String> {
        match (value, ty, &self.names) {
            (
                Value::Oid(oid),
                SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole,
                Some(names),
            ) => Some(names.text(Oid(*oid), ty)),
            _ => None,
        }
    }
}

/// What stands behind the rows.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// `SELECT 3`, `INSERT 0 1`, `CREATE TABLE`.
    pub(crate) command: String,
    /// Rows of the result, or those that a command has counted.
    pub(crate) rows: Option<u64>,
    /// There are more rows than were asked for.
    pub(crate) truncated: bool,
    /// Messages beside the result.
    pub(crate) notices: Vec<serde_json::Value>,
}

impl From<perigee_door::End> for End {
    fn from(end: perigee_door::End) -> Self {
        let severity = |severity| match severity {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let notice = |notice: Notice| {
            let (severity, error) = (severity(notice.severity), &notice.error);
            json!({"severity": severity, "sqlstate": error.state().code(), "message": error.message()})
        };
        let notices = end.notices.into_iter().map(notice).collect();
        Self { command: end.command, rows: end.rows, truncated: end.truncated, notices }
    }
}

/// Writes one result.
pub(crate) trait Encoder: Send {
    /// What stands before the rows. Not called for a command without rows.
    fn begin(&mut self, columns: &[ResultColumn], out: &mut Vec<u8>) -> SqlResult<()>;

    /// Some rows.
    fn block(&mut self, block: RowBlock, out: &mut Vec<u8>) -> SqlResult<()>;

    /// What stands behind the rows, once they are committed.
    fn end(&mut self, end: &End, out: &mut Vec<u8>) -> SqlResult<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_what_is_accepted_is_given() {
        for (accept, expected) in [
            (None, Some(Format::Json)),
            (Some("*/*"), Some(Format::Json)),
            (Some("text/html, text/csv;q=0.5"), Some(Format::Csv)),
            (Some("text/csv;q=0.5, application/x-ndjson"), Some(Format::Ndjson)),
            (Some("application/vnd.apache.arrow.stream"), Some(Format::Arrow)),
            (Some("application/vnd.apache.parquet, */*;q=0.1"), Some(Format::Parquet)),
            (Some("Application/VND.apache.arrow.stream"), Some(Format::Arrow)),
            (Some("application/json;q=0"), None),
            (Some("image/png"), None),
            (Some("text/csv;q=x"), None),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept:?}");
        }
    }
}

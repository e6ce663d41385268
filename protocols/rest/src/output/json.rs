//! JSON and NDJSON.
//!
//! | SQL | JSON |
//! | --- | --- |
//! | integers, `numeric`, floats | a number with all its digits; NaN and the infinities as strings |
//! | `boolean` | `true`, `false` |
//! | `json`, `jsonb` | as it is |
//! | `timestamp`, `timestamptz`, `date`, `time` | ISO 8601, `timestamptz` with the offset of the session's zone |
//! | `bytea` | `"\\x…"`, hexadecimal; base64 on request |
//! | arrays | arrays |
//! | anything else | its text |

use base64::Engine as _;
use perigee_engine::RowBlock;
use perigee_plan::ResultColumn;
use perigee_types::text::format_into;
use perigee_types::{Row, SqlResult, SqlType, Value};

use super::{Encoder, End, Style, for_rows};

/// The names of a result's columns, as JSON, with their types.
type Columns = Vec<(Vec<u8>, SqlType)>;

fn columns_of(columns: &[ResultColumn]) -> Columns {
    columns.iter().map(|column| (string(&column.name), column.ty.clone())).collect()
}

/// One object with columns, rows and what the command says of itself.
pub(crate) struct JsonEncoder {
    style: Style,
    columns: Columns,
    /// Whether there was a begin, and a row.
    begun: bool,
    any: bool,
}

impl JsonEncoder {
    pub(crate) fn new(style: Style) -> Self {
        Self { style, columns: Vec::new(), begun: false, any: false }
    }
}

impl Encoder for JsonEncoder {
    fn begin(&mut self, columns: &[ResultColumn], out: &mut Vec<u8>) -> SqlResult<()> {
        self.columns = columns_of(columns);
        self.begun = true;
        out.extend_from_slice(b"{\"columns\":[");
        for (at, (name, ty)) in self.columns.iter().enumerate() {
            comma(out, at);
            out.extend_from_slice(b"{\"name\":");
            out.extend_from_slice(name);
            out.extend_from_slice(b",\"type\":");
            out.extend(string(&ty.to_string()));
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"rows\":[");
        Ok(())
    }

    fn block(&mut self, block: RowBlock, out: &mut Vec<u8>) -> SqlResult<()> {
        for_rows(block, |row| {
            if std::mem::replace(&mut self.any, true) {
                out.push(b',');
            }
            out.push(b'\n');
            write_row(out, &row, &self.columns, &self.style);
        });
        Ok(())
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) -> SqlResult<()> {
        if !self.begun {
            out.extend_from_slice(b"{\"columns\":[],\"rows\":[");
        }
        out.extend_from_slice(b"],\"command\":");
        out.extend(string(&end.command));
        if let Some(rows) = end.rows {
            out.extend_from_slice(format!(",\"row_count\":{rows}").as_bytes());
        }
        if end.truncated {
            out.extend_from_slice(b",\"truncated\":true");
        }
        if !end.notices.is_empty() {
            out.extend_from_slice(b",\"notices\":");
            out.extend_from_slice(serde_json::Value::from(end.notices.clone()).to_string().as_bytes());
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// One object per row and line.
pub(crate) struct NdjsonEncoder {
    style: Style,
    columns: Columns,
}

impl NdjsonEncoder {
    pub(crate) fn new(style: Style) -> Self {
        Self { style, columns: Vec::new() }
    }
}

impl Encoder for NdjsonEncoder {
    fn begin(&mut self, columns: &[ResultColumn], _: &mut Vec<u8>) -> SqlResult<()> {
        self.columns = columns_of(columns);
        Ok(())
    }

    fn block(&mut self, block: RowBlock, out: &mut Vec<u8>) -> SqlResult<()> {
        for_rows(block, |row| {
            write_row(out, &row, &self.columns, &self.style);
            out.push(b'\n');
        });
        Ok(())
    }

    fn end(&mut self, _: &End, _: &mut Vec<u8>) -> SqlResult<()> {
        Ok(())
    }
}

fn write_row(out: &mut Vec<u8>, row: &Row, columns: &Columns, style: &Style) {
    out.push(if style.arrays { b'[' } else { b'{' });
    for (at, (value, (name, ty))) in row.iter().zip(columns).enumerate() {
        comma(out, at);
        if !style.arrays {
            out.extend_from_slice(name);
            out.push(b':');
        }
        write_value(out, value, ty, style);
    }
    out.push(if style.arrays { b']' } else { b'}' });
}

/// A value as JSON.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value, ty: &SqlType, style: &Style) {
    let text = |ty: &SqlType| {
        let mut text = Vec::new();
        format_into(&mut text, value, ty, &style.settings);
        text
    };
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Int2(_) | Value::Int4(_) | Value::Int8(_) => out.extend(text(ty)),
        Value::Oid(_) => match style.name(value, ty) {
            Some(name) => out.extend(string(&name)),
            None => out.extend(text(&SqlType::Oid)),
        },
        Value::Float4(_) | Value::Float8(_) | Value::Numeric(..) | Value::Wide(_) => {
            let number = text(ty);
            // "NaN", "Infinity", "-Infinity": JSON has no such numbers.
            if number.last().is_some_and(u8::is_ascii_digit) { out.extend(number) } else { quoted(out, &number) }
        }
        Value::Text(json) if matches!(ty, SqlType::Json | SqlType::Jsonb) => {
            // A line break between tokens would end a line of NDJSON; in strings JSON has none.
            out.extend(json.bytes().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }));
        }
        Value::Bytea(bytes) if style.base64 && !ty.is_kept_as_bytes() => {
            out.push(b'"');
            out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
        Value::Timestamp(_) | Value::Timestamptz(_) => quoted(out, &iso(text(ty))),
        Value::Array(values) if matches!(ty, SqlType::Record(_)) => {
            let SqlType::Record(fields) = ty else { return };
            out.push(b'{');
            for (at, (value, (name, ty))) in values.iter().zip(fields).enumerate() {
                comma(out, at);
                out.extend(string(name));
                out.push(b':');
                write_value(out, value, ty, style);
            }
            out.push(b'}');
        }
        Value::Array(values) => {
            let of = if let SqlType::Array(of) = ty { of } else { &SqlType::Text };
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                comma(out, at);
                write_value(out, value, of, style);
            }
            out.push(b']');
        }
        _ => quoted(out, &text(ty)),
    }
}

/// `2026-01-02 03:04:05+01` as ISO 8601 wants it: a T between, and minutes in the offset.
fn iso(mut text: Vec<u8>) -> Vec<u8> {
    if !text.first().is_some_and(u8::is_ascii_digit) || text.ends_with(b"BC") {
        // The infinities, and years that ISO 8601 counts otherwise, stay as PostgreSQL writes them.
        return text;
    }
    if let Some(blank) = text.iter().position(|b| *b == b' ') {
        text[blank] = b'T';
    }
    if text.len() > 3 && matches!(text[text.len() - 3], b'+' | b'-') {
        text.extend_from_slice(b":00");
    }
    text
}

fn comma(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

fn string(text: &str) -> Vec<u8> {
    // Strings are always JSON.
    serde_json::to_vec(text).unwrap_or_default()
}

/// Text that is UTF-8, as all text of values is.
fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(string(&String::from_utf8_lossy(text)));
}

#[cfg(test)]
mod tests {
    use perigee_types::text::{OutputSettings, parse};

    use super::*;

    fn check(text: &str, ty: SqlType, expected: &str) {
        let mut out = Vec::new();
        write_value(&mut out, &parse(text, &ty).unwrap(), &ty, &Style::new(OutputSettings::default()));
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text} as {ty}");
    }

    #[test]
    fn values_are_exact() {
        check("9223372036854775807", SqlType::Int8, "9223372036854775807");
        check("1.10", SqlType::Numeric(None), "1.10");
        check(
            "-12345678901234567890123456789012345678901234567890.5",
            SqlType::Numeric(None),
            "-12345678901234567890123456789012345678901234567890.5",
        );
        check("NaN", SqlType::Numeric(None), "\"NaN\"");
        check("0.1", SqlType::Float8, "0.1");
        check("1e300", SqlType::Float8, "1e+300");
        check("-Infinity", SqlType::Float8, "\"-Infinity\"");
        check("t", SqlType::Bool, "true");
        check("a\"b\nä", SqlType::Text, "\"a\\\"b\\nä\"");
        check("{\"a\":\n [1]}", SqlType::Json, "{\"a\":  [1]}");
        check("\\x00ff", SqlType::Bytea, "\"\\\\x00ff\"");
        check("2026-01-02 03:04:05.5", SqlType::Timestamp(None), "\"2026-01-02T03:04:05.5\"");
        check("2026-01-02 03:04:05+01", SqlType::Timestamptz(None), "\"2026-01-02T02:04:05+00:00\"");
        check("infinity", SqlType::Timestamptz(None), "\"infinity\"");
        check("2026-01-02", SqlType::Date, "\"2026-01-02\"");
        check("{1,NULL,3}", SqlType::Array(Box::new(SqlType::Int4)), "[1,null,3]");
        check("{a,\"b c\"}", SqlType::Array(Box::new(SqlType::Text)), "[\"a\",\"b c\"]");
    }

    #[test]
    fn bytes_are_base64_on_request() {
        let mut out = Vec::new();
        let style = Style { base64: true, ..Style::new(OutputSettings::default()) };
        write_value(&mut out, &Value::Bytea(vec![0, 255]), &SqlType::Bytea, &style);
        assert_eq!(out, b"\"AP8=\"");
    }
}

//! CSV after RFC 4180: a line of names, then one line per row. Values are PostgreSQL's text; NULL is nothing, the empty string is `""`.

use perigee_engine::RowBlock;
use perigee_plan::ResultColumn;
use perigee_types::text::format_into;
use perigee_types::{SqlResult, SqlType};

use super::{Encoder, End, Style, for_rows};

/// Writes CSV.
pub(crate) struct CsvEncoder {
    style: Style,
    types: Vec<SqlType>,
}

impl CsvEncoder {
    pub(crate) fn new(style: Style) -> Self {
        Self { style, types: Vec::new() }
    }
}

impl Encoder for CsvEncoder {
    fn begin(&mut self, columns: &[ResultColumn], out: &mut Vec<u8>) -> SqlResult<()> {
        self.types = columns.iter().map(|column| column.ty.clone()).collect();
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            field(out, column.name.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn block(&mut self, block: RowBlock, out: &mut Vec<u8>) -> SqlResult<()> {
        let mut text = Vec::new();
        for_rows(block, |row| {
            for (at, (value, ty)) in row.iter().zip(&self.types).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                if value.is_null() {
                    continue;
                }
                text.clear();
                match self.style.name(value, ty) {
                    Some(name) => text.extend_from_slice(name.as_bytes()),
                    None => format_into(&mut text, value, ty, &self.style.settings),
                }
                field(out, &text);
            }
            out.extend_from_slice(b"\r\n");
        });
        Ok(())
    }

    fn end(&mut self, _: &End, _: &mut Vec<u8>) -> SqlResult<()> {
        Ok(())
    }
}

fn field(out: &mut Vec<u8>, text: &[u8]) {
    let plain = !text.is_empty() && !text.iter().any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n'));
    if plain {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for b in text {
        if *b == b'"' {
            out.push(b'"');
        }
        out.push(*b);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use perigee_types::Value;
    use perigee_types::text::OutputSettings;

    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must() {
        let mut encoder = CsvEncoder::new(Style::new(OutputSettings::default()));
        let column = |name: &str, ty| ResultColumn { name: name.to_owned(), ty, source: None, vector: false };
        let mut out = Vec::new();
        encoder.begin(&[column("a", SqlType::Text), column("b,c", SqlType::Int4)], &mut out).unwrap();
        let text = |text: &str| Value::Text(text.to_owned());
        let rows = vec![
            vec![text("x"), Value::Int4(1)],
            vec![text("say \"a\",\nb"), Value::Null],
            vec![text(""), Value::Int4(-1)],
            vec![Value::Null, Value::Null],
        ];
        encoder.block(RowBlock::Values(rows), &mut out).unwrap();
        let expected = "a,\"b,c\"\r\nx,1\r\n\"say \"\"a\"\",\nb\",\r\n\"\",-1\r\n,\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

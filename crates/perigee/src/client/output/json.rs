//! A result as an array of objects, a row on each line.

use std::io::{self, Write};

use perigee_api::v1;
use perigee_api::v1::value::Kind;
use serde_json::value::RawValue;

use super::Cell;

/// Writes one row.
pub(super) fn row(out: &mut impl Write, columns: &[v1::Column], cells: &[Cell], is_first: bool) -> io::Result<()> {
    out.write_all(if is_first { b"\n{" as &[u8] } else { b",\n{" })?;
    for (at, (column, cell)) in columns.iter().zip(cells).enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, &column.name)?;
        out.write_all(b":")?;
        value(out, cell.as_ref(), &column.r#type)?;
    }
    out.write_all(b"}")
}

/// Numbers keep their digits; `json` and `jsonb` stand as they are.
fn value(out: &mut impl Write, kind: Option<&Kind>, ty: &str) -> io::Result<()> {
    match kind {
        None => out.write_all(b"null"),
        Some(Kind::Boolean(value)) => write!(out, "{value}"),
        Some(Kind::Integer(value)) => write!(out, "{value}"),
        Some(Kind::Array(array)) => {
            out.write_all(b"[")?;
            for (at, element) in array.values.iter().enumerate() {
                if at > 0 {
                    out.write_all(b",")?;
                }
                value(out, element.kind.as_ref(), ty.strip_suffix("[]").unwrap_or(ty))?;
            }
            out.write_all(b"]")
        }
        Some(kind) => {
            let text = perigee_grpc::text(kind);
            let stands = ty.starts_with("numeric") || ty.starts_with("json") || matches!(kind, Kind::Double(_));
            // NaN and the infinities are no numbers of JSON.
            match serde_json::from_str::<&RawValue>(&text) {
                Ok(_) if stands => out.write_all(text.as_bytes()),
                _ => Ok(serde_json::to_writer(out, &text)?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Option<Kind>, ty: &str, expected: &str) {
        let mut out = Vec::new();
        let column = v1::Column { name: "a\"".to_owned(), r#type: ty.to_owned() };
        row(&mut out, &[column], &[kind], true).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("\n{{\"a\\\"\":{expected}}}"), "{ty}");
    }

    #[test]
    fn values_become_json() {
        let text = |text: &str| Some(Kind::Text(text.to_owned()));
        check(None, "text", "null");
        check(text("1.10"), "numeric", "1.10");
        check(text("NaN"), "numeric(10,2)", "\"NaN\"");
        check(text("1"), "text", "\"1\"");
        check(text("{\"x\": [1]}"), "jsonb", "{\"x\": [1]}");
        check(Some(Kind::Integer(i64::MIN)), "bigint", "-9223372036854775808");
        check(Some(Kind::Double(f64::INFINITY)), "double precision", "\"Infinity\"");
        check(Some(Kind::Double(0.1)), "real", "0.1");
        check(Some(Kind::Bytes(vec![0, 255])), "bytea", "\"\\\\x00ff\"");
        let array = v1::Array { values: vec![v1::Value { kind: None }, v1::Value { kind: text("a") }] };
        check(Some(Kind::Array(array)), "text[]", "[null,\"a\"]");
    }
}

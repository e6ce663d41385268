//! The order of jsonb values, as bytes that compare as the values do.
//!
//! Equality, comparisons, ORDER BY, GROUP BY and DISTINCT of jsonb all go by these bytes: `1` and `1.0` have the same.

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlType, Value};

use super::super::function::{Function, overload};
use super::normal;
use super::tree::{Json, Kind};

/// `jsonb_key(jsonb)`: bytes whose order is that of the values.
pub(in crate::exec::postgres) fn key() -> Arc<ScalarUDF> {
    static KEY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Function::new(
            "jsonb_key",
            vec![overload(&[SqlType::Text], SqlType::Bytea, |args, _| {
                let source = normal(&args[0])?;
                let mut out = Vec::with_capacity(source.len() + 8);
                write(&mut out, &Json::read(&source)?);
                Ok(Value::Bytea(out))
            })],
        )
        .udf()
    });
    Arc::clone(&KEY)
}

/// Objects come last, before them arrays, booleans, numbers, strings and null.
fn write(out: &mut Vec<u8>, json: &Json<'_>) {
    match &json.kind {
        Kind::Null => out.push(1),
        Kind::String(text) => {
            out.push(2);
            string(out, text);
        }
        Kind::Number(number) => {
            out.push(3);
            self::number(out, number);
        }
        Kind::Bool(value) => out.extend([4, u8::from(*value)]),
        Kind::Array(elements) => {
            out.push(5);
            count(out, elements.len());
            elements.iter().for_each(|element| write(out, element));
        }
        Kind::Object(fields) => {
            out.push(6);
            count(out, fields.len());
            for (key, value) in fields {
                string(out, key);
                write(out, value);
            }
        }
    }
}

fn count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u64).to_be_bytes());
}

/// Bytes up to a zero, which jsonb's strings do not hold.
fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// The sign, where the first digit stands, then the digits without zeros at their end.
fn number(out: &mut Vec<u8>, number: &str) {
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let leading = if whole.is_empty() { fraction.len() - fraction.trim_start_matches('0').len() } else { 0 };
    let exponent = whole.len() as i64 - leading as i64;
    let digits = format!("{whole}{}", &fraction[leading..]);
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return out.push(1);
    }
    let start = out.len();
    out.extend((exponent ^ i64::MIN).to_be_bytes());
    out.extend_from_slice(digits.as_bytes());
    out.push(0);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    out.insert(start, if negative { 0 } else { 2 });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_compare_as_values_do() {
        let ascending = [
            "null",
            "\"\"",
            "\"a\"",
            "\"ab\"",
            "\"b\"",
            "-10.5",
            "-10",
            "-1",
            "-0.5",
            "-0.05",
            "0",
            "0.001",
            "0.05",
            "0.5",
            "1",
            "1.05",
            "1.5",
            "9",
            "10",
            "100.25",
            "false",
            "true",
            "[]",
            "[1]",
            "[2]",
            "[1, 2]",
            "{}",
            "{\"a\": 1}",
            "{\"a\": 2}",
            "{\"b\": 1}",
            "{\"a\": 1, \"b\": 1}",
        ];
        let key = |text: &str| {
            let mut out = Vec::new();
            write(&mut out, &Json::read(text).expect("json"));
            out
        };
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} {}", pair[0], pair[1]);
        }
        assert_eq!(key("1"), key("1.00"));
        assert_eq!(key("[0.0]"), key("[0]"));
    }
}

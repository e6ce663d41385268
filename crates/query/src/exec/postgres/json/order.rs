//! The order of jsonb values, as bytes that compare as the values do.
//!
//! Equality, comparisons, ORDER BY, GROUP BY and DISTINCT of jsonb all go by these bytes: `1` and `1.0` have the same.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlResult, SqlType, Value};

use super::super::function::{Eval, Function, Parameter, Returns, overload, overload_of};
use super::normal;
use super::tree::{Json, Kind};

/// `jsonb_key(jsonb)`: bytes whose order is that of the values.
pub(in crate::exec::postgres) fn key() -> Arc<ScalarUDF> {
    static KEY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Function::new(
            "jsonb_key",
            vec![overload(&[SqlType::Text], SqlType::Bytea, |args, _| key_of(&args[0]).map(Value::Bytea))],
        )
        .udf()
    });
    Arc::clone(&KEY)
}

/// GREATEST or LEAST of jsonb: the first of the arguments that no other is beyond; NULLs do not count.
pub(in crate::exec::postgres) fn extreme(greatest: bool) -> Arc<ScalarUDF> {
    type Made = LazyLock<Arc<ScalarUDF>>;
    static GREATEST: Made = LazyLock::new(|| extreme_of("greatest", |args, _| beyond(args, Ordering::Greater)));
    static LEAST: Made = LazyLock::new(|| extreme_of("least", |args, _| beyond(args, Ordering::Less)));
    Arc::clone(if greatest { &GREATEST } else { &LEAST })
}

fn extreme_of(name: &str, eval: Eval) -> Arc<ScalarUDF> {
    let values = overload_of(vec![Parameter::Any], Returns::Type(SqlType::Jsonb), eval);
    Function::new(name, vec![values.called_on_null().variadic()]).udf()
}

fn beyond(values: &[Value], side: Ordering) -> SqlResult<Value> {
    let mut found: Option<(Vec<u8>, &Value)> = None;
    for value in values.iter().filter(|value| !value.is_null()) {
        let key = key_of(value)?;
        if found.as_ref().is_none_or(|(known, _)| key.cmp(known) == side) {
            found = Some((key, value));
        }
    }
    Ok(found.map_or(Value::Null, |(_, value)| value.clone()))
}

fn key_of(value: &Value) -> SqlResult<Vec<u8>> {
    let source = normal(value)?;
    let mut out = Vec::with_capacity(source.len() + 8);
    write(&mut out, &Json::read(&source)?);
    Ok(out)
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

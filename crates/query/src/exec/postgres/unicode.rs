//! `unistr`, `parse_ident`.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Function, overload};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts = T::Array(Box::new(T::Text));
    vec![
        Function::new("unistr", vec![overload(&[T::Text], T::Text, |a, _| unistr(str(&a[0])).map(Value::Text))]).udf(),
        Function::new(
            "parse_ident",
            vec![
                overload(&[T::Text], texts.clone(), |a, _| parse_ident(str(&a[0]), true)),
                overload(&[T::Text, T::Bool], texts, |a, _| parse_ident(str(&a[0]), a[1] == Value::Bool(true))),
            ],
        )
        .udf(),
    ]
}

fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Unicode escapes: `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX`, `\\`.
fn unistr(text: &str) -> SqlResult<String> {
    let pair = || SqlError::syntax("invalid Unicode surrogate pair");
    let mut out = String::with_capacity(text.len());
    let mut high: Option<u32> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (code, length) = match rest.strip_prefix('\\') {
            None => (None, c.len_utf8()),
            Some(tail) if tail.starts_with('\\') => (None, 2),
            Some(tail) => {
                let (skip, digits) = match tail.chars().next() {
                    Some('u') => (1, 4),
                    Some('U') => (1, 8),
                    Some('+') => (1, 6),
                    _ => (0, 4),
                };
                let code = tail
                    .get(skip..skip + digits)
                    .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                    .ok_or_else(|| {
                        SqlError::syntax("invalid Unicode escape")
                            .hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
                    })?;
                (Some(code), 1 + skip + digits)
            }
        };
        match (high.take(), code) {
            (None, None) => out.push(c),
            (Some(_), None) => return Err(pair()),
            (None, Some(code @ 0xd800..=0xdbff)) => high = Some(code),
            (None, Some(code)) => out.push(code_point(code)?),
            (Some(first), Some(second @ 0xdc00..=0xdfff)) => {
                out.push(code_point(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?);
            }
            (Some(_), Some(_)) => return Err(pair()),
        }
        rest = &rest[length..];
    }
    if high.is_some() { Err(pair()) } else { Ok(out) }
}

fn code_point(code: u32) -> SqlResult<char> {
    match code {
        0xdc00..=0xdfff => Err(SqlError::syntax("invalid Unicode surrogate pair")),
        0 => Err(SqlError::new(SqlState::InvalidParameterValue, "invalid Unicode code point: 0000")),
        code => char::from_u32(code).ok_or_else(|| {
            SqlError::new(SqlState::InvalidParameterValue, format!("invalid Unicode code point: {code:04X}"))
        }),
    }
}

/// The names of a dotted, perhaps quoted identifier.
fn parse_ident(text: &str, strict: bool) -> SqlResult<Value> {
    let invalid = |detail: Option<&str>| {
        let error =
            SqlError::new(SqlState::InvalidParameterValue, format!("string is not a valid identifier: \"{text}\""));
        match detail {
            Some(detail) => error.detail(detail),
            None => error,
        }
    };
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    let mut after_dot = false;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut tail = quoted;
            loop {
                let end = tail.find('"').ok_or_else(|| invalid(Some("String has unclosed double quotes.")))?;
                name.push_str(&tail[..end]);
                tail = &tail[end + 1..];
                match tail.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        tail = more;
                    }
                    None => break,
                }
            }
            if name.is_empty() {
                return Err(invalid(Some("Quoted identifier must not be empty.")));
            }
            names.push(Value::Text(name));
            rest = tail;
        } else if rest.starts_with(|c: char| c.is_alphabetic() || c == '_' || !c.is_ascii()) {
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()))
                .unwrap_or(rest.len());
            names.push(Value::Text(rest[..end].to_lowercase()));
            rest = &rest[end..];
        } else if rest.starts_with('.') {
            return Err(invalid(Some("No valid identifier before \".\".")));
        } else if after_dot {
            return Err(invalid(Some("No valid identifier after \".\".")));
        } else {
            return Err(invalid(None));
        }
        rest = rest.trim_start();
        match rest.strip_prefix('.') {
            Some(tail) => {
                after_dot = true;
                rest = tail.trim_start();
            }
            None if rest.is_empty() || !strict => return Ok(Value::Array(names)),
            None => return Err(invalid(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_names_are_read() {
        assert_eq!(unistr("\\0064at\\+0000610").as_deref(), Ok("data0"));
        assert_eq!(unistr("d\\u0061t\\U000000610").as_deref(), Ok("data0"));
        assert_eq!(unistr("a\\\\b").as_deref(), Ok("a\\b"));
        for wrong in ["\\db99", "\\db99\\0061", "\\+2FFFFF", "\\xyz", "\\"] {
            assert!(unistr(wrong).is_err(), "{wrong}");
        }
        let names = |text: &str| match parse_ident(text, true) {
            Ok(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
            _ => "error".to_owned(),
        };
        assert_eq!(names("foo.Boo.\"X\"\"y\""), "foo|boo|X\"y");
        for wrong in ["", "1a", "a.", ".a", "a b", "\"\"", "\"a"] {
            assert_eq!(names(wrong), "error", "{wrong}");
        }
    }
}

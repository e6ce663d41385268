//! Arrays of one dimension: `{1,2,NULL,"a b"}`.

use super::settings::OutputSettings;
use super::{format_into, parse_with};
use crate::{SqlError, SqlResult, SqlState, SqlType, Value};

/// Reads an array of `of`.
///
/// # Errors
/// `22P02` where it is malformed, `0A000` for several dimensions or a lower bound other than 1, and what an element gives.
pub fn parse_array(text: &str, of: &SqlType, settings: &OutputSettings) -> SqlResult<Vec<Value>> {
    let malformed = |detail: &str| {
        SqlError::new(SqlState::InvalidTextRepresentation, format!("malformed array literal: \"{text}\""))
            .detail(detail.to_owned())
    };
    let mut rest = text.trim_ascii();
    if rest.starts_with('[') {
        let (bounds, body) = rest.split_once('=').ok_or_else(|| malformed("Missing \"=\" after array dimensions."))?;
        if bounds.matches('[').count() != 1 || !bounds.trim_ascii().starts_with("[1:") {
            return Err(SqlError::unsupported("an array of several dimensions or with a lower bound other than 1"));
        }
        rest = body.trim_ascii();
    }
    let Some(body) = rest.strip_prefix('{') else {
        return Err(malformed("Array value must start with \"{\" or dimension information."));
    };
    let mut values = Vec::new();
    let mut bytes = body.as_bytes();
    skip_blanks(&mut bytes);
    if let [b'}', tail @ ..] = bytes {
        skip_blanks_only(tail).ok_or_else(|| malformed("Junk after closing right brace."))?;
        return Ok(values);
    }
    loop {
        skip_blanks(&mut bytes);
        let (element, quoted) = match bytes {
            [b'{', ..] => return Err(SqlError::unsupported("an array of several dimensions")),
            [b'"', tail @ ..] => {
                let (element, after) = quoted_element(tail).ok_or_else(|| malformed("Unexpected end of input."))?;
                bytes = after;
                (element, true)
            }
            _ => {
                let (element, after) = plain_element(bytes).ok_or_else(|| malformed("Unexpected end of input."))?;
                bytes = after;
                (element, false)
            }
        };
        let element = String::from_utf8(element).map_err(|_| malformed("Unexpected array element."))?;
        values.push(if !quoted && element.eq_ignore_ascii_case("null") {
            Value::Null
        } else if !quoted && element.is_empty() {
            return Err(malformed("Unexpected array element."));
        } else {
            parse_with(&element, of, settings)?
        });
        skip_blanks(&mut bytes);
        match bytes {
            [b',', tail @ ..] => bytes = tail,
            [b'}', tail @ ..] => {
                skip_blanks_only(tail).ok_or_else(|| malformed("Junk after closing right brace."))?;
                return Ok(values);
            }
            [] => return Err(malformed("Unexpected end of input.")),
            _ => return Err(malformed("Unexpected array element.")),
        }
    }
}

fn skip_blanks(bytes: &mut &[u8]) {
    *bytes = bytes.trim_ascii_start();
}

fn skip_blanks_only(bytes: &[u8]) -> Option<()> {
    bytes.trim_ascii().is_empty().then_some(())
}

/// Up to the closing quote.
fn quoted_element(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut element = Vec::new();
    loop {
        match bytes {
            [b'"', tail @ ..] => return Some((element, tail)),
            [b'\\', b, tail @ ..] | [b, tail @ ..] => {
                element.push(*b);
                bytes = tail;
            }
            [] => return None,
        }
    }
}

/// Up to a comma or brace, without the blanks at its end.
fn plain_element(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut element = Vec::new();
    let mut kept = 0;
    loop {
        match bytes {
            [b',' | b'}', ..] => {
                element.truncate(kept);
                return Some((element, bytes));
            }
            [b'"' | b'{', ..] => {
                element.truncate(kept);
                return Some((element, bytes));
            }
            [b'\\', b, tail @ ..] => {
                element.push(*b);
                kept = element.len();
                bytes = tail;
            }
            [b, tail @ ..] => {
                element.push(*b);
                if !b.is_ascii_whitespace() {
                    kept = element.len();
                }
                bytes = tail;
            }
            [] => return None,
        }
    }
}

/// Appends an array.
pub fn format_array(out: &mut Vec<u8>, values: &[Value], of: &SqlType, settings: &OutputSettings) {
    out.push(b'{');
    let mut element = Vec::new();
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if value.is_null() {
            out.extend_from_slice(b"NULL");
            continue;
        }
        if let (Value::Array(values), SqlType::Array(of)) = (value, of) {
            // Several dimensions.
            format_array(out, values, of, settings);
            continue;
        }
        element.clear();
        format_into(&mut element, value, of, settings);
        write_element(out, &element);
    }
    out.push(b'}');
}

/// Appends one element's text, quoted where it must be.
pub fn write_element(out: &mut Vec<u8>, element: &[u8]) {
    let special = |b: &u8| matches!(b, b'"' | b'\\' | b'{' | b'}' | b',') || b.is_ascii_whitespace() || *b == 0x0b;
    if !element.is_empty() && !element.eq_ignore_ascii_case(b"null") && !element.iter().any(special) {
        out.extend_from_slice(element);
        return;
    }
    out.push(b'"');
    for &b in element {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

//! Arrays: `{1,2,NULL,"a b"}`, `{{1,2},{3,4}}`.
//!
//! An array of several dimensions is an array of arrays, in its type too ([`SqlType::with_dimensions`]), all of one length in each
//! dimension. A column's type says how many its arrays have; a constant's or a parameter's follows its text.

use super::settings::OutputSettings;
use super::{format_into, parse_with};
use crate::{SqlError, SqlResult, SqlState, SqlType, Value};

/// Dimensions that an array may have.
pub const DIMENSIONS_MAX: usize = 6;

/// How many dimensions the text of an array has; one where it is none.
#[must_use]
pub fn dimensions(text: &str) -> usize {
    let body = text.split_once('=').filter(|_| text.trim_ascii_start().starts_with('[')).map_or(text, |(_, body)| body);
    let braces = body.bytes().filter(|b| !b.is_ascii_whitespace()).take_while(|b| *b == b'{');
    braces.take(DIMENSIONS_MAX + 1).count().max(1)
}

/// Reads an array of `of`.
///
/// # Errors
/// `22P02` where it is malformed, `54000` for too many dimensions, `0A000` for others than its type has or a lower bound other than
/// 1, and what an element gives.
pub fn parse_array(text: &str, of: &SqlType, settings: &OutputSettings) -> SqlResult<Vec<Value>> {
    let found = dimensions(text);
    if found > DIMENSIONS_MAX {
        let message = format!("number of array dimensions ({found}) exceeds the maximum allowed ({DIMENSIONS_MAX})");
        return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
    }
    let literal = Literal { text, settings };
    let mut rest = text.trim_ascii();
    let mut declared = None;
    if rest.starts_with('[') {
        let (bounds, body) =
            rest.split_once('=').ok_or_else(|| literal.malformed("Missing \"=\" after array dimensions."))?;
        declared = Some(literal.lengths(bounds)?);
        rest = body.trim_ascii();
    }
    if !rest.starts_with('{') {
        return Err(literal.malformed("Array value must start with \"{\" or dimension information."));
    }
    let mut bytes = rest.as_bytes();
    let values = literal.level(&mut bytes, of)?;
    skip_blanks_only(bytes).ok_or_else(|| literal.malformed("Junk after closing right brace."))?;
    let lengths = lengths(&values)
        .ok_or_else(|| literal.malformed("Multidimensional arrays must have sub-arrays with matching dimensions."))?;
    if declared.is_some_and(|declared| declared != lengths) {
        return Err(literal.malformed("Specified array dimensions do not match array contents."));
    }
    Ok(values)
}

/// The lengths of an array in its dimensions, none for an empty one; `None` where they differ within a dimension.
#[must_use]
pub fn lengths(values: &[Value]) -> Option<Vec<usize>> {
    let mut all = Vec::new();
    if values.is_empty() {
        return Some(all);
    }
    all.push(values.len());
    let inner = |value: &Value| match value {
        Value::Array(values) => lengths(values).map(Some),
        _ => Some(None),
    };
    let first = inner(values.first()?)?;
    for value in values {
        if inner(value)? != first {
            return None;
        }
    }
    all.extend(first.into_iter().flatten());
    Some(all)
}

/// The elements of an array of any dimensions, one behind the other.
#[must_use]
pub fn flattened(values: Vec<Value>) -> Vec<Value> {
    let mut all = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Value::Array(values) => all.extend(flattened(values)),
            value => all.push(value),
        }
    }
    all
}

/// A text that is being read.
struct Literal<'a> {
    text: &'a str,
    settings: &'a OutputSettings,
}

impl Literal<'_> {
    fn malformed(&self, detail: &str) -> SqlError {
        let message = format!("malformed array literal: \"{}\"", self.text);
        SqlError::new(SqlState::InvalidTextRepresentation, message).detail(detail.to_owned())
    }

    /// The lengths of `[1:2][1:3]`.
    fn lengths(&self, bounds: &str) -> SqlResult<Vec<usize>> {
        let missing = || self.malformed("Missing array dimension value.");
        let mut lengths = Vec::new();
        for bound in bounds.trim_ascii().split_terminator(']') {
            let bound = bound.trim_ascii().strip_prefix('[').ok_or_else(missing)?;
            let (lower, upper) = bound.split_once(':').unwrap_or(("1", bound));
            let number = |text: &str| text.trim_ascii().parse::<i32>().map_err(|_| missing());
            let (lower, upper) = (number(lower)?, number(upper)?);
            if upper < lower {
                let message = "upper bound cannot be less than lower bound";
                return Err(SqlError::new(SqlState::ArraySubscriptError, message));
            }
            if lower != 1 {
                return Err(SqlError::unsupported("an array with a lower bound other than 1"));
            }
            lengths.push(usize::try_from(upper).unwrap_or_default());
        }
        Ok(lengths)
    }

    /// What stands from a brace to the one that closes it.
    fn level(&self, bytes: &mut &[u8], of: &SqlType) -> SqlResult<Vec<Value>> {
        let ended = || self.malformed("Unexpected end of input.");
        let mut values = Vec::new();
        *bytes = bytes.get(1..).unwrap_or_default();
        skip_blanks(bytes);
        if let [b'}', tail @ ..] = *bytes {
            *bytes = tail;
            return Ok(values);
        }
        loop {
            skip_blanks(bytes);
            values.push(match (*bytes, of) {
                ([b'{', ..], SqlType::Array(of)) => Value::Array(self.level(bytes, of)?),
                ([b'{', ..], _) => return Err(SqlError::unsupported("an array of several dimensions")),
                (_, SqlType::Array(_)) if dimensions(self.text) > 1 => {
                    return Err(self.malformed("Unexpected array element."));
                }
                (_, SqlType::Array(_)) => return Err(SqlError::unsupported("an array of fewer dimensions")),
                ([b'"', tail @ ..], of) => {
                    let (element, after) = quoted_element(tail).ok_or_else(ended)?;
                    *bytes = after;
                    parse_with(&self.utf8(element)?, of, self.settings)?
                }
                (plain, of) => {
                    let (element, after) = plain_element(plain).ok_or_else(ended)?;
                    *bytes = after;
                    let element = self.utf8(element)?;
                    if element.is_empty() {
                        return Err(self.malformed("Unexpected array element."));
                    }
                    match element.eq_ignore_ascii_case("null") {
                        true => Value::Null,
                        false => parse_with(&element, of, self.settings)?,
                    }
                }
            });
            skip_blanks(bytes);
            match *bytes {
                [b',', tail @ ..] => *bytes = tail,
                [b'}', tail @ ..] => {
                    *bytes = tail;
                    return Ok(values);
                }
                [] => return Err(ended()),
                _ => return Err(self.malformed("Unexpected array element.")),
            }
        }
    }

    fn utf8(&self, element: Vec<u8>) -> SqlResult<String> {
        String::from_utf8(element).map_err(|_| self.malformed("Unexpected array element."))
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

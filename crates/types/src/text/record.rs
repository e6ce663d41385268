//! Records as text: `(1,"a b",)`.

use super::{OutputSettings, format_into};
use crate::{SqlType, Value};

/// Appends a record.
pub fn format_record(out: &mut Vec<u8>, values: &[Value], fields: &[(String, SqlType)], settings: &OutputSettings) {
    out.push(b'(');
    let mut text = Vec::new();
    for (place, (value, (_, ty))) in values.iter().zip(fields).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if !value.is_null() {
            text.clear();
            format_into(&mut text, value, ty, settings);
            write_field(out, &text);
        }
    }
    out.push(b')');
}

/// The fields of `(value,"other value",)`; without quotes an empty one is NULL.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_fields(text: &str) -> Result<Vec<Option<String>>, &'static str> {
    const UNFINISHED: &str = "Unexpected end of input.";
    let mut chars = text.trim_ascii_start().strip_prefix('(').ok_or("Missing left parenthesis.")?.chars();
    let mut fields = Vec::new();
    loop {
        let (mut field, mut is_null, mut quoted) = (String::new(), true, false);
        let end = loop {
            match chars.next().ok_or(UNFINISHED)? {
                end @ (',' | ')') if !quoted => break end,
                '\\' => field.push(chars.next().ok_or(UNFINISHED)?),
                '"' if quoted && chars.as_str().starts_with('"') => {
                    chars.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                other => field.push(other),
            }
            is_null = false;
        };
        fields.push((!is_null).then_some(field));
        if end == ')' {
            let rest = chars.as_str().trim_ascii();
            return if rest.is_empty() { Ok(fields) } else { Err("Junk after right parenthesis.") };
        }
    }
}

/// Appends the text of one field that is not NULL, quoted where it must be.
pub fn write_field(out: &mut Vec<u8>, text: &[u8]) {
    let special = |b: &u8| matches!(b, b'"' | b'\\' | b'(' | b')' | b',') || b.is_ascii_whitespace() || *b == 0x0b;
    if !text.is_empty() && !text.iter().any(special) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &b in text {
        if matches!(b, b'"' | b'\\') {
            out.push(b);
        }
        out.push(b);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let check = |texts: &[Option<&str>], want: &str| {
            let fields: Vec<_> = texts.iter().map(|_| ("f".to_owned(), SqlType::Text)).collect();
            let values: Vec<_> =
                texts.iter().map(|text| text.map_or(Value::Null, |text| Value::Text(text.to_owned()))).collect();
            let mut out = Vec::new();
            format_record(&mut out, &values, &fields, &OutputSettings::DEFAULT);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        };
        check(&[], "()");
        check(&[Some("a"), Some("a b"), None, Some("")], "(a,\"a b\",,\"\")");
        check(&[Some("(1,2)"), Some("say \"\\\"")], "(\"(1,2)\",\"say \"\"\\\\\"\"\")");
        check(&[None], "()");
    }
}

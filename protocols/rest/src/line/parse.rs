//! A line of the line protocol: `measurement,tag=value field=1,other=2i 1767322800000000000`.

use std::collections::BTreeMap;

use perigee_types::Value;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field {
    Float(f64),
    Integer(i64),
    /// `12u`: unsigned, kept as numeric.
    Unsigned(u64),
    Bool(bool),
    Text(String),
}

impl Field {
    /// The type of its column.
    pub(super) fn sql_type(&self) -> &'static str {
        match self {
            Field::Float(_) => "double precision",
            Field::Integer(_) => "bigint",
            Field::Unsigned(_) => "numeric(20,0)",
            Field::Bool(_) => "boolean",
            Field::Text(_) => "text",
        }
    }

    /// As a value of the column.
    pub(super) fn value(&self) -> Value {
        match self {
            Field::Float(value) => Value::Float8(*value),
            Field::Integer(value) => Value::Int8(*value),
            Field::Unsigned(value) => Value::Numeric(i128::from(*value), 0),
            Field::Bool(value) => Value::Bool(*value),
            Field::Text(text) => Value::Text(text.clone()),
        }
    }
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) measurement: String,
    pub(super) tags: BTreeMap<String, String>,
    /// The tags as one text, the same for the same set.
    pub(super) series: String,
    pub(super) fields: BTreeMap<String, Field>,
    pub(super) timestamp: Option<i64>,
    /// The time in microseconds, once the unit is known.
    pub(super) micros: i64,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut rest = text;
        let mut line = Line { measurement: word(&mut rest, &[',', ' '])?, ..Line::default() };
        if line.measurement.is_empty() {
            return Err("there is no measurement");
        }
        while let Some(tags) = rest.strip_prefix(',') {
            rest = tags;
            let name = word(&mut rest, &['=', ',', ' '])?;
            rest = rest.strip_prefix('=').ok_or("a tag without a value")?;
            let value = word(&mut rest, &[',', ' ', '='])?;
            if name.is_empty() || value.is_empty() {
                return Err("a tag has a name and a value");
            }
            if line.tags.insert(name, value).is_some() {
                return Err("a tag stands twice");
            }
        }
        rest = rest.strip_prefix(' ').ok_or("there are no fields")?.trim_start_matches(' ');
        loop {
            let name = word(&mut rest, &['=', ',', ' '])?;
            rest = rest.strip_prefix('=').ok_or("a field without a value")?;
            if name.is_empty() {
                return Err("a field without a name");
            }
            if line.tags.contains_key(&name) {
                return Err("a field is called as a tag is");
            }
            let value = field(&mut rest)?;
            line.fields.insert(name, value);
            match rest.strip_prefix(',') {
                Some(fields) => rest = fields,
                None => break,
            }
        }
        let time = rest.trim();
        if !time.is_empty() {
            if !rest.starts_with(' ') {
                return Err("a value that is none");
            }
            line.timestamp = Some(time.parse().map_err(|_| "the time is no whole number")?);
        }
        let escaped = |text: &str| text.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
        let pairs: Vec<String> =
            line.tags.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        line.series = pairs.join(",");
        Ok(line)
    }
}

/// Text up to one of `ends`; a backslash before one of them, or before another special character, makes it part of the text.
fn word(rest: &mut &str, ends: &[char]) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        if ends.contains(&c) {
            *rest = &rest[at..];
            return Ok(out);
        }
        if c == '\0' {
            return Err("a zero character");
        }
        if c == '\\' {
            let next = rest[at + 1..].chars().next();
            if let Some(special) = next.filter(|next| matches!(next, ',' | ' ' | '=')) {
                out.push(special);
                chars.next();
                continue;
            }
        }
        out.push(c);
    }
    *rest = "";
    Ok(out)
}

fn field(rest: &mut &str) -> Result<Field, &'static str> {
    if let Some(text) = rest.strip_prefix('"') {
        let mut out = String::new();
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    *rest = &text[at + 1..];
                    return Ok(Field::Text(out));
                }
                '\\' if matches!(text[at + 1..].chars().next(), Some('"' | '\\')) => {
                    out.extend(chars.next().map(|(_, c)| c));
                }
                '\0' => return Err("a zero character"),
                c => out.push(c),
            }
        }
        return Err("a text without its end");
    }
    let end = rest.find([',', ' ']).unwrap_or(rest.len());
    let text = &rest[..end];
    *rest = &rest[end..];
    let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Field::Float);
    let found = match text {
        "t" | "T" | "true" | "True" | "TRUE" => Some(Field::Bool(true)),
        "f" | "F" | "false" | "False" | "FALSE" => Some(Field::Bool(false)),
        text => match (text.strip_suffix('i'), text.strip_suffix('u')) {
            (Some(digits), _) => digits.parse().ok().map(Field::Integer),
            (_, Some(digits)) => digits.parse().ok().map(Field::Unsigned),
            // Rust reads words for what is not finite; the protocol has none.
            _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => number(text),
            _ => None,
        },
    };
    found.ok_or("a value that is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line =
            Line::parse(r#"my\ cpu,host=a\,b,core=1 usage=0.5,up=t,n=-3i,m=18446744073709551615u,s="a \"b\", c" 12"#);
        let line = line.unwrap();
        assert_eq!((line.measurement.as_str(), line.timestamp), ("my cpu", Some(12)));
        assert_eq!(line.series, "core=1,host=a\\,b");
        assert_eq!(line.tags["host"], "a,b");
        assert_eq!(line.fields["usage"], Field::Float(0.5));
        assert_eq!(line.fields["up"], Field::Bool(true));
        assert_eq!(line.fields["n"], Field::Integer(-3));
        assert_eq!(line.fields["m"], Field::Unsigned(u64::MAX));
        assert_eq!(line.fields["s"], Field::Text("a \"b\", c".to_owned()));
        let bare = Line::parse("m v=1").unwrap();
        assert_eq!((bare.series.as_str(), bare.timestamp), ("", None));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for text in [
            "",
            ",a=1 v=1",
            "m",
            "m ",
            "m v",
            "m v=",
            "m v=x",
            "m v=1 x",
            "m,a v=1",
            "m,a= v=1",
            "m,a=1,a=2 v=1",
            "m,a=1 a=1",
            "m v=\"x",
            "m v=1i2",
            "m v=nan",
            "m v=inf",
            "m v=1e999",
            "m v=\"x\"y",
            "m v=1 99999999999999999999",
            "m =1",
        ] {
            assert!(Line::parse(text).is_err(), "{text}");
        }
    }
}

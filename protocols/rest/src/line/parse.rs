//! A line of the line protocol: `measurement,tag=value field=1,other=2i 1767322800000000000`.

use perigee_types::Value;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
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
pub(crate) struct Line {
    pub(crate) measurement: String,
    /// By name, each once.
    pub(crate) tags: Vec<(String, String)>,
    /// The tags as one text, the same for the same set.
    pub(crate) series: String,
    /// By name, each once.
    pub(crate) fields: Vec<(String, Field)>,
    pub(super) timestamp: Option<i64>,
    /// The time in microseconds, once the unit is known.
    pub(crate) micros: i64,
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
            line.tags.push((name, value));
        }
        line.tags.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if line.tags.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err("a tag stands twice");
        }
        rest = rest.strip_prefix(' ').ok_or("there are no fields")?.trim_start_matches(' ');
        loop {
            let name = word(&mut rest, &['=', ',', ' '])?;
            rest = rest.strip_prefix('=').ok_or("a field without a value")?;
            if name.is_empty() {
                return Err("a field without a name");
            }
            if line.tags.binary_search_by(|(tag, _)| tag.cmp(&name)).is_ok() {
                return Err("a field is called as a tag is");
            }
            let value = field(&mut rest)?;
            line.fields.push((name, value));
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
        // Of a field that stands twice the later counts.
        line.fields.reverse();
        line.fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        line.fields.dedup_by(|(b, _), (a, _)| a == b);
        line.name_series();
        Ok(line)
    }

    /// A line of these tags and fields, each name once.
    pub(crate) fn new(
        measurement: String,
        mut tags: Vec<(String, String)>,
        mut fields: Vec<(String, Field)>,
        micros: i64,
    ) -> Self {
        tags.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut line = Self { measurement, tags, fields, micros, ..Self::default() };
        line.name_series();
        line
    }

    fn name_series(&mut self) {
        for (name, value) in &self.tags {
            if !self.series.is_empty() {
                self.series.push(',');
            }
            escape(name, &mut self.series);
            self.series.push('=');
            escape(value, &mut self.series);
        }
    }

    /// Whether two lines fill the same columns.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.tags.len() == other.tags.len()
            && self.fields.len() == other.fields.len()
            && self.tags.iter().zip(&other.tags).all(|((a, _), (b, _))| a == b)
            && self.fields.iter().zip(&other.fields).all(|((a, x), (b, y))| a == b && x.sql_type() == y.sql_type())
    }
}

/// A name or a value of a tag as part of the name of a series.
fn escape(text: &str, series: &mut String) {
    for c in text.chars() {
        if matches!(c, '\\' | ',' | '=') {
            series.push('\\');
        }
        series.push(c);
    }
}

/// The lines of a body, each with its number from 1. The text of a field may have line breaks.
pub(super) fn lines(body: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut rest, mut number) = (body, 1);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, behind) = rest.split_at(line_end(rest));
        let at = number;
        number += 1 + line.matches('\n').count();
        rest = behind.strip_prefix('\n').unwrap_or(behind);
        Some((at, line.strip_suffix('\r').unwrap_or(line)))
    })
}

/// Where the first line ends: at a line break outside of the quotes of a text, which is a value, and so stands behind `=` among the
/// fields.
fn line_end(text: &str) -> usize {
    let is_comment = text.starts_with('#');
    let (mut is_field, mut is_quoted, mut before) = (false, false, b' ');
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\n' if !is_quoted => return at,
            b'\\' if !is_comment && text.as_bytes().get(at + 1) != Some(&b'\n') => {
                bytes.next();
            }
            b' ' if !is_quoted => is_field = true,
            b'"' if is_quoted => is_quoted = false,
            b'"' => is_quoted = is_field && !is_comment && before == b'=',
            _ => {}
        }
        before = byte;
    }
    text.len()
}

/// Text up to one of `ends`; a backslash before one of them, or before another special character, makes it part of the text.
fn word(rest: &mut &str, ends: &[char]) -> Result<String, &'static str> {
    // Mostly nothing in it is special.
    let is_special = |c: char| matches!(c, '\\' | '\0') || ends.contains(&c);
    if let Some((word, behind)) = rest.find(is_special).and_then(|end| rest.split_at_checked(end))
        && behind.starts_with(ends)
    {
        *rest = behind;
        return Ok(word.to_owned());
    }
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
        let tags: Vec<_> = line.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(tags, [("core", "1"), ("host", "a,b")]);
        let text = Field::Text("a \"b\", c".to_owned());
        let expected = [
            ("m", Field::Unsigned(u64::MAX)),
            ("n", Field::Integer(-3)),
            ("s", text),
            ("up", Field::Bool(true)),
            ("usage", Field::Float(0.5)),
        ];
        assert_eq!(line.fields, expected.map(|(name, value)| (name.to_owned(), value)));
        let twice = Line::parse("m,b=2,a=1 v=1,u=5,v=2").unwrap();
        assert_eq!(twice.fields, [("u", 5.0), ("v", 2.0)].map(|(name, value)| (name.to_owned(), Field::Float(value))));
        let again = Line::parse("m,a=3,b=4 u=7,v=8 1").unwrap();
        assert!(twice.is_alike(&again));
        assert!(!twice.is_alike(&Line::parse("m,a=3,b=4 u=7,v=8i 1").unwrap()));
        assert!(!twice.is_alike(&Line::parse("m,a=3,c=4 u=7,v=8 1").unwrap()));
        let bare = Line::parse("m v=1").unwrap();
        assert_eq!((bare.series.as_str(), bare.timestamp), ("", None));
    }

    #[test]
    fn a_text_may_have_line_breaks() {
        let check = |body: &str, expected: &[(usize, &str)]| {
            assert_eq!(lines(body).collect::<Vec<_>>(), expected, "{body:?}");
        };
        check("m v=1\r\n\nm v=2\n", &[(1, "m v=1"), (2, ""), (3, "m v=2")]);
        check("m s=\"a\nb\",v=1 5\nm v=2", &[(1, "m s=\"a\nb\",v=1 5"), (3, "m v=2")]);
        check("m s=\"a\\\"\nb\\\\\" 5\nm v=2", &[(1, "m s=\"a\\\"\nb\\\\\" 5"), (3, "m v=2")]);
        // Neither in a name or a tag nor in a comment is it more than a character.
        check("m,t=\" v=1\nm v=2", &[(1, "m,t=\" v=1"), (2, "m v=2")]);
        check("# it's = \"so\nm v=2", &[(1, "# it's = \"so"), (2, "m v=2")]);
        check("m\\ x v=1\\\nm v=\"open\nm v=2", &[(1, "m\\ x v=1\\"), (2, "m v=\"open\nm v=2")]);
        assert_eq!(Line::parse("m s=\"a\nb\"").unwrap().fields, [("s".to_owned(), Field::Text("a\nb".to_owned()))]);
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

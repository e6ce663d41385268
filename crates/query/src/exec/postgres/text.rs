//! Functions on strings where PostgreSQL's rules differ from DataFusion's.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;
use perigee_types::text::{OutputSettings, format as format_value};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Function, Parameter, Returns, overload, overload_of};
use super::limits::{Growing, check_bytes};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let any = || vec![Parameter::Any];
    let text_and_any = || vec![Parameter::Of(T::Text), Parameter::Any];
    vec![
        substring(),
        like_escape(),
        Function::new("concat", vec![overload_of(any(), Returns::Type(T::Text), concat).variadic().called_on_null()])
            .udf(),
        Function::new(
            "concat_ws",
            vec![overload_of(text_and_any(), Returns::Type(T::Text), concat_ws).variadic().called_on_null()],
        )
        .udf(),
        Function::new(
            "format",
            vec![overload_of(text_and_any(), Returns::Type(T::Text), format).variadic().called_on_null()],
        )
        .udf(),
        Function::new(
            "quote_literal",
            vec![overload_of(any(), Returns::Type(T::Text), |a, c| Ok(text(quote_literal(&shown(&a[0], c, 0)))))],
        )
        .udf(),
        Function::new(
            "quote_nullable",
            vec![
                overload_of(any(), Returns::Type(T::Text), |a, c| {
                    Ok(text(if a[0].is_null() { "NULL".to_owned() } else { quote_literal(&shown(&a[0], c, 0)) }))
                })
                .called_on_null(),
            ],
        )
        .udf(),
        Function::new(
            "__substring_similar",
            vec![overload(&[T::Text, T::Text, T::Text], T::Text, |a, _| {
                super::similar::substring(str(&a[0]), str(&a[1]), str(&a[2]))
            })],
        )
        .udf(),
        Function::new("encode", vec![overload(&[T::Bytea, T::Text], T::Text, encode)]).udf(),
        Function::new("decode", vec![overload(&[T::Text, T::Text], T::Bytea, decode)]).udf(),
        Function::new(
            "convert_from",
            vec![overload(&[T::Bytea, T::Text], T::Text, |a, _| match &a[0] {
                Value::Bytea(bytes) => String::from_utf8(bytes.clone()).map(Value::Text).map_err(|_| {
                    SqlError::new(SqlState::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"")
                }),
                _ => Err(kind()),
            })],
        )
        .udf(),
        Function::new(
            "convert_to",
            vec![overload(&[T::Text, T::Text], T::Bytea, |a, _| Ok(Value::Bytea(str(&a[0]).as_bytes().to_vec())))],
        )
        .udf(),
        Function::new(
            "to_hex",
            vec![
                overload(&[T::Int4], T::Text, |a, _| match a[0] {
                    Value::Int4(v) => Ok(text(format!("{v:x}"))),
                    _ => Err(kind()),
                }),
                overload(&[T::Int8], T::Text, |a, _| match a[0] {
                    Value::Int8(v) => Ok(text(format!("{v:x}"))),
                    _ => Err(kind()),
                }),
            ],
        )
        .udf(),
        Function::new("to_number", vec![overload(&[T::Text, T::Text], T::Numeric(None), to_number)]).udf(),
        Function::new(
            "length",
            vec![
                overload(&[T::Text], T::Int4, |a, _| Ok(count(str(&a[0]).chars().count()))),
                overload(&[T::Bytea], T::Int4, |a, _| match &a[0] {
                    Value::Bytea(bytes) => Ok(count(bytes.len())),
                    _ => Err(kind()),
                }),
            ],
        )
        .with_aliases(&["char_length", "character_length"])
        .udf(),
        Function::new(
            "octet_length",
            vec![
                overload(&[T::Text], T::Int4, |a, _| Ok(count(octets(&a[0]).len()))),
                overload(&[T::Bytea], T::Int4, |a, _| Ok(count(octets(&a[0]).len()))),
            ],
        )
        .udf(),
        Function::new(
            "bit_length",
            vec![
                overload(&[T::Text], T::Int4, |a, _| Ok(count(octets(&a[0]).len() * 8))),
                overload(&[T::Bytea], T::Int4, |a, _| Ok(count(octets(&a[0]).len() * 8))),
            ],
        )
        .udf(),
    ]
}

/// The bytes of a text or bytea.
fn octets(value: &Value) -> &[u8] {
    match value {
        Value::Bytea(bytes) => bytes,
        value => str(value).as_bytes(),
    }
}

/// SUBSTRING with positions; with a pattern, the first match or its first group.
pub(super) fn substring() -> Arc<ScalarUDF> {
    static SUBSTRING: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Function::new(
            "substring",
            vec![
                overload(&[T::Text, T::Int4], T::Text, |a, _| slice(str(&a[0]), int(&a[1]), None)),
                overload(&[T::Text, T::Int4, T::Int4], T::Text, |a, _| slice(str(&a[0]), int(&a[1]), Some(int(&a[2])))),
                overload(&[T::Text, T::Text], T::Text, |a, _| {
                    let pattern = regex(str(&a[1]), false)?;
                    Ok(match pattern.captures(str(&a[0])) {
                        Some(found) => {
                            let group = if found.len() > 1 { found.get(1) } else { found.get(0) };
                            group.map_or(Value::Null, |m| text(m.as_str().to_owned()))
                        }
                        None => Value::Null,
                    })
                }),
                overload(&[T::Text, T::Text, T::Text], T::Text, |a, _| {
                    super::similar::substring(str(&a[0]), str(&a[1]), str(&a[2]))
                }),
                overload(&[T::Bytea, T::Int4], T::Bytea, |a, _| {
                    let bytes = octets(&a[0]);
                    let (from, to) = window(int(&a[1]), None, bytes.len())?;
                    Ok(Value::Bytea(bytes[from..to].to_vec()))
                }),
                overload(&[T::Bytea, T::Int4, T::Int4], T::Bytea, |a, _| match &a[0] {
                    Value::Bytea(bytes) => {
                        let (from, to) = window(int(&a[1]), Some(int(&a[2])), bytes.len())?;
                        Ok(Value::Bytea(bytes[from..to].to_vec()))
                    }
                    _ => Err(kind()),
                }),
            ],
        )
        .with_aliases(&["substr"])
        .udf()
    });
    Arc::clone(&SUBSTRING)
}

/// `bytea || bytea`
pub(super) fn concat_bytes() -> Arc<ScalarUDF> {
    static CONCAT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let eval = |a: &[Value], _: &Call<'_>| match (&a[0], &a[1]) {
            (Value::Bytea(a), Value::Bytea(b)) => Ok(Value::Bytea([a.as_slice(), b.as_slice()].concat())),
            _ => Err(kind()),
        };
        Function::new("byteacat", vec![overload(&[T::Bytea, T::Bytea], T::Bytea, eval)]).operator("||").udf()
    });
    Arc::clone(&CONCAT)
}

fn kind() -> SqlError {
    SqlError::internal("a value of another type than the function's")
}

fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn text(text: String) -> Value {
    Value::Text(text)
}

fn count(n: usize) -> Value {
    Value::Int4(i32::try_from(n).unwrap_or(i32::MAX))
}

/// The text of an argument of any type, as output shows it.
fn shown(value: &Value, call: &Call<'_>, at: usize) -> String {
    format_value(value, call.types.get(at).unwrap_or(&T::Text), &settings(call))
}

/// How values are shown to the session.
pub(super) fn settings(call: &Call<'_>) -> OutputSettings {
    call.view
        .and_then(|view| perigee_types::text::TimeZone::parse(&view.session.time_zone))
        .map_or(OutputSettings::DEFAULT, |time_zone| OutputSettings { time_zone, ..OutputSettings::DEFAULT })
}

/// A regular expression, with `(?i)` where case does not count.
pub(super) fn regex(pattern: &str, ignore_case: bool) -> SqlResult<regex::Regex> {
    let pattern = perigee_types::text::pattern::translate(pattern);
    regex::RegexBuilder::new(&pattern).case_insensitive(ignore_case).build().map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        SqlError::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
    })
}

/// From where to where, in elements, `FROM from FOR length` reaches.
fn window(from: i64, length: Option<i64>, total: usize) -> SqlResult<(usize, usize)> {
    let end = match length {
        Some(length) if length < 0 => {
            return Err(SqlError::new(SqlState::SubstringError, "negative substring length not allowed"));
        }
        Some(length) => from.saturating_add(length).saturating_sub(1),
        None => i64::MAX,
    };
    let clamp = |at: i64| usize::try_from(at.max(0)).unwrap_or(usize::MAX).min(total);
    let (start, end) = (clamp(from - 1), clamp(end));
    Ok((start, end.max(start)))
}

fn slice(s: &str, from: i64, length: Option<i64>) -> SqlResult<Value> {
    if s.is_ascii() {
        let (start, end) = window(from, length, s.len())?;
        return Ok(text(s[start..end].to_owned()));
    }
    let (start, end) = window(from, length, s.chars().count())?;
    Ok(text(s.chars().skip(start).take(end - start).collect()))
}

pub(super) fn concat(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let mut out = Growing::new(call);
    for (at, value) in args.iter().enumerate() {
        if !value.is_null() {
            out.push(&shown(value, call, at))?;
        }
    }
    Ok(out.finish())
}

pub(super) fn concat_ws(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let Some(Value::Text(separator)) = args.first() else { return Ok(Value::Null) };
    let mut out = Growing::new(call);
    for (count, (at, value)) in args.iter().enumerate().skip(1).filter(|(_, value)| !value.is_null()).enumerate() {
        if count > 0 {
            out.push(separator)?;
        }
        out.push(&shown(value, call, at))?;
    }
    Ok(out.finish())
}

/// An identifier as SQL has to write it.
fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$')
        && !is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn is_reserved(name: &str) -> bool {
    let keyword = sqlparser::keywords::ALL_KEYWORDS.binary_search(&name.to_uppercase().as_str());
    keyword.is_ok_and(|at| {
        let keyword = sqlparser::keywords::ALL_KEYWORDS_INDEX[at];
        sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS.contains(&keyword)
            || sqlparser::keywords::RESERVED_FOR_TABLE_ALIAS.contains(&keyword)
    }) || matches!(name, "table" | "user" | "select" | "all" | "and" | "or" | "not" | "null" | "true" | "false")
}

fn quote_literal(s: &str) -> String {
    let quoted = s.replace('\'', "''");
    if s.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// format(): %s, %I, %L, %% with a position, `-` and a width.
pub(super) fn format(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let Some(Value::Text(template)) = args.first() else { return Ok(Value::Null) };
    let invalid = |text: &str| SqlError::new(SqlState::InvalidParameterValue, text);
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    let mut next = 1;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut digits = String::new();
        let (mut left, mut position) = (false, None);
        let conversion = loop {
            match chars.next() {
                Some(d) if d.is_ascii_digit() => digits.push(d),
                Some('$') => position = std::mem::take(&mut digits).parse::<usize>().ok(),
                Some('-') => left = true,
                Some(other) => break other,
                None => {
                    return Err(invalid("unterminated format() type specifier").hint("For a single \"%\" use \"%%\"."));
                }
            }
        };
        let piece = match conversion {
            '%' => "%".to_owned(),
            's' | 'I' | 'L' => {
                let at = position.unwrap_or(next);
                next = at + 1;
                let value = args.get(at).filter(|_| at > 0).ok_or_else(|| invalid("too few arguments for format()"))?;
                match (conversion, value.is_null()) {
                    ('s', true) => String::new(),
                    ('I', true) => {
                        return Err(SqlError::new(
                            SqlState::NullValueNotAllowed,
                            "null values cannot be formatted as an SQL identifier",
                        ));
                    }
                    ('L', true) => "NULL".to_owned(),
                    ('s', false) => shown(value, call, at),
                    ('I', false) => quote_ident(&shown(value, call, at)),
                    _ => quote_literal(&shown(value, call, at)),
                }
            }
            other => {
                return Err(invalid(&format!("unrecognized format() type specifier \"{other}\""))
                    .hint("For a single \"%\" use \"%%\"."));
            }
        };
        let width = match digits.as_str() {
            "" => 0,
            digits => digits.parse::<i32>().map_err(|_| invalid("number is out of range"))?.unsigned_abs() as usize,
        };
        let missing = width.saturating_sub(piece.chars().count());
        check_bytes(out.len().checked_add(piece.len()).and_then(|bytes| bytes.checked_add(missing)))?;
        let blanks = std::iter::repeat_n(' ', missing);
        if left {
            out.push_str(&piece);
            out.extend(blanks);
        } else {
            out.extend(blanks);
            out.push_str(&piece);
        }
    }
    Ok(text(out))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a line of base64 in PostgreSQL's output.
const BASE64_LINE: usize = 76;

fn unknown_encoding(name: &str) -> SqlError {
    SqlError::new(SqlState::InvalidParameterValue, format!("unrecognized encoding: \"{name}\""))
}

fn encode(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let Value::Bytea(bytes) = &args[0] else { return Err(kind()) };
    let mut out = String::new();
    match str(&args[1]).to_lowercase().as_str() {
        "hex" => {
            for byte in bytes {
                let _ = write!(out, "{byte:02x}");
            }
        }
        "base64" => {
            let mut line = 0;
            for chunk in bytes.chunks(3) {
                if line == BASE64_LINE {
                    out.push('\n');
                    line = 0;
                }
                let word = (0..3).fold(0u32, |w, i| w << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
                for i in 0..4 {
                    let code = (word >> (18 - 6 * i)) as usize & 63;
                    out.push(if i <= chunk.len() { char::from(BASE64[code]) } else { '=' });
                }
                line += 4;
            }
        }
        "escape" => {
            for &byte in bytes {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0 | 0x80.. => {
                        let _ = write!(out, "\\{byte:03o}");
                    }
                    byte => out.push(char::from(byte)),
                }
            }
        }
        other => return Err(unknown_encoding(other)),
    }
    Ok(text(out))
}

fn decode(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let source = str(&args[0]);
    let invalid = |what: String| SqlError::new(SqlState::InvalidParameterValue, what);
    let bytes = match str(&args[1]).to_lowercase().as_str() {
        "hex" => {
            let digits: Vec<u8> = source
                .chars()
                .filter(|c| !c.is_whitespace())
                .map(|c| {
                    let digit = c.to_digit(16).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))?;
                    Ok(digit as u8)
                })
                .collect::<SqlResult<_>>()?;
            if digits.len() % 2 == 1 {
                return Err(invalid("invalid hexadecimal data: odd number of digits".to_owned()));
            }
            digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
        }
        "base64" => {
            let mut bytes = Vec::new();
            let (mut word, mut bits) = (0u32, 0);
            for c in source.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
                let code = BASE64.iter().position(|b| *b == c).ok_or_else(|| {
                    invalid(format!("invalid symbol \"{}\" found while decoding base64 sequence", char::from(c)))
                })?;
                word = word << 6 | code as u32;
                bits += 6;
                if bits >= 8 {
                    bits -= 8;
                    bytes.push((word >> bits) as u8);
                }
            }
            bytes
        }
        "escape" => match perigee_types::text::parse(source, &T::Bytea)? {
            Value::Bytea(bytes) => bytes,
            _ => return Err(kind()),
        },
        other => return Err(unknown_encoding(other)),
    };
    Ok(Value::Bytea(bytes))
}

/// to_number: digits, sign and point of a text, whatever else the template says.
fn to_number(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let kept: String = str(&args[0]).chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+')).collect();
    perigee_types::text::parse(&kept, &T::Numeric(None))
}

/// `like_escape(pattern, escape)`: what LIKE with ESCAPE goes by where its pattern is not constant.
pub(super) fn like_escape() -> Arc<ScalarUDF> {
    let eval = |a: &[Value], _: &Call<'_>| {
        let (pattern, mut escape) = (str(&a[0]), str(&a[1]).chars());
        match (escape.next(), escape.next()) {
            (None, _) => Ok(text(pattern.replace('\\', "\\\\"))),
            (Some('\\'), None) => Ok(a[0].clone()),
            (Some(escape), None) => backslashed(pattern, escape).map(text),
            _ => Err(SqlError::new(SqlState::InvalidEscapeSequence, "invalid escape string")
                .hint("Escape string must be empty or one character.")),
        }
    };
    Function::new("like_escape", vec![overload(&[T::Text, T::Text], T::Text, eval)]).udf()
}

/// A pattern with another escape as one with backslashes.
pub(super) fn backslashed(pattern: &str, escape: char) -> SqlResult<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == escape => match chars.next() {
                Some(c) => {
                    if matches!(c, '%' | '_' | '\\') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                None => {
                    let message = "LIKE pattern must not end with escape character";
                    return Err(SqlError::new(SqlState::InvalidEscapeSequence, message));
                }
            },
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    Ok(out)
}

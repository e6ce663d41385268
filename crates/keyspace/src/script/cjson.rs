//! The `cjson` library.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Result, Table, Value};
use parking_lot::Mutex;

use super::number::format_g;
use super::vm::{Budget, MEMORY_BYTES_MAX, out_of_memory, raise};

/// What scripts may set for themselves.
#[derive(Clone, Copy, Debug)]
struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: usize,
    decode_depth: usize,
    precision: usize,
    keep_buffer: bool,
    /// 0: an error; 1: as C writes them; 2: null.
    encode_invalid: u8,
    decode_invalid: bool,
}

const DEFAULT: Settings = Settings {
    sparse_convert: false,
    sparse_ratio: 2,
    sparse_safe: 10,
    encode_depth: 1_000,
    decode_depth: 1_000,
    precision: 14,
    keep_buffer: true,
    encode_invalid: 0,
    decode_invalid: true,
};

/// Nesting that is never gone beyond, whatever a script sets.
const DEPTH_MAX: usize = 1_000;

type Shared = Arc<Mutex<Settings>>;

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            b'/' => out.extend(b"\\/"),
            8 => out.extend(b"\\b"),
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            12 => out.extend(b"\\f"),
            b'\r' => out.extend(b"\\r"),
            0..32 | 127 => out.extend(format!("\\u{byte:04x}").bytes()),
            other => out.push(*other),
        }
    }
    out.push(b'"');
}

fn cannot(kind: &str, why: &str) -> String {
    format!("Cannot serialise {kind}: {why}")
}

fn write_number(value: f64, settings: &Settings, out: &mut Vec<u8>) -> std::result::Result<(), String> {
    match settings.encode_invalid {
        0 if !value.is_finite() => return Err(cannot("number", "must not be NaN or Inf")),
        1 if value.is_nan() => out.extend(b"nan"),
        2 if !value.is_finite() => out.extend(b"null"),
        _ => out.extend(format_g(value, settings.precision).bytes()),
    }
    Ok(())
}

/// How many elements a table has as an array; `None` for an object.
fn array_length(table: &Table, settings: &Settings, budget: &Budget) -> std::result::Result<Option<i64>, Failed> {
    let (mut max, mut items) = (0_i64, 0_i64);
    let mut is_array = true;
    let walked = table.for_each(|key: Value, _: Value| {
        let key = match key {
            Value::Integer(key) => key,
            Value::Number(key) if key.floor() == key && key < 2e9 => key as i64,
            _ => 0,
        };
        is_array &= key >= 1;
        max = max.max(key);
        items += 1;
        budget.charge(2)
    });
    walked.map_err(Failed::Lua)?;
    if !is_array {
        return Ok(None);
    }
    if settings.sparse_ratio > 0 && max > items.saturating_mul(settings.sparse_ratio) && max > settings.sparse_safe {
        if !settings.sparse_convert {
            return Err(cannot("table", "excessively sparse array").into());
        }
        return Ok(None);
    }
    Ok(Some(max))
}

/// A table that is being written.
enum Open {
    Array { table: Table, next: i64, len: i64 },
    Object { table: Table, keys: std::vec::IntoIter<Key>, is_first: bool },
}

/// A key of a table, as Rust has it: handles on the values of Lua are few.
enum Key {
    Text(Vec<u8>),
    Integer(i64),
    Number(f64),
    Other(&'static str),
}

impl Key {
    fn all_of(table: &Table) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        table.for_each(|key: Value, _: Value| {
            keys.push(match key {
                Value::String(text) => Key::Text(text.as_bytes().to_vec()),
                Value::Integer(key) => Key::Integer(key),
                Value::Number(key) => Key::Number(key),
                other => Key::Other(other.type_name()),
            });
            Ok(())
        })?;
        Ok(keys)
    }

    fn value_in(self, table: &Table) -> Value {
        let value = match self {
            Key::Text(text) => table.raw_get(mlua::BString::from(text)),
            Key::Integer(key) => table.raw_get(key),
            Key::Number(key) => table.raw_get(key),
            Key::Other(_) => return Value::Nil,
        };
        value.unwrap_or(Value::Nil)
    }
}

/// Why a value was not written.
enum Failed {
    Text(String),
    /// Of Lua itself, or the end of the script.
    Lua(mlua::Error),
}

impl From<String> for Failed {
    fn from(text: String) -> Self {
        Failed::Text(text)
    }
}

/// Writes a value. Nesting is kept apart from the thread's stack. A table that stands in many places is written in each, so
/// little may become very much.
fn write(value: &Value, settings: &Settings, budget: &Budget, out: &mut Vec<u8>) -> std::result::Result<(), Failed> {
    let mut open: Vec<Open> = Vec::new();
    let mut value = value.clone();
    let mut charged = 0;
    loop {
        budget.charge_for(1, out.len() - charged).map_err(Failed::Lua)?;
        charged = out.len();
        if charged > MEMORY_BYTES_MAX as usize {
            return Err(Failed::Lua(out_of_memory()));
        }
        match &value {
            Value::String(text) => write_string(&text.as_bytes(), out),
            Value::Integer(value) => write_number(*value as f64, settings, out)?,
            Value::Number(value) => write_number(*value, settings, out)?,
            Value::Boolean(value) => out.extend(if *value { b"true".as_slice() } else { b"false" }),
            Value::Nil => out.extend(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => out.extend(b"null"),
            Value::Table(table) => {
                let depth = open.len() + 1;
                if depth > settings.encode_depth.min(DEPTH_MAX) {
                    return Err(format!("Cannot serialise, excessive nesting ({depth})").into());
                }
                open.push(match array_length(table, settings, budget)? {
                    Some(len) if len > 0 => {
                        out.push(b'[');
                        Open::Array { table: table.clone(), next: 1, len }
                    }
                    _ => {
                        out.push(b'{');
                        let keys = Key::all_of(table).map_err(Failed::Lua)?.into_iter();
                        Open::Object { table: table.clone(), keys, is_first: true }
                    }
                });
            }
            other => return Err(cannot(other.type_name(), "type not supported").into()),
        }
        // The next value of the innermost table; behind its last one comes the table around it.
        value = loop {
            let Some(innermost) = open.last_mut() else { return Ok(()) };
            match innermost {
                Open::Array { table, next, len } if *next <= *len => {
                    if *next > 1 {
                        out.push(b',');
                    }
                    *next += 1;
                    break table.raw_get(*next - 1).unwrap_or(Value::Nil);
                }
                Open::Array { .. } => out.push(b']'),
                Open::Object { table, keys, is_first } => match keys.next() {
                    Some(key) => {
                        if !std::mem::replace(is_first, false) {
                            out.push(b',');
                        }
                        write_key(&key, settings, out)?;
                        break key.value_in(table);
                    }
                    None => out.push(b'}'),
                },
            }
            open.pop();
        };
    }
}

fn write_key(key: &Key, settings: &Settings, out: &mut Vec<u8>) -> std::result::Result<(), String> {
    let number = match key {
        Key::Text(key) => {
            write_string(key, out);
            out.push(b':');
            return Ok(());
        }
        Key::Integer(key) => *key as f64,
        Key::Number(key) => *key,
        Key::Other(kind) => return Err(cannot(kind, "table key must be a number or string")),
    };
    out.push(b'"');
    write_number(number, settings, out)?;
    out.extend(b"\":");
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(why) => why,
        }
    }
}

struct Parser<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
    /// Where the last token stands.
    token_at: usize,
    depth: usize,
    settings: Settings,
}

impl Parser<'_> {
    fn wrong(&mut self, why: &'static str) -> Token {
        self.token_at = self.at;
        Token::Wrong(why)
    }

    fn take(&mut self, token: Token, len: usize) -> Token {
        self.at += len;
        token
    }

    fn next(&mut self) -> Token {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.token_at = self.at;
        let rest = self.text.get(self.at..).unwrap_or_default();
        match rest {
            // C ends there as well.
            [] | [0, ..] => Token::End,
            [b'{', ..] => self.take(Token::ObjectBegin, 1),
            [b'}', ..] => self.take(Token::ObjectEnd, 1),
            [b'[', ..] => self.take(Token::ArrayBegin, 1),
            [b']', ..] => self.take(Token::ArrayEnd, 1),
            [b':', ..] => self.take(Token::Colon, 1),
            [b',', ..] => self.take(Token::Comma, 1),
            [b'"', ..] => self.string(),
            [b'-' | b'0'..=b'9', ..] => self.number(rest),
            _ if rest.starts_with(b"true") => self.take(Token::Boolean(true), 4),
            _ if rest.starts_with(b"false") => self.take(Token::Boolean(false), 5),
            _ if rest.starts_with(b"null") => self.take(Token::Null, 4),
            [b'i' | b'I' | b'n' | b'N' | b'+', ..] if self.settings.decode_invalid && is_invalid(rest) => {
                self.number(rest)
            }
            _ => self.wrong("invalid token"),
        }
    }

    fn number(&mut self, rest: &[u8]) -> Token {
        if !self.settings.decode_invalid && is_invalid(rest) {
            return self.wrong("invalid number");
        }
        match parse_number(rest) {
            Some((value, len)) => self.take(Token::Number(value), len),
            None => self.wrong("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            match self.text.get(self.at..).unwrap_or_default() {
                [] | [0, ..] => return self.wrong("unexpected end of string"),
                [b'"', ..] => {
                    self.at += 1;
                    return Token::String(text);
                }
                [b'\\', b'u', rest @ ..] => match unescape(rest) {
                    Some((point, len)) => {
                        let mut buffer = [0; 4];
                        text.extend(point.encode_utf8(&mut buffer).bytes());
                        self.at += 2 + len;
                    }
                    None => return self.wrong("invalid unicode escape code"),
                },
                [b'\\', escape, ..] => {
                    text.push(match escape {
                        b'"' | b'\\' | b'/' => *escape,
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        _ => return self.wrong("invalid escape code"),
                    });
                    self.at += 2;
                }
                [b'\\'] => return self.wrong("invalid escape code"),
                [byte, ..] => {
                    text.push(*byte);
                    self.at += 1;
                }
            }
        }
    }

    fn expected(&self, what: &str, token: &Token) -> mlua::Error {
        raise(self.lua, &format!("Expected {what} but found {} at character {}", token.name(), self.token_at + 1))
    }

    fn descend(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > self.settings.decode_depth.min(DEPTH_MAX) {
            let text = format!("Found too many nested data structures ({}) at character {}", self.depth, self.at);
            return Err(raise(self.lua, &text));
        }
        Ok(())
    }

    /// The key of an object's entry, up to its colon.
    fn key(&mut self, token: Token) -> Result<mlua::String> {
        let Token::String(key) = token else { return Err(self.expected("object key string", &token)) };
        match self.next() {
            Token::Colon => self.lua.create_string(key),
            other => Err(self.expected("colon", &other)),
        }
    }

    /// Reads the value that begins with a token. Nesting is kept apart from the thread's stack.
    fn value(&mut self, mut token: Token) -> Result<Value> {
        let mut open: Vec<(Table, Place)> = Vec::new();
        loop {
            let mut value = match token {
                Token::String(text) => Value::String(self.lua.create_string(text)?),
                Token::Number(value) => Value::Number(value),
                Token::Boolean(value) => Value::Boolean(value),
                Token::Null => Value::NULL,
                Token::ObjectBegin => {
                    self.descend()?;
                    let table = self.lua.create_table()?;
                    match self.next() {
                        Token::ObjectEnd => self.ascend(table),
                        first => {
                            let key = self.key(first)?;
                            open.push((table, Place::Key(key)));
                            token = self.next();
                            continue;
                        }
                    }
                }
                Token::ArrayBegin => {
                    self.descend()?;
                    let table = self.lua.create_table()?;
                    match self.next() {
                        Token::ArrayEnd => self.ascend(table),
                        first => {
                            open.push((table, Place::Index(1)));
                            token = first;
                            continue;
                        }
                    }
                }
                other => return Err(self.expected("value", &other)),
            };
            // The value goes into the table around it, which may be a value that is whole then.
            loop {
                let Some((table, place)) = open.pop() else { return Ok(value) };
                let (is_object, index) = match place {
                    Place::Key(key) => {
                        table.raw_set(key, value)?;
                        (true, 0)
                    }
                    Place::Index(n) => {
                        table.raw_set(n, value)?;
                        (false, n + 1)
                    }
                };
                match (self.next(), is_object) {
                    (Token::ObjectEnd, true) | (Token::ArrayEnd, false) => value = self.ascend(table),
                    (Token::Comma, true) => {
                        let first = self.next();
                        open.push((table, Place::Key(self.key(first)?)));
                        token = self.next();
                        break;
                    }
                    (Token::Comma, false) => {
                        open.push((table, Place::Index(index)));
                        token = self.next();
                        break;
                    }
                    (other, true) => return Err(self.expected("comma or object end", &other)),
                    (other, false) => return Err(self.expected("comma or array end", &other)),
                }
            }
        }
    }

    fn ascend(&mut self, table: Table) -> Value {
        self.depth -= 1;
        Value::Table(table)
    }
}

/// Where the next value of a table goes.
enum Place {
    Key(mlua::String),
    Index(i64),
}

/// Whether a number is none of JSON: hexadecimal, with leading zeros, infinite or no number.
fn is_invalid(text: &[u8]) -> bool {
    let text = match text {
        [b'+', ..] => return true,
        [b'-', rest @ ..] => rest,
        text => text,
    };
    match text {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        [b'0'..=b'9', ..] => false,
        _ => text.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")),
    }
}

/// A number at the front of a text, as `strtod` reads it, with its length.
fn parse_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign_len = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let sign = if text.first() == Some(&b'-') { -1.0 } else { 1.0 };
    let rest = text.get(sign_len..)?;
    for (word, value) in [(b"infinity".as_slice(), f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)] {
        if rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)) {
            return Some((sign * value, sign_len + word.len()));
        }
    }
    if let [b'0', b'x' | b'X', hex @ ..] = rest {
        let len = hex.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if len > 0 {
            let value = hex[..len]
                .iter()
                .fold(0.0, |value, digit| value * 16.0 + f64::from(char::from(*digit).to_digit(16).unwrap_or(0)));
            return Some((sign * value, sign_len + 2 + len));
        }
    }
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(rest);
    let mut len = whole;
    let mut fraction = 0;
    if rest.get(len) == Some(&b'.') {
        fraction = digits(&rest[len + 1..]);
        len += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = rest.get(len) {
        let signed = usize::from(matches!(rest.get(len + 1), Some(b'-' | b'+')));
        let exponent = digits(rest.get(len + 1 + signed..).unwrap_or_default());
        if exponent > 0 {
            len += 1 + signed + exponent;
        }
    }
    let value: f64 = std::str::from_utf8(&rest[..len]).ok()?.parse().ok()?;
    Some((sign * value, sign_len + len))
}

/// The character of `\u` and four digits, or of two of them; with the bytes behind the first `\u`.
fn unescape(text: &[u8]) -> Option<(char, usize)> {
    let four = |text: &[u8]| {
        let digits = text.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = four(text)?;
    if (0xd800..0xdc00).contains(&first) {
        let second = text.get(4..6).filter(|mark| *mark == b"\\u").and_then(|_| four(text.get(6..)?))?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        return Some((char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low)?, 10));
    }
    Some((char::from_u32(first)?, 4))
}

fn decode(lua: &Lua, args: &MultiValue, settings: Settings, budget: &Budget) -> Result<Value> {
    if args.len() != 1 {
        return Err(raise(lua, "bad argument #1 to 'decode' (expected 1 argument)"));
    }
    let value = args.front().cloned().unwrap_or(Value::Nil);
    let kind = value.type_name();
    let text = lua
        .coerce_string(value)?
        .ok_or_else(|| raise(lua, &format!("bad argument #1 to 'decode' (string expected, got {kind})")))?;
    let text = text.as_bytes();
    // Each byte may be a value.
    budget.charge(text.len() as u64)?;
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(raise(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut parser = Parser { lua, text: &text, at: 0, token_at: 0, depth: 0, settings };
    let token = parser.next();
    let value = parser.value(token)?;
    match parser.next() {
        Token::End => Ok(value),
        other => Err(parser.expected("the end", &other)),
    }
}

/// A function that sets a number within bounds and gives what it is.
fn number_setting(
    lua: &Lua,
    table: &Table,
    name: &'static str,
    (min, max): (i64, i64),
    shared: &Shared,
    field: fn(&mut Settings) -> &mut usize,
) -> Result<()> {
    let shared = Arc::clone(shared);
    let function = lua.create_function(move |lua, args: MultiValue| {
        if let Some(value) = args.front() {
            let value = value.as_i64().filter(|value| (min..=max).contains(value)).ok_or_else(|| {
                raise(lua, &format!("bad argument #1 to '{name}' (expected integer between {min} and {max})"))
            })?;
            *field(&mut shared.lock()) = usize::try_from(value).unwrap_or(0);
        }
        Ok(*field(&mut shared.lock()) as f64)
    })?;
    table.raw_set(name, function)
}

/// The library.
pub(super) fn create(lua: &Lua, budget: &Arc<Budget>) -> Result<Table> {
    let shared: Shared = Arc::new(Mutex::new(DEFAULT));
    let table = lua.create_table()?;
    let (own, spent) = (Arc::clone(&shared), Arc::clone(budget));
    table.raw_set(
        "encode",
        lua.create_function(move |lua, args: MultiValue| {
            if args.len() != 1 {
                return Err(raise(lua, "bad argument #1 to 'encode' (expected 1 argument)"));
            }
            let mut out = Vec::new();
            let settings = *own.lock();
            write(&args[0], &settings, &spent, &mut out).map_err(|failed| match failed {
                Failed::Text(text) => raise(lua, &text),
                Failed::Lua(error) => error,
            })?;
            lua.create_string(out)
        })?,
    )?;
    let (own, spent) = (Arc::clone(&shared), Arc::clone(budget));
    table.raw_set(
        "decode",
        lua.create_function(move |lua, args: MultiValue| {
            let settings = *own.lock();
            decode(lua, &args, settings, &spent)
        })?,
    )?;
    let own = Arc::clone(&shared);
    table.raw_set(
        "encode_sparse_array",
        lua.create_function(move |_, args: MultiValue| {
            let mut settings = own.lock();
            if let Some(value) = args.front() {
                settings.sparse_convert = value.as_boolean().unwrap_or(false);
            }
            if let Some(value) = args.get(1).and_then(Value::as_i64) {
                settings.sparse_ratio = value.max(0);
            }
            if let Some(value) = args.get(2).and_then(Value::as_i64) {
                settings.sparse_safe = value.max(0);
            }
            Ok((settings.sparse_convert, settings.sparse_ratio as f64, settings.sparse_safe as f64))
        })?,
    )?;
    number_setting(lua, &table, "encode_max_depth", (1, i32::MAX.into()), &shared, |s| &mut s.encode_depth)?;
    number_setting(lua, &table, "decode_max_depth", (1, i32::MAX.into()), &shared, |s| &mut s.decode_depth)?;
    number_setting(lua, &table, "encode_number_precision", (1, 14), &shared, |s| &mut s.precision)?;
    let own = Arc::clone(&shared);
    table.raw_set(
        "encode_keep_buffer",
        lua.create_function(move |_, args: MultiValue| {
            let mut settings = own.lock();
            settings.keep_buffer =
                args.front().map_or(settings.keep_buffer, |value| value.as_boolean().unwrap_or(true));
            Ok(settings.keep_buffer)
        })?,
    )?;
    let own = Arc::clone(&shared);
    table.raw_set(
        "encode_invalid_numbers",
        lua.create_function(move |_, args: MultiValue| {
            let mut settings = own.lock();
            match args.front() {
                Some(Value::Boolean(value)) => settings.encode_invalid = u8::from(*value),
                Some(Value::String(text)) if *text.as_bytes() == *b"null" => settings.encode_invalid = 2,
                Some(Value::String(text)) if *text.as_bytes() == *b"on" => settings.encode_invalid = 1,
                Some(Value::String(_)) => settings.encode_invalid = 0,
                _ => {}
            }
            Ok(settings.encode_invalid == 1)
        })?,
    )?;
    let own = Arc::clone(&shared);
    table.raw_set(
        "decode_invalid_numbers",
        lua.create_function(move |_, args: MultiValue| {
            let mut settings = own.lock();
            settings.decode_invalid = args.front().map_or(settings.decode_invalid, |v| v.as_boolean().unwrap_or(true));
            Ok(settings.decode_invalid)
        })?,
    )?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

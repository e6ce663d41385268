//! hstore: texts, or NULL, by their keys.
//!
//! A value is kept as its binary format, the count of its pairs and for each the length and bytes of its key and of its text, with
//! the keys in PostgreSQL's order: shorter ones first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::error::{SqlError, SqlResult, SqlState};
use crate::text::json::write_string;

/// The longest key or text, in bytes.
const LENGTH_MAX: usize = 0x3fff_ffff;

/// Pairs by their keys, in the order that they are kept in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hstore(BTreeMap<(usize, String), Option<String>>);

impl Hstore {
    /// Puts a pair; one of the key that is there stays where `replace` does not say so.
    pub fn put(&mut self, key: String, value: Option<String>, replace: bool) {
        let place = (key.len(), key);
        if replace {
            self.0.insert(place, value);
        } else {
            self.0.entry(place).or_insert(value);
        }
    }

    /// The text of a key: `None` where the key is not there, `Some(None)` for NULL.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Option<&str>> {
        self.0.get(&(key.len(), key.to_owned())).map(Option::as_deref)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(&(key.len(), key.to_owned()));
    }

    /// The pairs in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|((_, key), value)| (key.as_str(), value.as_deref()))
    }

    /// The bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut kept = (self.0.len() as u32).to_be_bytes().to_vec();
        for (key, value) in self.pairs() {
            put(&mut kept, Some(key));
            put(&mut kept, value);
        }
        kept
    }

    /// The pairs that are kept so; those that can be read of what is not.
    #[must_use]
    pub fn decode(kept: &[u8]) -> Hstore {
        read(kept).unwrap_or_default()
    }
}

/// Length and bytes of a text, -1 for NULL.
fn put(kept: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            kept.extend((text.len() as u32).to_be_bytes());
            kept.extend(text.as_bytes());
        }
        None => kept.extend((-1_i32).to_be_bytes()),
    }
}

fn read(wire: &[u8]) -> Option<Hstore> {
    let (count, mut rest) = wire.split_first_chunk::<4>()?;
    let count = i32::from_be_bytes(*count);
    let mut found = Hstore::default();
    let mut text = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        rest = behind;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Some(None) };
        let (text, behind) = rest.split_at_checked(length)?;
        rest = behind;
        String::from_utf8(text.to_vec()).ok().filter(|text| !text.contains('\0')).map(Some)
    };
    for _ in 0..count {
        let key = text()??;
        let value = text()?;
        found.put(key, value, false);
    }
    (count >= 0 && rest.is_empty()).then_some(found)
}

/// The bytes that are kept, of those of the binary format; of several pairs of one key the first counts.
pub(super) fn from_wire(wire: &[u8]) -> SqlResult<Vec<u8>> {
    let invalid = || SqlError::new(SqlState::InvalidBinaryRepresentation, "invalid binary value of type hstore");
    read(wire).map(|found| found.encode()).ok_or_else(invalid)
}

/// `"key"=>"text", "other"=>NULL`
pub(super) fn format(kept: &[u8]) -> String {
    let mut out = String::new();
    for (key, value) in Hstore::decode(kept).pairs() {
        let _ = write!(out, "{}{}=>", if out.is_empty() { "" } else { ", " }, quoted(key));
        out.push_str(&value.map_or_else(|| "NULL".to_owned(), quoted));
    }
    out
}

/// An object of JSON, whose values are strings and null.
#[must_use]
pub fn to_json(kept: &[u8]) -> String {
    let mut out = String::from("{");
    for (key, value) in Hstore::decode(kept).pairs() {
        if out.len() > 1 {
            out.push_str(", ");
        }
        write_string(&mut out, key);
        out.push_str(": ");
        match value {
            Some(value) => write_string(&mut out, value),
            None => out.push_str("null"),
        }
    }
    out.push('}');
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads pairs with commas between them.
pub(super) fn parse(text: &str) -> SqlResult<Vec<u8>> {
    let mut reader = Reader { rest: text, text };
    let mut found = Hstore::default();
    loop {
        reader.skip_blanks();
        if reader.rest.is_empty() {
            return Ok(found.encode());
        }
        let (key, _) = reader.word()?;
        reader.skip_blanks();
        reader.rest = reader.rest.strip_prefix("=>").ok_or_else(|| reader.unexpected())?;
        reader.skip_blanks();
        let (value, bare) = reader.word()?;
        let value = (!bare || !value.eq_ignore_ascii_case("null")).then_some(value);
        if key.len() > LENGTH_MAX || value.as_ref().is_some_and(|value| value.len() > LENGTH_MAX) {
            return Err(SqlError::new(SqlState::StringDataRightTruncation, "string too long for hstore"));
        }
        found.put(key, value, false);
        reader.skip_blanks();
        match reader.rest.strip_prefix(',') {
            Some(rest) => reader.rest = rest,
            None if reader.rest.is_empty() => {}
            None => return Err(reader.unexpected()),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn unexpected(&self) -> SqlError {
        SqlError::syntax(match self.rest.chars().next() {
            Some(found) => {
                let at = self.text.len() - self.rest.len();
                format!("syntax error in hstore, near \"{found}\" at position {at}")
            }
            None => "syntax error in hstore: unexpected end of string".to_owned(),
        })
    }

    /// A key or a text, and whether it stands without quotes.
    fn word(&mut self) -> SqlResult<(String, bool)> {
        let mut word = String::new();
        let (body, quoted) = self.rest.strip_prefix('"').map_or((self.rest, false), |body| (body, true));
        let mut chars = body.char_indices();
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => match chars.next() {
                    Some((_, escaped)) => word.push(escaped),
                    None => break None,
                },
                Some((at, '"')) if quoted => break Some(at + 1),
                Some((at, c)) if !quoted && (c.is_ascii_whitespace() || c == ',' || body[at..].starts_with("=>")) => {
                    break Some(at);
                }
                Some((_, '"')) => break Some(usize::MAX),
                Some((_, c)) => word.push(c),
                None if quoted => break None,
                None => break Some(body.len()),
            }
        };
        let Some(rest) = end.and_then(|end| body.get(end..)) else {
            self.rest = "";
            return Err(self.unexpected());
        };
        if word.is_empty() && !quoted {
            return Err(self.unexpected());
        }
        self.rest = rest;
        Ok((word, !quoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |text: &str, want: &str| {
            let got = parse(text).map_or_else(|error| error.state().code().to_owned(), |kept| format(&kept));
            assert_eq!(got, want, "{text}");
        };
        check("", "");
        check("a=>1", "\"a\"=>\"1\"");
        check(" bb => 1 , a=>2,", "\"a\"=>\"2\", \"bb\"=>\"1\"");
        check("a=>1, a=>2", "\"a\"=>\"1\"");
        check("a=>NULL, b=>\"NULL\"", "\"a\"=>NULL, \"b\"=>\"NULL\"");
        check("\"a b\"=>\"say \\\"x\\\"\"", "\"a b\"=>\"say \\\"x\\\"\"");
        check("a", "42601");
        check("a=>", "42601");
        check("a=>1 b=>2", "42601");
        check("\"a=>1", "42601");
        check("=>1", "42601");
    }
}

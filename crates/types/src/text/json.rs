//! json is checked and kept as written; jsonb is kept in PostgreSQL's normal form.
//!
//! The normal form has object keys ordered by length, then bytes, the last of equal keys winning; one blank behind `:`
//! and `,`; numbers as numeric prints them, without loss; escapes only where JSON needs them.

use crate::{SqlError, SqlResult, SqlState};

/// How deeply values may be nested.
const DEPTH_MAX: usize = 512;

/// Digits that a number's exponent may add when it is written out.
const EXPONENT_MAX: i64 = 16_383;

/// Checks that a text is JSON.
///
/// # Errors
/// `22P02`; `54001` where it is nested too deeply.
pub fn validate(text: &str) -> SqlResult<()> {
    Parser { text, at: 0, out: None }.document()
}

/// The normal form of a jsonb.
///
/// # Errors
/// As [`validate`]; `22P05` for `\u0000`, which jsonb cannot hold.
pub fn normalize(text: &str) -> SqlResult<String> {
    let mut parser = Parser { text, at: 0, out: Some(String::with_capacity(text.len() + 16)) };
    parser.document()?;
    Ok(parser.out.unwrap_or_default())
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The normal form, where it is wanted.
    out: Option<String>,
}

impl Parser<'_> {
    fn document(&mut self) -> SqlResult<()> {
        self.value(0)?;
        self.blanks();
        if self.at < self.text.len() { Err(self.unexpected("Expected end of input")) } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> SqlResult<()> {
        if depth > DEPTH_MAX {
            return Err(SqlError::new(SqlState::StatementTooComplex, "json is nested too deeply")
                .detail(format!("The limit is {DEPTH_MAX} levels.")));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let string = self.string()?;
                if let Some(out) = &mut self.out {
                    write_string(out, &string);
                }
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for word in ["true", "false", "null"] {
                    if self.text[self.at..].starts_with(word) {
                        let end = self.at + word.len();
                        if !self.text.as_bytes().get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
                            self.at = end;
                            self.write(word);
                            return Ok(());
                        }
                    }
                }
                Err(self.unexpected("Expected JSON value"))
            }
        }
    }

    fn object(&mut self, depth: usize) -> SqlResult<()> {
        self.at += 1;
        let before = self.out.take();
        let normal = before.is_some();
        // Members with their normal forms, in the order of the text.
        let mut members: Vec<(String, String)> = Vec::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                self.blanks();
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected("Expected string"));
                }
                self.out = normal.then(String::new);
                let key = self.string()?;
                self.blanks();
                if self.peek() != Some(b':') {
                    return Err(self.unexpected("Expected \":\""));
                }
                self.at += 1;
                self.value(depth + 1)?;
                if let Some(value) = self.out.take() {
                    members.push((key, value));
                }
                if !self.more(b'}', "Expected \",\" or \"}\"")? {
                    break;
                }
            }
        }
        self.out = before;
        if let Some(out) = &mut self.out {
            // The sort is stable, so the last of equal keys stays the last.
            members.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
            out.push('{');
            let mut first = true;
            for (i, (key, value)) in members.iter().enumerate() {
                if members.get(i + 1).is_some_and(|(next, _)| next == key) {
                    continue;
                }
                if !first {
                    out.push_str(", ");
                }
                first = false;
                write_string(out, key);
                out.push_str(": ");
                out.push_str(value);
            }
            out.push('}');
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> SqlResult<()> {
        self.at += 1;
        self.write("[");
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.value(depth + 1)?;
                if !self.more(b']', "Expected \",\" or \"]\"")? {
                    break;
                }
                self.write(", ");
            }
        }
        self.write("]");
        Ok(())
    }

    /// Behind an element: whether another follows.
    fn more(&mut self, end: u8, expected: &str) -> SqlResult<bool> {
        self.blanks();
        let more = match self.peek() {
            Some(b',') => true,
            Some(b) if b == end => false,
            _ => return Err(self.unexpected(expected)),
        };
        self.at += 1;
        Ok(more)
    }

    fn string(&mut self) -> SqlResult<String> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let stop = rest.bytes().position(|b| b == b'"' || b == b'\\' || b < 0x20);
            let Some(stop) = stop else {
                self.at = self.text.len();
                return Err(self.unexpected("Expected end of string"));
            };
            string.push_str(&rest[..stop]);
            self.at += stop + 1;
            match rest.as_bytes()[stop] {
                b'"' => return Ok(string),
                b'\\' => self.escape(&mut string)?,
                byte => {
                    return Err(syntax_error().detail(format!("Character with value 0x{byte:02x} must be escaped.")));
                }
            }
        }
    }

    fn escape(&mut self, string: &mut String) -> SqlResult<()> {
        let Some(byte) = self.peek() else { return Err(self.unexpected("Expected escape sequence")) };
        self.at += 1;
        string.push(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                return self.code_point(first, string);
            }
            _ => {
                return Err(syntax_error().detail(format!("Escape sequence \"\\{}\" is invalid.", byte.escape_ascii())));
            }
        });
        Ok(())
    }

    fn code_point(&mut self, first: u32, string: &mut String) -> SqlResult<()> {
        let surrogate = |detail: &str| syntax_error().detail(detail.to_owned());
        let code = match first {
            0 if self.out.is_some() => {
                return Err(SqlError::new(SqlState::UntranslatableCharacter, "unsupported Unicode escape sequence")
                    .detail("\\u0000 cannot be converted to text."));
            }
            0xD800..=0xDBFF => {
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(surrogate("Unicode low surrogate must follow a high surrogate."));
                }
                self.at += 2;
                let second = self.hex()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(surrogate("Unicode low surrogate must follow a high surrogate."));
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            0xDC00..=0xDFFF => return Err(surrogate("Unicode low surrogate must follow a high surrogate.")),
            code => code,
        };
        string.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn hex(&mut self) -> SqlResult<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits.and_then(|d| std::str::from_utf8(d).ok()) else {
            return Err(syntax_error().detail("\"\\u\" must be followed by four hexadecimal digits."));
        };
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| syntax_error())
    }

    fn number(&mut self) -> SqlResult<()> {
        let start = self.at;
        let digits = |p: &mut Self| {
            let from = p.at;
            while matches!(p.peek(), Some(b'0'..=b'9')) {
                p.at += 1;
            }
            p.at - from
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole_at = self.at;
        let whole = digits(self);
        let mut good = whole > 0 && (whole == 1 || self.text.as_bytes()[whole_at] != b'0');
        if self.peek() == Some(b'.') {
            self.at += 1;
            good &= digits(self) > 0;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            good &= digits(self) > 0;
        }
        if !good || self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(syntax_error().detail(format!("Token \"{}\" is invalid.", &self.text[start..self.at])));
        }
        let text = &self.text[start..self.at];
        if let Some(out) = &mut self.out {
            write_number(out, text)?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            out.push_str(text);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, expected: &str) -> SqlError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return syntax_error().detail("The input string ended unexpectedly.");
        }
        let word = rest.find(|c: char| !c.is_alphanumeric()).filter(|end| *end > 0);
        let end = word.unwrap_or_else(|| rest.chars().next().map_or(0, char::len_utf8));
        let end = if rest.starts_with(char::is_alphanumeric) && word.is_none() { rest.len() } else { end };
        syntax_error().detail(format!("{expected}, but found \"{}\".", &rest[..end]))
    }
}

fn syntax_error() -> SqlError {
    SqlError::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json")
}

/// Appends a string in quotes, with the escapes that JSON needs.
pub fn write_string(out: &mut String, string: &str) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A number as numeric prints it.
///
/// # Errors
/// `22003` for an exponent out of range.
pub fn normal_number(text: &str) -> SqlResult<String> {
    let mut out = String::with_capacity(text.len());
    write_number(&mut out, text)?;
    Ok(out)
}

/// Appends a JSON number as numeric prints it: no exponent, decimal places as written.
fn write_number(out: &mut String, text: &str) -> SqlResult<()> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let too_large = || SqlError::new(SqlState::NumericValueOutOfRange, "value overflows numeric format");
    let exponent: i64 = exponent.parse().map_err(|_| too_large())?;
    if exponent.abs() > EXPONENT_MAX {
        return Err(too_large());
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent;
    let (mut before, after) = if point <= 0 {
        (String::new(), format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize)))
    } else if point as usize >= digits.len() {
        (format!("{digits}{}", "0".repeat(point as usize - digits.len())), String::new())
    } else {
        (digits[..point as usize].to_owned(), digits[point as usize..].to_owned())
    };
    before = before.trim_start_matches('0').to_owned();
    let zero = before.is_empty() && after.bytes().all(|b| b == b'0');
    if !zero {
        out.push_str(sign);
    }
    out.push_str(if before.is_empty() { "0" } else { &before });
    if !after.is_empty() {
        out.push('.');
        out.push_str(&after);
    }
    Ok(())
}

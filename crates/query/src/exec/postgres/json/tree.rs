//! JSON values taken apart.

use std::borrow::Cow;
use std::cmp::Ordering;

use perigee_types::text::json;
use perigee_types::{SqlError, SqlResult, SqlState};

/// A JSON value. Objects keep the order of their text.
#[derive(Clone, Debug)]
pub(super) struct Json<'a> {
    /// The text that it was read from; empty for a value that was made.
    pub(super) raw: &'a str,
    pub(super) kind: Kind<'a>,
}

/// What a JSON value is.
#[derive(Clone, Debug)]
pub(super) enum Kind<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads a text that is JSON.
    ///
    /// # Errors
    /// `22P02` where it is none.
    pub(super) fn read(text: &'a str) -> SqlResult<Self> {
        json::validate(text)?;
        let mut reader = Reader { text, at: 0 };
        reader.value()
    }

    pub(super) fn made(kind: Kind<'a>) -> Self {
        Self { raw: "", kind }
    }

    /// `jsonb_typeof`
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "boolean",
            Kind::Number(_) => "number",
            Kind::String(_) => "string",
            Kind::Array(_) => "array",
            Kind::Object(_) => "object",
        }
    }

    /// The value of a key: the last of equal ones.
    pub(super) fn field(&self, key: &str) -> Option<&Json<'a>> {
        match &self.kind {
            Kind::Object(fields) => fields.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// An element, from the end where the place is negative.
    pub(super) fn element(&self, place: i64) -> Option<&Json<'a>> {
        match &self.kind {
            Kind::Array(elements) => elements.get(index(place, elements.len())?),
            _ => None,
        }
    }

    /// One step of a path: a key or a place.
    pub(super) fn step(&self, step: &str) -> Option<&Json<'a>> {
        match &self.kind {
            Kind::Object(_) => self.field(step),
            Kind::Array(_) => self.element(step.trim().parse().ok()?),
            _ => None,
        }
    }

    /// As text outside of JSON: strings without quotes, null as NULL.
    pub(super) fn text(&self, binary: bool) -> Option<String> {
        match &self.kind {
            Kind::Null => None,
            Kind::String(text) => Some(text.clone().into_owned()),
            _ => Some(self.shown(binary)),
        }
    }

    /// As JSON: as it was written, or for `binary` in jsonb's normal form.
    pub(super) fn shown(&self, binary: bool) -> String {
        if !binary && !self.raw.is_empty() {
            return self.raw.to_owned();
        }
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Appends jsonb's normal form.
    pub(super) fn write(&self, out: &mut String) {
        match &self.kind {
            Kind::Null => out.push_str("null"),
            Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Kind::Number(number) => out.push_str(number),
            Kind::String(text) => json::write_string(out, text),
            Kind::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Kind::Object(fields) => {
                out.push('{');
                for (at, (key, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    json::write_string(out, key);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The same without what borrows.
    pub(super) fn owned(&self) -> Json<'static> {
        Json::made(match &self.kind {
            Kind::Null => Kind::Null,
            Kind::Bool(value) => Kind::Bool(*value),
            Kind::Number(number) => Kind::Number(Cow::Owned(number.clone().into_owned())),
            Kind::String(text) => Kind::String(Cow::Owned(text.clone().into_owned())),
            Kind::Array(elements) => Kind::Array(elements.iter().map(Json::owned).collect()),
            Kind::Object(fields) => {
                Kind::Object(fields.iter().map(|(k, v)| (Cow::Owned(k.clone().into_owned()), v.owned())).collect())
            }
        })
    }
}

/// The place counted from the front.
pub(super) fn index(place: i64, length: usize) -> Option<usize> {
    if place >= 0 {
        usize::try_from(place).ok()
    } else {
        length.checked_sub(usize::try_from(place.unsigned_abs()).ok()?)
    }
}

/// The order of an object's keys in jsonb: by length, then by bytes.
pub(super) fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// The order of jsonb values: object, array, boolean, number, string, null, from the last.
pub(super) fn compare(a: &Json<'_>, b: &Json<'_>) -> Ordering {
    let rank = |kind: &Kind<'_>| match kind {
        Kind::Null => 0,
        Kind::String(_) => 1,
        Kind::Number(_) => 2,
        Kind::Bool(_) => 3,
        Kind::Array(_) => 4,
        Kind::Object(_) => 5,
    };
    match (&a.kind, &b.kind) {
        (Kind::Bool(a), Kind::Bool(b)) => a.cmp(b),
        (Kind::String(a), Kind::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Kind::Number(a), Kind::Number(b)) => compare_numbers(a, b),
        (Kind::Array(a), Kind::Array(b)) => a
            .len()
            .cmp(&b.len())
            .then_with(|| a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)),
        (Kind::Object(a), Kind::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            a.iter()
                .zip(b)
                .map(|((k, v), (l, w))| key_order(k, l).then_with(|| compare(v, w)))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        }),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// Numbers in decimal, whatever their digits.
pub(super) fn compare_numbers(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> (bool, String, String) {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        (negative, whole.trim_start_matches('0').to_owned(), fraction.trim_end_matches('0').to_owned())
    };
    if [a, b].iter().any(|text| text.contains(['e', 'E'])) {
        let number = |text: &str| text.parse::<f64>().unwrap_or(0.0);
        return number(a).total_cmp(&number(b));
    }
    let ((an, aw, af), (bn, bw, bf)) = (parts(a), parts(b));
    let is_zero = |w: &str, f: &str| w.is_empty() && f.is_empty();
    let (an, bn) = (an && !is_zero(&aw, &af), bn && !is_zero(&bw, &bf));
    match (an, bn) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (negative, _) => {
            let size = aw.len().cmp(&bw.len()).then_with(|| aw.cmp(&bw)).then_with(|| af.cmp(&bf));
            if negative { size.reverse() } else { size }
        }
    }
}

/// Reads text that has been found to be JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn blanks(&mut self) {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.text.len() - rest.len();
    }

    fn wrong() -> SqlError {
        SqlError::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn value(&mut self) -> SqlResult<Json<'a>> {
        self.blanks();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.array()?,
            Some(b'"') => Kind::String(self.string()?),
            Some(_) => {
                let rest = &self.text[self.at..];
                let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                self.at += end;
                match &rest[..end] {
                    "null" => Kind::Null,
                    "true" => Kind::Bool(true),
                    "false" => Kind::Bool(false),
                    number => Kind::Number(Cow::Borrowed(number)),
                }
            }
            None => return Err(Self::wrong()),
        };
        Ok(Json { raw: &self.text[start..self.at], kind })
    }

    fn array(&mut self) -> SqlResult<Kind<'a>> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(Kind::Array(elements));
                }
                Some(b',') => self.at += 1,
                Some(_) => elements.push(self.value()?),
                None => return Err(Self::wrong()),
            }
        }
    }

    fn object(&mut self) -> SqlResult<Kind<'a>> {
        self.at += 1;
        let mut fields = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Kind::Object(fields));
                }
                Some(b',') => self.at += 1,
                Some(b'"') => {
                    let key = self.string()?;
                    self.blanks();
                    // The colon.
                    self.at += 1;
                    fields.push((key, self.value()?));
                }
                _ => return Err(Self::wrong()),
            }
        }
    }

    fn string(&mut self) -> SqlResult<Cow<'a, str>> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut escaped = false;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(_) => at += 1,
                None => return Err(Self::wrong()),
            }
        }
        self.at = at + 1;
        let raw = self.text.get(start..at).ok_or_else(Self::wrong)?;
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        unescape(raw).map(Cow::Owned)
    }
}

fn unescape(raw: &str) -> SqlResult<String> {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    let mut high: Option<u32> = None;
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).map_err(|_| Reader::wrong())?;
                match (high.take(), code) {
                    (_, 0) => {
                        return Err(SqlError::new(
                            SqlState::UntranslatableCharacter,
                            "unsupported Unicode escape sequence",
                        )
                        .detail("\\u0000 cannot be converted to text."));
                    }
                    (None, 0xd800..=0xdbff) => high = Some(code),
                    (Some(first), 0xdc00..=0xdfff) => {
                        let code = 0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00);
                        out.push(char::from_u32(code).ok_or_else(Reader::wrong)?);
                    }
                    (_, code) => out.push(char::from_u32(code).ok_or_else(Reader::wrong)?),
                }
            }
            Some(c) => out.push(c),
            None => return Err(Reader::wrong()),
        }
    }
    Ok(out)
}

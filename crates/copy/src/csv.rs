//! COPY's CSV format: quotes may hold delimiters and line ends.

/// The characters that mean something.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Stands between fields.
    pub delimiter: u8,
    /// Stands around a field that holds what means something.
    pub quote: u8,
    /// Stands before a quote inside of quotes.
    pub escape: u8,
}

/// Finds the ends of records over pieces of input.
#[derive(Debug)]
pub struct Records {
    dialect: Dialect,
    /// The bytes before end inside of quotes.
    pub in_quotes: bool,
    /// The bytes before end in an escape character inside of quotes.
    after_escape: bool,
}

impl Records {
    /// At the beginning of a record.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, in_quotes: false, after_escape: false }
    }

    /// Where the record that `bytes` goes on with ends: the place of its newline.
    pub fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let Dialect { quote, escape, .. } = self.dialect;
        let mut at = 0;
        if self.after_escape && !bytes.is_empty() {
            self.after_escape = false;
            at += usize::from(bytes[0] == quote || bytes[0] == escape);
        }
        loop {
            if self.in_quotes {
                at += memchr::memchr2(quote, escape, &bytes[at..])?;
                if bytes[at] == quote {
                    // A doubled quote leaves and enters again, which comes to the same here.
                    self.in_quotes = false;
                } else if let Some(next) = bytes.get(at + 1) {
                    at += usize::from(*next == quote || *next == escape);
                } else {
                    self.after_escape = true;
                }
            } else {
                at += memchr::memchr2(quote, b'\n', &bytes[at..])?;
                if bytes[at] == b'\n' {
                    return Some(at);
                }
                self.in_quotes = true;
            }
            at += 1;
        }
    }
}

/// A field: its bytes in the fields' common text, and whether any of it was quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Whether any of it was quoted.
    pub quoted: bool,
}

/// Finds the fields of a record. Their text, without quotes, is appended to `text`.
pub fn split(record: &[u8], dialect: Dialect, text: &mut Vec<u8>, fields: &mut Vec<Field>) {
    let Dialect { delimiter, quote, escape } = dialect;
    text.clear();
    fields.clear();
    if memchr::memchr(quote, record).is_none() {
        text.extend_from_slice(record);
        let mut start = 0;
        for at in memchr::memchr_iter(delimiter, record) {
            fields.push(Field { start, end: at, quoted: false });
            start = at + 1;
        }
        fields.push(Field { start, end: record.len(), quoted: false });
        return;
    }
    let (mut start, mut quoted, mut in_quotes) = (0, false, false);
    let mut at = 0;
    while at < record.len() {
        let byte = record[at];
        if in_quotes {
            let next = record.get(at + 1).copied();
            if byte == escape && (next == Some(quote) || next == Some(escape)) {
                text.extend(next);
                at += 1;
            } else if byte == quote {
                in_quotes = false;
            } else {
                text.push(byte);
            }
        } else if byte == delimiter {
            fields.push(Field { start, end: text.len(), quoted });
            (start, quoted) = (text.len(), false);
        } else if byte == quote {
            (quoted, in_quotes) = (true, true);
        } else {
            text.push(byte);
        }
        at += 1;
    }
    fields.push(Field { start, end: text.len(), quoted });
}

/// Appends a value, in quotes where it needs them or `force` asks for them.
pub fn write(value: &[u8], dialect: Dialect, null: &[u8], force: bool, alone: bool, out: &mut Vec<u8>) {
    let Dialect { delimiter, quote, escape } = dialect;
    let special = |b: &u8| *b == delimiter || *b == quote || *b == b'\n' || *b == b'\r';
    // A line of only \. would end the data.
    let quoted = force || value == null || (alone && value == b"\\.") || value.iter().any(special);
    if !quoted {
        out.extend_from_slice(value);
        return;
    }
    out.push(quote);
    for &b in value {
        if b == quote || b == escape {
            out.push(escape);
        }
        out.push(b);
    }
    out.push(quote);
}

//! COPY's text format: fields between delimiters, `\N`, backslash escapes.

/// Finds the ends of lines over pieces of input. A newline behind a backslash is data.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The bytes before end in an odd number of backslashes.
    escaped: bool,
}

impl Lines {
    /// Where the line that `bytes` goes on with ends: the place of its newline.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for newline in memchr::memchr_iter(b'\n', bytes) {
            if !self.odd_backslashes(&bytes[..newline]) {
                self.escaped = false;
                return Some(newline);
            }
        }
        self.escaped = self.odd_backslashes(bytes);
        None
    }

    fn odd_backslashes(&self, before: &[u8]) -> bool {
        let run = before.iter().rev().take_while(|b| **b == b'\\').count();
        (run % 2 == 1) != (run == before.len() && self.escaped)
    }
}

/// Finds the fields of a line: (start, end) of each, as written.
pub(crate) fn split(line: &[u8], delimiter: u8, has_escapes: bool, fields: &mut Vec<(usize, usize)>) {
    fields.clear();
    let mut start = 0;
    if has_escapes {
        let mut at = 0;
        while at < line.len() {
            match line[at] {
                b'\\' => at += 1,
                b if b == delimiter => {
                    fields.push((start, at));
                    start = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
    } else {
        for at in memchr::memchr_iter(delimiter, line) {
            fields.push((start, at));
            start = at + 1;
        }
    }
    fields.push((start, line.len()));
}

/// Appends a field with its escapes resolved.
pub(crate) fn unescape(field: &[u8], out: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((&byte, after)) = rest.split_first() else {
            out.push(b'\\');
            return;
        };
        rest = after;
        match byte {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    let [digit @ b'0'..=b'7', after @ ..] = rest else { break };
                    code = code * 8 + u32::from(digit - b'0');
                    rest = after;
                }
                out.push(code as u8);
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let mut code = 0;
                for _ in 0..2 {
                    let Some(digit) = rest.first().and_then(|b| char::from(*b).to_digit(16)) else { break };
                    code = code * 16 + digit;
                    rest = &rest[1..];
                }
                out.push(code as u8);
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest);
}

/// Appends a value with the characters escaped that mean something in the format.
pub fn escape(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let mut plain = 0;
    for (at, &byte) in value.iter().enumerate() {
        let escaped = match byte {
            b'\\' => b'\\',
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b if b == delimiter => delimiter,
            _ => continue,
        };
        out.extend_from_slice(&value[plain..at]);
        out.extend_from_slice(&[b'\\', escaped]);
        plain = at + 1;
    }
    out.extend_from_slice(&value[plain..]);
}

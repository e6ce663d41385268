//! Messages from the client: read out of their bytes without trusting a count or length in them.

use perigee_copy::utf8;
use perigee_types::{SqlError, SqlResult};

use crate::error::violation;

/// A message after the start-up. Names and texts point into the message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Query(&'a str),
    Parse { name: &'a str, sql: &'a str, types: Vec<u32> },
    Bind(Bind<'a>),
    Describe { target: Target, name: &'a str },
    Execute { portal: &'a str, rows_max: i32 },
    Close { target: Target, name: &'a str },
    Flush,
    Sync,
    Terminate,
    CopyData(&'a [u8]),
    CopyDone,
    CopyFail(&'a str),
}

/// What Describe and Close are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Statement,
    Portal,
}

/// Bind, its counts checked, its formats not yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bind<'a> {
    pub(crate) portal: &'a str,
    pub(crate) statement: &'a str,
    pub(crate) parameter_formats: Vec<i16>,
    /// `None` is NULL.
    pub(crate) parameters: Vec<Option<&'a [u8]>>,
    pub(crate) result_formats: Vec<i16>,
}

/// The most bytes that a message of a type may have; `None` for types that do not exist.
pub(crate) fn bytes_max(tag: u8, large: usize) -> Option<usize> {
    match tag {
        b'Q' | b'P' | b'B' | b'd' | b'F' | b'f' => Some(large),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'p' => Some(10_000),
        _ => None,
    }
}

/// Whether a message is answered up to ReadyForQuery by itself, without a Sync behind it.
pub(crate) fn is_whole(tag: u8) -> bool {
    matches!(tag, b'Q' | b'F')
}

impl<'a> Message<'a> {
    /// Reads a message's body.
    ///
    /// # Errors
    /// `08P01`, `22021` for text that is not UTF-8.
    pub(crate) fn read(tag: u8, body: &'a [u8]) -> SqlResult<Message<'a>> {
        let mut reader = Reader(body);
        let message = match tag {
            b'Q' => Message::Query(reader.string()?),
            b'P' => {
                let (name, sql) = (reader.string()?, reader.string()?);
                let count = reader.count(4)?;
                let types = (0..count).map(|_| reader.int32().map(i32::cast_unsigned)).collect::<SqlResult<_>>()?;
                Message::Parse { name, sql, types }
            }
            b'B' => Message::Bind(Bind {
                portal: reader.string()?,
                statement: reader.string()?,
                parameter_formats: reader.formats()?,
                parameters: reader.parameters()?,
                result_formats: reader.formats()?,
            }),
            b'D' => Message::Describe { target: reader.target("DESCRIBE")?, name: reader.string()? },
            b'C' => Message::Close { target: reader.target("CLOSE")?, name: reader.string()? },
            b'E' => Message::Execute { portal: reader.string()?, rows_max: reader.int32()? },
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            b'd' => Message::CopyData(std::mem::take(&mut reader.0)),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(reader.string()?),
            b'F' => return Err(SqlError::unsupported("the message FunctionCall")),
            _ => return Err(violation(format!("invalid frontend message type {tag}"))),
        };
        if reader.0.is_empty() { Ok(message) } else { Err(violation("invalid message format")) }
    }
}

/// Reads a message and forgets it: whatever the bytes, no panic. For fuzzing.
pub fn check_message(tag: u8, body: &[u8]) -> bool {
    Message::read(tag, body).is_ok()
}

/// Reads the pieces of a message.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `n` bytes.
    pub(crate) fn bytes(&mut self, n: usize) -> SqlResult<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(n).ok_or_else(insufficient)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> SqlResult<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or_else(insufficient)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn int16(&mut self) -> SqlResult<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn int32(&mut self) -> SqlResult<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn int64(&mut self) -> SqlResult<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A string up to its zero.
    pub(crate) fn string(&mut self) -> SqlResult<&'a str> {
        let end = memchr::memchr(0, self.0).ok_or_else(|| violation("invalid string in message"))?;
        let text = utf8(&self.0[..end])?;
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// A count of things that have at least `bytes_each`, so that the message can hold them.
    fn count(&mut self, bytes_each: usize) -> SqlResult<usize> {
        let count = usize::from(u16::from_be_bytes(self.array()?));
        if count * bytes_each > self.0.len() { Err(insufficient()) } else { Ok(count) }
    }

    fn formats(&mut self) -> SqlResult<Vec<i16>> {
        let count = self.count(2)?;
        (0..count).map(|_| self.int16()).collect()
    }

    fn parameters(&mut self) -> SqlResult<Vec<Option<&'a [u8]>>> {
        let count = self.count(4)?;
        let mut parameters = Vec::with_capacity(count);
        for _ in 0..count {
            parameters.push(self.field()?);
        }
        Ok(parameters)
    }

    /// A value with its length before it; -1 is NULL.
    pub(crate) fn field(&mut self) -> SqlResult<Option<&'a [u8]>> {
        match self.int32()? {
            -1 => Ok(None),
            length => self.bytes(usize::try_from(length).map_err(|_| insufficient())?).map(Some),
        }
    }

    fn target(&mut self, command: &str) -> SqlResult<Target> {
        match self.bytes(1)? {
            b"S" => Ok(Target::Statement),
            b"P" => Ok(Target::Portal),
            other => Err(violation(format!("invalid {command} message subtype {}", other[0]))),
        }
    }
}

/// `08P01`
pub(crate) fn insufficient() -> SqlError {
    violation("insufficient data left in message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        assert_eq!(Message::read(b'Q', b"select 1\0"), Ok(Message::Query("select 1")));
        assert_eq!(
            Message::read(b'P', b"s\0select $1\0\0\x01\0\0\0\x17"),
            Ok(Message::Parse { name: "s", sql: "select $1", types: vec![23] })
        );
        let bind = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0";
        assert_eq!(
            Message::read(b'B', bind),
            Ok(Message::Bind(Bind {
                portal: "",
                statement: "s",
                parameter_formats: vec![1],
                parameters: vec![Some(b"x"), None],
                result_formats: vec![]
            }))
        );
        assert_eq!(Message::read(b'D', b"Sx\0"), Ok(Message::Describe { target: Target::Statement, name: "x" }));
    }

    #[test]
    fn refuses_what_does_not_hold_together() {
        let state = |tag, body: &[u8]| Message::read(tag, body).map_err(|e| e.state().code()).err();
        for (tag, body, want) in [
            (b'Q', &b"no zero"[..], "08P01"),
            (b'Q', b"\xff\0", "22021"),
            (b'Q', b"a\0b", "08P01"),
            (b'P', b"\0\0", "08P01"),
            (b'P', b"\0\0\xff\xff\0\0\0\x17", "08P01"),
            (b'B', b"\0\0\0\0\xff\xff", "08P01"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff", "08P01"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0", "08P01"),
            (b'D', b"Xx\0", "08P01"),
            (b'E', b"\0", "08P01"),
            (b'~', b"", "08P01"),
            (b'F', b"\0\0\x03\xbd\0\0\0\0\0\0", "0A000"),
        ] {
            assert_eq!(state(tag, body), Some(want), "{} {body:?}", char::from(tag));
        }
    }

    #[test]
    fn random_bytes_are_no_danger() {
        let mut seed = 7u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u8
        };
        for _ in 0..200_000 {
            let length = usize::from(next() % 40);
            let body: Vec<u8> = (0..length).map(|_| if next() % 3 == 0 { 0 } else { next() }).collect();
            check_message(b"QPBDECHSXdcf"[usize::from(next()) % 12], &body);
        }
    }
}

//! What a command answers, whatever the wire.

use std::borrow::Cow;

use bytes::Bytes;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

/// A reply. RESP3 writes every kind as it is; what RESP2 makes of it is said at each.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A status line such as `OK`.
    Status(Cow<'static, str>),
    /// An error: prefix and text, such as `WRONGTYPE Operation against …`.
    Error(Cow<'static, str>),
    /// An integer.
    Integer(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// No value. RESP2: the null bulk string.
    Null,
    /// No value where an array is expected. RESP2: the null array. RESP3: null.
    NullArray,
    /// Replies in order.
    Array(Vec<Reply>),
    /// Keys and values in order. RESP2: an array of both in turn.
    Map(Vec<(Reply, Reply)>),
    /// Pairs in order. RESP2: an array of both in turn. RESP3: an array of arrays of two.
    Pairs(Vec<(Reply, Reply)>),
    /// Distinct replies. RESP2: an array.
    Set(Vec<Reply>),
    /// Out of band data. RESP2: an array.
    Push(Vec<Reply>),
    /// A number. RESP2: a string of bytes, as Redis writes doubles.
    Double(f64),
    /// RESP2: 1 or 0.
    Boolean(bool),
    /// A large integer in decimal digits. RESP2: a string of bytes.
    BigNumber(String),
    /// Text with its format, three letters such as `txt`. RESP2: a string of bytes.
    Verbatim(&'static str, Bytes),
    /// Metadata that comes before a reply. RESP2: left out.
    Attribute(Vec<(Reply, Reply)>, Box<Reply>),
    /// Nothing is written.
    Nothing,
}

impl Reply {
    /// `OK`
    pub const OK: Reply = Reply::Status(Cow::Borrowed("OK"));

    /// A status line.
    #[must_use]
    pub const fn status(text: &'static str) -> Reply {
        Reply::Status(Cow::Borrowed(text))
    }

    /// An error line, with its prefix.
    #[must_use]
    pub fn error(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply::Error(text.into())
    }

    /// A string of bytes, copied.
    #[must_use]
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// A count.
    #[must_use]
    pub fn count(count: usize) -> Reply {
        Reply::Integer(count as i64)
    }

    /// 1 or 0 in both protocols: what most commands of Redis say for yes and no.
    #[must_use]
    pub fn flag(yes: bool) -> Reply {
        Reply::Integer(i64::from(yes))
    }

    /// A string of bytes, or null.
    #[must_use]
    pub fn bulk_or_null(bytes: Option<Bytes>) -> Reply {
        bytes.map_or(Reply::Null, Reply::Bulk)
    }

    /// Bytes of memory of its parts, about. A string by itself, or among others, may be one that a key holds as well.
    #[must_use]
    pub fn memory(&self) -> usize {
        let part = |reply: &Reply| {
            let text = match reply {
                Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => bytes.len(),
                _ => 0,
            };
            size_of::<Reply>() + text + reply.memory()
        };
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items.iter().map(part).sum(),
            Reply::Map(pairs) | Reply::Pairs(pairs) => pairs.iter().map(|(a, b)| part(a) + part(b)).sum(),
            Reply::Attribute(pairs, reply) => pairs.iter().map(|(a, b)| part(a) + part(b)).sum::<usize>() + part(reply),
            _ => 0,
        }
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }
}

/// How deep replies stand in replies, at most, where they are read from bytes.
const DEPTH_MAX: usize = 32;

/// As bytes: kind u8, then what it holds; counts and lengths are varints.
impl Reply {
    /// Writes the reply as bytes that [`Reply::decode`] reads. Not of any wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let list = |kind: u8, items: &[Reply], out: &mut Vec<u8>| {
            out.push(kind);
            put_varint(items.len() as u64, out);
            items.iter().for_each(|item| item.encode(out));
        };
        let pairs = |kind: u8, items: &[(Reply, Reply)], out: &mut Vec<u8>| {
            out.push(kind);
            put_varint(items.len() as u64, out);
            for (key, value) in items {
                key.encode(out);
                value.encode(out);
            }
        };
        let bytes = |kind: u8, bytes: &[u8], out: &mut Vec<u8>| {
            out.push(kind);
            put_bytes(bytes, out);
        };
        match self {
            Reply::Status(text) => bytes(0, text.as_bytes(), out),
            Reply::Error(text) => bytes(1, text.as_bytes(), out),
            Reply::Integer(value) => {
                out.push(2);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Reply::Bulk(value) => bytes(3, value, out),
            Reply::Null => out.push(4),
            Reply::NullArray => out.push(5),
            Reply::Array(items) => list(6, items, out),
            Reply::Map(items) => pairs(7, items, out),
            Reply::Pairs(items) => pairs(8, items, out),
            Reply::Set(items) => list(9, items, out),
            Reply::Push(items) => list(10, items, out),
            Reply::Double(value) => {
                out.push(11);
                out.extend_from_slice(&value.to_bits().to_be_bytes());
            }
            Reply::Boolean(value) => out.extend([12, u8::from(*value)]),
            Reply::BigNumber(digits) => bytes(13, digits.as_bytes(), out),
            // Of the formats there is one that commands answer with.
            Reply::Verbatim(_, text) => bytes(14, text, out),
            Reply::Attribute(items, reply) => {
                pairs(15, items, out);
                reply.encode(out);
            }
            Reply::Nothing => out.push(16),
        }
    }

    /// Reads what [`Reply::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &mut &[u8]) -> Option<Reply> {
        Self::decode_within(bytes, DEPTH_MAX)
    }

    fn decode_within(bytes: &mut &[u8], depth: usize) -> Option<Reply> {
        let depth = depth.checked_sub(1)?;
        let (kind, rest) = bytes.split_first()?;
        *bytes = rest;
        let text = |bytes: &mut &[u8]| String::from_utf8(get_bytes(bytes).ok()?.to_vec()).ok();
        let list = |bytes: &mut &[u8]| -> Option<Vec<Reply>> {
            // Each takes a byte at least: no count makes more of it than there is.
            (0..get_varint(bytes).ok()?).map(|_| Self::decode_within(bytes, depth)).collect()
        };
        let pairs = |bytes: &mut &[u8]| -> Option<Vec<(Reply, Reply)>> {
            let count = get_varint(bytes).ok()?;
            let pair = |_| Some((Self::decode_within(bytes, depth)?, Self::decode_within(bytes, depth)?));
            (0..count).map(pair).collect()
        };
        let word = |bytes: &mut &[u8]| {
            let (word, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(u64::from_be_bytes(*word))
        };
        Some(match kind {
            0 => Reply::Status(text(bytes)?.into()),
            1 => Reply::Error(text(bytes)?.into()),
            2 => Reply::Integer(word(bytes)?.cast_signed()),
            3 => Reply::Bulk(Bytes::copy_from_slice(get_bytes(bytes).ok()?)),
            4 => Reply::Null,
            5 => Reply::NullArray,
            6 => Reply::Array(list(bytes)?),
            7 => Reply::Map(pairs(bytes)?),
            8 => Reply::Pairs(pairs(bytes)?),
            9 => Reply::Set(list(bytes)?),
            10 => Reply::Push(list(bytes)?),
            11 => Reply::Double(f64::from_bits(word(bytes)?)),
            12 => {
                let (value, rest) = bytes.split_first()?;
                *bytes = rest;
                Reply::Boolean(*value != 0)
            }
            13 => Reply::BigNumber(text(bytes)?),
            14 => Reply::Verbatim("txt", Bytes::copy_from_slice(get_bytes(bytes).ok()?)),
            15 => Reply::Attribute(pairs(bytes)?, Box::new(Self::decode_within(bytes, depth)?)),
            16 => Reply::Nothing,
            _ => return None,
        })
    }
}

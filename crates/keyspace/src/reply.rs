//! What a command answers, whatever the wire.

use std::borrow::Cow;

use bytes::Bytes;

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

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }
}

//! Ends of fields as commands write them.

use bytes::Bytes;

use crate::args::integer;
use crate::{Error, Result};

/// The last end that a field can have: milliseconds since 1970 UTC.
const END_MAX: i64 = (1 << 46) - 1;

/// How a time is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    /// Whether in seconds.
    pub(super) seconds: bool,
    /// Whether it counts from now on.
    pub(super) from_now: bool,
}

impl Unit {
    /// The end that a command with this name means: milliseconds since 1970 UTC.
    pub(super) fn end(self, text: &Bytes, now: i64, command: &str) -> Result<i64> {
        let time = integer(text)?;
        if time < 0 {
            return Err(Error::reply("ERR invalid expire time, must be >= 0"));
        }
        let invalid = || Error::reply(format!("ERR invalid expire time in '{command}' command"));
        let ms = if self.seconds { time.checked_mul(1_000) } else { Some(time) };
        let end = ms.and_then(|ms| ms.checked_add(if self.from_now { now } else { 0 }));
        end.filter(|end| *end <= END_MAX).ok_or_else(invalid)
    }

    /// By the words of HGETEX and HSETEX, in lower case.
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        let unit = |seconds, from_now| Some(Self { seconds, from_now });
        match word.to_ascii_lowercase().as_slice() {
            b"ex" => unit(true, true),
            b"px" => unit(false, true),
            b"exat" => unit(true, false),
            b"pxat" => unit(false, false),
            _ => None,
        }
    }
}

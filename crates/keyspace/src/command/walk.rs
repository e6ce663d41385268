//! What SSCAN and HSCAN are told: cursor [MATCH pattern] [COUNT count] [NOVALUES]

use bytes::Bytes;

use crate::args::Cursor;
use crate::{Error, Result, glob};

/// See the module.
pub(super) struct Walk<'a> {
    pub(super) count: usize,
    pub(super) no_values: bool,
    pattern: Option<&'a Bytes>,
}

/// Reads a cursor.
pub(super) fn cursor(text: &[u8]) -> Result<u64> {
    let cursor = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    cursor.ok_or(Error::reply("ERR invalid cursor"))
}

impl<'a> Walk<'a> {
    /// Reads what stands behind the cursor.
    pub(super) fn of(args: &'a [Bytes], takes_no_values: bool) -> Result<Self> {
        let mut walk = Walk { count: 10, no_values: false, pattern: None };
        let mut rest = Cursor::new(args);
        while !rest.is_empty() {
            if rest.rest().len() > 1 && rest.take("count") {
                walk.count = usize::try_from(rest.integer()?).ok().filter(|count| *count > 0).ok_or(Error::SYNTAX)?;
            } else if rest.rest().len() > 1 && rest.take("match") {
                walk.pattern = rest.next();
            } else if takes_no_values && rest.take("novalues") {
                walk.no_values = true;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(walk)
    }

    pub(super) fn takes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

//! Values in the format of Redis's snapshots, as DUMP gives and RESTORE takes them.
//!
//! ```text
//! payload   type | body | version: 2 bytes | CRC-64 of all before: 8 bytes, little ends first
//! ```
//! All forms of Redis are read, up to those of 7.4. What is written are the plain forms that Redis 7.0 takes as well;
//! only a hash whose fields end needs one of 7.4.

mod crc;
mod input;
mod listpack;
mod lzf;
mod output;
mod read;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod ziplist;

use crate::State;
use crate::object::Value;

/// The version of what is written, where Redis 7.0 can read it.
const VERSION: u16 = 10;
/// The first version with fields of hashes that end, and the last that is read.
const VERSION_MAX: u16 = 12;
const FOOTER_BYTES: usize = 10;

/// The types of bodies.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_3: u8 = 21;
    pub(super) const HASH_METADATA: u8 = 24;
    pub(super) const HASH_LISTPACK_EX: u8 = 25;
}

/// Why a payload is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its version is too new, or its checksum is wrong.
    Footer,
    /// Its body is none.
    Body,
}

/// The payload of a value at `now`; `None` for what Redis itself has no form of.
#[must_use]
pub fn dump(value: &Value, now: i64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let version = output::write(value, now, &mut out)?;
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = crc::crc64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    Some(out)
}

/// The value of a payload at `now`, in the form that the settings of `state` give it.
///
/// # Errors
/// See [`Refused`].
pub fn restore(payload: &[u8], state: &State, now: i64) -> Result<Value, Refused> {
    let (body, footer) = payload.split_last_chunk::<FOOTER_BYTES>().ok_or(Refused::Footer)?;
    let [low, high, checksum @ ..] = *footer;
    let checked = &payload[..payload.len() - checksum.len()];
    if u16::from_le_bytes([low, high]) > VERSION_MAX || u64::from_le_bytes(checksum) != crc::crc64(checked) {
        return Err(Refused::Footer);
    }
    read::read(body, state, now).ok_or(Refused::Body)
}

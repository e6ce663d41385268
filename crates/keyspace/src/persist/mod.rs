//! The keyspace in the LSM: written by checkpoints, read when a key is missed.
//!
//! ```text
//! kind Keyspace   "state"                             databases, settings, waiters, unfinished parts
//! kind Object     incarnation | hash | key            end, version, the object
//! kind ObjectEnd  incarnation | end | hash | key      nothing: who is due
//! ```
//!
//! *Incarnation* numbers a database from one FLUSHDB to the next: a flush gives it another number, and compaction drops the
//! keys of the old one. A key longer than 1 KiB stands under its 128-bit hash, with the whole key in the value.
//!
//! A checkpoint is taken hold of in one step: the generation moves. Who changes an object of the generation that is being
//! written keeps its *image* for the writer first.

mod evict;
mod freeze;
mod load;
mod record;
#[cfg(test)]
mod tests;

pub use load::LsmLoad;
pub use record::restore;
#[cfg(test)]
pub(crate) use record::{decode as decode_state, encode as encode_state};

use bytes::Bytes;
use perigee_storage::companion::{self, Companion, CompanionError, FrozenCompanion};
use perigee_storage::kv::keys::Kind;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};
use perigee_types::{Hlc, LogIndex, Oid};
use xxhash_rust::xxh3::xxh3_128;

use crate::db::{Position, hash_of};
use crate::object::Value;
use crate::{Keyspace, StorageFault};

/// Keys up to this length stand in the LSM as they are.
const KEY_BYTES_MAX: usize = 1_024;

/// What an object is beside its key.
#[derive(Clone, Debug)]
pub struct Image {
    /// What its key holds.
    pub value: Value,
    /// When it ends: milliseconds since 1970 UTC.
    pub expire_at: Option<i64>,
    /// The position of its last change.
    pub version: Position,
}

impl Image {
    /// When something of it is due: its own end, or that of its first field.
    pub(crate) fn due(&self) -> Option<i64> {
        due_of(&self.value, self.expire_at)
    }

    pub(crate) fn encode(&self, key: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(64);
        put_varint(self.version.index, &mut out);
        put_varint(u64::from(self.version.n), &mut out);
        put_varint(self.expire_at.map_or(0, |at| (at as u64).wrapping_add(1)), &mut out);
        put_bytes(if key.len() > KEY_BYTES_MAX { key } else { &[] }, &mut out);
        self.value.encode(&mut out);
        companion::seal(&out)
    }

    /// The image, and the key where it stands in the value.
    pub(crate) fn decode(lsm_key: &[u8], sealed: &[u8]) -> Result<(Self, Option<Vec<u8>>), StorageFault> {
        let damaged = |why| StorageFault::Damaged { key: lsm_key.escape_ascii().to_string(), why };
        let body = companion::unseal(sealed, lsm_key).map_err(|_| damaged("the checksum does not match"))?;
        let parse = || {
            let mut rest = body;
            let index = get_varint(&mut rest).ok()?;
            let n = u32::try_from(get_varint(&mut rest).ok()?).ok()?;
            let end = get_varint(&mut rest).ok()?;
            let key = get_bytes(&mut rest).ok()?;
            let value = Value::decode(rest)?;
            let expire_at = (end != 0).then(|| end.wrapping_sub(1) as i64);
            Some((Image { value, expire_at, version: Position { index, n } }, (!key.is_empty()).then(|| key.to_vec())))
        };
        parse().ok_or_else(|| damaged("it is cut or of an unknown kind"))
    }
}

/// When something of an object is due: its own end, or that of its first field.
pub(crate) fn due_of(value: &Value, expire_at: Option<i64>) -> Option<i64> {
    let field = value.first_end();
    match (expire_at, field) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The end of an object's key in the LSM: hash and key.
pub(crate) fn name_of(key: &[u8]) -> Vec<u8> {
    let mut out = hash_of(key).to_be_bytes().to_vec();
    if key.len() <= KEY_BYTES_MAX {
        out.push(0);
        out.extend_from_slice(key);
    } else {
        out.push(1);
        out.extend_from_slice(&xxh3_128(key).to_be_bytes());
    }
    out
}

/// Where an object stands.
pub(crate) fn object_key(incarnation: u32, key: &[u8]) -> Vec<u8> {
    companion::key(Kind::Object, Oid(incarnation), &name_of(key))
}

/// Where its end stands.
pub(crate) fn end_key(incarnation: u32, due: i64, key: &[u8]) -> Vec<u8> {
    let mut rest = due.max(0).to_be_bytes().to_vec();
    rest.extend_from_slice(&name_of(key));
    companion::key(Kind::ObjectEnd, Oid(incarnation), &rest)
}

impl Companion for Keyspace {
    fn apply(&self, index: LogIndex, time: Hlc, payload: &[u8]) -> Result<u64, CompanionError> {
        Keyspace::apply(self, index, time, payload).map_err(|fault| CompanionError(fault.to_string()))
    }

    fn apply_in_transaction(&self, index: LogIndex, time: Hlc, payload: &[u8]) -> Result<Option<u64>, CompanionError> {
        self.apply_transaction(index, time, payload).map_err(|fault| CompanionError(fault.to_string()))
    }

    fn new_term(&self) {
        Keyspace::new_term(self);
    }

    fn publish(&self) {
        Keyspace::publish(self);
    }

    fn freeze(&self) -> Box<dyn FrozenCompanion> {
        Box::new(freeze::Frozen::take(self))
    }

    fn dropped(&self) -> Vec<Oid> {
        self.state.read().dropped_durable.iter().map(|incarnation| Oid(*incarnation)).collect()
    }
}

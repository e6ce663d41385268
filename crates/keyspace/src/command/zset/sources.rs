//! What sorted sets are combined from: sorted sets.

use bytes::Bytes;

use crate::object::{Object, ZSet};
use crate::{Error, Reader, Result};

/// A key that is combined.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Absent,
    ZSet(&'a ZSet),
}

impl<'a> Source<'a> {
    pub(super) fn of(reader: &Reader<'a>, key: &Bytes) -> Result<Self> {
        let Some(value) = reader.value(key)? else { return Ok(Source::Absent) };
        ZSet::of(value).map(Source::ZSet).ok_or(Error::WRONG_TYPE)
    }

    pub(super) fn len(self) -> usize {
        match self {
            Source::Absent => 0,
            Source::ZSet(set) => set.len(),
        }
    }

    pub(super) fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Absent => None,
            Source::ZSet(set) => set.score(member),
        }
    }

    pub(super) fn each(self, mut visit: impl FnMut(&[u8], f64)) {
        match self {
            Source::Absent => {}
            Source::ZSet(set) => set.iter().for_each(|(member, score)| visit(member, score)),
        }
    }
}

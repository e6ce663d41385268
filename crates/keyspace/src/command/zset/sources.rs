//! What sorted sets are combined from: sorted sets, and sets whose members all count 1.

use bytes::Bytes;

use crate::object::{Object, Set, Value, ZSet};
use crate::{Error, Reader, Result};

/// A key that is combined.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Absent,
    Set(&'a Set),
    ZSet(&'a ZSet),
}

impl<'a> Source<'a> {
    pub(super) fn of(reader: &Reader<'a>, key: &Bytes) -> Result<Self> {
        let Some(value) = reader.value(key)? else { return Ok(Source::Absent) };
        match value {
            Value::Set(_) => Set::of(value).map(Source::Set),
            _ => ZSet::of(value).map(Source::ZSet),
        }
        .ok_or(Error::WRONG_TYPE)
    }

    /// Where it stands in memory: the same for each name of one key.
    pub(super) fn place(self) -> usize {
        match self {
            Source::Absent => 0,
            Source::Set(set) => std::ptr::from_ref(set).addr(),
            Source::ZSet(set) => std::ptr::from_ref(set).addr(),
        }
    }

    pub(super) fn len(self) -> usize {
        match self {
            Source::Absent => 0,
            Source::Set(set) => set.len(),
            Source::ZSet(set) => set.len(),
        }
    }

    pub(super) fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Absent => None,
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::ZSet(set) => set.score(member),
        }
    }

    pub(super) fn each(self, mut visit: impl FnMut(&[u8], f64)) {
        match self {
            Source::Absent => {}
            Source::Set(set) => set.iter().for_each(|member| visit(&member, 1.0)),
            Source::ZSet(set) => set.iter().for_each(|(member, score)| visit(member, score)),
        }
    }
}

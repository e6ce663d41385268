//! Lists.

mod block;
mod index;
mod insert;
mod r#move;
mod pop;
mod position;
mod push;
mod range;
mod remove;

use bytes::Bytes;

use crate::args::is;
use crate::object::{List, ListLimits};
use crate::spec::Spec;
use crate::{Error, EventClass, Result, Writer};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &block::BLMOVE,
    &block::BLMPOP,
    &block::BLPOP,
    &block::BRPOP,
    &block::BRPOPLPUSH,
    &index::LINDEX,
    &index::LLEN,
    &index::LSET,
    &insert::LINSERT,
    &r#move::LMOVE,
    &r#move::RPOPLPUSH,
    &pop::LMPOP,
    &pop::LPOP,
    &pop::RPOP,
    &position::LPOS,
    &push::LPUSH,
    &push::LPUSHX,
    &push::RPUSH,
    &push::RPUSHX,
    &range::LRANGE,
    &range::LTRIM,
    &remove::LREM,
];

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Side {
    fn of(word: &[u8]) -> Result<Self> {
        if is(word, "left") {
            Ok(Side::Left)
        } else if is(word, "right") {
            Ok(Side::Right)
        } else {
            Err(Error::SYNTAX)
        }
    }

    fn push(self, list: &mut List, data: &[u8], limits: ListLimits) {
        match self {
            Side::Left => list.push_front(data, limits),
            Side::Right => list.push_back(data, limits),
        }
    }

    fn pushed(self) -> &'static str {
        match self {
            Side::Left => "lpush",
            Side::Right => "rpush",
        }
    }

    fn popped(self) -> &'static str {
        match self {
            Side::Left => "lpop",
            Side::Right => "rpop",
        }
    }

    /// Takes up to `count` elements, more than none, out of a list that has some.
    fn take(self, writer: &mut Writer<'_>, key: &[u8], count: usize) -> Result<Vec<Bytes>> {
        let limits = ListLimits::of(writer.state());
        let Some(list) = writer.get_mut::<List>(key)? else { return Ok(Vec::new()) };
        let mut taken = Vec::with_capacity(count.min(list.len()));
        while taken.len() < count
            && let Some(data) = match self {
                Side::Left => list.pop_front(),
                Side::Right => list.pop_back(),
            }
        {
            taken.push(Bytes::from(data));
        }
        list.shrink(limits);
        Ok(taken)
    }

    /// The same, and tells of it; a list that is empty then is removed.
    fn pop(self, writer: &mut Writer<'_>, key: &[u8], count: usize) -> Result<Vec<Bytes>> {
        let taken = self.take(writer, key, count)?;
        writer.notify(EventClass::LIST, self.popped(), key);
        writer.remove_if_empty(key)?;
        Ok(taken)
    }
}

/// A place in a list as clients write it: from the end where it is negative.
fn place(index: i64, len: usize) -> Option<usize> {
    let len = len as i64;
    let index = if index < 0 { index.saturating_add(len) } else { index };
    (0..len).contains(&index).then_some(index as usize)
}

/// Both ends of a range, as clients write them; empty where nothing is in it.
fn span(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let side = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
    let (start, stop) = (side(start).max(0), side(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;

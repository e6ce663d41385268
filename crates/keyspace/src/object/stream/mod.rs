//! Streams: entries in the order of their ids, and the groups that read them.
//!
//! ```text
//! blocks    first id -> about 100 entries or 4 KiB, packed; entries that are deleted are marked
//! groups    name -> last id delivered, what is pending (by id), consumers (by name) with the ids of what they have
//! ```
//! Blocks and groups are shared with a checkpoint that still holds them: what is changed is copied, and only that.

mod block;
mod group;
mod id;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use self::block::Block;
pub use self::block::Entry;
pub use self::group::{Consumer, Group, Pending};
use self::group::{get_id, put_id};
pub use self::id::Id;
use super::{Object, Value};

/// What a trim keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many entries, the last ones.
    Count(u64),
    /// Entries with this id and greater ones.
    From(Id),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What stays.
    pub keep: Keep,
    /// Whether only whole blocks go.
    pub approximately: bool,
    /// At most so many entries go; 0 for all.
    pub limit: u64,
}

/// How large a block becomes.
#[derive(Clone, Copy, Debug)]
pub struct BlockLimits {
    /// `stream-node-max-entries`
    pub entries: i64,
    /// `stream-node-max-bytes`
    pub bytes: i64,
}

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    blocks: BTreeMap<Id, Arc<Block>>,
    len: u64,
    /// The id of the first entry; `0-0` when there is none.
    first: Id,
    /// The greatest id that was ever given.
    pub last: Id,
    /// The greatest id that was deleted by name.
    pub max_deleted: Id,
    /// Entries that were ever added.
    pub added: u64,
    groups: BTreeMap<Box<[u8]>, Arc<Group>>,
    /// Bytes of memory of all blocks.
    bytes: usize,
}

impl Stream {
    /// How many entries it has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.len
    }

    /// How many blocks it has.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The id of its first entry; `0-0` when there is none.
    #[must_use]
    pub fn first(&self) -> Id {
        self.first
    }

    /// The id of its last entry.
    #[must_use]
    pub fn last_entry(&self) -> Option<Id> {
        self.backwards(Id::MIN, Id::MAX).next().map(|entry| entry.id)
    }

    /// Adds an entry with fields and values in turn. Its id must be greater than the last one.
    pub fn push(&mut self, id: Id, fields: &[impl AsRef<[u8]>], limits: BlockLimits) {
        let bytes = fields.iter().map(|part| part.as_ref().len()).sum();
        let fits =
            self.blocks.last_key_value().is_some_and(|(_, block)| block.has_room(bytes, limits.entries, limits.bytes));
        if !fits {
            let block = Block::new(id, fields);
            self.bytes += block.memory();
            self.blocks.insert(id, Arc::new(block));
        }
        if let Some(mut last) = self.blocks.last_entry() {
            let block = Arc::make_mut(last.get_mut());
            let before = block.memory();
            block.push(id, fields);
            self.bytes = self.bytes + block.memory() - before;
        }
        if self.len == 0 {
            self.first = id;
        }
        self.last = id;
        self.len += 1;
        self.added = self.added.saturating_add(1);
    }

    /// The entry with an id.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<Entry<'_>> {
        let (_, block) = self.blocks.range(..=id).next_back()?;
        block.entries().find(|entry| entry.id == id)
    }

    fn blocks_in(&self, from: Id, to: Id) -> std::collections::btree_map::Range<'_, Id, Arc<Block>> {
        let from = self.blocks.range(..=from).next_back().map_or(from, |(first, _)| *first);
        // An empty range of a map must not run backwards.
        self.blocks.range(from.min(to)..=to)
    }

    /// The entries from an id to another, in order.
    pub fn range(&self, from: Id, to: Id) -> impl Iterator<Item = Entry<'_>> {
        self.blocks_in(from, to)
            .flat_map(|(_, block)| block.entries())
            .skip_while(move |entry| entry.id < from)
            .take_while(move |entry| entry.id <= to)
    }

    /// The entries from an id to another, the last first.
    pub fn backwards(&self, from: Id, to: Id) -> impl Iterator<Item = Entry<'_>> {
        self.blocks_in(from, to)
            .rev()
            .flat_map(|(_, block)| block.entries().collect::<Vec<_>>().into_iter().rev())
            .skip_while(move |entry| entry.id > to)
            .take_while(move |entry| entry.id >= from)
    }

    /// Deletes an entry by its id; says whether it was there.
    pub fn delete(&mut self, id: Id) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        let last = self.blocks.last_key_value().map(|(first, _)| *first);
        let Some((first, block)) = self.blocks.range_mut(..=id).next_back() else { return false };
        let (first, block) = (*first, Arc::make_mut(block));
        let before = block.memory();
        block.mark_one(id);
        if block.deleted > block.live && block.deleted > 10 && last != Some(first) {
            block.compact();
        }
        self.bytes = self.bytes + block.memory() - before;
        if block.live == 0 {
            self.remove_block(first);
        }
        self.len -= 1;
        self.max_deleted = self.max_deleted.max(id);
        if id == self.first {
            self.find_first();
        }
        true
    }

    fn remove_block(&mut self, first: Id) {
        if let Some(block) = self.blocks.remove(&first) {
            self.bytes -= block.memory();
        }
    }

    fn find_first(&mut self) {
        self.first = self.blocks.values().find_map(|block| block.entries().next()).map_or(Id::MIN, |entry| entry.id);
    }

    /// Removes entries from the front; says how many.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let mut removed = 0;
        while let Some((&first, block)) = self.blocks.first_key_value() {
            let count = u64::from(block.live);
            if matches!(trim.keep, Keep::Count(max) if self.len <= max) {
                break;
            }
            if trim.limit > 0 && removed + count > trim.limit {
                break;
            }
            let is_whole = match trim.keep {
                Keep::Count(max) => self.len - count >= max,
                Keep::From(id) => block.entries().last().is_some_and(|entry| entry.id < id),
            };
            if is_whole {
                self.remove_block(first);
                self.len -= count;
                removed += count;
                continue;
            }
            if !trim.approximately {
                let len = self.len;
                if let Some(mut block) = self.blocks.first_entry() {
                    let live = block.get().live;
                    let marked = Arc::make_mut(block.get_mut()).mark(|id, left| match trim.keep {
                        Keep::Count(max) => len - u64::from(live - left) > max,
                        Keep::From(from) => id < from,
                    });
                    self.len -= u64::from(marked);
                    removed += u64::from(marked);
                }
            }
            break;
        }
        if removed > 0 {
            self.find_first();
        }
        removed
    }

    /// Its groups, by name.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<Box<[u8]>, Arc<Group>> {
        &self.groups
    }

    /// A group.
    #[must_use]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name).map(Arc::as_ref)
    }

    /// A group, to change.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name).map(Arc::make_mut)
    }

    /// The groups in which an entry is pending, to change.
    pub fn groups_mut_with(&mut self, id: Id) -> impl Iterator<Item = &mut Group> {
        self.groups.values_mut().filter(move |group| group.pending().contains_key(&id)).map(Arc::make_mut)
    }

    /// Puts a group.
    pub fn put_group(&mut self, name: &[u8], group: Group) {
        self.groups.insert(name.into(), Arc::new(group));
    }

    /// Removes a group; says whether it was there.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        self.groups.remove(name).is_some()
    }

    /// Whether an entry was deleted by name behind an id (included) and in front of the end.
    fn has_holes_from(&self, id: Id) -> bool {
        self.len > 0 && self.max_deleted != Id::MIN && self.first <= self.max_deleted && id <= self.max_deleted
    }

    /// How many entries were ever added up to an id, where that can be told.
    #[must_use]
    pub fn count_to(&self, id: Id) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if id == self.last || (self.len == 0 && id < self.last) {
            return Some(self.added);
        }
        if id > self.last || self.max_deleted >= self.first && self.max_deleted != Id::MIN {
            return None;
        }
        match id.cmp(&self.first) {
            std::cmp::Ordering::Less => Some(self.added.saturating_sub(self.len)),
            std::cmp::Ordering::Equal => Some(self.added.saturating_sub(self.len).saturating_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// How many entries a group has still to read, where that can be told.
    #[must_use]
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.added == 0 || self.len == 0 {
            return Some(0);
        }
        // What was trimmed away unread is no longer waited for.
        if group.last < self.first && (self.max_deleted == Id::MIN || self.max_deleted < self.first) {
            return i64::try_from(self.len).ok();
        }
        let read = match group.read {
            Some(read) if !self.has_holes_from(group.last) => read,
            _ => self.count_to(group.last)?,
        };
        Some((i128::from(self.added) - i128::from(read)).clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }

    /// What a group's count of entries becomes when it reads one more.
    #[must_use]
    pub fn read_to(&self, read: Option<u64>, id: Id) -> Option<u64> {
        match read {
            Some(read) if !self.has_holes_from(id) => Some(read.saturating_add(1)),
            _ if self.added > 0 => self.count_to(id),
            read => read,
        }
    }
}

impl Object for Stream {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Stream(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Stream(object) => Some(Arc::make_mut(object)),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Stream(Arc::new(self))
    }

    /// A stream stays when its last entry goes: it still knows its ids and groups.
    fn is_empty(&self) -> bool {
        false
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes + self.groups.values().map(|group| group.memory()).sum::<usize>()
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_id(self.last, out);
        put_id(self.max_deleted, out);
        put_varint(self.added, out);
        put_varint(self.blocks.len() as u64, out);
        self.blocks.values().for_each(|block| block.encode(out));
        put_varint(self.groups.len() as u64, out);
        for (name, group) in &self.groups {
            put_bytes(name, out);
            group.encode(out);
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let mut stream = Stream {
            last: get_id(bytes)?,
            max_deleted: get_id(bytes)?,
            added: get_varint(bytes).ok()?,
            ..Stream::default()
        };
        for _ in 0..get_varint(bytes).ok()? {
            let block = Block::decode(bytes)?;
            if stream
                .blocks
                .last_key_value()
                .is_some_and(|(_, last)| last.all().last().is_none_or(|placed| placed.entry.id >= block.first))
            {
                return None;
            }
            stream.bytes += block.memory();
            stream.len += u64::from(block.live);
            stream.blocks.insert(block.first, Arc::new(block));
        }
        for _ in 0..get_varint(bytes).ok()? {
            let name = get_bytes(bytes).ok()?.into();
            if stream.groups.insert(name, Arc::new(Group::decode(bytes)?)).is_some() {
                return None;
            }
        }
        stream.find_first();
        bytes.is_empty().then_some(stream)
    }
}

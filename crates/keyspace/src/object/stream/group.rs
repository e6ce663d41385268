//! Consumer groups: who has read what and not yet said that it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use super::Id;

/// Bytes of memory of a pending entry, in the group and at its consumer.
const PENDING_BYTES: usize = 96;

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Who has it; `None` when it was given back.
    pub consumer: Option<Arc<[u8]>>,
    /// When it was delivered last: milliseconds since 1970 UTC.
    pub time: i64,
    /// How often it was delivered.
    pub count: i64,
}

/// A consumer of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// When it tried to do something last.
    pub seen: i64,
    /// When it did something last.
    pub active: Option<i64>,
    /// The ids of what it has.
    pub pending: BTreeSet<Id>,
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The last id that was delivered.
    pub last: Id,
    /// How many entries of the stream stand up to it; `None` where nobody knows.
    pub read: Option<u64>,
    pending: BTreeMap<Id, Pending>,
    consumers: BTreeMap<Arc<[u8]>, Consumer>,
}

impl Group {
    /// A group that goes on behind an id.
    #[must_use]
    pub fn new(last: Id, read: Option<u64>) -> Self {
        Self { last, read, ..Self::default() }
    }

    /// What is pending, by id.
    #[must_use]
    pub fn pending(&self) -> &BTreeMap<Id, Pending> {
        &self.pending
    }

    /// Its consumers, by name.
    #[must_use]
    pub fn consumers(&self) -> &BTreeMap<Arc<[u8]>, Consumer> {
        &self.consumers
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.pending.len() * PENDING_BYTES + self.consumers.len() * (size_of::<Consumer>() + 64)
    }

    /// A consumer, made when it is absent, seen now. Says whether it is new.
    pub fn see(&mut self, name: &[u8], now: i64) -> bool {
        match self.consumers.get_mut(name) {
            Some(consumer) => {
                consumer.seen = now;
                false
            }
            None => {
                let consumer = Consumer { seen: now, ..Consumer::default() };
                self.consumers.insert(name.into(), consumer).is_none()
            }
        }
    }

    /// Removes a consumer with what it has; says how many that were.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Takes an entry from whoever has it; says whether it was pending.
    pub fn acknowledge(&mut self, id: Id) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        self.forget(pending.consumer.as_ref(), id);
        true
    }

    fn forget(&mut self, consumer: Option<&Arc<[u8]>>, id: Id) {
        if let Some(consumer) = consumer.and_then(|name| self.consumers.get_mut(name)) {
            consumer.pending.remove(&id);
        }
    }

    /// Gives an entry to a consumer that exists, whoever had it: delivered at `time`, `count` times by now.
    pub fn give(&mut self, id: Id, name: &[u8], time: i64, count: i64, now: i64) {
        let Some((name, _)) = self.consumers.get_key_value(name) else { return };
        let name = Arc::clone(name);
        let before = self.pending.insert(id, Pending { consumer: Some(Arc::clone(&name)), time, count });
        if let Some(before) = before.filter(|before| before.consumer.as_ref() != Some(&name)) {
            self.forget(before.consumer.as_ref(), id);
        }
        if let Some(consumer) = self.consumers.get_mut(&name) {
            consumer.pending.insert(id);
            consumer.active = Some(now);
        }
    }

    /// Marks that a consumer did something.
    pub fn be_active(&mut self, name: &[u8], now: i64) {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.active = Some(now);
        }
    }

    /// Delivers an entry once more to who has it.
    pub fn deliver_again(&mut self, id: Id, now: i64) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.time = now;
            pending.count = pending.count.saturating_add(1);
        }
    }

    /// Takes an entry from its consumer and leaves it pending, for anybody, with this count.
    pub fn release(&mut self, id: Id, count: i64) {
        let before = self.pending.insert(id, Pending { consumer: None, time: 0, count });
        self.forget(before.and_then(|before| before.consumer).as_ref(), id);
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_id(self.last, out);
        put_varint(self.read.map_or(0, |read| read.saturating_add(1)), out);
        put_varint(self.consumers.len() as u64, out);
        for (name, consumer) in &self.consumers {
            put_bytes(name, out);
            put_time(consumer.seen, out);
            put_varint(u64::from(consumer.active.is_some()), out);
            put_time(consumer.active.unwrap_or(0), out);
        }
        put_varint(self.pending.len() as u64, out);
        let names: BTreeMap<&Arc<[u8]>, u64> = self.consumers.keys().zip(1..).collect();
        for (id, pending) in &self.pending {
            put_id(*id, out);
            put_varint(pending.consumer.as_ref().and_then(|name| names.get(name)).copied().unwrap_or(0), out);
            put_time(pending.time, out);
            put_time(pending.count, out);
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut group = Group::new(get_id(bytes)?, get_varint(bytes).ok()?.checked_sub(1));
        let mut names: Vec<Arc<[u8]>> = Vec::new();
        for _ in 0..get_varint(bytes).ok()? {
            let name: Arc<[u8]> = get_bytes(bytes).ok()?.into();
            let seen = get_time(bytes)?;
            let is_active = get_varint(bytes).ok()? != 0;
            let active = get_time(bytes)?;
            let consumer = Consumer { seen, active: is_active.then_some(active), ..Consumer::default() };
            if group.consumers.insert(Arc::clone(&name), consumer).is_some() {
                return None;
            }
            names.push(name);
        }
        for _ in 0..get_varint(bytes).ok()? {
            let id = get_id(bytes)?;
            let consumer = match usize::try_from(get_varint(bytes).ok()?).ok()?.checked_sub(1) {
                Some(n) => Some(Arc::clone(names.get(n)?)),
                None => None,
            };
            if let Some(consumer) = consumer.as_ref().and_then(|name| group.consumers.get_mut(name)) {
                consumer.pending.insert(id);
            }
            let pending = Pending { consumer, time: get_time(bytes)?, count: get_time(bytes)? };
            if group.pending.insert(id, pending).is_some() {
                return None;
            }
        }
        Some(group)
    }
}

pub(super) fn put_id(id: Id, out: &mut Vec<u8>) {
    put_varint(id.ms, out);
    put_varint(id.seq, out);
}

pub(super) fn get_id(bytes: &mut &[u8]) -> Option<Id> {
    Some(Id { ms: get_varint(bytes).ok()?, seq: get_varint(bytes).ok()? })
}

/// A signed number as a varint: bits as they are.
fn put_time(time: i64, out: &mut Vec<u8>) {
    put_varint(time.cast_unsigned(), out);
}

fn get_time(bytes: &mut &[u8]) -> Option<i64> {
    get_varint(bytes).ok().map(u64::cast_signed)
}

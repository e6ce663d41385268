//! Things with names in slots, with a hash table over them: found by name and by number in O(1).
//!
//! The last one fills the hole of one that goes, so the order depends on the changes alone and can be written and read
//! back. A scan walks from the last slot to the first: what fills a hole comes from the end, where the scan has been or
//! before which it stops, so it may be given twice but is never skipped.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// What has a name.
pub(super) trait Named {
    fn name(&self) -> &[u8];
}

impl Named for Box<[u8]> {
    fn name(&self) -> &[u8] {
        self
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Slots<T> {
    items: Vec<T>,
    table: HashTable<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { items: Vec::new(), table: HashTable::new() }
    }
}

impl<T: Named> Slots<T> {
    /// Bytes of memory of one beside what it owns.
    pub(super) const OVERHEAD: usize = size_of::<T>() + 8;

    pub(super) fn with_capacity(count: usize) -> Self {
        Self { items: Vec::with_capacity(count), table: HashTable::with_capacity(count) }
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let same = |slot: &u32| *self.items[*slot as usize].name() == *name;
        self.table.find(xxh3_64(name), same).map(|slot| *slot as usize)
    }

    /// One of them, to change all but its name.
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.items.get_mut(slot)
    }

    /// Puts one whose name is new; gives its slot.
    pub(super) fn insert(&mut self, item: T) -> usize {
        let slot = self.items.len() as u32;
        self.items.push(item);
        let Self { items, table } = self;
        let hash = |slot: &u32| xxh3_64(items[*slot as usize].name());
        table.insert_unique(hash(&slot), slot, hash);
        slot as usize
    }

    /// Puts one unless its name is there.
    pub(super) fn insert_new(&mut self, item: T) -> bool {
        let new = self.find(item.name()).is_none();
        if new {
            self.insert(item);
        }
        new
    }

    /// Takes one out; the last one gets its number.
    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let last = self.items.len().checked_sub(1)?;
        let item = self.items.get(slot)?;
        if let Ok(found) = self.table.find_entry(xxh3_64(item.name()), |other| *other as usize == slot) {
            found.remove();
        }
        if slot != last
            && let Some(moved) = self.table.find_mut(xxh3_64(self.items[last].name()), |other| *other as usize == last)
        {
            *moved = slot as u32;
        }
        Some(self.items.swap_remove(slot))
    }

    /// Some of them and the cursor for the next call; zero before the first and behind the last.
    pub(super) fn scan(&self, cursor: u64, count: usize) -> (u64, impl Iterator<Item = &T>) {
        let total = self.items.len();
        let end = if cursor == 0 { total } else { usize::try_from(cursor).unwrap_or(total).min(total) };
        let start = end.saturating_sub(count.max(1));
        (start as u64, self.items[start..end].iter().rev())
    }
}

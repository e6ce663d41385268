//! The keys of one numbered database that are in memory.
//!
//! Extendible hashing over the top bits of a fixed hash: a bucket that is full splits in two, no other moves. So growth
//! never stops the server, and SCAN walks keys in the order of their hashes: what exists from its begin to its end is
//! given, whatever comes and goes meanwhile.
//!
//! ```text
//! directory   00 01 10 11        2^depth numbers of buckets
//!              |  |  \  /
//! buckets      0  1    2         bucket 2 is told apart by one bit only
//! ```

use std::collections::BTreeSet;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::labels::LabelIndex;
use crate::object::Value;
use crate::small::Name;

/// Where a change stands: the entry and the command in it. A key's version is that of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Index of the entry.
    pub index: u64,
    /// Counts changes within it.
    pub n: u32,
}

/// How far a sweep goes: what ends before a millisecond, and what ends in it up to a hash. So a million keys that end
/// together need not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Milliseconds since 1970 UTC.
    pub until: i64,
    /// The last hash of a key in that millisecond.
    pub hash: u64,
}

/// A bucket splits beyond this.
const BUCKET_ENTRIES_MAX: usize = 48;
/// The directory has at most 2^24 places.
const DEPTH_MAX: u32 = 24;

/// A key in memory.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub key: Name,
    /// What it holds. `None`: it is known to be absent, though the LSM may still have it.
    pub value: Option<Value>,
    /// Its times, where it has any.
    ends: Option<Box<Ends>>,
    /// The position of its last change.
    pub version: Position,
    /// The generation of checkpoints in which it was changed last; 0 for never since it was loaded.
    pub generation: u64,
    /// Bytes that were counted for it.
    pub(crate) counted: usize,
    /// When it was used last: seconds since the node started, for eviction and OBJECT IDLETIME.
    pub used: std::sync::atomic::AtomicU32,
    /// How often, logarithmically, for OBJECT FREQ.
    pub frequency: std::sync::atomic::AtomicU8,
    /// Whether the next checkpoint is counted to write the bytes that were counted.
    pub(crate) is_dirty: bool,
    /// Whether the LSM holds it.
    pub(crate) is_stored: bool,
}

/// Milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    expire_at: Option<i64>,
    due: Option<i64>,
    stored_due: Option<i64>,
}

impl Entry {
    /// Bytes of memory beside its value and its name: itself, and its share of the table, which is not full.
    pub(crate) const OVERHEAD: usize = size_of::<Entry>() + 24;
    /// Bytes of what has an end: the times, and its place among those that have one.
    const DUE_BYTES: usize = size_of::<Ends>() + 64;

    /// One that was not counted yet.
    pub(crate) fn new(key: &[u8], value: Option<Value>, expire_at: Option<i64>, version: Position, used: u32) -> Self {
        let mut entry = Self {
            key: key.into(),
            value,
            ends: None,
            version,
            generation: 0,
            counted: 0,
            used: used.into(),
            frequency: 5.into(),
            is_dirty: false,
            is_stored: false,
        };
        entry.set_expire_at(expire_at);
        entry
    }

    /// When it ends: milliseconds since 1970 UTC.
    #[must_use]
    pub fn expire_at(&self) -> Option<i64> {
        self.ends.as_ref().and_then(|ends| ends.expire_at)
    }

    /// When something of it ends first: itself, or a field of a hash.
    pub(crate) fn due(&self) -> Option<i64> {
        self.ends.as_ref().and_then(|ends| ends.due)
    }

    /// The due time that the LSM holds.
    pub(crate) fn stored_due(&self) -> Option<i64> {
        self.ends.as_ref().and_then(|ends| ends.stored_due)
    }

    pub(crate) fn set_expire_at(&mut self, at: Option<i64>) {
        self.set_ends(|ends| ends.expire_at = at);
    }

    pub(crate) fn set_due(&mut self, at: Option<i64>) {
        self.set_ends(|ends| ends.due = at);
    }

    pub(crate) fn set_stored_due(&mut self, at: Option<i64>) {
        self.set_ends(|ends| ends.stored_due = at);
    }

    fn set_ends(&mut self, change: impl FnOnce(&mut Ends)) {
        let mut ends = self.ends.as_deref().copied().unwrap_or_default();
        change(&mut ends);
        match &mut self.ends {
            _ if ends == Ends::default() => self.ends = None,
            Some(held) => **held = ends,
            None => self.ends = Some(Box::new(ends)),
        }
    }

    /// Bytes of memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let ends = if self.ends.is_some() { Self::DUE_BYTES + self.key.memory() } else { 0 };
        Self::OVERHEAD + self.key.memory() + ends + self.value.as_ref().map_or(0, Value::memory)
    }

    /// Whether it is over at `now`.
    #[must_use]
    pub fn is_expired(&self, now: i64) -> bool {
        self.expire_at().is_some_and(|at| at <= now)
    }
}

/// The fixed hash of a key: the same on every node and in the LSM.
#[must_use]
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The hash of a key in the table of its bucket. Keys of one bucket share the first bits of their hash, and a table tells its
/// keys apart by just those: half a turn brings others to the front, else a search compares with every name.
fn in_bucket(hash: u64) -> u64 {
    hash.rotate_left(32)
}

#[derive(Debug, Default)]
struct Bucket {
    /// Bits of the hash that all its entries share.
    depth: u32,
    entries: HashTable<Box<Entry>>,
}

/// A numbered database. See the module.
#[derive(Debug)]
pub struct Db {
    /// Names its objects in the LSM; another one behind each flush.
    pub(crate) incarnation: u32,
    /// Whether a checkpoint was made since, or is: the LSM may hold keys of it.
    pub(crate) may_be_stored: bool,
    directory: Vec<u32>,
    depth: u32,
    buckets: Vec<Bucket>,
    /// Keys that exist, in memory or only in the LSM. Expired keys count until they are removed.
    pub(crate) live: u64,
    /// Keys that exist in the LSM and are not in memory.
    pub(crate) cold: u64,
    /// Entries in memory that hold a value.
    pub(crate) hot: u64,
    /// Keys in memory of which something ends, by when, and by their hashes: the order of the LSM.
    pub(crate) expires: BTreeSet<(i64, u64, Name)>,
    /// Series by their labels, also those that are not in memory.
    pub(crate) labels: LabelIndex,
    /// The bucket where eviction goes on.
    pub(crate) evict_at: usize,
}

impl Db {
    /// An empty one.
    pub(crate) fn new(incarnation: u32) -> Self {
        Self {
            incarnation,
            may_be_stored: false,
            directory: vec![0],
            depth: 0,
            buckets: vec![Bucket::default()],
            live: 0,
            cold: 0,
            hot: 0,
            expires: BTreeSet::new(),
            labels: LabelIndex::default(),
            evict_at: 0,
        }
    }

    fn place(&self, hash: u64) -> usize {
        // A shift by 64 would be an overflow.
        let slot = hash.checked_shr(64 - self.depth).unwrap_or(0) as usize;
        self.directory[slot] as usize
    }

    /// The entry of a key, also one that says that it is absent.
    #[must_use]
    pub fn entry(&self, key: &[u8]) -> Option<&Entry> {
        let hash = hash_of(key);
        self.buckets[self.place(hash)].entries.find(in_bucket(hash), |entry| *entry.key == *key).map(|entry| &**entry)
    }

    /// The same, to change.
    pub(crate) fn entry_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let hash = hash_of(key);
        let place = self.place(hash);
        self.buckets[place].entries.find_mut(in_bucket(hash), |entry| *entry.key == *key).map(|entry| &mut **entry)
    }

    /// Puts an entry for a key that has none.
    pub(crate) fn insert(&mut self, entry: Entry) -> &mut Entry {
        let hash = hash_of(&entry.key);
        while self.must_split(self.place(hash)) {
            self.split(self.place(hash));
        }
        let place = self.place(hash);
        let table = &mut self.buckets[place].entries;
        table.insert_unique(in_bucket(hash), Box::new(entry), |entry| in_bucket(hash_of(&entry.key))).into_mut()
    }

    /// Takes the entry of a key out.
    pub(crate) fn take(&mut self, key: &[u8]) -> Option<Box<Entry>> {
        let hash = hash_of(key);
        let place = self.place(hash);
        let table = &mut self.buckets[place].entries;
        table.find_entry(in_bucket(hash), |entry| *entry.key == *key).ok().map(|found| found.remove().0)
    }

    fn must_split(&self, place: usize) -> bool {
        let bucket = &self.buckets[place];
        bucket.entries.len() >= BUCKET_ENTRIES_MAX && bucket.depth < DEPTH_MAX
    }

    fn split(&mut self, place: usize) {
        if self.buckets[place].depth == self.depth {
            self.directory = self.directory.iter().flat_map(|bucket| [*bucket, *bucket]).collect();
            self.depth += 1;
        }
        let depth = self.buckets[place].depth + 1;
        let bit = 1_u64 << (64 - depth);
        let old = std::mem::take(&mut self.buckets[place].entries);
        let new_place = self.buckets.len();
        let (mut zeros, mut ones) = (HashTable::new(), HashTable::new());
        for entry in old {
            let hash = hash_of(&entry.key);
            let half = if hash & bit == 0 { &mut zeros } else { &mut ones };
            half.insert_unique(in_bucket(hash), entry, |entry| in_bucket(hash_of(&entry.key)));
        }
        self.buckets[place] = Bucket { depth, entries: zeros };
        self.buckets.push(Bucket { depth, entries: ones });
        let bit_of_slot = 1_usize << (self.depth - depth);
        for (slot, bucket) in self.directory.iter_mut().enumerate() {
            if *bucket as usize == place && slot & bit_of_slot != 0 {
                *bucket = new_place as u32;
            }
        }
    }

    /// How many buckets there are.
    pub(crate) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Bytes of the buckets themselves; their tables are counted with the entries.
    pub(crate) fn overhead(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>() + self.directory.capacity() * size_of::<u32>()
    }

    /// How many keys exist; expired ones count until they are removed.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.live
    }

    /// How many keys in memory have an end.
    #[must_use]
    pub fn expiring(&self) -> u64 {
        self.expires.len() as u64
    }

    /// Whether no key exists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Series by their labels, also those that are not in memory.
    #[must_use]
    pub fn labels(&self) -> &LabelIndex {
        &self.labels
    }

    /// Whether keys exist that are not in memory.
    #[must_use]
    pub fn has_cold_keys(&self) -> bool {
        self.cold > 0
    }

    /// The entries of one bucket: the one that holds hashes from `from` on, and where the next begins; `None` behind the
    /// last. Also entries that say that a key is absent, and hashes below `from`.
    pub fn bucket_from(&self, from: u64) -> (impl Iterator<Item = &Entry>, Option<u64>) {
        let bucket = &self.buckets[self.place(from)];
        let width = 64 - bucket.depth;
        let next = (width < 64)
            .then(|| (from >> width).wrapping_add(1).checked_shl(width).filter(|next| *next != 0))
            .flatten()
            .filter(|next| *next > from);
        (bucket.entries.iter().map(|entry| &**entry), next)
    }

    /// How far a sweep would go that ends `count` of the keys that are due at `now`; `None` when none is.
    pub(crate) fn due(&self, now: i64, count: usize) -> Option<Due> {
        self.expires.first().filter(|(at, ..)| *at <= now)?;
        let last = self.expires.iter().nth(count.saturating_sub(1)).filter(|(at, ..)| *at <= now);
        // Fewer are due: all of them.
        Some(last.map_or(Due { until: now, hash: u64::MAX }, |(until, hash, _)| Due { until: *until, hash: *hash }))
    }

    /// Takes entries out of some buckets, from number `from` on, and says where to go on; `None` behind the last.
    #[expect(clippy::vec_box, reason = "they are boxed in the table already, and move as they are")]
    pub(crate) fn extract_from(
        &mut self,
        from: usize,
        count: usize,
        mut gone: impl FnMut(&Entry) -> bool,
    ) -> (Vec<Box<Entry>>, Option<usize>) {
        let to = from.saturating_add(count).min(self.buckets.len());
        let mut entries = Vec::new();
        for bucket in self.buckets.get_mut(from..to).unwrap_or_default() {
            let before = entries.len();
            entries.extend(bucket.entries.extract_if(|entry| gone(entry)));
            if entries.len() > before {
                bucket.entries.shrink_to_fit(|entry| in_bucket(hash_of(&entry.key)));
            }
        }
        (entries, (to < self.buckets.len()).then_some(to))
    }

    /// All entries in memory, also those that say that a key is absent, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| bucket.entries.iter().map(|entry| &**entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32) -> Entry {
        Entry::new(n.to_string().as_bytes(), None, None, Position::default(), 0)
    }

    #[test]
    fn what_is_put_is_found_and_scanned_once() {
        let mut db = Db::new(1);
        for n in 0..20_000 {
            db.insert(entry(n));
        }
        for n in 0..20_000_u32 {
            assert!(db.entry(n.to_string().as_bytes()).is_some(), "{n}");
        }
        let (mut from, mut seen) = (Some(0), 0);
        while let Some(at) = from {
            let (entries, next) = db.bucket_from(at);
            seen += entries.count();
            assert!(next.is_none_or(|next| next > at));
            from = next;
        }
        assert_eq!(seen, 20_000);
        assert!(db.take(b"77").is_some());
        assert!(db.entry(b"77").is_none());
        assert_eq!(db.entries().count(), 19_999);
    }
}

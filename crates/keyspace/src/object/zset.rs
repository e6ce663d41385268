//! Sorted sets.
//!
//! Few and short members stand in one vector, by score and member. Others stand in slots with a hash table over them, and
//! in a tree over the slots that counts ([`order`]), so that ranks take O(log n).
//!
//! ```text
//! slots   0: b 3   1: a 1   2: c 2        the last one fills the hole of one that goes
//! table   hash of member -> slot
//! order   (1, slot 1) (2, slot 2) (3, slot 0)
//! ```

mod order;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};
use xxhash_rust::xxh3::xxh3_64;

use self::order::{Item, Order};
use super::{Object, Value};
use crate::State;

/// Up to where a sorted set is a listpack.
#[derive(Clone, Copy, Debug)]
pub struct ZSetLimits {
    /// Members.
    pub entries: usize,
    /// Bytes of a member.
    pub member_bytes: usize,
}

impl ZSetLimits {
    /// As the settings have them.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let number = |name, default| usize::try_from(state.settings.number(name, default)).unwrap_or(0);
        Self { entries: number("zset-max-listpack-entries", 128), member_bytes: number("zset-max-listpack-value", 64) }
    }
}

/// A member and its score, which is never NaN.
#[derive(Clone, Debug)]
struct Slot {
    score: f64,
    member: Box<[u8]>,
}

/// How members stand: by score, then by bytes.
fn compare(score: f64, member: &[u8], other_score: f64, other_member: &[u8]) -> Ordering {
    score.partial_cmp(&other_score).unwrap_or(Ordering::Equal).then_with(|| member.cmp(other_member))
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ZSet {
    form: Form,
    /// Bytes of all members.
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Form {
    Small(Vec<Slot>),
    Large(Box<Large>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Small(Vec::new())
    }
}

#[derive(Clone, Debug, Default)]
struct Large {
    slots: Vec<Slot>,
    table: HashTable<u32>,
    order: Order,
}

impl Large {
    fn find(&self, member: &[u8]) -> Option<u32> {
        let same = |slot: &u32| *self.slots[*slot as usize].member == *member;
        self.table.find(xxh3_64(member), same).copied()
    }

    /// From slots with distinct members, in the order that SCAN keeps.
    fn new(slots: Vec<Slot>) -> Self {
        let mut large = Large { table: HashTable::with_capacity(slots.len()), ..Large::default() };
        large.slots = slots;
        for slot in 0..large.slots.len() as u32 {
            large.enter(slot);
        }
        let mut ids: Vec<u32> = (0..large.slots.len() as u32).collect();
        ids.sort_unstable_by(|a, b| {
            let (a, b) = (&large.slots[*a as usize], &large.slots[*b as usize]);
            compare(a.score, &a.member, b.score, &b.member)
        });
        let items = ids.into_iter().map(|slot| Item { score: large.slots[slot as usize].score, slot });
        large.order = Order::new(items.collect());
        large
    }

    fn enter(&mut self, slot: u32) {
        let Large { slots, table, .. } = self;
        let hash = |slot: &u32| xxh3_64(&slots[*slot as usize].member);
        table.insert_unique(hash(&slot), slot, hash);
    }

    /// Where the first stands for which `before` does not hold; it holds for a first part of the whole.
    fn partition(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.order.partition(|item| before(item.score, &self.slots[item.slot as usize].member))
    }

    fn rank_of(&self, score: f64, member: &[u8]) -> usize {
        self.partition(|other, name| compare(other, name, score, member).is_lt())
    }

    fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let Some(slot) = self.find(member) else {
            let slot = self.slots.len() as u32;
            let at = self.rank_of(score, member);
            self.slots.push(Slot { score, member: member.into() });
            self.enter(slot);
            self.order.insert(at, Item { score, slot });
            return None;
        };
        let old = self.slots[slot as usize].score;
        if old.to_bits() != score.to_bits() {
            self.order.remove(self.rank_of(old, member));
            self.slots[slot as usize].score = score;
            self.order.insert(self.rank_of(score, member), Item { score, slot });
        }
        Some(old)
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let same = |slot: &u32| *self.slots[*slot as usize].member == *member;
        let slot = self.table.find_entry(xxh3_64(member), same).ok()?.remove().0;
        let score = self.slots[slot as usize].score;
        self.order.remove(self.rank_of(score, member));
        let last = self.slots.len() as u32 - 1;
        if last != slot {
            // The last one fills the hole: whatever names it must name its new place.
            let (score, member) = (self.slots[last as usize].score, &self.slots[last as usize].member);
            let hash = xxh3_64(member);
            let at = self.rank_of(score, member);
            if let Some(entry) = self.table.find_mut(hash, |entry| *entry == last) {
                *entry = slot;
            }
            self.order.replace(at, Item { score, slot });
        }
        self.slots.swap_remove(slot as usize);
        Some(score)
    }
}

impl ZSet {
    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Small(slots) => slots.len(),
            Form::Large(large) => large.slots.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.form {
            Form::Small(slots) => slots.iter().find(|slot| *slot.member == *member).map(|slot| slot.score),
            Form::Large(large) => large.find(member).map(|slot| large.slots[slot as usize].score),
        }
    }

    /// Gives a member a score, which must not be NaN; says which it had.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: ZSetLimits) -> Option<f64> {
        self.expect(member, limits);
        let old = match &mut self.form {
            Form::Small(slots) => {
                // A listpack knows no negative zero.
                let score = score + 0.0;
                let old = slots.iter().position(|slot| *slot.member == *member);
                let old = old.map(|at| slots.remove(at).score);
                let at = slots.partition_point(|slot| compare(slot.score, &slot.member, score, member).is_lt());
                slots.insert(at, Slot { score, member: member.into() });
                old
            }
            Form::Large(large) => large.insert(member, score),
        };
        if old.is_none() {
            self.bytes += member.len();
        }
        old
    }

    /// Leaves the small form before a new member would pass a limit: its score is kept as it is given. There is no way back.
    fn expect(&mut self, member: &[u8], limits: ZSetLimits) {
        if let Form::Small(slots) = &mut self.form
            && (slots.len() >= limits.entries || member.len() > limits.member_bytes)
            && !slots.iter().any(|slot| *slot.member == *member)
        {
            self.form = Form::Large(Box::new(Large::new(std::mem::take(slots))));
        }
    }

    /// Removes a member; says which score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let old = match &mut self.form {
            Form::Small(slots) => {
                let at = slots.iter().position(|slot| *slot.member == *member)?;
                slots.remove(at).score
            }
            Form::Large(large) => large.remove(member)?,
        };
        self.bytes -= member.len();
        Some(old)
    }

    /// Removes the members of a range of ranks and gives them, from the lowest on.
    pub fn take(&mut self, ranks: Range<usize>) -> Vec<(Bytes, f64)> {
        let found = self.range(ranks.clone()).map(|(member, score)| (Bytes::copy_from_slice(member), score));
        let found: Vec<(Bytes, f64)> = found.collect();
        match &mut self.form {
            Form::Small(slots) => {
                let end = ranks.end.min(slots.len());
                slots.drain(ranks.start.min(end)..end);
            }
            Form::Large(large) => found.iter().for_each(|(member, _)| {
                large.remove(member);
            }),
        }
        self.bytes -= found.iter().map(|(member, _)| member.len()).sum::<usize>();
        found
    }

    /// How many members stand before this one, and its score.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.form {
            Form::Small(slots) => {
                let at = slots.iter().position(|slot| *slot.member == *member)?;
                Some((at, slots[at].score))
            }
            Form::Large(large) => {
                let score = large.slots[large.find(member)? as usize].score;
                Some((large.rank_of(score, member), score))
            }
        }
    }

    /// How many members, from the lowest on, `before` holds for. It must hold for none behind one for which it does not.
    #[must_use]
    pub fn partition(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        match &self.form {
            Form::Small(slots) => slots.partition_point(|slot| before(slot.score, &slot.member)),
            Form::Large(large) => large.partition(before),
        }
    }

    /// The members of a range of ranks, from the lowest on, or backwards by `rev`. Ranks beyond the last are left out.
    #[must_use]
    pub fn range(&self, ranks: Range<usize>) -> ZSetIter<'_> {
        let end = ranks.end.min(self.len());
        ZSetIter { set: self, start: ranks.start.min(end), end, front: Leaf::default(), back: Leaf::default() }
    }

    /// All members, from the lowest on, or backwards by `rev`.
    #[must_use]
    pub fn iter(&self) -> ZSetIter<'_> {
        self.range(0..self.len())
    }

    /// Some members and the cursor for the next call; zero before the first and behind the last. What is in the set from
    /// the first call to the last is given at least once.
    ///
    /// Slots are walked from the last to the first: one that fills a hole comes from the end, so it may be given twice,
    /// but is never skipped.
    #[must_use]
    pub fn scan(&self, cursor: u64, count: usize) -> (u64, Vec<(&[u8], f64)>) {
        match &self.form {
            Form::Small(_) => (0, self.iter().collect()),
            Form::Large(large) => {
                let total = large.slots.len();
                let end = if cursor == 0 { total } else { usize::try_from(cursor).unwrap_or(total).min(total) };
                let start = end.saturating_sub(count.max(1));
                let found = large.slots[start..end].iter().rev().map(|slot| (&*slot.member, slot.score));
                (start as u64, found.collect())
            }
        }
    }
}

/// The leaf of the tree that an iterator is in.
#[derive(Clone, Copy, Debug, Default)]
struct Leaf<'a> {
    items: &'a [Item],
    /// The rank of its first.
    start: usize,
}

impl<'a> Leaf<'a> {
    fn get(&self, rank: usize) -> Option<&'a Item> {
        self.items.get(rank.checked_sub(self.start)?)
    }
}

/// Members with their scores, from the lowest on.
#[derive(Clone, Debug)]
pub struct ZSetIter<'a> {
    set: &'a ZSet,
    start: usize,
    end: usize,
    front: Leaf<'a>,
    back: Leaf<'a>,
}

fn at<'a>(set: &'a ZSet, leaf: &mut Leaf<'a>, rank: usize) -> Option<(&'a [u8], f64)> {
    match &set.form {
        Form::Small(slots) => slots.get(rank).map(|slot| (&*slot.member, slot.score)),
        Form::Large(large) => {
            let item = match leaf.get(rank) {
                Some(item) => item,
                None => {
                    let (items, start) = large.order.leaf(rank);
                    *leaf = Leaf { items, start };
                    leaf.get(rank)?
                }
            };
            Some((&*large.slots[item.slot as usize].member, item.score))
        }
    }
}

impl<'a> Iterator for ZSetIter<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        self.start += 1;
        at(self.set, &mut self.front, self.start - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.start, Some(self.end - self.start))
    }
}

impl ExactSizeIterator for ZSetIter<'_> {}

impl DoubleEndedIterator for ZSetIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        self.end -= 1;
        at(self.set, &mut self.back, self.end)
    }
}

const SMALL: u8 = 0;
const LARGE: u8 = 1;

impl Object for ZSet {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::ZSet(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::ZSet(object) => Some(Arc::make_mut(object)),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::ZSet(Arc::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn memory(&self) -> usize {
        const HEAP: usize = 8;
        let each = match &self.form {
            Form::Small(_) => size_of::<Slot>() + HEAP,
            // A slot, its place in the table, its place in a leaf that is three quarters full.
            Form::Large(_) => size_of::<Slot>() + HEAP + 8 + size_of::<Item>() * 4 / 3,
        };
        size_of::<Self>() + self.len() * each + self.bytes
    }

    fn encoding(&self) -> &'static str {
        match self.form {
            Form::Small(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    /// Form | count | each: score, member. A small one in its order, a large one in that of its slots.
    fn encode(&self, out: &mut Vec<u8>) {
        let (form, slots) = match &self.form {
            Form::Small(slots) => (SMALL, slots),
            Form::Large(large) => (LARGE, &large.slots),
        };
        out.push(form);
        put_varint(slots.len() as u64, out);
        for slot in slots {
            out.extend_from_slice(&slot.score.to_le_bytes());
            put_bytes(&slot.member, out);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (form, mut bytes) = bytes.split_first()?;
        let count = usize::try_from(get_varint(&mut bytes).ok()?).ok()?;
        // Each takes nine bytes at least.
        if count > bytes.len() / 9 || count > u32::MAX as usize {
            return None;
        }
        let mut slots = Vec::with_capacity(count);
        let mut size = 0;
        for _ in 0..count {
            let (score, rest) = bytes.split_first_chunk()?;
            bytes = rest;
            let score = f64::from_le_bytes(*score);
            let member: Box<[u8]> = get_bytes(&mut bytes).ok()?.into();
            if score.is_nan() {
                return None;
            }
            size += member.len();
            slots.push(Slot { score, member });
        }
        if !bytes.is_empty() {
            return None;
        }
        let form = match *form {
            SMALL => {
                let rising = slots
                    .windows(2)
                    .all(|two| compare(two[0].score, &two[0].member, two[1].score, &two[1].member).is_lt());
                if !rising || !distinct(&slots) {
                    return None;
                }
                Form::Small(slots)
            }
            LARGE if distinct(&slots) => Form::Large(Box::new(Large::new(slots))),
            _ => return None,
        };
        Some(ZSet { form, bytes: size })
    }
}

fn distinct(slots: &[Slot]) -> bool {
    let mut members: Vec<&[u8]> = slots.iter().map(|slot| &*slot.member).collect();
    members.sort_unstable();
    members.windows(2).all(|two| two[0] != two[1])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: ZSetLimits = ZSetLimits { entries: 8, member_bytes: 64 };

    fn pairs(set: &ZSet) -> Vec<(Vec<u8>, f64)> {
        set.iter().map(|(member, score)| (member.to_vec(), score)).collect()
    }

    /// Compares everything that can be asked with a plain map.
    fn same(set: &ZSet, model: &BTreeMap<Vec<u8>, f64>) {
        let mut want: Vec<(Vec<u8>, f64)> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
        want.sort_by(|a, b| compare(a.1, &a.0, b.1, &b.0));
        assert_eq!(pairs(set), want);
        let back: Vec<_> = set.iter().rev().map(|(member, score)| (member.to_vec(), score)).collect();
        assert!(back.iter().eq(want.iter().rev()));
        for (rank, (member, score)) in want.iter().enumerate() {
            assert_eq!(set.rank(member), Some((rank, *score)));
        }
        assert_eq!(set.bytes, want.iter().map(|(member, _)| member.len()).sum::<usize>());
    }

    #[test]
    fn a_large_set_is_a_map_in_the_order_of_scores() {
        let (mut set, mut model) = (ZSet::default(), BTreeMap::new());
        let mut seed = 7_u64;
        let mut next = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % bound
        };
        for round in 0..40_000 {
            let member = next(3_000).to_string().into_bytes();
            // Grows, then shrinks.
            if next(10) < if round < 20_000 { 8 } else { 2 } {
                let score = next(500) as f64;
                assert_eq!(set.insert(&member, score, LIMITS), model.insert(member, score));
            } else {
                assert_eq!(set.remove(&member), model.remove(&member));
            }
            if round % 1_000 == 0 {
                same(&set, &model);
                let mut bytes = Vec::new();
                set.encode(&mut bytes);
                let Some(again) = ZSet::decode(&bytes) else { panic!("decode") };
                assert_eq!(pairs(&again), pairs(&set));
                assert_eq!(again.encoding(), set.encoding());
                assert_eq!(again.scan(0, 50), set.scan(0, 50));
                assert_eq!(again.memory(), set.memory());
            }
        }
        same(&set, &model);
    }

    #[test]
    fn rising_scores_fill_the_leaves() {
        let mut set = ZSet::default();
        for n in 0..10_000 {
            set.insert(n.to_string().as_bytes(), f64::from(n), LIMITS);
        }
        let Form::Large(large) = &set.form else { panic!("small") };
        assert!(large.order.leaf_count() < 10_000 / 50, "{}", large.order.leaf_count());
        assert_eq!(set.range(5_000..5_002).next(), Some((&b"5000"[..], 5_000.0)));
        assert_eq!(set.partition(|score, _| score < 2_500.0), 2_500);
    }

    #[test]
    fn a_scan_gives_all_that_stay() {
        let mut set = ZSet::default();
        for n in 0..1_000 {
            set.insert(n.to_string().as_bytes(), f64::from(n), LIMITS);
        }
        let (mut cursor, mut seen, mut n) = (0, std::collections::BTreeSet::new(), 0);
        loop {
            let (next, found) = set.scan(cursor, 10);
            seen.extend(found.iter().map(|(member, _)| member.to_vec()));
            cursor = next;
            if cursor == 0 {
                break;
            }
            // Every third goes while the scan runs.
            set.remove((n * 3).to_string().as_bytes());
            n += 1;
        }
        for n in (0..1_000).filter(|n| n % 3 != 0) {
            assert!(seen.contains(n.to_string().as_bytes()), "{n}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(members in prop::collection::vec(("[a-d]{0,3}", -3_i32..3), 0..30)) {
            let mut set = ZSet::default();
            for (member, score) in &members {
                set.insert(member.as_bytes(), f64::from(*score) / 2.0, LIMITS);
            }
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            let again = ZSet::decode(&bytes);
            prop_assert_eq!(again.as_ref().map(pairs), Some(pairs(&set)));
            prop_assert_eq!(again.map(|again| again.encoding()), Some(set.encoding()));
        }

        #[test]
        fn garbage_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(set) = ZSet::decode(&bytes) {
                prop_assert_eq!(set.iter().count(), set.len());
            }
        }
    }
}

//! Hashes, whose fields may have ends of their own.
//!
//! Few short fields stand one behind the other, each followed by its value; others in slots with a hash table over them.
//! A field whose end is over is still in the hash until [`Hash::remove_due`] takes it at a time of the log; who reads
//! gives the time, and does not see it.

use std::collections::BTreeSet;
use std::sync::Arc;

use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use super::pack::{Pack, PackIter};
use super::slots::{Named, Slots};
use super::{Object, Value};
use crate::State;

/// Up to where a hash is a listpack.
#[derive(Clone, Copy, Debug)]
pub struct HashLimits {
    /// Fields.
    pub entries: usize,
    /// Bytes of a field or of a value.
    pub value_bytes: usize,
}

impl HashLimits {
    /// As the settings have them.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let number = |name, default| usize::try_from(state.settings.number(name, default)).unwrap_or(0);
        Self { entries: number("hash-max-listpack-entries", 512), value_bytes: number("hash-max-listpack-value", 64) }
    }
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// When it ends: milliseconds since 1970 UTC.
    pub end: Option<i64>,
}

impl Field<'_> {
    /// Whether it is not over at `now`.
    #[must_use]
    pub fn lives(&self, now: i64) -> bool {
        self.end.is_none_or(|end| end > now)
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    form: Form,
    /// Bytes of all names and values.
    bytes: usize,
    /// Whether a field ever had an end: a small hash has another name then.
    timed: bool,
}

#[derive(Clone, Debug)]
enum Form {
    /// Names and values in turn, and the ends in the same order; none where no field has one.
    Small(Pack, Vec<Option<i64>>),
    Large(Box<Large>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Small(Pack::default(), Vec::new())
    }
}

#[derive(Clone, Debug)]
struct Slot {
    name: Box<[u8]>,
    value: Box<[u8]>,
    end: Option<i64>,
}

impl Named for Slot {
    fn name(&self) -> &[u8] {
        &self.name
    }
}

#[derive(Clone, Debug, Default)]
struct Large {
    slots: Slots<Slot>,
    /// Ends with the slots that they are of.
    ends: BTreeSet<(i64, u32)>,
}

impl Large {
    fn set_end(&mut self, slot: usize, end: Option<i64>) {
        let Some(found) = self.slots.get_mut(slot) else { return };
        if let Some(old) = std::mem::replace(&mut found.end, end) {
            self.ends.remove(&(old, slot as u32));
        }
        if let Some(end) = end {
            self.ends.insert((end, slot as u32));
        }
    }

    fn remove(&mut self, slot: usize) -> Option<Slot> {
        self.set_end(slot, None);
        let last = self.slots.items().len().checked_sub(1)?;
        let end = self.slots.items().get(last)?.end;
        // The last one gets the number of the one that goes.
        self.set_end(last, None);
        let removed = self.slots.remove(slot);
        if slot != last {
            self.set_end(slot, end);
        }
        removed
    }
}

impl Hash {
    /// How many fields are not over at `now`.
    #[must_use]
    pub fn len(&self, now: i64) -> usize {
        let over = match &self.form {
            Form::Small(_, ends) => ends.iter().filter(|end| end.is_some_and(|end| end <= now)).count(),
            Form::Large(large) => large.ends.range(..=(now, u32::MAX)).count(),
        };
        self.len_all() - over
    }

    /// How many fields there are, those that are over among them.
    #[must_use]
    pub fn len_all(&self) -> usize {
        match &self.form {
            Form::Small(pack, _) => pack.len() / 2,
            Form::Large(large) => large.slots.items().len(),
        }
    }

    /// The number of a field; one that is over has one as well.
    fn find(&self, name: &[u8]) -> Option<usize> {
        match &self.form {
            Form::Small(pack, _) => pack.iter().step_by(2).position(|other| other == name),
            Form::Large(large) => large.slots.find(name),
        }
    }

    /// A field by its number below [`Hash::len_all`]: in the order in which fields came, until one went.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Field<'_>> {
        match &self.form {
            Form::Small(pack, ends) => {
                let mut rest = pack.iter();
                let name = rest.nth(index.checked_mul(2)?)?;
                Some(Field { name, value: rest.next()?, end: ends.get(index).copied().flatten() })
            }
            Form::Large(large) => large.slots.items().get(index).map(Slot::field),
        }
    }

    /// A field that is not over at `now`.
    #[must_use]
    pub fn field(&self, name: &[u8], now: i64) -> Option<Field<'_>> {
        let field = match &self.form {
            // In one pass: this is what most reads are.
            Form::Small(..) => self.iter().find(|field| field.name == name)?,
            Form::Large(large) => large.slots.items().get(large.slots.find(name)?)?.field(),
        };
        field.lives(now).then_some(field)
    }

    /// The value of a field that is not over at `now`.
    #[must_use]
    pub fn get(&self, name: &[u8], now: i64) -> Option<&[u8]> {
        self.field(name, now).map(|field| field.value)
    }

    /// Gives a field a value and no end; says whether it is new.
    pub fn insert(&mut self, name: &[u8], value: &[u8], limits: HashLimits) -> bool {
        self.insert_until(name, value, None, limits)
    }

    /// Gives a field a value and an end, or none; says whether it is new.
    pub fn insert_until(&mut self, name: &[u8], value: &[u8], end: Option<i64>, limits: HashLimits) -> bool {
        self.expect(0, [name, value].map(<[u8]>::len).into_iter(), limits);
        let found = self.find(name);
        match (&mut self.form, found) {
            (Form::Small(pack, _), Some(at)) => {
                let old = pack.get(2 * at + 1).map_or(0, <[u8]>::len);
                pack.replace(2 * at + 1, value);
                self.bytes = self.bytes - old + value.len();
            }
            (Form::Large(large), Some(at)) => {
                if let Some(slot) = large.slots.get_mut(at) {
                    self.bytes = self.bytes - slot.value.len() + value.len();
                    slot.value = value.into();
                }
            }
            (Form::Small(pack, ends), None) => {
                pack.push_back(name);
                pack.push_back(value);
                if !ends.is_empty() {
                    ends.push(None);
                }
                self.bytes += name.len() + value.len();
                if pack.len() / 2 > limits.entries {
                    self.become_large();
                }
            }
            (Form::Large(large), None) => {
                large.slots.insert(Slot { name: name.into(), value: value.into(), end: None });
                self.bytes += name.len() + value.len();
            }
        }
        let at = found.unwrap_or_else(|| self.len_all() - 1);
        self.put_end(at, end);
        found.is_none()
    }

    /// Gives a field another value and leaves its end; says whether there is such a field.
    pub fn replace(&mut self, name: &[u8], value: &[u8], limits: HashLimits) -> bool {
        let Some(field) = self.find(name).and_then(|at| self.at(at)) else { return false };
        let end = field.end;
        self.insert_until(name, value, end, limits);
        true
    }

    fn put_end(&mut self, at: usize, end: Option<i64>) {
        self.timed |= end.is_some();
        match &mut self.form {
            Form::Small(pack, ends) => {
                if end.is_some() && ends.is_empty() {
                    ends.resize(pack.len() / 2, None);
                }
                if let Some(old) = ends.get_mut(at) {
                    *old = end;
                }
            }
            Form::Large(large) => large.set_end(at, end),
        }
    }

    /// Gives a field an end, or takes it away; says whether there is such a field.
    pub fn set_end(&mut self, name: &[u8], end: Option<i64>) -> bool {
        let found = self.find(name);
        if let Some(at) = found {
            self.put_end(at, end);
        }
        found.is_some()
    }

    /// Makes a small hash one that may have ends, as Redis does before it looks at fields.
    pub fn expect_ends(&mut self) {
        self.timed = true;
    }

    /// Removes a field, also one that is over; gives its value.
    pub fn remove(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let at = self.find(name)?;
        let value = match &mut self.form {
            Form::Small(pack, ends) => {
                let value = pack.get(2 * at + 1)?.to_vec();
                pack.remove(2 * at, 2);
                if at < ends.len() {
                    ends.remove(at);
                }
                value
            }
            Form::Large(large) => large.remove(at)?.value.into_vec(),
        };
        self.bytes -= name.len() + value.len();
        Some(value)
    }

    /// When the first field ends that has an end: milliseconds since 1970 UTC.
    #[must_use]
    pub fn first_end(&self) -> Option<i64> {
        match &self.form {
            Form::Small(_, ends) => ends.iter().flatten().min().copied(),
            Form::Large(large) => large.ends.first().map(|(end, _)| *end),
        }
    }

    /// Removes the fields that are over at `now`, the first one first; says how many.
    pub fn remove_due(&mut self, now: i64) -> usize {
        let mut count = 0;
        while let Some(end) = self.first_end().filter(|end| *end <= now) {
            let at = match &self.form {
                Form::Small(_, ends) => ends.iter().position(|other| *other == Some(end)),
                Form::Large(large) => large.ends.first().map(|(_, slot)| *slot as usize),
            };
            let Some(name) = at.and_then(|at| self.at(at)).map(|field| field.name.to_vec()) else { break };
            self.remove(&name);
            count += 1;
        }
        count
    }

    /// Leaves the small form when that many new fields are to come, or names and values of these lengths.
    pub fn expect(&mut self, count: usize, mut lengths: impl Iterator<Item = usize>, limits: HashLimits) {
        if matches!(self.form, Form::Small(..))
            && (count > limits.entries || lengths.any(|length| length > limits.value_bytes))
        {
            self.become_large();
        }
    }

    fn become_large(&mut self) {
        let mut large = Large { slots: Slots::with_capacity(self.len_all() + 1), ..Large::default() };
        for field in self.iter() {
            let at = large.slots.insert(Slot { name: field.name.into(), value: field.value.into(), end: None });
            large.set_end(at, field.end);
        }
        self.form = Form::Large(Box::new(large));
    }

    /// All fields, those that are over among them: in the order in which they came, until one went.
    #[must_use]
    pub fn iter(&self) -> HashIter<'_> {
        HashIter(match &self.form {
            Form::Small(pack, ends) => Iter::Small(pack.iter(), ends.iter()),
            Form::Large(large) => Iter::Large(large.slots.items().iter()),
        })
    }

    /// The fields that are not over at `now`.
    pub fn live(&self, now: i64) -> impl Iterator<Item = Field<'_>> + Clone {
        self.iter().filter(move |field| field.lives(now))
    }

    /// Some fields and the cursor for the next call; zero before the first and behind the last. What is in the hash from
    /// the first call to the last is given at least once. Those that are over are among them.
    #[must_use]
    pub fn scan(&self, cursor: u64, count: usize) -> (u64, Vec<Field<'_>>) {
        match &self.form {
            Form::Large(large) => {
                let (next, found) = large.slots.scan(cursor, count);
                (next, found.map(Slot::field).collect())
            }
            Form::Small(..) => (0, self.iter().collect()),
        }
    }

    /// Whether a field ever had an end.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.timed
    }
}

impl Slot {
    fn field(&self) -> Field<'_> {
        Field { name: &self.name, value: &self.value, end: self.end }
    }
}

/// Fields of a hash.
#[derive(Clone, Debug)]
pub struct HashIter<'a>(Iter<'a>);

#[derive(Clone, Debug)]
enum Iter<'a> {
    Small(PackIter<'a>, std::slice::Iter<'a, Option<i64>>),
    Large(std::slice::Iter<'a, Slot>),
}

impl<'a> Iterator for HashIter<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        match &mut self.0 {
            Iter::Small(pack, ends) => {
                let end = ends.next().copied().flatten();
                Some(Field { name: pack.next()?, value: pack.next()?, end })
            }
            Iter::Large(slots) => slots.next().map(Slot::field),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Iter::Small(pack, _) => pack.len() / 2,
            Iter::Large(slots) => slots.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for HashIter<'_> {}

const LARGE: u8 = 1;
const TIMED: u8 = 2;

impl Object for Hash {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Hash(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Hash(object) => Some(Arc::make_mut(object)),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Hash(Arc::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len_all() == 0
    }

    fn memory(&self) -> usize {
        // An end in the tree of ends.
        const END: usize = 24;
        // A name and a value beside their bytes, in the small form and on the heap.
        const PACKED: usize = 4;
        const HEAP: usize = 16;
        size_of::<Self>()
            + self.bytes
            + match &self.form {
                Form::Small(pack, ends) => pack.len() / 2 * PACKED + ends.len() * size_of::<Option<i64>>(),
                Form::Large(large) => {
                    large.slots.items().len() * (Slots::<Slot>::OVERHEAD + HEAP) + large.ends.len() * END
                }
            }
    }

    fn encoding(&self) -> &'static str {
        match self.form {
            Form::Small(..) if self.timed => "listpackex",
            Form::Small(..) => "listpack",
            Form::Large(_) => "hashtable",
        }
    }

    /// Flags | count | each: name, value, and in a hash whose fields may have ends: end plus one, zero for none.
    fn encode(&self, out: &mut Vec<u8>) {
        let large = if matches!(self.form, Form::Large(_)) { LARGE } else { 0 };
        out.push(large | if self.timed { TIMED } else { 0 });
        put_varint(self.len_all() as u64, out);
        for field in self.iter() {
            put_bytes(field.name, out);
            put_bytes(field.value, out);
            if self.timed {
                put_varint(field.end.map_or(0, |end| (end as u64).wrapping_add(1)), out);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (flags, mut bytes) = bytes.split_first()?;
        if *flags > LARGE | TIMED {
            return None;
        }
        let mut hash = Hash { timed: flags & TIMED != 0, ..Hash::default() };
        let count = usize::try_from(get_varint(&mut bytes).ok()?).ok()?;
        // Each takes two bytes at least.
        if count > bytes.len() / 2 {
            return None;
        }
        let mut names = Slots::with_capacity(count);
        if flags & LARGE != 0 {
            hash.form = Form::Large(Box::new(Large { slots: Slots::with_capacity(count), ..Large::default() }));
        }
        for at in 0..count {
            let name = get_bytes(&mut bytes).ok()?;
            let value = get_bytes(&mut bytes).ok()?;
            let end = if hash.timed { get_varint(&mut bytes).ok()? } else { 0 };
            if !names.insert_new(Name(name)) {
                return None;
            }
            match &mut hash.form {
                Form::Small(pack, ends) => {
                    pack.push_back(name);
                    pack.push_back(value);
                    if !ends.is_empty() {
                        ends.push(None);
                    }
                }
                Form::Large(large) => {
                    large.slots.insert(Slot { name: name.into(), value: value.into(), end: None });
                }
            }
            hash.bytes += name.len() + value.len();
            hash.put_end(at, (end != 0).then(|| end.wrapping_sub(1) as i64));
        }
        bytes.is_empty().then_some(hash)
    }
}

struct Name<'a>(&'a [u8]);

impl Named for Name<'_> {
    fn name(&self) -> &[u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: HashLimits = HashLimits { entries: 6, value_bytes: 10 };

    fn fields(hash: &Hash) -> Vec<(Vec<u8>, Vec<u8>, Option<i64>)> {
        hash.iter().map(|field| (field.name.to_vec(), field.value.to_vec(), field.end)).collect()
    }

    #[test]
    fn the_form_follows_the_fields() {
        let mut hash = Hash::default();
        hash.insert(b"a", b"1", LIMITS);
        assert_eq!(hash.encoding(), "listpack");
        hash.set_end(b"a", Some(5));
        assert_eq!(hash.encoding(), "listpackex");
        hash.set_end(b"a", None);
        assert_eq!(hash.encoding(), "listpackex");
        hash.insert(b"b", b"12345678901", LIMITS);
        assert_eq!(hash.encoding(), "hashtable");
        hash.remove(b"b");
        assert_eq!(hash.encoding(), "hashtable");
    }

    proptest! {
        #[test]
        fn a_hash_is_a_map(steps in prop::collection::vec((0_u8..8, "[a-e]{1,2}", 0_i64..20), 0..80)) {
            let (mut hash, mut model) = (Hash::default(), BTreeMap::new());
            for (step, name, number) in steps {
                let name = name.into_bytes();
                let value = number.to_string().into_bytes();
                let end = (number % 2 == 0).then_some(number);
                match step {
                    0..=2 => prop_assert_eq!(hash.insert(&name, &value, LIMITS), model.insert(name, (value, None)).is_none()),
                    3 => prop_assert_eq!(
                        hash.insert_until(&name, &value, end, LIMITS),
                        model.insert(name, (value, end)).is_none()
                    ),
                    4 => prop_assert_eq!(hash.remove(&name), model.remove(&name).map(|(value, _)| value)),
                    5 => {
                        prop_assert_eq!(hash.set_end(&name, end), model.contains_key(&name));
                        model.entry(name).and_modify(|field| field.1 = end);
                    }
                    6 => {
                        prop_assert_eq!(hash.replace(&name, &value, LIMITS), model.contains_key(&name));
                        model.entry(name).and_modify(|field| field.0 = value);
                    }
                    _ => {
                        let before = model.len();
                        model.retain(|_, (_, end)| end.is_none_or(|end| end > number / 4));
                        prop_assert_eq!(hash.remove_due(number / 4), before - model.len());
                    }
                }
                let found: BTreeMap<_, _> = fields(&hash).into_iter().map(|(name, value, end)| (name, (value, end))).collect();
                prop_assert_eq!(&found, &model);
                prop_assert_eq!(hash.len_all(), model.len());
                let lives = |end: &Option<i64>| end.is_none_or(|end| end > 9);
                prop_assert_eq!(hash.len(9), model.values().filter(|(_, end)| lives(end)).count());
                prop_assert_eq!(hash.first_end(), model.values().filter_map(|(_, end)| *end).min());
                prop_assert_eq!(hash.bytes, model.iter().map(|(name, (value, _))| name.len() + value.len()).sum::<usize>());
                for (name, (value, end)) in &model {
                    prop_assert_eq!(hash.get(name, 9), lives(end).then_some(value.as_slice()));
                }
            }
            let mut bytes = Vec::new();
            hash.encode(&mut bytes);
            let Some(again) = Hash::decode(&bytes) else { return Err(TestCaseError::fail("decode")) };
            prop_assert_eq!(fields(&again), fields(&hash));
            prop_assert_eq!(again.encoding(), hash.encoding());
            prop_assert_eq!(again.scan(0, 3), hash.scan(0, 3));
        }

        #[test]
        fn garbage_is_refused_or_read(bytes in prop::collection::vec(0_u8..4, 0..60)) {
            if let Some(hash) = Hash::decode(&bytes) {
                prop_assert_eq!(hash.iter().count(), hash.len_all());
            }
        }
    }
}

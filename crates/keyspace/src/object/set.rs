//! Sets.
//!
//! Few integers stand sorted, few short members one behind the other; all others in slots with a hash table over them.

use std::borrow::Cow;
use std::sync::Arc;

use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use super::pack::{Pack, PackIter};
use super::slots::Slots;
use super::{Object, Value};
use crate::State;
use crate::args::parse_integer;

/// Up to where a set has a small form.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// Members, all of them integers, of an intset.
    pub intset_entries: usize,
    /// Members of a listpack.
    pub entries: usize,
    /// Bytes of a member of a listpack.
    pub member_bytes: usize,
}

impl SetLimits {
    /// As the settings have them.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let number = |name, default| usize::try_from(state.settings.number(name, default)).unwrap_or(0);
        Self {
            intset_entries: number("set-max-intset-entries", 512).min(1 << 30),
            entries: number("set-max-listpack-entries", 128),
            member_bytes: number("set-max-listpack-value", 64),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Set {
    form: Form,
    /// Bytes of all members of a large one.
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Form {
    Ints(Vec<i64>),
    Small(Pack),
    Large(Slots<Box<[u8]>>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Ints(Vec::new())
    }
}

fn text(value: i64) -> Vec<u8> {
    itoa::Buffer::new().format(value).as_bytes().to_vec()
}

impl Set {
    /// An empty set in the form that Redis gives one that begins with `member` and will have about `count`.
    #[must_use]
    pub fn for_members(member: &[u8], count: usize, limits: SetLimits) -> Self {
        let form = if parse_integer(member).is_some() && count <= limits.intset_entries {
            Form::Ints(Vec::new())
        } else if count <= limits.entries {
            Form::Small(Pack::default())
        } else {
            Form::Large(Slots::default())
        };
        Self { form, bytes: 0 }
    }

    /// An empty set in the form of another.
    #[must_use]
    pub fn in_form_of(&self) -> Self {
        let form = match &self.form {
            Form::Ints(_) => Form::Ints(Vec::new()),
            Form::Small(_) => Form::Small(Pack::default()),
            Form::Large(_) => Form::Large(Slots::default()),
        };
        Self { form, bytes: 0 }
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Ints(ints) => ints.len(),
            Form::Small(pack) => pack.len(),
            Form::Large(slots) => slots.items().len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is a member.
    #[must_use]
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.form {
            Form::Ints(ints) => parse_integer(member).is_some_and(|value| ints.binary_search(&value).is_ok()),
            Form::Small(pack) => pack.iter().any(|other| other == member),
            Form::Large(slots) => slots.find(member).is_some(),
        }
    }

    /// Adds a member; says whether it is new.
    pub fn insert(&mut self, member: &[u8], limits: SetLimits) -> bool {
        match &mut self.form {
            Form::Ints(ints) => match parse_integer(member) {
                Some(value) => {
                    let Err(at) = ints.binary_search(&value) else { return false };
                    ints.insert(at, value);
                    if ints.len() > limits.intset_entries {
                        self.become_large();
                    }
                    true
                }
                None => {
                    let ends = [ints.first(), ints.last()].into_iter().flatten();
                    let longest = ends.map(|value| text(*value).len()).max().unwrap_or(0);
                    if ints.len() < limits.entries && member.len().max(longest) <= limits.member_bytes {
                        let mut pack = Pack::default();
                        ints.iter().for_each(|value| pack.push_back(&text(*value)));
                        pack.push_back(member);
                        self.form = Form::Small(pack);
                    } else {
                        self.become_large();
                        self.insert(member, limits);
                    }
                    true
                }
            },
            Form::Small(pack) => {
                if pack.iter().any(|other| other == member) {
                    return false;
                }
                if pack.len() < limits.entries && member.len() <= limits.member_bytes {
                    pack.push_back(member);
                } else {
                    self.become_large();
                    self.insert(member, limits);
                }
                true
            }
            Form::Large(slots) => {
                let new = slots.insert_new(member.into());
                if new {
                    self.bytes += member.len();
                }
                new
            }
        }
    }

    fn become_large(&mut self) {
        let mut slots = Slots::with_capacity(self.len() + 1);
        let mut bytes = 0;
        for member in self.iter() {
            bytes += member.len();
            slots.insert(member.into_owned().into_boxed_slice());
        }
        (self.form, self.bytes) = (Form::Large(slots), bytes);
    }

    /// Leaves the small form when so many members are to come that it would not stay.
    pub fn expect(&mut self, count: usize, limits: SetLimits) {
        let too_many = match &self.form {
            Form::Ints(_) => count > limits.intset_entries,
            Form::Small(_) => count > limits.entries,
            Form::Large(_) => false,
        };
        if too_many {
            self.become_large();
        }
    }

    /// Takes the form of integers where all members are and their number allows it.
    pub fn shrink_to_integers(&mut self, limits: SetLimits) {
        if self.len() > limits.intset_entries || matches!(self.form, Form::Ints(_)) {
            return;
        }
        if let Some(mut ints) = self.iter().map(|member| parse_integer(&member)).collect::<Option<Vec<i64>>>() {
            ints.sort_unstable();
            (self.form, self.bytes) = (Form::Ints(ints), 0);
        }
    }

    /// Removes a member; says whether it was one.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let at = match &self.form {
            Form::Ints(ints) => parse_integer(member).and_then(|value| ints.binary_search(&value).ok()),
            Form::Small(pack) => pack.iter().position(|other| other == member),
            Form::Large(slots) => slots.find(member),
        };
        at.and_then(|at| self.take(at)).is_some()
    }

    /// The member at a place between zero and the number of members.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Cow<'_, [u8]>> {
        match &self.form {
            Form::Ints(ints) => ints.get(at).map(|value| text(*value).into()),
            Form::Small(pack) => pack.get(at).map(Cow::Borrowed),
            Form::Large(slots) => slots.items().get(at).map(|member| Cow::Borrowed(&**member)),
        }
    }

    /// Removes the member at a place; another one may come to stand there.
    pub fn take(&mut self, at: usize) -> Option<Vec<u8>> {
        match &mut self.form {
            Form::Ints(ints) => (at < ints.len()).then(|| text(ints.remove(at))),
            Form::Small(pack) => {
                let member = pack.get(at)?.to_vec();
                pack.remove(at, 1);
                Some(member)
            }
            Form::Large(slots) => {
                let member = slots.remove(at)?;
                self.bytes -= member.len();
                Some(member.into_vec())
            }
        }
    }

    /// All members: integers in order, others in the order in which they came, until one went.
    #[must_use]
    pub fn iter(&self) -> SetIter<'_> {
        match &self.form {
            Form::Ints(ints) => SetIter::Ints(ints.iter()),
            Form::Small(pack) => SetIter::Small(pack.iter()),
            Form::Large(slots) => SetIter::Large(slots.items().iter()),
        }
    }

    /// Some members and the cursor for the next call; zero before the first and behind the last. What is in the set from
    /// the first call to the last is given at least once.
    #[must_use]
    pub fn scan(&self, cursor: u64, count: usize) -> (u64, Vec<Cow<'_, [u8]>>) {
        match &self.form {
            Form::Large(slots) => {
                let (next, found) = slots.scan(cursor, count);
                (next, found.map(|member| Cow::Borrowed(&**member)).collect())
            }
            _ => (0, self.iter().collect()),
        }
    }
}

/// Members of a set.
#[derive(Clone, Debug)]
pub enum SetIter<'a> {
    #[doc(hidden)]
    Ints(std::slice::Iter<'a, i64>),
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this module makes one")]
    Small(PackIter<'a>),
    #[doc(hidden)]
    Large(std::slice::Iter<'a, Box<[u8]>>),
}

impl<'a> Iterator for SetIter<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            SetIter::Ints(iter) => iter.next().map(|value| text(*value).into()),
            SetIter::Small(iter) => iter.next().map(Cow::Borrowed),
            SetIter::Large(iter) => iter.next().map(|member| Cow::Borrowed(&**member)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            SetIter::Ints(iter) => iter.size_hint(),
            SetIter::Small(iter) => iter.size_hint(),
            SetIter::Large(iter) => iter.size_hint(),
        }
    }
}

impl ExactSizeIterator for SetIter<'_> {}

const INTS: u8 = 0;
const SMALL: u8 = 1;
const LARGE: u8 = 2;

impl Object for Set {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Set(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Set(object) => Some(Arc::make_mut(object)),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Set(Arc::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn memory(&self) -> usize {
        size_of::<Self>()
            + match &self.form {
                Form::Ints(ints) => ints.len() * size_of::<i64>(),
                Form::Small(pack) => pack.byte_len(),
                Form::Large(slots) => self.bytes + slots.items().len() * Slots::<Box<[u8]>>::OVERHEAD,
            }
    }

    fn encoding(&self) -> &'static str {
        match self.form {
            Form::Ints(_) => "intset",
            Form::Small(_) => "listpack",
            Form::Large(_) => "hashtable",
        }
    }

    /// Form, then: integers of eight bytes each, or members behind their count.
    fn encode(&self, out: &mut Vec<u8>) {
        match &self.form {
            Form::Ints(ints) => {
                out.push(INTS);
                ints.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
            }
            Form::Small(pack) => {
                out.push(SMALL);
                pack.encode(out);
            }
            Form::Large(slots) => {
                out.push(LARGE);
                put_varint(slots.items().len() as u64, out);
                slots.items().iter().for_each(|member| put_bytes(member, out));
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (form, mut bytes) = bytes.split_first()?;
        let (form, size) = match *form {
            INTS => {
                let (ints, rest) = bytes.as_chunks();
                let ints: Vec<i64> = ints.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
                if !rest.is_empty() || !ints.windows(2).all(|two| two[0] < two[1]) {
                    return None;
                }
                return Some(Self { form: Form::Ints(ints), bytes: 0 });
            }
            SMALL => {
                let pack = Pack::decode(&mut bytes)?;
                let mut members: Vec<&[u8]> = pack.iter().collect();
                members.sort_unstable();
                if !members.windows(2).all(|two| two[0] != two[1]) {
                    return None;
                }
                (Form::Small(pack), 0)
            }
            LARGE => {
                let count = usize::try_from(get_varint(&mut bytes).ok()?).ok()?;
                if count > bytes.len() {
                    return None;
                }
                let (mut slots, mut size) = (Slots::with_capacity(count), 0);
                for _ in 0..count {
                    let member: Box<[u8]> = get_bytes(&mut bytes).ok()?.into();
                    size += member.len();
                    if !slots.insert_new(member) {
                        return None;
                    }
                }
                (Form::Large(slots), size)
            }
            _ => return None,
        };
        bytes.is_empty().then_some(Self { form, bytes: size })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: SetLimits = SetLimits { intset_entries: 16, entries: 8, member_bytes: 10 };

    fn members(set: &Set) -> Vec<Vec<u8>> {
        set.iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn the_form_follows_the_members() {
        let check = |members: &[&str], want: &str| {
            let mut set = Set::default();
            for member in members {
                set.insert(member.as_bytes(), LIMITS);
            }
            assert_eq!(set.encoding(), want, "{members:?}");
            assert_eq!(set.len(), members.iter().collect::<BTreeSet<_>>().len());
        };
        check(&["1", "2", "-5"], "intset");
        check(&["1", "a"], "listpack");
        check(&["1", "01"], "listpack");
        check(&["1", "a long member"], "hashtable");
        let numbers: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        check(&numbers[..16], "intset");
        check(&numbers, "hashtable");
        check(&[&numbers[..7], &["a"]].concat(), "listpack");
        check(&[&numbers[..8], &["a"]].concat(), "hashtable");
        check(&[&["a"], &numbers[..8]].concat(), "hashtable");
    }

    #[test]
    fn a_scan_gives_all_that_stay() {
        let mut set = Set::default();
        for n in 0..1_000 {
            set.insert(format!("m{n}").as_bytes(), LIMITS);
        }
        let (mut cursor, mut seen, mut n) = (0, BTreeSet::new(), 0);
        loop {
            let (next, found) = set.scan(cursor, 10);
            seen.extend(found.into_iter().map(Cow::into_owned));
            cursor = next;
            if cursor == 0 {
                break;
            }
            set.remove(format!("m{}", n * 3).as_bytes());
            set.insert(format!("new{n}").as_bytes(), LIMITS);
            n += 1;
        }
        for n in (0..1_000).filter(|n| n % 3 != 0) {
            assert!(seen.contains(format!("m{n}").as_bytes()), "{n}");
        }
    }

    proptest! {
        #[test]
        fn a_set_is_a_set(steps in prop::collection::vec((any::<bool>(), "-?[0-9]{1,2}|[a-d]{0,2}"), 0..60)) {
            let (mut set, mut model) = (Set::default(), BTreeSet::new());
            for (add, member) in steps {
                let member = member.into_bytes();
                if add {
                    prop_assert_eq!(set.insert(&member, LIMITS), model.insert(member));
                } else {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                }
                prop_assert_eq!(members(&set).into_iter().collect::<BTreeSet<_>>(), model.clone());
                prop_assert_eq!(set.len(), model.len());
                prop_assert!(model.iter().all(|member| set.contains(member)));
            }
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            let Some(again) = Set::decode(&bytes) else { return Err(TestCaseError::fail("decode")) };
            prop_assert_eq!(members(&again), members(&set));
            prop_assert_eq!(again.encoding(), set.encoding());
            prop_assert_eq!(again.memory(), set.memory());
        }

        #[test]
        fn garbage_is_refused_or_read(bytes in prop::collection::vec(0_u8..4, 0..60)) {
            if let Some(set) = Set::decode(&bytes) {
                prop_assert_eq!(set.iter().count(), set.len());
            }
        }
    }
}

//! Lists.
//!
//! A short list is one block of elements, a long one a deque of such blocks: both ends in O(1), the middle by counting
//! blocks. A checkpoint that holds the list shares all blocks but those that change.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use perigee_types::row::{get_varint, put_varint};

use super::pack::{Pack, PackIter, entry_bytes};
use super::{Object, Value};
use crate::State;
use crate::args::parse_integer;

/// Up to where a list is a listpack, and so is each node of a longer one.
#[derive(Clone, Copy, Debug)]
pub struct ListLimits {
    /// Bytes.
    pub bytes: usize,
    /// Elements.
    pub entries: usize,
}

/// What a node has at most where the setting counts elements.
const SAFE_BYTES_MAX: usize = 8192;

impl ListLimits {
    /// As the setting has them: a number of elements, or from -1 to -5 a size from 4 KiB to 64 KiB.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let setting = state.settings.number("list-max-listpack-size", -2);
        match usize::try_from(setting) {
            Ok(entries) => Self { bytes: SAFE_BYTES_MAX, entries: entries.max(1) },
            Err(_) => Self { bytes: 4096 << (setting.unsigned_abs().min(5) - 1), entries: usize::MAX },
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct List {
    form: Form,
    len: usize,
    /// Bytes of all elements in their blocks.
    bytes: usize,
    /// Bytes of all elements in a listpack of Redis: its limits count those.
    listpack_bytes: usize,
}

#[derive(Clone, Debug)]
enum Form {
    Small(Pack),
    Large(VecDeque<Arc<Pack>>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Small(Pack::default())
    }
}

/// Bytes of a listpack beside its elements.
const LISTPACK_HEADER: usize = 7;

/// Bytes that an element takes in a listpack of Redis.
fn listpack_bytes(data: &[u8]) -> usize {
    let integer = (data.len() <= 20).then(|| parse_integer(data)).flatten();
    let size = match integer {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-0x8000..=0x7fff) => 3,
        Some(-0x80_0000..=0x7f_ffff) => 4,
        Some(-0x8000_0000..=0x7fff_ffff) => 5,
        Some(_) => 9,
        None => data.len() + if data.len() < 64 { 1 } else { if data.len() < 4096 { 2 } else { 5 } },
    };
    let back = match size {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    };
    size + back
}

impl ListLimits {
    fn hold(self, pack: &Pack, data: &[u8]) -> bool {
        pack.len() == 0 || (pack.byte_len() + entry_bytes(data.len()) <= self.bytes && pack.len() < self.entries)
    }
}

impl List {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn node(&self, at: usize) -> Option<&Pack> {
        match &self.form {
            Form::Small(pack) => (at == 0).then_some(pack),
            Form::Large(nodes) => nodes.get(at).map(|node| &**node),
        }
    }

    fn node_count(&self) -> usize {
        match &self.form {
            Form::Small(_) => 1,
            Form::Large(nodes) => nodes.len(),
        }
    }

    fn node_mut(&mut self, at: usize) -> Option<&mut Pack> {
        match &mut self.form {
            Form::Small(pack) => (at == 0).then_some(pack),
            Form::Large(nodes) => nodes.get_mut(at).map(Arc::make_mut),
        }
    }

    /// The node of an element and its place in it. For the number of elements: behind the last one of the last node.
    fn locate(&self, index: usize) -> (usize, usize) {
        let Form::Large(nodes) = &self.form else { return (0, index) };
        if index < self.len / 2 {
            let mut left = index;
            for (at, node) in nodes.iter().enumerate() {
                if left < node.len() {
                    return (at, left);
                }
                left -= node.len();
            }
        } else {
            let mut begin = self.len;
            for (at, node) in nodes.iter().enumerate().rev() {
                begin -= node.len().min(begin);
                if index >= begin {
                    return (at, index - begin);
                }
            }
        }
        (0, index)
    }

    fn count_in(&mut self, data: &[u8]) {
        self.len += 1;
        self.bytes += entry_bytes(data.len());
        self.listpack_bytes += listpack_bytes(data);
    }

    fn count_out(&mut self, data: &[u8]) {
        self.len -= 1;
        self.bytes -= entry_bytes(data.len());
        self.listpack_bytes -= listpack_bytes(data);
    }

    /// Leaves the short form when `count` elements of `bytes` in all are to come and it would not hold them.
    pub fn expect(&mut self, count: usize, bytes: usize, limits: ListLimits) {
        let size = LISTPACK_HEADER + self.listpack_bytes + bytes;
        if let Form::Small(pack) = &mut self.form
            && (size > limits.bytes || pack.len() + count > limits.entries)
        {
            let pack = std::mem::take(pack);
            let nodes = (pack.len() > 0).then(|| Arc::new(pack));
            self.form = Form::Large(nodes.into_iter().collect());
        }
    }

    /// Takes the short form again where one node of at most half the limits is left. Behind every removal.
    pub fn shrink(&mut self, limits: ListLimits) {
        let small = LISTPACK_HEADER + self.listpack_bytes <= limits.bytes / 2 && self.len <= limits.entries / 2;
        if let Form::Large(nodes) = &mut self.form
            && nodes.len() <= 1
            && small
        {
            let pack = nodes.pop_front().map(|node| Arc::try_unwrap(node).unwrap_or_else(|node| (*node).clone()));
            self.form = Form::Small(pack.unwrap_or_default());
        }
    }

    /// Adds an element in front of all.
    pub fn push_front(&mut self, data: &[u8], limits: ListLimits) {
        self.expect(1, data.len(), limits);
        match &mut self.form {
            Form::Small(pack) => pack.push_front(data),
            Form::Large(nodes) => {
                if !nodes.front().is_some_and(|node| limits.hold(node, data)) {
                    nodes.push_front(Arc::default());
                }
                if let Some(node) = nodes.front_mut() {
                    Arc::make_mut(node).push_front(data);
                }
            }
        }
        self.count_in(data);
    }

    /// Adds an element behind all.
    pub fn push_back(&mut self, data: &[u8], limits: ListLimits) {
        self.expect(1, data.len(), limits);
        match &mut self.form {
            Form::Small(pack) => pack.push_back(data),
            Form::Large(nodes) => {
                if !nodes.back().is_some_and(|node| limits.hold(node, data)) {
                    nodes.push_back(Arc::default());
                }
                if let Some(node) = nodes.back_mut() {
                    Arc::make_mut(node).push_back(data);
                }
            }
        }
        self.count_in(data);
    }

    /// Takes the first element.
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        let data = self.node_mut(0)?.pop_front()?;
        self.drop_if_empty(0);
        self.count_out(&data);
        Some(data)
    }

    /// Takes the last element.
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        let last = self.node_count().checked_sub(1)?;
        let data = self.node_mut(last)?.pop_back()?;
        self.drop_if_empty(last);
        self.count_out(&data);
        Some(data)
    }

    fn drop_if_empty(&mut self, at: usize) {
        if let Form::Large(nodes) = &mut self.form
            && nodes.get(at).is_some_and(|node| node.len() == 0)
        {
            nodes.remove(at);
        }
    }

    /// Lets small neighbours become one.
    fn merge(&mut self, at: usize, limits: ListLimits) {
        let Form::Large(nodes) = &mut self.form else { return };
        for at in [at, at.saturating_sub(1)] {
            if let (Some(one), Some(other)) = (nodes.get(at), nodes.get(at + 1))
                && one.byte_len() + other.byte_len() <= limits.bytes / 2
                && one.len() + other.len() <= limits.entries / 2
                && let Some(other) = nodes.remove(at + 1)
                && let Some(one) = nodes.get_mut(at)
            {
                Arc::make_mut(one).append(&other);
            }
        }
    }

    /// An element by its place.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        if index >= self.len {
            return None;
        }
        let (node, at) = self.locate(index);
        self.node(node)?.get(at)
    }

    /// Puts an element in place of another.
    pub fn set(&mut self, index: usize, data: &[u8], limits: ListLimits) {
        let Some(old) = self.get(index).map(<[u8]>::to_vec) else { return };
        self.expect(0, data.len(), limits);
        let (node, at) = self.locate(index);
        let fits = match (&self.form, self.node(node)) {
            (Form::Large(_), Some(pack)) => pack.len() == 1 || pack.byte_len() + data.len() <= limits.bytes + old.len(),
            _ => true,
        };
        if fits {
            if let Some(pack) = self.node_mut(node) {
                pack.replace(at, data);
            }
            self.count_out(&old);
            self.count_in(data);
        } else {
            self.remove_range(index..index + 1, limits);
            self.insert(index, data, limits);
        }
    }

    /// Puts an element before that at `index`; behind all for the number of elements.
    pub fn insert(&mut self, index: usize, data: &[u8], limits: ListLimits) {
        if index == 0 {
            return self.push_front(data, limits);
        }
        if index >= self.len {
            return self.push_back(data, limits);
        }
        self.expect(1, data.len(), limits);
        let (node, at) = self.locate(index);
        if let Form::Large(nodes) = &mut self.form {
            let Some(pack) = nodes.get_mut(node).map(Arc::make_mut) else { return };
            if limits.hold(pack, data) {
                pack.insert(at, data);
            } else if at == 0 {
                // It may stand at the end of the node before, or between both.
                match node.checked_sub(1).and_then(|node| nodes.get_mut(node)) {
                    Some(before) if limits.hold(before, data) => Arc::make_mut(before).push_back(data),
                    _ => {
                        let mut pack = Pack::default();
                        pack.push_back(data);
                        nodes.insert(node, Arc::new(pack));
                    }
                }
            } else {
                let mut right = pack.split_off(at);
                if limits.hold(pack, data) {
                    pack.push_back(data);
                } else if limits.hold(&right, data) {
                    right.push_front(data);
                } else {
                    let mut middle = Pack::default();
                    middle.push_back(data);
                    nodes.insert(node + 1, Arc::new(middle));
                    nodes.insert(node + 2, Arc::new(right));
                    return self.count_in(data);
                }
                nodes.insert(node + 1, Arc::new(right));
            }
        } else if let Some(pack) = self.node_mut(node) {
            pack.insert(at, data);
        }
        self.count_in(data);
    }

    /// Removes the elements of a range.
    pub fn remove_range(&mut self, range: Range<usize>, limits: ListLimits) {
        let mut left = range.end.min(self.len).saturating_sub(range.start);
        while left > 0 {
            let (node, at) = self.locate(range.start);
            let Some(pack) = self.node_mut(node) else { return };
            let count = left.min(pack.len().saturating_sub(at));
            if count == 0 {
                return;
            }
            let (mut bytes, mut packed) = (0, 0);
            for data in pack.iter().skip(at).take(count) {
                bytes += entry_bytes(data.len());
                packed += listpack_bytes(data);
            }
            pack.remove(at, count);
            self.drop_if_empty(node);
            left -= count;
            self.len -= count;
            self.bytes -= bytes;
            self.listpack_bytes -= packed;
            if left == 0 {
                self.merge(node, limits);
            }
        }
    }

    /// Removes up to `count` elements that are equal to `data`, from the first on or from the last; says how many.
    pub fn remove_equal(&mut self, data: &[u8], count: usize, from_back: bool, limits: ListLimits) -> usize {
        let mut left = count;
        let nodes = self.node_count();
        for turn in 0..nodes {
            // Backwards in any case where that is the order: nodes that go away are behind.
            let node = if from_back { nodes - 1 - turn } else { turn };
            let Some(pack) = self.node(node) else { continue };
            let found = pack.iter().filter(|other| *other == data).count().min(left);
            if found == 0 {
                continue;
            }
            let equal = pack.iter().filter(|other| *other == data).count();
            let skipped = if from_back { equal - found } else { 0 };
            let mut kept = Pack::default();
            let mut seen = 0;
            for other in pack.iter() {
                if other == data {
                    seen += 1;
                    if (skipped + 1..=skipped + found).contains(&seen) {
                        continue;
                    }
                }
                kept.push_back(other);
            }
            if let Some(pack) = self.node_mut(node) {
                *pack = kept;
            }
            self.len -= found;
            self.bytes -= found * entry_bytes(data.len());
            self.listpack_bytes -= found * listpack_bytes(data);
            left -= found;
            if left == 0 {
                break;
            }
        }
        if let Form::Large(nodes) = &mut self.form {
            nodes.retain(|node| node.len() > 0);
            let mut at = 0;
            while at < self.node_count() {
                let before = self.node_count();
                self.merge(at, limits);
                at += usize::from(before == self.node_count());
            }
        }
        count - left
    }

    /// The elements of a range, in order, or backwards by `rev`.
    #[must_use]
    pub fn range(&self, range: Range<usize>) -> ListIter<'_> {
        let end = range.end.min(self.len);
        let start = range.start.min(end);
        let side = |index: usize| {
            let (node, at) = self.locate(index);
            (node, at, self.node(node).map(Pack::iter).unwrap_or_default())
        };
        let (front_node, skip, mut front) = side(start);
        if skip > 0 {
            front.nth(skip - 1);
        }
        let (back_node, keep, mut back) = side(end);
        if let Some(last) = back.len().checked_sub(keep + 1) {
            back.nth_back(last);
        }
        ListIter { list: self, front, front_node, back, back_node, left: end - start }
    }

    /// All elements.
    #[must_use]
    pub fn iter(&self) -> ListIter<'_> {
        self.range(0..self.len)
    }
}

/// Elements of a list.
#[derive(Clone, Debug)]
pub struct ListIter<'a> {
    list: &'a List,
    front: PackIter<'a>,
    front_node: usize,
    back: PackIter<'a>,
    back_node: usize,
    left: usize,
}

impl<'a> Iterator for ListIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(data) = self.front.next() {
                return Some(data);
            }
            self.front_node += 1;
            self.front = self.list.node(self.front_node)?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for ListIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(data) = self.back.next_back() {
                return Some(data);
            }
            self.back_node = self.back_node.checked_sub(1)?;
            self.back = self.list.node(self.back_node)?.iter();
        }
    }
}

impl ExactSizeIterator for ListIter<'_> {}

const SMALL: u8 = 0;
const LARGE: u8 = 1;

impl Object for List {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::List(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::List(object) => Some(Arc::make_mut(object)),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::List(Arc::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn memory(&self) -> usize {
        const NODE: usize = size_of::<Pack>() + 3 * size_of::<usize>();
        let nodes = if let Form::Large(nodes) = &self.form { nodes.len() * NODE } else { 0 };
        size_of::<Self>() + self.bytes + nodes
    }

    fn encoding(&self) -> &'static str {
        match self.form {
            Form::Small(_) => "listpack",
            Form::Large(_) => "quicklist",
        }
    }

    /// Form | count of nodes | each: elements behind their count.
    fn encode(&self, out: &mut Vec<u8>) {
        match &self.form {
            Form::Small(pack) => {
                out.extend_from_slice(&[SMALL, 1]);
                pack.encode(out);
            }
            Form::Large(nodes) => {
                out.push(LARGE);
                put_varint(nodes.len() as u64, out);
                nodes.iter().for_each(|node| node.encode(out));
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (form, mut bytes) = bytes.split_first()?;
        let mut nodes = VecDeque::new();
        for _ in 0..get_varint(&mut bytes).ok()? {
            let node = Pack::decode(&mut bytes)?;
            if node.len() == 0 && *form == LARGE {
                return None;
            }
            nodes.push_back(Arc::new(node));
        }
        let mut list = List::default();
        for data in nodes.iter().flat_map(|node| node.iter()) {
            list.count_in(data);
        }
        list.form = match *form {
            SMALL if nodes.len() == 1 => Form::Small(nodes.pop_front().map(|node| (*node).clone())?),
            LARGE => Form::Large(nodes),
            _ => return None,
        };
        bytes.is_empty().then_some(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: ListLimits = ListLimits { bytes: 64, entries: usize::MAX };

    proptest! {
        #[test]
        fn a_list_is_a_deque(steps in prop::collection::vec((0_u8..12, 0_usize..60, 0_usize..100), 1..150)) {
            let (mut list, mut model) = (List::default(), VecDeque::<Vec<u8>>::new());
            for (step, index, length) in steps {
                let data = vec![b'a' + (length % 3) as u8; if length > 90 { length } else { length % 8 }];
                let at = index.min(model.len());
                match step {
                    0 | 1 => (list.push_back(&data, LIMITS), model.push_back(data)).0,
                    2 | 3 => (list.push_front(&data, LIMITS), model.push_front(data)).0,
                    4 => prop_assert_eq!(list.pop_back(), model.pop_back()),
                    5 => prop_assert_eq!(list.pop_front(), model.pop_front()),
                    6..=8 => (list.insert(at, &data, LIMITS), model.insert(at, data)).0,
                    9 if at < model.len() => {
                        list.set(at, &data, LIMITS);
                        model[at] = data;
                    }
                    10 if length % 4 == 0 => {
                        let back = length % 8 == 0;
                        let mut left = 2;
                        let mut kept: Vec<Vec<u8>> = Vec::new();
                        let all: Vec<Vec<u8>> = if back { model.drain(..).rev().collect() } else { model.drain(..).collect() };
                        for other in all {
                            if other == data && left > 0 {
                                left -= 1;
                            } else {
                                kept.push(other);
                            }
                        }
                        model = if back { kept.into_iter().rev().collect() } else { kept.into() };
                        prop_assert_eq!(list.remove_equal(&data, 2, back, LIMITS), 2 - left);
                    }
                    _ => {
                        list.remove_range(at..at + 1 + length % 4, LIMITS);
                        model.drain(at..(at + 1 + length % 4).min(model.len()));
                        list.shrink(LIMITS);
                    }
                }
                prop_assert_eq!(list.len(), model.len());
                prop_assert!(list.iter().eq(model.iter().map(Vec::as_slice)));
                prop_assert!(list.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
                prop_assert_eq!(list.get(at), model.get(at).map(Vec::as_slice));
                let (from, to) = (at.min(model.len() / 2), (at + 7).min(model.len()));
                let range = from.min(to)..to;
                prop_assert!(list.range(range.clone()).eq(model.range(range.clone()).map(Vec::as_slice)));
                prop_assert!(list.range(range.clone()).rev().eq(model.range(range).rev().map(Vec::as_slice)));
                prop_assert_eq!(list.bytes, model.iter().map(|data| entry_bytes(data.len())).sum::<usize>());
                prop_assert_eq!(list.listpack_bytes, model.iter().map(|data| listpack_bytes(data)).sum::<usize>());
            }
            let mut bytes = Vec::new();
            list.encode(&mut bytes);
            let Some(again) = List::decode(&bytes) else { return Err(TestCaseError::fail("decode")) };
            prop_assert!(again.iter().eq(list.iter()));
            prop_assert_eq!(again.encoding(), list.encoding());
            prop_assert_eq!(again.memory(), list.memory());
            prop_assert_eq!(again.node_count(), list.node_count());
        }

        #[test]
        fn garbage_is_refused_or_read(bytes in prop::collection::vec(0_u8..4, 0..60)) {
            if let Some(list) = List::decode(&bytes) {
                prop_assert_eq!(list.iter().count(), list.len());
            }
        }
    }
}

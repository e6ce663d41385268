//! Reading a value of any form.

use std::borrow::Cow;

use super::input::Input;
use super::kind;
use super::listpack::{Element, Listpack};
use super::stream;
use super::ziplist::{Ziplist, intset};
use crate::State;
use crate::object::{Hash, HashLimits, List, ListLimits, Object, Set, SetLimits, Str, Value, ZSet, ZSetLimits};

/// A value with nothing behind it; an empty object is none.
pub(super) fn read(body: &[u8], state: &State, now: i64) -> Option<Value> {
    let mut input = Input::new(body);
    let kind = input.byte()?;
    let value = match kind {
        kind::STRING => Str::new(&input.string()?).into_value(),
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            list(&mut input, kind, state)?
        }
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => set(&mut input, kind, state)?,
        kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => zset(&mut input, kind, state)?,
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => stream::read(&mut input, kind, state)?.into_value(),
        _ => hash(&mut input, kind, state, now)?,
    };
    (input.is_empty() && !value.is_empty()).then_some(value)
}

type Elements<'a> = Box<dyn Iterator<Item = Option<Element<'a>>> + 'a>;

fn packed(bytes: &[u8], is_ziplist: bool) -> Option<Elements<'_>> {
    Some(if is_ziplist { Box::new(Ziplist::new(bytes)?) } else { Box::new(Listpack::new(bytes)?) })
}

fn list(input: &mut Input<'_>, kind: u8, state: &State) -> Option<Value> {
    let (mut list, limits) = (List::default(), ListLimits::of(state));
    let mut put = |elements: Elements<'_>| {
        for element in elements {
            list.push_back(&element?.text(), limits);
        }
        Some(())
    };
    match kind {
        kind::LIST => {
            for _ in 0..input.count()? {
                list.push_back(&input.string()?, limits);
            }
        }
        kind::LIST_ZIPLIST => put(packed(&input.string()?, true)?)?,
        _ => {
            for _ in 0..input.count()? {
                let is_plain = kind == kind::LIST_QUICKLIST_2
                    && match input.number()? {
                        1 => true,
                        2 => false,
                        _ => return None,
                    };
                let node = input.string()?;
                if is_plain {
                    put(Box::new(std::iter::once(Some(Element::String(&node)))))?;
                } else {
                    put(packed(&node, kind == kind::LIST_QUICKLIST)?)?;
                }
            }
        }
    }
    Some(list.into_value())
}

fn set(input: &mut Input<'_>, kind: u8, state: &State) -> Option<Value> {
    let limits = SetLimits::of(state);
    let mut set: Option<Set> = None;
    let mut put = |member: &[u8], count: usize| {
        let set = set.get_or_insert_with(|| Set::for_members(member, count, limits));
        set.insert(member, limits).then_some(())
    };
    match kind {
        kind::SET => {
            let count = input.count()?;
            for _ in 0..count {
                put(&input.string()?, count)?;
            }
        }
        kind::SET_INTSET => {
            let bytes = input.string()?;
            for value in intset(&bytes)? {
                put(itoa::Buffer::new().format(value).as_bytes(), bytes.len() / 8)?;
            }
        }
        _ => {
            let bytes = input.string()?;
            for element in Listpack::new(&bytes)? {
                put(&element?.text(), 1)?;
            }
        }
    }
    Some(set?.into_value())
}

fn zset(input: &mut Input<'_>, kind: u8, state: &State) -> Option<Value> {
    let (mut set, limits) = (ZSet::default(), ZSetLimits::of(state));
    let mut put = |member: &[u8], score: f64| {
        let is_new = !score.is_nan() && set.insert(member, score, limits).is_none();
        is_new.then_some(())
    };
    match kind {
        kind::ZSET | kind::ZSET_2 => {
            for _ in 0..input.count()? {
                let member = input.string()?;
                put(&member, if kind == kind::ZSET { input.double_of_digits()? } else { input.double()? })?;
            }
        }
        _ => {
            let bytes = input.string()?;
            let mut elements = packed(&bytes, kind == kind::ZSET_ZIPLIST)?;
            while let Some(member) = elements.next() {
                let score = match elements.next()?? {
                    Element::Integer(score) => score as f64,
                    Element::String(digits) => crate::args::parse_float(digits)?,
                };
                put(&member?.text(), score)?;
            }
        }
    }
    Some(set.into_value())
}

fn hash(input: &mut Input<'_>, kind: u8, state: &State, now: i64) -> Option<Value> {
    let (mut hash, limits) = (Hash::default(), HashLimits::of(state));
    let (mut names, mut over) = (0_usize, 0_usize);
    let mut put = |name: &[u8], value: &[u8], end: Option<i64>| {
        names += 1;
        // What is over already is left out.
        if end.is_some_and(|end| end <= now) {
            over += 1;
            return Some(());
        }
        hash.insert_until(name, value, end, limits).then_some(())
    };
    match kind {
        kind::HASH => {
            for _ in 0..input.count()? {
                let name = input.string()?;
                put(&name, &input.string()?, None)?;
            }
        }
        kind::HASH_METADATA => {
            let first = input.time()?;
            for _ in 0..input.count()? {
                // One more than the distance from the first end, so that zero says that there is none.
                let end = match i64::try_from(input.number()?).ok()? {
                    0 => None,
                    distance => Some(first.checked_add(distance - 1)?),
                };
                let name = input.string()?;
                put(&name, &input.string()?, end)?;
            }
        }
        kind::HASH_ZIPLIST | kind::HASH_LISTPACK | kind::HASH_LISTPACK_EX => {
            let has_ends = kind == kind::HASH_LISTPACK_EX;
            if has_ends {
                input.time()?;
            }
            let bytes: Cow<'_, [u8]> = input.string()?;
            let mut elements = packed(&bytes, kind == kind::HASH_ZIPLIST)?;
            while let Some(name) = elements.next() {
                let value = elements.next()??;
                let end =
                    if has_ends { elements.next()??.integer().map(|end| (end != 0).then_some(end))? } else { None };
                put(&name?.text(), &value.text(), end)?;
            }
        }
        _ => return None,
    }
    Some(hash.into_value())
}

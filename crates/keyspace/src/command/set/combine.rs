//! SINTER, SUNION, SDIFF key [key ...]; SINTERSTORE, SUNIONSTORE, SDIFFSTORE destination key [key ...];
//! SINTERCARD numkeys key [key ...] [LIMIT limit]

use std::borrow::Cow;

use bytes::Bytes;
use rustc_hash::FxHashSet;

use super::bulk;
use crate::args::{Cursor, parse_integer};
use crate::growth::Growth;
use crate::object::{Object, Set, SetLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reader, Reply, Result, Writer};

/// SINTER
pub(super) static SINTER: Spec = Spec {
    name: "sinter",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::SET,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "1.0.0",
    summary: "Members that are in all of some sets",
    run: Run::Read(sinter),
    ..Spec::DEFAULT
};

/// SINTERSTORE
pub(super) static SINTERSTORE: Spec = Spec {
    name: "sinterstore",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::SET,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::Set,
    since: "1.0.0",
    summary: "Keeps the members that are in all of some sets",
    run: Run::Write(sinterstore),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

/// SINTERCARD
pub(super) static SINTERCARD: Spec = Spec {
    name: "sintercard",
    arity: -3,
    flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
    category: Category::SET,
    keys: &[KeySpec::count(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "7.0.0",
    summary: "How many members are in all of some sets",
    run: Run::Read(sintercard),
    ..Spec::DEFAULT
};

/// SUNION
pub(super) static SUNION: Spec = Spec {
    name: "sunion",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::SET,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "1.0.0",
    summary: "Members of any of some sets",
    run: Run::Read(sunion),
    ..Spec::DEFAULT
};

/// SUNIONSTORE
pub(super) static SUNIONSTORE: Spec = Spec {
    name: "sunionstore",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::SET,
    keys: &[
        KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::Set,
    since: "1.0.0",
    summary: "Keeps the members of any of some sets",
    run: Run::Write(sunionstore),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

/// SDIFF
pub(super) static SDIFF: Spec = Spec {
    name: "sdiff",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::SET,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "1.0.0",
    summary: "Members of the first set that are in no other",
    run: Run::Read(sdiff),
    ..Spec::DEFAULT
};

/// SDIFFSTORE
pub(super) static SDIFFSTORE: Spec = Spec {
    name: "sdiffstore",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::SET,
    keys: &[
        KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::Set,
    since: "1.0.0",
    summary: "Keeps the members of the first set that are in no other",
    run: Run::Write(sdiffstore),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

/// How sets become one.
#[derive(Clone, Copy)]
enum Combine {
    Inter,
    Union,
    Diff,
}

/// The sets of keys; `None` for a key that is absent.
fn sets<'a>(reader: &Reader<'a>, keys: &[Bytes]) -> Result<Vec<Option<&'a Set>>> {
    keys.iter().map(|key| reader.get::<Set>(key)).collect()
}

/// The sets that are there, each once: one that is named a hundred thousand times is looked at once.
fn distinct<'a>(sets: &[Option<&'a Set>]) -> Vec<&'a Set> {
    let mut seen = FxHashSet::default();
    sets.iter().copied().flatten().filter(|set| seen.insert(std::ptr::from_ref(*set))).collect()
}

/// Sets to intersect, the smallest first; none where one is absent.
fn smallest_first<'a>(sets: &[Option<&'a Set>]) -> Vec<&'a Set> {
    if sets.iter().any(Option::is_none) {
        return Vec::new();
    }
    let mut all = distinct(sets);
    all.sort_by_key(|set| set.len());
    all
}

/// The members of a set that are in none of the others, in its order.
fn difference<'a>(first: &'a Set, others: &[&Set]) -> Vec<Cow<'a, [u8]>> {
    let members: usize = others.iter().map(|set| set.len()).sum();
    if first.len().saturating_mul(others.len()) <= members {
        return first.iter().filter(|member| !others.iter().any(|set| set.contains(member))).collect();
    }
    // Many small sets: what is in them is less than what would be looked for in them.
    let mut left = first.clone();
    for member in others.iter().flat_map(|set| set.iter()) {
        left.remove(&member);
    }
    first.iter().filter(|member| left.contains(member)).collect()
}

impl Combine {
    fn of(self, reader: &Reader<'_>, keys: &[Bytes]) -> Result<Set> {
        let sets = sets(reader, keys)?;
        let limits = SetLimits::of(reader.state());
        let mut result = Set::default();
        match self {
            Combine::Inter => {
                if let Some((first, rest)) = smallest_first(&sets).split_first() {
                    result = first.in_form_of();
                    for member in first.iter().filter(|member| rest.iter().all(|set| set.contains(member))) {
                        result.insert(&member, limits);
                    }
                    result.shrink_to_integers(limits);
                }
            }
            Combine::Union => {
                for member in distinct(&sets).into_iter().flat_map(Set::iter) {
                    result.insert(&member, limits);
                }
            }
            Combine::Diff => {
                let Some((Some(first), rest)) = sets.split_first() else { return Ok(result) };
                for member in difference(first, &distinct(rest)) {
                    result.insert(&member, limits);
                }
            }
        }
        Ok(result)
    }

    fn reply(self, reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
        let set = self.of(reader, &args[1..])?;
        Ok(Reply::Set(set.iter().map(bulk).collect()))
    }

    fn store(self, writer: &mut Writer<'_>, args: &[Bytes], event: &'static str) -> Result<Reply> {
        let set = self.of(&writer.reader(), &args[2..])?;
        let (key, count) = (&args[1], set.len());
        if count > 0 {
            writer.put(key, set.into_value(), None)?;
            writer.notify(EventClass::SET, event, key);
        } else if writer.remove(key)? {
            writer.notify(EventClass::GENERIC, "del", key);
        }
        Ok(Reply::count(count))
    }
}

fn sinter(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Combine::Inter.reply(reader, args)
}

fn sinterstore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    Combine::Inter.store(writer, args, "sinterstore")
}

fn sunion(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Combine::Union.reply(reader, args)
}

fn sunionstore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    Combine::Union.store(writer, args, "sunionstore")
}

fn sdiff(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Combine::Diff.reply(reader, args)
}

fn sdiffstore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    Combine::Diff.store(writer, args, "sdiffstore")
}

fn sintercard(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let count = parse_integer(&args[1]).and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
    let count = count.ok_or(Error::reply("ERR numkeys should be greater than 0"))?;
    let Some((keys, options)) = args[2..].split_at_checked(count) else {
        return Err(Error::reply("ERR Number of keys can't be greater than number of args"));
    };
    let (mut rest, mut limit) = (Cursor::new(options), 0);
    while !rest.is_empty() {
        if rest.rest().len() < 2 || !rest.take("limit") {
            return Err(Error::SYNTAX);
        }
        limit = parse_integer(rest.must()?)
            .and_then(|limit| usize::try_from(limit).ok())
            .ok_or(Error::reply("ERR LIMIT can't be negative"))?;
    }
    let sets = smallest_first(&sets(reader, keys)?);
    let Some((first, others)) = sets.split_first() else { return Ok(Reply::Integer(0)) };
    let found = first.iter().filter(|member| others.iter().all(|set| set.contains(member)));
    Ok(Reply::count(if limit > 0 { found.take(limit).count() } else { found.count() }))
}

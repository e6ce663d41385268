//! ZUNION, ZINTER, ZDIFF: numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES];
//! with a destination in front ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE; ZINTERCARD numkeys key [key ...] [LIMIT limit]

use std::cmp::Ordering;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use super::sources::Source;
use super::{members, store};
use crate::args::{Cursor, float, integer, parse_integer};
use crate::growth::Growth;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result, Writer};

/// ZUNION
pub(super) static ZUNION: Spec = Spec {
    name: "zunion",
    arity: -3,
    flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[KeySpec::count(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Members of any of some sorted sets",
    run: Run::Read(zunion),
    ..Spec::DEFAULT
};

/// ZUNIONSTORE
pub(super) static ZUNIONSTORE: Spec = Spec {
    name: "zunionstore",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[
        KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec::count(2, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Keeps the members of any of some sorted sets",
    run: Run::Write(zunionstore),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

/// ZINTER
pub(super) static ZINTER: Spec = Spec {
    name: "zinter",
    arity: -3,
    flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[KeySpec::count(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Members that are in all of some sorted sets",
    run: Run::Read(zinter),
    ..Spec::DEFAULT
};

/// ZINTERSTORE
pub(super) static ZINTERSTORE: Spec = Spec {
    name: "zinterstore",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[
        KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec::count(2, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Keeps the members that are in all of some sorted sets",
    run: Run::Write(zinterstore),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

/// ZINTERCARD
pub(super) static ZINTERCARD: Spec = Spec {
    name: "zintercard",
    arity: -3,
    flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[KeySpec::count(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "How many members are in all of some sorted sets",
    run: Run::Read(zintercard),
    ..Spec::DEFAULT
};

/// ZDIFF
pub(super) static ZDIFF: Spec = Spec {
    name: "zdiff",
    arity: -3,
    flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[KeySpec::count(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Members of the first sorted set that are in no other",
    run: Run::Read(zdiff),
    ..Spec::DEFAULT
};

/// ZDIFFSTORE
pub(super) static ZDIFFSTORE: Spec = Spec {
    name: "zdiffstore",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[
        KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec::count(2, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Keeps the members of the first sorted set that are in no other",
    run: Run::Write(zdiffstore),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities that cancel out count nothing.
            Aggregate::Sum if (a + b).is_nan() => 0.0,
            Aggregate::Sum => a + b,
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// What is done with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Reply,
    Store,
    Count,
}

struct Query<'a> {
    /// With their weights.
    sources: Vec<(Source<'a>, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Zero: all.
    limit: usize,
}

impl<'a> Query<'a> {
    /// From `numkeys` on.
    fn parse(reader: &Reader<'a>, name: &str, args: &[Bytes], operation: Operation, what: For) -> Result<Self> {
        let (number, rest) = args.split_first().ok_or(Error::SYNTAX)?;
        let number = integer(number)?;
        if number < 1 {
            return Err(Error::reply(format!("ERR at least 1 input key is needed for '{name}' command")));
        }
        let number = usize::try_from(number).ok().filter(|number| *number <= rest.len()).ok_or(Error::SYNTAX)?;
        let (keys, rest) = rest.split_at(number);
        let sources = keys.iter().map(|key| Ok((Source::of(reader, key)?, 1.0)));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let mut query = Query { sources, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let mut rest = Cursor::new(rest);
        let plain = operation != Operation::Diff && what != For::Count;
        while !rest.is_empty() {
            if plain && rest.rest().len() > number && rest.take("weights") {
                for (_, weight) in &mut query.sources {
                    *weight = float(rest.must()?).map_err(|_| Error::reply("ERR weight value is not a float"))?;
                }
            } else if plain && rest.rest().len() > 1 && rest.take("aggregate") {
                query.aggregate = match rest.must()? {
                    word if crate::args::is(word, "sum") => Aggregate::Sum,
                    word if crate::args::is(word, "min") => Aggregate::Min,
                    word if crate::args::is(word, "max") => Aggregate::Max,
                    _ => return Err(Error::SYNTAX),
                };
            } else if what == For::Reply && rest.take("withscores") {
                query.with_scores = true;
            } else if what == For::Count && rest.rest().len() > 1 && rest.take("limit") {
                let limit = parse_integer(rest.must()?).and_then(|limit| usize::try_from(limit).ok());
                query.limit = limit.ok_or(Error::reply("ERR LIMIT can't be negative"))?;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        if what == For::Count || operation != Operation::Diff && query.aggregate != Aggregate::Sum {
            // The same score again changes neither the least nor the greatest; a sum counts it each time.
            let mut seen = FxHashSet::default();
            query.sources.retain(|(source, weight)| seen.insert((source.place(), weight.to_bits())));
        }
        if operation != Operation::Diff {
            // Smallest first, as sums of floats depend on the order.
            query.sources.sort_by_key(|(source, _)| source.len());
        }
        Ok(query)
    }

    /// Members with their scores, in no order.
    fn run(&self, operation: Operation) -> Vec<(Bytes, f64)> {
        match operation {
            Operation::Union => self.union(),
            Operation::Inter => {
                let mut found = Vec::new();
                self.each_common(|member, score| {
                    found.push((Bytes::copy_from_slice(member), score));
                    true
                });
                found
            }
            Operation::Diff => self.diff(),
        }
    }

    fn union(&self) -> Vec<(Bytes, f64)> {
        let mut found: Vec<(Bytes, f64)> = Vec::new();
        let mut places: FxHashMap<Bytes, usize> = FxHashMap::default();
        for (source, weight) in &self.sources {
            source.each(|member, score| {
                let score = weighted(*weight, score);
                match places.get(member) {
                    Some(place) => found[*place].1 = self.aggregate.of(found[*place].1, score),
                    None => {
                        let member = Bytes::copy_from_slice(member);
                        places.insert(member.clone(), found.len());
                        found.push((member, score));
                    }
                }
            });
        }
        found
    }

    /// Gives each member that all have, until `visit` says that it is enough.
    fn each_common(&self, mut visit: impl FnMut(&[u8], f64) -> bool) {
        let Some(((first, weight), others)) = self.sources.split_first() else { return };
        let mut enough = false;
        first.each(|member, score| {
            if enough {
                return;
            }
            let mut all = Some(weighted(*weight, score));
            for (other, weight) in others {
                // Not a number counts nothing here, as a whole, where a union drops the term.
                let score = other.score(member).map(|score| weight * score);
                all = all.zip(score).map(|(all, score)| self.aggregate.of(all, score));
            }
            if let Some(score) = all {
                enough = !visit(member, score);
            }
        });
    }

    fn diff(&self) -> Vec<(Bytes, f64)> {
        let Some(((first, _), others)) = self.sources.split_first() else { return Vec::new() };
        let mut seen = FxHashSet::default();
        let others = others.iter().map(|(other, _)| *other);
        let others: Vec<Source<'_>> = others.filter(|other| other.len() > 0 && seen.insert(other.place())).collect();
        // Many small ones: what is in them is less than what would be looked for in them.
        let members: usize = others.iter().map(|other| other.len()).sum();
        let by_members = first.len().saturating_mul(others.len()) > members;
        let mut gone: FxHashSet<Vec<u8>> = FxHashSet::default();
        if by_members {
            for other in &others {
                other.each(|member, _| {
                    if first.score(member).is_some() {
                        gone.insert(member.to_vec());
                    }
                });
            }
        }
        let mut found = Vec::new();
        first.each(|member, score| {
            let is_gone = match by_members {
                true => gone.contains(member),
                false => others.iter().any(|other| other.score(member).is_some()),
            };
            if !is_gone {
                found.push((Bytes::copy_from_slice(member), score));
            }
        });
        found
    }
}

fn weighted(weight: f64, score: f64) -> f64 {
    let value = weight * score;
    if value.is_nan() { 0.0 } else { value }
}

fn read(reader: &Reader<'_>, name: &str, args: &[Bytes], operation: Operation) -> Result<Reply> {
    let query = Query::parse(reader, name, &args[1..], operation, For::Reply)?;
    let mut found = query.run(operation);
    found.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal).then_with(|| a.0.cmp(&b.0)));
    Ok(members(found.iter().map(|(member, score)| (&**member, *score)), query.with_scores))
}

fn keep(writer: &mut Writer<'_>, name: &'static str, args: &[Bytes], operation: Operation) -> Result<Reply> {
    let found = Query::parse(&writer.reader(), name, &args[2..], operation, For::Store)?.run(operation);
    store(writer, &args[1], &found, name)
}

fn zunion(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, "zunion", args, Operation::Union)
}

fn zinter(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, "zinter", args, Operation::Inter)
}

fn zdiff(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, "zdiff", args, Operation::Diff)
}

fn zunionstore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    keep(writer, "zunionstore", args, Operation::Union)
}

fn zinterstore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    keep(writer, "zinterstore", args, Operation::Inter)
}

fn zdiffstore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    keep(writer, "zdiffstore", args, Operation::Diff)
}

fn zintercard(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let query = Query::parse(reader, "zintercard", &args[1..], Operation::Inter, For::Count)?;
    let mut count = 0;
    query.each_common(|_, _| {
        count += 1;
        count != query.limit
    });
    Ok(Reply::count(count))
}

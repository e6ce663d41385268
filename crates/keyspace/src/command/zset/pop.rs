//! ZPOPMIN key [count], ZPOPMAX key [count], ZMPOP numkeys key [key ...] MIN | MAX [COUNT count]

use bytes::Bytes;

use crate::args::{Cursor, parse_integer};
use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// ZPOPMIN
pub(super) static ZPOPMIN: Spec = Spec {
    name: "zpopmin",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Takes out members with the lowest scores",
    run: Run::Write(zpopmin),
    ..Spec::DEFAULT
};

/// ZPOPMAX
pub(super) static ZPOPMAX: Spec = Spec {
    name: "zpopmax",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Takes out members with the highest scores",
    run: Run::Write(zpopmax),
    ..Spec::DEFAULT
};

/// ZMPOP
pub(super) static ZMPOP: Spec = Spec {
    name: "zmpop",
    arity: -4,
    flags: Flags::WRITE.union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[KeySpec::count(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "Takes members out of the first sorted set that has some",
    run: Run::Write(zmpop),
    ..Spec::DEFAULT
};

/// Which end of a sorted set is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Min,
    Max,
}

/// The first of `keys` that has members.
pub(super) fn first<'a>(writer: &Writer<'_>, keys: &'a [Bytes]) -> Result<Option<&'a Bytes>> {
    for key in keys {
        if writer.get::<ZSet>(key)?.is_some_and(|set| !set.is_empty()) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Takes up to `count` members, more than none, out of a sorted set that has some.
pub(super) fn pop(writer: &mut Writer<'_>, key: &[u8], end: End, count: usize) -> Result<Vec<(Bytes, f64)>> {
    let Some(set) = writer.get_mut::<ZSet>(key)? else { return Ok(Vec::new()) };
    let count = count.min(set.len());
    let found = match end {
        End::Min => set.take(0..count),
        End::Max => {
            let mut found = set.take(set.len() - count..set.len());
            found.reverse();
            found
        }
    };
    writer.notify(EventClass::ZSET, if end == End::Min { "zpopmin" } else { "zpopmax" }, key);
    writer.remove_if_empty(key)?;
    Ok(found)
}

fn zpopmin(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    pop_one(writer, args, End::Min)
}

fn zpopmax(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    pop_one(writer, args, End::Max)
}

fn pop_one(writer: &mut Writer<'_>, args: &[Bytes], end: End) -> Result<Reply> {
    if args.len() > 3 {
        return Err(Error::SYNTAX);
    }
    let count = match args.get(2) {
        Some(text) => Some(
            parse_integer(text)
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(Error::reply("ERR value is out of range, must be positive"))?,
        ),
        None => None,
    };
    let found = match writer.get::<ZSet>(&args[1])? {
        Some(_) if count != Some(0) => pop(writer, &args[1], end, count.unwrap_or(1))?,
        _ => Vec::new(),
    };
    let found = found.into_iter().map(|(member, score)| (Reply::Bulk(member), Reply::Double(score)));
    Ok(match count {
        Some(_) => Reply::Pairs(found.collect()),
        None => Reply::Array(found.flat_map(|(member, score)| [member, score]).collect()),
    })
}

/// What ZMPOP and BZMPOP are told: keys, the end, and how many.
pub(super) fn parse(args: &[Bytes]) -> Result<(&[Bytes], End, usize)> {
    let positive = |text: &Bytes| parse_integer(text).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let mut rest = Cursor::new(args);
    let number = positive(rest.must()?).ok_or(Error::reply("ERR numkeys should be greater than 0"))?;
    let keys = rest.rest().get(..number).ok_or(Error::SYNTAX)?;
    let mut rest = Cursor::new(&rest.rest()[number..]);
    let end = if rest.take("min") {
        End::Min
    } else if rest.take("max") {
        End::Max
    } else {
        return Err(Error::SYNTAX);
    };
    let mut count = None;
    while !rest.is_empty() {
        if count.is_some() || !rest.take("count") {
            return Err(Error::SYNTAX);
        }
        count = Some(positive(rest.must()?).ok_or(Error::reply("ERR count should be greater than 0"))?);
    }
    Ok((keys, end, count.unwrap_or(1)))
}

/// A key with what was taken out of it, as ZMPOP and BZMPOP say it.
pub(super) fn reply(key: &Bytes, found: Vec<(Bytes, f64)>) -> Reply {
    let pair = |(member, score)| Reply::Array(vec![Reply::Bulk(member), Reply::Double(score)]);
    Reply::Array(vec![Reply::Bulk(key.clone()), Reply::Array(found.into_iter().map(pair).collect())])
}

fn zmpop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (keys, end, count) = parse(&args[1..])?;
    let Some(key) = first(writer, keys)? else { return Ok(Reply::NullArray) };
    Ok(reply(key, pop(writer, key, end, count)?))
}

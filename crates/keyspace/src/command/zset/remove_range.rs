//! ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX: key, start or min, stop or max

use std::ops::Range;

use bytes::Bytes;

use super::bounds::{self, Members, Scores};
use crate::args::integer;
use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// ZREMRANGEBYRANK
pub(super) static ZREMRANGEBYRANK: Spec = Spec {
    name: "zremrangebyrank",
    arity: 4,
    flags: Flags::WRITE,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Removes members of a range of ranks",
    run: Run::Write(zremrangebyrank),
    ..Spec::DEFAULT
};

/// ZREMRANGEBYSCORE
pub(super) static ZREMRANGEBYSCORE: Spec = Spec {
    name: "zremrangebyscore",
    arity: 4,
    flags: Flags::WRITE,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Removes members whose scores are in a range",
    run: Run::Write(zremrangebyscore),
    ..Spec::DEFAULT
};

/// ZREMRANGEBYLEX
pub(super) static ZREMRANGEBYLEX: Spec = Spec {
    name: "zremrangebylex",
    arity: 4,
    flags: Flags::WRITE,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Removes members between two",
    run: Run::Write(zremrangebylex),
    ..Spec::DEFAULT
};

fn zremrangebyrank(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (start, end) = (integer(&args[2])?, integer(&args[3])?);
    remove(writer, &args[1], "zremrangebyrank", |set| bounds::ranks(start, end, set.len()))
}

fn zremrangebyscore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let scores = Scores::parse(&args[2], &args[3])?;
    remove(writer, &args[1], "zremrangebyscore", |set| scores.ranks(set))
}

fn zremrangebylex(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let members = Members::parse(&args[2], &args[3])?;
    remove(writer, &args[1], "zremrangebylex", |set| members.ranks(set))
}

fn remove(
    writer: &mut Writer<'_>,
    key: &[u8],
    event: &'static str,
    ranks: impl Fn(&ZSet) -> Range<usize>,
) -> Result<Reply> {
    let Some(set) = writer.get::<ZSet>(key)? else { return Ok(Reply::Integer(0)) };
    let ranks = ranks(set);
    if ranks.is_empty() {
        return Ok(Reply::Integer(0));
    }
    let count = ranks.len();
    if let Some(set) = writer.get_mut::<ZSet>(key)? {
        set.take(ranks);
    }
    writer.notify(EventClass::ZSET, event, key);
    writer.remove_if_empty(key)?;
    Ok(Reply::count(count))
}

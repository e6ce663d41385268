//! ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES], its older forms, and ZRANGESTORE

use std::ops::Range;

use bytes::Bytes;

use super::bounds::{self, Members, Scores};
use super::members;
use crate::args::{Cursor, integer};
use crate::growth::Growth;
use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result, Writer};

/// ZRANGE
pub(super) static ZRANGE: Spec = Spec {
    name: "zrange",
    arity: -4,
    flags: Flags::READONLY,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Members of a range of ranks, scores or members",
    run: Run::Read(zrange),
    ..Spec::DEFAULT
};

/// ZRANGESTORE
pub(super) static ZRANGESTORE: Spec = Spec {
    name: "zrangestore",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::SORTEDSET,
    keys: &[
        KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec::one(2, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Keeps a range of members under another key",
    run: Run::Write(zrangestore),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

/// ZREVRANGE
pub(super) static ZREVRANGE: Spec = Spec {
    name: "zrevrange",
    arity: -4,
    flags: Flags::READONLY,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Members of a range of ranks, from the highest on",
    run: Run::Read(zrevrange),
    ..Spec::DEFAULT
};

/// ZRANGEBYSCORE
pub(super) static ZRANGEBYSCORE: Spec = Spec {
    name: "zrangebyscore",
    arity: -4,
    flags: Flags::READONLY,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "1.0.5",
    summary: "Members whose scores are in a range",
    run: Run::Read(zrangebyscore),
    ..Spec::DEFAULT
};

/// ZREVRANGEBYSCORE
pub(super) static ZREVRANGEBYSCORE: Spec = Spec {
    name: "zrevrangebyscore",
    arity: -4,
    flags: Flags::READONLY,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.2.0",
    summary: "Members whose scores are in a range, from the highest on",
    run: Run::Read(zrevrangebyscore),
    ..Spec::DEFAULT
};

/// ZRANGEBYLEX
pub(super) static ZRANGEBYLEX: Spec = Spec {
    name: "zrangebylex",
    arity: -4,
    flags: Flags::READONLY,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Members between two",
    run: Run::Read(zrangebylex),
    ..Spec::DEFAULT
};

/// ZREVRANGEBYLEX
pub(super) static ZREVRANGEBYLEX: Spec = Spec {
    name: "zrevrangebylex",
    arity: -4,
    flags: Flags::READONLY,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Members between two, from the highest on",
    run: Run::Read(zrevrangebylex),
    ..Spec::DEFAULT
};

/// What the two ends of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

#[derive(Clone, Copy, Debug)]
enum Ends<'a> {
    Ranks(i64, i64),
    Scores(Scores),
    Members(Members<'a>),
}

/// A range as asked for.
#[derive(Clone, Copy, Debug)]
struct Query<'a> {
    ends: Ends<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    /// Negative: all.
    limit: i64,
}

impl<'a> Query<'a> {
    /// From the two ends and the options behind them. `by`, `reverse`: where the command's name says it already.
    fn parse(args: &'a [Bytes], by: Option<By>, reverse: Option<bool>, store: bool) -> Result<Self> {
        let (mut by, mut reverse) = (by, reverse);
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut rest = Cursor::new(&args[2..]);
        while !rest.is_empty() {
            if !store && rest.take("withscores") {
                with_scores = true;
            } else if rest.rest().len() > 2 && rest.take("limit") {
                (offset, limit) = (rest.integer()?, rest.integer()?);
            } else if reverse.is_none() && rest.take("rev") {
                reverse = Some(true);
            } else if by.is_none() && rest.take("bylex") {
                by = Some(By::Member);
            } else if by.is_none() && rest.take("byscore") {
                by = Some(By::Score);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if by == By::Rank && limit != -1 {
            return Err(Error::reply(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if by == By::Member && with_scores {
            return Err(Error::reply("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        // Backwards the highest end comes first.
        let (min, max) = if reverse && by != By::Rank { (&args[1], &args[0]) } else { (&args[0], &args[1]) };
        let ends = match by {
            By::Rank => Ends::Ranks(integer(min)?, integer(max)?),
            By::Score => Ends::Scores(Scores::parse(min, max)?),
            By::Member => Ends::Members(Members::parse(min, max)?),
        };
        Ok(Self { ends, reverse, with_scores, offset, limit })
    }

    /// The ranks of what is asked for, from the lowest member on.
    fn ranks(&self, set: &ZSet) -> Range<usize> {
        let found = match self.ends {
            Ends::Ranks(start, end) => {
                let ranks = bounds::ranks(start, end, set.len());
                return if self.reverse && !ranks.is_empty() {
                    set.len() - ranks.end..set.len() - ranks.start
                } else {
                    ranks
                };
            }
            Ends::Scores(scores) => scores.ranks(set),
            Ends::Members(members) => members.ranks(set),
        };
        // A negative offset finds nothing, as in Redis.
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX).min(found.len());
        let take = usize::try_from(self.limit).unwrap_or(usize::MAX).min(found.len() - skip);
        if self.reverse {
            found.end - skip - take..found.end - skip
        } else {
            found.start + skip..found.start + skip + take
        }
    }

    fn reply(&self, set: Option<&ZSet>) -> Reply {
        let Some(set) = set else { return members(std::iter::empty(), self.with_scores) };
        let found = set.range(self.ranks(set));
        if self.reverse { members(found.rev(), self.with_scores) } else { members(found, self.with_scores) }
    }
}

fn read(reader: &Reader<'_>, args: &[Bytes], by: Option<By>, reverse: Option<bool>) -> Result<Reply> {
    let query = Query::parse(&args[2..], by, reverse, false)?;
    Ok(query.reply(reader.get(&args[1])?))
}

fn zrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, args, None, None)
}

fn zrevrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, args, Some(By::Rank), Some(true))
}

fn zrangebyscore(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, args, Some(By::Score), Some(false))
}

fn zrevrangebyscore(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, args, Some(By::Score), Some(true))
}

fn zrangebylex(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, args, Some(By::Member), Some(false))
}

fn zrevrangebylex(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    read(reader, args, Some(By::Member), Some(true))
}

fn zrangestore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let query = Query::parse(&args[3..], None, None, true)?;
    let found: Vec<(Bytes, f64)> = match writer.get::<ZSet>(&args[2])? {
        Some(set) => {
            let found = set.range(query.ranks(set));
            found.map(|(member, score)| (Bytes::copy_from_slice(member), score)).collect()
        }
        None => Vec::new(),
    };
    super::store(writer, &args[1], &found, "zrangestore")
}

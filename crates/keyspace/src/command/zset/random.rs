//! ZRANDMEMBER key [count [WITHSCORES]]

use std::collections::BTreeSet;

use bytes::Bytes;

use super::members;
use crate::args::{Cursor, integer};
use crate::object::ZSet;
use crate::random::REPEATED_MAX;
use crate::room::fits;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// ZRANDMEMBER
pub(super) static ZRANDMEMBER: Spec = Spec {
    name: "zrandmember",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Members chosen at random",
    run: Run::Read(zrandmember),
    ..Spec::DEFAULT
};

fn zrandmember(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut random = Random(reader.context.random);
    let Some(count) = args.get(2) else {
        let set = reader.get::<ZSet>(&args[1])?;
        let found = set.and_then(|set| {
            let at = random.below(set.len());
            set.range(at..at + 1).next()
        });
        return Ok(found.map_or(Reply::Null, |(member, _)| Reply::bulk(member)));
    };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(Error::reply(format!("ERR value is out of range, value must between -{0} and {0}", i64::MAX)));
    }
    let mut rest = Cursor::new(&args[3..]);
    let with_scores = rest.take("withscores");
    if !rest.is_empty() {
        return Err(Error::SYNTAX);
    }
    if with_scores && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(Error::reply("ERR value is out of range"));
    }
    let Some(set) = reader.get::<ZSet>(&args[1])? else { return Ok(members(std::iter::empty(), with_scores)) };
    let at = |rank: usize| set.range(rank..rank + 1).next();
    if count < 0 {
        if count.unsigned_abs() > REPEATED_MAX {
            return Err(Error::reply("ERR value is out of range"));
        }
        let ranks: Vec<usize> = (0..count.unsigned_abs()).map(|_| random.below(set.len())).collect();
        fits(ranks.iter().map(|rank| at(*rank).map_or(0, |(member, _)| member.len())))?;
        return Ok(members(ranks.into_iter().filter_map(at), with_scores));
    }
    let total = set.len();
    let count = usize::try_from(count).unwrap_or(total).min(total);
    if count == total {
        return Ok(members(set.iter(), with_scores));
    }
    // Floyd's choice of distinct numbers; what is chosen comes in the order of ranks.
    let mut chosen = BTreeSet::new();
    for last in total - count..total {
        let rank = random.below(last + 1);
        if !chosen.insert(rank) {
            chosen.insert(last);
        }
    }
    Ok(members(chosen.into_iter().filter_map(at), with_scores))
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * bound.max(1) as u128) >> 64) as usize
    }
}

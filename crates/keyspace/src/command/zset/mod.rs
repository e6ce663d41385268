//! Sorted sets.

mod add;
mod block;
mod bounds;
mod combine;
mod count;
mod pop;
mod random;
mod range;
mod rank;
mod remove;
mod remove_range;
mod scan;
mod score;
mod sources;

pub(super) use add::zadd;

use bytes::Bytes;

use crate::object::{Object, ZSet, ZSetLimits};
use crate::spec::Spec;
use crate::{EventClass, Reply, Result, Writer};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &add::ZADD,
    &add::ZINCRBY,
    &block::BZMPOP,
    &block::BZPOPMAX,
    &block::BZPOPMIN,
    &combine::ZDIFF,
    &combine::ZDIFFSTORE,
    &combine::ZINTER,
    &combine::ZINTERCARD,
    &combine::ZINTERSTORE,
    &combine::ZUNION,
    &combine::ZUNIONSTORE,
    &count::ZCARD,
    &count::ZCOUNT,
    &count::ZLEXCOUNT,
    &pop::ZMPOP,
    &pop::ZPOPMAX,
    &pop::ZPOPMIN,
    &random::ZRANDMEMBER,
    &range::ZRANGE,
    &range::ZRANGEBYLEX,
    &range::ZRANGEBYSCORE,
    &range::ZRANGESTORE,
    &range::ZREVRANGE,
    &range::ZREVRANGEBYLEX,
    &range::ZREVRANGEBYSCORE,
    &rank::ZRANK,
    &rank::ZREVRANK,
    &remove::ZREM,
    &remove_range::ZREMRANGEBYLEX,
    &remove_range::ZREMRANGEBYRANK,
    &remove_range::ZREMRANGEBYSCORE,
    &scan::ZSCAN,
    &score::ZMSCORE,
    &score::ZSCORE,
];

/// Members, with their scores or without.
fn members<'a>(found: impl Iterator<Item = (&'a [u8], f64)>, with_scores: bool) -> Reply {
    if with_scores {
        Reply::Pairs(found.map(|(member, score)| (Reply::bulk(member), Reply::Double(score))).collect())
    } else {
        Reply::Array(found.map(|(member, _)| Reply::bulk(member)).collect())
    }
}

/// Puts what a command found in place of whatever `key` holds, and answers how many members that are. Nothing found
/// leaves no key.
pub(super) fn store(writer: &mut Writer<'_>, key: &[u8], found: &[(Bytes, f64)], event: &'static str) -> Result<Reply> {
    if found.is_empty() {
        if writer.remove(key)? {
            writer.notify(EventClass::GENERIC, "del", key);
        }
        return Ok(Reply::Integer(0));
    }
    let limits = ZSetLimits::of(writer.state());
    let mut set = ZSet::default();
    for (member, score) in found {
        set.insert(member, *score, limits);
    }
    let count = set.len();
    writer.put(key, set.into_value(), None)?;
    writer.notify(EventClass::ZSET, event, key);
    Ok(Reply::count(count))
}

#[cfg(test)]
mod tests;

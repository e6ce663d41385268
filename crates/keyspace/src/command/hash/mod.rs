//! Hashes.

mod expire;
mod get;
mod get_and;
mod increment;
mod random;
mod remove;
mod scan;
mod set;
mod set_and;
mod times;
mod ttl;

use bytes::Bytes;

use crate::args::{is, parse_integer};
use crate::spec::Spec;
use crate::{Error, EventClass, Result, Writer};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &expire::HEXPIRE,
    &expire::HEXPIREAT,
    &expire::HPERSIST,
    &expire::HPEXPIRE,
    &expire::HPEXPIREAT,
    &get::HEXISTS,
    &get::HGET,
    &get::HGETALL,
    &get::HKEYS,
    &get::HLEN,
    &get::HMGET,
    &get::HSTRLEN,
    &get::HVALS,
    &get_and::HGETDEL,
    &get_and::HGETEX,
    &increment::HINCRBY,
    &increment::HINCRBYFLOAT,
    &random::HRANDFIELD,
    &remove::HDEL,
    &scan::HSCAN,
    &set::HMSET,
    &set::HSET,
    &set::HSETNX,
    &set_and::HSETEX,
    &ttl::HEXPIRETIME,
    &ttl::HPEXPIRETIME,
    &ttl::HPTTL,
    &ttl::HTTL,
];

/// The fields that stand behind `FIELDS numfields`.
fn fields<'a>(args: &'a [Bytes], not_positive: &'static str) -> Result<&'a [Bytes]> {
    let rest = args.split_first().filter(|(word, _)| is(word, "fields")).map(|(_, rest)| rest);
    let rest = rest.ok_or(Error::reply("ERR Mandatory argument FIELDS is missing or not at the right position"))?;
    let (count, fields) = rest.split_first().ok_or(Error::SYNTAX)?;
    let count = parse_integer(count).filter(|count| *count > 0).ok_or(Error::reply(not_positive))?;
    if usize::try_from(count) == Ok(fields.len()) {
        Ok(fields)
    } else {
        Err(Error::reply("ERR The `numfields` parameter must match the number of arguments"))
    }
}

const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// Tells what became of fields whose ends were set: `updated` got one, `removed` were over at once.
fn tell_ends(writer: &mut Writer<'_>, key: &[u8], updated: usize, removed: usize) -> Result<()> {
    if updated > 0 {
        writer.notify(EventClass::HASH, "hexpire", key);
    }
    if removed > 0 {
        writer.notify(EventClass::HASH, "hdel", key);
    }
    writer.remove_if_empty(key)?;
    Ok(())
}

#[cfg(test)]
mod tests;

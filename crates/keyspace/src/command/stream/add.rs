//! XADD key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]

use bytes::Bytes;

use super::parse::{id_reply, limits};
use super::trim::Options;
use crate::effects::EventClass;
use crate::error::wrong_arity;
use crate::object::stream::{Id, Stream};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// Fields and values of an entry have at most so many bytes.
const ENTRY_BYTES_MAX: usize = 1 << 30;

/// XADD
pub(super) static XADD: Spec = Spec {
    name: "xadd",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Adds an entry to the end of a stream",
    run: Run::Write(xadd),
    ..Spec::DEFAULT
};

fn xadd(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let options = Options::parse(args, true, writer.state())?;
    let fields = args.get(options.at + 1..).unwrap_or_default();
    if fields.is_empty() || fields.len() % 2 == 1 {
        return Err(wrong_arity("xadd"));
    }
    if options.id == Some((0, Some(0))) {
        return Err(Error::reply("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = &args[1];
    let last = match writer.get::<Stream>(key)? {
        Some(stream) => stream.last,
        None if options.no_make => return Ok(Reply::Null),
        None => Id::MIN,
    };
    if last == Id::MAX {
        return Err(Error::reply("ERR The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = new_id(options.id, last, writer.now())
        .filter(|id| *id > last)
        .ok_or(Error::reply("ERR The ID specified in XADD is equal or smaller than the target stream top item"))?;
    if fields.iter().map(Bytes::len).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(Error::reply("ERR Elements are too large to be stored"));
    }
    let limits = limits(writer.state());
    let stream = writer.get_or_create::<Stream>(key)?;
    stream.push(id, fields, limits);
    let removed = options.trim.map_or(0, |trim| stream.trim(&trim));
    writer.notify(EventClass::STREAM, "xadd", key);
    if removed > 0 {
        writer.notify(EventClass::STREAM, "xtrim", key);
    }
    Ok(id_reply(id))
}

/// The id of a new entry; time that runs back goes on from the last one.
fn new_id(given: Option<(u64, Option<u64>)>, last: Id, now: i64) -> Option<Id> {
    match given {
        Some((ms, Some(seq))) => Some(Id { ms, seq }),
        Some((ms, None)) if ms == last.ms => Some(Id { ms, seq: last.seq.checked_add(1)? }),
        Some((ms, None)) => Some(Id { ms, seq: 0 }),
        None => {
            let ms = u64::try_from(now).unwrap_or(0);
            if ms > last.ms { Some(Id { ms, seq: 0 }) } else { last.next() }
        }
    }
}

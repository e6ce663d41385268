//! XACK key group id [id ...]; XNACK key group <SILENT | FAIL | FATAL> IDS count id [id ...] [RETRYCOUNT count] [FORCE]

use bytes::Bytes;

use super::parse::{self, no_group};
use crate::args::{self, is};
use crate::object::stream::{Id, Stream};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// XACK
pub(super) static XACK: Spec = Spec {
    name: "xack",
    arity: -4,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Marks pending entries of a group as done",
    run: Run::Write(xack),
    ..Spec::DEFAULT
};

/// XNACK
pub(super) static XNACK: Spec = Spec {
    name: "xnack",
    arity: -7,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Stream,
    since: "8.8.0",
    summary: "Gives pending entries back to their group, for any consumer to claim at once",
    run: Run::Write(xnack),
    ..Spec::DEFAULT
};

fn xack(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, name) = (&args[1], &args[2]);
    let group = writer.get::<Stream>(key)?.and_then(|stream| stream.group(name));
    let Some(group) = group else { return Ok(Reply::Integer(0)) };
    let ids = parse::ids(&args[3..])?;
    if !ids.iter().any(|id| group.pending().contains_key(id)) {
        return Ok(Reply::Integer(0));
    }
    let group = writer.get_mut::<Stream>(key)?.and_then(|stream| stream.group_mut(name));
    Ok(Reply::count(group.map_or(0, |group| ids.iter().filter(|id| group.acknowledge(**id)).count())))
}

/// How the count of deliveries changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As if it had not been delivered.
    Silent,
    Fail,
    /// It will never be done.
    Fatal,
}

fn xnack(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let mode = match &args[3] {
        word if is(word, "silent") => Mode::Silent,
        word if is(word, "fail") => Mode::Fail,
        word if is(word, "fatal") => Mode::Fatal,
        _ => return Err(Error::SYNTAX),
    };
    if !is(&args[4], "ids") {
        return Err(Error::SYNTAX);
    }
    let count = args::parse_integer(&args[5]).filter(|count| *count > 0);
    let count = count.ok_or(Error::reply("ERR numids must be a positive integer"))?;
    let given = &args[6..];
    let count = usize::try_from(count).ok().filter(|count| *count <= given.len());
    let count = count.ok_or(Error::reply("ERR number of IDs doesn't match numids"))?;
    let ids = parse::ids(&given[..count])?;
    let (mut retry_count, mut force) = (None, false);
    let mut options = args::Cursor::new(&given[count..]);
    while !options.is_empty() {
        if options.take("force") {
            force = true;
        } else if options.take("retrycount") {
            let count = options.integer()?;
            if count < 0 {
                return Err(Error::reply("ERR RETRYCOUNT must be a non-negative integer"));
            }
            retry_count = Some(count);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let (key, name) = (&args[1], &args[2]);
    let found = writer.get::<Stream>(key)?.and_then(|stream| Some((stream, stream.group(name)?)));
    let Some((stream, group)) = found else { return Err(no_group(key, name, "")) };
    let mut released: Vec<(Id, i64)> = Vec::new();
    for id in ids {
        let adjusted = match (group.pending().get(&id), mode) {
            (Some(_), Mode::Fatal) => Some(i64::MAX),
            (Some(pending), Mode::Fail) => Some(pending.count),
            (Some(pending), Mode::Silent) => Some(pending.count.saturating_sub(1).max(0)),
            (None, _) if !force || stream.get(id).is_none() => None,
            (None, Mode::Fatal) => Some(i64::MAX),
            (None, _) => Some(0),
        };
        if let Some(adjusted) = adjusted {
            released.push((id, retry_count.unwrap_or(adjusted)));
        }
    }
    if !released.is_empty()
        && let Some(group) = writer.get_mut::<Stream>(key)?.and_then(|stream| stream.group_mut(name))
    {
        released.iter().for_each(|(id, count)| group.release(*id, *count));
    }
    Ok(Reply::count(released.len()))
}

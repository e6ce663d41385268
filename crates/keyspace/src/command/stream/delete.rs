//! XDEL key id [id ...]; XDELEX key [KEEPREF | DELREF | ACKED] IDS count id [id ...];
//! XACKDEL key group [KEEPREF | DELREF | ACKED] IDS count id [id ...]

use bytes::Bytes;

use super::parse;
use crate::args::{is, parse_integer};
use crate::effects::EventClass;
use crate::object::stream::{Id, Stream};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// XDEL
pub(super) static XDEL: Spec = Spec {
    name: "xdel",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Removes entries from a stream by their ids",
    run: Run::Write(xdel),
    ..Spec::DEFAULT
};

/// XDELEX
pub(super) static XDELEX: Spec = Spec {
    name: "xdelex",
    arity: -5,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Stream,
    since: "8.2.0",
    summary: "Removes entries from a stream and says what becomes of them in groups",
    run: Run::Write(xdelex),
    ..Spec::DEFAULT
};

/// XACKDEL
pub(super) static XACKDEL: Spec = Spec {
    name: "xackdel",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE).union(KeyFlags::DELETE))],
    group: Group::Stream,
    since: "8.2.0",
    summary: "Acknowledges entries and removes them from the stream",
    run: Run::Write(xackdel),
    ..Spec::DEFAULT
};

fn xdel(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let Some(stream) = writer.get::<Stream>(key)? else { return Ok(Reply::Integer(0)) };
    let ids = parse::ids(&args[2..])?;
    if !ids.iter().any(|id| stream.get(*id).is_some()) {
        return Ok(Reply::Integer(0));
    }
    let stream = writer.get_mut::<Stream>(key)?;
    let count = stream.map_or(0, |stream| ids.iter().filter(|id| stream.delete(**id)).count());
    writer.notify(EventClass::STREAM, "xdel", key);
    Ok(Reply::count(count))
}

/// What becomes of an entry that groups refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum References {
    Keep,
    Delete,
    /// The entry goes only when there are none.
    Acked,
}

fn parse_options(args: &[Bytes]) -> Result<(References, Vec<Id>)> {
    let (mut references, mut ids) = (None, None);
    let mut at = 0;
    while let Some(word) = args.get(at) {
        let known = [("keepref", References::Keep), ("delref", References::Delete), ("acked", References::Acked)];
        if let Some((_, found)) = known.iter().find(|(name, _)| references.is_none() && is(word, name)) {
            references = Some(*found);
            at += 1;
        } else if is(word, "ids") && ids.is_none() && at + 1 < args.len() {
            let count = parse_integer(&args[at + 1]).filter(|count| *count > 0);
            let count = count.ok_or(Error::reply("ERR Number of IDs must be a positive integer"))?;
            let given = args.get(at + 2..).unwrap_or_default();
            let count = usize::try_from(count).ok().filter(|count| *count <= given.len());
            let count = count.ok_or(Error::reply("ERR The `numids` parameter must match the number of arguments"))?;
            ids = Some(parse::ids(&given[..count])?);
            at += 2 + count;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok((references.unwrap_or(References::Keep), ids.ok_or(Error::SYNTAX)?))
}

/// Whether a group has still to read an entry, or to acknowledge it.
fn is_referenced(stream: &Stream, id: Id) -> bool {
    stream.groups().values().any(|group| id > group.last || group.pending().contains_key(&id))
}

fn xdelex(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (references, ids) = parse_options(&args[2..])?;
    let key = &args[1];
    let Some(stream) = writer.get::<Stream>(key)? else { return Ok(missing(ids.len())) };
    let is_any = |id: &Id| stream.get(*id).is_some() || stream.groups().values().any(|g| g.pending().contains_key(id));
    if !ids.iter().any(is_any) {
        return Ok(missing(ids.len()));
    }
    let Some(stream) = writer.get_mut::<Stream>(key)? else { return Ok(missing(ids.len())) };
    let codes: Vec<i64> = ids.into_iter().map(|id| delete(stream, id, references)).collect();
    if codes.contains(&1) {
        writer.notify(EventClass::STREAM, "xdel", key);
    }
    Ok(Reply::Array(codes.into_iter().map(Reply::Integer).collect()))
}

fn xackdel(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (references, ids) = parse_options(&args[3..])?;
    let (key, name) = (&args[1], &args[2]);
    let group = writer.get::<Stream>(key)?.and_then(|stream| stream.group(name));
    let Some(group) = group.filter(|group| ids.iter().any(|id| group.pending().contains_key(id))) else {
        return Ok(missing(ids.len()));
    };
    debug_assert!(!group.pending().is_empty());
    let Some(stream) = writer.get_mut::<Stream>(key)? else { return Ok(missing(ids.len())) };
    let mut codes = Vec::with_capacity(ids.len());
    let mut deleted = false;
    for id in ids {
        let acknowledged = stream.group_mut(name).is_some_and(|group| group.acknowledge(id));
        let code = if acknowledged { delete(stream, id, references) } else { -1 };
        deleted |= code == 1;
        // What was acknowledged counts as done, though its entry was already gone.
        codes.push(Reply::Integer(if acknowledged { code.abs() } else { code }));
    }
    if deleted {
        writer.notify(EventClass::STREAM, "xdel", key);
    }
    Ok(Reply::Array(codes))
}

/// Deletes an entry: 1 when it did, 2 when groups refer to it, -1 when it is not there.
fn delete(stream: &mut Stream, id: Id, references: References) -> i64 {
    match references {
        References::Acked if stream.get(id).is_some() && is_referenced(stream, id) => return 2,
        References::Delete => stream.groups_mut_with(id).for_each(|group| {
            group.acknowledge(id);
        }),
        _ => {}
    }
    if stream.delete(id) { 1 } else { -1 }
}

fn missing(count: usize) -> Reply {
    Reply::Array(vec![Reply::Integer(-1); count])
}

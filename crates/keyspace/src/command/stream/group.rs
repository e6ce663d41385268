//! XGROUP CREATE | SETID | DESTROY | CREATECONSUMER | DELCONSUMER | HELP

use bytes::Bytes;

use super::parse::{self, no_such_group, wrong_subcommand};
use crate::args::{Cursor, is};
use crate::effects::EventClass;
use crate::object::stream::{self, Id, Stream};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result, Writer};

/// XGROUP
pub(super) static XGROUP: Spec = Spec {
    name: "xgroup",
    arity: -2,
    group: Group::Stream,
    since: "5.0.0",
    summary: "Consumer groups of a stream",
    subcommands: &[&CREATE, &SETID, &DESTROY, &CREATECONSUMER, &DELCONSUMER, &HELP],
    run: Run::Container,
    ..Spec::DEFAULT
};

static CREATE: Spec = Spec {
    name: "xgroup|create",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::STREAM,
    keys: &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Makes a consumer group",
    run: Run::Write(create),
    ..Spec::DEFAULT
};

static SETID: Spec = Spec {
    name: "xgroup|setid",
    arity: -5,
    flags: Flags::WRITE,
    category: Category::STREAM,
    keys: &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Sets the id that a group has read last",
    run: Run::Write(setid),
    ..Spec::DEFAULT
};

static DESTROY: Spec = Spec {
    name: "xgroup|destroy",
    arity: 4,
    flags: Flags::WRITE,
    category: Category::STREAM,
    keys: &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Removes a consumer group",
    run: Run::Write(destroy),
    ..Spec::DEFAULT
};

static CREATECONSUMER: Spec = Spec {
    name: "xgroup|createconsumer",
    arity: 5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::STREAM,
    keys: &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::Stream,
    since: "6.2.0",
    summary: "Makes a consumer in a group",
    run: Run::Write(create_consumer),
    ..Spec::DEFAULT
};

static DELCONSUMER: Spec = Spec {
    name: "xgroup|delconsumer",
    arity: 5,
    flags: Flags::WRITE,
    category: Category::STREAM,
    keys: &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Removes a consumer from its group",
    run: Run::Write(delete_consumer),
    ..Spec::DEFAULT
};

static HELP: Spec = Spec {
    name: "xgroup|help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    category: Category::STREAM,
    group: Group::Stream,
    since: "5.0.0",
    summary: "Lists the subcommands",
    run: Run::Read(help),
    ..Spec::DEFAULT
};

/// MKSTREAM, and ENTRIESREAD with its count.
fn parse_options(args: &[Bytes], is_create: bool) -> Result<(bool, Option<u64>)> {
    let (mut make, mut read) = (false, None);
    let mut options = Cursor::new(args.get(5..).unwrap_or_default());
    while !options.is_empty() {
        if is_create && options.take("mkstream") {
            make = true;
        } else if options.rest().len() > 1 && options.take("entriesread") {
            read = match options.integer()? {
                -1 => None,
                count => {
                    let wrong = |_| Error::reply("ERR value for ENTRIESREAD must be positive or -1");
                    Some(u64::try_from(count).map_err(wrong)?)
                }
            };
        } else {
            return Err(wrong_subcommand("XGROUP", &args[1]));
        }
    }
    Ok((make, read))
}

const KEY_NEEDED: Error = Error::Reply(std::borrow::Cow::Borrowed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option \
     to create an empty stream automatically.",
));

/// The stream and the group, both of which must be there.
fn must_get<'a>(writer: &'a Writer<'_>, args: &[Bytes]) -> Result<(&'a Stream, &'a stream::Group)> {
    let stream = writer.get::<Stream>(&args[2])?.ok_or(KEY_NEEDED)?;
    let group = stream.group(&args[3]).ok_or_else(|| no_such_group(&args[2], &args[3]))?;
    Ok((stream, group))
}

fn create(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (make, read) = parse_options(args, true)?;
    let (key, name) = (&args[2], &args[3]);
    let stream = writer.get::<Stream>(key)?;
    if stream.is_none() && !make {
        return Err(KEY_NEEDED);
    }
    let last = match &*args[4] {
        b"$" => stream.map_or(Id::MIN, |stream| stream.last),
        text => parse::id(text)?,
    };
    if stream.is_some_and(|stream| stream.group(name).is_some()) {
        return Err(Error::reply("BUSYGROUP Consumer Group name already exists"));
    }
    writer.get_or_create::<Stream>(key)?.put_group(name, stream::Group::new(last, read));
    writer.notify(EventClass::STREAM, "xgroup-create", key);
    Ok(Reply::OK)
}

fn setid(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (_, read) = parse_options(args, false)?;
    let (stream, _) = must_get(writer, args)?;
    let last = match &*args[4] {
        b"$" => stream.last,
        b"-" => Id::MIN,
        b"+" => Id::MAX,
        text => parse::id(text)?,
    };
    if let Some(group) = writer.get_mut::<Stream>(&args[2])?.and_then(|stream| stream.group_mut(&args[3])) {
        (group.last, group.read) = (last, read);
    }
    writer.notify(EventClass::STREAM, "xgroup-setid", &args[2]);
    Ok(Reply::OK)
}

fn destroy(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, name) = (&args[2], &args[3]);
    if writer.get::<Stream>(key)?.ok_or(KEY_NEEDED)?.group(name).is_none() {
        return Ok(Reply::Integer(0));
    }
    // Who waits for the group is run again by this change, and told that it is gone.
    let removed = writer.get_mut::<Stream>(key)?.is_some_and(|stream| stream.remove_group(name));
    writer.notify(EventClass::STREAM, "xgroup-destroy", key);
    Ok(Reply::flag(removed))
}

fn create_consumer(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (_, group) = must_get(writer, args)?;
    if group.consumers().contains_key(&*args[4]) {
        return Ok(Reply::Integer(0));
    }
    let now = writer.now();
    if let Some(group) = writer.get_mut::<Stream>(&args[2])?.and_then(|stream| stream.group_mut(&args[3])) {
        group.see(&args[4], now);
    }
    writer.notify(EventClass::STREAM, "xgroup-createconsumer", &args[2]);
    Ok(Reply::Integer(1))
}

fn delete_consumer(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (_, group) = must_get(writer, args)?;
    if !group.consumers().contains_key(&*args[4]) {
        return Ok(Reply::Integer(0));
    }
    let group = writer.get_mut::<Stream>(&args[2])?.and_then(|stream| stream.group_mut(&args[3]));
    let pending = group.and_then(|group| group.remove_consumer(&args[4])).unwrap_or(0);
    writer.notify(EventClass::STREAM, "xgroup-delconsumer", &args[2]);
    Ok(Reply::count(pending))
}

fn help(_: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    debug_assert!(is(&args[1], "help"));
    let lines = [
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CREATE <key> <group> <id | $> [MKSTREAM] [ENTRIESREAD <count>]",
        "    Makes a group that reads behind an id; MKSTREAM makes the stream as well.",
        "CREATECONSUMER <key> <group> <consumer>",
        "    Makes a consumer in a group.",
        "DELCONSUMER <key> <group> <consumer>",
        "    Removes a consumer and what is pending for it.",
        "DESTROY <key> <group>",
        "    Removes a group.",
        "SETID <key> <group> <id | $> [ENTRIESREAD <count>]",
        "    Sets what a group has read last.",
        "HELP",
        "    Prints this help.",
    ];
    Ok(Reply::Array(lines.into_iter().map(Reply::status).collect()))
}

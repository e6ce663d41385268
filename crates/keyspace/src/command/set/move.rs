//! SMOVE source destination member

use bytes::Bytes;

use crate::object::{Object, Set, SetLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// SMOVE
pub(super) static SMOVE: Spec = Spec {
    name: "smove",
    arity: 4,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::SET,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
        KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT)),
    ],
    group: Group::Set,
    since: "1.0.0",
    summary: "Moves a member from one set to another",
    run: Run::Write(smove),
    ..Spec::DEFAULT
};

fn smove(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (source, destination, member) = (&args[1], &args[2], &args[3]);
    if !writer.exists(source)? {
        return Ok(Reply::Integer(0));
    }
    let found = writer.get::<Set>(source)?.is_some_and(|set| set.contains(member));
    let (absent, there) = match writer.get::<Set>(destination)? {
        Some(set) => (false, set.contains(member)),
        None => (true, false),
    };
    if !found || source == destination {
        return Ok(Reply::flag(found));
    }
    let limits = SetLimits::of(writer.state());
    if let Some(set) = writer.get_mut::<Set>(source)? {
        set.remove(member);
    }
    writer.notify(EventClass::SET, "srem", source);
    writer.remove_if_empty(source)?;
    if absent {
        writer.put(destination, Set::for_members(member, 1, limits).into_value(), None)?;
    }
    if !there {
        writer.get_or_create::<Set>(destination)?.insert(member, limits);
        writer.notify(EventClass::SET, "sadd", destination);
    }
    Ok(Reply::Integer(1))
}

//! SADD key member [member ...], SREM key member [member ...]

use bytes::Bytes;

use crate::object::{Object, Set, SetLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// SADD
pub(super) static SADD: Spec = Spec {
    name: "sadd",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::Set,
    since: "1.0.0",
    summary: "Adds members to a set",
    run: Run::Write(sadd),
    ..Spec::DEFAULT
};

/// SREM
pub(super) static SREM: Spec = Spec {
    name: "srem",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Set,
    since: "1.0.0",
    summary: "Removes members from a set",
    run: Run::Write(srem),
    ..Spec::DEFAULT
};

fn sadd(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, members) = (&args[1], &args[2..]);
    let limits = SetLimits::of(writer.state());
    match writer.get::<Set>(key)? {
        Some(set) => {
            if members.iter().all(|member| set.contains(member)) {
                return Ok(Reply::Integer(0));
            }
        }
        None => {
            let first = members.first().map_or(&b""[..], |member| member);
            writer.put(key, Set::for_members(first, members.len(), limits).into_value(), None)?;
        }
    }
    let set = writer.get_or_create::<Set>(key)?;
    set.expect(members.len(), limits);
    let added = members.iter().filter(|member| set.insert(member, limits)).count();
    writer.notify(EventClass::SET, "sadd", key);
    Ok(Reply::count(added))
}

fn srem(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, members) = (&args[1], &args[2..]);
    let Some(set) = writer.get::<Set>(key)? else { return Ok(Reply::Integer(0)) };
    if !members.iter().any(|member| set.contains(member)) {
        return Ok(Reply::Integer(0));
    }
    let Some(set) = writer.get_mut::<Set>(key)? else { return Ok(Reply::Integer(0)) };
    let removed = members.iter().filter(|member| set.remove(member)).count();
    writer.notify(EventClass::SET, "srem", key);
    writer.remove_if_empty(key)?;
    Ok(Reply::count(removed))
}

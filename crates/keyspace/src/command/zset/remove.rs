//! ZREM key member [member ...]

use bytes::Bytes;

use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// ZREM
pub(super) static ZREM: Spec = Spec {
    name: "zrem",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Removes members",
    run: Run::Write(zrem),
    ..Spec::DEFAULT
};

fn zrem(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, members) = (&args[1], &args[2..]);
    let Some(set) = writer.get::<ZSet>(key)? else { return Ok(Reply::Integer(0)) };
    if !members.iter().any(|member| set.score(member).is_some()) {
        return Ok(Reply::Integer(0));
    }
    let Some(set) = writer.get_mut::<ZSet>(key)? else { return Ok(Reply::Integer(0)) };
    let removed = members.iter().filter(|member| set.remove(member).is_some()).count();
    writer.notify(EventClass::ZSET, "zrem", key);
    writer.remove_if_empty(key)?;
    Ok(Reply::count(removed))
}

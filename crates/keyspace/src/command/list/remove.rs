//! LREM key count element

use bytes::Bytes;

use crate::args::integer;
use crate::object::{List, ListLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// LREM
pub(super) static LREM: Spec = Spec {
    name: "lrem",
    arity: 4,
    flags: Flags::WRITE,
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::List,
    since: "1.0.0",
    summary: "Removes elements of a list that are equal to one",
    run: Run::Write(lrem),
    ..Spec::DEFAULT
};

fn lrem(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, element) = (&args[1], &args[3]);
    let count = integer(&args[2])?;
    let limits = ListLimits::of(writer.state());
    let Some(list) = writer.get::<List>(key)? else { return Ok(Reply::Integer(0)) };
    if !list.iter().any(|other| *other == **element) {
        return Ok(Reply::Integer(0));
    }
    let count_max = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let Some(list) = writer.get_mut::<List>(key)? else { return Ok(Reply::Integer(0)) };
    let removed = list.remove_equal(element, count_max, count < 0, limits);
    list.shrink(limits);
    writer.notify(EventClass::LIST, "lrem", key);
    writer.remove_if_empty(key)?;
    Ok(Reply::count(removed))
}

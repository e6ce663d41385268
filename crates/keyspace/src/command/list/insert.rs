//! LINSERT key BEFORE | AFTER pivot element

use bytes::Bytes;

use crate::args::is;
use crate::object::{List, ListLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// LINSERT
pub(super) static LINSERT: Spec = Spec {
    name: "linsert",
    arity: 5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::List,
    since: "2.2.0",
    summary: "Adds an element before or behind another one of a list",
    run: Run::Write(linsert),
    ..Spec::DEFAULT
};

fn linsert(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let after = if is(&args[2], "after") {
        1
    } else if is(&args[2], "before") {
        0
    } else {
        return Err(Error::SYNTAX);
    };
    let limits = ListLimits::of(writer.state());
    let Some(list) = writer.get::<List>(key)? else { return Ok(Reply::Integer(0)) };
    let Some(at) = list.iter().position(|element| *element == *args[3]) else { return Ok(Reply::Integer(-1)) };
    let Some(list) = writer.get_mut::<List>(key)? else { return Ok(Reply::Integer(0)) };
    list.insert(at + after, &args[4], limits);
    let count = list.len();
    writer.notify(EventClass::LIST, "linsert", key);
    Ok(Reply::count(count))
}

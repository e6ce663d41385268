//! HDEL key field [field ...]

use bytes::Bytes;

use crate::object::Hash;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// HDEL
pub(super) static HDEL: Spec = Spec {
    name: "hdel",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Removes fields of a hash",
    run: Run::Write(hdel),
    ..Spec::DEFAULT
};

fn hdel(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, fields, now) = (&args[1], &args[2..], writer.now());
    let Some(hash) = writer.get::<Hash>(key)? else { return Ok(Reply::Integer(0)) };
    if !fields.iter().any(|field| hash.get(field, now).is_some()) {
        return Ok(Reply::Integer(0));
    }
    let Some(hash) = writer.get_mut::<Hash>(key)? else { return Ok(Reply::Integer(0)) };
    let removed = fields.iter().filter(|field| hash.remove(field).is_some()).count();
    writer.notify(EventClass::HASH, "hdel", key);
    writer.remove_if_empty(key)?;
    Ok(Reply::count(removed))
}

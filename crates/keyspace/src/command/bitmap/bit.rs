//! SETBIT, GETBIT

use bytes::Bytes;

use super::bit_offset;
use crate::args::parse_integer;
use crate::growth::Growth;
use crate::object::Str;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reader, Reply, Result, Writer};

/// SETBIT
pub(super) static SETBIT: Spec = Spec {
    name: "setbit",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::BITMAP,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::Bitmap,
    since: "2.2.0",
    summary: "Sets or clears one bit of a string",
    grows: Growth::To(|args| {
        args.get(2).and_then(|offset| parse_integer(offset)).map_or(0, |bit| bit.unsigned_abs() / 8 + 1)
    }),
    run: Run::Write(setbit),
    ..Spec::DEFAULT
};
/// GETBIT
pub(super) static GETBIT: Spec = Spec {
    name: "getbit",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::BITMAP,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Bitmap,
    since: "2.2.0",
    summary: "One bit of a string",
    run: Run::Read(getbit),
    ..Spec::DEFAULT
};

fn bit_of(bytes: &[u8], offset: u64) -> bool {
    bytes.get((offset / 8) as usize).is_some_and(|byte| byte >> (7 - offset % 8) & 1 == 1)
}

fn setbit(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let offset = bit_offset(writer.state(), &args[2], None)?;
    let on = match parse_integer(&args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Error::reply("ERR bit is not an integer or out of range")),
    };
    let held = writer.get::<Str>(key)?.map(Str::to_bytes);
    let was = held.as_ref().is_some_and(|bytes| bit_of(bytes, offset));
    let at = (offset / 8) as usize;
    let fits = held.as_ref().is_some_and(|bytes| at < bytes.len());
    // In place only when no one else holds the bytes.
    drop(held);
    if was != on || !fits {
        writer.get_or_create::<Str>(key)?.edit(|bytes| {
            if at >= bytes.len() {
                bytes.resize(at + 1, 0);
            }
            let mask = 0x80 >> (offset % 8);
            if on { bytes[at] |= mask } else { bytes[at] &= !mask }
        });
        writer.notify(EventClass::STRING, "setbit", key);
    }
    Ok(Reply::flag(was))
}

fn getbit(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let offset = bit_offset(reader.state(), &args[2], None)?;
    let string = reader.get::<Str>(&args[1])?;
    Ok(Reply::flag(string.is_some_and(|string| bit_of(&string.to_bytes(), offset))))
}

//! BITPOS key bit [start [end [BYTE | BIT]]]

use bytes::Bytes;

use super::{Range, in_bits, part};
use crate::args::{Cursor, integer};
use crate::object::Str;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// BITPOS
pub(super) static BITPOS: Spec = Spec {
    name: "bitpos",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::BITMAP,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Bitmap,
    since: "2.8.7",
    summary: "Where the first bit of a string is that is set, or clear",
    run: Run::Read(bitpos),
    ..Spec::DEFAULT
};

fn bitpos(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let bit = match integer(&args[2])? {
        0 => false,
        1 => true,
        _ => return Err(Error::reply("ERR The bit argument must be 1 or 0.")),
    };
    let mut rest = Cursor::new(&args[3..]);
    let mut range = Range { start: 0, end: -1, in_bits: false };
    let mut has_end = false;
    if let Some(start) = rest.next() {
        range.start = integer(start)?;
    }
    if let Some(end) = rest.next() {
        has_end = true;
        range.in_bits = in_bits(&mut rest)?;
        rest.end()?;
        range.end = integer(end)?;
    }
    let Some(string) = reader.get::<Str>(&args[1])? else {
        return Ok(Reply::Integer(if bit { -1 } else { 0 }));
    };
    let bytes = string.to_bytes();
    let Some((first, last)) = range.bits(bytes.len()) else { return Ok(Reply::Integer(-1)) };
    // What does not count is filled with what is not looked for.
    let skip = if bit { 0 } else { 0xff };
    let (from, to) = (first / 8, last / 8);
    let found = (from..=to).step_by(1).find_map(|at| {
        let byte = if at == from || at == to { part(&bytes, first, last, at, !bit) } else { bytes[at] };
        let set = if bit { byte } else { !byte };
        (byte != skip).then(|| at * 8 + set.leading_zeros() as usize)
    });
    Ok(match found {
        Some(at) => Reply::count(at),
        // Behind a string without an end stand zeros.
        None if !bit && !has_end => Reply::count(last + 1),
        None => Reply::Integer(-1),
    })
}

//! BITCOUNT key [start end [BYTE | BIT]]

use bytes::Bytes;

use super::{Range, in_bits, part, start_and_end};
use crate::args::Cursor;
use crate::object::Str;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// BITCOUNT
pub(super) static BITCOUNT: Spec = Spec {
    name: "bitcount",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::BITMAP,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Bitmap,
    since: "2.6.0",
    summary: "How many bits of a string are set",
    run: Run::Read(bitcount),
    ..Spec::DEFAULT
};

fn bitcount(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut rest = Cursor::new(&args[2..]);
    let range = if rest.is_empty() {
        Range { start: 0, end: -1, in_bits: false }
    } else {
        let (start, end) = start_and_end(&mut rest)?;
        let range = Range { start, end, in_bits: in_bits(&mut rest)? };
        rest.end()?;
        range
    };
    let bytes = reader.get::<Str>(&args[1])?.map(Str::to_bytes).unwrap_or_default();
    let found = if range.is_reversed() { None } else { range.bits(bytes.len()) };
    let Some((first, last)) = found else { return Ok(Reply::Integer(0)) };
    let (from, to) = (first / 8, last / 8);
    if from == to {
        return Ok(Reply::Integer(i64::from(part(&bytes, first, last, from, false).count_ones())));
    }
    let ends = part(&bytes, first, last, from, false).count_ones() + part(&bytes, first, last, to, false).count_ones();
    let (words, rest) = bytes[from + 1..to].as_chunks::<8>();
    let middle: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let tail: u32 = rest.iter().map(|byte| byte.count_ones()).sum();
    Ok(Reply::Integer((u64::from(ends) + middle + u64::from(tail)) as i64))
}

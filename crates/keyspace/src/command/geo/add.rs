//! GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]

use bytes::Bytes;

use super::{cell, place};
use crate::args::is;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// GEOADD
pub(super) static GEOADD: Spec = Spec {
    name: "geoadd",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::GEO,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Puts members at places",
    run: Run::Write(geoadd),
    ..Spec::DEFAULT
};

fn geoadd(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let options = args[2..].iter().take_while(|word| is(word, "nx") || is(word, "xx") || is(word, "ch")).count();
    let (options, rest) = args[2..].split_at(options);
    let (new_only, old_only) = (options.iter().any(|word| is(word, "nx")), options.iter().any(|word| is(word, "xx")));
    let (places, odd) = rest.as_chunks::<3>();
    if !odd.is_empty() || (new_only && old_only) {
        return Err(Error::SYNTAX);
    }
    // The rest is ZADD's.
    let mut words = vec![Bytes::from_static(b"zadd"), args[1].clone()];
    words.extend_from_slice(options);
    for [longitude, latitude, member] in places {
        let bits = cell::bits(place(longitude, latitude)?).unwrap_or_default();
        words.extend([Bytes::from(bits.to_string()), member.clone()]);
    }
    crate::command::zset::zadd(writer, &words)
}

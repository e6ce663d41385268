//! GEODIST key member1 member2 [M | KM | FT | MI]

use bytes::Bytes;

use super::{cell, unit};
use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// GEODIST
pub(super) static GEODIST: Spec = Spec {
    name: "geodist",
    arity: -4,
    flags: Flags::READONLY,
    category: Category::GEO,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Geo,
    since: "3.2.0",
    summary: "How far one member is from another",
    run: Run::Read(geodist),
    ..Spec::DEFAULT
};

fn geodist(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let unit = match &args[4..] {
        [] => 1.0,
        [word] => unit(word)?,
        _ => return Err(Error::SYNTAX),
    };
    let set = reader.get::<ZSet>(&args[1])?;
    let scores = set.and_then(|set| set.score(&args[2]).zip(set.score(&args[3])));
    let metres = scores.map(|(a, b)| cell::distance(cell::middle(a), cell::middle(b)));
    Ok(metres.map_or(Reply::Null, |metres| distance(metres / unit)))
}

/// A distance as replies have it.
pub(super) fn distance(value: f64) -> Reply {
    Reply::bulk(format!("{value:.4}"))
}

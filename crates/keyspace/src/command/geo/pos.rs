//! GEOPOS key [member ...], GEOHASH key [member ...]

use bytes::Bytes;

use super::cell::{self, Place};
use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// GEOPOS
pub(super) static GEOPOS: Spec = Spec {
    name: "geopos",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::GEO,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Where members are",
    run: Run::Read(geopos),
    ..Spec::DEFAULT
};

/// GEOHASH
pub(super) static GEOHASH: Spec = Spec {
    name: "geohash",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::GEO,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Where members are, as geohashes of eleven letters",
    run: Run::Read(geohash),
    ..Spec::DEFAULT
};

fn each(reader: &Reader<'_>, args: &[Bytes], absent: &Reply, reply: impl Fn(f64) -> Reply) -> Result<Reply> {
    let set = reader.get::<ZSet>(&args[1])?;
    let score = |member: &Bytes| set.and_then(|set| set.score(member));
    Ok(Reply::Array(args[2..].iter().map(|member| score(member).map_or(absent.clone(), &reply)).collect()))
}

fn geopos(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    each(reader, args, &Reply::NullArray, |score| place(cell::middle(score), reader.context.resp3))
}

fn geohash(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    each(reader, args, &Reply::Null, |score| Reply::bulk(cell::letters(score)))
}

/// Longitude and latitude as replies have them. Without doubles on the wire they have seventeen places.
pub(super) fn place(place: Place, resp3: bool) -> Reply {
    let number = |value: f64| {
        if resp3 {
            return Reply::Double(value);
        }
        let text = format!("{value:.17}");
        Reply::bulk(text.trim_end_matches('0').trim_end_matches('.'))
    };
    Reply::Array(vec![number(place.longitude), number(place.latitude)])
}

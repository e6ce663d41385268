//! GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius unit | BYBOX width height unit
//! [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]; GEOSEARCHSTORE destination source … [STOREDIST]

use bytes::Bytes;

use super::query::{Form, Found, Query};
use crate::growth::Growth;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result, Writer};

/// GEOSEARCH
pub(super) static GEOSEARCH: Spec = Spec {
    name: "geosearch",
    arity: -7,
    flags: Flags::READONLY,
    category: Category::GEO,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Geo,
    since: "6.2.0",
    summary: "Members within a circle or a box",
    run: Run::Read(geosearch),
    ..Spec::DEFAULT
};

/// GEOSEARCHSTORE
pub(super) static GEOSEARCHSTORE: Spec = Spec {
    name: "geosearchstore",
    arity: -8,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::GEO,
    keys: &[
        KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec::one(2, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::Geo,
    since: "6.2.0",
    summary: "Keeps members within a circle or a box",
    run: Run::Write(geosearchstore),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

fn geosearch(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let (query, found) = Query::run(reader, args, Form::Search, false)?;
    Ok(query.reply(found, reader.context.resp3))
}

fn geosearchstore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (query, found) = Query::run(&writer.reader(), args, Form::SearchStore, false)?;
    store(writer, &args[1], &query, found, "geosearchstore")
}

pub(super) fn store(
    writer: &mut Writer<'_>,
    key: &[u8],
    query: &Query,
    found: Vec<Found>,
    event: &'static str,
) -> Result<Reply> {
    let score = |found: &Found| if query.store_distances { found.distance } else { found.score };
    let pairs: Vec<(Bytes, f64)> = found.into_iter().map(|found| (found.member.clone(), score(&found))).collect();
    crate::command::zset::store(writer, key, &pairs, event)
}

//! HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]

use bytes::Bytes;

use crate::command::walk::{Walk, cursor};
use crate::object::Hash;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// HSCAN
pub(super) static HSCAN: Spec = Spec {
    name: "hscan",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "2.8.0",
    summary: "Walks over the fields of a hash",
    run: Run::Read(hscan),
    ..Spec::DEFAULT
};

fn hscan(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let cursor = cursor(&args[2])?;
    let hash = reader.get::<Hash>(&args[1])?;
    let walk = Walk::of(&args[3..], true)?;
    let (next, found) = hash.map_or((0, Vec::new()), |hash| hash.scan(cursor, walk.count));
    let mut items = Vec::with_capacity(found.len());
    for field in found.into_iter().filter(|field| field.lives(reader.now()) && walk.takes(field.name)) {
        items.push(Reply::bulk(field.name));
        if !walk.no_values {
            items.push(Reply::bulk(field.value));
        }
    }
    Ok(Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(items)]))
}

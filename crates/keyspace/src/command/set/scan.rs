//! SSCAN key cursor [MATCH pattern] [COUNT count]

use bytes::Bytes;

use super::bulk;
use crate::command::walk::{Walk, cursor};
use crate::object::Set;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// SSCAN
pub(super) static SSCAN: Spec = Spec {
    name: "sscan",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "2.8.0",
    summary: "Walks over the members of a set",
    run: Run::Read(sscan),
    ..Spec::DEFAULT
};

fn sscan(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let cursor = cursor(&args[2])?;
    let set = reader.get::<Set>(&args[1])?;
    let walk = Walk::of(&args[3..], false)?;
    let (next, found) = set.map_or((0, Vec::new()), |set| set.scan(cursor, walk.count));
    let found = found.into_iter().filter(|member| walk.takes(member)).map(bulk);
    Ok(Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(found.collect())]))
}

//! ZSCORE key member, ZMSCORE key member [member ...]

use bytes::Bytes;

use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// ZSCORE
pub(super) static ZSCORE: Spec = Spec {
    name: "zscore",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "The score of a member",
    run: Run::Read(zscore),
    ..Spec::DEFAULT
};

/// ZMSCORE
pub(super) static ZMSCORE: Spec = Spec {
    name: "zmscore",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "The scores of members",
    run: Run::Read(zmscore),
    ..Spec::DEFAULT
};

fn reply(set: Option<&ZSet>, member: &[u8]) -> Reply {
    set.and_then(|set| set.score(member)).map_or(Reply::Null, Reply::Double)
}

fn zscore(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(reply(reader.get(&args[1])?, &args[2]))
}

fn zmscore(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let set = reader.get(&args[1])?;
    Ok(Reply::Array(args[2..].iter().map(|member| reply(set, member)).collect()))
}

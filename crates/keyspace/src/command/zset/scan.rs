//! ZSCAN key cursor [MATCH pattern] [COUNT count]

use bytes::Bytes;

use crate::args::{Cursor, format_float};
use crate::glob;
use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// ZSCAN
pub(super) static ZSCAN: Spec = Spec {
    name: "zscan",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.8.0",
    summary: "Walks over members and scores",
    run: Run::Read(zscan),
    ..Spec::DEFAULT
};

fn zscan(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let cursor = std::str::from_utf8(&args[2]).ok().and_then(|text| text.parse::<u64>().ok());
    let cursor = cursor.ok_or(Error::reply("ERR invalid cursor"))?;
    let set = reader.get::<ZSet>(&args[1])?;
    let (mut pattern, mut count) = (None, 10);
    let mut rest = Cursor::new(&args[3..]);
    while !rest.is_empty() {
        if rest.rest().len() > 1 && rest.take("count") {
            count = usize::try_from(rest.integer()?).ok().filter(|count| *count > 0).ok_or(Error::SYNTAX)?;
        } else if rest.rest().len() > 1 && rest.take("match") {
            pattern = rest.next();
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let (next, found) = set.map_or((0, Vec::new()), |set| set.scan(cursor, count));
    let found = found.into_iter().filter(|(member, _)| pattern.is_none_or(|pattern| glob::matches(pattern, member)));
    let found = found.flat_map(|(member, score)| [Reply::bulk(member), Reply::bulk(format_float(score))]);
    Ok(Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(found.collect())]))
}

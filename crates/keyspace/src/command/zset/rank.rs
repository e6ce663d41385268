//! ZRANK key member [WITHSCORE], ZREVRANK key member [WITHSCORE]

use bytes::Bytes;

use crate::args::Cursor;
use crate::error::wrong_arity;
use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// ZRANK
pub(super) static ZRANK: Spec = Spec {
    name: "zrank",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "How many members stand before one",
    run: Run::Read(zrank),
    ..Spec::DEFAULT
};

/// ZREVRANK
pub(super) static ZREVRANK: Spec = Spec {
    name: "zrevrank",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "How many members stand behind one",
    run: Run::Read(zrevrank),
    ..Spec::DEFAULT
};

fn zrank(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    rank(reader, args, "zrank", |_, rank| rank)
}

fn zrevrank(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    rank(reader, args, "zrevrank", |set, rank| set.len() - 1 - rank)
}

fn rank(reader: &Reader<'_>, args: &[Bytes], name: &str, count: fn(&ZSet, usize) -> usize) -> Result<Reply> {
    if args.len() > 4 {
        return Err(wrong_arity(name));
    }
    let mut rest = Cursor::new(&args[3..]);
    let with_score = rest.take("withscore");
    if !rest.is_empty() {
        return Err(Error::SYNTAX);
    }
    let set = reader.get::<ZSet>(&args[1])?;
    let found = set.and_then(|set| set.rank(&args[2]).map(|(rank, score)| (count(set, rank), score)));
    Ok(match found {
        Some((rank, score)) if with_score => Reply::Array(vec![Reply::count(rank), Reply::Double(score)]),
        Some((rank, _)) => Reply::count(rank),
        None if with_score => Reply::NullArray,
        None => Reply::Null,
    })
}

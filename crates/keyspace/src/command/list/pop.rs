//! LPOP, RPOP key [count]; LMPOP numkeys key [key ...] LEFT | RIGHT [COUNT count]

use bytes::Bytes;

use super::Side;
use crate::args::{Cursor, parse_integer};
use crate::error::wrong_arity;
use crate::object::List;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// LPOP
pub(super) static LPOP: Spec = Spec {
    name: "lpop",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::List,
    since: "1.0.0",
    summary: "Takes the first elements of a list",
    run: Run::Write(lpop),
    ..Spec::DEFAULT
};

/// RPOP
pub(super) static RPOP: Spec = Spec {
    name: "rpop",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::List,
    since: "1.0.0",
    summary: "Takes the last elements of a list",
    run: Run::Write(rpop),
    ..Spec::DEFAULT
};

/// LMPOP
pub(super) static LMPOP: Spec = Spec {
    name: "lmpop",
    arity: -4,
    flags: Flags::WRITE.union(Flags::MOVABLEKEYS),
    category: Category::LIST,
    keys: &[KeySpec::count(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::List,
    since: "7.0.0",
    summary: "Takes elements of the first list that has some",
    run: Run::Write(lmpop),
    ..Spec::DEFAULT
};

fn pop(writer: &mut Writer<'_>, args: &[Bytes], side: Side) -> Result<Reply> {
    if args.len() > 3 {
        return Err(wrong_arity(side.popped()));
    }
    let count = match args.get(2) {
        Some(text) => {
            let count = parse_integer(text).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(Error::reply("ERR value is out of range, must be positive"))?)
        }
        None => None,
    };
    if writer.get::<List>(&args[1])?.is_none() {
        return Ok(if count.is_some() { Reply::NullArray } else { Reply::Null });
    }
    if count == Some(0) {
        return Ok(Reply::Array(Vec::new()));
    }
    let mut taken = side.pop(writer, &args[1], count.unwrap_or(1))?;
    Ok(match count {
        Some(_) => Reply::Array(taken.into_iter().map(Reply::Bulk).collect()),
        None => Reply::bulk_or_null(taken.pop()),
    })
}

fn lpop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    pop(writer, args, Side::Left)
}

fn rpop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    pop(writer, args, Side::Right)
}

/// The first of `keys` that is a list.
pub(super) fn first<'a>(writer: &Writer<'_>, keys: &'a [Bytes]) -> Result<Option<&'a Bytes>> {
    for key in keys {
        if writer.get::<List>(key)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// What LMPOP and BLMPOP are told: keys, the end, and how many.
pub(super) fn parse(args: &[Bytes]) -> Result<(&[Bytes], Side, usize)> {
    let positive = |text: &Bytes| parse_integer(text).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let (number, rest) = args.split_first().ok_or(Error::SYNTAX)?;
    let number = positive(number).ok_or(Error::reply("ERR numkeys should be greater than 0"))?;
    let (keys, rest) = rest.split_at_checked(number).ok_or(Error::SYNTAX)?;
    let mut rest = Cursor::new(rest);
    let side = Side::of(rest.must()?)?;
    let mut count = None;
    while !rest.is_empty() {
        if count.is_some() || rest.rest().len() < 2 || !rest.take("count") {
            return Err(Error::SYNTAX);
        }
        count = Some(positive(rest.must()?).ok_or(Error::reply("ERR count should be greater than 0"))?);
    }
    Ok((keys, side, count.unwrap_or(1)))
}

/// Takes elements, and says of which key.
pub(super) fn pop_of(writer: &mut Writer<'_>, key: &Bytes, side: Side, count: usize) -> Result<Reply> {
    let taken = side.pop(writer, key, count)?.into_iter().map(Reply::Bulk).collect();
    Ok(Reply::Array(vec![Reply::Bulk(key.clone()), Reply::Array(taken)]))
}

fn lmpop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (keys, side, count) = parse(&args[1..])?;
    match first(writer, keys)? {
        Some(key) => pop_of(writer, key, side, count),
        None => Ok(Reply::NullArray),
    }
}

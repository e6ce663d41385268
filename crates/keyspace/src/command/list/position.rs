//! LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]

use bytes::Bytes;

use crate::args::{Cursor, integer, parse_integer};
use crate::object::List;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// LPOS
pub(super) static LPOS: Spec = Spec {
    name: "lpos",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::List,
    since: "6.0.6",
    summary: "Where elements stand in a list that are equal to one",
    run: Run::Read(lpos),
    ..Spec::DEFAULT
};

fn lpos(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let (mut rank, mut count, mut len_max) = (1, None, 0);
    let mut rest = Cursor::new(&args[3..]);
    let not_negative = |text: &Bytes, error: &'static str| {
        parse_integer(text).and_then(|n| usize::try_from(n).ok()).ok_or(Error::reply(error))
    };
    while !rest.is_empty() {
        if rest.rest().len() < 2 {
            return Err(Error::SYNTAX);
        }
        if rest.take("rank") {
            rank = integer(rest.must()?)?;
            if rank == i64::MIN {
                let text = format!("ERR value is out of range, value must between -{0} and {0}", i64::MAX);
                return Err(Error::reply(text));
            }
            if rank == 0 {
                return Err(Error::reply(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                     or use negative to start from the end of the list",
                ));
            }
        } else if rest.take("count") {
            count = Some(not_negative(rest.must()?, "ERR COUNT can't be negative")?);
        } else if rest.take("maxlen") {
            len_max = not_negative(rest.must()?, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let Some(list) = reader.get::<List>(&args[1])? else {
        return Ok(if count.is_some() { Reply::Array(Vec::new()) } else { Reply::Null });
    };
    let (len, element) = (list.len(), &*args[2]);
    let compared = if len_max == 0 { len } else { len_max.min(len) };
    let skipped = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let wanted = match count {
        Some(0) => usize::MAX,
        Some(count) => count,
        None => 1,
    };
    let mut found: Vec<Reply> = if rank > 0 {
        let equal = list.range(0..compared).enumerate().filter(|(_, other)| *other == element);
        equal.skip(skipped).take(wanted).map(|(at, _)| Reply::count(at)).collect()
    } else {
        let equal = list.range(len - compared..len).rev().enumerate().filter(|(_, other)| *other == element);
        equal.skip(skipped).take(wanted).map(|(at, _)| Reply::count(len - 1 - at)).collect()
    };
    Ok(match count {
        Some(_) => Reply::Array(found),
        None => found.pop().unwrap_or(Reply::Null),
    })
}

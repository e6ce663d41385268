//! HRANDFIELD key [count [WITHVALUES]]

use bytes::Bytes;

use crate::args::{integer, is};
use crate::object::{Field, Hash};
use crate::random::Random;
use crate::room::fits;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// HRANDFIELD
pub(super) static HRANDFIELD: Spec = Spec {
    name: "hrandfield",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "6.2.0",
    summary: "Fields of a hash that are chosen at random",
    run: Run::Read(hrandfield),
    ..Spec::DEFAULT
};

fn reply<'a>(found: impl Iterator<Item = Field<'a>>, with_values: bool) -> Reply {
    if with_values {
        Reply::Pairs(found.map(|field| (Reply::bulk(field.name), Reply::bulk(field.value))).collect())
    } else {
        Reply::Array(found.map(|field| Reply::bulk(field.name)).collect())
    }
}

fn hrandfield(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut random = Random(reader.context.random);
    let count = match args.get(2) {
        Some(text) => Some(integer(text)?),
        None => None,
    };
    if count == Some(i64::MIN) {
        return Err(Error::reply(format!("ERR value is out of range, value must between -{0} and {0}", i64::MAX)));
    }
    let with_values = args.get(3).is_some_and(|word| is(word, "withvalues"));
    if args.len() > 4 || (args.len() == 4 && !with_values) {
        return Err(Error::SYNTAX);
    }
    if with_values && count.is_some_and(|count| !(-i64::MAX / 2..=i64::MAX / 2).contains(&count)) {
        return Err(Error::reply("ERR value is out of range"));
    }
    let (hash, now) = (reader.get::<Hash>(&args[1])?, reader.now());
    // Places are those of fields that are not over; where none is, place and number are the same.
    let len = hash.map_or(0, |hash| hash.len(now));
    let living: Vec<usize> = match hash {
        Some(hash) if len < hash.len_all() => {
            hash.iter().enumerate().filter(|(_, field)| field.lives(now)).map(|(at, _)| at).collect()
        }
        _ => Vec::new(),
    };
    let field = |at: usize| hash?.at(living.get(at).copied().unwrap_or(at));
    let Some(count) = count else {
        return Ok(field(random.below(len)).map_or(Reply::Null, |field| Reply::bulk(field.name)));
    };
    if hash.is_none() {
        return Ok(Reply::Array(Vec::new()));
    }
    let chosen = random.choose(len, count).ok_or(Error::reply("ERR value is out of range"))?;
    if let Some(hash) = hash.filter(|_| chosen.len() == len && count > 0) {
        return Ok(reply(hash.live(now), with_values));
    }
    if count < 0 {
        let bytes = |field: Field<'_>| field.name.len() + if with_values { field.value.len() } else { 0 };
        fits(chosen.iter().map(|at| field(*at).map_or(0, bytes)))?;
    }
    Ok(reply(chosen.into_iter().filter_map(field), with_values))
}

//! SRANDMEMBER key [count]

use bytes::Bytes;

use super::bulk;
use crate::args::integer;
use crate::object::Set;
use crate::random::Random;
use crate::room::fits;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// SRANDMEMBER
pub(super) static SRANDMEMBER: Spec = Spec {
    name: "srandmember",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "1.0.0",
    summary: "Members of a set that are chosen at random",
    run: Run::Read(srandmember),
    ..Spec::DEFAULT
};

fn srandmember(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut random = Random(reader.context.random);
    let Some(count) = args.get(2) else {
        let set = reader.get::<Set>(&args[1])?;
        return Ok(set.and_then(|set| set.get(random.below(set.len()))).map_or(Reply::Null, bulk));
    };
    if args.len() > 3 {
        return Err(Error::SYNTAX);
    }
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(Error::reply(format!("ERR value is out of range, value must between -{0} and {0}", i64::MAX)));
    }
    let Some(set) = reader.get::<Set>(&args[1])? else { return Ok(Reply::Array(Vec::new())) };
    let chosen = random.choose(set.len(), count).ok_or(Error::reply("ERR value is out of range"))?;
    if chosen.len() == set.len() && count > 0 {
        return Ok(Reply::Array(set.iter().map(bulk).collect()));
    }
    if count < 0 {
        fits(chosen.iter().map(|at| set.get(*at).map_or(0, |member| member.len())))?;
    }
    Ok(Reply::Array(chosen.into_iter().filter_map(|at| set.get(at)).map(bulk).collect()))
}

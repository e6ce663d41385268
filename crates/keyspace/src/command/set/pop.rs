//! SPOP key [count]

use bytes::Bytes;

use crate::args::parse_integer;
use crate::object::Set;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// SPOP
pub(super) static SPOP: Spec = Spec {
    name: "spop",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::Set,
    since: "1.0.0",
    summary: "Takes members out of a set that are chosen at random",
    run: Run::Write(spop),
    ..Spec::DEFAULT
};

fn spop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    if args.len() > 3 {
        return Err(Error::SYNTAX);
    }
    let count = match args.get(2) {
        Some(text) => {
            let count = parse_integer(text).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(Error::reply("ERR value is out of range, must be positive"))?)
        }
        None => None,
    };
    let total = writer.get::<Set>(key)?.map_or(0, Set::len);
    if total == 0 || count == Some(0) {
        return Ok(if count.is_some() { Reply::Set(Vec::new()) } else { Reply::Null });
    }
    let wanted = count.unwrap_or(1).min(total);
    let places: Vec<usize> = (0..wanted).map(|taken| writer.random_below((total - taken) as u64) as usize).collect();
    let Some(set) = writer.get_mut::<Set>(key)? else { return Ok(Reply::Null) };
    let mut taken: Vec<Reply> =
        places.into_iter().filter_map(|at| set.take(at)).map(|member| Reply::Bulk(member.into())).collect();
    writer.notify(EventClass::SET, "spop", key);
    writer.remove_if_empty(key)?;
    Ok(match count {
        Some(_) => Reply::Set(taken),
        None => taken.pop().unwrap_or(Reply::Null),
    })
}

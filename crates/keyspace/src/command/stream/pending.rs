//! XPENDING key group [[IDLE milliseconds] start end count [consumer]]

use bytes::Bytes;

use super::parse::{end, id_reply, no_group, start};
use crate::args::{integer, is};
use crate::object::stream::{Id, Pending, Stream};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// XPENDING
pub(super) static XPENDING: Spec = Spec {
    name: "xpending",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "What a group has read and not acknowledged",
    run: Run::Read(xpending),
    ..Spec::DEFAULT
};

fn xpending(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    if args.len() != 3 && !(6..=9).contains(&args.len()) {
        return Err(Error::SYNTAX);
    }
    let mut range = None;
    if args.len() >= 6 {
        let (mut idle, mut at) = (0, 3);
        if is(&args[3], "idle") {
            idle = integer(&args[4])?;
            if args.len() < 8 {
                return Err(Error::SYNTAX);
            }
            at = 5;
        }
        let count = usize::try_from(integer(&args[at + 2])?).unwrap_or(0);
        range = Some((start(&args[at])?, end(&args[at + 1])?, count, idle, args.get(at + 3)));
    }
    let (key, name) = (&args[1], &args[2]);
    let group = reader.get::<Stream>(key)?.and_then(|stream| stream.group(name));
    let Some(group) = group else { return Err(no_group(key, name, "")) };
    let Some((from, to, count, idle_min, consumer)) = range else {
        let (Some((first, _)), Some((last, _))) = (group.pending().first_key_value(), group.pending().last_key_value())
        else {
            return Ok(Reply::Array(vec![Reply::Integer(0), Reply::Null, Reply::Null, Reply::NullArray]));
        };
        let has = group.consumers().iter().filter(|(_, consumer)| !consumer.pending.is_empty());
        let consumers = has
            .map(|(name, consumer)| {
                Reply::Array(vec![Reply::bulk(name), Reply::bulk(consumer.pending.len().to_string())])
            })
            .collect();
        let total = Reply::count(group.pending().len());
        return Ok(Reply::Array(vec![total, id_reply(*first), id_reply(*last), Reply::Array(consumers)]));
    };
    if from > to {
        return Ok(Reply::Array(Vec::new()));
    }
    let now = reader.now();
    let fits = |pending: &Pending| idle_min == 0 || now.saturating_sub(pending.time) >= idle_min;
    let line = |id: Id, pending: &Pending| {
        let idle = if pending.consumer.is_some() { now.saturating_sub(pending.time).max(0) } else { -1 };
        let consumer = Reply::bulk(pending.consumer.as_deref().unwrap_or_default());
        Reply::Array(vec![id_reply(id), consumer, Reply::Integer(idle), Reply::Integer(pending.count)])
    };
    let lines = match consumer {
        Some(name) => {
            let Some(consumer) = group.consumers().get(&**name) else { return Ok(Reply::Array(Vec::new())) };
            let own = consumer.pending.range(from..=to).filter_map(|id| Some((id, group.pending().get(id)?)));
            own.filter(|(_, pending)| fits(pending)).take(count).map(|(id, pending)| line(*id, pending)).collect()
        }
        None => {
            let all = group.pending().range(from..=to).filter(|(_, pending)| fits(pending));
            all.take(count).map(|(id, pending)| line(*id, pending)).collect()
        }
    };
    Ok(Reply::Array(lines))
}

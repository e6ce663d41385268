//! XSETID key last-id [ENTRIESADDED count] [MAXDELETEDID id]

use bytes::Bytes;

use super::parse;
use crate::args::Cursor;
use crate::effects::EventClass;
use crate::object::stream::{Id, Stream};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// XSETID
pub(super) static XSETID: Spec = Spec {
    name: "xsetid",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Sets the last id of a stream",
    run: Run::Write(xsetid),
    ..Spec::DEFAULT
};

fn xsetid(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let id = parse::id(&args[2])?;
    let (mut added, mut max_deleted) = (None, Id::MIN);
    let mut options = Cursor::new(&args[3..]);
    while !options.is_empty() {
        if options.rest().len() > 1 && options.take("entriesadded") {
            let count = u64::try_from(options.integer()?);
            added = Some(count.map_err(|_| Error::reply("ERR entries_added must be positive"))?);
        } else if options.rest().len() > 1 && options.take("maxdeletedid") {
            max_deleted = parse::id(options.must()?)?;
            if id < max_deleted {
                let text = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
                return Err(Error::reply(text));
            }
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let key = &args[1];
    let stream = writer.get::<Stream>(key)?.ok_or(Error::NO_SUCH_KEY)?;
    if let Some(last) = stream.last_entry() {
        if id < last {
            return Err(Error::reply("ERR The ID specified in XSETID is smaller than the target stream top item"));
        }
        if added.is_some_and(|added| stream.count() > added) {
            let text = "ERR The entries_added specified in XSETID is smaller than the target stream length";
            return Err(Error::reply(text));
        }
    }
    if let Some(stream) = writer.get_mut::<Stream>(key)? {
        stream.last = id;
        stream.added = added.unwrap_or(stream.added);
        if max_deleted != Id::MIN {
            stream.max_deleted = max_deleted;
        }
    }
    writer.notify(EventClass::STREAM, "xsetid", key);
    Ok(Reply::OK)
}

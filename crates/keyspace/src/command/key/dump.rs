//! DUMP, RESTORE: a key's value as bytes that Redis takes as well.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::args::{Cursor, integer};
use crate::rdb::{self, Refused};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reader, Reply, Result, Writer};

/// DUMP
pub(super) static DUMP: Spec = Spec {
    name: "dump",
    arity: 2,
    flags: Flags::READONLY,
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "2.6.0",
    summary: "A value as bytes",
    run: Run::Read(dump),
    ..Spec::DEFAULT
};
/// RESTORE
pub(super) static RESTORE: Spec = Spec {
    name: "restore",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::KEYSPACE.union(Category::DANGEROUS),
    keys: &[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE))],
    group: Group::Generic,
    since: "2.6.0",
    summary: "Makes a key of a value's bytes",
    run: Run::Write(restore),
    ..Spec::DEFAULT
};
/// RESTORE-ASKING
pub(super) static RESTORE_ASKING: Spec = Spec {
    name: "restore-asking",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::ASKING),
    category: Category::KEYSPACE.union(Category::DANGEROUS),
    keys: &[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE))],
    group: Group::Server,
    since: "3.0.0",
    summary: "Makes a key of a value's bytes, while a cluster moves it",
    run: Run::Write(restore),
    ..Spec::DEFAULT
};

fn dump(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let Some(value) = reader.value(&args[1])? else { return Ok(Reply::Null) };
    let payload = rdb::dump(value, reader.now());
    payload.map(|payload| Reply::Bulk(payload.into())).ok_or(Error::reply("ERR a value of this type has no payload"))
}

#[derive(Debug, Default)]
struct Options {
    replace: bool,
    is_absolute: bool,
    idle: Option<i64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(args: &[Bytes]) -> Result<Self> {
        let mut options = Options::default();
        let mut rest = Cursor::new(args);
        while !rest.is_empty() {
            let left = rest.rest().len() - 1;
            if rest.take("replace") {
                options.replace = true;
            } else if rest.take("absttl") {
                options.is_absolute = true;
            } else if left >= 1 && options.frequency.is_none() && rest.take("idletime") {
                let wrong = Error::reply("ERR Invalid IDLETIME value, must be >= 0");
                options.idle = Some(Some(rest.integer()?).filter(|idle| *idle >= 0).ok_or(wrong)?);
            } else if left >= 1 && options.idle.is_none() && rest.take("freq") {
                let wrong = |_| Error::reply("ERR Invalid FREQ value, must be >= 0 and <= 255");
                options.frequency = Some(u8::try_from(rest.integer()?).map_err(wrong)?);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }
}

fn restore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let options = Options::parse(&args[4..])?;
    let exists = writer.exists(key)?;
    if exists && !options.replace {
        return Err(Error::reply("BUSYKEY Target key name already exists."));
    }
    let ttl = integer(&args[2])?;
    if ttl < 0 {
        return Err(Error::reply("ERR Invalid TTL value, must be >= 0"));
    }
    let value = rdb::restore(&args[3], writer.state(), writer.now()).map_err(|refused| {
        Error::reply(match refused {
            Refused::Footer => "ERR DUMP payload version or checksum are wrong",
            Refused::Body => "ERR Bad data format",
        })
    })?;
    let end = if options.is_absolute { ttl } else { ttl.saturating_add(writer.now()) };
    let end = (ttl > 0).then_some(end);
    if end.is_some_and(|end| end <= writer.now()) {
        if writer.remove(key)? {
            writer.notify(EventClass::GENERIC, "del", key);
        }
        return Ok(Reply::OK);
    }
    writer.put(key, value, end)?;
    writer.notify(EventClass::GENERIC, "restore", key);
    let uptime = writer.context.uptime;
    if let Some(entry) = writer.entry(key)? {
        if let Some(idle) = options.idle {
            entry.used.store(uptime.saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX)), Ordering::Relaxed);
        }
        if let Some(frequency) = options.frequency {
            entry.frequency.store(frequency, Ordering::Relaxed);
        }
    }
    Ok(Reply::OK)
}

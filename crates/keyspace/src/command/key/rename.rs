//! RENAME, RENAMENX

use bytes::Bytes;

use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// RENAME
pub(super) static RENAME: Spec = Spec {
    name: "rename",
    arity: 3,
    flags: Flags::WRITE,
    category: Category::KEYSPACE,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
        KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
    ],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Gives a key another name, whatever had that name",
    run: Run::Write(rename),
    ..Spec::DEFAULT
};
/// RENAMENX
pub(super) static RENAMENX: Spec = Spec {
    name: "renamenx",
    arity: 3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
        KeySpec::one(2, KeyFlags::OW.union(KeyFlags::INSERT)),
    ],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Gives a key another name that no key has",
    run: Run::Write(renamenx),
    ..Spec::DEFAULT
};

fn rename(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    if !writer.exists(&args[1])? {
        return Err(Error::NO_SUCH_KEY);
    }
    move_to(writer, &args[1], &args[2])?;
    Ok(Reply::OK)
}

fn renamenx(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    if !writer.exists(&args[1])? {
        return Err(Error::NO_SUCH_KEY);
    }
    let free = !writer.exists(&args[2])?;
    if free {
        move_to(writer, &args[1], &args[2])?;
    }
    Ok(Reply::flag(free))
}

fn move_to(writer: &mut Writer<'_>, from: &Bytes, to: &Bytes) -> Result<()> {
    writer.exists(to)?;
    if from != to {
        let related = crate::command::series::related(writer, from)?;
        writer.rename(from, to)?;
        crate::command::series::renamed(writer, from, to, &related)?;
        writer.notify(EventClass::GENERIC, "rename_from", from);
        writer.notify(EventClass::GENERIC, "rename_to", to);
    }
    Ok(())
}

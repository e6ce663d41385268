//! GEORADIUS key longitude latitude radius unit …, GEORADIUSBYMEMBER key member radius unit …, and their read-only forms

use bytes::Bytes;

use super::query::{Form, Query};
use super::search::store;
use crate::spec::{Begin, Category, Find, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result, Writer};

/// GEORADIUS
pub(super) static GEORADIUS: Spec = Spec {
    name: "georadius",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
    category: Category::GEO,
    keys: &[
        KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS)),
        KeySpec {
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: Begin::Keyword("STORE", 6),
            find: Find::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: Begin::Keyword("STOREDIST", 6),
            find: Find::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Members within a circle round a place",
    run: Run::Write(georadius),
    ..Spec::DEFAULT
};

/// GEORADIUS_RO
pub(super) static GEORADIUS_RO: Spec = Spec {
    name: "georadius_ro",
    arity: -6,
    flags: Flags::READONLY,
    category: Category::GEO,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Geo,
    since: "3.2.10",
    summary: "Members within a circle round a place, without storing",
    run: Run::Read(georadius_ro),
    ..Spec::DEFAULT
};

/// GEORADIUSBYMEMBER
pub(super) static GEORADIUSBYMEMBER: Spec = Spec {
    name: "georadiusbymember",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
    category: Category::GEO,
    keys: &[
        KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS)),
        KeySpec {
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: Begin::Keyword("STORE", 5),
            find: Find::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: Begin::Keyword("STOREDIST", 5),
            find: Find::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Members within a circle round a member",
    run: Run::Write(georadiusbymember),
    ..Spec::DEFAULT
};

/// GEORADIUSBYMEMBER_RO
pub(super) static GEORADIUSBYMEMBER_RO: Spec = Spec {
    name: "georadiusbymember_ro",
    arity: -5,
    flags: Flags::READONLY,
    category: Category::GEO,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Geo,
    since: "3.2.10",
    summary: "Members within a circle round a member, without storing",
    run: Run::Read(georadiusbymember_ro),
    ..Spec::DEFAULT
};

fn georadius(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    write(writer, args, Form::Place)
}

fn georadiusbymember(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    write(writer, args, Form::Member)
}

fn write(writer: &mut Writer<'_>, args: &[Bytes], form: Form) -> Result<Reply> {
    let (query, found) = Query::run(&writer.reader(), args, form, true)?;
    match &query.store {
        Some(key) => store(writer, key, &query, found, "georadiusstore"),
        None => Ok(query.reply(found, writer.context.resp3)),
    }
}

fn georadius_ro(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let (query, found) = Query::run(reader, args, Form::Place, false)?;
    Ok(query.reply(found, reader.context.resp3))
}

fn georadiusbymember_ro(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let (query, found) = Query::run(reader, args, Form::Member, false)?;
    Ok(query.reply(found, reader.context.resp3))
}

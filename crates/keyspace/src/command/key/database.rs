//! DBSIZE, FLUSHDB, FLUSHALL, SWAPDB

use bytes::Bytes;

use super::db_number;
use crate::args::is;
use crate::spec::{Category, Flags, Group, Run, Spec};
use crate::{Db, Error, Reader, Reply, Result, Writer};

/// DBSIZE
pub(super) static DBSIZE: Spec = Spec {
    name: "dbsize",
    arity: 1,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::KEYSPACE,
    group: Group::Server,
    since: "1.0.0",
    summary: "How many keys the database has",
    run: Run::Read(dbsize),
    ..Spec::DEFAULT
};
/// FLUSHDB
pub(super) static FLUSHDB: Spec = Spec {
    name: "flushdb",
    arity: -1,
    flags: Flags::WRITE,
    category: Category::KEYSPACE.union(Category::DANGEROUS),
    group: Group::Server,
    since: "1.0.0",
    summary: "Removes all keys of the database",
    run: Run::Write(flushdb),
    ..Spec::DEFAULT
};
/// FLUSHALL
pub(super) static FLUSHALL: Spec = Spec {
    name: "flushall",
    arity: -1,
    flags: Flags::WRITE,
    category: Category::KEYSPACE.union(Category::DANGEROUS),
    group: Group::Server,
    since: "1.0.0",
    summary: "Removes all keys of all databases",
    run: Run::Write(flushall),
    ..Spec::DEFAULT
};
/// SWAPDB
pub(super) static SWAPDB: Spec = Spec {
    name: "swapdb",
    arity: 3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE.union(Category::DANGEROUS),
    group: Group::Server,
    since: "4.0.0",
    summary: "Lets two databases change their numbers",
    run: Run::Write(swapdb),
    ..Spec::DEFAULT
};

fn dbsize(reader: &Reader<'_>, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::Integer(reader.db().map_or(0, Db::len) as i64))
}

/// A flush takes no time in either way.
fn check_mode(args: &[Bytes]) -> Result<()> {
    match &args[1..] {
        [] => Ok(()),
        [mode] if is(mode, "async") || is(mode, "sync") => Ok(()),
        _ => Err(Error::SYNTAX),
    }
}

fn flushdb(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    check_mode(args)?;
    writer.flush_db(writer.context.db.number);
    Ok(Reply::OK)
}

fn flushall(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    check_mode(args)?;
    for number in writer.db_numbers() {
        writer.flush_db(number);
    }
    Ok(Reply::OK)
}

fn swapdb(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let one = db_number(writer.state(), &args[1], Some("ERR invalid first DB index"))?;
    let other = db_number(writer.state(), &args[2], Some("ERR invalid second DB index"))?;
    writer.swap_db(one, other);
    Ok(Reply::OK)
}

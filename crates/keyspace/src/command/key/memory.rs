//! MEMORY: USAGE is about a key; the door knows the others.

use bytes::Bytes;

use super::help;
use crate::args::Cursor;
use crate::spec::{Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Entry, Error, Reader, Reply, Result};

/// MEMORY
pub(super) static MEMORY: Spec = Spec {
    name: "memory",
    arity: -2,
    group: Group::Server,
    since: "4.0.0",
    summary: "What is known of memory",
    subcommands: &[&DOCTOR, &HELP, &MALLOC_STATS, &PURGE, &STATS, &USAGE],
    run: Run::Container,
    ..Spec::DEFAULT
};
/// MEMORY DOCTOR
static DOCTOR: Spec = Spec {
    name: "memory|doctor",
    arity: 2,
    group: Group::Server,
    since: "4.0.0",
    summary: "Whether memory is well",
    run: Run::Door,
    ..Spec::DEFAULT
};
/// MEMORY HELP
static HELP: Spec = Spec {
    name: "memory|help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    group: Group::Server,
    since: "4.0.0",
    summary: "Names the subcommands",
    run: Run::Read(memory_help),
    ..Spec::DEFAULT
};
/// MEMORY MALLOC-STATS
static MALLOC_STATS: Spec = Spec {
    name: "memory|malloc-stats",
    arity: 2,
    group: Group::Server,
    since: "4.0.0",
    summary: "What the allocator tells",
    run: Run::Door,
    ..Spec::DEFAULT
};
/// MEMORY PURGE
static PURGE: Spec = Spec {
    name: "memory|purge",
    arity: 2,
    group: Group::Server,
    since: "4.0.0",
    summary: "Gives memory back to the system",
    run: Run::Door,
    ..Spec::DEFAULT
};
/// MEMORY STATS
static STATS: Spec = Spec {
    name: "memory|stats",
    arity: 2,
    group: Group::Server,
    since: "4.0.0",
    summary: "Where memory is",
    run: Run::Door,
    ..Spec::DEFAULT
};
/// MEMORY USAGE
static USAGE: Spec = Spec {
    name: "memory|usage",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    group: Group::Server,
    since: "4.0.0",
    summary: "How many bytes a key takes",
    run: Run::Read(usage),
    ..Spec::DEFAULT
};

fn usage(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut rest = Cursor::new(&args[3..]);
    while !rest.is_empty() {
        if rest.rest().len() < 2 || !rest.take("samples") {
            return Err(Error::SYNTAX);
        }
        // Nothing needs to be sampled: objects know their size.
        if rest.integer()? < 0 {
            return Err(Error::SYNTAX);
        }
    }
    let bytes = reader.entry(&args[2])?.map(Entry::memory);
    Ok(bytes.map_or(Reply::Null, Reply::count))
}

fn memory_help(_reader: &Reader<'_>, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(&[
        "MEMORY <subcommand> [<arg> ...]. Subcommands:",
        "DOCTOR",
        "    Whether memory is well.",
        "HELP",
        "    This text.",
        "MALLOC-STATS",
        "    What the allocator tells.",
        "PURGE",
        "    Gives memory back to the system.",
        "STATS",
        "    Where memory is.",
        "USAGE <key> [SAMPLES <count>]",
        "    How many bytes the key takes.",
    ]))
}

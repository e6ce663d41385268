//! MEMORY USAGE key [SAMPLES count]; the door knows what else MEMORY can do.

use bytes::Bytes;

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
    subcommands: &[&USAGE],
    run: Run::Container,
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

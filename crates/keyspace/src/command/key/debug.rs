//! DEBUG: OBJECT is about a key; the door knows the others.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::spec::{Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// DEBUG
pub(super) static DEBUG: Spec = Spec {
    name: "debug",
    arity: -2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    group: Group::Server,
    since: "1.0.0",
    summary: "For those who look for faults",
    subcommands: &[&OBJECT],
    run: Run::Door,
    ..Spec::DEFAULT
};

/// DEBUG OBJECT
static OBJECT: Spec = Spec {
    name: "debug|object",
    arity: -3,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    group: Group::Server,
    since: "1.0.0",
    summary: "How a value is kept",
    run: Run::Read(object),
    ..Spec::DEFAULT
};

fn object(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let found = reader.entry(&args[2])?.and_then(|entry| Some((entry, entry.value.as_ref()?)));
    let (entry, value) = found.ok_or(Error::NO_SUCH_KEY)?;
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    let used = entry.used.load(Ordering::Relaxed);
    Ok(Reply::Status(
        format!(
            "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:{used} lru_seconds_idle:{}",
            value.encoding(),
            bytes.len(),
            reader.context.uptime.saturating_sub(used)
        )
        .into(),
    ))
}

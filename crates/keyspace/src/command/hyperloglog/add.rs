//! PFADD key [element …]

use bytes::Bytes;

use super::sketch;
use crate::object::{Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// PFADD
pub(super) static PFADD: Spec = Spec {
    name: "pfadd",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HYPERLOGLOG,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::HyperLogLog,
    since: "2.8.9",
    summary: "Counts elements in a sketch",
    run: Run::Write(pfadd),
    ..Spec::DEFAULT
};

fn pfadd(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let held = writer.get::<Str>(key)?.map(sketch::bytes_of).transpose()?;
    let wanted: Vec<_> = args[2..].iter().map(|element| sketch::register_of(element)).collect();
    let (exists, bytes) = (held.is_some(), held.unwrap_or_else(sketch::empty));
    let raised = sketch::raised(&bytes, &wanted)?;
    if exists && raised.is_empty() {
        return Ok(Reply::Integer(0));
    }
    if raised.is_empty() {
        writer.put(key, Value::String(Str::changed(bytes)), None)?;
    } else if sketch::is_sparse(&bytes) {
        let mut registers = sketch::registers(&bytes)?;
        for (register, value) in raised {
            registers[register] = registers[register].max(value);
        }
        let bytes = sketch::encode(&registers, true, sketch::sparse_bytes_max(writer.state()));
        writer.replace(key, Value::String(Str::changed(bytes)))?;
    } else {
        // In place only when no one else holds the bytes.
        drop(bytes);
        if let Some(string) = writer.get_mut::<Str>(key)? {
            string.edit(|bytes| sketch::raise_dense(bytes, &raised));
        }
    }
    writer.notify(EventClass::STRING, "pfadd", key);
    Ok(Reply::Integer(1))
}

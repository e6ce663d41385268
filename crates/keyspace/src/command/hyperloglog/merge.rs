//! PFMERGE destkey [sourcekey …]

use bytes::Bytes;

use super::count::raise;
use super::sketch::{self, REGISTERS};
use crate::object::{Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// PFMERGE
pub(super) static PFMERGE: Spec = Spec {
    name: "pfmerge",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::HYPERLOGLOG,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::INSERT)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::HyperLogLog,
    since: "2.8.9",
    summary: "Puts what sketches have seen into one",
    run: Run::Write(pfmerge),
    ..Spec::DEFAULT
};

fn pfmerge(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (mut all, mut dense) = (vec![0; REGISTERS], false);
    for key in &args[1..] {
        if let Some(bytes) = writer.get::<Str>(key)?.map(sketch::bytes_of).transpose()? {
            dense |= !sketch::is_sparse(&bytes);
            raise(&mut all, &sketch::registers(&bytes)?);
        }
    }
    let bytes = sketch::encode(&all, !dense, sketch::sparse_bytes_max(writer.state()));
    writer.replace(&args[1], Value::String(Str::changed(bytes)))?;
    writer.notify(EventClass::STRING, "pfadd", &args[1]);
    Ok(Reply::OK)
}

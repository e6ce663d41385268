//! PFDEBUG, PFSELFTEST

use bytes::Bytes;

use super::sketch::{self, REGISTERS};
use crate::args::is;
use crate::object::{Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result, Writer};

/// PFDEBUG
pub(super) static PFDEBUG: Spec = Spec {
    name: "pfdebug",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::ADMIN),
    category: Category::HYPERLOGLOG,
    keys: &[KeySpec::one(2, KeyFlags::RW.union(KeyFlags::ACCESS))],
    group: Group::HyperLogLog,
    since: "2.8.9",
    summary: "For those who look for faults in sketches",
    run: Run::Write(pfdebug),
    ..Spec::DEFAULT
};
/// PFSELFTEST
pub(super) static PFSELFTEST: Spec = Spec {
    name: "pfselftest",
    arity: 1,
    flags: Flags::ADMIN,
    category: Category::HYPERLOGLOG,
    group: Group::HyperLogLog,
    since: "2.8.9",
    summary: "Whether sketches work",
    run: Run::Read(pfselftest),
    ..Spec::DEFAULT
};

fn pfdebug(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (what, key) = (&args[1], &args[2]);
    let held = writer.get::<Str>(key)?.map(sketch::bytes_of).transpose()?;
    let bytes = held.ok_or(Error::reply("ERR The specified key does not exist"))?;
    let sparse = sketch::is_sparse(&bytes);
    if is(what, "getreg") {
        let registers = sketch::registers(&bytes)?;
        make_dense(writer, key, &bytes)?;
        Ok(Reply::Array(registers.into_iter().map(|value| Reply::Integer(i64::from(value))).collect()))
    } else if is(what, "decode") {
        if !sparse {
            return Err(Error::reply("ERR HLL encoding is not sparse"));
        }
        let words = sketch::spans(&bytes)?.into_iter().map(|span| match span.value {
            0 if span.count <= 64 => format!("z:{}", span.count),
            0 => format!("Z:{}", span.count),
            value => format!("v:{value},{}", span.count),
        });
        Ok(Reply::bulk(words.collect::<Vec<_>>().join(" ")))
    } else if is(what, "encoding") {
        Ok(Reply::status(if sparse { "sparse" } else { "dense" }))
    } else if is(what, "todense") {
        make_dense(writer, key, &bytes)?;
        Ok(Reply::flag(sparse))
    } else {
        let what = String::from_utf8_lossy(what);
        Err(Error::reply(format!("ERR Unknown PFDEBUG subcommand '{what}'")))
    }
}

fn make_dense(writer: &mut Writer<'_>, key: &[u8], bytes: &[u8]) -> Result<()> {
    if sketch::is_sparse(bytes) {
        let dense = sketch::to_dense(bytes)?;
        writer.replace(key, Value::String(Str::changed(dense)))?;
    }
    Ok(())
}

/// Each register keeps its value in both forms.
fn pfselftest(_reader: &Reader<'_>, _args: &[Bytes]) -> Result<Reply> {
    let registers: Vec<u8> = (0..REGISTERS).map(|register| (register / 100 % 33) as u8).collect();
    for may_be_sparse in [true, false] {
        let bytes = sketch::encode(&registers, may_be_sparse, 3 * REGISTERS);
        if sketch::is_sparse(&bytes) != may_be_sparse || sketch::registers(&bytes)? != registers {
            return Err(Error::reply("TESTFAILED registers do not keep their values"));
        }
    }
    Ok(Reply::OK)
}

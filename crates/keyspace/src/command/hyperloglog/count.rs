//! PFCOUNT key [key …]

use bytes::Bytes;

use super::estimate::estimate;
use super::sketch::{self, REGISTERS};
use crate::object::Str;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// PFCOUNT
pub(super) static PFCOUNT: Spec = Spec {
    name: "pfcount",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::HYPERLOGLOG,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RW.union(KeyFlags::ACCESS))],
    group: Group::HyperLogLog,
    since: "2.8.9",
    summary: "How many different elements sketches have seen, about",
    run: Run::Read(pfcount),
    ..Spec::DEFAULT
};

fn pfcount(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let sketch_of = |key: &Bytes| reader.get::<Str>(key)?.map(sketch::bytes_of).transpose();
    if let [_, key] = args {
        let Some(bytes) = sketch_of(key)? else { return Ok(Reply::Integer(0)) };
        let count = match sketch::cached(&bytes) {
            Some(count) => count,
            None => estimate(&sketch::registers(&bytes)?),
        };
        return Ok(Reply::Integer(count as i64));
    }
    let mut all = vec![0; REGISTERS];
    for key in &args[1..] {
        if let Some(bytes) = sketch_of(key)? {
            raise(&mut all, &sketch::registers(&bytes)?);
        }
    }
    Ok(Reply::Integer(estimate(&all) as i64))
}

/// The larger one of each register.
pub(super) fn raise(all: &mut [u8], registers: &[u8]) {
    all.iter_mut().zip(registers).for_each(|(most, value)| *most = (*most).max(*value));
}

//! EVAL script count [key ...] [arg ...]; EVALSHA digest count [key ...] [arg ...]; EVAL_RO and EVALSHA_RO, which write nothing

use bytes::Bytes;

use super::{WRITES, keys_and_args};
use crate::script::{self, ScriptFlags, Start};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, StorageFault, Writer};

const FLAGS: Flags = Flags::NOSCRIPT
    .union(Flags::STALE)
    .union(Flags::SKIP_MONITOR)
    .union(Flags::NO_MANDATORY_KEYS)
    .union(Flags::MOVABLEKEYS);

/// EVAL
pub(super) static EVAL: Spec = Spec {
    name: "eval",
    arity: -3,
    flags: FLAGS,
    category: Category::SCRIPTING,
    keys: &[KeySpec::count(2, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::Scripting,
    since: "2.6.0",
    summary: "Runs a script",
    run: Run::Write(|writer, args| eval(writer, args, false)),
    ..Spec::DEFAULT
};

/// EVALSHA
pub(super) static EVALSHA: Spec = Spec {
    name: "evalsha",
    arity: -3,
    flags: FLAGS,
    category: Category::SCRIPTING,
    keys: &[KeySpec::count(2, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::Scripting,
    since: "2.6.0",
    summary: "Runs a script that is known by its digest",
    run: Run::Write(|writer, args| evalsha(writer, args, false)),
    ..Spec::DEFAULT
};

/// EVAL_RO
pub(super) static EVAL_RO: Spec = Spec {
    name: "eval_ro",
    arity: -3,
    flags: FLAGS.union(Flags::READONLY),
    category: Category::SCRIPTING,
    keys: &[KeySpec::count(2, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Runs a script that writes nothing",
    run: Run::Write(|writer, args| eval(writer, args, true)),
    ..Spec::DEFAULT
};

/// EVALSHA_RO
pub(super) static EVALSHA_RO: Spec = Spec {
    name: "evalsha_ro",
    arity: -3,
    flags: FLAGS.union(Flags::READONLY),
    category: Category::SCRIPTING,
    keys: &[KeySpec::count(2, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Runs a script that is known by its digest and writes nothing",
    run: Run::Write(|writer, args| evalsha(writer, args, true)),
    ..Spec::DEFAULT
};

const NO_SCRIPT: Error = Error::Reply(std::borrow::Cow::Borrowed("NOSCRIPT No matching script. Please use EVAL."));

fn eval(writer: &mut Writer<'_>, args: &[Bytes], is_read_only: bool) -> Result<Reply> {
    let (keys, rest) = keys_and_args(args, "ERR value is not an integer or out of range")?;
    let digest = writer.remember_script(&args[1], true).map_err(|text| Error::reply(format!("ERR {text}")))?;
    run(writer, &digest, keys, rest, is_read_only)
}

fn evalsha(writer: &mut Writer<'_>, args: &[Bytes], is_read_only: bool) -> Result<Reply> {
    let mut digest: [u8; 40] = args[1].as_ref().try_into().map_err(|_| NO_SCRIPT)?;
    digest.make_ascii_lowercase();
    let (keys, rest) = keys_and_args(args, "ERR value is not an integer or out of range")?;
    run(writer, &digest, keys, rest, is_read_only)
}

fn run(
    writer: &mut Writer<'_>,
    digest: &[u8; 40],
    keys: &[Bytes],
    args: &[Bytes],
    is_read_only: bool,
) -> Result<Reply> {
    let script = writer.use_script(digest).ok_or(NO_SCRIPT)?;
    let no_writes = script.flags.contains(ScriptFlags::NO_WRITES);
    if is_read_only && !no_writes && !script.flags.contains(ScriptFlags::COMPATIBLE) {
        return Err(WRITES);
    }
    script::admit(writer, script.flags)?;
    let allows_oom = script.flags.contains(ScriptFlags::ALLOW_OOM);
    let code = script.bytecode().map_err(|text| Error::reply(format!("ERR {text}")))?;
    let name = String::from_utf8_lossy(digest);
    let load = writer.load.ok_or(StorageFault::Entry("a script runs where nothing can be loaded"))?;
    let is_read_only = is_read_only || no_writes;
    script::run(writer, load, &Start { code: &code, name: &name, function: None, keys, args, is_read_only, allows_oom })
}

//! FCALL function count [key ...] [arg ...]; FCALL_RO, which writes nothing

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

/// FCALL
pub(super) static FCALL: Spec = Spec {
    name: "fcall",
    arity: -3,
    flags: FLAGS,
    category: Category::SCRIPTING,
    keys: &[KeySpec::count(2, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Calls a function",
    run: Run::Write(|writer, args| fcall(writer, args, false)),
    ..Spec::DEFAULT
};

/// FCALL_RO
pub(super) static FCALL_RO: Spec = Spec {
    name: "fcall_ro",
    arity: -3,
    flags: FLAGS.union(Flags::READONLY),
    category: Category::SCRIPTING,
    keys: &[KeySpec::count(2, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Calls a function that writes nothing",
    run: Run::Write(|writer, args| fcall(writer, args, true)),
    ..Spec::DEFAULT
};

fn fcall(writer: &mut Writer<'_>, args: &[Bytes], is_read_only: bool) -> Result<Reply> {
    let name = &args[1];
    let tenant = writer.state().scripts.tenant(writer.context.db.tenant);
    let found = tenant.and_then(|tenant| tenant.function(name));
    let (_, library, function) = found.ok_or(Error::reply("ERR Function not found"))?;
    let (library, flags) = (library.clone(), function.flags);
    let (keys, rest) = keys_and_args(args, "ERR Bad number of keys provided")?;
    let no_writes = flags.contains(ScriptFlags::NO_WRITES);
    if is_read_only && !no_writes {
        return Err(WRITES);
    }
    script::admit(writer, flags)?;
    let code = library.bytecode().map_err(|text| Error::reply(format!("ERR {text}")))?;
    let load = writer.load.ok_or(StorageFault::Entry("a function runs where nothing can be loaded"))?;
    let shown = String::from_utf8_lossy(name);
    let allows_oom = flags.contains(ScriptFlags::ALLOW_OOM);
    let is_read_only = is_read_only || no_writes;
    let function = Some(name.as_ref());
    let start = Start { code: &code, name: &shown, function, keys, args: rest, is_read_only, allows_oom };
    script::run(writer, load, &start)
}

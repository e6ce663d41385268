//! Scripts and functions: Lua 5.1 over the keyspace.
//!
//! ```text
//! EVAL --- compile once ---> ScriptStore (part of the state) --- bytecode ---> a Lua that is as new
//!                                                                                   | redis.call
//!                                                                                   v
//!                                                                          run_command over the Writer
//! ```
//!
//! A script runs at apply, on every node, and again at replay, so nothing in it may depend on the node: it finds a Lua as
//! if it were new (no state of earlier scripts), no clock but the entry's, no random numbers but those of the
//! entry's seed, no addresses (`tostring` of a table has none, and a table whose keys are objects cannot be walked over),
//! and it ends by counting instructions and bytes, not by time. What the user may do who runs it stands in the entry.

#[cfg(test)]
mod access_tests;
mod bits;
mod call;
mod cjson;
mod cmsgpack;
mod convert;
mod number;
mod pack;
mod pattern;
mod pool;
mod random;
mod sha1;
mod shebang;
mod store;
#[cfg(test)]
mod tests;
mod vm;

#[cfg(test)]
pub(crate) use self::pool::clean_spent;
pub(crate) use self::pool::{Luas, clean_later};
pub(crate) use self::sha1::sha1_hex;
pub(crate) use self::shebang::ScriptFlags;
pub use self::store::ScriptStore;
pub(crate) use self::store::{Function, Library, Script, Tenant};
pub(crate) use self::vm::{Start, run};

use crate::{Error, Refuse, Result, Writer};

/// What is said where writes need more replicas than there are.
pub(crate) const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";

/// Whether a script or function that says what it does may run now.
pub(crate) fn admit(writer: &Writer<'_>, flags: ScriptFlags) -> Result<()> {
    let refuse = writer.context.refuse;
    if flags.intersects(ScriptFlags::COMPATIBLE | ScriptFlags::NO_WRITES) {
        return Ok(());
    }
    if refuse.contains(Refuse::REPLICAS) {
        return Err(Error::reply(NO_REPLICAS));
    }
    if refuse.contains(Refuse::MEMORY) && !flags.contains(ScriptFlags::ALLOW_OOM) {
        let text = "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'";
        return Err(Error::reply(text));
    }
    Ok(())
}

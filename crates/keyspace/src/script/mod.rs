//! Scripts and functions: Lua 5.1 over the keyspace.
//!
//! ```text
//! EVAL --- compile once ---> ScriptStore (part of the state) --- bytecode ---> a Lua of its own for each run
//!                                                                                   | redis.call
//!                                                                                   v
//!                                                                          run_command over the Writer
//! ```
//!
//! A script runs at apply, on every node, and again at replay, so nothing in it may depend on the node: it has a new Lua
//! each time (no garbage, no state of earlier scripts), no clock but the entry's, no random numbers but those of a fixed
//! seed, no addresses (`tostring` of a table has none, and a table whose keys are objects cannot be walked over), and it
//! ends by counting instructions and bytes, not by time.

mod bits;
mod call;
mod cjson;
mod cmsgpack;
mod convert;
mod number;
mod pack;
mod random;
mod sha1;
mod shebang;
mod store;
#[cfg(test)]
mod tests;
mod vm;

pub(crate) use self::sha1::sha1_hex;
pub(crate) use self::shebang::ScriptFlags;
pub use self::store::ScriptStore;
pub(crate) use self::store::{Function, Library, Script, Tenant};
pub(crate) use self::vm::{Start, run};

//! What commands about the server log: settings that change what other commands do, the choice of a database within a
//! transaction, and that a command runs once. Doors have commands of the same names, which check what comes here.

mod config;
mod once;
mod select;

pub use once::{GRPC, KEY_BYTES_MAX, Once, REPLY_BYTES_MAX, REST};

use crate::spec::Spec;

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[&config::CONFIG, &once::ONCE, &select::SELECT];

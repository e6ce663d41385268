//! What commands about the server log: settings that change what other commands do, and the choice of a database within
//! a transaction. Doors have commands of the same names, which check what comes here.

mod config;
mod select;

use crate::spec::Spec;

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[&config::CONFIG, &select::SELECT];

//! HyperLogLog: strings in the format of Redis, so that they may be exchanged with it.

mod add;
mod count;
mod debug;
mod estimate;
mod merge;
mod sketch;

use crate::spec::Spec;

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] =
    &[&add::PFADD, &count::PFCOUNT, &debug::PFDEBUG, &debug::PFSELFTEST, &merge::PFMERGE];

#[cfg(test)]
mod tests;

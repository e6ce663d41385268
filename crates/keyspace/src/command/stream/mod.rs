//! Streams.

mod ack;
mod add;
mod claim;
mod delete;
mod group;
mod info;
mod parse;
mod pending;
mod range;
mod read;
mod read_group;
mod set_id;
#[cfg(test)]
mod tests;
mod trim;

use crate::spec::Spec;

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &ack::XACK,
    &ack::XNACK,
    &add::XADD,
    &claim::XAUTOCLAIM,
    &claim::XCLAIM,
    &delete::XACKDEL,
    &delete::XDEL,
    &delete::XDELEX,
    &group::XGROUP,
    &info::XINFO,
    &pending::XPENDING,
    &range::XLEN,
    &range::XRANGE,
    &range::XREVRANGE,
    &read::XREAD,
    &read_group::XREADGROUP,
    &set_id::XSETID,
    &trim::XTRIM,
];

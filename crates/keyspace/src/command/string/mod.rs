//! Strings.

mod get;
mod incr;
mod lcs;
mod many;
mod options;
mod range;
mod set;

use crate::growth::longest;
use crate::spec::Spec;
use crate::{Error, Result, State};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &get::GET,
    &get::GETDEL,
    &get::GETEX,
    &incr::DECR,
    &incr::DECRBY,
    &incr::INCR,
    &incr::INCRBY,
    &incr::INCRBYFLOAT,
    &lcs::LCS,
    &many::MGET,
    &many::MSET,
    &many::MSETNX,
    &range::APPEND,
    &range::GETRANGE,
    &range::SETRANGE,
    &range::STRLEN,
    &range::SUBSTR,
    &set::GETSET,
    &set::PSETEX,
    &set::SET,
    &set::SETEX,
    &set::SETNX,
];

/// Refuses a string that would become too long.
pub(super) fn check_size(state: &State, bytes: u64) -> Result<()> {
    if bytes <= longest(state) { Ok(()) } else { Err(Error::STRING_TOO_LONG) }
}

#[cfg(test)]
mod tests;

//! Sets.

mod add;
mod combine;
mod member;
mod r#move;
mod pop;
mod random;
mod scan;

use std::borrow::Cow;

use bytes::Bytes;

use crate::Reply;
use crate::spec::Spec;

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &add::SADD,
    &add::SREM,
    &combine::SDIFF,
    &combine::SDIFFSTORE,
    &combine::SINTER,
    &combine::SINTERCARD,
    &combine::SINTERSTORE,
    &combine::SUNION,
    &combine::SUNIONSTORE,
    &member::SCARD,
    &member::SISMEMBER,
    &member::SMEMBERS,
    &member::SMISMEMBER,
    &r#move::SMOVE,
    &pop::SPOP,
    &random::SRANDMEMBER,
    &scan::SSCAN,
];

fn bulk(member: Cow<'_, [u8]>) -> Reply {
    Reply::Bulk(Bytes::from(member.into_owned()))
}

#[cfg(test)]
mod tests;

//! Scripts and functions.

mod eval;
mod fcall;
mod function;
mod function_restore;
mod known;

use bytes::Bytes;

use crate::args::parse_integer;
use crate::spec::Spec;
use crate::{Error, Result};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &eval::EVAL,
    &eval::EVALSHA,
    &eval::EVALSHA_RO,
    &eval::EVAL_RO,
    &fcall::FCALL,
    &fcall::FCALL_RO,
    &function::FUNCTION,
    &known::SCRIPT,
];

/// The keys and the other arguments behind a count of keys at argument 2.
fn keys_and_args<'a>(args: &'a [Bytes], not_a_number: &'static str) -> Result<(&'a [Bytes], &'a [Bytes])> {
    let count = parse_integer(&args[2]).ok_or(Error::reply(not_a_number))?;
    let rest = args.get(3..).unwrap_or_default();
    if count > rest.len() as i64 {
        return Err(Error::reply("ERR Number of keys can't be greater than number of args"));
    }
    let count = usize::try_from(count).map_err(|_| Error::reply("ERR Number of keys can't be negative"))?;
    Ok(rest.split_at(count))
}

/// A script that says that it may write was called by a command that must not.
const WRITES: Error =
    Error::Reply(std::borrow::Cow::Borrowed("ERR Can not execute a script with write flag using *_ro command."));

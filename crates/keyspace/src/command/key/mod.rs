//! Any key, and whole databases.

mod copy;
mod database;
mod delete;
mod dump;
mod expire;
mod memory;
mod object;
mod rename;
mod scan;
mod sort;
mod ttl;

use bytes::Bytes;

use crate::args::integer;
use crate::spec::Spec;
use crate::{Error, Reply, Result, State};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &copy::COPY,
    &copy::MOVE,
    &database::DBSIZE,
    &database::FLUSHALL,
    &database::FLUSHDB,
    &database::SWAPDB,
    &delete::DEL,
    &delete::EXISTS,
    &delete::TOUCH,
    &delete::TYPE,
    &delete::UNLINK,
    &dump::DUMP,
    &dump::RESTORE,
    &dump::RESTORE_ASKING,
    &expire::EXPIRE,
    &expire::EXPIREAT,
    &expire::PERSIST,
    &expire::PEXPIRE,
    &expire::PEXPIREAT,
    &memory::MEMORY,
    &object::OBJECT,
    &rename::RENAME,
    &rename::RENAMENX,
    &scan::KEYS,
    &scan::RANDOMKEY,
    &scan::SCAN,
    &sort::SORT,
    &sort::SORT_RO,
    &ttl::EXPIRETIME,
    &ttl::PEXPIRETIME,
    &ttl::PTTL,
    &ttl::TTL,
];

/// The number of a database. `wrong` is said of what is no number of 32 bits, where a command has words of its own.
fn db_number(state: &State, text: &Bytes, wrong: Option<&'static str>) -> Result<u32> {
    const RANGE: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";
    let said = |usual: Error| wrong.map_or(usual, Error::reply);
    let number = integer(text).map_err(said)?;
    let number = i32::try_from(number).map_err(|_| said(Error::reply(RANGE)))?;
    let number = u32::try_from(number).ok().filter(|number| *number < state.settings.databases);
    number.ok_or(Error::reply("ERR DB index is out of range"))
}

/// Lines of HELP.
fn help(lines: &[&'static str]) -> Reply {
    Reply::Array(lines.iter().map(|line| Reply::status(line)).collect())
}

#[cfg(test)]
mod tests;

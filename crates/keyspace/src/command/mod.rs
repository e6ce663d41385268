//! Commands: one file for each, or for a few that differ by a word.
//!
//! Each group of commands is a folder that lists its specifications; the table is made of them once.

mod bitmap;
mod geo;
mod hash;
mod hyperloglog;
mod key;
mod list;
mod script;
mod series;
mod server;
mod set;
mod stream;
mod string;
mod walk;
mod zset;

pub use server::{GRPC, KEY_BYTES_MAX, Once, REPLY_BYTES_MAX, REST};

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::spec::Spec;

/// All commands but those that only a door knows.
static GROUPS: &[&[&Spec]] = &[
    bitmap::COMMANDS,
    geo::COMMANDS,
    hash::COMMANDS,
    hyperloglog::COMMANDS,
    key::COMMANDS,
    list::COMMANDS,
    script::COMMANDS,
    series::COMMANDS,
    server::COMMANDS,
    set::COMMANDS,
    stream::COMMANDS,
    string::COMMANDS,
    zset::COMMANDS,
];

static TABLE: LazyLock<FxHashMap<&'static [u8], &'static Spec>> =
    LazyLock::new(|| all().map(|spec| (spec.name.as_bytes(), spec)).collect());

/// The longest name of a command, in bytes.
const NAME_BYTES_MAX: usize = 32;

/// A command by its name, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    TABLE.get(&*lower).copied()
}

/// All commands, without subcommands.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    GROUPS.iter().flat_map(|group| group.iter().copied())
}

//! Commands of the door: about the connection, or about this server. With those of the keyspace they make one table.

mod acl;
mod auth;
mod client;
mod client_kill;
mod client_tracking;
mod cluster;
mod config;
mod connection;
mod debug;
mod docs;
mod info;
mod introspect;
mod latency;
mod memory;
mod migrate;
mod module;
mod monitor;
mod persistence;
mod pubsub;
mod replication;
mod server;
mod slowlog;
mod sql;
mod transaction;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use perigee_keyspace::{Error, Flags, KeyFlags, Reply, Result, Run, Spec, args};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::session::Session;
use crate::shared::{Answer, Shared};

pub(crate) use client::describe as describe_client;
pub(crate) use pubsub::unsubscribe_all;

/// The code of a command of the door.
#[derive(Clone, Copy)]
pub(crate) enum DoorRun {
    /// Answers at once.
    Now(fn(&mut Session, &[Bytes]) -> Result<Reply>),
    /// Waits for something.
    Later(for<'a> fn(&'a mut Session, &'a [Bytes]) -> Answer<'a>),
}

/// A command of the door.
pub(crate) struct Door {
    spec: Spec,
    run: Option<DoorRun>,
}

/// Lists commands of the door: name, arity, flags, categories, group, first version, summary, code.
macro_rules! commands {
    ($($name:literal $arity:literal $flags:expr, $category:expr, $group:ident $since:literal $summary:literal $run:ident $($code:expr)?;)*) => {
        pub(super) static COMMANDS: &[$crate::command::Door] = &[$($crate::command::Door {
            spec: perigee_keyspace::Spec {
                name: $name,
                arity: $arity,
                flags: $flags,
                category: $category,
                group: perigee_keyspace::Group::$group,
                since: $since,
                summary: $summary,
                ..perigee_keyspace::Spec::DEFAULT
            },
            run: $crate::command::run!($run $($code)?),
        }),*];
    };
}
macro_rules! run {
    (now $code:expr) => {
        Some($crate::command::DoorRun::Now($code))
    };
    (later $code:expr) => {
        Some($crate::command::DoorRun::Later(|session, args| Box::pin($code(session, args))))
    };
    (container) => {
        None
    };
}
pub(crate) use {commands, run};

/// Flags that most of these commands have.
pub(crate) const NOSCRIPT_LOADING_STALE: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
/// The same for administrators.
pub(crate) const ADMIN: Flags = NOSCRIPT_LOADING_STALE.union(Flags::ADMIN);
/// The same for help.
pub(crate) const LOADING_STALE: Flags = Flags::LOADING.union(Flags::STALE);

static GROUPS: &[&[Door]] = &[
    acl::COMMANDS,
    auth::COMMANDS,
    client::COMMANDS,
    client_kill::COMMANDS,
    client_tracking::COMMANDS,
    cluster::COMMANDS,
    config::COMMANDS,
    connection::COMMANDS,
    debug::COMMANDS,
    info::COMMANDS,
    introspect::COMMANDS,
    latency::COMMANDS,
    memory::COMMANDS,
    migrate::COMMANDS,
    module::COMMANDS,
    monitor::COMMANDS,
    persistence::COMMANDS,
    pubsub::COMMANDS,
    replication::COMMANDS,
    server::COMMANDS,
    slowlog::COMMANDS,
    sql::COMMANDS,
    transaction::COMMANDS,
];

/// A command in the table.
pub(crate) struct Entry {
    pub(crate) spec: &'static Spec,
    /// Its code, where it is the door's.
    pub(crate) run: Option<DoorRun>,
    /// Counts commands and subcommands.
    pub(crate) number: usize,
    pub(crate) subs: Vec<Entry>,
    /// It does nothing without a subcommand.
    is_container: bool,
}

impl Entry {
    /// Whether it is run inside of MULTI instead of queued.
    pub(crate) fn runs_in_multi(&self) -> bool {
        matches!(self.spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
    }

    /// Whether no rule can take it from a user.
    pub(crate) fn is_always_allowed(&self) -> bool {
        self.spec.flags.contains(Flags::NO_AUTH)
    }

    /// The command that stands within a call, with its own arguments, which begin at the third: PERIGEE.ONCE.
    pub(crate) fn inner<'a>(&self, args: &'a [Bytes]) -> Option<(&'static Entry, &'a [Bytes])> {
        let words = args.get(2..).filter(|_| self.spec.name == "perigee.once")?;
        match find(words) {
            Found::Command(inner) if inner.spec.name != self.spec.name => Some((inner, words)),
            _ => None,
        }
    }

    /// The arguments that are keys, with what becomes of them in this very call.
    pub(crate) fn keys(&self, args: &[Bytes]) -> SmallVec<[(usize, KeyFlags); 4]> {
        if let Some((inner, words)) = self.inner(args) {
            return inner.keys(words).into_iter().map(|(at, flags)| (at + 2, flags)).collect();
        }
        if self.spec.name == "migrate" {
            let mut keys = self.spec.keys_of(args);
            // One key, or an empty word and the keys behind KEYS.
            let is_list = args.get(3).is_some_and(|key| key.is_empty());
            keys.retain(|(at, _)| (*at == 3) != is_list);
            return keys;
        }
        self.spec.keys_of_call(args)
    }

    /// The arguments that are channels, and whether they are patterns.
    pub(crate) fn channels(&self, args: &[Bytes]) -> (std::ops::Range<usize>, bool) {
        match self.spec.name {
            "publish" | "spublish" => (1..2.min(args.len()), false),
            "subscribe" | "ssubscribe" => (1..args.len(), false),
            "psubscribe" => (1..args.len(), true),
            _ => (0..0, false),
        }
    }

    pub(crate) fn ran(&self, shared: &Shared, took: Duration, failed: bool) {
        shared.stats.ran(self.number, took, failed);
    }

    pub(crate) fn rejected(&self, shared: &Shared) {
        shared.stats.rejected(self.number);
    }

    /// The word of a subcommand, or the name.
    pub(crate) fn word(&self) -> &'static str {
        self.spec.name.split_once('|').map_or(self.spec.name, |(_, word)| word)
    }
}

struct Table {
    by_name: FxHashMap<&'static [u8], Entry>,
    count: usize,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut specs: BTreeMap<&'static str, (&'static Spec, Option<DoorRun>)> = BTreeMap::new();
    for spec in perigee_keyspace::command::all() {
        specs.insert(spec.name, (spec, None));
        for sub in spec.subcommands {
            specs.insert(sub.name, (sub, None));
        }
    }
    // The door's own come before those of the same name.
    for door in GROUPS.iter().flat_map(|group| group.iter()) {
        specs.insert(door.spec.name, (&door.spec, door.run));
    }
    let mut count = 0;
    let mut entry = |spec: &'static Spec, run: Option<DoorRun>| {
        let number = count;
        count += 1;
        Entry { spec, run, number, subs: Vec::new(), is_container: false }
    };
    let mut by_name: FxHashMap<&'static [u8], Entry> = FxHashMap::default();
    for (name, (spec, run)) in specs.iter().filter(|(name, _)| !name.contains('|')) {
        by_name.insert(name.as_bytes(), entry(spec, *run));
    }
    for (name, (spec, run)) in &specs {
        let Some((parent, _)) = name.split_once('|') else { continue };
        let sub = entry(spec, *run);
        if let Some(parent) = by_name.get_mut(parent.as_bytes()) {
            parent.subs.push(sub);
        }
    }
    for entry in by_name.values_mut().filter(|entry| !entry.subs.is_empty()) {
        entry.is_container = entry.run.is_none() && matches!(entry.spec.run, Run::Door | Run::Container);
    }
    Table { by_name, count }
});

/// The longest name of a command.
const NAME_BYTES_MAX: usize = 32;

/// What the words of a call name.
pub(crate) enum Found {
    Command(&'static Entry),
    /// A command that needs a subcommand, and has not this one.
    UnknownSub(&'static Spec),
    Unknown,
}

/// What the words of a call name.
pub(crate) fn find(words: &[Bytes]) -> Found {
    let Some(entry) = words.first().and_then(|name| find_bytes(name)) else { return Found::Unknown };
    if entry.subs.is_empty() {
        return Found::Command(entry);
    }
    match words.get(1) {
        Some(word) => match entry.subs.iter().find(|sub| args::is(word, sub.word())) {
            Some(sub) => Found::Command(sub),
            None if entry.is_container || entry.run.is_some() => Found::UnknownSub(entry.spec),
            None => Found::Command(entry),
        },
        None if entry.is_container => Found::UnknownSub(entry.spec),
        None => Found::Command(entry),
    }
}

fn find_bytes(name: &[u8]) -> Option<&'static Entry> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    TABLE.by_name.get(&*lower)
}

/// A command by its name, or by `command|subcommand`, in lower case.
pub(crate) fn find_name(name: &str) -> Option<&'static Entry> {
    match name.split_once('|') {
        None => find_bytes(name.as_bytes()),
        Some((parent, _)) => find_bytes(parent.as_bytes())?.subs.iter().find(|sub| sub.spec.name == name),
    }
}

/// All commands, without subcommands, by name.
pub(crate) fn all() -> Vec<&'static Entry> {
    let mut all: Vec<&Entry> = TABLE.by_name.values().collect();
    all.sort_unstable_by_key(|entry| entry.spec.name);
    all
}

/// Every command and subcommand.
pub(crate) fn each(mut visit: impl FnMut(&'static Entry)) {
    for entry in all() {
        visit(entry);
        entry.subs.iter().for_each(&mut visit);
    }
}

/// Words of HTTP that are answered like commands and are none.
pub(crate) fn is_hidden(name: &str) -> bool {
    matches!(name, "host:" | "post")
}

/// How many commands and subcommands there are.
pub(crate) fn count_all() -> usize {
    TABLE.count
}

/// Whether a call of a command that may wait may.
pub(crate) fn may_wait(spec: &Spec, words: &[Bytes]) -> bool {
    if !matches!(spec.name, "xread" | "xreadgroup") {
        return true;
    }
    words.iter().take_while(|word| !args::is(word, "streams")).any(|word| args::is(word, "block"))
}

/// An argument as text.
pub(crate) fn text(arg: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(arg)
}

/// A subcommand with arguments that it does not take.
pub(crate) fn wrong_sub(container: &str, word: &[u8]) -> Error {
    let word = text(word);
    Error::reply(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP."))
}

/// Lines of help, as HELP gives them.
pub(crate) fn help(name: &str, lines: &[&'static str]) -> Reply {
    let first = format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let mut all = vec![Reply::Status(first.into())];
    all.extend(lines.iter().map(|line| Reply::status(line)));
    all.push(Reply::status("HELP"));
    all.push(Reply::status("    Print this help."));
    Reply::Array(all)
}

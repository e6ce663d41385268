//! What is known of a command beside its code: name, arity, flags, keys, categories.

use bitflags::bitflags;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::growth::Growth;
use crate::{Reader, Reply, Result, Writer};

bitflags! {
    /// Flags as COMMAND INFO names them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// Changes the keyspace.
        const WRITE = 1;
        /// Reads keys and changes nothing.
        const READONLY = 1 << 1;
        /// Refused when memory is short.
        const DENYOOM = 1 << 2;
        /// For administrators.
        const ADMIN = 1 << 3;
        /// Publish and subscribe.
        const PUBSUB = 1 << 4;
        /// Not from scripts.
        const NOSCRIPT = 1 << 5;
        /// May wait.
        const BLOCKING = 1 << 6;
        /// Allowed while the server loads.
        const LOADING = 1 << 7;
        /// Allowed on a stale replica.
        const STALE = 1 << 8;
        /// Not shown by MONITOR.
        const SKIP_MONITOR = 1 << 9;
        /// Not kept by SLOWLOG.
        const SKIP_SLOWLOG = 1 << 10;
        /// As ASKING.
        const ASKING = 1 << 11;
        /// Takes constant or logarithmic time.
        const FAST = 1 << 12;
        /// Before authentication.
        const NO_AUTH = 1 << 13;
        /// May replicate.
        const MAY_REPLICATE = 1 << 14;
        /// Not inside MULTI.
        const NO_MULTI = 1 << 15;
        /// Its keys cannot all be told from its arguments.
        const MOVABLEKEYS = 1 << 16;
        /// Allowed while a script is busy.
        const ALLOW_BUSY = 1 << 17;
        /// Not in the cluster's async loading.
        const NO_ASYNC_LOADING = 1 << 18;
        /// Keys are optional.
        const NO_MANDATORY_KEYS = 1 << 19;
    }
}

bitflags! {
    /// ACL categories.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Category: u32 {
        /// `@keyspace`
        const KEYSPACE = 1;
        /// `@read`
        const READ = 1 << 1;
        /// `@write`
        const WRITE = 1 << 2;
        /// `@set`
        const SET = 1 << 3;
        /// `@sortedset`
        const SORTEDSET = 1 << 4;
        /// `@list`
        const LIST = 1 << 5;
        /// `@hash`
        const HASH = 1 << 6;
        /// `@string`
        const STRING = 1 << 7;
        /// `@bitmap`
        const BITMAP = 1 << 8;
        /// `@hyperloglog`
        const HYPERLOGLOG = 1 << 9;
        /// `@geo`
        const GEO = 1 << 10;
        /// `@stream`
        const STREAM = 1 << 11;
        /// `@pubsub`
        const PUBSUB = 1 << 12;
        /// `@admin`
        const ADMIN = 1 << 13;
        /// `@fast`
        const FAST = 1 << 14;
        /// `@slow`
        const SLOW = 1 << 15;
        /// `@blocking`
        const BLOCKING = 1 << 16;
        /// `@dangerous`
        const DANGEROUS = 1 << 17;
        /// `@connection`
        const CONNECTION = 1 << 18;
        /// `@transaction`
        const TRANSACTION = 1 << 19;
        /// `@scripting`
        const SCRIPTING = 1 << 20;
        /// `@timeseries`
        const TIMESERIES = 1 << 21;
    }
}

bitflags! {
    /// What a command does with a key, as COMMAND INFO says it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct KeyFlags: u16 {
        /// Reads it.
        const RO = 1;
        /// Reads and writes it.
        const RW = 1 << 1;
        /// Overwrites it.
        const OW = 1 << 2;
        /// Removes it.
        const RM = 1 << 3;
        /// Gives its data to the user.
        const ACCESS = 1 << 4;
        /// Updates data by what is there.
        const UPDATE = 1 << 5;
        /// Only adds data.
        const INSERT = 1 << 6;
        /// Deletes part of the data.
        const DELETE = 1 << 7;
        /// Not really a key.
        const NOT_KEY = 1 << 8;
        /// There may be further keys.
        const INCOMPLETE = 1 << 9;
        /// The flags depend on the arguments.
        const VARIABLE_FLAGS = 1 << 10;
    }
}

/// Where the keys of a specification begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At an argument; 0 is the command.
    Index(u8),
    /// Behind a word, looked for from an argument on (from the end for a negative one).
    Keyword(&'static str, i8),
    /// Nobody can tell.
    Unknown,
}

/// Which arguments are keys from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// To `last` (relative to the first; negative from the end), each `step`. A limit of 2 takes half of what is left.
    Range {
        /// The last key.
        last: i8,
        /// From one key to the next.
        step: u8,
        /// Divides what is left; 0 and 1 do not.
        limit: u8,
    },
    /// A count stands at argument `at` (relative), the first key at `first`.
    Count {
        /// Where the count stands.
        at: u8,
        /// Where the first key stands.
        first: u8,
        /// From one key to the next.
        step: u8,
    },
    /// Nobody can tell.
    Unknown,
}

/// Where keys stand in the arguments of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What becomes of them.
    pub flags: KeyFlags,
    /// Where they begin.
    pub begin: Begin,
    /// Which they are.
    pub find: Find,
}

impl KeySpec {
    /// One key at an argument.
    #[must_use]
    pub const fn one(at: u8, flags: KeyFlags) -> Self {
        Self { flags, begin: Begin::Index(at), find: Find::Range { last: 0, step: 1, limit: 0 } }
    }

    /// Keys from an argument on, to `last` (negative: from the end).
    #[must_use]
    pub const fn range(at: u8, last: i8, step: u8, flags: KeyFlags) -> Self {
        Self { flags, begin: Begin::Index(at), find: Find::Range { last, step, limit: 0 } }
    }

    /// A count at an argument, its keys behind it.
    #[must_use]
    pub const fn count(at: u8, flags: KeyFlags) -> Self {
        Self { flags, begin: Begin::Index(at), find: Find::Count { at: 0, first: 1, step: 1 } }
    }
}

/// The groups of COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Any key.
    Generic,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// Streams.
    Stream,
    /// Bitmaps.
    Bitmap,
    /// HyperLogLog.
    HyperLogLog,
    /// Geo.
    Geo,
    /// Publish and subscribe.
    PubSub,
    /// MULTI and EXEC.
    Transactions,
    /// Scripts and functions.
    Scripting,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
    /// Time series.
    Module,
}

/// How a command runs.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Over the keyspace, changing nothing; where it arrives.
    Read(fn(&Reader<'_>, &[Bytes]) -> Result<Reply>),
    /// At apply, in log order.
    Write(fn(&mut Writer<'_>, &[Bytes]) -> Result<Reply>),
    /// By the door: it is about the connection, or about this server.
    Door,
    /// By its subcommands.
    Container,
}

/// A command.
#[derive(Debug)]
pub struct Spec {
    /// Its name in lower case; a subcommand's is `command|subcommand`.
    pub name: &'static str,
    /// Arguments with the name (or names); negative: at least.
    pub arity: i8,
    /// Flags.
    pub flags: Flags,
    /// Categories beside those that follow from the flags ([`Spec::categories`]).
    pub category: Category,
    /// Where its keys stand.
    pub keys: &'static [KeySpec],
    /// Its group in the documentation.
    pub group: Group,
    /// The version of Redis (or of the module) that had it first.
    pub since: &'static str,
    /// One line for COMMAND DOCS.
    pub summary: &'static str,
    /// Its subcommands.
    pub subcommands: &'static [&'static Spec],
    /// What it may add to memory.
    pub grows: Growth,
    /// Its code.
    pub run: Run,
}

impl Spec {
    /// What most specifications begin with: `Spec { name: …, ..Spec::DEFAULT }`.
    pub const DEFAULT: Spec = Spec {
        name: "",
        arity: -1,
        flags: Flags::empty(),
        category: Category::empty(),
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        summary: "",
        subcommands: &[],
        grows: Growth::Little,
        run: Run::Door,
    };

    /// Whether it finds its keys by what they hold: who may not read all of them is told so, or is not shown them.
    #[must_use]
    pub fn finds_keys(&self) -> bool {
        self.keys.is_empty() && self.category.contains(Category::TIMESERIES)
    }

    /// Whether a call with `count` arguments, the name included, is right.
    #[must_use]
    pub fn takes(&self, count: usize) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let arity = i64::from(self.arity);
        if arity >= 0 { count == arity } else { count >= -arity }
    }

    /// Whether it must be logged.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.run, Run::Write(_))
    }

    /// The subcommand that `args` name, or the command itself.
    #[must_use]
    pub fn resolve(&'static self, args: &[Bytes]) -> Option<&'static Spec> {
        if self.subcommands.is_empty() {
            return Some(self);
        }
        let word = args.get(1)?;
        self.subcommands
            .iter()
            .find(|sub| sub.name.split_once('|').is_some_and(|(_, name)| crate::args::is(word, name)))
            .copied()
            .or_else(|| (!matches!(self.run, Run::Container)).then_some(self))
    }

    /// All its categories.
    #[must_use]
    pub fn categories(&self) -> Category {
        let mut all = self.category;
        let flags = self.flags;
        all.set(Category::WRITE, all.contains(Category::WRITE) || flags.contains(Flags::WRITE));
        if flags.contains(Flags::READONLY) && !self.category.contains(Category::SCRIPTING) {
            all |= Category::READ;
        }
        if flags.contains(Flags::ADMIN) {
            all |= Category::ADMIN | Category::DANGEROUS;
        }
        if flags.contains(Flags::PUBSUB) {
            all |= Category::PUBSUB;
        }
        if flags.contains(Flags::BLOCKING) {
            all |= Category::BLOCKING;
        }
        all | if flags.contains(Flags::FAST) { Category::FAST } else { Category::SLOW }
    }

    /// The arguments that are keys, by number, each with what becomes of it. Wrong calls give fewer.
    #[must_use]
    pub fn keys_of(&self, args: &[Bytes]) -> SmallVec<[(usize, KeyFlags); 4]> {
        let mut found = SmallVec::new();
        for spec in self.keys {
            let Some(begin) = begin_of(spec.begin, args) else { continue };
            match spec.find {
                Find::Range { last, step, limit } => {
                    let end = if last >= 0 {
                        begin + last as usize
                    } else if limit > 1 {
                        begin + (args.len().saturating_sub(begin) / usize::from(limit)).saturating_sub(1)
                    } else {
                        match args.len().checked_sub(usize::from(last.unsigned_abs())) {
                            Some(end) => end,
                            None => continue,
                        }
                    };
                    let step = usize::from(step.max(1));
                    found.extend((begin..=end).step_by(step).filter(|at| *at < args.len()).map(|at| (at, spec.flags)));
                }
                Find::Count { at, first, step } => {
                    let Some(count) = args.get(begin + usize::from(at)).and_then(|n| crate::args::parse_integer(n))
                    else {
                        continue;
                    };
                    let (first, step) = (begin + usize::from(first), usize::from(step.max(1)));
                    let count = usize::try_from(count).unwrap_or(0).min(args.len());
                    let keys = (0..count).map(|n| first + n * step).take_while(|at| *at < args.len());
                    found.extend(keys.map(|at| (at, spec.flags)));
                }
                Find::Unknown => {}
            }
        }
        // The one command whose keys stand behind a word that may also be an argument of another word.
        if self.name == "sort" {
            found.extend(store_of(args).map(|at| (at, KeyFlags::OW.union(KeyFlags::UPDATE))));
        }
        if self.name == "perigee.once"
            && let Some(words) = args.get(2..)
            && let Some(inner) = words.first().and_then(|name| crate::command::find(name))
            && let Some(inner) = inner.resolve(words).filter(|inner| inner.name != self.name)
        {
            found.extend(inner.keys_of(words).into_iter().map(|(at, flags)| (at + 2, flags)));
        }
        found
    }
}

/// Where the destination of SORT stands.
fn store_of(args: &[Bytes]) -> Option<usize> {
    let (mut at, mut found) = (2, None);
    while let Some(word) = args.get(at) {
        at += match word {
            word if crate::args::is(word, "limit") => 3,
            word if crate::args::is(word, "by") || crate::args::is(word, "get") => 2,
            word if crate::args::is(word, "store") => {
                found = (at + 1 < args.len()).then_some(at + 1);
                2
            }
            _ => 1,
        };
    }
    found
}

fn begin_of(begin: Begin, args: &[Bytes]) -> Option<usize> {
    match begin {
        Begin::Index(at) => Some(usize::from(at)),
        Begin::Keyword(word, from) => {
            let found =
                |at: &usize| args.get(*at).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()));
            let at = if from >= 0 {
                (from as usize..args.len()).find(found)
            } else {
                let start = args.len().checked_sub(usize::from(from.unsigned_abs()))?;
                (1..=start).rev().find(found)
            };
            at.map(|at| at + 1)
        }
        Begin::Unknown => None,
    }
}

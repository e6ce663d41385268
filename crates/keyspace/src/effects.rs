//! What a command does beside its reply: things that this node tells others, and that change no state.

use bytes::Bytes;
use perigee_types::Oid;

use crate::permit::Denial;
use crate::small::Name;
use crate::spec::Spec;
use crate::state::DbId;

bitflags::bitflags! {
    /// Classes of keyspace events, as `notify-keyspace-events` names them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct EventClass: u16 {
        /// `K`: on `__keyspace@<db>__:<key>`.
        const KEYSPACE = 1;
        /// `E`: on `__keyevent@<db>__:<event>`.
        const KEYEVENT = 1 << 1;
        /// `g`: commands of all types.
        const GENERIC = 1 << 2;
        /// `$`: strings.
        const STRING = 1 << 3;
        /// `l`: lists.
        const LIST = 1 << 4;
        /// `s`: sets.
        const SET = 1 << 5;
        /// `h`: hashes.
        const HASH = 1 << 6;
        /// `z`: sorted sets.
        const ZSET = 1 << 7;
        /// `x`: expired keys.
        const EXPIRED = 1 << 8;
        /// `e`: evicted keys.
        const EVICTED = 1 << 9;
        /// `t`: streams.
        const STREAM = 1 << 10;
        /// `m`: reads of keys that are absent.
        const MISS = 1 << 11;
        /// `d`: modules, here series.
        const MODULE = 1 << 12;
        /// `n`: new keys.
        const NEW = 1 << 13;
        /// `A`: all but `m` and `n`.
        const ALL = Self::GENERIC.bits() | Self::STRING.bits() | Self::LIST.bits() | Self::SET.bits() | Self::HASH.bits()
            | Self::ZSET.bits() | Self::EXPIRED.bits() | Self::EVICTED.bits() | Self::STREAM.bits() | Self::MODULE.bits();
    }
}

bitflags::bitflags! {
    /// What a door wants to know of the calls in its clients' scripts.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Observed: u8 {
        /// How many there were, and their errors.
        const COUNTS = 1;
        /// Their arguments, for MONITOR.
        const ARGS = 1 << 1;
        /// The keys that were read, for a client that tracks.
        const READS = 1 << 2;
    }
}

/// Calls of one command within scripts.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The command.
    pub spec: &'static Spec,
    /// Those that ran.
    pub count: u64,
    /// Those of them that ended with an error.
    pub failed: u64,
    /// Those that were not allowed to run.
    pub rejected: u64,
}

/// A keyspace event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Where the key is.
    pub db: DbId,
    /// The class of the event.
    pub class: EventClass,
    /// Its name.
    pub event: &'static str,
    /// The key.
    pub key: Bytes,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Effects {
    /// Classes of events that nobody here is told of: they are not kept.
    pub unwanted: EventClass,
    /// Keys that were changed, in order; a key may be named more than once.
    pub touched: Vec<(DbId, Name)>,
    /// Databases that were emptied.
    pub flushed: Vec<DbId>,
    /// Keyspace events, in order.
    pub notifications: Vec<Notification>,
    /// Messages for subscribers: tenant, channel, message, and whether the channel is sharded.
    pub published: Vec<(Oid, Bytes, Bytes, bool)>,
    /// Settings with their new values.
    pub settings: Vec<(String, String)>,
    /// Calls within scripts, where this node's door wants to know them; so are all fields from here on.
    pub calls: Vec<Calls>,
    /// The first words of their errors, but for those that became the reply of a script.
    pub call_errors: Vec<String>,
    /// Their databases and arguments.
    pub call_args: Vec<(u32, Vec<Bytes>)>,
    /// Keys that scripts read, and those that were named to scripts that did.
    pub reads: Vec<Bytes>,
    /// What was denied to scripts.
    pub denials: Vec<Denial>,
}

/// Errors, arguments and keys that are kept of the calls between two looks of the door.
const KEPT_MAX: usize = 10_000;

impl Effects {
    /// Whether nobody needs to be told anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
            && self.flushed.is_empty()
            && self.notifications.is_empty()
            && self.published.is_empty()
            && self.settings.is_empty()
            && self.is_without_calls()
    }

    /// Whether no script has called what is to be known.
    #[must_use]
    pub fn is_without_calls(&self) -> bool {
        self.calls.is_empty()
            && self.call_errors.is_empty()
            && self.call_args.is_empty()
            && self.reads.is_empty()
            && self.denials.is_empty()
    }

    /// The calls of a command.
    pub(crate) fn calls_of(&mut self, spec: &'static Spec) -> &mut Calls {
        let at = match self.calls.iter().position(|calls| std::ptr::eq(calls.spec, spec)) {
            Some(at) => at,
            None => {
                self.calls.push(Calls { spec, count: 0, failed: 0, rejected: 0 });
                self.calls.len() - 1
            }
        };
        &mut self.calls[at]
    }

    /// Keeps a call's arguments.
    pub(crate) fn keep_args(&mut self, db: u32, args: &[Bytes]) {
        if self.call_args.len() < KEPT_MAX {
            self.call_args.push((db, args.to_vec()));
        }
    }

    /// Keeps an error of a call.
    pub(crate) fn keep_error(&mut self, text: &str) {
        if self.call_errors.len() < KEPT_MAX {
            self.call_errors.push(text.split(' ').next().unwrap_or_default().to_owned());
        }
    }

    /// Keeps what was denied.
    pub(crate) fn keep_denial(&mut self, denial: Denial) {
        if self.denials.len() < KEPT_MAX {
            self.denials.push(denial);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.touched.clear();
        self.flushed.clear();
        self.notifications.clear();
        self.published.clear();
        self.calls.clear();
        self.call_errors.clear();
        self.call_args.clear();
        self.reads.clear();
        self.denials.clear();
        self.settings.clear();
    }
}

//! What a command does beside its reply: things that this node tells others, and that change no state.

use bytes::Bytes;

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
    /// Keys that were changed, in order; a key may be named more than once.
    pub touched: Vec<(DbId, Bytes)>,
    /// Databases that were emptied.
    pub flushed: Vec<DbId>,
    /// Keyspace events, in order.
    pub notifications: Vec<Notification>,
    /// Messages for subscribers: channel, message, and whether the channel is sharded.
    pub published: Vec<(Bytes, Bytes, bool)>,
}

impl Effects {
    /// Whether nobody needs to be told anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.flushed.is_empty() && self.notifications.is_empty() && self.published.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.touched.clear();
        self.flushed.clear();
        self.notifications.clear();
        self.published.clear();
    }
}

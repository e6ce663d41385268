//! What commands read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::db::{Db, Entry};
use crate::effects::Observed;
use crate::object::{Object, Value};
use crate::state::{DbId, State};
use crate::{ColdKey, Error, Load, Permit, Refuse, Result, StorageFault};

/// Who runs a command, and when.
#[derive(Clone, Debug)]
pub struct Context {
    /// The selected database.
    pub db: DbId,
    /// Milliseconds since 1970 UTC: the entry's time at apply, the clock for a read.
    pub now: i64,
    /// Seconds since the node started, for OBJECT IDLETIME.
    pub uptime: u32,
    /// Whether the client speaks RESP3: some commands shape their reply by it.
    pub resp3: bool,
    /// The connection, for what is about its own; zero for none.
    pub client: u64,
    /// Whether the command stands in a MULTI or a script: it must not wait.
    pub must_not_wait: bool,
    /// Whether the command has waited and is run again.
    pub waited: bool,
    /// Seed of random choices that a read makes (SRANDMEMBER): at apply the log's, as scripts write what they have read.
    pub random: u64,
    /// Whether reading leaves a key's last use as it is (CLIENT NO-TOUCH).
    pub no_touch: bool,
    /// What scripts are refused.
    pub refuse: Refuse,
    /// What scripts may do; everything where it is `None`.
    pub permit: Option<Arc<Permit>>,
    /// What of scripts this node's door wants to know.
    pub observed: Observed,
}

impl Context {
    /// A context for a database at a time; all else as for a plain client.
    #[must_use]
    pub fn new(db: DbId, now: i64) -> Self {
        Self {
            db,
            now,
            uptime: 0,
            resp3: false,
            client: 0,
            must_not_wait: false,
            waited: false,
            random: 0,
            no_touch: false,
            refuse: Refuse::empty(),
            permit: None,
            observed: Observed::empty(),
        }
    }
}

/// The state as a command may read it. A key whose time is over is absent.
pub struct Reader<'a> {
    pub(crate) state: &'a State,
    /// Who reads.
    pub context: &'a Context,
    load: Option<&'a dyn Load>,
}

impl<'a> Reader<'a> {
    /// A reader.
    #[must_use]
    pub fn new(state: &'a State, context: &'a Context) -> Self {
        Self { state, context, load: None }
    }

    /// The same, who can also list keys that are not in memory.
    #[must_use]
    pub fn loading(self, load: &'a dyn Load) -> Self {
        Self { load: Some(load), ..self }
    }

    /// The whole state.
    #[must_use]
    pub fn state(&self) -> &'a State {
        self.state
    }

    /// Milliseconds since 1970 UTC.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.context.now
    }

    /// The selected database; `None` when no key was ever in it.
    #[must_use]
    pub fn db(&self) -> Option<&'a Db> {
        self.state.db(self.context.db)
    }

    /// Keys that are not in memory, as [`Load::cold_keys`] lists them.
    ///
    /// # Errors
    /// [`Error::Storage`] where they cannot be listed.
    pub fn cold_keys(&self, db: &Db, from: u64, next: Option<u64>) -> Result<Vec<ColdKey>> {
        match self.load {
            _ if !db.has_cold_keys() => Ok(Vec::new()),
            Some(load) => Ok(load.cold_keys(db, from, next)?),
            None => Err(StorageFault::Entry("a reader that cannot load lists keys").into()),
        }
    }

    /// The entry of a key that exists. Does not count as a use.
    ///
    /// # Errors
    /// [`Error::Miss`]: pass it on.
    pub fn entry(&self, key: &[u8]) -> Result<Option<&'a Entry>> {
        self.state.find(self.context.db, key, self.context.now)
    }

    /// What a key holds.
    ///
    /// # Errors
    /// [`Error::Miss`]: pass it on.
    pub fn value(&self, key: &[u8]) -> Result<Option<&'a Value>> {
        let Some(entry) = self.entry(key)? else { return Ok(None) };
        if !self.context.no_touch {
            entry.used.store(self.context.uptime, Ordering::Relaxed);
        }
        Ok(entry.value.as_ref())
    }

    /// The object of a key.
    ///
    /// # Errors
    /// WRONGTYPE where it holds another type; [`Error::Miss`]: pass it on.
    pub fn get<T: Object>(&self, key: &[u8]) -> Result<Option<&'a T>> {
        match self.value(key)? {
            Some(value) => T::of(value).map(Some).ok_or(Error::WRONG_TYPE),
            None => Ok(None),
        }
    }
}

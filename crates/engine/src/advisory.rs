//! Advisory locks: what applications lock by numbers of their own.
//!
//! They are locks of the lock table like all others, held by the session under a name of its own: a transaction and its
//! session never wait for each other. Each is counted: as often as it was taken it is given back, or its transaction ends.
//!
//! Functions run on query threads, which must not wait. So a function that finds a lock held says which one it wants and
//! fails; the session waits for that, and runs the statement again.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::locks::{Holder, LockKey, LockMode, LockWait};
use crate::session::Session;

/// Advisory locks of one session, at most.
const LOCKS_MAX: usize = 100_000;

/// How often a lock was taken: exclusively and shared.
#[derive(Clone, Copy, Default)]
struct Taken {
    session: [u32; 2],
    transaction: [u32; 2],
}

impl Taken {
    /// As what it must be held; `None` where it need not be.
    fn mode(self) -> Option<LockMode> {
        match (self.session[0] + self.transaction[0], self.session[1] + self.transaction[1]) {
            (0, 0) => None,
            (0, _) => Some(LockMode::Shared),
            _ => Some(LockMode::Exclusive),
        }
    }

    fn count(&mut self, shared: bool, transaction: bool) -> &mut u32 {
        let counts = if transaction { &mut self.transaction } else { &mut self.session };
        &mut counts[usize::from(shared)]
    }
}

#[derive(Default)]
struct State {
    holder: Option<Holder>,
    taken: FxHashMap<LockKey, Taken>,
    /// What the running statement has taken: undone where it runs again.
    by_statement: Vec<(LockKey, bool, bool)>,
    /// What it would have to wait for.
    wanted: Option<(LockKey, LockMode)>,
}

/// The advisory locks of a session.
pub(crate) struct Advisory {
    engine: Weak<Engine>,
    state: Mutex<State>,
    /// So that a transaction's end need not take the lock to see that there are none.
    any: AtomicBool,
}

/// The lock that a call names: one number of 64 bits, or two of 32, which are others.
pub(crate) fn key(of_two: bool, number: i64) -> LockKey {
    LockKey::Advisory(Oid(u32::from(of_two)), number)
}

impl Advisory {
    pub(crate) fn new(engine: Weak<Engine>) -> Self {
        Self { engine, state: Mutex::default(), any: AtomicBool::new(false) }
    }

    /// Takes a lock; whether it is taken. `wait`: who would have to wait gets an error, and the session waits.
    ///
    /// # Errors
    /// `0A000` where the statement cannot wait, `53200` for too many.
    pub(crate) fn take(&self, key: LockKey, shared: bool, transaction: bool, wait: bool) -> SqlResult<bool> {
        let Some(engine) = self.engine.upgrade() else {
            return Err(SqlError::new(SqlState::AdminShutdown, "the node is stopping"));
        };
        let mode = if shared { LockMode::Shared } else { LockMode::Exclusive };
        let mut state = self.state.lock();
        if state.taken.len() >= LOCKS_MAX && !state.taken.contains_key(&key) {
            return Err(SqlError::new(SqlState::OutOfMemory, "too many advisory locks in one session"));
        }
        let holder = *state.holder.get_or_insert_with(|| engine.next_holder());
        self.any.store(true, Ordering::Relaxed);
        if !engine.locks.try_acquire(holder, &key, mode) {
            if wait {
                state.wanted = Some((key, mode));
                return Err(SqlError::unsupported("waiting for an advisory lock inside of this statement"));
            }
            return Ok(false);
        }
        *state.taken.entry(key.clone()).or_default().count(shared, transaction) += 1;
        state.by_statement.push((key, shared, transaction));
        Ok(true)
    }

    /// Gives a session's lock back; whether there was one.
    pub(crate) fn give_back(&self, key: &LockKey, shared: bool) -> bool {
        let mut state = self.state.lock();
        let Some(taken) = state.taken.get_mut(key) else { return false };
        let count = taken.count(shared, false);
        let Some(left) = count.checked_sub(1) else { return false };
        *count = left;
        self.adjust(&mut state, key);
        true
    }

    /// Gives all of the session's locks back.
    pub(crate) fn give_all_back(&self) {
        self.end(|taken| taken.session = [0, 0]);
    }

    /// The transaction ends, and its locks with it.
    pub(crate) fn end_transaction(&self) {
        self.end(|taken| taken.transaction = [0, 0]);
    }

    fn end(&self, change: impl Fn(&mut Taken)) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock();
        state.by_statement.clear();
        let keys: Vec<LockKey> = state.taken.keys().cloned().collect();
        for key in keys {
            if let Some(taken) = state.taken.get_mut(&key) {
                change(taken);
            }
            self.adjust(&mut state, &key);
        }
        self.any.store(!state.taken.is_empty(), Ordering::Relaxed);
    }

    /// Holds a lock as it must be held by now.
    fn adjust(&self, state: &mut State, key: &LockKey) {
        let (Some(engine), Some(holder)) = (self.engine.upgrade(), state.holder) else { return };
        match state.taken.get(key).copied().and_then(Taken::mode) {
            Some(LockMode::Shared) => engine.locks.weaken(holder, key, LockMode::Shared),
            Some(_) => {}
            None => {
                state.taken.remove(key);
                engine.locks.release(holder, [key]);
            }
        }
    }

    /// Who holds the locks, where there are any.
    pub(crate) fn holder(&self) -> Option<Holder> {
        if self.any.load(Ordering::Relaxed) { self.state.lock().holder } else { None }
    }

    fn begin_statement(&self) {
        let mut state = self.state.lock();
        state.by_statement.clear();
        state.wanted = None;
    }

    /// What the statement that has failed wants, for whom. What it has taken so far is not counted, and kept until it has
    /// run again.
    fn take_wanted(&self) -> Option<(Holder, LockKey, LockMode)> {
        let mut state = self.state.lock();
        let (key, mode) = state.wanted.take()?;
        for (key, shared, transaction) in std::mem::take(&mut state.by_statement) {
            if let Some(taken) = state.taken.get_mut(&key) {
                let count = taken.count(shared, transaction);
                *count = count.saturating_sub(1);
            }
        }
        state.taken.entry(key.clone()).or_default();
        Some((state.holder?, key, mode))
    }

    /// The statement is over: what was kept for it and not taken is given up.
    fn settle(&self) {
        let mut state = self.state.lock();
        let unused: Vec<LockKey> =
            state.taken.iter().filter(|(_, taken)| taken.mode().is_none()).map(|(key, _)| key.clone()).collect();
        for key in unused {
            self.adjust(&mut state, &key);
        }
    }
}

impl Drop for Advisory {
    fn drop(&mut self) {
        self.end(|taken| *taken = Taken::default());
    }
}

impl Session {
    /// Waits for what the statement that has failed wants; whether it is to run again.
    ///
    /// # Errors
    /// `40P01`, `55P03`, `57014`
    pub(crate) async fn wait_for_advisory(&mut self) -> SqlResult<bool> {
        let Some((holder, key, mode)) = self.services.advisory.take_wanted() else { return Ok(false) };
        self.link_advisory();
        let wait: LockWait = self.lock_wait();
        self.engine.locks.acquire(holder, &key, mode, wait, &self.cancel).await?;
        Ok(true)
    }

    /// Lets deadlocks be seen that go through locks of the session and of its transaction.
    pub(crate) fn link_advisory(&mut self) {
        if let (Some(advisory), Some(transaction)) = (self.services.advisory.holder(), &self.transaction) {
            self.engine.locks.link(transaction.holder, advisory);
        }
    }

    pub(crate) fn begin_advisory(&self) {
        self.services.advisory.begin_statement();
    }

    pub(crate) fn settle_advisory(&self) {
        self.services.advisory.settle();
    }
}

/// Whether a statement's text may call what takes such locks.
pub(crate) fn is_named(text: &str) -> bool {
    const WORD: &[u8] = b"pg_advisory_";
    const TRY: &[u8] = b"pg_try_advisory_";
    let begins = |at: &[u8], word: &[u8]| at.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .any(|(at, b)| matches!(b, b'p' | b'P') && (begins(&bytes[at..], WORD) || begins(&bytes[at..], TRY)))
}

//! The lock table of a leader: who may write what until its entry is applied.
//!
//! A lock is held by a transaction, in one of some modes, from the statement that takes it until the transaction's entry
//! is applied (or dropped). Waiters queue in order of arrival; a request does not overtake a waiting one that it
//! conflicts with. Before a transaction waits, the graph of who waits for whom is searched from it: if it would wait for itself,
//! it gets `40P01` at once and the others go on.
//!
//! Everything is memory of one term: a change of leader drops it, and entries of an older term are fenced at apply.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use perigee_telemetry::measured;
use perigee_types::{IndexId, Oid, SqlError, SqlResult, SqlState, Vid};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Number of a transaction that may hold locks; never reused in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder(pub u64);

/// What can be locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKey {
    /// All changes of the catalog: one transaction at a time makes them.
    Catalog,
    /// A table: shared by those who write rows, exclusive for DDL.
    Table(Oid),
    /// A key of a unique index: the row that has it, and the right to make one.
    Key(IndexId, Box<[u8]>),
    /// A row of a table without a primary key.
    Row(Oid, Vid),
    /// `pg_advisory_lock`, by (kind, key): 0 for a key of one number, 1 for one of two.
    Advisory(Oid, i64),
}

/// How a lock is held: PostgreSQL's four strengths of row locks, between a weaker and a stronger one. Each conflicts with
/// all that the one before it conflicts with, and more. Tables and the catalog know `Shared` and `Exclusive` alone.
///
/// | | look | key share | shared | no key | exclusive | ending |
/// | --- | --- | --- | --- | --- | --- | --- |
/// | look | | | | | | x |
/// | key share | | | | | x | x |
/// | shared | | | | x | x | x |
/// | no key | | | x | x | x | x |
/// | exclusive | | x | x | x | x | x |
/// | ending | x | x | x | x | x | x |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockMode {
    /// Whether the row stays: what ON CONFLICT DO NOTHING waits for, and does not keep.
    Look,
    /// The row stays and keeps its key: what a foreign key wants of the row that it points to.
    KeyShare,
    /// With other shared holders.
    Shared,
    /// For writing a row without touching its key.
    NoKeyExclusive,
    /// Alone: FOR UPDATE.
    Exclusive,
    /// For taking the row or its key away.
    Ending,
}

impl LockMode {
    /// Whether two transactions may not hold these at once.
    #[must_use]
    pub fn conflicts(self, other: LockMode) -> bool {
        let (weak, strong) = if self <= other { (self, other) } else { (other, self) };
        match strong {
            LockMode::Look | LockMode::KeyShare | LockMode::Shared => false,
            LockMode::NoKeyExclusive => weak > LockMode::KeyShare,
            LockMode::Exclusive => weak > LockMode::Look,
            LockMode::Ending => true,
        }
    }
}

#[derive(Default)]
struct Lock {
    holders: Vec<(Holder, LockMode)>,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    holder: Holder,
    mode: LockMode,
    granted: oneshot::Sender<()>,
}

impl Lock {
    /// Whether `holder` may have it beside those who have it.
    fn compatible(&self, holder: Holder, mode: LockMode) -> bool {
        self.holders.iter().all(|(other, held)| *other == holder || !mode.conflicts(*held))
    }

    fn grant(&mut self, holder: Holder, mode: LockMode) {
        match self.holders.iter_mut().find(|(other, _)| *other == holder) {
            Some((_, held)) => *held = (*held).max(mode),
            None => self.holders.push((holder, mode)),
        }
    }

    /// Whether nobody in the first `ahead` places of the queue waits for what `mode` would keep from them.
    fn overtakes_nobody(&self, mode: LockMode, ahead: usize) -> bool {
        self.queue.iter().take(ahead).all(|waiter| !mode.conflicts(waiter.mode))
    }

    /// Grants what fits, in order of arrival.
    fn advance(&mut self) {
        self.queue.retain(|waiter| !waiter.granted.is_closed());
        let mut at = 0;
        while let Some(waiter) = self.queue.get(at) {
            let (holder, mode) = (waiter.holder, waiter.mode);
            if !self.compatible(holder, mode) || !self.overtakes_nobody(mode, at) {
                at += 1;
                continue;
            }
            if let Some(waiter) = self.queue.remove(at)
                && waiter.granted.send(()).is_ok()
            {
                self.grant(holder, mode);
            }
        }
    }
}

#[derive(Default)]
struct State {
    locks: FxHashMap<LockKey, Lock>,
    /// What each waiting transaction waits for.
    waiting: FxHashMap<Holder, (LockKey, LockMode)>,
    /// Two names of one session: who waits for the one waits for what the other waits for. In both directions.
    linked: FxHashMap<Holder, Holder>,
}

impl State {
    /// Those that must finish before `holder` gets `key`.
    fn blockers(&self, holder: Holder, key: &LockKey, mode: LockMode, out: &mut Vec<Holder>) {
        let Some(lock) = self.locks.get(key) else { return };
        let holders = lock.holders.iter().filter(|(other, held)| *other != holder && mode.conflicts(*held));
        out.extend(holders.map(|(other, _)| *other));
        let ahead = lock.queue.iter().take_while(|w| w.holder != holder).filter(|w| mode.conflicts(w.mode));
        out.extend(ahead.map(|w| w.holder));
    }

    /// Whether waiting for `key` would make `holder` wait for itself.
    fn deadlock(&self, holder: Holder, key: &LockKey, mode: LockMode) -> bool {
        let mut seen = FxHashSet::default();
        let mut open = Vec::new();
        self.blockers(holder, key, mode, &mut open);
        let linked = |holder: &Holder| self.linked.get(holder).copied();
        while let Some(next) = open.pop() {
            if next == holder || linked(&holder) == Some(next) {
                return true;
            }
            for name in std::iter::once(next).chain(linked(&next)) {
                if seen.insert(name)
                    && let Some((awaited, mode)) = self.waiting.get(&name)
                {
                    self.blockers(name, awaited, *mode, &mut open);
                }
            }
        }
        false
    }
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug)]
pub enum LockWait {
    /// Until it is free.
    Forever,
    /// At most this long, then `55P03`.
    AtMost(Duration),
    /// Not at all: `55P03`.
    Never,
}

/// What taking a lock found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It was free, or already held.
    AtOnce,
    /// Another transaction held it: what was read before may have changed.
    AfterWait,
}

/// The lock table.
#[derive(Default)]
pub struct LockManager {
    state: Mutex<State>,
}

impl LockManager {
    /// Transactions that wait.
    pub fn waiters(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Takes the lock if it is free; does not wait.
    pub fn try_acquire(&self, holder: Holder, key: &LockKey, mode: LockMode) -> bool {
        let mut state = self.state.lock();
        if let Some(lock) = state.locks.get_mut(key) {
            if let Some((_, held)) = lock.holders.iter().find(|(other, _)| *other == holder)
                && *held >= mode
            {
                return true;
            }
            // An upgrade goes before the queue: those in it wait for this holder anyway.
            let upgrade = lock.holders.iter().any(|(other, _)| *other == holder);
            if !lock.compatible(holder, mode) || (!upgrade && !lock.overtakes_nobody(mode, usize::MAX)) {
                return false;
            }
            lock.grant(holder, mode);
        } else {
            let lock = Lock { holders: vec![(holder, mode)], queue: VecDeque::new() };
            state.locks.insert(key.clone(), lock);
        }
        true
    }

    /// Takes the lock, waiting for others.
    ///
    /// # Errors
    /// `40P01` when waiting would never end, `55P03` after `wait`, `57014` when `cancel` fires.
    pub async fn acquire(
        &self,
        holder: Holder,
        key: &LockKey,
        mode: LockMode,
        wait: LockWait,
        cancel: &CancellationToken,
    ) -> SqlResult<Acquired> {
        if self.try_acquire(holder, key, mode) {
            return Ok(Acquired::AtOnce);
        }
        if let LockWait::Never = wait {
            return Err(lock_not_available("could not obtain lock"));
        }
        let Some(granted) = self.enqueue(holder, key, mode)? else {
            return Ok(Acquired::AfterWait);
        };
        let waiting = std::time::Instant::now();
        // Leaves the queue however the wait ends, also when this future is dropped.
        let _place = Place { manager: self, holder, key };
        let timeout = async {
            match wait {
                LockWait::AtMost(limit) => tokio::time::sleep(limit).await,
                _ => std::future::pending().await,
            }
        };
        let acquired = tokio::select! {
            biased;
            result = granted => match result {
                Ok(()) => Ok(Acquired::AfterWait),
                Err(_) => Err(SqlError::internal("lock waiter was dropped")),
            },
            () = cancel.cancelled() => {
                Err(SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request"))
            }
            () = timeout => Err(lock_not_available("canceling statement due to lock timeout")),
        };
        measured::LOCK_WAITS.record(waiting.elapsed());
        acquired
    }

    /// Stands in the queue; `None` when the lock was granted in between.
    fn enqueue(&self, holder: Holder, key: &LockKey, mode: LockMode) -> SqlResult<Option<oneshot::Receiver<()>>> {
        let mut state = self.state.lock();
        if state.deadlock(holder, key, mode) {
            measured::DEADLOCKS.increment();
            return Err(SqlError::new(SqlState::DeadlockDetected, "deadlock detected")
                .detail("this transaction would wait for a lock that only its own end frees")
                .hint("retry the transaction"));
        }
        let lock = state.locks.entry(key.clone()).or_default();
        let upgrade = lock.holders.iter().any(|(other, _)| *other == holder);
        if lock.compatible(holder, mode) && (upgrade || lock.overtakes_nobody(mode, usize::MAX)) {
            lock.grant(holder, mode);
            return Ok(None);
        }
        let (granted, receiver) = oneshot::channel();
        let waiter = Waiter { holder, mode, granted };
        if upgrade {
            lock.queue.push_front(waiter);
        } else {
            lock.queue.push_back(waiter);
        }
        state.waiting.insert(holder, (key.clone(), mode));
        Ok(Some(receiver))
    }

    /// Gives up locks and lets waiters in.
    pub fn release<'a>(&self, holder: Holder, keys: impl IntoIterator<Item = &'a LockKey>) {
        let mut state = self.state.lock();
        for key in keys {
            if let Some(lock) = state.locks.get_mut(key) {
                lock.holders.retain(|(other, _)| *other != holder);
                lock.advance();
                if lock.holders.is_empty() && lock.queue.is_empty() {
                    state.locks.remove(key);
                }
            }
        }
    }

    /// Holds a lock in a weaker mode from now on, and lets in who waits for that.
    pub(crate) fn weaken(&self, holder: Holder, key: &LockKey, mode: LockMode) {
        let mut state = self.state.lock();
        if let Some(lock) = state.locks.get_mut(key) {
            for (_, held) in lock.holders.iter_mut().filter(|(other, _)| *other == holder) {
                *held = mode;
            }
            lock.advance();
        }
    }

    /// Two holders are one session: a deadlock may go through both.
    pub(crate) fn link(&self, one: Holder, other: Holder) {
        let mut state = self.state.lock();
        state.linked.insert(one, other);
        state.linked.insert(other, one);
    }

    /// Undoes [`LockManager::link`].
    pub(crate) fn unlink(&self, one: Holder) {
        let mut state = self.state.lock();
        if let Some(other) = state.linked.remove(&one)
            && state.linked.get(&other) == Some(&one)
        {
            state.linked.remove(&other);
        }
    }

    /// How many things are locked or waited for, and how many transactions wait.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.locks.len(), state.waiting.len())
    }
}

/// A place in a queue.
struct Place<'a> {
    manager: &'a LockManager,
    holder: Holder,
    key: &'a LockKey,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.manager.state.lock();
        state.waiting.remove(&self.holder);
        if let Some(lock) = state.locks.get_mut(self.key) {
            lock.queue.retain(|waiter| waiter.holder != self.holder);
            lock.advance();
            if lock.holders.is_empty() && lock.queue.is_empty() {
                state.locks.remove(self.key);
            }
        }
    }
}

fn lock_not_available(message: &str) -> SqlError {
    SqlError::new(SqlState::LockNotAvailable, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key(n: u8) -> LockKey {
        LockKey::Key(Oid(1), vec![n].into())
    }

    async fn take(locks: &LockManager, holder: u64, n: u8, mode: LockMode) -> SqlResult<Acquired> {
        let wait = LockWait::AtMost(Duration::from_secs(5));
        locks.acquire(Holder(holder), &key(n), mode, wait, &CancellationToken::new()).await
    }

    #[tokio::test]
    async fn shared_holders_meet_and_an_exclusive_one_waits() {
        let locks = Arc::new(LockManager::default());
        assert_eq!(take(&locks, 1, 1, LockMode::Shared).await.unwrap(), Acquired::AtOnce);
        assert_eq!(take(&locks, 2, 1, LockMode::Shared).await.unwrap(), Acquired::AtOnce);
        let waiting = tokio::spawn({
            let locks = locks.clone();
            async move { take(&locks, 3, 1, LockMode::Exclusive).await }
        });
        tokio::task::yield_now().await;
        assert!(!locks.try_acquire(Holder(4), &key(1), LockMode::Shared), "must not overtake the waiter");
        locks.release(Holder(1), [&key(1)]);
        locks.release(Holder(2), [&key(1)]);
        assert_eq!(waiting.await.unwrap().unwrap(), Acquired::AfterWait);
        locks.release(Holder(3), [&key(1)]);
        assert_eq!(locks.counts(), (0, 0));
    }

    #[tokio::test]
    async fn a_key_share_goes_with_a_write_that_keeps_the_key() {
        let locks = Arc::new(LockManager::default());
        take(&locks, 1, 1, LockMode::NoKeyExclusive).await.unwrap();
        take(&locks, 2, 1, LockMode::KeyShare).await.unwrap();
        assert!(!locks.try_acquire(Holder(3), &key(1), LockMode::Shared));
        assert!(!locks.try_acquire(Holder(3), &key(1), LockMode::Exclusive));
        let waiting = tokio::spawn({
            let locks = locks.clone();
            async move { take(&locks, 3, 1, LockMode::NoKeyExclusive).await }
        });
        tokio::task::yield_now().await;
        // It does not stand in the way of the waiter, so it need not queue behind it.
        assert!(locks.try_acquire(Holder(4), &key(1), LockMode::KeyShare));
        // Two that hold the key share may both write the row, one behind the other.
        locks.release(Holder(1), [&key(1)]);
        assert_eq!(waiting.await.unwrap().unwrap(), Acquired::AfterWait);
    }

    #[tokio::test]
    async fn a_look_waits_for_nobody_but_those_who_end_the_row() {
        let locks = LockManager::default();
        for mode in [LockMode::KeyShare, LockMode::Shared, LockMode::NoKeyExclusive, LockMode::Exclusive] {
            take(&locks, 1, 1, mode).await.unwrap();
            assert!(locks.try_acquire(Holder(2), &key(1), LockMode::Look), "{mode:?}");
            locks.release(Holder(2), [&key(1)]);
        }
        take(&locks, 1, 1, LockMode::Ending).await.unwrap();
        assert!(!locks.try_acquire(Holder(2), &key(1), LockMode::Look));
    }

    #[tokio::test]
    async fn a_circle_of_three_is_broken_for_one() {
        let locks = Arc::new(LockManager::default());
        for n in 1..=3 {
            take(&locks, u64::from(n), n, LockMode::Exclusive).await.unwrap();
        }
        let wait = |holder: u64, n: u8| {
            let locks = locks.clone();
            tokio::spawn(async move { take(&locks, holder, n, LockMode::Exclusive).await })
        };
        let (first, second) = (wait(1, 2), wait(2, 3));
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let third = take(&locks, 3, 1, LockMode::Exclusive).await;
        assert_eq!(third.unwrap_err().state(), SqlState::DeadlockDetected);
        locks.release(Holder(3), [&key(3)]);
        assert_eq!(second.await.unwrap().unwrap(), Acquired::AfterWait);
        locks.release(Holder(2), [&key(2), &key(3)]);
        assert_eq!(first.await.unwrap().unwrap(), Acquired::AfterWait);
    }

    #[tokio::test]
    async fn a_circle_through_two_names_of_one_session_is_seen() {
        let locks = Arc::new(LockManager::default());
        locks.link(Holder(1), Holder(11));
        locks.link(Holder(2), Holder(12));
        take(&locks, 11, 1, LockMode::Exclusive).await.unwrap();
        take(&locks, 2, 2, LockMode::Exclusive).await.unwrap();
        let first = tokio::spawn({
            let locks = locks.clone();
            async move { take(&locks, 1, 2, LockMode::Exclusive).await }
        });
        tokio::task::yield_now().await;
        let second = take(&locks, 12, 1, LockMode::Exclusive).await;
        assert_eq!(second.unwrap_err().state(), SqlState::DeadlockDetected);
        locks.release(Holder(2), [&key(2)]);
        assert_eq!(first.await.unwrap().unwrap(), Acquired::AfterWait);
        locks.unlink(Holder(1));
        locks.unlink(Holder(2));
        assert!(locks.state.lock().linked.is_empty());
    }

    #[tokio::test]
    async fn a_weaker_hold_lets_others_in() {
        let locks = Arc::new(LockManager::default());
        take(&locks, 1, 1, LockMode::Exclusive).await.unwrap();
        let waiting = tokio::spawn({
            let locks = locks.clone();
            async move { take(&locks, 2, 1, LockMode::Shared).await }
        });
        tokio::task::yield_now().await;
        locks.weaken(Holder(1), &key(1), LockMode::Shared);
        assert_eq!(waiting.await.unwrap().unwrap(), Acquired::AfterWait);
        assert!(!locks.try_acquire(Holder(3), &key(1), LockMode::Exclusive));
    }

    #[tokio::test]
    async fn two_upgrades_are_a_deadlock() {
        let locks = Arc::new(LockManager::default());
        take(&locks, 1, 1, LockMode::Shared).await.unwrap();
        take(&locks, 2, 1, LockMode::Shared).await.unwrap();
        let first = tokio::spawn({
            let locks = locks.clone();
            async move { take(&locks, 1, 1, LockMode::Exclusive).await }
        });
        tokio::task::yield_now().await;
        let second = take(&locks, 2, 1, LockMode::Exclusive).await;
        assert_eq!(second.unwrap_err().state(), SqlState::DeadlockDetected);
        locks.release(Holder(2), [&key(1)]);
        assert_eq!(first.await.unwrap().unwrap(), Acquired::AfterWait);
    }

    #[tokio::test]
    async fn a_cancelled_waiter_leaves_the_queue() {
        let locks = Arc::new(LockManager::default());
        take(&locks, 1, 1, LockMode::Exclusive).await.unwrap();
        let cancel = CancellationToken::new();
        cancel.cancel();
        let result = locks.acquire(Holder(2), &key(1), LockMode::Exclusive, LockWait::Forever, &cancel).await;
        assert_eq!(result.unwrap_err().state(), SqlState::QueryCanceled);
        let now = locks.acquire(Holder(3), &key(1), LockMode::Shared, LockWait::Never, &CancellationToken::new()).await;
        assert_eq!(now.unwrap_err().state(), SqlState::LockNotAvailable);
        locks.release(Holder(1), [&key(1)]);
        assert_eq!(locks.counts(), (0, 0));
    }
}

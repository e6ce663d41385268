//! Commands that wait for a key.
//!
//! They are part of the state: a command that finds nothing and may wait becomes a waiter at its place in the log, and a
//! write to one of its keys runs it again right behind itself, in the same entry. So a push and the pop that waited for it
//! are one step for everybody, on every node. Who waits longest on a key comes first. The end of a wait (time is over,
//! the client is gone, CLIENT UNBLOCK) stands in the log as well. A new term drops all waiters: their connections end.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::db::Position;
use crate::state::DbId;
use crate::unit::Command;

/// A command that waits.
#[derive(Clone, Debug)]
pub struct Waiter {
    /// The database that was selected.
    pub db: DbId,
    /// What is run again.
    pub command: Command,
    /// Its keys.
    pub keys: Vec<Bytes>,
    /// Whether the client speaks RESP3.
    pub resp3: bool,
    /// The process that has the connection.
    pub origin: u64,
    /// The connection.
    pub client: u64,
}

/// All waiters, by the position of their command.
#[derive(Debug, Default)]
pub struct Waiters {
    all: BTreeMap<Position, Waiter>,
    by_key: FxHashMap<(DbId, Bytes), VecDeque<Position>>,
}

impl Waiters {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Keys that somebody waits for.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&Position, &Waiter)> {
        self.all.iter()
    }

    pub(crate) fn insert(&mut self, at: Position, waiter: Waiter) {
        for key in &waiter.keys {
            let line = self.by_key.entry((waiter.db, key.clone())).or_default();
            // A key may be named twice.
            if line.back() != Some(&at) {
                line.push_back(at);
            }
        }
        self.all.insert(at, waiter);
    }

    pub(crate) fn remove(&mut self, at: Position) -> Option<Waiter> {
        let waiter = self.all.remove(&at)?;
        for key in &waiter.keys {
            let name = (waiter.db, key.clone());
            if let Some(line) = self.by_key.get_mut(&name) {
                line.retain(|other| *other != at);
                if line.is_empty() {
                    self.by_key.remove(&name);
                }
            }
        }
        Some(waiter)
    }

    /// Who waits for a key, the longest first.
    pub(crate) fn of(&self, db: DbId, key: &[u8]) -> Vec<Position> {
        self.by_key
            .get(&(db, Bytes::copy_from_slice(key)))
            .map(|line| line.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Keys of a database that somebody waits for.
    pub(crate) fn keys_in(&self, db: DbId) -> Vec<Bytes> {
        let mut keys: Vec<Bytes> =
            self.by_key.keys().filter(|(other, _)| *other == db).map(|(_, key)| key.clone()).collect();
        keys.sort();
        keys
    }

    pub(crate) fn get(&self, at: Position) -> Option<&Waiter> {
        self.all.get(&at)
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.by_key.clear();
    }
}

//! The engine in memory: for tests and simulation, where fjall's threads and files do not belong.
//!
//! The state after the newest run is one `Arc`ed map: a snapshot is a clone of the `Arc`, and a run copies the map only
//! while a snapshot holds it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::run::CheckedRun;
use super::{DroppedSet, KvEngine, KvError, KvIter, RunItem, iter, keys};

type Map = BTreeMap<Bytes, Bytes>;

/// An engine that keeps everything in memory. Clones share it, as reopening a folder would.
#[derive(Clone, Default)]
pub struct MemKv {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The state after the newest run.
    map: RwLock<Arc<Map>>,
    writer: Mutex<()>,
    dropped: RwLock<DroppedSet>,
}

impl MemKv {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl KvEngine for MemKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.inner.map.read().get(key).cloned())
    }

    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> KvIter {
        let Some((from, to)) = iter::usable(from, to) else { return Box::new(std::iter::empty()) };
        let map = Arc::clone(&self.inner.map.read());
        let owned = |bound: Bound<&[u8]>| bound.map(Bytes::copy_from_slice);
        Box::new(MemIter { map, from: owned(from), to: owned(to), done: false })
    }

    fn ingest(&self, run: &mut dyn Iterator<Item = RunItem>) -> Result<u64, KvError> {
        let _one_at_a_time = self.inner.writer.lock();
        let mut run = CheckedRun::new(run);
        let mut changes = Vec::new();
        while let Some(item) = run.next()? {
            changes.push(item);
        }
        let mut map = self.inner.map.write();
        let map = Arc::make_mut(&mut map);
        for (key, value) in changes {
            match value {
                Some(value) => map.insert(key.into(), value),
                None => map.remove(key.as_slice()),
            };
        }
        Ok(run.bytes)
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.map.read().iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    fn runs_waiting(&self) -> usize {
        0
    }

    fn dropped(&self, oids: DroppedSet) {
        *self.inner.dropped.write() = oids;
    }

    fn compact(&self) -> Result<(), KvError> {
        let _one_at_a_time = self.inner.writer.lock();
        let dropped = self.inner.dropped.read();
        let mut map = self.inner.map.write();
        Arc::make_mut(&mut map).retain(|key, _| !keys::is_dropped(key, &dropped));
        Ok(())
    }

    fn check(&self) -> Result<(), KvError> {
        Ok(())
    }
}

/// Walks a snapshot by looking up the next key from either end: `BTreeMap`'s own range would borrow the map.
struct MemIter {
    map: Arc<Map>,
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    done: bool,
}

impl MemIter {
    fn step(&mut self, back: bool) -> Option<Result<(Bytes, Bytes), KvError>> {
        if self.done {
            return None;
        }
        let bounds = iter::usable(as_slice(&self.from), as_slice(&self.to))?;
        let mut range = self.map.range::<[u8], _>(bounds);
        let found = if back { range.next_back() } else { range.next() };
        let Some((key, value)) = found else {
            self.done = true;
            return None;
        };
        let pair = (key.clone(), value.clone());
        let edge = if back { &mut self.to } else { &mut self.from };
        *edge = Bound::Excluded(pair.0.clone());
        Some(Ok(pair))
    }
}

fn as_slice(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    bound.as_ref().map(|bytes| bytes.as_ref())
}

impl Iterator for MemIter {
    type Item = Result<(Bytes, Bytes), KvError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl DoubleEndedIterator for MemIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite;
    use super::*;

    impl suite::Fixture for MemKv {
        fn open(&mut self) -> Arc<dyn KvEngine> {
            Arc::new(self.clone())
        }
    }

    #[test]
    fn behaves_as_an_engine() {
        suite::run(MemKv::new);
    }
}

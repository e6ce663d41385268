//! Memory: what is evicted, when a checkpoint is due, and what happens when one fails.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use perigee_storage::budget::{BudgetOptions, MemoryBudget};
use perigee_storage::kv::{DroppedSet, KvEngine, KvError, KvIter, MemKv, RunItem};
use perigee_storage::store::{StoreError, StoreOptions};
use perigee_storage::table::{LATEST, Tier};

use crate::support::{Node, TABLE, all_indexes, options, row, scan};

fn small_budget(hot: u64) -> Arc<MemoryBudget> {
    let all = 1 << 30;
    MemoryBudget::new(BudgetOptions { root: all, hot, query: all, session: all, log_cache: all })
}

fn fill(node: &mut Node, rows: i32) {
    let text = "some text that takes place ".repeat(10);
    for from in (0..rows).step_by(500) {
        node.insert((from..from + 500).map(|id| row(id, Some(&format!("{text}{id}")), 0)).collect());
    }
}

#[test]
fn a_table_larger_than_memory_is_read_from_the_lsm() {
    let budget = small_budget(1 << 20);
    let mut node = Node::within(Arc::clone(&budget));
    node.create(&all_indexes());
    fill(&mut node, 10_000);
    assert!(node.store.checkpoint_due(), "dirty data is over its share");
    assert!(budget.hot.usage() > 2 << 20);
    node.store.evict();
    assert!(budget.hot.usage() > 2 << 20, "dirty data stays");
    node.checkpoint();
    assert!(!node.store.checkpoint_due());
    node.store.evict();
    assert!(budget.hot.usage() <= 1 << 20);
    assert!(node.table().scan(LATEST).chunks.iter().any(|chunk| chunk.tier() == Tier::Warm));
    for _ in 0..2 {
        assert_eq!(scan(&node.table(), LATEST, &[1, 2, 3]).len(), 10_000);
        node.store.evict();
        assert!(budget.hot.usage() <= 1 << 20, "the cache of decoded columns is part of it");
    }
    assert!(node.find(7_777).is_some());
    let table = node.table();
    drop(node);
    drop(table);
    assert_eq!((budget.hot.usage(), budget.dirty.usage()), (0, 0), "every byte is given back");
}

#[test]
fn chunks_that_nobody_used_for_long_are_evicted() {
    let options = StoreOptions { hot_retention: Some(Duration::from_secs(1)), ..options() };
    let mut node = Node::open(Arc::new(MemKv::new()), MemoryBudget::unlimited(), options);
    node.create(&all_indexes());
    fill(&mut node, 1_000);
    node.checkpoint();
    let hot = |node: &Node| node.store.statistics().tables[0].hot_bytes;
    node.store.evict();
    assert!(hot(&node) > 0);
    // An entry is a millisecond of the log's time in these tests.
    (0..1_200).for_each(|_| {
        node.delete(&[]);
    });
    node.store.evict();
    assert_eq!(hot(&node), 0);
}

#[test]
fn the_maintenance_thread_rewrites_worn_chunks() {
    let options = StoreOptions { maintenance_thread: true, ..options() };
    let mut node = Node::open(Arc::new(MemKv::new()), MemoryBudget::unlimited(), options);
    node.create(&all_indexes());
    fill(&mut node, 2_000);
    let vids: Vec<_> = (0..1_800).map(|id| node.find(id).unwrap()).collect();
    node.delete(&vids);
    let deadline = Instant::now() + Duration::from_secs(20);
    while node.store.statistics().tables[0].dead_rows > 1_000 {
        assert!(Instant::now() < deadline, "{:?}", node.store.statistics());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 200);
}

/// An engine whose runs fail on demand.
struct Failing {
    inner: MemKv,
    fails: AtomicBool,
}

impl KvEngine for Failing {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, KvError> {
        self.inner.get(key)
    }

    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> KvIter {
        self.inner.scan(from, to)
    }

    fn ingest(&self, run: &mut dyn Iterator<Item = RunItem>) -> Result<u64, KvError> {
        if self.fails.load(Ordering::Relaxed) {
            for item in run.take(3) {
                item?;
            }
            return Err(KvError::Io(Arc::new(std::io::Error::other("no space left on device"))));
        }
        self.inner.ingest(run)
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }

    fn runs_waiting(&self) -> usize {
        0
    }

    fn dropped(&self, oids: DroppedSet) {
        self.inner.dropped(oids);
    }

    fn compact(&self) -> Result<(), KvError> {
        self.inner.compact()
    }

    fn check(&self) -> Result<(), KvError> {
        self.inner.check()
    }
}

#[test]
fn after_a_failed_checkpoint_reads_go_on_and_a_restart_begins_at_the_one_before() {
    let kv = Arc::new(Failing { inner: MemKv::new(), fails: AtomicBool::new(false) });
    let mut node = Node::over(Arc::clone(&kv) as Arc<dyn KvEngine>);
    node.create(&all_indexes());
    fill(&mut node, 1_000);
    let kept = node.checkpoint();
    fill_more(&mut node);
    kv.fails.store(true, Ordering::Relaxed);
    assert!(matches!(node.store.checkpoint(LATEST, [0; 32]), Err(StoreError::Kv(_))));
    assert!(matches!(node.store.checkpoint(LATEST, [0; 32]), Err(StoreError::Stopped)));
    let check = |node: &Node| {
        assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 1_300);
        assert!(node.find(5_299).is_some() && node.find(999).is_some());
    };
    check(&node);
    kv.fails.store(false, Ordering::Relaxed);
    node.reopen();
    assert_eq!(Some(node.store.recovered().index), kept);
    check(&node);
    node.checkpoint().unwrap();
    node.reopen();
    check(&node);
    assert_eq!(node.table().storage(), TABLE);
}

fn fill_more(node: &mut Node) {
    node.insert((5_000..5_300).map(|id| row(id, None, 0)).collect());
}

//! Readers, checkpoints, eviction and maintenance beside apply, all at once.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use perigee_storage::entry::{Entry, RowBlock};
use perigee_storage::kv::{FjallKv, KvEngine, KvOptions, MemKv};
use perigee_storage::store::Store;
use perigee_storage::table::LATEST;
use perigee_types::{Value, Vid};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{Node, PRIMARY, SECOND, TABLE, all_indexes, change, id_key, row, scan};

const ACCOUNTS: i32 = 600;
const BALANCE: i64 = 1_000;

/// Transfers between accounts keep the sum; whoever looks at a snapshot sees it whole, by every way to look.
fn transfers(kv: Arc<dyn KvEngine>, count: usize) {
    let mut node = Node::over(kv);
    node.create(&all_indexes());
    let word = |id: i32| format!("account number {id}");
    node.insert((0..ACCOUNTS).map(|id| row(id, Some(&word(id)), BALANCE)).collect());
    let stop = AtomicBool::new(false);
    let looks = AtomicU64::new(0);
    let store = Arc::clone(&node.store);
    thread::scope(|scope| {
        scope.spawn(|| {
            until(&stop, || {
                store.checkpoint(LATEST, [0; 32]).unwrap();
            });
        });
        scope.spawn(|| {
            until(&stop, || {
                store.maintain().unwrap();
                store.evict_all();
            });
        });
        for seed in 0..2 {
            let (store, stop, looks) = (&store, &stop, &looks);
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(seed);
                until(stop, || {
                    look(store, &mut rng);
                    looks.fetch_add(1, Ordering::Relaxed);
                });
            });
        }
        let mut rng = StdRng::seed_from_u64(99);
        for _ in 0..count {
            let (from, to) = (rng.random_range(0..ACCOUNTS), rng.random_range(0..ACCOUNTS));
            if from != to {
                let entry = transfer(&store, from, to, rng.random_range(1..50));
                node.commit(&entry);
            }
            if rng.random_bool(0.01) {
                thread::yield_now();
            }
        }
        while looks.load(Ordering::Relaxed) < 4 {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(store);
    look(&node.store, &mut StdRng::seed_from_u64(7));
    node.reopen();
    look(&node.store, &mut StdRng::seed_from_u64(8));
}

fn until(stop: &AtomicBool, mut work: impl FnMut()) {
    while !stop.load(Ordering::Relaxed) {
        work();
        thread::yield_now();
    }
}

fn transfer(store: &Arc<Store>, from: i32, to: i32, amount: i64) -> Entry {
    let table = store.table(TABLE).unwrap();
    let change_one = |id: i32, by: i64| -> (Vid, Vec<Value>) {
        let vid = table.get(PRIMARY, &id_key(id), LATEST).unwrap().expect("every account is there");
        let mut row = table.row(vid, &[1, 2, 3]).unwrap().expect("nobody ends rows but this thread");
        row[2] = Value::Int8(row[2].as_i64().unwrap() + by);
        (vid, row)
    };
    let (a, b) = (change_one(from, -amount), change_one(to, amount));
    change(vec![a.0, b.0], RowBlock::Rows(vec![a.1, b.1]))
}

fn look(store: &Arc<Store>, rng: &mut StdRng) {
    let snapshot = store.snapshot();
    let table = snapshot.table(TABLE).unwrap();
    let rows = scan(&table, snapshot.index, &[1, 3]);
    assert_eq!(rows.len(), ACCOUNTS as usize, "accounts at {}", snapshot.index);
    let sum: i64 = rows.iter().map(|(_, row)| row[1].as_i64().unwrap()).sum();
    assert_eq!(sum, i64::from(ACCOUNTS) * BALANCE, "sum at {}", snapshot.index);
    for _ in 0..50 {
        let (vid, row) = &rows[rng.random_range(0..rows.len())];
        let id = row[0].as_i64().unwrap() as i32;
        assert_eq!(table.get(PRIMARY, &id_key(id), snapshot.index).unwrap(), Some(*vid));
        assert_eq!(table.row(*vid, &[1, 3]).unwrap().as_ref(), Some(row));
    }
    for index in [PRIMARY, SECOND] {
        let found = table.range(index, Bound::Unbounded, Bound::Unbounded, snapshot.index, false, usize::MAX).unwrap();
        assert_eq!(found.len(), rows.len(), "index {index} at {}", snapshot.index);
    }
}

#[test]
fn transfers_beside_readers_checkpoints_and_eviction() {
    transfers(Arc::new(MemKv::new()), 6_000);
}

#[test]
fn transfers_beside_readers_checkpoints_and_eviction_over_fjall() {
    let dir = tempfile::tempdir().unwrap();
    transfers(Arc::new(FjallKv::open(dir.path(), &KvOptions::default()).unwrap()), 2_000);
}

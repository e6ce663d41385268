//! Bytes that come back, thresholds, and who waits for them.

use super::*;

fn budget() -> Arc<MemoryBudget> {
    MemoryBudget::new(BudgetOptions { root: 1_000, hot: 800, query: 400, session: 100, log_cache: 100 })
}

#[test]
fn bytes_count_until_the_guard_is_dropped() {
    let budget = budget();
    let mut guard = budget.hot.reserve(300);
    guard.resize(500);
    let part = guard.split(200);
    drop(guard);
    assert_eq!((budget.hot.usage(), budget.root.usage()), (200, 200));
    drop(part);
    assert_eq!((budget.hot.usage(), budget.root.usage()), (0, 0));
    assert_eq!(budget.hot.peak(), 500);
}

#[test]
fn what_does_not_fit_here_or_above_is_refused_and_not_counted() {
    let budget = budget();
    assert_eq!(budget.query.try_reserve(401).unwrap_err().pool, "queries");
    let _hot = budget.hot.reserve(900);
    assert_eq!(budget.hot.excess(), 100, "reserve may go over the limit");
    assert_eq!(budget.query.try_reserve(200).unwrap_err().pool, "everything");
    assert_eq!(budget.query.usage(), 0);
    let mut small = budget.query.try_reserve(50).unwrap();
    assert!(small.try_grow(51).is_err());
    assert_eq!(small.bytes(), 50);
}

#[test]
fn dirty_data_has_two_thresholds() {
    let budget = budget();
    let mut dirty = budget.dirty.reserve(200);
    assert_eq!(budget.dirty.pressure(), Pressure::None, "its share is a quarter of hot");
    dirty.resize(201);
    assert_eq!(*budget.dirty.watch().borrow(), Pressure::High);
    dirty.resize(401);
    assert_eq!(*budget.dirty.watch().borrow(), Pressure::Critical);
    drop(dirty);
    assert_eq!(*budget.dirty.watch().borrow(), Pressure::None);
    assert_eq!(budget.root.usage(), 0, "dirty bytes are counted beside the tree");
}

#[test]
fn threads_wait_for_either_direction() {
    let budget = budget();
    assert!(!budget.dirty.wait_at_least(Pressure::High, Duration::from_millis(1)));
    let waiter = {
        let budget = Arc::clone(&budget);
        std::thread::spawn(move || budget.dirty.wait_at_least(Pressure::High, Duration::from_secs(20)))
    };
    let guard = budget.dirty.reserve(500);
    assert!(waiter.join().unwrap());
    let waiter = {
        let budget = Arc::clone(&budget);
        std::thread::spawn(move || budget.dirty.wait_at_most(Pressure::High, Duration::from_secs(20)))
    };
    drop(guard);
    assert!(waiter.join().unwrap());
}

#[test]
fn tasks_wait_until_they_may_write() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let budget = budget();
        let guard = budget.dirty.reserve(500);
        let task = tokio::spawn({
            let dirty = budget.dirty.clone();
            async move { dirty.relieved(Pressure::High).await }
        });
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        drop(guard);
        task.await.unwrap();
    });
}

#[test]
fn many_threads_end_at_zero_and_without_pressure() {
    let budget = budget();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..2_000 {
                    let _a = budget.dirty.reserve(n % 300);
                    let _b = budget.hot.try_reserve(n % 90);
                }
            });
        }
    });
    assert_eq!((budget.dirty.usage(), budget.hot.usage(), budget.root.usage()), (0, 0, 0));
    assert_eq!(*budget.dirty.watch().borrow(), Pressure::None);
}

//! What a log does when nothing fails: append, sync, read, cut, open again; once on real files too.
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{CLUSTER, DIR, open, options, read_all, record, records};
use perigee_log::{Log, LogError, LogOptions, verify};
use perigee_runtime::sim::SimFiles;
use perigee_runtime::{Files, SystemFiles};

#[test]
fn an_empty_log_is_empty() {
    let files = SimFiles::new();
    let (log, recovery) = open(&files, 16 << 10).unwrap();
    assert_eq!((recovery.first, recovery.last, recovery.committed, recovery.synced), (1, 0, 0, 0));
    assert_eq!((log.last(), log.first_index(), log.last_purged(), log.synced_index()), (None, 1, None, 0));
    assert_eq!(log.read(1, 10, 100).unwrap(), []);
    assert_eq!(log.chain_hash(0).unwrap(), [0; 32]);
    assert_eq!((log.term_at(0), log.term_at(1)), (None, None));
    log.sync().unwrap();
    drop(log);
    assert_eq!(open(&files, 16 << 10).unwrap().1, recovery);
}

#[test]
fn records_come_back() {
    let files = SimFiles::new();
    let (log, _) = open(&files, 16 << 10).unwrap();
    let mut all = Vec::new();
    for (term, from, to, bytes) in [(1, 1, 1, 0), (1, 2, 30, 100), (2, 31, 31, 9_000), (2, 32, 90, 700), (5, 91, 91, 1)]
    {
        let batch = records(term, from..=to, bytes);
        log.append(&batch, from - 1).unwrap();
        all.extend(batch);
        assert_eq!(log.last(), Some((term, to)));
        assert!(log.synced_index() < to);
        log.sync().unwrap();
        assert_eq!(log.synced_index(), to);
    }
    assert_eq!(log.read(1, 92, usize::MAX).unwrap(), all, "from the cache");
    assert_eq!(log.read(50, 60, 1_400).unwrap(), all[49..51], "bounded by bytes");
    assert_eq!(log.read(31, 40, 1).unwrap(), all[30..31], "but at least one");
    assert_eq!(read_all(&log).unwrap(), all, "from the files");
    assert_eq!((log.term_at(30), log.term_at(31), log.term_at(91), log.term_at(92)), (Some(1), Some(2), Some(5), None));
    let hashes: Vec<_> = (0..=91).map(|index| log.chain_hash(index).unwrap()).collect();
    assert!(matches!(log.chain_hash(92), Err(LogError::BehindEnd { index: 92, last: 91 })));
    log.close().unwrap();
    assert!(matches!(log.append(&[record(5, 92, 1)], 0), Err(LogError::Closed)));
    drop(log);

    let (log, recovery) = open(&files, 16 << 10).unwrap();
    assert_eq!((recovery.first, recovery.last, recovery.committed, recovery.synced), (1, 91, 90, 91));
    assert_eq!(recovery.cut, None);
    assert_eq!(read_all(&log).unwrap(), all);
    for (index, hash) in hashes.iter().enumerate() {
        assert_eq!(log.chain_hash(index as u64).unwrap(), *hash);
    }
    log.append(&[record(5, 92, 10)], 91).unwrap();
    assert_eq!(log.chain_hash(91).unwrap(), hashes[91]);
}

#[test]
fn gaps_are_refused() {
    let (log, _) = open(&SimFiles::new(), 16 << 10).unwrap();
    assert!(matches!(log.append(&[record(1, 2, 1)], 0), Err(LogError::OutOfOrder { expected: 1, found: 2 })));
    let torn = [record(1, 1, 1), record(1, 3, 1)];
    assert!(matches!(log.append(&torn, 0), Err(LogError::OutOfOrder { expected: 2, found: 3 })));
    log.append(&[record(1, 1, 1)], 0).unwrap();
}

#[test]
fn truncation_cuts_anywhere() {
    // Frames of 5 records over several segments: cuts fall on frames, inside of them, and on ends of segments.
    for after in 0..=60 {
        let files = SimFiles::new();
        let (log, _) = open(&files, 8 << 10).unwrap();
        let mut all = Vec::new();
        for from in (1..=60).step_by(5) {
            let batch = records(1, from..=from + 4, 150);
            log.append(&batch, 0).unwrap();
            all.extend(batch);
        }
        log.sync().unwrap();
        let hash = log.chain_hash(after).unwrap();
        log.truncate_after(after).unwrap();
        all.truncate(after as usize);
        assert_eq!(log.synced_index(), after);
        assert_eq!(log.chain_hash(after).unwrap(), hash);
        assert_eq!(log.last(), (after > 0).then_some((1, after)));
        let reopened = open(&files.fork(), 8 << 10).unwrap();
        assert_eq!((reopened.1.last, reopened.1.cut.clone()), (after, None));
        assert_eq!(reopened.0.chain_hash(after).unwrap(), hash);

        let batch = records(2, after + 1..=after + 3, 200);
        log.append(&batch, 0).unwrap();
        log.sync().unwrap();
        all.extend(batch);
        assert_eq!(read_all(&log).unwrap(), all, "after {after}");
        assert_eq!((log.term_at(after + 1), log.term_at(after)), (Some(2), (after > 0).then_some(1)));
        drop(log);
        let (log, recovery) = open(&files, 8 << 10).unwrap();
        assert_eq!(recovery.cut, None);
        assert_eq!(read_all(&log).unwrap(), all, "after {after}");
    }
}

#[test]
fn purging_removes_whole_segments() {
    let files = SimFiles::new();
    let (log, _) = open(&files, 4 << 10).unwrap();
    for from in (1..=50).step_by(2) {
        log.append(&records(from, from..=from + 1, 400), 0).unwrap();
    }
    let before = files.list(Path::new(DIR)).unwrap().len();
    log.purge_to(25).unwrap();
    assert!(files.list(Path::new(DIR)).unwrap().len() < before);
    let first = log.first_index();
    assert!(first > 1 && first <= 26, "{first}");
    assert_eq!(log.last_purged(), Some((25, 25)));
    assert_eq!((log.term_at(25), log.term_at(26)), (Some(25), Some(25)));
    assert!(matches!(log.read(1, 5, 10), Err(LogError::Purged { index: 1, .. })));
    assert!(matches!(log.truncate_after(20), Err(LogError::Purged { .. })));
    assert!(matches!(log.purge_to(51), Err(LogError::BehindEnd { index: 51, last: 50 })));
    log.purge_to(10).unwrap();
    assert_eq!(log.last_purged(), Some((25, 25)));
    log.purge_to(50).unwrap();
    assert_eq!(log.last(), Some((49, 50)), "the last segment stays");
    let hash = log.chain_hash(50).unwrap();
    drop(log);
    let (log, recovery) = open(&files, 4 << 10).unwrap();
    assert_eq!((recovery.last, log.last_purged(), log.chain_hash(50).unwrap()), (50, Some((49, 50)), hash));
    log.append(&[record(60, 51, 1)], 50).unwrap();
}

#[test]
fn a_log_begins_again_behind_a_snapshot() {
    let files = SimFiles::new();
    let (log, _) = open(&files, 4 << 10).unwrap();
    log.append(&records(1, 1..=50, 400), 0).unwrap();
    log.reset_to(7, 1_000, [9; 32]).unwrap();
    assert_eq!((log.last(), log.first_index(), log.last_purged()), (None, 1_001, Some((7, 1_000))));
    assert_eq!((log.term_at(1_000), log.chain_hash(1_000).unwrap()), (Some(7), [9; 32]));
    log.append(&records(7, 1_001..=1_003, 10), 1_000).unwrap();
    log.sync().unwrap();
    drop(log);
    let (log, recovery) = open(&files, 4 << 10).unwrap();
    assert_eq!((recovery.first, recovery.last), (1_001, 1_003));
    assert_eq!(read_all(&log).unwrap(), records(7, 1_001..=1_003, 10));
}

#[test]
fn a_log_of_another_cluster_is_refused() {
    let files = SimFiles::new();
    drop(open(&files, 16 << 10).unwrap());
    let other = LogOptions { cluster_id: 1, ..options(16 << 10) };
    let refused = Log::open(files, other);
    assert!(matches!(refused, Err(LogError::WrongCluster { expected: 1, found: CLUSTER, .. })));
}

#[test]
fn readers_and_callers_of_sync_run_beside_the_writer() {
    let files = SimFiles::new();
    let log = Arc::new(open(&files, 64 << 10).unwrap().0);
    log.set_cache_bytes(4_000);
    let last = 600;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for index in 1..=last {
                log.append(&[record(1, index, 120)], index - 1).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while log.synced_index() < last {
                    log.sync().unwrap();
                }
            });
        }
        scope.spawn(|| {
            let mut next = 1;
            while next <= last {
                for found in log.read(next, last + 1, 2_000).unwrap() {
                    assert_eq!(found, record(1, next, 120));
                    next += 1;
                }
            }
        });
    });
    assert_eq!(open(&files, 64 << 10).unwrap().1.last, last);
}

#[test]
fn it_works_on_real_files() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { dir: dir.path().join("log"), cluster_id: CLUSTER, segment_bytes: 1 << 20 };
    let files: Arc<dyn Files> = Arc::new(SystemFiles);
    let (log, _) = Log::open(Arc::clone(&files), options.clone()).unwrap();
    for from in (1..=200).step_by(4) {
        log.append(&records(1, from..=from + 3, 9_000), from - 1).unwrap();
        log.sync().unwrap();
    }
    log.truncate_after(150).unwrap();
    log.purge_to(120).unwrap();
    log.close().unwrap();
    drop(log);
    let report = verify(&*files, &options.dir, None).unwrap();
    let (log, recovery) = Log::open(files, options).unwrap();
    assert_eq!((recovery.last, report.last, report.tail, recovery.cut), (150, 150, None, None));
    assert_eq!(read_all(&log).unwrap(), records(1, log.first_index()..=150, 9_000));
}

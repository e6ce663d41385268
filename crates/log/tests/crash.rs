//! Power loss at random moments: what was synced is there, what is there is what was appended, and the chain holds.
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{DIR, open, read_all, record};
use perigee_log::{Anchor, Log, Record, verify};
use perigee_runtime::sim::{Fault, FaultKind, Operation, SimFiles, SimRandom};

const SEGMENT_BYTES: u64 = 8 << 10;

/// What the log must and may hold.
struct Model {
    /// The records, from `first` on.
    records: Vec<Record>,
    first: u64,
    /// These must be there.
    synced: u64,
    /// A reset that may or may not have happened.
    reset: Option<u64>,
}

impl Model {
    fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }

    fn truncate_after(&mut self, index: u64) {
        self.records.truncate((index + 1 - self.first) as usize);
    }

    fn begin_again(&mut self, index: u64) {
        self.records.clear();
        self.first = index + 1;
        self.synced = index;
    }
}

fn fault(random: &mut SimRandom) -> Fault {
    let operations =
        [Operation::Write, Operation::Sync, Operation::Resize, Operation::Name, Operation::SyncDir, Operation::Write];
    let operation = operations[random.below(operations.len() as u64) as usize];
    let kind = if random.one_in(2) { FaultKind::Io } else { FaultKind::NoSpace };
    Fault { operation, path_contains: String::new(), after: random.below(12), kind }
}

/// One life of the process: random calls until one fails or it is enough. Gives an anchor of what was synced.
fn live(log: &Log, model: &mut Model, random: &mut SimRandom, term: u64) -> Option<Anchor> {
    let mut anchor = None;
    for _ in 0..random.below(40) {
        let last = model.last();
        match random.below(20) {
            0..11 => {
                let count = 1 + random.below(6);
                let batch: Vec<Record> =
                    (1..=count).map(|i| record(term, last + i, random.below(700) as usize)).collect();
                model.records.extend(batch.clone());
                log.append(&batch, last).ok()?;
            }
            11..16 => {
                log.sync().ok()?;
                model.synced = last;
                anchor = Some(Anchor { index: last, hash: log.chain_hash(last).unwrap() });
            }
            16 | 17 => {
                let floor = log.last_purged().map_or(0, |(_, index)| index).max(model.first - 1);
                let index = floor + random.below(last - floor + 1);
                // From here on the records behind may be gone; if the call comes back, they are.
                model.synced = model.synced.min(index);
                anchor = None;
                log.truncate_after(index).ok()?;
                if index < last {
                    model.truncate_after(index);
                    model.synced = index;
                }
            }
            18 if last > 0 => {
                let index = 1 + random.below(last);
                log.purge_to(index).ok()?;
            }
            19 if random.one_in(4) => {
                let index = last + random.below(100);
                anchor = None;
                model.reset = Some(index);
                log.reset_to(term, index, [term as u8; 32]).ok()?;
                model.begin_again(index);
                model.reset = None;
            }
            _ => {
                let end = log.last().or(log.last_purged()).map_or(model.first - 1, |(_, index)| index);
                assert_eq!(end, last);
            }
        }
    }
    anchor
}

fn check(log: &Log, files: &Arc<SimFiles>, last: u64, model: &mut Model, anchor: Option<Anchor>, seed: u64) {
    if let Some(index) = model.reset.take()
        && log.first_index() == index + 1
        && last == index
    {
        model.begin_again(index);
        return;
    }
    assert!(last >= model.synced, "seed {seed}: synced {} but found {last}", model.synced);
    assert!(last <= model.last(), "seed {seed}");
    model.truncate_after(last);
    let found = read_all(log).unwrap();
    let from = (log.first_index() - model.first) as usize;
    assert!(found == model.records[from..], "seed {seed}: a record is not what was appended");
    let purged = log.last_purged().map_or(0, |(_, index)| index);
    assert!(log.first_index() <= purged.max(model.first - 1) + 1, "seed {seed}: more is gone than was purged");
    let anchor = anchor.filter(|anchor| anchor.index + 1 >= log.first_index());
    let report = verify(&**files, Path::new(DIR), anchor).unwrap();
    assert_eq!((report.last, report.head), (last, log.chain_hash(last).unwrap()), "seed {seed}");
    model.synced = last;
}

fn lives(seed: u64, with_faults: bool) -> usize {
    let mut random = SimRandom::new(seed);
    let files = SimFiles::new();
    let mut model = Model { records: Vec::new(), first: 1, synced: 0, reset: None };
    let mut cuts = 0;
    let mut anchor = None;
    for term in 1..6 {
        // A crash may also come while the log is being opened.
        if with_faults && random.one_in(3) {
            files.inject(fault(&mut random));
            if let Ok((log, recovery)) = open(&files, SEGMENT_BYTES) {
                check(&log, &files, recovery.last, &mut model, anchor, seed);
            }
            files.crash(random.next_u64());
        }
        let (log, recovery) = open(&files, SEGMENT_BYTES).unwrap_or_else(|e| panic!("seed {seed} term {term}: {e}"));
        cuts += usize::from(recovery.cut.is_some());
        assert!(recovery.committed <= recovery.last);
        check(&log, &files, recovery.last, &mut model, anchor, seed);
        log.set_cache_bytes(random.below(4_000) as usize);
        if with_faults && random.one_in(2) {
            files.inject(fault(&mut random));
        }
        anchor = live(&log, &mut model, &mut random, term);
        if random.one_in(5) && log.close().is_ok() {
            model.synced = model.last();
        }
        files.crash(random.next_u64());
    }
    cuts
}

#[test]
fn what_was_synced_survives_power_loss() {
    let cuts: usize = (0..300).map(|seed| lives(seed, false)).sum();
    assert!(cuts > 100, "the simulation tears tails: {cuts}");
}

#[test]
fn what_was_synced_survives_faults_and_power_loss() {
    (1_000..1_500).for_each(|seed| {
        lives(seed, true);
    });
}

#[test]
fn after_a_fault_nothing_is_written() {
    for operation in [Operation::Write, Operation::Sync] {
        let files = SimFiles::new();
        let (log, _) = open(&files, SEGMENT_BYTES).unwrap();
        log.append(&[record(1, 1, 10)], 0).unwrap();
        log.sync().unwrap();
        files.inject(Fault { operation, path_contains: "segment".into(), after: 0, kind: FaultKind::Io });
        let failed = log.append(&[record(1, 2, 10)], 1).and_then(|()| log.sync());
        assert!(matches!(failed, Err(perigee_log::LogError::Io { .. })));
        for refused in [log.append(&[record(1, 2, 10)], 1), log.sync(), log.truncate_after(0), log.close()] {
            assert!(matches!(refused, Err(perigee_log::LogError::Poisoned(_))), "{refused:?}");
        }
        assert_eq!(log.synced_index(), 1);
        assert_eq!(log.read(1, 2, 100).unwrap(), [record(1, 1, 10)], "reads go on");
    }
}

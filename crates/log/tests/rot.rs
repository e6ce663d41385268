//! Flipped bits and changed bytes: found, or in what was never synced; never served.
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{DIR, open, read_all, record, records, segment_path};
use perigee_log::{Anchor, Log, LogError, Record, verify};
use perigee_runtime::Files;
use perigee_runtime::sim::SimFiles;
use sha2::{Digest, Sha256};

const SEGMENT_BYTES: u64 = 4 << 10;

/// Two segments; the last frame is synced, but no later mark says so unless the log is closed.
fn small(close: bool) -> (Arc<SimFiles>, Vec<Record>, Vec<u64>) {
    let files = SimFiles::new();
    let (log, _) = open(&files, SEGMENT_BYTES).unwrap();
    let mut all = Vec::new();
    for from in [1, 4, 7, 10, 13] {
        let batch = records(1, from..=from + 2, 200);
        log.append(&batch, from - 1).unwrap();
        log.sync().unwrap();
        all.extend(batch);
    }
    if close {
        log.close().unwrap();
    }
    let firsts = files.list(Path::new(DIR)).unwrap();
    let firsts = firsts.iter().filter_map(|name| name.strip_suffix(".segment")?.parse().ok()).collect();
    (files, all, firsts)
}

/// Flips each bit (one in `step`) of a segment; gives how often it was refused, cut, or made no difference.
fn flip_all(files: &Arc<SimFiles>, all: &[Record], first: u64, step: usize) -> (usize, usize, usize) {
    let path = segment_path(first);
    let bits = files.read(&path).unwrap().len() as u64 * 8;
    let (mut refused, mut cut, mut harmless) = (0, 0, 0);
    for bit in (0..bits).step_by(step) {
        let rotten = files.fork();
        rotten.flip_bit(&path, bit).unwrap();
        let whole = files.read(&path).unwrap();
        match open(&rotten, SEGMENT_BYTES) {
            Err(LogError::Damaged { .. } | LogError::UnknownVersion { .. } | LogError::WrongCluster { .. }) => {
                refused += 1;
            }
            Err(e) => panic!("bit {bit}: {e}"),
            Ok((log, recovery)) => {
                let found = read_all(&log).unwrap();
                assert!(all.starts_with(&found), "bit {bit}: served wrongly");
                if recovery.last < all.len() as u64 {
                    assert!(recovery.cut.is_some(), "bit {bit}: lost without a word");
                    cut += 1;
                } else {
                    assert_eq!(whole[(bit / 8) as usize], 0, "bit {bit} of what is stored makes no difference");
                    harmless += 1;
                }
            }
        }
    }
    (refused, cut, harmless)
}

#[test]
fn every_flipped_bit_below_a_mark_is_damage() {
    let (files, all, firsts) = small(true);
    assert!(firsts.len() > 1, "{firsts:?}");
    for first in firsts {
        let (refused, cut, _) = flip_all(&files, &all, first, 7);
        assert!(refused > 500, "{refused}");
        assert_eq!(cut, 0, "after a clean stop not even the last frame is cut");
    }
}

#[test]
fn without_a_clean_stop_only_the_last_frame_can_be_cut() {
    let (files, all, firsts) = small(false);
    let (_, cut, _) = flip_all(&files, &all, firsts[0], 7);
    assert_eq!(cut, 0);
    let last = firsts[firsts.len() - 1];
    let (_, cut, _) = flip_all(&files, &all, last, 7);
    assert!(cut > 0);
    // The first frame of the last segment is below the mark of the second.
    let rotten = files.fork();
    rotten.flip_bit(&segment_path(last), (512 + 100) * 8).unwrap();
    assert_eq!(matches!(open(&rotten, SEGMENT_BYTES), Err(LogError::Damaged { offset: 512, .. })), last + 3 <= 13);
}

#[test]
fn a_lost_frame_is_damage_when_a_later_one_knew_it() {
    let files = SimFiles::new();
    let (log, _) = open(&files, 64 << 10).unwrap();
    log.append(&records(1, 1..=3, 200), 0).unwrap();
    log.sync().unwrap();
    let second = files.read(&segment_path(1)).unwrap();
    log.append(&records(1, 4..=6, 200), 3).unwrap();
    log.append(&records(1, 7..=7, 200), 3).unwrap();
    let begin = 512 + 1024;
    assert!(second[begin..].iter().all(|byte| *byte == 0));

    // The second frame was never synced: broken, with a whole one behind it, it is a torn tail.
    let torn = files.fork();
    torn.flip_bit(&segment_path(1), (begin as u64 + 200) * 8).unwrap();
    let recovery = open(&torn, 64 << 10).unwrap().1;
    let cut = recovery.cut.unwrap();
    assert_eq!((recovery.last, cut.after, cut.offset), (3, 3, begin as u64));
    assert_eq!(open(&torn, 64 << 10).unwrap().1.cut, None, "cut once");

    // The first was: the marks behind it say so.
    let rotten = files.fork();
    rotten.flip_bit(&segment_path(1), (512 + 200) * 8).unwrap();
    match open(&rotten, 64 << 10) {
        Err(LogError::Damaged { offset: 512, reason, .. }) => assert!(reason.contains("record 3"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_files_are_damage() {
    let (files, _, firsts) = small(true);
    for first in firsts {
        let rotten = files.fork();
        rotten.remove(&segment_path(first)).unwrap();
        assert!(matches!(open(&rotten, SEGMENT_BYTES), Err(LogError::Damaged { .. })), "{first}");
    }
    let rotten = files.fork();
    rotten.remove(&Path::new(DIR).join("control")).unwrap();
    assert!(matches!(open(&rotten, SEGMENT_BYTES), Err(LogError::Damaged { .. })));
}

#[test]
fn rot_under_an_open_log_is_not_served() {
    let (files, _, firsts) = small(true);
    let (log, _) = open(&files, SEGMENT_BYTES).unwrap();
    files.flip_bit(&segment_path(firsts[0]), (512 + 64 + 88 + 5) * 8).unwrap();
    assert!(matches!(log.read(1, 2, 1_000), Err(LogError::Damaged { .. })));
}

/// Writes `payload` over that of record `index`, and makes every checksum and hash behind it fit, as one would who knows
/// the format and can write the files.
fn forge(files: &Arc<SimFiles>, index: u64, payload: &[u8]) {
    let path = segment_path(1);
    let mut bytes = files.read(&path).unwrap();
    let mut previous: Option<[u8; 32]> = None;
    let mut frame = 512;
    while bytes[frame..frame + 4] == *b"PFRM" {
        let body = u32::from_le_bytes(bytes[frame + 8..frame + 12].try_into().unwrap()) as usize;
        let mut at = frame + 64;
        while at < frame + 64 + body {
            let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            if let Some(previous) = previous {
                bytes[at + 56..at + 88].copy_from_slice(&previous);
            }
            if u64::from_le_bytes(bytes[at + 40..at + 48].try_into().unwrap()) == index {
                bytes[at + 88..at + 88 + payload.len()].copy_from_slice(payload);
            }
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 4]), &bytes[at + 8..at + length]);
            bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
            previous = Some(Sha256::digest(&bytes[at..at + length]).into());
            at += length;
        }
        frame = (frame + 64 + body).next_multiple_of(512);
    }
    files.open(&path, false).unwrap().write_all_at(0, &bytes).unwrap();
}

fn attested() -> (Arc<SimFiles>, Log) {
    let files = SimFiles::new();
    let (log, _) = open(&files, 64 << 10).unwrap();
    log.append(&records(1, 1..=5, 50), 0).unwrap();
    log.append(&records(1, 6..=10, 50), 5).unwrap();
    log.close().unwrap();
    (files, log)
}

#[test]
fn an_anchor_finds_what_checksums_do_not() {
    let (files, log) = attested();
    let anchors: Vec<Anchor> = (0..=10).map(|index| Anchor { index, hash: log.chain_hash(index).unwrap() }).collect();
    let anchor = |index: u64| anchors[index as usize];
    for index in 0..=10 {
        let report = verify(&*files, Path::new(DIR), Some(anchor(index))).unwrap();
        assert!(report.anchored);
        assert_eq!((report.first, report.last, report.records), (1, 10, 10));
    }
    let before = files.read(&segment_path(1)).unwrap();
    forge(&files, 99, b"");
    assert_eq!(files.read(&segment_path(1)).unwrap(), before, "forging nothing changes nothing");

    forge(&files, 4, b"forged");
    let report = verify(&*files, Path::new(DIR), None).unwrap();
    assert!(!report.anchored, "without an anchor all of it fits");
    verify(&*files, Path::new(DIR), Some(anchor(3))).unwrap();
    for index in 4..=10 {
        let found = verify(&*files, Path::new(DIR), Some(anchor(index)));
        assert!(matches!(found, Err(LogError::NotAttested { .. })), "{index}");
    }
}

#[test]
fn an_anchor_behind_the_end_or_before_the_start_says_so() {
    let (files, _) = attested();
    let behind = Anchor { index: 11, hash: [0; 32] };
    assert!(matches!(verify(&*files, Path::new(DIR), Some(behind)), Err(LogError::NotAttested { index: 11, .. })));
    let (log, _) = open(&files, 64 << 10).unwrap();
    log.reset_to(1, 100, [1; 32]).unwrap();
    let early = Anchor { index: 10, hash: [0; 32] };
    assert!(matches!(verify(&*files, Path::new(DIR), Some(early)), Err(LogError::Purged { index: 10, first: 101 })));
    verify(&*files, Path::new(DIR), Some(Anchor { index: 100, hash: [1; 32] })).unwrap();
    log.append(&[record(1, 101, 10)], 0).unwrap();
}

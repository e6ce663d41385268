//! Opening a log: finish what was begun, check every byte, tell a torn tail from damage.
//!
//! A frame says how far the log was durable when the frame was written. What is broken below the largest such mark was
//! durable once, so it is damage, and nothing is touched. What is broken above it was never synced as far as anyone was
//! told: a torn tail, cut off. Only the last segment can have one, as a segment is synced before the next is made.

use std::io;

use perigee_runtime::Files;

use crate::control::{Control, Intent};
use crate::error::LogError;
use crate::format::padded;
use crate::record::{CHAIN_START, ChainHash, LogOptions, Recovery, TornTail};
use crate::scan::{Marks, Scan, scan_tail};
use crate::segment::{self, Segment};

/// Offsets in a segment are 32 bits wide.
const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = 4_096..=(1 << 30);

pub(crate) struct Recovered {
    pub(crate) control: Control,
    pub(crate) segments: Vec<Segment>,
    pub(crate) terms: Vec<(u64, u64)>,
    pub(crate) head: ChainHash,
    pub(crate) recovery: Recovery,
}

pub(crate) fn recover(files: &dyn Files, options: &LogOptions) -> Result<Recovered, LogError> {
    let dir = &options.dir;
    if !SEGMENT_BYTES_RANGE.contains(&options.segment_bytes) {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "segments have 4 KiB to 1 GiB");
        return Err(LogError::io("cannot open", dir, reason));
    }
    files.create_dir_all(dir).map_err(|e| LogError::io("cannot make", dir, e))?;
    remove_leftovers(files, options)?;
    let mut control = load_control(files, options)?;
    if let Some(intent) = control.intent.take() {
        segment::carry_out(files, dir, &intent, options.cluster_id, options.segment_bytes)?;
        control.store(files, dir)?;
    }
    let firsts = present_segments(files, options, &control)?;

    let mut segments: Vec<Segment> = Vec::with_capacity(firsts.len());
    let mut terms: Vec<(u64, u64)> = Vec::new();
    let mut committed = 0;
    let mut last: Option<(Scan, Vec<u8>)> = None;
    for first in firsts {
        let (segment, mut scan, bytes) = Segment::open(files, dir, first, Some(options.cluster_id), None)?;
        if let (Some(before), Some((before_scan, _))) = (segments.last(), &last) {
            check_joint(before, before_scan, &segment)?;
        }
        for run in scan.terms.drain(..) {
            if terms.last().is_none_or(|(_, term)| *term != run.1) {
                terms.push(run);
            }
        }
        committed = committed.max(scan.marks.committed);
        segments.push(segment);
        last = Some((scan, bytes));
    }
    let (Some(active), Some((scan, bytes))) = (segments.last(), last) else {
        return Err(LogError::damaged(dir, 0, "there is no segment"));
    };
    let surely = control.synced.max(control.purged.map_or(0, |(_, index)| index));
    let cut = cut_tail(files, active, &scan, &bytes, surely)?;
    // After the kill of a process, and not of the machine, whole frames are there that nobody has synced.
    active.file.sync_data().map_err(|e| LogError::io("cannot sync", &active.path, e))?;
    if scan.last() > control.synced {
        control.synced = scan.last();
        control.store(files, dir)?;
    }
    let first = segments.first().map_or(scan.next, Segment::first);
    let recovery = Recovery { first, last: scan.last(), committed, synced: scan.last(), cut };
    Ok(Recovered { control, segments, terms, head: scan.head, recovery })
}

/// Files that never got their name.
fn remove_leftovers(files: &dyn Files, options: &LogOptions) -> Result<(), LogError> {
    for name in files.list(&options.dir).map_err(|e| LogError::io("cannot list", &options.dir, e))? {
        if name.ends_with(".new") || name.ends_with(".tmp") {
            let path = options.dir.join(name);
            files.remove(&path).map_err(|e| LogError::io("cannot remove", &path, e))?;
        }
    }
    Ok(())
}

fn load_control(files: &dyn Files, options: &LogOptions) -> Result<Control, LogError> {
    let dir = &options.dir;
    if let Some(control) = Control::load(files, dir)? {
        if control.cluster_id != options.cluster_id {
            let (expected, found) = (options.cluster_id, control.cluster_id);
            return Err(LogError::WrongCluster { file: dir.join("control"), expected, found });
        }
        return Ok(control);
    }
    if let Some(first) = segment::list(files, dir)?.first() {
        let path = segment::path_of(dir, *first);
        return Err(LogError::damaged(&path, 0, "there are segments, but their control file is gone"));
    }
    let intent = Some(Intent::Reset { first: 1, before: CHAIN_START });
    let control = Control { cluster_id: options.cluster_id, first: 1, intent, ..Control::default() };
    control.store(files, dir)?;
    Ok(control)
}

/// The segments of the log, ascending; those that a purge has left behind are removed.
fn present_segments(files: &dyn Files, options: &LogOptions, control: &Control) -> Result<Vec<u64>, LogError> {
    let dir = &options.dir;
    let firsts = segment::list(files, dir)?;
    let (purged, kept): (Vec<u64>, Vec<u64>) = firsts.into_iter().partition(|first| *first < control.first);
    if kept.first() != Some(&control.first) {
        let missing = segment::path_of(dir, control.first);
        return Err(LogError::damaged(&missing, 0, "the first segment is gone"));
    }
    segment::remove(files, dir, &purged)?;
    Ok(kept)
}

/// Two segments that follow each other: nothing is missing between them.
pub(crate) fn check_joint(before: &Segment, scan: &Scan, segment: &Segment) -> Result<(), LogError> {
    if let Some(reason) = scan.broken {
        return Err(LogError::damaged(&before.path, scan.end, reason));
    }
    if scan.next != segment.header.first {
        let reason = format!("records {} to {} are missing", scan.next, segment.header.first.saturating_sub(1));
        return Err(LogError::damaged(&before.path, scan.end, reason));
    }
    if scan.head != segment.header.before {
        return Err(LogError::damaged(&segment.path, 40, "the hash of the record before it is another"));
    }
    Ok(())
}

/// What stands behind the last whole frame, if anything does.
///
/// # Errors
/// [`LogError::Damaged`] when it was durable once: `surely`, or any mark, reaches behind the end.
pub(crate) fn find_tail(
    active: &Segment,
    scan: &Scan,
    bytes: &[u8],
    surely: u64,
) -> Result<Option<TornTail>, LogError> {
    let tail = scan_tail(bytes, active.seed, scan.end);
    let Marks { synced_index, synced_offset, committed } = tail.marks;
    let known = surely.max(synced_index).max(committed).max(scan.marks.synced_index).max(scan.marks.committed);
    if known > scan.last() || synced_offset > scan.end {
        let what = scan.broken.unwrap_or("nothing is there");
        let reason = format!("{what}, but the log was durable up to record {known}");
        return Err(LogError::damaged(&active.path, scan.end, reason));
    }
    let (file, offset, after) = (active.path.clone(), scan.end, scan.last());
    Ok((tail.bytes > 0).then_some(TornTail { file, offset, bytes: tail.bytes, after }))
}

fn cut_tail(
    files: &dyn Files,
    active: &Segment,
    scan: &Scan,
    bytes: &[u8],
    surely: u64,
) -> Result<Option<TornTail>, LogError> {
    let Some(tail) = find_tail(active, scan, bytes, surely)? else { return Ok(None) };
    let file = files.open(&active.path, false).map_err(|e| LogError::io("cannot open", &active.path, e))?;
    let length = file.len().map_err(|e| LogError::io("cannot measure", &active.path, e))?;
    let to = padded(tail.offset + tail.bytes).min(length);
    // A crash in here leaves less of the tail, and no mark in it reaches behind the end: the next start cuts the rest.
    segment::zero(&*file, &active.path, tail.offset, to)?;
    Ok(Some(tail))
}

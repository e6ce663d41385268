//! Checking a log from outside: every checksum, and the chain from the first record to the last.
//!
//! Who can write the files can make all of it fit. What they cannot make fit is an [`Anchor`] that is kept elsewhere: the
//! chain hash of one record covers every byte of every record before it.

use std::path::Path;

use perigee_runtime::Files;

use crate::control::Control;
use crate::error::LogError;
use crate::record::{Anchor, ChainHash, TornTail};
use crate::recovery::{check_joint, find_tail};
use crate::scan::Scan;
use crate::segment::{self, Segment};

/// What [`verify`] found to be whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The first record.
    pub first: u64,
    /// The last record; `first - 1` where there is none.
    pub last: u64,
    /// How many records.
    pub records: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// The chain hash of the last record.
    pub head: ChainHash,
    /// Whether an anchor was given and the log agrees with it: then no record up to it has changed since it was made.
    pub anchored: bool,
    /// What stands behind the last whole frame: never synced, or being written just now.
    pub tail: Option<TornTail>,
}

/// Checks the log in `dir` without changing it.
///
/// A log that is being written to meanwhile may look damaged at its very end, as its bytes are not read all at once: what
/// a second run does not find again was that.
///
/// # Errors
/// [`LogError::Damaged`] where bytes are not those that were written; [`LogError::NotAttested`] when all fits together, but
/// not with `anchor`; [`LogError::Purged`] when the anchor lies before the first record.
pub fn verify(files: &dyn Files, dir: &Path, anchor: Option<Anchor>) -> Result<VerifyReport, LogError> {
    let control = Control::load(files, dir)?.unwrap_or_default();
    let mut firsts = segment::list(files, dir)?;
    firsts.retain(|first| *first >= control.first);
    if control.first != 0 && firsts.first() != Some(&control.first) {
        return Err(LogError::damaged(&segment::path_of(dir, control.first), 0, "the first segment is gone"));
    }
    let watch = anchor.map(|anchor| anchor.index);
    let (mut records, mut bytes, mut watched) = (0, 0, None);
    let mut last: Option<(Segment, Scan, Vec<u8>)> = None;
    for first in &firsts {
        let (segment, scan, content) = Segment::open(files, dir, *first, None, watch)?;
        if let Some((before, before_scan, _)) = &last {
            if before.header.cluster_id != segment.header.cluster_id {
                return Err(LogError::WrongCluster {
                    file: segment.path,
                    expected: before.header.cluster_id,
                    found: segment.header.cluster_id,
                });
            }
            check_joint(before, before_scan, &segment)?;
        }
        records += segment.count;
        bytes += segment.end;
        watched = watched.or(scan.watched);
        last = Some((segment, scan, content));
    }
    let Some((active, scan, content)) = last else {
        return Err(LogError::damaged(dir, 0, "there is no segment"));
    };
    let surely = control.synced.max(control.purged.map_or(0, |(_, index)| index));
    let tail = find_tail(&active, &scan, &content, surely)?;
    let first = firsts.first().copied().unwrap_or(scan.next);
    if let Some(anchor) = anchor {
        check_anchor(anchor, watched, first, scan.last())?;
    }
    Ok(VerifyReport { first, last: scan.last(), records, bytes, head: scan.head, anchored: anchor.is_some(), tail })
}

fn check_anchor(anchor: Anchor, found: Option<ChainHash>, first: u64, last: u64) -> Result<(), LogError> {
    let index = anchor.index;
    match found {
        Some(hash) if hash == anchor.hash => Ok(()),
        None if index < first => Err(LogError::Purged { index, first }),
        found => Err(LogError::NotAttested {
            index,
            expected: hex::encode(anchor.hash),
            found: found.map_or_else(|| format!("a log that ends at record {last}"), hex::encode),
        }),
    }
}

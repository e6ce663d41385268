//! Segment files: names, making one, and what is known of it in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perigee_runtime::{File, Files};

use crate::control::Intent;
use crate::error::LogError;
use crate::format::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION};
use crate::scan::{Scan, scan};

/// An open segment.
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) seed: u32,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// How many records.
    pub(crate) count: u64,
    /// Where its frames end.
    pub(crate) end: u64,
    /// Where each record begins; `None` when dropped to save memory, never for the last segment.
    pub(crate) offsets: Option<Vec<u32>>,
}

impl Segment {
    pub(crate) fn first(&self) -> u64 {
        self.header.first
    }

    /// The index behind its last record.
    pub(crate) fn next(&self) -> u64 {
        self.header.first + self.count
    }

    /// Makes a new file. It gets its name only when its header is durable: a segment with a broken header is damaged.
    pub(crate) fn create(files: &dyn Files, dir: &Path, header: SegmentHeader, bytes: u64) -> Result<Self, LogError> {
        let path = path_of(dir, header.first);
        let unnamed = path.with_extension("new");
        let make = || {
            let file = files.open(&unnamed, true)?;
            file.set_len(0)?;
            file.allocate(bytes)?;
            file.write_all_at(0, &header.encode())?;
            file.sync_data()?;
            drop(file);
            files.rename(&unnamed, &path)?;
            files.sync_dir(dir)?;
            files.open(&path, false)
        };
        let file = make().map_err(|e| LogError::io("cannot make", &path, e))?;
        let seed = header.seed();
        Ok(Self { header, seed, path, file, count: 0, end: SEGMENT_HEADER_BYTES, offsets: Some(Vec::new()) })
    }

    /// Opens the file of `first` and checks all of its frames; gives its bytes too.
    pub(crate) fn open(
        files: &dyn Files,
        dir: &Path,
        first: u64,
        cluster_id: Option<u128>,
        watch: Option<u64>,
    ) -> Result<(Self, Scan, Vec<u8>), LogError> {
        let path = path_of(dir, first);
        let bytes = files.read(&path).map_err(|e| LogError::io("cannot read", &path, e))?;
        let (header, seed) = SegmentHeader::decode(&bytes).map_err(|e| match e {
            HeaderError::Broken => LogError::damaged(&path, 0, "the segment header is broken"),
            HeaderError::Version(found) => LogError::UnknownVersion { file: path.clone(), found, supported: VERSION },
        })?;
        if let Some(expected) = cluster_id
            && header.cluster_id != expected
        {
            return Err(LogError::WrongCluster { file: path, expected, found: header.cluster_id });
        }
        if header.first != first {
            return Err(LogError::damaged(&path, 0, "the header and the name of the file differ"));
        }
        let mut scan = scan(&bytes, &header, seed, watch);
        let file = files.open(&path, false).map_err(|e| LogError::io("cannot open", &path, e))?;
        let offsets = Some(std::mem::take(&mut scan.offsets));
        let segment = Self { header, seed, path, file, count: scan.next - first, end: scan.end, offsets };
        Ok((segment, scan, bytes))
    }
}

pub(crate) fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.segment"))
}

/// The first indexes of the segments in `dir`, ascending.
pub(crate) fn list(files: &dyn Files, dir: &Path) -> Result<Vec<u64>, LogError> {
    let names = files.list(dir).map_err(|e| LogError::io("cannot list", dir, e))?;
    let first_of = |name: &String| name.strip_suffix(".segment").filter(|n| n.len() == 20)?.parse().ok();
    let mut firsts: Vec<u64> = names.iter().filter_map(first_of).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Removes the segments `gone`; durable on return.
pub(crate) fn remove(files: &dyn Files, dir: &Path, gone: &[u64]) -> Result<(), LogError> {
    for first in gone {
        let path = path_of(dir, *first);
        files.remove(&path).map_err(|e| LogError::io("cannot remove", &path, e))?;
    }
    if gone.is_empty() {
        return Ok(());
    }
    files.sync_dir(dir).map_err(|e| LogError::io("cannot sync", dir, e))
}

/// Zeros a part of a file; not yet durable.
pub(crate) fn zero(file: &dyn File, path: &Path, from: u64, to: u64) -> Result<(), LogError> {
    let zeros = vec![0; (to.saturating_sub(from)).min(1 << 20) as usize];
    let mut at = from;
    while at < to {
        let count = (to - at).min(zeros.len() as u64);
        file.write_all_at(at, &zeros[..count as usize]).map_err(|e| LogError::io("cannot clear", path, e))?;
        at += count;
    }
    Ok(())
}

/// Does what was intended, from the start or from wherever a crash left it.
pub(crate) fn carry_out(
    files: &dyn Files,
    dir: &Path,
    intent: &Intent,
    cluster_id: u128,
    segment_bytes: u64,
) -> Result<(), LogError> {
    match intent {
        Intent::Reset { first, before } => {
            remove(files, dir, &list(files, dir)?)?;
            let header = SegmentHeader { cluster_id, first: *first, before: *before };
            Segment::create(files, dir, header, segment_bytes)?;
        }
        Intent::Truncate { segment, cut_from, cut_to, frame } => {
            let mut gone = list(files, dir)?;
            gone.retain(|first| first > segment);
            gone.reverse();
            remove(files, dir, &gone)?;
            let path = path_of(dir, *segment);
            let file = files.open(&path, false).map_err(|e| LogError::io("cannot open", &path, e))?;
            if let Some((offset, header)) = frame {
                file.write_all_at(*offset, header).map_err(|e| LogError::io("cannot write", &path, e))?;
            }
            zero(&*file, &path, *cut_from, *cut_to)?;
            file.sync_data().map_err(|e| LogError::io("cannot sync", &path, e))?;
        }
    }
    Ok(())
}

//! What the tests of the log share.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use perigee_log::{Log, LogError, LogOptions, Record, Recovery};
use perigee_runtime::Files;
use perigee_runtime::sim::SimFiles;
use perigee_types::Hlc;

pub(crate) const DIR: &str = "log";
pub(crate) const CLUSTER: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

/// The record of `index` in `term`, with a payload that depends on both.
pub(crate) fn record(term: u64, index: u64, payload_bytes: usize) -> Record {
    let payload: Vec<u8> = (0..payload_bytes).map(|i| (i as u64 + index * 7 + term * 31) as u8).collect();
    Record {
        term,
        index,
        time: Hlc::from_micros(1_000 + index),
        kind: (index % 3) as u8,
        payload: Bytes::from(payload),
    }
}

pub(crate) fn records(term: u64, indexes: std::ops::RangeInclusive<u64>, payload_bytes: usize) -> Vec<Record> {
    indexes.map(|index| record(term, index, payload_bytes)).collect()
}

pub(crate) fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { dir: PathBuf::from(DIR), cluster_id: CLUSTER, segment_bytes }
}

pub(crate) fn open(files: &Arc<SimFiles>, segment_bytes: u64) -> Result<(Log, Recovery), LogError> {
    Log::open(Arc::clone(files) as Arc<dyn Files>, options(segment_bytes))
}

/// All records, from the files and not from the cache.
pub(crate) fn read_all(log: &Log) -> Result<Vec<Record>, LogError> {
    log.set_cache_bytes(0);
    let mut found: Vec<Record> = Vec::new();
    let mut next = log.first_index();
    loop {
        let more = log.read(next, u64::MAX, 1_000)?;
        match more.last() {
            Some(last) => next = last.index + 1,
            None => return Ok(found),
        }
        found.extend(more);
    }
}

pub(crate) fn segment_path(first: u64) -> PathBuf {
    Path::new(DIR).join(format!("{first:020}.segment"))
}

//! The log in the object store, a moment behind the node.
//!
//! Entries that are committed go there in objects that chain to each other. Small ones, of quiet seconds, are made into
//! larger ones later: the larger is written first, so a crash leaves entries there twice, never not at all.
//!
//! Two nodes that each believe to lead write the same entries, because only committed ones are written: whoever reads takes
//! the objects that reach furthest.

use bytes::Bytes;
use perigee_log::{ChainHash, Record, pack, unpack};
use perigee_storage::cold::{ColdFile, ColdStore};
use perigee_storage::objects::Objects;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

use crate::BackupError;
use crate::base::copy_cold;
use crate::object::{self, Kind, OBJECT_BYTES_MAX};
use crate::place::{self, LogPlace};

/// Objects that are made into one.
const MERGE_COUNT: usize = 64;
/// Bytes of an object that is large enough to stay as it is.
const LARGE_BYTES: u64 = 4 << 20;

/// What an object of the archive says of its entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogHeader {
    /// Index of the first.
    pub first: u64,
    /// Index of the last.
    pub last: u64,
    /// Chain hash of the entry before the first, in hexadecimal.
    pub before: String,
    /// Chain hash of the last, in hexadecimal.
    pub head: String,
    /// Time of the first, as the log counts it.
    pub first_time: u64,
    /// Time of the last.
    pub last_time: u64,
    /// Cold files that manifests among the entries name.
    pub cold: Vec<ColdFile>,
}

/// Entries as they come out of an object.
#[derive(Clone, Debug)]
pub struct Span {
    /// What the object says of them.
    pub header: LogHeader,
    /// The chain hash before the first.
    pub before: ChainHash,
    /// The chain hash of the last.
    pub head: ChainHash,
    /// The entries.
    pub records: Vec<Record>,
}

/// The entries of an object, checked.
///
/// # Errors
/// [`BackupError::Damaged`]
pub fn read(path: &str, bytes: &[u8]) -> Result<Span, BackupError> {
    let damaged = |what: &dyn std::fmt::Display| BackupError::damaged(path, what.to_string());
    let (header, content): (LogHeader, Bytes) = object::open(path, Kind::Log, bytes)?;
    let hash = |text: &str| {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| damaged(&"a chain hash in its header is none"))
    };
    let (before, expected): (ChainHash, ChainHash) = (hash(&header.before)?, hash(&header.head)?);
    let after = header.first.checked_sub(1).ok_or_else(|| damaged(&"it begins at entry 0"))?;
    let (records, head) = unpack(&content, after, &before).map_err(|error| damaged(&error))?;
    if head != expected || records.last().map(|record| record.index) != Some(header.last) {
        return Err(damaged(&"its entries are not those that its header names"));
    }
    Ok(Span { header, before, head, records })
}

/// The archive of a cluster, for the node that writes it.
pub struct Archive {
    at: Arc<Objects>,
    cluster: String,
    /// The last entry in it, with its chain hash.
    last: Option<(u64, ChainHash)>,
    /// The newest objects, as far as they may still be merged.
    small: Vec<LogPlace>,
    /// Objects behind the last entry that were found damaged: their entries are to come again.
    lost: Vec<LogPlace>,
}

/// How the merging of small objects ended.
#[derive(Debug)]
pub enum Merged {
    /// They are whole.
    Whole,
    /// One is damaged, and stays: no restore gets over it, so a base backup is wanted behind it.
    Gap(BackupError),
}

impl Archive {
    /// Looks what is there. It goes on behind the newest object that is whole. `broken`: paths of objects that are known to
    /// be damaged. Blocking.
    ///
    /// # Errors
    /// [`BackupError`]
    pub fn open(at: Arc<Objects>, cluster: &str, broken: &HashSet<String>) -> Result<Self, BackupError> {
        let mut logs = place::logs(&at, cluster)?;
        logs.sort_by_key(|log| log.last);
        let mut archive = Self { at, cluster: cluster.to_owned(), last: None, small: Vec::new(), lost: Vec::new() };
        while let Some(newest) = logs.last() {
            match read(&newest.path, &archive.at.get_all(&newest.path, OBJECT_BYTES_MAX)?) {
                Ok(span) => {
                    archive.last = Some((span.header.last, span.head));
                    break;
                }
                Err(error @ BackupError::Damaged { .. }) => {
                    tracing::warn!(%error, "the archive goes on before it");
                    archive.lost.extend(logs.pop());
                }
                Err(error) => return Err(error),
            }
        }
        let mut next = archive.last.map(|(last, _)| last);
        logs.sort_by_key(|log| (log.first, std::cmp::Reverse(log.last)));
        for log in logs.into_iter().rev() {
            if broken.contains(&log.path) {
                break;
            }
            if log.bytes < LARGE_BYTES && Some(log.last) == next {
                next = log.first.checked_sub(1);
                archive.small.push(log);
            }
        }
        archive.small.reverse();
        Ok(archive)
    }

    /// The last entry in it, with its chain hash.
    #[must_use]
    pub fn last(&self) -> Option<(u64, ChainHash)> {
        self.last
    }

    /// Begins anew behind an entry: what came before has a gap to what follows.
    pub fn restart(&mut self, index: u64, hash: ChainHash) {
        self.last = Some((index, hash));
        self.small.clear();
        self.lost.clear();
    }

    /// Adds entries, which follow the last one, with the cold files that they name. Blocking.
    ///
    /// # Errors
    /// [`BackupError`]: nothing was added, or it does no harm to add it again.
    pub fn ship(
        &mut self,
        records: &[Record],
        files: Vec<ColdFile>,
        cold: Option<&ColdStore>,
    ) -> Result<(), BackupError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let before = match self.last {
            Some((index, hash)) if index + 1 == first.index => hash,
            None if first.index == 1 => perigee_log::CHAIN_START,
            _ => return Err(BackupError::Refused(format!("entry {} does not follow the archive", first.index))),
        };
        // The files first: who has the entry finds them.
        copy_cold(&files, cold, &self.at, &self.cluster)?;
        let (bytes, head) = pack(records, &before);
        let header = LogHeader {
            first: first.index,
            last: last.index,
            before: hex::encode(before),
            head: hex::encode(head),
            first_time: first.time.0,
            last_time: last.time.0,
            cold: files,
        };
        let place = self.put(&header, &bytes)?;
        self.last = Some((last.index, head));
        // What was lost is here again; one of the same name has been written over.
        let (again, lost): (Vec<LogPlace>, _) =
            std::mem::take(&mut self.lost).into_iter().partition(|log| log.last <= last.index);
        self.lost = lost;
        for log in again.iter().filter(|log| log.path != place.path) {
            self.at.delete(&log.path)?;
        }
        match place.bytes < LARGE_BYTES {
            true => self.small.push(place),
            false => self.small.clear(),
        }
        Ok(())
    }

    fn put(&self, header: &LogHeader, content: &[u8]) -> Result<LogPlace, BackupError> {
        let sealed = object::seal(Kind::Log, header, content)?;
        let path = place::log(&self.cluster, header.first, header.last);
        let place = LogPlace { path, first: header.first, last: header.last, bytes: sealed.len() as u64 };
        self.at.put(&place.path, sealed)?;
        Ok(place)
    }

    /// Makes one object of many small ones when there are enough. Blocking.
    ///
    /// # Errors
    /// [`BackupError`]: all entries are still there.
    pub fn merge(&mut self) -> Result<Merged, BackupError> {
        let bytes: u64 = self.small.iter().map(|log| log.bytes).sum();
        if self.small.len() < 2 || (self.small.len() < MERGE_COUNT && bytes < LARGE_BYTES) {
            return Ok(Merged::Whole);
        }
        match self.merge_small() {
            Ok(()) => Ok(Merged::Whole),
            Err(error) => match &error {
                BackupError::Damaged { path, .. } => {
                    let behind =
                        self.small.iter().position(|log| log.path == *path).map_or(self.small.len(), |at| at + 1);
                    self.small.drain(..behind);
                    Ok(Merged::Gap(error))
                }
                _ => Err(error),
            },
        }
    }

    fn merge_small(&mut self) -> Result<(), BackupError> {
        let mut whole: Option<Span> = None;
        for log in &self.small {
            let span = read(&log.path, &self.at.get_all(&log.path, OBJECT_BYTES_MAX)?)?;
            whole = Some(match whole {
                None => span,
                Some(mut whole) if whole.head == span.before => {
                    whole.header.last = span.header.last;
                    whole.header.last_time = span.header.last_time;
                    whole.header.head = span.header.head;
                    whole.header.cold.extend(span.header.cold);
                    whole.head = span.head;
                    whole.records.extend(span.records);
                    whole
                }
                Some(_) => return Err(BackupError::damaged(&log.path, "it does not chain to the one before it")),
            });
        }
        let Some(whole) = whole else { return Ok(()) };
        let (content, _) = pack(&whole.records, &whole.before);
        let merged = self.put(&whole.header, &content)?;
        for log in std::mem::take(&mut self.small) {
            self.at.delete(&log.path)?;
        }
        if merged.bytes < LARGE_BYTES {
            self.small.push(merged);
        }
        Ok(())
    }
}

//! Reading: from the cache of recent records, else from the segment files, checked again on the way.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use perigee_runtime::File;

use crate::error::LogError;
use crate::format::{decode_record, record_place, stored_record};
use crate::log::{Log, State};
use crate::record::{Anchor, ChainHash, Record};
use crate::segment::Segment;

/// Records of one segment, by where they stand.
struct Located {
    file: Arc<dyn File>,
    path: PathBuf,
    /// Index of the first.
    first: u64,
    /// Where each begins.
    offsets: Vec<u32>,
    /// Where the last one ends, at the latest.
    end: u64,
}

impl Log {
    /// The records `[from, to)` that are there, with payloads of up to `bytes_max` in all, but at least one. Empty at the end
    /// of the log.
    ///
    /// # Errors
    /// [`LogError::Purged`] below the first record; [`LogError::Damaged`] when the bytes are not those that were written.
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Record>, LogError> {
        let _stay = self.layout.read();
        let to = {
            let state = self.state.read();
            let to = to.min(state.next());
            if from >= to {
                return Ok(Vec::new());
            }
            check_kept(&state, from)?;
            if let Some(found) = state.cache.read(from, to, bytes_max) {
                return Ok(found);
            }
            to
        };
        let mut found: Vec<Record> = Vec::new();
        let (mut next, mut room) = (from, bytes_max);
        while next < to {
            let located = self.locate(next, to, room)?;
            next += located.offsets.len() as u64;
            for stored in located.stored()? {
                let record = decode_record(&stored).ok_or_else(|| located.damaged(0))?;
                if record.payload.len() > room && !found.is_empty() {
                    return Ok(found);
                }
                room = room.saturating_sub(record.payload.len());
                found.push(record);
            }
            if room == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Where the records from `from` on stand, as far as one segment holds them: about `bytes_max` bytes of them, but at
    /// least one.
    fn locate(&self, from: u64, to: u64, bytes_max: usize) -> Result<Located, LogError> {
        loop {
            let missing = {
                let state = self.state.read();
                check_kept(&state, from)?;
                let at = segment_of(&state, from);
                let segment = &state.segments[at];
                match located(segment, from, to, bytes_max) {
                    Some(located) => return Ok(located),
                    None => segment.first(),
                }
            };
            self.load_offsets(missing)?;
        }
    }

    /// Finds the offsets of an old segment again.
    pub(crate) fn load_offsets(&self, first: u64) -> Result<(), LogError> {
        let (segment, scan, _) = Segment::open(&*self.files, &self.options.dir, first, None, None)?;
        let mut state = self.state.write();
        if let Some(at) = state.segments.iter().position(|known| known.first() == first) {
            let known = &mut state.segments[at];
            if segment.count != known.count {
                let reason = scan.broken.unwrap_or("records are missing");
                return Err(LogError::damaged(&known.path, scan.end, reason));
            }
            known.offsets = segment.offsets;
            state.bound_offsets(at);
        }
        Ok(())
    }

    /// The term of a record that is there, or was purged last.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        let state = self.state.read();
        term_in(&state, index)
    }

    /// The chain hash of a record that is there, or of the one before the first.
    ///
    /// # Errors
    /// [`LogError::Purged`], [`LogError::BehindEnd`], or as [`Log::read`].
    pub fn chain_hash(&self, index: u64) -> Result<ChainHash, LogError> {
        let _stay = self.layout.read();
        self.chain_hash_in_place(index)
    }

    /// Whether the log still holds what was attested of it: at its very end it cannot tell by itself what is lost.
    ///
    /// # Errors
    /// [`LogError::NotAttested`] when it ends before the anchor or its chain hash there is another. A record that was
    /// purged is not looked for.
    pub fn check_anchor(&self, anchor: Anchor) -> Result<(), LogError> {
        let found = match self.chain_hash(anchor.index) {
            Ok(hash) if hash == anchor.hash => return Ok(()),
            Err(LogError::Purged { .. }) => return Ok(()),
            Ok(hash) => hex::encode(hash),
            Err(LogError::BehindEnd { last, .. }) => format!("a log that ends at record {last}"),
            Err(error) => return Err(error),
        };
        Err(LogError::NotAttested { index: anchor.index, expected: hex::encode(anchor.hash), found })
    }

    /// [`Log::chain_hash`] for who holds the layout already.
    pub(crate) fn chain_hash_in_place(&self, index: u64) -> Result<ChainHash, LogError> {
        let next = {
            let state = self.state.read();
            let (first, last) = (state.first(), state.last());
            if index == last {
                return Ok(state.head);
            }
            if index > last {
                return Err(LogError::BehindEnd { index, last });
            }
            if index + 1 < first {
                return Err(LogError::Purged { index, first });
            }
            if let Some(segment) = state.segments.iter().find(|segment| segment.first() == index + 1) {
                return Ok(segment.header.before);
            }
            index + 1
        };
        let located = self.locate(next, next + 1, 0)?;
        let stored = located.stored()?;
        let place = stored.first().and_then(|stored| record_place(stored));
        place.map(|(_, _, previous)| previous).ok_or_else(|| located.damaged(0))
    }

    /// Term and index of the last record; `None` when there is none, then see [`Log::last_purged`].
    #[must_use]
    pub fn last(&self) -> Option<(u64, u64)> {
        let state = self.state.read();
        let last = state.last();
        if last < state.first() {
            return None;
        }
        term_in(&state, last).map(|term| (term, last))
    }

    /// The first record that can be read; the index that comes next where there is none.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.state.read().first()
    }

    /// Term and index given to the last [`Log::purge_to`] or [`Log::reset_to`]. Records up to it may still be readable, as
    /// segments go whole.
    #[must_use]
    pub fn last_purged(&self) -> Option<(u64, u64)> {
        self.state.read().purged
    }

    /// Reads all files again and recomputes the chain: see [`crate::verify`].
    ///
    /// # Errors
    /// As [`crate::verify`].
    pub fn verify(&self, anchor: Option<Anchor>) -> Result<crate::VerifyReport, LogError> {
        crate::verify(&*self.files, &self.options.dir, anchor)
    }

    /// The first record of the newest segments that have about `bytes` between them, at least; the first of all where the
    /// log is smaller.
    #[must_use]
    pub fn first_of_last(&self, bytes: u64) -> u64 {
        let state = self.state.read();
        let mut sum = 0;
        let reached = state.segments.iter().rev().find(|segment| {
            sum += segment.end;
            sum >= bytes
        });
        reached.map_or_else(|| state.first(), Segment::first)
    }

    /// Bytes of the segment files up to their last frame.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.state.read().segments.iter().map(|segment| segment.end).sum()
    }

    /// Bounds the recent records kept in memory, 16 MiB at first.
    pub fn set_cache_bytes(&self, bytes_max: usize) {
        self.state.write().cache.set_bytes_max(bytes_max);
    }
}

pub(crate) fn segment_of(state: &State, index: u64) -> usize {
    state.segments.partition_point(|segment| segment.first() <= index).saturating_sub(1)
}

pub(crate) fn term_in(state: &State, index: u64) -> Option<u64> {
    if let Some((term, purged)) = state.purged
        && purged == index
    {
        return Some(term);
    }
    if index < state.first() || index >= state.next() {
        return None;
    }
    let run = state.terms.partition_point(|(first, _)| *first <= index).checked_sub(1)?;
    Some(state.terms[run].1)
}

fn check_kept(state: &State, index: u64) -> Result<(), LogError> {
    let first = state.first();
    if index < first { Err(LogError::Purged { index, first }) } else { Ok(()) }
}

fn located(segment: &Segment, from: u64, to: u64, bytes_max: usize) -> Option<Located> {
    let offsets = segment.offsets.as_ref()?;
    let start = (from - segment.first()) as usize;
    let stop = (to.min(segment.next()) - segment.first()) as usize;
    let begin = *offsets.get(start)?;
    let within = |offset: &u32| (*offset - begin) as usize <= bytes_max;
    let count = offsets[start..stop].partition_point(within).max(1);
    let end = offsets.get(start + count).map_or(segment.end, |offset| u64::from(*offset));
    Some(Located {
        file: Arc::clone(&segment.file),
        path: segment.path.clone(),
        first: from,
        offsets: offsets[start..start + count].to_vec(),
        end,
    })
}

impl Located {
    /// The stored bytes of each record, checked.
    fn stored(&self) -> Result<Vec<Bytes>, LogError> {
        let begin = self.offsets.first().map_or(self.end, |offset| u64::from(*offset));
        let mut bytes = vec![0; (self.end - begin) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            let count = self
                .file
                .read_at(begin + filled as u64, &mut bytes[filled..])
                .map_err(|e| LogError::io("cannot read", &self.path, e))?;
            if count == 0 {
                return Err(LogError::damaged(&self.path, begin + filled as u64, "the file is too short"));
            }
            filled += count;
        }
        let bytes = Bytes::from(bytes);
        let mut records = Vec::with_capacity(self.offsets.len());
        for (i, offset) in self.offsets.iter().enumerate() {
            let at = (u64::from(*offset) - begin) as usize;
            let stored = stored_record(&bytes[at..]).ok_or_else(|| self.damaged(i))?;
            if record_place(stored).map(|(index, ..)| index) != Some(self.first + i as u64) {
                return Err(self.damaged(i));
            }
            records.push(bytes.slice(at..at + stored.len()));
        }
        Ok(records)
    }

    fn damaged(&self, record: usize) -> LogError {
        let offset = self.offsets.get(record).map_or(0, |offset| u64::from(*offset));
        LogError::damaged(&self.path, offset, "the record is not the one that was written")
    }
}

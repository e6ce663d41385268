//! An open log: appending and syncing. Reading is in `read`, cutting at either end in `cut`, opening in `recovery`.
//!
//! Locks, always taken in this order: `layout` (readers of files share it; who cuts needs it alone), `syncing`
//! (one sync at a time, so that waiting callers share it), `writer`, then `synced` or `state`, held for moments and never
//! across I/O.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard, RwLock};
use perigee_runtime::Files;

use crate::cache::Cache;
use crate::control::Control;
use crate::error::LogError;
use crate::format::{
    FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameHeader, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES,
    SegmentHeader, encode_record, padded,
};
use crate::record::{ChainHash, LogOptions, Record, Recovery};
use crate::recovery;
use crate::segment::Segment;

const CACHE_BYTES_MAX: usize = 16 << 20;
/// Bytes of record offsets kept for segments that are full; those of the newest stay.
const OFFSET_BYTES_MAX: usize = 32 << 20;

/// An open log. One thread appends, any number reads.
pub struct Log {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) options: LogOptions,
    pub(crate) layout: RwLock<()>,
    pub(crate) syncing: Mutex<()>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) state: RwLock<State>,
    synced: Mutex<Synced>,
    synced_index: AtomicU64,
    poison: OnceLock<String>,
}

/// What only the writer touches.
pub(crate) struct Writer {
    /// The bytes of one frame; reused.
    frame: Vec<u8>,
    /// Where its records begin, in their segment; reused.
    offsets: Vec<u32>,
    closed: bool,
    pub(crate) control: Control,
}

/// What readers need. Changed by the writer only, behind the write it describes.
pub(crate) struct State {
    /// Oldest first, never empty; frames are appended to the last.
    pub(crate) segments: Vec<Segment>,
    /// The first index of each run of records of one term.
    pub(crate) terms: Vec<(u64, u64)>,
    pub(crate) cache: Cache,
    /// The hash of the last record.
    pub(crate) head: ChainHash,
    /// (term, index) that was purged last.
    pub(crate) purged: Option<(u64, u64)>,
}

impl State {
    pub(crate) fn active(&self) -> &Segment {
        // `segments` is never empty: it begins with one, and purging and truncation keep one.
        &self.segments[self.segments.len() - 1]
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    pub(crate) fn first(&self) -> u64 {
        self.segments[0].first()
    }

    pub(crate) fn next(&self) -> u64 {
        self.active().next()
    }

    pub(crate) fn last(&self) -> u64 {
        self.next() - 1
    }

    /// Forgets offsets of the oldest segments past the bound; reading there scans again.
    pub(crate) fn bound_offsets(&mut self, keep: usize) {
        let bytes = |segment: &Segment| segment.offsets.as_ref().map_or(0, |offsets| offsets.len() * 4);
        let mut total: usize = self.segments.iter().map(bytes).sum();
        let full = self.segments.len() - 1;
        for (at, segment) in self.segments[..full].iter_mut().enumerate() {
            if total > OFFSET_BYTES_MAX && at != keep {
                total -= bytes(segment);
                segment.offsets = None;
            }
        }
    }
}

/// What is known to be durable: a record, and bytes of a segment.
#[derive(Clone, Copy)]
pub(crate) struct Synced {
    pub(crate) index: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Log {
    /// Opens the log in `options.dir`, made where there is none: checks every byte, finishes what a crash interrupted, cuts
    /// a torn tail.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when bytes that were durable have changed; the files are left as they are.
    pub fn open(files: Arc<dyn Files>, options: LogOptions) -> Result<(Log, Recovery), LogError> {
        let recovered = recovery::recover(&*files, &options)?;
        let (control, recovery) = (recovered.control, recovered.recovery);
        let active = recovered.segments.last().map_or((0, SEGMENT_HEADER_BYTES), |s| (s.first(), s.end));
        let mut state = State {
            segments: recovered.segments,
            terms: recovered.terms,
            cache: Cache::new(CACHE_BYTES_MAX),
            head: recovered.head,
            purged: control.purged,
        };
        state.bound_offsets(usize::MAX);
        let log = Log {
            files,
            options,
            layout: RwLock::new(()),
            syncing: Mutex::new(()),
            writer: Mutex::new(Writer { frame: Vec::new(), offsets: Vec::new(), closed: false, control }),
            state: RwLock::new(state),
            synced: Mutex::new(Synced { index: recovery.synced, segment: active.0, offset: active.1 }),
            synced_index: AtomicU64::new(recovery.synced),
            poison: OnceLock::new(),
        };
        Ok((log, recovery))
    }

    /// Writes `records`, which follow the last one without a gap, as one frame; as several where they are over 4 MiB or fill
    /// a segment. They can be read at once, and are durable after the next [`Log::sync`]. `committed` is what is known to be
    /// committed; [`Recovery::committed`] tells of it after a restart.
    ///
    /// # Errors
    /// [`LogError::OutOfOrder`], [`LogError::TooLarge`]: nothing was written. Any other poisons the log.
    pub fn append(&self, records: &[Record], committed: u64) -> Result<(), LogError> {
        let mut writer = self.writer()?;
        let next = self.state.read().next();
        for (expected, record) in (next..).zip(records) {
            if record.index != expected {
                return Err(LogError::OutOfOrder { expected, found: record.index });
            }
            let bytes = (RECORD_HEADER_BYTES + record.payload.len()) as u64;
            if bytes > RECORD_BYTES_MAX {
                return Err(LogError::TooLarge { bytes });
            }
        }
        let mut rest = records;
        while !rest.is_empty() {
            let (frame, behind) = rest.split_at(self.frame_records(rest));
            self.append_frame(&mut writer, frame, committed).map_err(|e| self.poisoned_by(e))?;
            rest = behind;
        }
        Ok(())
    }

    /// How many of `records` go into one frame.
    fn frame_records(&self, records: &[Record]) -> usize {
        let room = self.options.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES);
        let bytes_max = usize::try_from(room).unwrap_or(usize::MAX).min(FRAME_BYTES_MAX);
        let mut bytes = FRAME_HEADER_BYTES;
        let fits = |record: &&Record| {
            bytes += RECORD_HEADER_BYTES + record.payload.len();
            bytes <= bytes_max
        };
        records.iter().take_while(fits).count().max(1)
    }

    fn append_frame(&self, writer: &mut Writer, records: &[Record], committed: u64) -> Result<(), LogError> {
        let body: usize = records.iter().map(|record| RECORD_HEADER_BYTES + record.payload.len()).sum();
        let frame_bytes = padded((FRAME_HEADER_BYTES + body) as u64);
        let (end, count) = {
            let state = self.state.read();
            (state.active().end, state.active().count)
        };
        if count > 0 && end + frame_bytes > self.options.segment_bytes {
            self.roll(frame_bytes)?;
        }
        let (offset, seed, file, mut head) = {
            let state = self.state.read();
            let active = state.active();
            (active.end, active.seed, Arc::clone(&active.file), state.head)
        };
        let synced = *self.synced.lock();
        let header = FrameHeader {
            body_bytes: body as u32,
            count: records.len() as u32,
            first: records.first().map_or(0, |record| record.index),
            synced_index: synced.index,
            synced_offset: synced.offset,
            // Never more than is durable here: a follower hears of commits of records that it may yet lose, and a mark
            // above the end would make damage of an ordinary torn tail.
            committed: committed.min(synced.index),
            offset,
        };
        writer.frame.clear();
        writer.offsets.clear();
        writer.frame.extend_from_slice(&header.encode(seed));
        for record in records {
            writer.offsets.push((offset + writer.frame.len() as u64) as u32);
            head = encode_record(record, &head, &mut writer.frame);
        }
        writer.frame.resize(frame_bytes as usize, 0);
        file.write_all_at(offset, &writer.frame)
            .map_err(|e| LogError::io("cannot write", &self.state.read().active().path, e))?;

        let mut state = self.state.write();
        state.head = head;
        for record in records {
            if state.terms.last().is_none_or(|(_, term)| *term != record.term) {
                state.terms.push((record.index, record.term));
            }
            state.cache.push(record);
        }
        let active = state.active_mut();
        active.end = offset + frame_bytes;
        active.count += records.len() as u64;
        if let Some(offsets) = &mut active.offsets {
            offsets.extend_from_slice(&writer.offsets);
        }
        Ok(())
    }

    /// Closes the last segment and begins the next. The old one is synced first, so that only the last segment of a log can
    /// have a torn tail.
    fn roll(&self, frame_bytes: u64) -> Result<(), LogError> {
        let (file, path, header) = {
            let state = self.state.read();
            let active = state.active();
            let header = SegmentHeader { cluster_id: self.options.cluster_id, first: state.next(), before: state.head };
            (Arc::clone(&active.file), active.path.clone(), header)
        };
        file.sync_data().map_err(|e| LogError::io("cannot sync", &path, e))?;
        let bytes = self.options.segment_bytes.max(SEGMENT_HEADER_BYTES + frame_bytes);
        let segment = Segment::create(&*self.files, &self.options.dir, header, bytes)?;
        let mut state = self.state.write();
        state.segments.push(segment);
        state.bound_offsets(usize::MAX);
        drop(state);
        self.set_synced(header.first - 1, header.first, SEGMENT_HEADER_BYTES);
        Ok(())
    }

    /// Makes durable what was appended before the call. Callers that come while one sync runs share the next.
    ///
    /// # Errors
    /// Whatever it is, the log is poisoned: what a failed sync leaves on disk is in doubt for ever.
    pub fn sync(&self) -> Result<(), LogError> {
        let wanted = {
            let state = self.state.read();
            state.last()
        };
        let alone = self.syncing.lock();
        self.sync_active(&alone, wanted)
    }

    /// [`Log::sync`] for who holds the lock already.
    pub(crate) fn sync_active(&self, _alone: &MutexGuard<'_, ()>, wanted: u64) -> Result<(), LogError> {
        self.check_poison()?;
        if self.synced_index() >= wanted {
            return Ok(());
        }
        let (file, path, first, end, last) = {
            let state = self.state.read();
            let active = state.active();
            (Arc::clone(&active.file), active.path.clone(), active.first(), active.end, state.last())
        };
        file.sync_data().map_err(|e| self.poisoned_by(LogError::io("cannot sync", &path, e)))?;
        self.set_synced(last, first, end);
        Ok(())
    }

    /// Moves the mark forward; of two that race, the one further on stays.
    fn set_synced(&self, index: u64, segment: u64, offset: u64) {
        let mut synced = self.synced.lock();
        if (index, segment, offset) > (synced.index, synced.segment, synced.offset) {
            *synced = Synced { index, segment, offset };
            self.synced_index.store(index, Ordering::Release);
        }
    }

    /// Moves the mark to where a truncation or reset has put the end of the log.
    pub(crate) fn reset_synced(&self, index: u64, segment: u64, offset: u64) {
        *self.synced.lock() = Synced { index, segment, offset };
        self.synced_index.store(index, Ordering::Release);
    }

    /// The last record that is durable.
    #[must_use]
    pub fn synced_index(&self) -> u64 {
        self.synced_index.load(Ordering::Acquire)
    }

    /// Syncs, and writes the mark of a clean stop: from here on not even the last record can be lost unnoticed. What would
    /// write fails afterwards with [`LogError::Closed`]; reads go on.
    ///
    /// # Errors
    /// As [`Log::sync`]. Closing twice is fine.
    pub fn close(&self) -> Result<(), LogError> {
        let alone = self.syncing.lock();
        let mut writer = self.writer.lock();
        if writer.closed {
            return Ok(());
        }
        let last = self.state.read().last();
        self.sync_active(&alone, last)?;
        writer.control.synced = last;
        writer.control.store(&*self.files, &self.options.dir).map_err(|e| self.poisoned_by(e))?;
        writer.closed = true;
        Ok(())
    }

    /// The writer, for who may still write.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, Writer>, LogError> {
        let writer = self.writer.lock();
        self.check_poison()?;
        if writer.closed { Err(LogError::Closed) } else { Ok(writer) }
    }

    fn check_poison(&self) -> Result<(), LogError> {
        match self.poison.get() {
            Some(first) => Err(LogError::Poisoned(first.clone())),
            None => Ok(()),
        }
    }

    /// Notes that a write failed; nothing is written afterwards.
    pub(crate) fn poisoned_by(&self, error: LogError) -> LogError {
        // The first failure is the one to report.
        let _ = self.poison.set(error.to_string());
        error
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("dir", &self.options.dir).finish_non_exhaustive()
    }
}

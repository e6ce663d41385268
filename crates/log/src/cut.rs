//! Cutting the log: behind a record (Raft replaces what was never committed), below one (a checkpoint holds it), or
//! whole (a snapshot takes its place).
//!
//! Each takes several steps on disk, so what is to be done is written to the control file first: see [`Intent`].

use crate::control::Intent;
use crate::error::LogError;
use crate::format::{FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::{Log, Writer};
use crate::read::{segment_of, term_in};
use crate::record::ChainHash;
use crate::segment::{self, Segment};

/// Where a truncation cuts.
struct Cut {
    /// Place of its segment, and how many records that keeps.
    at: usize,
    keep: usize,
    /// Where the kept frames end.
    end: u64,
    intent: Intent,
}

impl Log {
    /// Removes every record behind `index`; durable on return.
    ///
    /// # Errors
    /// [`LogError::Purged`] below the record before the first. Any other poisons the log.
    pub fn truncate_after(&self, index: u64) -> Result<(), LogError> {
        let _alone = self.layout.write();
        let syncing = self.syncing.lock();
        let mut writer = self.writer()?;
        let (first, last) = {
            let state = self.state.read();
            (state.first().max(state.purged.map_or(0, |(_, purged)| purged + 1)), state.last())
        };
        if index >= last {
            return Ok(());
        }
        if index + 1 < first {
            return Err(LogError::Purged { index, first });
        }
        self.sync_active(&syncing, last)?;
        self.truncate(&mut writer, index).map_err(|e| self.poisoned_by(e))
    }

    fn truncate(&self, writer: &mut Writer, index: u64) -> Result<(), LogError> {
        let head = self.chain_hash_in_place(index)?;
        let cut = self.plan_cut(index)?;
        writer.control.synced = index.min(writer.control.synced);
        self.carry_out(writer, cut.intent)?;

        let mut state = self.state.write();
        state.segments.truncate(cut.at + 1);
        let active = state.active_mut();
        active.count = cut.keep as u64;
        active.end = cut.end;
        if let Some(offsets) = &mut active.offsets {
            offsets.truncate(cut.keep);
        }
        let first = active.first();
        state.terms.retain(|(first, _)| *first <= index);
        state.cache.truncate_after(index);
        state.head = head;
        drop(state);
        self.reset_synced(index, first, cut.end);
        Ok(())
    }

    fn plan_cut(&self, index: u64) -> Result<Cut, LogError> {
        let unloaded = {
            let state = self.state.read();
            let segment = &state.segments[segment_of(&state, index)];
            segment.offsets.is_none().then(|| segment.first())
        };
        if let Some(first) = unloaded {
            self.load_offsets(first)?;
        }
        let state = self.state.read();
        let at = segment_of(&state, index);
        let segment = &state.segments[at];
        let keep = (index + 1 - segment.first()) as usize;
        let next = segment.offsets.as_ref().and_then(|offsets| offsets.get(keep)).map(|offset| u64::from(*offset));
        let (end, cut_from, frame) = match next {
            // It ends with its segment: only later segments go.
            None => (segment.end, segment.end, None),
            Some(next) => cut_frame(segment, index, next)?,
        };
        let intent = Intent::Truncate { segment: segment.first(), cut_from, cut_to: segment.end, frame };
        Ok(Cut { at, keep, end, intent })
    }

    /// Remembers that records up to `index` are not needed, durably, and removes the segments that hold nothing else. The
    /// last segment stays, so records up to `index` may still be read.
    ///
    /// # Errors
    /// [`LogError::BehindEnd`] when `index` is not there yet: see [`Log::reset_to`]. Any other poisons the log.
    pub fn purge_to(&self, index: u64) -> Result<(), LogError> {
        // Who reads an old segment may have to find its records again by name.
        let _alone = self.layout.write();
        let syncing = self.syncing.lock();
        let mut writer = self.writer()?;
        let (term, gone) = {
            let state = self.state.read();
            if state.purged.is_some_and(|(_, purged)| purged >= index) || index + 1 < state.first() || index == 0 {
                return Ok(());
            }
            let last = state.last();
            let Some(term) = term_in(&state, index) else { return Err(LogError::BehindEnd { index, last }) };
            let gone = state.segments.windows(2).take_while(|pair| pair[1].first() <= index + 1).count();
            (term, gone)
        };
        self.sync_active(&syncing, index)?;
        self.purge(&mut writer, (term, index), gone).map_err(|e| self.poisoned_by(e))
    }

    fn purge(&self, writer: &mut Writer, purged: (u64, u64), gone: usize) -> Result<(), LogError> {
        let mut removed: Vec<Segment> = Vec::new();
        let mut state = self.state.write();
        removed.extend(state.segments.drain(..gone));
        let first = state.first();
        // The run that `first` is in may have begun in a segment that goes.
        let runs_gone = state.terms.partition_point(|(index, _)| *index <= first).saturating_sub(1);
        state.terms.drain(..runs_gone);
        state.purged = Some(purged);
        drop(state);
        writer.control.first = first;
        writer.control.purged = Some(purged);
        // Segments below the first one named here are no part of the log any more; a crash may leave any of them.
        writer.control.store(&*self.files, &self.options.dir)?;
        let removed: Vec<u64> = removed.iter().map(Segment::first).collect();
        segment::remove(&*self.files, &self.options.dir, &removed)
    }

    /// Drops every record: the next one is `index + 1` and chains to `hash`. For a node that installed a snapshot taken at
    /// `index`.
    ///
    /// # Errors
    /// Whatever it is, the log is poisoned.
    pub fn reset_to(&self, term: u64, index: u64, hash: ChainHash) -> Result<(), LogError> {
        let _alone = self.layout.write();
        let _syncing = self.syncing.lock();
        let mut writer = self.writer()?;
        self.reset(&mut writer, term, index, hash).map_err(|e| self.poisoned_by(e))
    }

    fn reset(&self, writer: &mut Writer, term: u64, index: u64, before: ChainHash) -> Result<(), LogError> {
        let first = index + 1;
        writer.control.first = first;
        writer.control.purged = Some((term, index));
        writer.control.synced = index;
        self.carry_out(writer, Intent::Reset { first, before })?;
        let header = SegmentHeader { cluster_id: self.options.cluster_id, first, before };
        let path = segment::path_of(&self.options.dir, first);
        let file = self.files.open(&path, false).map_err(|e| LogError::io("cannot open", &path, e))?;
        let seed = header.seed();
        let end = SEGMENT_HEADER_BYTES;
        let mut state = self.state.write();
        state.segments = vec![Segment { header, seed, path, file, count: 0, end, offsets: Some(Vec::new()) }];
        state.terms.clear();
        state.cache.truncate_after(0);
        state.head = before;
        state.purged = Some((term, index));
        drop(state);
        self.reset_synced(index, first, end);
        Ok(())
    }

    /// Writes the intent, does it, erases it.
    fn carry_out(&self, writer: &mut Writer, intent: Intent) -> Result<(), LogError> {
        let (files, options) = (&*self.files, &self.options);
        writer.control.intent = Some(intent.clone());
        writer.control.store(files, &options.dir)?;
        segment::carry_out(files, &options.dir, &intent, options.cluster_id, options.segment_bytes)?;
        writer.control.intent = None;
        writer.control.store(files, &options.dir)
    }
}

/// Where the frames of `segment` end when `index` is its last record and the next one begins at `next`; from where its
/// bytes go; the new header of the frame that is cut in two.
#[expect(clippy::type_complexity, reason = "one use, named field by field where it is taken apart")]
fn cut_frame(
    segment: &Segment,
    index: u64,
    next: u64,
) -> Result<(u64, u64, Option<(u64, [u8; FRAME_HEADER_BYTES])>), LogError> {
    let mut at = SEGMENT_HEADER_BYTES;
    let mut bytes = [0; FRAME_HEADER_BYTES];
    while at < segment.end {
        let count = segment.file.read_at(at, &mut bytes).map_err(|e| LogError::io("cannot read", &segment.path, e))?;
        let header = FrameHeader::decode(&bytes[..count], segment.seed, at)
            .ok_or_else(|| LogError::damaged(&segment.path, at, "there is no whole frame header"))?;
        if next < header.end() {
            if next == at + FRAME_HEADER_BYTES as u64 {
                // The record is the first of its frame, which goes whole.
                return Ok((at, at, None));
            }
            let body_bytes = (next - at) as u32 - FRAME_HEADER_BYTES as u32;
            let count = (index + 1 - header.first) as u32;
            let kept = FrameHeader { body_bytes, count, ..header };
            return Ok((kept.end(), next, Some((at, kept.encode(segment.seed)))));
        }
        at = header.end();
    }
    Err(LogError::damaged(&segment.path, at, "the frame of a record is gone"))
}

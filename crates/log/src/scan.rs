//! Walks the frames of one segment and checks every byte of them.

use crate::format::{
    FRAME_HEADER_BYTES, FrameHeader, SECTOR_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, hash_of, padded, record_place,
    stored_record,
};
use crate::record::ChainHash;

/// What is known to have been durable, and committed, by what whole frames say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) synced_index: u64,
    pub(crate) synced_offset: u64,
    pub(crate) committed: u64,
}

impl Marks {
    fn take(&mut self, frame: &FrameHeader) {
        self.synced_index = self.synced_index.max(frame.synced_index);
        self.synced_offset = self.synced_offset.max(frame.synced_offset);
        self.committed = self.committed.max(frame.committed);
    }
}

/// The whole frames of a segment, up to the first place where there is none.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Where each record begins.
    pub(crate) offsets: Vec<u32>,
    /// The first index of each run of records of one term.
    pub(crate) terms: Vec<(u64, u64)>,
    /// The index that comes next.
    pub(crate) next: u64,
    /// The hash of the last record.
    pub(crate) head: ChainHash,
    /// Where the frames end.
    pub(crate) end: u64,
    /// Of the whole frames.
    pub(crate) marks: Marks,
    /// The hash of the record that was watched for.
    pub(crate) watched: Option<ChainHash>,
    /// What is wrong with what follows, if that is not simply nothing.
    pub(crate) broken: Option<&'static str>,
}

/// Scans the segment in `bytes`; remembers the hash of the record `watch`.
pub(crate) fn scan(bytes: &[u8], header: &SegmentHeader, seed: u32, watch: Option<u64>) -> Scan {
    let mut scan = Scan {
        offsets: Vec::new(),
        terms: Vec::new(),
        next: header.first,
        head: header.before,
        end: SEGMENT_HEADER_BYTES,
        marks: Marks::default(),
        watched: None,
        broken: None,
    };
    if watch.and_then(|index| index.checked_add(1)) == Some(header.first) {
        scan.watched = Some(header.before);
    }
    loop {
        let rest = &bytes[bytes.len().min(scan.end as usize)..];
        let Some(frame) = FrameHeader::decode(rest, seed, scan.end) else {
            let nothing = rest.iter().take(FRAME_HEADER_BYTES).all(|byte| *byte == 0);
            scan.broken = (!nothing).then_some("there is no whole frame header");
            return scan;
        };
        let (records, terms) = (scan.offsets.len(), scan.terms.len());
        let (next, head, watched) = (scan.next, scan.head, scan.watched);
        if let Err(reason) = scan.frame(&frame, rest, watch) {
            scan.offsets.truncate(records);
            scan.terms.truncate(terms);
            (scan.next, scan.head, scan.watched) = (next, head, watched);
            scan.broken = Some(reason);
            return scan;
        }
        scan.marks.take(&frame);
        scan.end = frame.end();
    }
}

impl Scan {
    fn frame(&mut self, frame: &FrameHeader, rest: &[u8], watch: Option<u64>) -> Result<(), &'static str> {
        let body_end = FRAME_HEADER_BYTES + frame.body_bytes as usize;
        let end = padded(body_end as u64) as usize;
        let Some(padding) = rest.get(body_end..end) else {
            return Err("the frame is longer than the file");
        };
        if padding.iter().any(|byte| *byte != 0) {
            return Err("the padding behind the records is not zero");
        }
        if frame.count != 0 && frame.first != self.next {
            return Err("the frame does not follow the one before it");
        }
        let mut at = FRAME_HEADER_BYTES;
        for _ in 0..frame.count {
            let stored = stored_record(&rest[at..body_end]).ok_or("a record's checksum is wrong")?;
            let (index, term, previous) = record_place(stored).ok_or("a record's header is cut")?;
            if index != self.next {
                return Err("a record's index is not the next one");
            }
            if previous != self.head {
                return Err("a record does not hold the hash of the one before it");
            }
            if self.terms.last().is_none_or(|(_, last)| *last != term) {
                self.terms.push((index, term));
            }
            self.offsets.push(u32::try_from(frame.offset + at as u64).map_err(|_| "the segment is too long")?);
            self.head = hash_of(stored);
            self.next = index + 1;
            if watch == Some(index) {
                self.watched = Some(self.head);
            }
            at += stored.len();
        }
        if at == body_end { Ok(()) } else { Err("the records do not fill their frame") }
    }

    /// The last record, which is the one before the first where there is none.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }
}

/// What stands behind the whole frames of the last segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Of frame headers found there.
    pub(crate) marks: Marks,
    /// How far it reaches, to its last byte that is not zero.
    pub(crate) bytes: u64,
}

static ZEROES: [u8; SECTOR_BYTES as usize] = [0; SECTOR_BYTES as usize];

/// Looks at all that follows `end`; frames begin on sectors, so that later ones are found behind a broken one.
pub(crate) fn scan_tail(bytes: &[u8], seed: u32, end: u64) -> Tail {
    let rest = &bytes[bytes.len().min(end as usize)..];
    let mut tail = Tail { marks: Marks::default(), bytes: 0 };
    for (i, sector) in rest.chunks(SECTOR_BYTES as usize).enumerate() {
        // Most of a segment that was just made: compared at once, as a start of a node waits for this.
        if *sector == ZEROES[..sector.len()] {
            continue;
        }
        let at = i as u64 * SECTOR_BYTES;
        if let Some(last) = sector.iter().rposition(|byte| *byte != 0) {
            tail.bytes = at + last as u64 + 1;
            if let Some(frame) = FrameHeader::decode(sector, seed, end + at) {
                tail.marks.take(&frame);
            }
        }
    }
    tail
}

//! The bytes of the format, as `docs/formats/log.md` describes them: a file of version 1 reads the same for ever.
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{CLUSTER, DIR, open, segment_path};
use perigee_log::Record;
use perigee_runtime::Files;
use perigee_runtime::sim::SimFiles;
use perigee_types::Hlc;
use sha2::{Digest, Sha256};

const SEGMENT_BYTES: u64 = 4 << 10;

fn written() -> (std::sync::Arc<SimFiles>, Vec<Record>) {
    let files = SimFiles::new();
    let (log, _) = open(&files, SEGMENT_BYTES).unwrap();
    let record = |term, index, payload: &'static [u8]| Record {
        term,
        index,
        time: Hlc(0x1122_3344_5566_7788),
        kind: 2,
        payload: Bytes::from_static(payload),
    };
    let records = vec![record(3, 1, b"first"), record(3, 2, b""), record(4, 3, b"third")];
    log.append(&records[..2], 0).unwrap();
    log.sync().unwrap();
    log.append(&records[2..], 1).unwrap();
    log.close().unwrap();
    (files, records)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }
}

#[test]
fn a_segment_is_as_documented() {
    let (files, records) = written();
    let bytes = files.read(&segment_path(1)).unwrap();
    assert_eq!(bytes.len() as u64, SEGMENT_BYTES);

    let mut header = Reader(&bytes[..512]);
    assert_eq!(header.take(8), b"PERIGLOG");
    assert_eq!((header.u32(), header.u32()), (1, 0));
    assert_eq!(header.take(16), CLUSTER.to_le_bytes());
    assert_eq!(header.u64(), 1);
    assert_eq!(header.take(32), [0; 32]);
    assert_eq!(header.take(436), [0; 436]);
    assert_eq!(header.u32(), crc32c::crc32c(&bytes[..508]));

    let seed = crc32c::crc32c(&bytes[..512]);
    let mut previous = [0; 32];
    let mut next = records.iter();
    for (at, body, count, first, synced_index, synced_offset, committed) in
        [(512_usize, 181, 2, 1, 0, 512, 0), (1024, 93, 1, 3, 2, 1024, 1)]
    {
        let mut frame = Reader(&bytes[at..at + 512]);
        assert_eq!(frame.take(4), b"PFRM");
        assert_eq!(frame.u32(), crc32c::crc32c_append(seed, &bytes[at + 8..at + 64]));
        assert_eq!((frame.u32(), frame.u32(), frame.u64()), (body, count, first));
        assert_eq!((frame.u64(), frame.u64(), frame.u64()), (synced_index, synced_offset, committed));
        assert_eq!((frame.u64(), frame.u64()), (at as u64, 0));
        for record in next.by_ref().take(count as usize) {
            let stored = &frame.0[..88 + record.payload.len()];
            let crc = crc32c::crc32c_append(crc32c::crc32c(&stored[..4]), &stored[8..]);
            assert_eq!((frame.u32() as usize, frame.u32()), (stored.len(), crc));
            assert_eq!((frame.take(2), frame.take(1), frame.take(1)), (&[0; 2][..], &[record.kind][..], &[0; 1][..]));
            assert_eq!((frame.u32(), frame.take(12), frame.u32()), (0, &[0; 12][..], 0));
            assert_eq!((frame.u64(), frame.u64(), frame.u64()), (record.term, record.index, record.time.0));
            assert_eq!(frame.take(32), previous);
            assert_eq!(frame.take(record.payload.len()), record.payload);
            previous = Sha256::digest(stored).into();
        }
        assert!(frame.0.iter().all(|byte| *byte == 0));
    }
    assert!(bytes[1536..].iter().all(|byte| *byte == 0));
}

#[test]
fn the_bytes_never_change() {
    let (files, _) = written();
    for (path, expected) in [
        (segment_path(1), "c28fea08294455c19b44153d04872c9b794d73d08cb83c6b68fd0fb4a74995ac"),
        (Path::new(DIR).join("control"), "cc1a6b24775e3f759aa63bca4fc259784bf27eb65053102e25aac91b676752b9"),
    ] {
        let found = hex::encode(Sha256::digest(files.read(&path).unwrap()));
        assert_eq!(found, expected, "{}: a changed format needs a new version", path.display());
    }
}

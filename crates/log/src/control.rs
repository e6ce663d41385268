//! The log's own facts, in `control` beside the segments: where it begins, how far it is surely durable, and what was
//! begun and must be finished after a crash.

use std::path::{Path, PathBuf};

use perigee_runtime::Files;

use crate::error::LogError;
use crate::format::FRAME_HEADER_BYTES;
use crate::record::ChainHash;
use crate::sealed;

const MAGIC: [u8; 8] = *b"PERIGCTL";

/// A change of the files that takes several steps. It is written before the first and erased behind the last; doing it
/// twice is the same as once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Every segment goes; a new one begins at `first`.
    Reset { first: u64, before: ChainHash },
    /// Segments behind `segment` go, and in it the bytes from `cut_from` to `cut_to`; where that is inside of a frame, the
    /// frame gets a new header.
    Truncate { segment: u64, cut_from: u64, cut_to: u64, frame: Option<(u64, [u8; FRAME_HEADER_BYTES])> },
}

/// The facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) cluster_id: u128,
    /// The first index of the first segment; segments below it are being removed.
    pub(crate) first: u64,
    /// (term, index) that was purged last.
    pub(crate) purged: Option<(u64, u64)>,
    /// Records up to here are durable: written by a clean stop and at every start.
    pub(crate) synced: u64,
    pub(crate) intent: Option<Intent>,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("control")
}

impl Control {
    pub(crate) fn load(files: &dyn Files, dir: &Path) -> Result<Option<Self>, LogError> {
        let path = path(dir);
        let Some(bytes) = sealed::read(files, &path, MAGIC)? else { return Ok(None) };
        match Self::decode(&bytes) {
            Some(control) => Ok(Some(control)),
            None => Err(LogError::damaged(&path, 0, "its fields do not make sense")),
        }
    }

    pub(crate) fn store(&self, files: &dyn Files, dir: &Path) -> Result<(), LogError> {
        sealed::write(files, &path(dir), MAGIC, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.extend_from_slice(&self.cluster_id.to_le_bytes());
        let (term, index) = self.purged.unwrap_or_default();
        for number in [self.first, self.synced, u64::from(self.purged.is_some()), term, index] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        match &self.intent {
            None => out.push(0),
            Some(Intent::Reset { first, before }) => {
                out.push(1);
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(before);
            }
            Some(Intent::Truncate { segment, cut_from, cut_to, frame }) => {
                out.push(if frame.is_some() { 3 } else { 2 });
                for number in [segment, cut_from, cut_to] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                if let Some((offset, header)) = frame {
                    out.extend_from_slice(&offset.to_le_bytes());
                    out.extend_from_slice(header);
                }
            }
        }
        out
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (field, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(*field)
        }
        fn number(bytes: &mut &[u8]) -> Option<u64> {
            take(bytes).map(u64::from_le_bytes)
        }
        let bytes = &mut bytes;
        let cluster_id = u128::from_le_bytes(take(bytes)?);
        let (first, synced) = (number(bytes)?, number(bytes)?);
        let (purged, term, index) = (number(bytes)?, number(bytes)?, number(bytes)?);
        let [tag] = take(bytes)?;
        let intent = match tag {
            0 => None,
            1 => Some(Intent::Reset { first: number(bytes)?, before: take(bytes)? }),
            2 | 3 => Some(Intent::Truncate {
                segment: number(bytes)?,
                cut_from: number(bytes)?,
                cut_to: number(bytes)?,
                frame: if tag == 3 { Some((number(bytes)?, take(bytes)?)) } else { None },
            }),
            _ => return None,
        };
        let control = Self { cluster_id, first, purged: (purged != 0).then_some((term, index)), synced, intent };
        bytes.is_empty().then_some(control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back() {
        for intent in [
            None,
            Some(Intent::Reset { first: 8, before: [7; 32] }),
            Some(Intent::Truncate { segment: 1, cut_from: 700, cut_to: 2048, frame: None }),
            Some(Intent::Truncate { segment: 1, cut_from: 700, cut_to: 2048, frame: Some((512, [5; 64])) }),
        ] {
            let control = Control { cluster_id: 5, first: 8, purged: Some((2, 7)), synced: 9, intent };
            let bytes = control.encode();
            assert_eq!(Control::decode(&bytes), Some(control));
            assert_eq!(Control::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}

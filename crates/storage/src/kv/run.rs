//! What is checked of every run before an engine sees it.

use bytes::Bytes;

use super::{KEY_BYTES_MAX, KvError, RunItem};

/// A key, and its value or `None` for a tombstone.
pub(super) type Change = (Vec<u8>, Option<Bytes>);

/// The items of a run, checked: keys that fit, in ascending order, values that fit.
pub(super) struct CheckedRun<'a> {
    run: &'a mut dyn Iterator<Item = RunItem>,
    last: Vec<u8>,
    /// Bytes of keys and values so far.
    pub(super) bytes: u64,
}

impl<'a> CheckedRun<'a> {
    pub(super) fn new(run: &'a mut dyn Iterator<Item = RunItem>) -> Self {
        Self { run, last: Vec::new(), bytes: 0 }
    }

    /// The next item, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Change>, KvError> {
        let Some(item) = self.run.next() else { return Ok(None) };
        let (key, value) = item?;
        if key.is_empty() {
            return Err(KvError::KeyEmpty);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(KvError::KeyTooLong(key.len()));
        }
        if key <= self.last {
            return Err(KvError::KeyOrder);
        }
        let value_len = value.as_ref().map_or(0, Bytes::len);
        if u32::try_from(value_len).is_err() {
            return Err(KvError::ValueTooLong(value_len));
        }
        self.bytes += (key.len() + value_len) as u64;
        self.last.clone_from(&key);
        Ok(Some((key, value)))
    }
}

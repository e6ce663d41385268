//! The newest records in memory: what replication and apply read next.

use std::collections::VecDeque;

use crate::record::Record;

/// What a record costs besides its payload.
const RECORD_OVERHEAD_BYTES: usize = 96;

/// A run of records without gaps that ends at the end of the log, bounded by bytes.
pub(crate) struct Cache {
    records: VecDeque<Record>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn push(&mut self, record: &Record) {
        self.bytes += cost(record);
        self.records.push_back(record.clone());
        self.evict();
    }

    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.evict();
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max
            && let Some(record) = self.records.pop_front()
        {
            self.bytes -= cost(&record);
        }
    }

    pub(crate) fn truncate_after(&mut self, index: u64) {
        while let Some(last) = self.records.back()
            && last.index > index
        {
            self.bytes -= cost(last);
            self.records.pop_back();
        }
    }

    /// The records `[from, to)`, at least one, up to `bytes_max` of payload; `None` when `from` is not here.
    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize) -> Option<Vec<Record>> {
        let skip = usize::try_from(from.checked_sub(self.records.front()?.index)?).ok()?;
        let mut found = Vec::new();
        let mut bytes = 0;
        for record in self.records.iter().skip(skip).take_while(|record| record.index < to) {
            bytes += record.payload.len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(record.clone());
        }
        (!found.is_empty()).then_some(found)
    }
}

fn cost(record: &Record) -> usize {
    record.payload.len() + RECORD_OVERHEAD_BYTES
}

//! Which rows of a table's cold files a scan sees.

use std::sync::Arc;

use arrow::array::{BooleanArray, UInt64Array};
use arrow::buffer::BooleanBuffer;

use super::{LoggedManifest, Manifests};
use crate::table::ChunkScan;

/// The cold part of a scan: files, and which of their rows count.
pub struct ColdRows {
    manifests: Manifests,
    /// In vid order.
    chunks: Vec<(ChunkScan, Option<BooleanArray>)>,
    firsts: Vec<u64>,
    /// Count of rows that the chunks show.
    shown: u64,
    whole: bool,
}

impl ColdRows {
    /// What of `manifests` the cold chunks of a scan show.
    #[must_use]
    pub fn new(manifests: Manifests, chunks: impl IntoIterator<Item = ChunkScan>) -> Self {
        let mut chunks: Vec<_> = chunks.into_iter().map(|chunk| (chunk.clone(), chunk.visible())).collect();
        chunks.sort_by_key(|(chunk, _)| chunk.first_vid());
        // Files of a manifest that no chunk has taken up yet hold nothing that counts.
        let used = |manifest: &&Arc<LoggedManifest>| chunks.iter().any(|(chunk, _)| manifest.covers(chunk.begins()));
        let manifests: Manifests = Arc::new(manifests.iter().filter(used).cloned().collect());
        let visible: usize =
            chunks.iter().map(|(chunk, mask)| mask.as_ref().map_or(chunk.rows_max(), BooleanArray::true_count)).sum();
        let in_files: u64 = manifests.iter().map(|manifest| manifest.rows()).sum();
        let firsts = chunks.iter().map(|(chunk, _)| chunk.first_vid()).collect();
        // A visible row of a cold chunk stands in exactly one file: as many as there are is all of them.
        Self { manifests, shown: visible as u64, whole: visible as u64 == in_files, chunks, firsts }
    }

    /// How many rows are visible.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.shown
    }

    /// The manifests whose files have rows.
    #[must_use]
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Whether all rows of all files are visible.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Which of these rows are visible.
    #[must_use]
    pub fn mask(&self, vids: &UInt64Array) -> BooleanArray {
        let mut at = 0;
        let mask: BooleanBuffer = vids
            .values()
            .iter()
            .map(|vid| {
                // Neighbours mostly lie in one chunk.
                let here = self.firsts.get(at).is_some_and(|first| first <= vid)
                    && self.firsts.get(at + 1).is_none_or(|next| vid < next);
                if !here {
                    at = self.firsts.partition_point(|first| first <= vid).saturating_sub(1);
                }
                let Some((chunk, mask)) = self.chunks.get(at) else { return false };
                let Some(row) = chunk.row_of(*vid) else { return false };
                mask.as_ref().is_none_or(|mask| mask.value(row as usize))
            })
            .collect();
        BooleanArray::new(mask, None)
    }
}

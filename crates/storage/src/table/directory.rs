//! Which chunk holds a row version.
//!
//! Chunks cover disjoint ranges of vids, so one binary search over their first vids finds the one that may hold a vid. A
//! directory is immutable: readers pin it, apply and maintenance put a new one in its place.

use std::sync::Arc;

use super::chunk::Chunk;

/// The chunks of a table in vid order.
#[derive(Clone, Default)]
pub(crate) struct Directory {
    firsts: Vec<u64>,
    chunks: Vec<Arc<Chunk>>,
}

impl Directory {
    /// A directory of chunks in any order.
    pub(crate) fn new(mut chunks: Vec<Arc<Chunk>>) -> Self {
        chunks.sort_by_key(|chunk| chunk.first());
        Self { firsts: chunks.iter().map(|chunk| chunk.first()).collect(), chunks }
    }

    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// The chunk and row that hold a vid.
    pub(crate) fn find(&self, vid: u64) -> Option<(&Arc<Chunk>, u32)> {
        let at = self.firsts.partition_point(|first| *first <= vid).checked_sub(1)?;
        let chunk = &self.chunks[at];
        chunk.vids().position(vid).map(|row| (chunk, row))
    }

    /// Whether a chunk of that name is here.
    pub(crate) fn holds(&self, first: u64) -> bool {
        self.firsts.binary_search(&first).is_ok()
    }

    /// The place of this very chunk; `None` once it has been replaced.
    pub(crate) fn place_of(&self, chunk: &Arc<Chunk>) -> Option<usize> {
        let at = self.firsts.binary_search(&chunk.first()).ok()?;
        Arc::ptr_eq(&self.chunks[at], chunk).then_some(at)
    }

    /// The place of the first chunk at or behind a vid.
    pub(crate) fn place_from(&self, vid: u64) -> usize {
        self.firsts.partition_point(|first| *first < vid)
    }

    /// Adds a chunk whose vids no other covers.
    pub(crate) fn insert(&mut self, chunk: Arc<Chunk>) {
        let at = self.firsts.partition_point(|first| *first < chunk.first());
        self.firsts.insert(at, chunk.first());
        self.chunks.insert(at, chunk);
    }

    /// Puts `new` in the place of neighbours. Gives false and changes nothing when one of `old` is not there any more.
    pub(crate) fn replace(&mut self, old: &[Arc<Chunk>], new: Option<Arc<Chunk>>) -> bool {
        let Some(at) = old.first().and_then(|first| self.place_of(first)) else { return false };
        let Some(range) = self.chunks.get(at..at + old.len()) else { return false };
        if !range.iter().zip(old).all(|(a, b)| Arc::ptr_eq(a, b)) {
            return false;
        }
        self.firsts.splice(at..at + old.len(), new.as_ref().map(|chunk| chunk.first()));
        self.chunks.splice(at..at + old.len(), new);
        true
    }

    /// Keeps the chunks for which `keep` holds.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Chunk) -> bool) {
        self.chunks.retain(|chunk| keep(chunk));
        self.firsts = self.chunks.iter().map(|chunk| chunk.first()).collect();
    }
}

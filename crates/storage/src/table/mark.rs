//! Apply's other half of a table: rows that end, and staged transactions that commit or abort.

use std::sync::Arc;

use super::TableStore;
use super::append::Begin;
use super::chunk::Chunk;
use super::fate::Fate;
use super::vids::Begins;
use crate::store::StoreError;

impl TableStore {
    /// Ends row versions. One that has ended already, or is gone, stays as it is: on a node that has not dropped it yet
    /// the first mark stands, so both do the same.
    pub(crate) fn end(&self, vids: &[u64], end: &Begin) -> Result<(), StoreError> {
        if vids.is_empty() {
            return Ok(());
        }
        self.mark_dirty();
        match end {
            Begin::At(index) => {
                let ended = vids.iter().filter(|vid| self.end_one(**vid, *index)).count();
                self.add_live(-(ended as i64));
            }
            Begin::Staged(fate) => {
                // Hidden marks stand in chunks only.
                let open = Arc::clone(&self.state.read().open);
                if vids.iter().any(|vid| open.position(*vid).is_some()) {
                    self.close_open_rows()?;
                }
                let state = self.state.read();
                for vid in vids {
                    if let Some((chunk, row)) = state.directory.find(*vid) {
                        chunk.ends.stage(row, fate);
                        chunk.mark_ends();
                    }
                }
            }
        }
        Ok(())
    }

    fn end_one(&self, vid: u64, index: u64) -> bool {
        {
            // Held while the mark is set: nobody replaces the chunk in between.
            let state = self.state.read();
            if state.open.position(vid).is_none() {
                let Some((chunk, row)) = state.directory.find(vid) else { return false };
                let first = chunk.ends.set(row, chunk.rows(), index);
                if first {
                    chunk.mark_ends();
                    if chunk.ends.count() == chunk.rows() / 2 + 1 {
                        self.note_worn(Arc::clone(chunk));
                    }
                }
                return first;
            }
        }
        let mut state = self.state.write();
        let open = Arc::make_mut(&mut state.open);
        match open.position(vid) {
            Some(place) if open.ends[place] == super::fate::NEVER => {
                open.ends[place] = index;
                true
            }
            _ => false,
        }
    }

    /// Counts what a staged transaction, whose fate has just been set, made visible here.
    pub(crate) fn committed(&self, fate: &Arc<Fate>) {
        self.mark_dirty();
        let directory = self.pin().0;
        let mut live = 0i64;
        for chunk in directory.chunks() {
            if is_staged_by(chunk, fate) {
                chunk.mark_header();
                live += chunk.rows() as i64;
            }
            let ended = chunk.ends.committed(fate);
            if ended > 0 {
                live -= ended as i64;
                chunk.mark_ends();
                if chunk.ends.count() * 2 > chunk.rows() {
                    self.note_worn(Arc::clone(chunk));
                }
            }
        }
        self.add_live(live);
    }

    /// Drops what a staged transaction did here. Its entries in the indexes go later, off the apply path.
    pub(crate) fn abort(&self, fate: &Arc<Fate>) {
        self.mark_dirty();
        let mut hidden = Vec::new();
        {
            let mut state = self.state.write();
            for chunk in state.directory.chunks() {
                if is_staged_by(chunk, fate) {
                    hidden.push(Arc::clone(chunk));
                } else if chunk.ends.abort(fate) {
                    chunk.mark_ends();
                }
            }
            if !hidden.is_empty() {
                Arc::make_mut(&mut state.directory).retain(|chunk| !is_staged_by(chunk, fate));
            }
        }
        self.aborted.lock().extend(hidden);
    }

    pub(super) fn note_worn(&self, chunk: Arc<Chunk>) {
        self.worn.lock().push(chunk);
    }
}

fn is_staged_by(chunk: &Chunk, fate: &Arc<Fate>) -> bool {
    matches!(chunk.begins(), Begins::Staged(own) if Arc::ptr_eq(own, fate))
}

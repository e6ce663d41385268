//! Rewriting chunks: small neighbours become one, versions that nobody sees any more go.
//!
//! A rewrite shows every open snapshot the same rows, so it is local and never logged. Apply does it for the newest small
//! chunks, in memory only and with bounded work; maintenance does the rest, reading warm columns where it must. Whoever
//! comes second finds the chunks replaced and gives up.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use rustc_hash::FxHashSet;

use super::TableStore;
use super::chunk::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX, Chunk, unshare};
use super::ends::{Ends, Marks};
use super::fate::NEVER;
use super::index::array_entries;
use super::vids::{Begins, Vids};
use crate::store::StoreError;

/// Chunks that one rewrite reads at most.
const NEIGHBOURS_MAX: usize = 32;

/// A row that was dropped, in the map from old rows to new ones.
const GONE: u32 = u32::MAX;

impl TableStore {
    /// Merges the newest chunks while the last is not much smaller than the one before it, so that a row is copied a few
    /// times until its chunk is full, and drops chunks that are dead as a whole.
    pub(super) fn tidy(&self) -> Result<(), StoreError> {
        loop {
            let directory = self.pin().0;
            let chunks = directory.chunks();
            let Some(last) = chunks.last() else { return Ok(()) };
            let horizon = self.context.clock.horizon();
            let from = match chunks.len().checked_sub(2) {
                Some(from) if !self.parts(&chunks[from], last) && worth_merging(&chunks[from], last, horizon) => from,
                _ if is_settled(last) && last.is_hot() && last.ends.dead(horizon) == last.rows() => chunks.len() - 1,
                _ => return Ok(()),
            };
            if !self.rewrite(&chunks[from..])? {
                return Ok(());
            }
        }
    }

    /// Rewrites the worn chunks of which more than half is dead by now. Gives how many.
    pub(crate) fn maintain(&self) -> Result<usize, StoreError> {
        self.forget_aborted()?;
        let worn: Vec<Arc<Chunk>> = std::mem::take(&mut *self.worn.lock());
        let mut rewritten = 0;
        for chunk in worn {
            let directory = self.pin().0;
            let Some(place) = directory.place_of(&chunk) else { continue };
            if chunk.ends.dead(self.context.clock.horizon()) * 2 <= chunk.rows() {
                // An open snapshot still sees them.
                self.note_worn(chunk);
                continue;
            }
            if is_settled(&chunk) && !chunk.is_cold() {
                let range = self.neighbours(directory.chunks(), place, self.context.clock.horizon());
                rewritten += usize::from(self.rewrite(&directory.chunks()[range])?);
            }
        }
        Ok(rewritten)
    }

    /// Rewrites every chunk that has a dead row, and merges small neighbours.
    pub(crate) fn vacuum(&self) -> Result<(), StoreError> {
        self.forget_aborted()?;
        let mut cursor = 0;
        loop {
            let directory = self.pin().0;
            let chunks = directory.chunks();
            let place = directory.place_from(cursor);
            let Some(chunk) = chunks.get(place) else { return Ok(()) };
            cursor = chunk.first() + 1;
            let horizon = self.context.clock.horizon();
            if chunk.is_cold() {
                if chunk.ends.dead(horizon) == chunk.rows() {
                    self.drop_dead(chunk);
                }
                continue;
            }
            if !is_settled(chunk) {
                continue;
            }
            let range = self.neighbours(chunks, place, horizon);
            if range.len() > 1 || chunk.ends.dead(horizon) > 0 {
                cursor = chunks[range.end - 1].first() + 1;
                self.rewrite(&chunks[range])?;
            }
        }
    }

    /// Forgets a cold chunk of which nobody sees a row. Its keys stay in the indexes and lead nowhere.
    fn drop_dead(&self, chunk: &Arc<Chunk>) {
        let mut state = self.state.write();
        Arc::make_mut(&mut state.directory).replace(std::slice::from_ref(chunk), None);
        drop(state);
        self.mark_dirty();
    }

    /// Takes rows of aborted transactions out of the indexes.
    pub(crate) fn forget_aborted(&self) -> Result<(), StoreError> {
        let aborted = std::mem::take(&mut *self.aborted.lock());
        for chunk in aborted {
            // A checkpoint may have removed its columns by now. Its entries then stay, and lead nowhere.
            let Ok(columns) = chunk.all_columns(&self.context) else { continue };
            let rows: Vec<(u32, u64)> = (0..chunk.rows() as u32).map(|row| (row, chunk.vids().at(row))).collect();
            self.forget(&chunk, &columns, &rows)?;
        }
        Ok(())
    }

    /// Takes row versions out of all indexes.
    fn forget(&self, chunk: &Chunk, columns: &[ArrayRef], rows: &[(u32, u64)]) -> Result<(), StoreError> {
        let schema = self.schema();
        for index in self.indexes().iter() {
            let entries = array_entries(index, &schema, rows.iter().copied(), |number| {
                Ok(chunk.column_place(number).map(|place| Arc::clone(&columns[place])))
            })?;
            // In small steps: apply and readers wait for the same lock.
            let mut entries = entries.into_iter().peekable();
            while entries.peek().is_some() {
                index.remove(entries.by_ref().take(256));
            }
        }
        Ok(())
    }

    /// Puts one chunk in the place of neighbours, without their dead rows. False when somebody else was first.
    fn rewrite(&self, old: &[Arc<Chunk>]) -> Result<bool, StoreError> {
        let Some(first) = old.first() else { return Ok(false) };
        if old.iter().any(|chunk| chunk.is_cold()) {
            return Ok(false);
        }
        let horizon = self.context.clock.horizon();
        let mut columns = Vec::with_capacity(old.len());
        let mut kept = Kept::default();
        for chunk in old {
            let arrays = chunk.all_columns(&self.context)?;
            let dead = kept.add(chunk, horizon);
            self.forget(chunk, &arrays, &dead)?;
            columns.push(arrays);
        }
        let new = if kept.vids.is_empty() {
            None
        } else {
            let numbers = first.columns().iter().map(|column| column.number);
            let merged = numbers.enumerate().map(|(place, number)| {
                let parts = columns.iter().map(|arrays| &arrays[place]);
                Ok((number, kept.pick(parts)?))
            });
            let merged = merged.collect::<Result<Vec<_>, StoreError>>()?;
            let begins = match first.begins() {
                // Hidden: all of them belong to one transaction.
                Begins::Staged(fate) if fate.index() == NEVER => Begins::Staged(Arc::clone(fate)),
                _ => Begins::from_rows(kept.begins.iter().copied()),
            };
            let vids = Vids::from_list(kept.vids.clone());
            Some(Chunk::new(&self.context, first.first(), vids, begins, Ends::default(), merged))
        };
        let mut state = self.state.write();
        if !Arc::make_mut(&mut state.directory).replace(old, new.clone()) {
            return Ok(false);
        }
        if let Some(new) = &new {
            // Under the lock, so that no mark is set between the look and the replacement.
            new.ends.replace(kept.marks(old, new.rows()));
        }
        for (chunk, arrays) in old.iter().zip(&columns) {
            chunk.supersede(arrays, &self.context);
        }
        drop(state);
        self.mark_dirty();
        Ok(true)
    }
}

/// Which rows of the old chunks are kept, and where they go.
#[derive(Default)]
struct Kept {
    vids: Vec<u64>,
    begins: Vec<u64>,
    /// For each old chunk: its rows' new rows.
    places: Vec<Vec<u32>>,
}

impl Kept {
    /// Adds the rows of a chunk that somebody may still see; gives the others.
    fn add(&mut self, chunk: &Chunk, horizon: u64) -> Vec<(u32, u64)> {
        let rows = chunk.rows();
        let mut places = vec![0u32; rows];
        chunk.ends.read(|marks| {
            marks.for_each(|row, end| {
                if end <= horizon {
                    places[row as usize] = GONE;
                }
            });
        });
        let mut begins = vec![0u64; rows];
        chunk.begins().for_each_run(rows as u32, |from, to, index| begins[from as usize..to as usize].fill(index));
        let mut dead = Vec::new();
        for (row, place) in places.iter_mut().enumerate() {
            let vid = chunk.vids().at(row as u32);
            if *place == GONE {
                dead.push((row as u32, vid));
                continue;
            }
            *place = self.vids.len() as u32;
            self.vids.push(vid);
            self.begins.push(begins[row]);
        }
        self.places.push(places);
        dead
    }

    /// One column of the rows that are kept.
    fn pick<'a>(&self, parts: impl Iterator<Item = &'a ArrayRef>) -> Result<ArrayRef, StoreError> {
        let mut picked = Vec::with_capacity(self.places.len());
        let mut dropped = false;
        for (array, places) in parts.zip(&self.places) {
            if places.contains(&GONE) {
                let rows = (0..places.len() as u32).filter(|row| places[*row as usize] != GONE);
                picked.push(take(array, &UInt32Array::from_iter_values(rows), None)?);
                dropped = true;
            } else {
                picked.push(Arc::clone(array));
            }
        }
        let refs: Vec<_> = picked.iter().map(AsRef::as_ref).collect();
        let array = if refs.len() == 1 { Arc::clone(&picked[0]) } else { concat(&refs)? };
        Ok(if dropped { unshare(array) } else { array })
    }

    /// The end-marks of the rows that are kept, as they are now.
    fn marks(&self, old: &[Arc<Chunk>], rows: usize) -> Marks {
        let mut out = Marks::default();
        for (chunk, places) in old.iter().zip(&self.places) {
            chunk.ends.read(|marks| {
                marks.for_each(|row, end| {
                    if let Some(place) = places.get(row as usize).filter(|place| **place != GONE) {
                        out.push(*place, rows, end);
                    }
                });
                for staged in marks.staged().iter().filter(|staged| staged.fate.index() == NEVER) {
                    let moved = staged.rows.iter().filter_map(|row| places.get(*row as usize).copied());
                    out.push_staged(
                        Arc::clone(&staged.fate),
                        moved.filter(|place| *place != GONE).collect::<FxHashSet<_>>(),
                    );
                }
            });
        }
        out
    }
}

/// Whether it is known when its rows became visible.
fn is_settled(chunk: &Chunk) -> bool {
    chunk.begins().bounds().1 != NEVER
}

fn worth_merging(before: &Chunk, last: &Chunk, horizon: u64) -> bool {
    before.rows() < 2 * last.rows()
        && before.is_hot()
        && last.is_hot()
        && alike(before, last)
        && Size::of(before, horizon).plus(Size::of(last, horizon)).fits()
}

/// Whether two neighbours may become one chunk as far as their kind goes.
fn alike(a: &Chunk, b: &Chunk) -> bool {
    let same_fate = match (a.begins(), b.begins()) {
        (Begins::Staged(x), Begins::Staged(y)) if Arc::ptr_eq(x, y) => true,
        _ => is_settled(a) && is_settled(b),
    };
    let columns = |chunk: &Chunk| chunk.columns().iter().map(|c| (c.number, c.ty.clone())).collect::<Vec<_>>();
    same_fate && !a.is_cold() && !b.is_cold() && columns(a) == columns(b)
}

/// What is left of chunks when their dead rows are dropped.
#[derive(Clone, Copy)]
struct Size {
    rows: usize,
    bytes: usize,
}

impl Size {
    fn of(chunk: &Chunk, horizon: u64) -> Self {
        let rows = chunk.rows() - chunk.ends.dead(horizon).min(chunk.rows());
        Self { rows, bytes: chunk.bytes() / chunk.rows().max(1) * rows }
    }

    fn plus(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }

    fn fits(self) -> bool {
        self.rows <= CHUNK_ROWS_MAX && self.bytes <= CHUNK_BYTES_MAX
    }
}

impl TableStore {
    /// Chunks from here on stay apart from those before, which are about to become cold as a whole.
    pub(crate) fn seal(&self) {
        self.seal.store(self.next_vid(), Ordering::Release);
    }

    /// Whether the seal lies between two chunks.
    fn parts(&self, a: &Chunk, b: &Chunk) -> bool {
        let seal = self.seal.load(Ordering::Acquire);
        (a.first() < seal) != (b.first() < seal)
    }

    /// The chunk at `place` with the small ones beside it that fit into one chunk together.
    fn neighbours(&self, chunks: &[Arc<Chunk>], place: usize, horizon: u64) -> Range<usize> {
        let own = &chunks[place];
        let mut size = Size::of(own, horizon);
        let mut range = place..place + 1;
        let mut take = |n: usize, count: usize| {
            let one = Size::of(&chunks[n], horizon);
            let small = one.rows <= CHUNK_ROWS_MAX / 2 && one.bytes <= CHUNK_BYTES_MAX / 2;
            let may = count < NEIGHBOURS_MAX && !self.parts(own, &chunks[n]) && alike(own, &chunks[n]);
            let fits = small && may && size.plus(one).fits();
            if fits {
                size = size.plus(one);
            }
            fits
        };
        while range.start > 0 && take(range.start - 1, range.len()) {
            range.start -= 1;
        }
        while range.end < chunks.len() && take(range.end, range.len()) {
            range.end += 1;
        }
        range
    }
}

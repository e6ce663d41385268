//! The run: frozen state as key-value pairs in strictly ascending order.
//!
//! Everything is made while the LSM takes it, one value at a time: a checkpoint needs the memory of one column.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use perigee_types::{IndexId, Oid};

use super::chunk_format::{encode_header, encode_marks, encode_open};
use super::format;
use super::freeze::{ChunkChange, Frozen, FrozenTable};
use super::records::SequenceRecord;
use crate::encoding::encode_column;
use crate::kv::keys::{self, Kind};
use crate::kv::{KvEngine, KvError, RunItem};
use crate::store::StoreError;
use crate::table::chunk::Chunk;
use crate::table::context::TableContext;
use crate::table::index::{Delta, KeyDelta, TableIndex, VidList};

/// A key and its value, `None` for a tombstone.
type Pair = Result<(Vec<u8>, Option<Bytes>), StoreError>;

/// What a run writes of one index.
enum IndexChange<'a> {
    Delta(&'a TableContext, &'a TableIndex, &'a Delta),
    /// All its keys go.
    Clear,
}

impl Frozen {
    /// Writes the run. Gives the bytes written.
    pub(super) fn write(&self, kv: &dyn KvEngine) -> Result<u64, StoreError> {
        // The engine's error has no room for ours: it waits here.
        let cause: RefCell<Option<StoreError>> = RefCell::new(None);
        let mut run = self.pairs(kv).map(|pair| -> RunItem {
            pair.map_err(|error| {
                let text = error.to_string();
                *cause.borrow_mut() = Some(error);
                KvError::Run(text)
            })
        });
        let written = kv.ingest(&mut run);
        drop(run);
        written.map_err(|error| cause.into_inner().unwrap_or(StoreError::Kv(error)))
    }

    fn pairs<'a>(&'a self, kv: &'a dyn KvEngine) -> impl Iterator<Item = Pair> + 'a {
        let tables = || self.tables.iter();
        self.state(kv)
            .chain(self.objects.iter().map(|(oid, object)| {
                Ok((format::object_key(Kind::Catalog, *oid), object.as_ref().map(|o| format::seal_json(o).into())))
            }))
            .chain(self.sequences.iter().map(|(oid, state)| {
                let record = state.map(|s| SequenceRecord { next: s.next, called: s.called });
                Ok((format::object_key(Kind::Sequence, *oid), record.map(|r| format::seal_json(&r).into())))
            }))
            .chain(self.companion.iter().flat_map(|companion| companion.facts()).map(Ok))
            .chain(tables().flat_map(FrozenTable::facts))
            .chain(tables().flat_map(|table| table.headers(self.index.0)))
            .chain(tables().flat_map(FrozenTable::columns))
            .chain(tables().flat_map(|table| table.marks(self)))
            .chain(self.index_pairs(kv, true))
            .chain(self.index_pairs(kv, false))
            .chain(self.companion.iter().flat_map(|companion| companion.pairs()).map(|pair| Ok(pair?)))
    }

    fn state<'a>(&'a self, kv: &'a dyn KvEngine) -> impl Iterator<Item = Pair> + 'a {
        let pair = |name: &str, value: Vec<u8>| -> Pair { Ok((format::state_key(name), Some(value.into()))) };
        [pair("dropped", format::seal_json(&self.dropped)), pair("meta", format::seal_json(&self.meta))]
            .into_iter()
            .chain(self.pieces(kv))
            .chain([pair("staged", format::seal_json(&self.staged))])
    }

    /// Pieces that are kept, and tombstones for those that the LSM has of entries which are whole since, or given up.
    fn pieces<'a>(&'a self, kv: &'a dyn KvEngine) -> impl Iterator<Item = Pair> + 'a {
        let mut pieces: BTreeMap<Vec<u8>, Result<Option<&'a Bytes>, StoreError>> = BTreeMap::new();
        let (from, to) = keys::range_of(&format::state_key(format::PIECE));
        for stored in kv.scan(bound(&from), bound(&to)) {
            match stored {
                Ok((key, _)) => pieces.insert(key.to_vec(), Ok(None)),
                Err(error) => pieces.insert(format::state_key(format::PIECE), Err(error.into())),
            };
        }
        for (transaction, kept) in &self.pieces {
            for (number, piece) in (0..).zip(kept.iter()) {
                pieces.insert(format::piece_key(*transaction, number), Ok(Some(piece)));
            }
        }
        pieces.into_iter().map(|(key, piece)| {
            let value = piece?.map(|piece| format::seal(|out| out.extend_from_slice(piece)).into());
            Ok((key, value))
        })
    }

    /// Entries of all unique indexes, or of all others, by storage and index oid.
    fn index_pairs<'a>(&'a self, kv: &'a dyn KvEngine, unique: bool) -> impl Iterator<Item = Pair> + 'a {
        let mut changes: BTreeMap<(Oid, IndexId), IndexChange<'a>> = BTreeMap::new();
        for table in &self.tables {
            for (oid, (index, delta)) in table.indexes.iter().filter(|(_, (index, _))| index.unique == unique) {
                let change = IndexChange::Delta(&table.store.context, index, delta);
                changes.insert((table.store.storage(), *oid), change);
            }
        }
        for one in self.cleared.iter().filter(|one| one.unique == unique) {
            changes.insert((one.storage, one.index), IndexChange::Clear);
        }
        let kind = if unique { Kind::Unique } else { Kind::Index };
        changes.into_iter().flat_map(move |((storage, index), change)| {
            let prefix = format::index_prefix(kind, storage, index);
            match change {
                IndexChange::Delta(context, index, delta) => index_delta(kv, prefix, context, index, delta),
                IndexChange::Clear => clear(kv, &prefix),
            }
        })
    }
}

type Pairs<'a> = Box<dyn Iterator<Item = Pair> + 'a>;

/// Tombstones for every key with a prefix.
fn clear(kv: &dyn KvEngine, prefix: &[u8]) -> Pairs<'static> {
    let (from, to) = keys::range_of(prefix);
    let all = kv.scan(bound(&from), bound(&to));
    Box::new(all.map(|item| item.map(|(key, _)| (key.to_vec(), None)).map_err(StoreError::Kv)))
}

fn bound(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// What a delta makes of an index's entries.
fn index_delta<'a>(
    kv: &'a dyn KvEngine,
    prefix: Vec<u8>,
    context: &'a TableContext,
    index: &'a TableIndex,
    delta: &'a Delta,
) -> Pairs<'a> {
    let pairs = delta.iter().map(move |(key, change)| {
        let lsm_key = [&prefix[..], key].concat();
        if !index.unique {
            let added = !change.added.is_empty();
            return Ok((lsm_key, added.then(Bytes::new)));
        }
        let vids = unique_vids(kv, &lsm_key, index, change)?;
        let value = (!vids.is_empty()).then(|| format::encode_vids(&vids).into());
        // What was just written is what is mostly asked for, and the first look into the LSM costs a dozen others. Until the
        // run is there readers ask the delta first: it has the same.
        if !vids.is_empty() && context.index_cache.has_room() {
            context.index_cache.insert(context.storage, index.oid, key, vids);
        }
        Ok((lsm_key, value))
    });
    Box::new(pairs)
}

/// The vids of a unique key, newest first: what the LSM holds, with what came and without what went.
fn unique_vids(
    kv: &dyn KvEngine,
    lsm_key: &[u8],
    index: &TableIndex,
    change: &KeyDelta,
) -> Result<VidList, StoreError> {
    let mut vids: BTreeSet<u64> = change.added.iter().copied().collect();
    if index.is_stored()
        && let Some(value) = kv.get(lsm_key)?
    {
        vids.extend(format::decode_vids(&value, lsm_key)?);
    }
    for vid in &change.removed {
        vids.remove(vid);
    }
    Ok(vids.into_iter().rev().collect())
}

impl FrozenTable {
    fn facts(&self) -> impl Iterator<Item = Pair> + '_ {
        let storage = self.store.storage();
        let open = (!self.open.is_empty()).then(|| encode_open(&self.open).into());
        [
            Ok((format::table_key(storage), Some(format::seal_json(&self.facts).into()))),
            Ok((format::open_rows_key(storage), open)),
        ]
        .into_iter()
    }

    fn headers(&self, at: u64) -> impl Iterator<Item = Pair> + '_ {
        let storage = self.store.storage();
        self.chunks.iter().filter(|(_, change)| change.header).map(move |(first, change)| {
            let header = change.chunk.as_ref().map(|chunk| encode_header(chunk, at).into());
            Ok((format::chunk_key(Kind::Chunk, storage, *first), header))
        })
    }

    fn columns(&self) -> impl Iterator<Item = Pair> + '_ {
        let storage = self.store.storage();
        let changed = self.chunks.iter().filter(|(_, change)| change.columns);
        changed.flat_map(move |(first, change)| {
            let numbers = change.column_numbers();
            let gone = change.before.iter().flat_map(|before| before.columns.iter().copied());
            let mut all: BTreeMap<u16, bool> = gone.map(|number| (number, false)).collect();
            all.extend(numbers.into_iter().map(|number| (number, true)));
            all.into_iter().map(move |(number, kept)| {
                let value = match &change.chunk {
                    Some(chunk) if kept => Some(column_value(chunk, number)?),
                    _ => None,
                };
                Ok((format::column_key(storage, *first, number), value))
            })
        })
    }

    fn marks<'a>(&'a self, frozen: &'a Frozen) -> impl Iterator<Item = Pair> + 'a {
        let at = frozen.index.0;
        let known = |transaction| frozen.staged.iter().any(|staged| staged.transaction == transaction);
        let storage = self.store.storage();
        let changed = self.chunks.iter().filter(|(_, change)| change.marks);
        changed.filter_map(move |(first, change)| {
            let marks = change.chunk.as_ref().and_then(|chunk| encode_marks(&chunk.ends, at, known));
            let written = change.before.as_ref().is_some_and(ChunkChange::had_marks);
            let key = format::chunk_key(Kind::Mark, storage, *first);
            (marks.is_some() || written).then(|| Ok((key, marks.map(Bytes::from))))
        })
    }
}

impl ChunkChange {
    fn had_marks(before: &crate::table::WrittenChunk) -> bool {
        before.marks
    }
}

/// One column of a chunk in memory, or all of a small one under number 0.
fn column_value(chunk: &Chunk, number: u16) -> Result<Bytes, StoreError> {
    let storage = chunk.storage();
    let arrays = chunk.hot().ok_or_else(|| {
        let key = format::column_key(storage, chunk.first(), number);
        format::damaged(&key, "a chunk that was never written is not in memory")
    })?;
    let encode = |place: usize| {
        let column = chunk.columns()[place].number;
        encode_column(&arrays[place]).map_err(|error| StoreError::Column { storage, column, error })
    };
    if number != 0 {
        let place = chunk.column_place(number).ok_or(StoreError::UnknownColumn { storage, column: number })?;
        return encode(place);
    }
    let columns = chunk.columns().iter().enumerate();
    let packed = columns.map(|(place, column)| Ok((column.number, encode(place)?)));
    Ok(format::pack(&packed.collect::<Result<Vec<_>, StoreError>>()?).into())
}

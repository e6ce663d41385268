//! Chunk headers, end-marks and open rows as bytes, as of the index of a checkpoint.
//!
//! ```text
//! header      vids | begins | count, columns: number, bytes, statistics
//! vids        0 first count            dense
//!             1 count, differences     listed
//! begins      0 count, runs: first row (difference), index
//!             1 transaction            hidden
//! statistics  0, or 1 null count | min | max (rows of one value)
//! end-marks   count, then row, index | count of transactions, then transaction, count, rows
//! open rows   first | columns | count, then begin, end + 1 or 0, row
//! ```
//!
//! A mark or a commit behind the checkpoint's index is left out: replaying the log brings it again.

use std::sync::Arc;

use perigee_types::row::{self, RowError, get_varint, put_varint, take};
use perigee_types::{TransactionId, Value};
use rustc_hash::FxHashSet;

use super::format::{VERSION, VERSION_COLD, damaged, seal, seal_as, unseal, unseal_any};
use crate::encoding::ColumnStats;
use crate::store::StoreError;
use crate::table::chunk::{Chunk, ChunkColumn, ChunkHeader};
use crate::table::ends::{Ends, Marks};
use crate::table::fate::{Fate, NEVER};
use crate::table::open_rows::OpenRows;
use crate::table::schema::TableSchema;
use crate::table::vids::{Begins, Vids};

/// Most rows a chunk may have on disk; more is damage.
const ROWS_MAX: u64 = 1 << 20;

/// Finds the fate of a staged transaction, or makes it.
pub(crate) type Fates<'a> = dyn FnMut(TransactionId) -> Arc<Fate> + 'a;

pub(crate) fn encode_header(chunk: &Chunk, at: u64) -> Vec<u8> {
    let version = if chunk.is_cold() { VERSION_COLD } else { VERSION };
    seal_as(version, |out| {
        match chunk.vids() {
            Vids::Dense { first, count } => {
                out.push(0);
                put_varint(*first, out);
                put_varint(u64::from(*count), out);
            }
            Vids::Listed(list) => {
                out.push(1);
                put_varint(list.len() as u64, out);
                let mut before = 0;
                for vid in list.iter() {
                    put_varint(vid - before, out);
                    before = *vid;
                }
            }
        }
        encode_begins(chunk.begins(), at, out);
        put_varint(chunk.columns().len() as u64, out);
        for (place, column) in chunk.columns().iter().enumerate() {
            put_varint(u64::from(column.number), out);
            put_varint(column.bytes as u64, out);
            match chunk.stats(place) {
                None => out.push(0),
                Some(stats) => {
                    out.push(1);
                    put_varint(stats.null_count as u64, out);
                    row::encode(&[stats.min.clone(), stats.max.clone()], out);
                }
            }
        }
    })
}

fn encode_begins(begins: &Begins, at: u64, out: &mut Vec<u8>) {
    match begins {
        Begins::Runs(runs) => {
            out.push(0);
            put_varint(runs.len() as u64, out);
            let mut before = 0;
            for (row, index) in runs.iter() {
                put_varint(u64::from(row - before), out);
                put_varint(*index, out);
                before = *row;
            }
        }
        Begins::Staged(fate) if fate.index() <= at => {
            out.push(0);
            put_varint(1, out);
            put_varint(0, out);
            put_varint(fate.index(), out);
        }
        Begins::Staged(fate) => {
            out.push(1);
            put_varint(fate.transaction().0, out);
        }
    }
}

/// Reads a header. `ends` are the end-marks kept beside it.
pub(crate) fn decode_header(
    value: &[u8],
    key: &[u8],
    first: u64,
    schema: &TableSchema,
    fates: &mut Fates<'_>,
) -> Result<ChunkHeader, StoreError> {
    let (version, mut rest) = unseal_any(value, key)?;
    let cold = match version {
        VERSION => false,
        VERSION_COLD => true,
        _ => return Err(damaged(key, "unknown format version")),
    };
    let bad = |_: RowError| damaged(key, "the header is cut");
    let vids = match take(&mut rest, 1).map_err(bad)?[0] {
        0 => {
            let first = get_varint(&mut rest).map_err(bad)?;
            Vids::Dense { first, count: rows(get_varint(&mut rest).map_err(bad)?, key)? }
        }
        _ => {
            let count = rows(get_varint(&mut rest).map_err(bad)?, key)?;
            let mut list: Vec<u64> = Vec::with_capacity((count as usize).min(rest.len()));
            for _ in 0..count {
                let step = get_varint(&mut rest).map_err(bad)?;
                let vid = list.last().copied().unwrap_or(0).checked_add(step);
                list.push(vid.ok_or_else(|| damaged(key, "a vid is out of range"))?);
            }
            Vids::Listed(list.into_boxed_slice())
        }
    };
    let begins = match take(&mut rest, 1).map_err(bad)?[0] {
        0 => {
            let count = rows(get_varint(&mut rest).map_err(bad)?, key)?;
            let mut runs = Vec::with_capacity((count as usize).min(rest.len()));
            let mut row = 0u32;
            for _ in 0..count {
                row = row.saturating_add(rows(get_varint(&mut rest).map_err(bad)?, key)?);
                runs.push((row, get_varint(&mut rest).map_err(bad)?));
            }
            Begins::Runs(runs.into_boxed_slice())
        }
        _ => Begins::Staged(fates(TransactionId(get_varint(&mut rest).map_err(bad)?))),
    };
    let mut columns = Vec::new();
    for _ in 0..get_varint(&mut rest).map_err(bad)? {
        let number = u16::try_from(get_varint(&mut rest).map_err(bad)?).unwrap_or(0);
        let bytes = get_varint(&mut rest).map_err(bad)? as usize;
        let known = schema.column(number).ok_or_else(|| damaged(key, "the header names an unknown column"))?;
        let stats = match take(&mut rest, 1).map_err(bad)?[0] {
            0 => None,
            _ => {
                let null_count = get_varint(&mut rest).map_err(bad)? as usize;
                let mut bounds = row::decode(&mut rest, 2).map_err(bad)?;
                let max = bounds.pop().unwrap_or(Value::Null);
                Some(ColumnStats { min: bounds.pop().unwrap_or(Value::Null), max, null_count })
            }
        };
        columns.push(ChunkColumn::new(number, known.ty.stored().arrow(), bytes, stats));
    }
    let packed = columns.iter().map(|c| c.bytes).sum::<usize>() < crate::table::chunk::PACKED_BYTES_MAX;
    Ok(ChunkHeader { first, vids, begins, ends: Ends::default(), columns, packed, cold })
}

/// The end-marks as of `at`; `None` where there is none. `known`: the transaction had staged something by then.
pub(crate) fn encode_marks(ends: &Ends, at: u64, known: impl Fn(TransactionId) -> bool) -> Option<Vec<u8>> {
    let (mut plain, mut staged) = (Vec::new(), Vec::new());
    ends.read(|marks| {
        marks.for_each(|row, end| {
            if end <= at {
                plain.push((row, end));
            }
        });
        // Apply goes on meanwhile: one that has begun since comes again out of the log, and nothing else names it.
        let open = |fate: &Fate| fate.index() > at && known(fate.transaction());
        for one in marks.staged().iter().filter(|one| open(&one.fate)) {
            let mut rows: Vec<u32> = one.rows.iter().copied().collect();
            rows.sort_unstable();
            staged.push((one.fate.transaction(), rows));
        }
    });
    if plain.is_empty() && staged.is_empty() {
        return None;
    }
    plain.sort_unstable();
    Some(seal(|out| {
        put_varint(plain.len() as u64, out);
        for (row, end) in plain {
            put_varint(u64::from(row), out);
            put_varint(end, out);
        }
        put_varint(staged.len() as u64, out);
        for (transaction, rows) in staged {
            put_varint(transaction.0, out);
            put_varint(rows.len() as u64, out);
            rows.iter().for_each(|row| put_varint(u64::from(*row), out));
        }
    }))
}

/// Reads the end-marks of a chunk of `count` rows.
pub(crate) fn decode_marks(value: &[u8], key: &[u8], count: usize, fates: &mut Fates<'_>) -> Result<Marks, StoreError> {
    let mut rest = unseal(value, key)?;
    let bad = |_: RowError| damaged(key, "the end-marks are cut");
    let row_in = |row: u64| {
        let row = u32::try_from(row).ok().filter(|row| (*row as usize) < count);
        row.ok_or_else(|| damaged(key, "an end-mark names a row that the chunk does not have"))
    };
    let mut marks = Marks::default();
    for _ in 0..get_varint(&mut rest).map_err(bad)? {
        let row = row_in(get_varint(&mut rest).map_err(bad)?)?;
        marks.push(row, count, get_varint(&mut rest).map_err(bad)?);
    }
    for _ in 0..get_varint(&mut rest).map_err(bad)? {
        let fate = fates(TransactionId(get_varint(&mut rest).map_err(bad)?));
        let mut rows = FxHashSet::default();
        for _ in 0..get_varint(&mut rest).map_err(bad)? {
            rows.insert(row_in(get_varint(&mut rest).map_err(bad)?)?);
        }
        marks.push_staged(fate, rows);
    }
    Ok(marks)
}

pub(crate) fn encode_open(open: &OpenRows) -> Vec<u8> {
    seal(|out| {
        put_varint(open.first, out);
        put_varint(open.columns.len() as u64, out);
        open.columns.iter().for_each(|number| put_varint(u64::from(*number), out));
        put_varint(open.len() as u64, out);
        for (n, row) in open.rows.iter().enumerate() {
            put_varint(open.begins[n], out);
            put_varint(open.ends[n].wrapping_add(1), out);
            row::encode(row, out);
        }
    })
}

pub(crate) fn decode_open(value: &[u8], key: &[u8]) -> Result<OpenRows, StoreError> {
    let mut rest = unseal(value, key)?;
    let bad = |_: RowError| damaged(key, "the open rows are cut");
    let first = get_varint(&mut rest).map_err(bad)?;
    let mut columns = Vec::new();
    for _ in 0..get_varint(&mut rest).map_err(bad)? {
        let number = u16::try_from(get_varint(&mut rest).map_err(bad)?);
        columns.push(number.map_err(|_| damaged(key, "a column number is out of range"))?);
    }
    let mut open = OpenRows::new(first, columns.into());
    for _ in 0..get_varint(&mut rest).map_err(bad)? {
        let begin = get_varint(&mut rest).map_err(bad)?;
        let end = get_varint(&mut rest).map_err(bad)?.wrapping_sub(1);
        open.push(row::decode(&mut rest, open.columns.len()).map_err(bad)?, begin);
        if end != NEVER
            && let Some(last) = open.ends.last_mut()
        {
            *last = end;
        }
    }
    Ok(open)
}

fn rows(count: u64, key: &[u8]) -> Result<u32, StoreError> {
    if count > ROWS_MAX {
        return Err(damaged(key, "a count of rows is out of range"));
    }
    Ok(count as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_are_staged_behind_the_checkpoint_are_left_out() {
        let ends = Ends::default();
        let fates: Vec<Arc<Fate>> = (1..=3).map(|number| Arc::new(Fate::new(TransactionId(number)))).collect();
        for (row, fate) in (0..).zip(&fates) {
            ends.stage(row, fate);
        }
        // The first commits behind the checkpoint, the second stays open, the third has begun since.
        fates[0].commit(9);
        ends.committed(&fates[0]);
        let known = |transaction: TransactionId| transaction.0 < 3;
        let value = encode_marks(&ends, 8, known).unwrap();
        let mut asked = Vec::new();
        let mut find = |transaction| {
            asked.push(transaction);
            Arc::new(Fate::new(transaction))
        };
        let marks = decode_marks(&value, b"key", 10, &mut find).unwrap();
        assert_eq!(marks.staged().iter().map(|one| one.rows.len()).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(asked, [TransactionId(1), TransactionId(2)]);
        assert!(encode_marks(&ends, 8, |_| false).is_none());
    }
}

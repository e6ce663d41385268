//! Entries as bytes.
//!
//! ```text
//! version u8 = 2 | kind u8 | fields
//!
//! transaction   staged: 0, or 1 + id + index of its first part | catalog: JSON | changes | sequences
//! notifying     as transaction | notifications: count, then each: channel | payload | process id (zigzag)
//! mixed         as notifying | length and bytes of what the keyspace wrote
//! stage         id | part | changes
//! stage table   id | table: JSON | indexes: JSON
//! abort         id
//! attest        index | chain hash, 32 bytes | digest, 32 bytes
//! companion     the keyspace's own bytes, to the end
//! piece         id | number | length and bytes; more follow
//! stage's end   as piece; the last of a part of a staged transaction
//! end's end     id | number | index of an entry before the first | length and bytes; the last of the end of a transaction
//!
//! changes       count, then each: storage | columns | ended | 0 + rows, or 1 + record-batch message
//! ended         count, then each: vid (difference to the one before, zigzag) | what is said of it | values | row
//!               said: 0 nothing, 1 its key, 2 all columns
//! ```
//!
//! Numbers are varints; rows are [`perigee_types::row`]; JSON stands behind its length, empty for none.

use std::sync::Arc;

use bytes::Bytes;
use perigee_types::catalog::{CatalogChange, Index, Object, Table};
use perigee_types::row::{self, get_bytes, get_varint, put_bytes, put_varint, take};
use perigee_types::{LogIndex, Oid, Row, SqlType, TransactionId, Vid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cold::Manifest;

use super::batch;
use super::{
    EndedRow, Entry, EntryError, Notification, OldRow, PieceEnd, RowBlock, SequenceChange, TableChange, Transaction,
};
use crate::arrow_value::batch_to_rows;

/// The types of columns, by storage oid and column numbers; `None` where one of them does not exist.
pub type SchemaOf<'a> = dyn Fn(Oid, &[u16]) -> Option<Vec<SqlType>> + 'a;

const VERSION: u8 = 2;

mod kind {
    pub(super) const TRANSACTION: u8 = 1;
    pub(super) const STAGE: u8 = 2;
    pub(super) const ABORT: u8 = 3;
    pub(super) const ATTEST: u8 = 4;
    pub(super) const STAGE_TABLE: u8 = 5;
    pub(super) const NOTIFYING: u8 = 6;
    pub(super) const COMPANION: u8 = 7;
    pub(super) const MIXED: u8 = 8;
    pub(super) const MANIFEST: u8 = 9;
    pub(super) const PIECE: u8 = 10;
    pub(super) const STAGE_PIECE: u8 = 11;
    pub(super) const TRANSACTION_PIECE: u8 = 12;
}

const ROWS: u8 = 0;
const BATCH: u8 = 1;

impl Entry {
    /// The entry as bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        out.push(VERSION);
        match self {
            Entry::Transaction(transaction) => {
                let kind = match (transaction.companion.is_empty(), transaction.notifications.is_empty()) {
                    (true, true) => kind::TRANSACTION,
                    (true, false) => kind::NOTIFYING,
                    (false, _) => kind::MIXED,
                };
                out.push(kind);
                encode_transaction(transaction, &mut out);
                if kind != kind::TRANSACTION {
                    encode_notifications(&transaction.notifications, &mut out);
                }
                if kind == kind::MIXED {
                    put_bytes(&transaction.companion, &mut out);
                }
            }
            Entry::Stage { transaction, part, changes } => {
                out.push(kind::STAGE);
                put_varint(transaction.0, &mut out);
                put_varint(u64::from(*part), &mut out);
                encode_changes(changes, &mut out);
            }
            Entry::StageTable { transaction, table, indexes } => {
                out.push(kind::STAGE_TABLE);
                put_varint(transaction.0, &mut out);
                put_json(table, &mut out);
                put_json(indexes, &mut out);
            }
            Entry::Piece { transaction, number, end, bytes } => {
                out.reserve(bytes.len());
                out.push(match end {
                    PieceEnd::More => kind::PIECE,
                    PieceEnd::Stage => kind::STAGE_PIECE,
                    PieceEnd::Transaction { .. } => kind::TRANSACTION_PIECE,
                });
                put_varint(transaction.0, &mut out);
                put_varint(u64::from(*number), &mut out);
                if let PieceEnd::Transaction { from } = end {
                    put_varint(from.0, &mut out);
                }
                put_bytes(bytes, &mut out);
            }
            Entry::Abort { transaction } => {
                out.push(kind::ABORT);
                put_varint(transaction.0, &mut out);
            }
            Entry::Companion(payload) => {
                out.push(kind::COMPANION);
                out.extend_from_slice(payload);
            }
            Entry::Manifest { storage, manifest } => {
                out.push(kind::MANIFEST);
                put_varint(u64::from(storage.0), &mut out);
                put_json(manifest, &mut out);
            }
            Entry::Attest { index, chain_hash, digest } => {
                out.push(kind::ATTEST);
                put_varint(index.0, &mut out);
                out.extend_from_slice(chain_hash);
                out.extend_from_slice(digest);
            }
        }
        Bytes::from(out)
    }

    /// Reads an entry.
    ///
    /// `schemas` gives the types of record batches; tables that the entry itself creates are looked up in it first.
    ///
    /// # Errors
    /// [`EntryError`] where the bytes are not an entry.
    pub fn decode(bytes: &[u8], schemas: &SchemaOf<'_>) -> Result<Entry, EntryError> {
        Self::decode_with(bytes, schemas, Unknown::Refused)
    }

    /// The manifest of an entry that is one. Reads nothing of other entries.
    #[must_use]
    pub fn manifest_of(bytes: &[u8]) -> Option<Manifest> {
        let mut rest = bytes.strip_prefix(&[VERSION, kind::MANIFEST])?;
        get_u32(&mut rest, "storage").ok()?;
        get_json(&mut rest).ok()
    }

    /// Reads an entry of the past: rows of tables that are gone since are left out where they cannot be read without the
    /// table's types.
    ///
    /// # Errors
    /// [`EntryError`] where the bytes are not an entry.
    pub fn decode_past(bytes: &[u8], schemas: &SchemaOf<'_>) -> Result<Entry, EntryError> {
        Self::decode_with(bytes, schemas, Unknown::LeftOut)
    }

    fn decode_with(bytes: &[u8], schemas: &SchemaOf<'_>, unknown: Unknown) -> Result<Entry, EntryError> {
        let mut rest = bytes;
        let version = get_u8(&mut rest)?;
        if version != VERSION {
            return Err(EntryError::UnknownVersion(version));
        }
        let entry = match get_u8(&mut rest)? {
            kind::TRANSACTION => Entry::Transaction(decode_transaction(&mut rest, schemas, unknown)?),
            which @ (kind::NOTIFYING | kind::MIXED) => {
                let transaction = decode_transaction(&mut rest, schemas, unknown)?;
                let notifications = decode_notifications(&mut rest)?;
                let companion = if which == kind::MIXED { get_bytes(&mut rest)? } else { &[] };
                let companion = Bytes::copy_from_slice(companion);
                Entry::Transaction(Transaction { notifications, companion, ..transaction })
            }
            kind::STAGE => Entry::Stage {
                transaction: TransactionId(get_varint(&mut rest)?),
                part: get_u32(&mut rest, "part")?,
                changes: decode_changes(&mut rest, schemas, unknown)?,
            },
            kind::STAGE_TABLE => Entry::StageTable {
                transaction: TransactionId(get_varint(&mut rest)?),
                table: get_json::<Arc<Table>>(&mut rest)?,
                indexes: get_json::<Vec<Arc<Index>>>(&mut rest)?,
            },
            which @ (kind::PIECE | kind::STAGE_PIECE | kind::TRANSACTION_PIECE) => Entry::Piece {
                transaction: TransactionId(get_varint(&mut rest)?),
                number: get_u32(&mut rest, "number of a piece")?,
                end: match which {
                    kind::PIECE => PieceEnd::More,
                    kind::STAGE_PIECE => PieceEnd::Stage,
                    _ => PieceEnd::Transaction { from: LogIndex(get_varint(&mut rest)?) },
                },
                bytes: Bytes::copy_from_slice(get_bytes(&mut rest)?),
            },
            kind::COMPANION => Entry::Companion(Bytes::copy_from_slice(std::mem::take(&mut rest))),
            kind::ABORT => Entry::Abort { transaction: TransactionId(get_varint(&mut rest)?) },
            kind::MANIFEST => {
                Entry::Manifest { storage: Oid(get_u32(&mut rest, "storage")?), manifest: get_json(&mut rest)? }
            }
            kind::ATTEST => Entry::Attest {
                index: LogIndex(get_varint(&mut rest)?),
                chain_hash: get_hash(&mut rest)?,
                digest: get_hash(&mut rest)?,
            },
            other => return Err(EntryError::UnknownKind(other)),
        };
        if !rest.is_empty() {
            return Err(EntryError::Trailing(rest.len()));
        }
        Ok(entry)
    }
}

/// What becomes of rows whose types nobody knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Refused,
    LeftOut,
}

/// Whether the bytes are an entry that makes something visible: a transaction, or the end of a staged one. Looks at two
/// bytes only.
#[must_use]
pub fn commits(entry: &[u8]) -> bool {
    matches!(entry, [VERSION, kind::TRANSACTION | kind::NOTIFYING | kind::MIXED | kind::TRANSACTION_PIECE, ..])
}

/// Whether the bytes are an entry that may have notifications; looks at two bytes only.
#[must_use]
pub fn notifies(entry: &[u8]) -> bool {
    matches!(entry, [VERSION, kind::NOTIFYING | kind::MIXED | kind::TRANSACTION_PIECE, ..])
}

fn encode_notifications(notifications: &[Notification], out: &mut Vec<u8>) {
    put_varint(notifications.len() as u64, out);
    for one in notifications {
        put_bytes(one.channel.as_bytes(), out);
        put_bytes(one.payload.as_bytes(), out);
        put_varint(zigzag(i64::from(one.process_id)), out);
    }
}

fn decode_notifications(rest: &mut &[u8]) -> Result<Vec<Notification>, EntryError> {
    let count = get_count(rest)?;
    let mut notifications = Vec::with_capacity(count);
    for _ in 0..count {
        notifications.push(Notification {
            channel: get_text(rest)?,
            payload: get_text(rest)?,
            process_id: i32::try_from(unzigzag(get_varint(rest)?)).map_err(|_| EntryError::OutOfRange("process id"))?,
        });
    }
    Ok(notifications)
}

fn get_text(rest: &mut &[u8]) -> Result<String, EntryError> {
    let bytes = get_bytes(rest)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| EntryError::OutOfRange("text"))
}

fn encode_transaction(transaction: &Transaction, out: &mut Vec<u8>) {
    match transaction.staged {
        None => out.push(0),
        Some(id) => {
            out.push(1);
            put_varint(id.0, out);
            put_varint(transaction.staged_from.0, out);
        }
    }
    if transaction.catalog.is_empty() {
        put_bytes(&[], out);
    } else {
        put_json(&transaction.catalog, out);
    }
    encode_changes(&transaction.changes, out);
    put_varint(transaction.sequences.len() as u64, out);
    for change in &transaction.sequences {
        put_varint(u64::from(change.sequence.0), out);
        put_varint(zigzag(change.next), out);
        out.push(u8::from(change.called));
    }
}

fn decode_transaction(rest: &mut &[u8], schemas: &SchemaOf<'_>, unknown: Unknown) -> Result<Transaction, EntryError> {
    let (staged, staged_from) = match get_u8(rest)? {
        0 => (None, LogIndex(0)),
        1 => (Some(TransactionId(get_varint(rest)?)), LogIndex(get_varint(rest)?)),
        _ => return Err(EntryError::OutOfRange("staged")),
    };
    let json = get_bytes(rest)?;
    let catalog: Vec<CatalogChange> = if json.is_empty() { Vec::new() } else { parse_json(json)? };
    let own = |storage, columns: &[u16]| own_schema(&catalog, storage, columns).or_else(|| schemas(storage, columns));
    let changes = decode_changes(rest, &own, unknown)?;
    let count = get_count(rest)?;
    let mut sequences = Vec::with_capacity(count);
    for _ in 0..count {
        sequences.push(SequenceChange {
            sequence: Oid(get_u32(rest, "sequence")?),
            next: unzigzag(get_varint(rest)?),
            called: get_u8(rest)? != 0,
        });
    }
    Ok(Transaction { staged, staged_from, changes, catalog, sequences, ..Transaction::default() })
}

/// The types of a table that the entry itself puts.
fn own_schema(catalog: &[CatalogChange], storage: Oid, columns: &[u16]) -> Option<Vec<SqlType>> {
    catalog.iter().rev().find_map(|change| match change {
        CatalogChange::Put(Object::Table(table)) if table.storage == storage => {
            columns.iter().map(|number| table.number_position(*number).map(|at| table.columns[at].ty.clone())).collect()
        }
        _ => None,
    })
}

fn encode_changes(changes: &[TableChange], out: &mut Vec<u8>) {
    put_varint(changes.len() as u64, out);
    for change in changes {
        put_varint(u64::from(change.storage.0), out);
        put_varint(change.columns.len() as u64, out);
        for number in &change.columns {
            put_varint(u64::from(*number), out);
        }
        encode_ended(&change.ended, out);
        match &change.rows {
            RowBlock::Batch(batch) if batch::is_plain(batch) => {
                out.push(BATCH);
                batch::encode(batch, out);
            }
            RowBlock::Batch(batch) => encode_rows(&batch_to_rows(batch), out),
            RowBlock::Rows(rows) => {
                debug_assert!(rows.iter().all(|row| row.len() == change.columns.len()), "a row has every column named");
                encode_rows(rows, out);
            }
        }
    }
}

fn encode_rows(rows: &[Row], out: &mut Vec<u8>) {
    out.push(ROWS);
    put_varint(rows.len() as u64, out);
    rows.iter().for_each(|row| row::encode(row, out));
}

fn decode_changes(rest: &mut &[u8], schemas: &SchemaOf<'_>, unknown: Unknown) -> Result<Vec<TableChange>, EntryError> {
    let count = get_count(rest)?;
    let mut changes = Vec::with_capacity(count);
    for _ in 0..count {
        let storage = Oid(get_u32(rest, "storage")?);
        let width = get_count(rest)?;
        let mut columns = Vec::with_capacity(width);
        for _ in 0..width {
            columns.push(u16::try_from(get_varint(rest)?).map_err(|_| EntryError::OutOfRange("column"))?);
        }
        let ended = decode_ended(rest)?;
        let rows = match get_u8(rest)? {
            ROWS => RowBlock::Rows(decode_rows(rest, width)?),
            BATCH => match schemas(storage, &columns) {
                Some(types) => RowBlock::Batch(batch::decode(rest, &types)?),
                None if unknown == Unknown::LeftOut => {
                    batch::skip(rest)?;
                    RowBlock::none()
                }
                None => return Err(EntryError::UnknownColumns(storage)),
            },
            other => return Err(EntryError::UnknownKind(other)),
        };
        changes.push(TableChange { storage, columns, ended, rows });
    }
    Ok(changes)
}

fn decode_rows(rest: &mut &[u8], width: usize) -> Result<Vec<Row>, EntryError> {
    let count = if width == 0 {
        // Rows without a column take no byte, so nothing else bounds their count.
        let count = get_varint(rest)? as usize;
        if count > super::BATCH_ROWS_MIN {
            return Err(EntryError::OutOfRange("rows"));
        }
        count
    } else {
        get_count(rest)?
    };
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        rows.push(row::decode(rest, width)?);
    }
    Ok(rows)
}

fn encode_ended(ended: &[EndedRow], out: &mut Vec<u8>) {
    put_varint(ended.len() as u64, out);
    let mut before = 0u64;
    for one in ended {
        put_varint(zigzag(one.vid.0.wrapping_sub(before) as i64), out);
        before = one.vid.0;
        let (said, row) = match &one.old {
            OldRow::Unknown => (0, &Row::new()),
            OldRow::Key(row) => (1, row),
            OldRow::Whole(row) => (2, row),
        };
        out.push(said);
        put_varint(row.len() as u64, out);
        row::encode(row, out);
    }
}

fn decode_ended(rest: &mut &[u8]) -> Result<Vec<EndedRow>, EntryError> {
    let count = get_count(rest)?;
    let mut ended = Vec::with_capacity(count);
    let mut before = 0u64;
    for _ in 0..count {
        let vid = before.wrapping_add(unzigzag(get_varint(rest)?) as u64);
        before = vid;
        let said = get_u8(rest)?;
        let width = get_count(rest)?;
        let row = row::decode(rest, width)?;
        let old = match said {
            0 if row.is_empty() => OldRow::Unknown,
            1 => OldRow::Key(row),
            2 => OldRow::Whole(row),
            _ => return Err(EntryError::OutOfRange("ended row")),
        };
        ended.push(EndedRow { vid: Vid(vid), old });
    }
    Ok(ended)
}

fn put_json(value: &impl Serialize, out: &mut Vec<u8>) {
    // Catalog objects are plain data with string keys; their serialization has no failing case.
    put_bytes(&serde_json::to_vec(value).unwrap_or_default(), out);
}

fn get_json<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, EntryError> {
    parse_json(get_bytes(rest)?)
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EntryError> {
    serde_json::from_slice(bytes).map_err(|error| EntryError::Catalog(error.to_string()))
}

fn get_u8(rest: &mut &[u8]) -> Result<u8, EntryError> {
    Ok(take(rest, 1)?[0])
}

fn get_u32(rest: &mut &[u8], what: &'static str) -> Result<u32, EntryError> {
    u32::try_from(get_varint(rest)?).map_err(|_| EntryError::OutOfRange(what))
}

/// A count of things of which each takes at least one byte: more than the bytes that are left is damage.
fn get_count(rest: &mut &[u8]) -> Result<usize, EntryError> {
    let count = get_varint(rest)?;
    usize::try_from(count).ok().filter(|count| *count <= rest.len()).ok_or(EntryError::OutOfRange("count"))
}

fn get_hash(rest: &mut &[u8]) -> Result<[u8; 32], EntryError> {
    take(rest, 32)?.try_into().map_err(|_| EntryError::OutOfRange("hash"))
}

fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

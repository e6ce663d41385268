//! Reading a checkpoint back.
//!
//! Catalog, sequences, chunk headers, end-marks and open rows come into memory; columns stay where they are until they are
//! read. Whatever does not fit together is damage and names what is damaged: nothing is skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use perigee_types::catalog::{Catalog, Index, Object, Table};
use perigee_types::{LogIndex, Oid, TransactionId};
use rustc_hash::FxHashMap;

use super::chunk_format::{Fates, decode_header, decode_marks, decode_open};
use super::format::{self, damaged};
use super::records::{DroppedRecord, MetaRecord, SequenceRecord, StagedRecord, TableRecord};
use crate::kv::keys::{self, Kind};
use crate::kv::{DroppedSet, KvIter};
use crate::store::{
    Core, Dropped, DroppedIndex, Outcomes, Recovered, Restored, SequenceState, Staged, StoreError, Timeline,
};
use crate::table::chunk::Chunk;
use crate::table::context::{Shared, TableContext};
use crate::table::ends::Ends;
use crate::table::index::TableIndex;
use crate::table::open_rows::OpenRows;
use crate::table::{TableFacts, TableStore, WrittenChunk};

/// Where in the log the last checkpoint of an LSM stands; `None` where there is none yet.
///
/// # Errors
/// [`StoreError::Kv`], and damage of the record.
pub fn position(kv: &dyn crate::kv::KvEngine) -> Result<Option<Recovered>, StoreError> {
    let key = format::state_key("meta");
    let Some(value) = kv.get(&key)? else { return Ok(None) };
    let meta: MetaRecord = format::unseal_json(&value, &key)?;
    Ok(Some(Recovered {
        index: meta.index,
        term: meta.term,
        chain_hash: meta.chain_hash,
        time: meta.time,
        membership: meta.membership,
    }))
}

/// The last checkpoint, or the state of a new cluster.
pub(crate) fn load(shared: &Arc<Shared>, superuser: &str) -> Result<Restored, StoreError> {
    let key = format::state_key("meta");
    let Some(value) = shared.kv.get(&key)? else { return Ok(fresh(superuser)) };
    let meta: MetaRecord = format::unseal_json(&value, &key)?;
    let mut catalog = Catalog::from_objects(meta.catalog_version, load_objects(shared)?);
    catalog.reserve_oids(meta.next_oid);

    let dropped: DroppedRecord = load_state(shared, "dropped")?;
    shared.kv.dropped(dropped.tables.iter().map(|storage| (format::GROUP, *storage)).collect::<DroppedSet>());

    let mut core = Core {
        index: meta.index,
        term: meta.term,
        time: meta.time,
        membership: meta.membership.clone(),
        dropped: restore_dropped(dropped),
        outcomes: Outcomes::restored(meta.index, meta.digest),
        timeline: Timeline::restored(meta.timeline),
        ..Core::default()
    };
    let staged: Vec<StagedRecord> = load_state(shared, "staged")?;
    let tables = load_tables(shared, &catalog, &staged, &mut core)?;
    let recovered = Recovered {
        index: meta.index,
        term: meta.term,
        chain_hash: meta.chain_hash,
        time: meta.time,
        membership: meta.membership,
    };
    let rejected = meta.rejected.into_iter().collect();
    Ok(Restored { recovered, catalog, tables, sequences: load_sequences(shared)?, core, rejected })
}

fn fresh(superuser: &str) -> Restored {
    let catalog = Catalog::bootstrap(superuser);
    let core = Core { changed_objects: catalog.objects().map(Object::oid).collect(), ..Core::default() };
    Restored {
        recovered: Recovered::default(),
        catalog,
        tables: Vec::new(),
        sequences: FxHashMap::default(),
        core,
        rejected: BTreeSet::new(),
    }
}

fn scan(shared: &Shared, prefix: &[u8]) -> KvIter {
    let (from, to) = keys::range_of(prefix);
    shared.kv.scan(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice))
}

/// All keys of a kind, in this group.
fn scan_kind(shared: &Shared, kind: Kind) -> KvIter {
    scan(shared, &keys::prefix(kind, format::GROUP, Oid(0))[..5])
}

fn load_state<T: serde::de::DeserializeOwned>(shared: &Shared, name: &str) -> Result<T, StoreError> {
    let key = format::state_key(name);
    let value = shared.kv.get(&key)?.ok_or_else(|| damaged(&key, "it is missing"))?;
    format::unseal_json(&value, &key)
}

fn load_objects(shared: &Shared) -> Result<Vec<Object>, StoreError> {
    let objects = scan_kind(shared, Kind::Catalog).map(|item| {
        let (key, value) = item?;
        format::unseal_json(&value, &key)
    });
    objects.collect()
}

fn load_sequences(shared: &Shared) -> Result<FxHashMap<Oid, SequenceState>, StoreError> {
    let sequences = scan_kind(shared, Kind::Sequence).map(|item| {
        let (key, value) = item?;
        let record: SequenceRecord = format::unseal_json(&value, &key)?;
        Ok((format::oid_of(&key)?, SequenceState { next: record.next, called: record.called }))
    });
    sequences.collect()
}

fn restore_dropped(record: DroppedRecord) -> Dropped {
    let tables = record.tables.into_iter().map(|storage| (storage, (LogIndex(0), Weak::new())));
    let indexes = record
        .indexes
        .into_iter()
        .map(|one| ((one.storage, one.index), DroppedIndex { unique: one.unique, readers: Weak::new() }));
    Dropped { tables: tables.collect(), indexes: indexes.collect() }
}

fn load_tables(
    shared: &Arc<Shared>,
    catalog: &Catalog,
    staged: &[StagedRecord],
    core: &mut Core,
) -> Result<Vec<Arc<TableStore>>, StoreError> {
    for record in staged {
        let mut one = Staged::new(record.transaction, record.term);
        one.tables.extend(record.tables.iter().copied());
        one.created.clone_from(&record.created);
        core.staged.insert(record.transaction, one);
    }
    load_pieces(shared, core)?;
    let mut unknown = None;
    let mut fates = |transaction: TransactionId| match core.staged.get(&transaction) {
        Some(staged) => Arc::clone(&staged.fate),
        None => {
            unknown = Some(transaction);
            Arc::new(crate::table::fate::Fate::new(transaction))
        }
    };
    let mut tables = Vec::new();
    for object in catalog.objects() {
        if let Object::Table(table) = object {
            let indexes: Vec<&Index> = catalog.indexes_of(table).map(AsRef::as_ref).collect();
            tables.push(load_table(shared, table, &indexes, &mut fates)?);
        }
    }
    for (table, indexes) in staged.iter().flat_map(|record| &record.created) {
        let indexes: Vec<&Index> = indexes.iter().map(AsRef::as_ref).collect();
        tables.push(load_table(shared, table, &indexes, &mut fates)?);
    }
    match unknown {
        None => Ok(tables),
        Some(transaction) => Err(damaged(
            &format::state_key("staged"),
            &format!("hidden rows belong to transaction {transaction}, which is missing"),
        )),
    }
}

fn load_pieces(shared: &Shared, core: &mut Core) -> Result<(), StoreError> {
    for item in scan(shared, &format::state_key(format::PIECE)) {
        let (key, value) = item?;
        let (transaction, number) = format::piece_of(&key)?;
        let bytes = bytes::Bytes::copy_from_slice(format::unseal(&value, &key)?);
        let staged = core.staged.get_mut(&transaction).ok_or_else(|| damaged(&key, "its transaction is missing"))?;
        if !staged.pieces.take(number, bytes) {
            return Err(damaged(&key, "a piece before it is missing"));
        }
        staged.count_pieces(&shared.budget.session);
    }
    Ok(())
}

fn load_table(
    shared: &Arc<Shared>,
    table: &Table,
    indexes: &[&Index],
    fates: &mut Fates<'_>,
) -> Result<Arc<TableStore>, StoreError> {
    let context = TableContext::new(table.storage, Arc::clone(shared));
    let key = format::table_key(table.storage);
    let value = shared.kv.get(&key)?.ok_or_else(|| damaged(&key, "the table is missing"))?;
    let record: TableRecord = format::unseal_json(&value, &key)?;
    let restore = |index: &&Index| {
        let ready = record.indexes.get(&index.oid.0);
        let restored = TableIndex::new(&context, index.oid, &index.columns, index.unique, ready == Some(&true));
        restored.set_stored();
        restored
    };
    let facts = TableFacts {
        indexes: indexes.iter().map(restore).collect(),
        schema: record.schema,
        next_vid: record.next_vid,
        manifests: record.manifests,
    };
    let open_key = format::open_rows_key(table.storage);
    let open = match shared.kv.get(&open_key)? {
        Some(value) => decode_open(&value, &open_key)?,
        None => OpenRows::default(),
    };
    let mut marks = load_marks(shared, table.storage)?;
    let (mut chunks, mut written) = (Vec::new(), BTreeMap::new());
    for item in scan(shared, &keys::prefix(Kind::Chunk, format::GROUP, table.storage)) {
        let (key, value) = item?;
        let first = format::chunk_of(&key)?;
        let mut header = decode_header(&value, &key, first, &facts.schema, fates)?;
        let own = marks.remove(&first);
        if let Some((mark_key, value)) = &own {
            header.ends = Ends::from_marks(decode_marks(value, mark_key, header.vids.len(), fates)?);
        }
        let mut columns: Vec<u16> = header.columns.iter().map(|column| column.number).collect();
        if header.cold {
            columns.clear();
        } else if header.packed {
            columns = vec![0];
        }
        columns.sort_unstable();
        written.insert(first, WrittenChunk { columns, marks: own.is_some() });
        chunks.push(Chunk::restored(&context, header));
    }
    if let Some((key, _)) = marks.into_values().next() {
        return Err(damaged(&key, "end-marks without their chunk"));
    }
    Ok(TableStore::restored(context, facts, chunks, open, written))
}

type Values = BTreeMap<u64, (Vec<u8>, bytes::Bytes)>;

fn load_marks(shared: &Shared, storage: Oid) -> Result<Values, StoreError> {
    let marks = scan(shared, &keys::prefix(Kind::Mark, format::GROUP, storage)).map(|item| {
        let (key, value) = item?;
        Ok((format::chunk_of(&key)?, (key.to_vec(), value)))
    });
    marks.collect()
}

//! A store with a log of its own, driven by hand.

use std::sync::Arc;

use perigee_storage::budget::MemoryBudget;
use perigee_storage::cold::{
    ColdColumn, ColdFile, ColdStore, ColdWriter, FinishedFile, LoggedManifest, Manifest, WriteOptions,
};
use perigee_storage::companion::Companion;
use perigee_storage::entry::{EndedRow, Entry, OldRow, RowBlock, TableChange, Transaction};
use perigee_storage::kv::{KvEngine, MemKv};
use perigee_storage::store::{Applier, ApplyOutcome, Export, Store, StoreError, StoreOptions, file_path};
use perigee_storage::table::{LATEST, TableStore};
use perigee_types::catalog::{BOOTSTRAP_ROLE, CatalogChange, Column, Index, IndexState, Object, PUBLIC_SCHEMA, Table};
use perigee_types::{Hlc, LogIndex, Oid, Row, SqlType, TenantId, Term, Value, Vid, key};

use crate::companion::Refusing;

pub(crate) const TABLE: Oid = Oid(20_000);
pub(crate) const PRIMARY: Oid = Oid(20_001);
pub(crate) const UNIQUE: Oid = Oid(20_002);
pub(crate) const SECOND: Oid = Oid(20_003);

/// A record of the test's log: what a restart applies again.
#[derive(Clone)]
pub(crate) struct Logged {
    pub(crate) index: LogIndex,
    pub(crate) term: Term,
    pub(crate) time: Hlc,
    pub(crate) payload: Option<Vec<u8>>,
}

pub(crate) struct Node {
    pub(crate) kv: Arc<dyn KvEngine>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) store: Arc<Store>,
    applier: Option<Applier>,
    pub(crate) log: Vec<Logged>,
    pub(crate) term: Term,
    pub(crate) cold: Arc<ColdStore>,
    _folder: tempfile::TempDir,
}

pub(crate) fn options() -> StoreOptions {
    StoreOptions { maintenance_thread: false, ..StoreOptions::default() }
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemKv::new()))
    }

    pub(crate) fn within(budget: Arc<MemoryBudget>) -> Self {
        Self::open(Arc::new(MemKv::new()), budget, options())
    }

    pub(crate) fn over(kv: Arc<dyn KvEngine>) -> Self {
        Self::open(kv, MemoryBudget::unlimited(), options())
    }

    pub(crate) fn open(kv: Arc<dyn KvEngine>, budget: Arc<MemoryBudget>, options: StoreOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cold = ColdStore::in_folder(folder.path(), "test/1", 1 << 20).unwrap();
        let options = StoreOptions { cold: Some(Arc::clone(&cold)), ..options };
        let companion = Some(Arc::new(Refusing) as Arc<dyn Companion>);
        let (store, applier) = Store::open_with(options, Arc::clone(&kv), Arc::clone(&budget), companion).unwrap();
        let (log, term) = (Vec::new(), Term(1));
        Self { kv, budget, store, applier: Some(applier), log, term, cold, _folder: folder }
    }

    /// Drops the store, opens what the last checkpoint holds and applies the rest of the log.
    pub(crate) fn reopen(&mut self) {
        self.applier = None;
        self.budget = MemoryBudget::unlimited();
        let companion = Some(Arc::new(Refusing) as Arc<dyn Companion>);
        let (kv, budget) = (Arc::clone(&self.kv), Arc::clone(&self.budget));
        let options = StoreOptions { cold: Some(Arc::clone(&self.cold)), ..options() };
        let (store, applier) = Store::open_with(options, kv, budget, companion).unwrap();
        self.store = store;
        self.applier = Some(applier);
        let from = self.store.recovered().index;
        for logged in self.log.clone().into_iter().filter(|logged| logged.index > from) {
            self.apply(&logged);
        }
        self.publish();
    }

    pub(crate) fn next(&self) -> LogIndex {
        self.log.last().map_or(LogIndex(1), |logged| logged.index.next())
    }

    fn apply(&mut self, logged: &Logged) -> ApplyOutcome {
        let applier = self.applier.as_mut().unwrap();
        match &logged.payload {
            Some(payload) => applier.apply(logged.index, logged.term, logged.time, logged.term, payload).unwrap(),
            None => {
                applier.apply_blank(logged.index, logged.term, logged.time).unwrap();
                ApplyOutcome::Applied
            }
        }
    }

    pub(crate) fn publish(&mut self) {
        self.applier.as_mut().unwrap().publish();
    }

    fn logged(&self, payload: Option<Vec<u8>>) -> Logged {
        let index = self.next();
        Logged { index, term: self.term, time: Hlc::from_micros(1_000_000 + index.0 * 1_000), payload }
    }

    /// Logs and applies an entry; readers do not see it yet.
    pub(crate) fn push(&mut self, entry: &Entry) -> LogIndex {
        let logged = self.logged(Some(entry.encode().to_vec()));
        assert_eq!(self.apply(&logged), ApplyOutcome::Applied);
        self.log.push(logged);
        self.log.last().unwrap().index
    }

    /// Logs and applies an entry that need not have the usual outcome.
    pub(crate) fn try_push(&mut self, entry: &Entry) -> Result<ApplyOutcome, StoreError> {
        let logged = self.logged(Some(entry.encode().to_vec()));
        let Logged { index, term, time, .. } = logged;
        let outcome = self.applier.as_mut().unwrap().apply(index, term, time, term, &entry.encode())?;
        self.log.push(logged);
        Ok(outcome)
    }

    /// Logs an entry that this node does not apply.
    pub(crate) fn skip(&mut self) {
        let logged = self.logged(None);
        self.applier.as_mut().unwrap().apply_skipped(logged.index, logged.term, logged.time).unwrap();
        self.log.push(logged);
    }

    /// Logs, applies and publishes an entry.
    pub(crate) fn commit(&mut self, entry: &Entry) -> LogIndex {
        let index = self.push(entry);
        self.publish();
        index
    }

    /// A new leader: the first entry of its term.
    pub(crate) fn next_term(&mut self) {
        self.term = Term(self.term.0 + 1);
        let logged = self.logged(None);
        self.apply(&logged);
        self.log.push(logged);
        self.publish();
    }

    /// An entry that was proposed in an older term than it is committed in.
    pub(crate) fn commit_fenced(&mut self, entry: &Entry) {
        let (logged, older) = (self.logged(None), Term(self.term.0 - 1));
        let applier = self.applier.as_mut().unwrap();
        let outcome = applier.apply(logged.index, logged.term, logged.time, older, &entry.encode()).unwrap();
        assert_eq!(outcome, ApplyOutcome::Fenced);
        applier.publish();
        self.log.push(logged);
    }

    pub(crate) fn checkpoint(&self) -> Option<LogIndex> {
        self.store.checkpoint(LATEST, [7; 32]).unwrap()
    }

    pub(crate) fn create(&mut self, indexes: &[Index]) {
        let mut catalog = vec![CatalogChange::Put(Object::Table(Arc::new(table(TABLE, indexes))))];
        catalog.extend(indexes.iter().map(|index| CatalogChange::Put(Object::Index(Arc::new(index.clone())))));
        self.commit(&Entry::Transaction(Transaction { catalog, ..Transaction::default() }));
    }

    pub(crate) fn table(&self) -> Arc<TableStore> {
        let catalog = self.store.catalog();
        self.store.table(catalog.table(TABLE).unwrap().storage).unwrap()
    }

    pub(crate) fn insert(&mut self, rows: Vec<Row>) -> LogIndex {
        self.commit(&change(Vec::new(), RowBlock::Rows(rows)))
    }

    pub(crate) fn update(&mut self, vid: Vid, row: Row) -> LogIndex {
        self.commit(&change(vec![vid], RowBlock::Rows(vec![row])))
    }

    pub(crate) fn delete(&mut self, vids: &[Vid]) -> LogIndex {
        self.commit(&change(vids.to_vec(), RowBlock::none()))
    }

    /// Exports what is not cold yet in files of few rows, and logs the manifest. Chunks follow when they may.
    pub(crate) fn migrate(&mut self) -> Option<LogIndex> {
        let definition = self.store.catalog().table(TABLE).unwrap().clone();
        let export = self.store.export(&definition, LogIndex(u64::MAX)).unwrap()?;
        let manifest = self.upload(&definition, export);
        Some(self.commit(&Entry::Manifest { storage: definition.storage, manifest }))
    }

    /// Makes new files of those of some manifests.
    pub(crate) fn compact(&mut self, manifests: &[Arc<LoggedManifest>]) -> LogIndex {
        let definition = self.store.catalog().table(TABLE).unwrap().clone();
        let export = self.store.export_again(&definition, manifests).unwrap().unwrap();
        let manifest = self.upload(&definition, export);
        self.commit(&Entry::Manifest { storage: definition.storage, manifest })
    }

    fn upload(&mut self, definition: &Table, Export { snapshot, after, horizon, scan }: Export) -> Manifest {
        let describe =
            |column: &Column| ColdColumn { number: column.number, name: column.name.clone(), ty: column.ty.clone() };
        let columns: Vec<ColdColumn> = definition.columns.iter().map(describe).collect();
        let options = WriteOptions { file_bytes: 4 << 10, group_rows: 100 };
        let mut writer = ColdWriter::new(&columns, &[1, 2], options);
        let mut finished = Vec::new();
        for chunk in &scan.chunks {
            finished.extend(writer.push(&Export::batch(chunk, definition).unwrap()).unwrap());
        }
        finished.extend(writer.finish().unwrap());
        let mut files = Vec::new();
        for (number, file) in finished.into_iter().enumerate() {
            let path = file_path("test/1", definition.storage, self.term, &format!("{}x{number}", self.next().0));
            let bytes = file.bytes.len() as u64;
            self.cold.put(&path, file.bytes).unwrap();
            let FinishedFile { rows, checksum, tail, vid_first, vid_last, .. } = file;
            files.push(ColdFile { path, rows, bytes, checksum, tail: Some(tail), vid_first, vid_last });
        }
        drop(snapshot);
        Manifest { after, horizon, columns, files }
    }

    pub(crate) fn find(&self, id: i32) -> Option<Vid> {
        self.table().get(PRIMARY, &id_key(id), LATEST).unwrap()
    }
}

/// A transaction on the test's table.
pub(crate) fn change(ended: Vec<Vid>, rows: RowBlock) -> Entry {
    Entry::Transaction(Transaction { changes: vec![table_change(TABLE, ended, rows)], ..Transaction::default() })
}

pub(crate) fn table_change(storage: Oid, ended: Vec<Vid>, rows: RowBlock) -> TableChange {
    let ended = ended.into_iter().map(|vid| EndedRow { vid, old: OldRow::Key(vec![Value::Int4(0)]) }).collect();
    TableChange { storage, columns: vec![1, 2, 3], ended, rows }
}

pub(crate) fn column(number: u16, name: &str, ty: SqlType, missing: Value) -> Column {
    Column {
        number,
        name: name.to_owned(),
        ty,
        not_null: number == 1,
        default: None,
        missing,
        domain: None,
        identity_always: None,
        inherited: 0,
        local: true,
        comment: None,
        acl: Default::default(),
    }
}

/// `t (id integer primary key, word text, number bigint)`
pub(crate) fn table(storage: Oid, indexes: &[Index]) -> Table {
    Table {
        oid: TABLE,
        tenant: TenantId(1),
        schema: PUBLIC_SCHEMA,
        name: "t".to_owned(),
        owner: BOOTSTRAP_ROLE,
        version: 1,
        storage,
        columns: vec![
            column(1, "id", SqlType::Int4, Value::Null),
            column(2, "word", SqlType::Text, Value::Null),
            column(3, "number", SqlType::Int8, Value::Null),
        ],
        next_column: 4,
        primary_key: Some(PRIMARY),
        indexes: indexes.iter().map(|index| index.oid).collect(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        aggregates: Vec::new(),
        materialized: None,
        options: Default::default(),
        on_commit: perigee_types::catalog::OnCommit::PreserveRows,
        parents: Vec::new(),
        partitioning: None,
        bound: None,
        constraint_comments: Vec::new(),
        comment: None,
        acl: None,
    }
}

pub(crate) fn index(oid: Oid, columns: &[u16], unique: bool) -> Index {
    Index {
        oid,
        table: TABLE,
        schema: PUBLIC_SCHEMA,
        name: format!("index_{oid}"),
        columns: columns.to_vec(),
        unique,
        constraint: oid == PRIMARY,
        parent: None,
        definition: Default::default(),
        state: IndexState::Valid,
        comment: None,
    }
}

/// Primary key, a unique index over a column that may be NULL, and one that is not unique.
pub(crate) fn all_indexes() -> Vec<Index> {
    vec![index(PRIMARY, &[1], true), index(UNIQUE, &[2], true), index(SECOND, &[3, 2], false)]
}

pub(crate) fn row(id: i32, word: Option<&str>, number: i64) -> Row {
    vec![Value::Int4(id), word.map_or(Value::Null, |word| Value::Text(word.to_owned())), Value::Int8(number)]
}

pub(crate) fn id_key(id: i32) -> Vec<u8> {
    values_key(&[Value::Int4(id)])
}

pub(crate) fn values_key(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    key::encode(values, &mut out);
    out
}

/// What a scan shows: vid and row, by vid.
pub(crate) fn scan(table: &Arc<TableStore>, at: LogIndex, columns: &[u16]) -> Vec<(Vid, Row)> {
    let mut rows = Vec::new();
    for chunk in table.scan(at).chunks {
        rows.extend(chunk_rows(&chunk, columns));
    }
    rows.sort_by_key(|(vid, _)| *vid);
    rows
}

pub(crate) fn chunk_rows(chunk: &perigee_storage::table::ChunkScan, columns: &[u16]) -> Vec<(Vid, Row)> {
    let batch = chunk.batch(columns, true).unwrap();
    let vids = batch.column(columns.len());
    let vids: Vec<u64> = vids.as_any().downcast_ref::<arrow::array::UInt64Array>().unwrap().values().to_vec();
    let rows =
        perigee_storage::arrow_value::batch_to_rows(&batch.project(&(0..columns.len()).collect::<Vec<_>>()).unwrap());
    vids.into_iter().map(Vid).zip(rows).collect()
}

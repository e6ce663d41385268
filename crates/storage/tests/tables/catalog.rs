//! The catalog, sequences and what a checkpoint keeps of the log.

use std::sync::Arc;

use perigee_storage::entry::{Entry, RowBlock, SequenceChange, Transaction};
use perigee_storage::kv::{KvEngine, MemKv};
use perigee_storage::store::{SequenceState, Store, StoreError};
use perigee_storage::table::LATEST;
use perigee_types::catalog::{BOOTSTRAP_ROLE, CatalogChange, Object, PUBLIC_SCHEMA, Sequence};
use perigee_types::{LogIndex, Oid, SqlType, TenantId, Value};

use crate::support::{Node, TABLE, all_indexes, column, options, row, scan, table};

fn sequence(oid: u32) -> Object {
    Object::Sequence(Arc::new(Sequence {
        oid: Oid(oid),
        tenant: TenantId(1),
        schema: PUBLIC_SCHEMA,
        name: format!("s{oid}"),
        owner: BOOTSTRAP_ROLE,
        ty: SqlType::Int8,
        start: 5,
        increment: 1,
        minimum: 1,
        maximum: i64::MAX,
        cycle: false,
        owned_by: None,
        comment: None,
        acl: None,
    }))
}

#[test]
fn a_snapshot_meets_the_catalog_of_its_index() {
    let mut node = Node::new();
    let empty = node.store.snapshot();
    node.create(&all_indexes());
    let old = node.store.snapshot();
    let mut wider = table(TABLE, &all_indexes());
    wider.columns.push(column(4, "extra", SqlType::Int4, Value::Int4(8)));
    let catalog = vec![CatalogChange::Put(Object::Table(Arc::new(wider)))];
    node.commit(&Entry::Transaction(Transaction { catalog, ..Transaction::default() }));
    assert!(empty.catalog.table(TABLE).is_none());
    assert_eq!(old.catalog.table(TABLE).unwrap().columns.len(), 3);
    assert_eq!(node.store.catalog().table(TABLE).unwrap().columns.len(), 4);
    drop((empty, old));
    node.insert(vec![row(1, None, 0)]);
    assert_eq!(scan(&node.table(), LATEST, &[4, 1])[0].1, [Value::Int4(8), Value::Int4(1)]);
}

#[test]
fn sequences_survive_a_restart() {
    let mut node = Node::new();
    let catalog = vec![CatalogChange::Put(sequence(16_500)), CatalogChange::Put(sequence(16_501))];
    node.commit(&Entry::Transaction(Transaction { catalog, ..Transaction::default() }));
    assert_eq!(node.store.sequence(Oid(16_500)), Some(SequenceState { next: 5, called: false }));
    let sequences = vec![SequenceChange { sequence: Oid(16_500), next: 37, called: true }];
    node.commit(&Entry::Transaction(Transaction { sequences, ..Transaction::default() }));
    node.checkpoint();
    let catalog = vec![CatalogChange::Remove(Oid(16_501))];
    node.commit(&Entry::Transaction(Transaction { catalog, ..Transaction::default() }));
    for _ in 0..2 {
        node.reopen();
        assert_eq!(node.store.sequence(Oid(16_500)), Some(SequenceState { next: 37, called: true }));
        assert_eq!(node.store.sequence(Oid(16_501)), None);
        assert_eq!(node.store.catalog().next_oid(), 16_502);
        node.checkpoint();
    }
}

#[test]
fn a_checkpoint_says_where_in_the_log_it_stands() {
    let mut node = Node::new();
    node.create(&all_indexes());
    let index = node.insert(vec![row(1, Some("one"), 1)]);
    assert_eq!(node.store.checkpoint(LogIndex(index.0 - 1), [1; 32]).unwrap(), None, "the log is not synced so far");
    assert_eq!(node.store.checkpoint(index, [2; 32]).unwrap(), Some(index));
    assert_eq!(node.store.checkpoint(index, [3; 32]).unwrap(), None, "nothing new");
    node.reopen();
    let recovered = node.store.recovered();
    assert_eq!((recovered.index, recovered.term, recovered.chain_hash), (index, node.term, [2; 32]));
    assert_eq!(scan(&node.table(), LATEST, &[1, 2, 3])[0].1, row(1, Some("one"), 1));
}

#[test]
fn clean_chunks_are_not_written_again() {
    let mut node = Node::new();
    node.create(&all_indexes());
    let words = "x".repeat(200);
    node.insert((0..6_000).map(|id| row(id, Some(&format!("{words}{id}")), 0)).collect());
    node.checkpoint();
    let before = node.kv.disk_bytes();
    let vid = node.find(17).unwrap();
    node.delete(&[vid]);
    node.checkpoint();
    let written = node.kv.disk_bytes().saturating_sub(before);
    assert!(written < 20_000, "{written} bytes for one end-mark");
    assert_eq!(node.budget.dirty.usage(), 0, "everything is clean");
    node.reopen();
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 5_999);
}

/// Flips one bit in every value: opening and reading gives an error or the right rows, never other rows.
#[test]
fn damage_is_found() {
    let mut node = Node::new();
    node.create(&all_indexes());
    let word = "a word ".repeat(20);
    node.insert((0..1_200).map(|id| row(id, Some(&format!("{word}{id}")), i64::from(id))).collect());
    node.insert(vec![row(9_000, None, 0)]);
    let vid = node.find(40).unwrap();
    node.delete(&[vid]);
    node.checkpoint();
    let want = scan(&node.table(), LATEST, &[1, 2, 3]);
    use std::ops::Bound::Unbounded;
    let pairs: Vec<_> = node.kv.scan(Unbounded, Unbounded).map(|item| item.unwrap()).collect();
    let structural = |key: &[u8]| key[0] < 0x50;
    let mut found = 0;
    for damaged in (0..pairs.len()).filter(|n| structural(&pairs[*n].0) && !pairs[*n].1.is_empty()) {
        for place in [0, pairs[damaged].1.len() / 2, pairs[damaged].1.len() - 1] {
            let kv = MemKv::new();
            let mut run = pairs.iter().enumerate().map(|(n, (key, value))| {
                let mut value = value.to_vec();
                if n == damaged {
                    value[place] ^= 0x10;
                }
                Ok((key.to_vec(), Some(value.into())))
            });
            kv.ingest(&mut run).unwrap();
            let kv: Arc<dyn KvEngine> = Arc::new(kv);
            let opened = Store::open(options(), kv, perigee_storage::budget::MemoryBudget::unlimited());
            let read = opened.and_then(|(store, _)| {
                let table = store.table(TABLE).ok_or(StoreError::UnknownStorage(TABLE))?;
                table
                    .scan(LATEST)
                    .chunks
                    .iter()
                    .map(|chunk| chunk.batch(&[1, 2, 3], true))
                    .collect::<Result<Vec<_>, _>>()
            });
            match read {
                Err(_) => found += 1,
                Ok(batches) => {
                    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
                    assert_eq!(rows, want.len(), "key {:?} byte {place}", pairs[damaged].0);
                }
            }
        }
    }
    assert!(found > 15, "{found} of the damages were found");
}

#[test]
fn entries_for_tables_that_do_not_exist_are_refused() {
    let node = Node::new();
    let entry = crate::support::change(Vec::new(), RowBlock::Rows(vec![row(1, None, 0)]));
    let (_, mut applier) = Store::open(options(), Arc::new(MemKv::new()), node.budget.clone()).unwrap();
    let term = perigee_types::Term(1);
    let applied = applier.apply(LogIndex(1), term, perigee_types::Hlc(1), term, &entry.encode());
    assert!(matches!(applied, Err(StoreError::UnknownStorage(TABLE))));
}

//! Indexes across checkpoints, restarts and builds.

use std::ops::Bound;
use std::sync::Arc;

use perigee_storage::entry::{Entry, Transaction};
use perigee_storage::store::StoreError;
use perigee_storage::table::LATEST;
use perigee_types::Value;
use perigee_types::catalog::{CatalogChange, Object};

use crate::support::{Node, PRIMARY, SECOND, UNIQUE, all_indexes, id_key, index, row, table, values_key};

#[test]
fn indexes_agree_with_the_rows_after_restarts() {
    let mut node = Node::new();
    node.create(&all_indexes());
    for round in 0..4 {
        node.insert(
            (0..300).map(|n| row(round * 1_000 + n, Some(&format!("{round}-{n}")), i64::from(n % 7))).collect(),
        );
        if round % 2 == 0 {
            node.checkpoint();
        }
        let vid = node.find(round * 1_000 + 5).unwrap();
        node.update(vid, row(round * 1_000 + 5, None, 100));
        node.reopen();
    }
    let table = node.table();
    let all = |oid| table.range(oid, Bound::Unbounded, Bound::Unbounded, LATEST, false, usize::MAX).unwrap().len();
    assert_eq!((all(PRIMARY), all(UNIQUE), all(SECOND)), (1_200, 1_200, 1_200));
    let moved = Bound::Included(values_key(&[Value::Int8(100)]));
    assert_eq!(table.range(SECOND, moved.clone(), moved, LATEST, false, usize::MAX).unwrap().len(), 4);
    let word = values_key(&[Value::Text("2-5".into())]);
    assert_eq!(table.get(UNIQUE, &word, LATEST).unwrap(), None, "its row has another word now");
}

#[test]
fn keys_with_null_do_not_collide_and_are_found_by_range() {
    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..10).map(|id| row(id, None, 0)).collect());
    node.checkpoint();
    let table = node.table();
    let null = values_key(&[Value::Null]);
    assert_eq!(table.get(UNIQUE, &null, LATEST).unwrap(), None);
    let (from, to) = (Bound::Included(null.clone()), Bound::Included(null));
    assert_eq!(table.range(UNIQUE, from, to, LATEST, false, usize::MAX).unwrap().len(), 10);
}

#[test]
fn a_new_index_is_readable_once_it_is_filled() {
    let mut node = Node::new();
    node.create(&[index(PRIMARY, &[1], true)]);
    node.insert((0..2_000).map(|id| row(id, Some("same"), i64::from(id % 10))).collect());
    let old = node.store.snapshot();
    let made = index(SECOND, &[3], false);
    let catalog = vec![
        CatalogChange::Put(Object::Index(Arc::new(made.clone()))),
        CatalogChange::Put(Object::Table(Arc::new(table(crate::support::TABLE, &[index(PRIMARY, &[1], true), made])))),
    ];
    node.commit(&Entry::Transaction(Transaction { catalog, ..Transaction::default() }));
    node.insert(vec![row(5_000, None, 3)]);
    let key = Bound::Included(values_key(&[Value::Int8(3)]));
    let found = |node: &Node, at| node.table().range(SECOND, key.clone(), key.clone(), at, false, usize::MAX);
    assert!(matches!(found(&node, LATEST), Err(StoreError::IndexNotReady(_))));
    // A restart in the middle begins anew.
    node.checkpoint();
    let at = old.index;
    drop(old);
    node.reopen();
    assert_eq!(node.store.unfilled_indexes(), [SECOND]);
    node.store.backfill_index(SECOND).unwrap();
    assert!(node.store.index_ready(SECOND));
    assert_eq!(found(&node, LATEST).unwrap().len(), 201);
    assert_eq!(found(&node, at).unwrap().len(), 200, "older snapshots may use it");
    node.checkpoint();
    node.reopen();
    assert!(node.store.index_ready(SECOND));
    assert_eq!(found(&node, LATEST).unwrap().len(), 201);
}

#[test]
fn duplicates_are_found_before_an_index_is_made_unique() {
    let mut node = Node::new();
    node.create(&[index(PRIMARY, &[1], true)]);
    node.insert((0..1_000).map(|id| row(id, None, i64::from(id))).collect());
    let storage = crate::support::TABLE;
    assert_eq!(node.store.find_duplicate(storage, &[3], &node.store.snapshot(), &Default::default()).unwrap(), None);
    assert_eq!(
        node.store.find_duplicate(storage, &[2], &node.store.snapshot(), &Default::default()).unwrap(),
        None,
        "NULLs never collide"
    );
    node.insert(vec![row(5_000, None, 77)]);
    let found = node.store.find_duplicate(storage, &[3], &node.store.snapshot(), &Default::default()).unwrap();
    assert_eq!(found, Some(vec![Value::Int8(77)]));
}

#[test]
fn a_dropped_index_leaves_no_key_behind() {
    use perigee_storage::kv::keys::{Kind, prefix, range_of};

    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..500).map(|id| row(id, None, i64::from(id))).collect());
    node.checkpoint();
    let keys = |node: &Node| {
        let (from, to) = range_of(&prefix(Kind::Index, 0, crate::support::TABLE));
        node.kv.scan(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice)).count()
    };
    assert_eq!(keys(&node), 500);
    let rest = [index(PRIMARY, &[1], true), index(UNIQUE, &[2], true)];
    let catalog = vec![
        CatalogChange::Remove(SECOND),
        CatalogChange::Put(Object::Table(Arc::new(table(crate::support::TABLE, &rest)))),
    ];
    node.commit(&Entry::Transaction(Transaction { catalog, ..Transaction::default() }));
    node.checkpoint();
    assert_eq!(keys(&node), 0);
    assert!(node.table().get(PRIMARY, &id_key(3), LATEST).unwrap().is_some());
}

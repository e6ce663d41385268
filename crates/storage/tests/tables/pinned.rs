//! A query that stays open while the table is rewritten under it.

use perigee_storage::table::{LATEST, Tier};
use perigee_types::Vid;

use crate::support::{Node, all_indexes, chunk_rows, row, scan};

#[test]
fn a_pinned_scan_keeps_its_rows_across_checkpoint_eviction_and_compaction() {
    let mut node = Node::new();
    node.create(&all_indexes());
    let words = "a word that takes its place in the chunk ".repeat(3);
    node.insert((0..5_000).map(|id| row(id, Some(&format!("{words}{id}")), i64::from(id))).collect());
    node.checkpoint();
    node.store.evict_all();
    let snapshot = node.store.snapshot();
    let table = snapshot.table(crate::support::TABLE).unwrap();
    let pinned = table.scan(snapshot.index);
    assert!(pinned.chunks.iter().any(|chunk| chunk.tier() == Tier::Warm));
    let want = scan(&table, snapshot.index, &[1, 2, 3]);
    assert_eq!(want.len(), 5_000);

    // Everything changes, is compacted as far as the snapshot allows, written over in the LSM and evicted.
    let vids: Vec<Vid> = want.iter().map(|(vid, _)| *vid).collect();
    for part in vids.chunks(700) {
        node.delete(part);
        node.insert((0..300).map(|id| row(10_000 + id + part[0].0 as i32, None, 0)).collect());
        node.store.vacuum(None).unwrap();
        node.checkpoint();
        node.store.evict_all();
    }
    let mut got: Vec<_> = pinned.chunks.iter().flat_map(|chunk| chunk_rows(chunk, &[1, 2, 3])).collect();
    got.sort_by_key(|(vid, _)| *vid);
    assert_eq!(got, want);
    assert_eq!(scan(&table, snapshot.index, &[1, 2, 3]), want, "a new scan at the same snapshot sees them too");

    drop((snapshot, pinned));
    node.store.vacuum(None).unwrap();
    node.checkpoint();
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 2_400);
    assert_eq!(node.store.statistics().tables[0].dead_rows, 0);
    node.reopen();
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 2_400);
}

#[test]
fn a_dropped_table_is_read_by_the_snapshots_before_it() {
    use perigee_storage::entry::{Entry, Transaction};
    use perigee_types::catalog::CatalogChange;

    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..500).map(|id| row(id, None, 0)).collect());
    node.checkpoint();
    node.store.evict_all();
    let snapshot = node.store.snapshot();
    let storage = crate::support::TABLE;
    let catalog = vec![CatalogChange::Remove(crate::support::TABLE)];
    node.commit(&Entry::Transaction(Transaction { catalog, ..Transaction::default() }));
    node.checkpoint();
    node.store.maintain().unwrap();
    assert!(node.store.snapshot().table(storage).is_none());
    let table = snapshot.table(storage).unwrap();
    node.store.evict_all();
    assert_eq!(scan(&table, snapshot.index, &[1]).len(), 500);
    drop(table);
    drop(snapshot);
    node.store.maintain().unwrap();
    assert!(node.store.table(storage).is_none());
    node.reopen();
    assert!(node.store.table(storage).is_none());
    assert!(node.store.catalog().next_oid() > 20_003, "oids are not handed out twice");
}

//! Rows in cold files: what files show is what chunks show.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use perigee_storage::cold::{ColdRows, ColdStore};
use perigee_storage::table::{LATEST, TableStore, Tier};
use perigee_types::{LogIndex, Row, Value, Vid};

use crate::support::{Node, all_indexes, chunk_rows, row, scan};

/// Reads all files as a query does and compares what counts there with what the cold chunks show.
pub(crate) fn check_files(table: &Arc<TableStore>, cold: &Arc<ColdStore>, at: LogIndex, want: &[(Vid, Row)]) {
    let scan = table.scan(at);
    let chunks: Vec<_> = scan.chunks.iter().filter(|chunk| chunk.is_cold()).cloned().collect();
    let in_chunks: BTreeSet<u64> =
        chunks.iter().flat_map(|chunk| chunk_rows(chunk, &[1])).map(|(vid, _)| vid.0).collect();
    let rows = ColdRows::new(Arc::clone(&scan.manifests), chunks);
    let mut in_files = BTreeSet::new();
    for file in rows.manifests().iter().flat_map(|manifest| &manifest.manifest.files) {
        cold.verify(file).unwrap();
        let bytes = cold.get(&file.path, 0..file.bytes).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let ids = batch.column(0).as_primitive::<arrow::datatypes::Int32Type>();
            let vids = batch.columns().last().unwrap().as_primitive::<UInt64Type>();
            let mask = rows.mask(vids);
            assert!(!rows.is_whole() || mask.true_count() == mask.len());
            for place in (0..vids.len()).filter(|place| mask.value(*place)) {
                assert!(in_files.insert(vids.value(place)), "a row stands in two files");
                let (_, wanted) = want.iter().find(|(vid, _)| vid.0 == vids.value(place)).unwrap();
                assert_eq!(wanted[0], Value::Int4(ids.value(place)));
            }
        }
    }
    assert_eq!(in_files, in_chunks, "cold rows at {at}");
}

fn tiers(node: &Node) -> Vec<Tier> {
    node.table().scan(LATEST).chunks.iter().map(perigee_storage::table::ChunkScan::tier).collect()
}

#[test]
fn rows_become_cold_when_no_snapshot_is_older_than_the_manifest() {
    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..5_000).map(|id| row(id, Some(&format!("word {id}")), i64::from(id))).collect());
    let before = scan(&node.table(), LATEST, &[1, 2, 3]);
    let snapshot = node.store.snapshot();
    let index = node.migrate().unwrap();
    assert_eq!(node.store.settle_cold(None), 0, "an open snapshot is older than the manifest");
    let old = node.table().scan(snapshot.index);
    drop(snapshot);
    assert!(node.store.settle_cold(None) > 0);
    assert!(tiers(&node).iter().all(|tier| *tier == Tier::Cold));
    // Who pinned the chunks before reads the same rows, from the files.
    let mut pinned: Vec<_> = old.chunks.iter().flat_map(|chunk| chunk_rows(chunk, &[1, 2, 3])).collect();
    pinned.sort_by_key(|(vid, _)| *vid);
    assert_eq!(pinned, before);
    assert_eq!(scan(&node.table(), LATEST, &[1, 2, 3]), before);
    assert_eq!(node.migrate(), None, "there is nothing new");
    node.checkpoint();
    node.reopen();
    assert!(tiers(&node).iter().all(|tier| *tier == Tier::Cold), "a checkpoint keeps no column of them");
    assert_eq!(scan(&node.table(), LATEST, &[1, 2, 3]), before);
    assert_eq!(node.table().manifests()[0].index, index);
    // A version that ends, and its successor.
    let vid = node.find(7).unwrap();
    node.update(vid, row(7, Some("new"), -1));
    node.reopen();
    let found = node.find(7).unwrap();
    assert_ne!(found, vid);
    assert_eq!(node.table().row(found, &[1, 2]).unwrap().unwrap(), row(7, Some("new"), -1)[..2]);
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 5_000);
    let want = scan(&node.table(), LATEST, &[1, 2, 3]);
    check_files(&node.table(), &node.cold, LATEST, &want);
    let all = want.iter().map(|(vid, _)| *vid).collect::<Vec<_>>();
    node.delete(&all);
    node.store.vacuum(None).unwrap();
    assert_eq!(node.table().scan(LATEST).chunks.len(), 0, "a chunk without a living row goes");
}

#[test]
fn a_second_manifest_of_the_same_rows_has_no_effect() {
    use perigee_storage::entry::Entry;

    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..300).map(|id| row(id, None, 0)).collect());
    node.migrate().unwrap();
    let first = node.table().manifests();
    let manifest = first[0].manifest.clone();
    node.commit(&Entry::Manifest { storage: crate::support::TABLE, manifest });
    assert_eq!(node.table().manifests(), first);
    node.store.settle_cold(None);
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 300);
}

#[test]
fn rows_stay_warm_while_their_files_cannot_be_read() {
    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..300).map(|id| row(id, None, 0)).collect());
    node.migrate().unwrap();
    let file = node.table().manifests()[0].manifest.files[0].clone();
    let bytes = node.cold.get(&file.path, 0..file.bytes).unwrap();
    node.cold.delete(&file.path).unwrap();
    assert_eq!(node.store.settle_cold(None), 0);
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 300);
    // A file that is cut is not taken either.
    node.cold.put(&file.path, bytes.slice(..bytes.len() - 9)).unwrap();
    assert_eq!(node.store.settle_cold(Some(crate::support::TABLE)), 0);
    node.cold.put(&file.path, bytes).unwrap();
    assert!(node.store.settle_cold(Some(crate::support::TABLE)) > 0);
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 300);
}

/// Files of all manifests that are named, replaced ones too.
fn named(node: &Node) -> usize {
    let manifests = node.table().manifests();
    manifests.iter().flat_map(|logged| logged.with_replaced()).map(|logged| logged.manifest.files.len()).sum()
}

fn removed(node: &Node) -> usize {
    let idle = node.store.idle_cold(node.term, |_| false).unwrap();
    node.store.remove_cold(&idle, |_| false).unwrap()
}

#[test]
fn compacted_files_take_the_place_of_others_for_new_snapshots() {
    let mut node = Node::new();
    node.create(&all_indexes());
    for part in 0..4 {
        node.insert((part * 500..(part + 1) * 500).map(|id| row(id, Some("cold"), 2 * i64::from(id))).collect());
        node.migrate().unwrap();
        node.store.settle_cold(Some(crate::support::TABLE));
    }
    let all = scan(&node.table(), LATEST, &[1, 2, 3]);
    let gone: Vec<_> = all.iter().map(|(vid, _)| *vid).filter(|vid| vid.0 % 3 == 0).collect();
    let old = node.store.snapshot();
    node.delete(&gone);
    let left = scan(&node.table(), LATEST, &[1, 2, 3]);
    let before = node.table().manifests();
    assert_eq!(before.len(), 4);
    // Those in the middle, while a snapshot from before the DELETE is open.
    node.compact(&before[1..3]);
    let after = node.table().manifests();
    assert_eq!(after.len(), 3);
    assert_eq!(
        (after[1].manifest.after, after[1].manifest.horizon),
        (before[1].manifest.after, before[2].manifest.horizon)
    );
    assert!(after[1].rows() < before[1].rows() + before[2].rows(), "rows that have ended are not in them");
    node.store.forget_replaced(LogIndex(u64::MAX));
    assert_eq!(removed(&node), 0, "the snapshot reads the old files");
    assert_eq!(scan(&node.table(), old.index, &[1, 2, 3]), all);
    assert_eq!(scan(&node.table(), LATEST, &[1, 2, 3]), left);
    check_files(&node.table(), &node.cold, old.index, &all);
    check_files(&node.table(), &node.cold, LATEST, &left);
    node.checkpoint();
    drop(old);
    node.reopen();
    assert_eq!(scan(&node.table(), LATEST, &[1, 2, 3]), left);
    let files = named(&node);
    node.store.forget_replaced(LogIndex(u64::MAX));
    let still = named(&node);
    assert_eq!(removed(&node), files - still);
    assert!(still < files);
    check_files(&node.table(), &node.cold, LATEST, &left);
    // All of them, twice.
    for _ in 0..2 {
        node.compact(&node.table().manifests());
    }
    assert_eq!(node.table().manifests().len(), 1);
    assert_eq!(node.table().manifests()[0].rows(), left.len() as u64);
    node.store.forget_replaced(LogIndex(u64::MAX));
    removed(&node);
    node.checkpoint();
    node.reopen();
    assert_eq!(scan(&node.table(), LATEST, &[1, 2, 3]), left);
    check_files(&node.table(), &node.cold, LATEST, &left);
    // Rows go on ending, and new ones become cold behind.
    node.delete(&left.iter().map(|(vid, _)| *vid).take(100).collect::<Vec<_>>());
    node.insert((5_000..5_010).map(|id| row(id, None, 0)).collect());
    node.migrate().unwrap();
    node.store.settle_cold(Some(crate::support::TABLE));
    let want = scan(&node.table(), LATEST, &[1, 2, 3]);
    assert_eq!(want.len(), left.len() - 90);
    check_files(&node.table(), &node.cold, LATEST, &want);
}

#[test]
fn a_compaction_that_came_late_has_no_effect() {
    use perigee_storage::entry::Entry;

    let mut node = Node::new();
    node.create(&all_indexes());
    for part in 0..3 {
        node.insert((part * 100..(part + 1) * 100).map(|id| row(id, None, 0)).collect());
        node.migrate().unwrap();
    }
    let before = node.table().manifests();
    node.compact(&before[0..2]);
    let after = node.table().manifests();
    // Of a range that is none any more: its first manifest was taken together with another one.
    let mut late = before[1].manifest.clone();
    late.horizon = before[2].manifest.horizon;
    node.commit(&Entry::Manifest { storage: crate::support::TABLE, manifest: late });
    assert_eq!(node.table().manifests(), after);
}

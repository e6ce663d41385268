//! Rows that are updated all the time.

use std::time::Instant;

use perigee_storage::table::LATEST;
use perigee_types::Value;

use crate::support::{Node, PRIMARY, all_indexes, id_key, row, scan};

/// Its dead versions go as they come: the table stays small and as fast as it was.
#[test]
fn one_row_updated_over_and_over_does_not_slow_its_table() {
    let updates = 100_000;
    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..100).map(|id| row(id, Some(&format!("word {id}")), 0)).collect());
    let mut vid = node.find(7).unwrap();
    let read = |node: &Node| {
        let started = Instant::now();
        for _ in 0..200 {
            let vid = node.table().get(PRIMARY, &id_key(7), LATEST).unwrap().unwrap();
            node.table().row(vid, &[3]).unwrap().unwrap();
        }
        started.elapsed()
    };
    let fresh = read(&node);
    for n in 0..updates {
        node.update(vid, row(7, Some("word 7"), n));
        vid = node.find(7).unwrap();
        node.log.drain(..node.log.len() - 1);
    }
    let statistics = &node.store.statistics().tables[0];
    assert!(statistics.chunks <= 4, "{statistics:?}");
    assert!(statistics.index_delta_bytes < 200_000, "{statistics:?}");
    let worn = read(&node);
    assert!(worn < fresh * 20 + std::time::Duration::from_millis(20), "{fresh:?} before, {worn:?} after");
    let rows = scan(&node.table(), LATEST, &[1, 3]);
    assert_eq!(rows.len(), 100);
    assert!(rows.contains(&(vid, vec![Value::Int4(7), Value::Int8(updates - 1)])));
}

#[test]
fn a_chunk_that_is_mostly_dead_is_rewritten_without_a_vacuum() {
    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..4_000).map(|id| row(id, None, 0)).collect());
    let old = node.store.snapshot();
    for id in 0..3_000 {
        let vid = node.find(id).unwrap();
        node.delete(&[vid]);
    }
    assert_eq!(node.store.maintain().unwrap(), 0, "an open snapshot sees them");
    assert_eq!(scan(&node.table(), old.index, &[1]).len(), 4_000);
    drop(old);
    assert_eq!(node.store.maintain().unwrap(), 1);
    let statistics = &node.store.statistics().tables[0];
    assert_eq!((statistics.rows, statistics.dead_rows), (1_000, 0));
    assert_eq!(scan(&node.table(), LATEST, &[1]).len(), 1_000);
    assert_eq!(node.find(10), None);
    assert!(node.find(3_500).is_some());
}

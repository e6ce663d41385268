//! Staged transactions: hidden until they commit, gone when they do not.

use std::sync::Arc;

use perigee_storage::entry::{Entry, RowBlock, Transaction};
use perigee_storage::store::ApplyOutcome;
use perigee_storage::table::LATEST;
use perigee_types::catalog::{CatalogChange, Object};
use perigee_types::{Oid, Row, TransactionId, Vid};

use crate::support::{Node, PRIMARY, TABLE, all_indexes, id_key, index, row, scan, table, table_change};

const TRANSACTION: TransactionId = TransactionId(9);

fn rows(from: i32, count: i32) -> Vec<Row> {
    (from..from + count).map(|id| row(id, None, 0)).collect()
}

fn stage(node: &mut Node, part: u32, ended: Vec<Vid>, rows: Vec<Row>) {
    let changes = vec![table_change(TABLE, ended, RowBlock::Rows(rows))];
    node.commit(&Entry::Stage { transaction: TRANSACTION, part, changes });
}

fn staged_node() -> Node {
    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert(rows(0, 10));
    let ended = node.find(3).unwrap();
    stage(&mut node, 0, vec![ended], rows(100, 1_000));
    node.insert(rows(10, 10));
    stage(&mut node, 1, vec![], rows(2_000, 5));
    node
}

fn commit() -> Entry {
    Entry::Transaction(Transaction { staged: Some(TRANSACTION), ..Transaction::default() })
}

fn count(node: &Node) -> usize {
    let rows = scan(&node.table(), LATEST, &[1]).len();
    assert_eq!(node.table().row_count(), rows as u64);
    rows
}

#[test]
fn parts_become_visible_together() {
    let mut node = staged_node();
    assert_eq!(count(&node), 20);
    assert_eq!(node.find(100), None);
    assert!(node.find(3).is_some());
    let own = |node: &Node, id| node.table().get_with_staged(PRIMARY, &id_key(id), LATEST, Some(TRANSACTION)).unwrap();
    assert!(own(&node, 100).is_some(), "its own transaction sees them");
    assert_eq!(own(&node, 3), None);
    let before = node.store.snapshot();
    node.commit(&commit());
    assert_eq!(count(&node), 20 + 1_005 - 1);
    assert!(node.find(2_004).is_some());
    assert_eq!(node.find(3), None);
    assert_eq!(scan(&node.table(), before.index, &[1]).len(), 20);
}

#[test]
fn a_checkpoint_keeps_hidden_rows() {
    let mut node = staged_node();
    node.checkpoint();
    node.store.evict_all();
    node.reopen();
    assert_eq!(count(&node), 20);
    node.commit(&commit());
    assert_eq!(count(&node), 1_024);
    // The header and the marks change, the columns do not.
    node.checkpoint();
    node.reopen();
    assert_eq!(count(&node), 1_024);
    assert_eq!(node.find(3), None);
    assert!(node.find(100).is_some());
}

#[test]
fn abort_drops_rows_and_marks() {
    for checkpoint in [false, true] {
        let mut node = staged_node();
        if checkpoint {
            node.checkpoint();
        }
        node.commit(&Entry::Abort { transaction: TRANSACTION });
        assert_eq!(count(&node), 20);
        node.store.maintain().unwrap();
        assert!(node.find(3).is_some());
        // The keys are free again.
        node.insert(rows(100, 1));
        assert!(node.find(100).is_some());
        node.checkpoint();
        node.reopen();
        assert_eq!(count(&node), 21);
    }
}

#[test]
fn a_later_term_drops_what_an_earlier_one_staged() {
    let mut node = staged_node();
    node.checkpoint();
    node.next_term();
    assert_eq!(node.store.statistics().staged, 0);
    assert_eq!(count(&node), 20);
    // The old leader's last entry arrives behind it.
    node.commit_fenced(&commit());
    assert_eq!(count(&node), 20);
    node.reopen();
    assert_eq!(count(&node), 20);
}

#[test]
fn a_transaction_without_its_parts_has_no_effect() {
    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert(rows(0, 5));
    let changes = vec![table_change(TABLE, Vec::new(), RowBlock::Rows(rows(10, 1)))];
    let end = Entry::Transaction(Transaction { staged: Some(TRANSACTION), changes, ..Transaction::default() });
    assert_eq!(node.try_push(&end).unwrap(), ApplyOutcome::Rejected);
    node.publish();
    assert_eq!((count(&node), node.find(10)), (5, None));
    node.reopen();
    assert_eq!((count(&node), node.find(10)), (5, None));
}

#[test]
fn a_staged_table_comes_with_its_transaction_or_not_at_all() {
    for commit in [true, false] {
        let mut node = Node::new();
        node.create(&all_indexes());
        node.insert(rows(0, 5));
        let storage = Oid(25_000);
        let new = Arc::new(table(storage, &[index(PRIMARY, &[1], true)]));
        let indexes = vec![Arc::new(index(PRIMARY, &[1], true))];
        node.commit(&Entry::StageTable { transaction: TRANSACTION, table: Arc::clone(&new), indexes });
        let changes = vec![table_change(storage, Vec::new(), RowBlock::Rows(rows(0, 600)))];
        node.commit(&Entry::Stage { transaction: TRANSACTION, part: 0, changes });
        node.checkpoint();
        node.reopen();
        if commit {
            let catalog = vec![CatalogChange::Put(Object::Table(new))];
            node.commit(&Entry::Transaction(Transaction {
                staged: Some(TRANSACTION),
                catalog,
                ..Transaction::default()
            }));
            assert_eq!(count(&node), 600);
            assert!(node.find(599).is_some());
        } else {
            node.next_term();
            assert_eq!(count(&node), 5);
        }
        node.checkpoint();
        node.reopen();
        assert_eq!(count(&node), if commit { 600 } else { 5 });
        node.store.maintain().unwrap();
        assert_eq!(node.store.table(storage).is_some(), commit);
    }
}

#[test]
fn the_oids_of_a_staged_table_are_not_handed_out_again() {
    for restart in [false, true] {
        let mut node = Node::new();
        let storage = Oid(25_000);
        let new = Arc::new(table(storage, &[index(PRIMARY, &[1], true)]));
        let indexes = vec![Arc::new(index(Oid(25_010), &[1], true))];
        node.commit(&Entry::StageTable { transaction: TRANSACTION, table: new, indexes });
        assert_eq!(node.store.catalog().next_oid(), 25_011);
        node.checkpoint();
        if restart {
            node.reopen();
        }
        node.next_term();
        node.checkpoint();
        assert_eq!(node.store.catalog().next_oid(), 25_011, "what was staged under them may still be in the LSM");
        node.reopen();
        assert_eq!(node.store.catalog().next_oid(), 25_011);
    }
}

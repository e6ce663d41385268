//! Entries that come in pieces: applied whole, where the last piece stands, or not at all.

use bytes::Bytes;
use perigee_storage::entry::{Entry, PIECE_BYTES, PieceEnd, RowBlock, Transaction, pieces};
use perigee_storage::store::ApplyOutcome;
use perigee_storage::table::LATEST;
use perigee_types::{LogIndex, Row, TransactionId, Value, Vid};

use crate::support::{Node, PRIMARY, TABLE, index, row, scan, table_change};

const TRANSACTION: TransactionId = TransactionId(9);

fn node() -> Node {
    let mut node = Node::new();
    node.create(&[index(PRIMARY, &[1], true)]);
    node.insert(vec![row(1, None, 0)]);
    node
}

/// A word of some pieces that is not all the same.
fn word() -> String {
    (0..PIECE_BYTES / 2).map(|n| format!("{n:09}")).collect()
}

fn large(ended: Vec<Vid>) -> Vec<Entry> {
    let changes = vec![table_change(TABLE, ended, RowBlock::Rows(vec![row(2, Some(&word()), 7)]))];
    let whole = Entry::Stage { transaction: TRANSACTION, part: 0, changes }.encode();
    let all: Vec<Entry> = pieces(TRANSACTION, &whole, PieceEnd::Stage).collect();
    assert!(all.len() > 3);
    all
}

fn end() -> Transaction {
    Transaction { staged: Some(TRANSACTION), ..Transaction::default() }
}

fn commit() -> Entry {
    Entry::Transaction(end())
}

fn rows(node: &Node) -> Vec<Row> {
    scan(&node.table(), LATEST, &[1, 2, 3]).into_iter().map(|(_, row)| row).collect()
}

/// Whether the large row is there, beside the one that was there before.
fn is_there(node: &Node) -> bool {
    match rows(node).as_slice() {
        [_] => false,
        [_, large] => {
            assert!(large[1] == Value::Text(word()) && large[2] == Value::Int8(7));
            true
        }
        other => panic!("{} rows", other.len()),
    }
}

#[test]
fn a_large_row_comes_with_its_last_piece_and_its_transaction() {
    for stopped_behind in [0, 2, 99] {
        let mut node = node();
        for (at, piece) in large(Vec::new()).iter().enumerate() {
            node.commit(piece);
            if at == stopped_behind {
                assert_eq!(node.budget.session.usage(), (at as u64 + 1) * PIECE_BYTES as u64);
                node.checkpoint();
                node.reopen();
                assert_eq!(node.budget.session.usage(), (at as u64 + 1) * PIECE_BYTES as u64);
            }
        }
        assert!(!is_there(&node));
        assert_eq!(node.budget.session.usage(), 0, "nothing is kept of what is whole");
        node.commit(&commit());
        assert!(is_there(&node));
        node.checkpoint();
        node.store.evict_all();
        node.reopen();
        assert!(is_there(&node));
        assert_eq!(node.budget.session.usage(), 0, "nor in the checkpoint");
    }
}

#[test]
fn pieces_go_with_their_transaction() {
    type End = fn(&mut Node);
    let ends: [End; 3] = [
        |node| {
            node.commit(&Entry::Abort { transaction: TRANSACTION });
        },
        Node::next_term,
        |node| {
            node.commit(&commit());
        },
    ];
    for end in ends {
        for checkpoint in [false, true] {
            let mut node = node();
            for piece in &large(Vec::new())[..2] {
                node.commit(piece);
            }
            if checkpoint {
                node.checkpoint();
            }
            end(&mut node);
            assert_eq!(node.budget.session.usage(), 0);
            assert_eq!(node.store.statistics().staged, 0);
            assert!(!is_there(&node));
            node.checkpoint();
            node.reopen();
            assert_eq!((node.budget.session.usage(), is_there(&node)), (0, false));
        }
    }
}

#[test]
fn an_entry_that_was_given_up_does_not_come_with_the_next() {
    let mut node = node();
    let old = node.find(1).unwrap();
    let (lost, next) = (large(vec![old]), large(Vec::new()));
    // Its second piece was refused, and the others came.
    for piece in lost.iter().take(1).chain(&lost[2..]) {
        node.commit(piece);
    }
    node.commit(&lost[0]);
    for piece in &next {
        node.commit(piece);
    }
    node.commit(&commit());
    assert!(is_there(&node));
    assert!(node.find(1).is_some());
}

#[test]
fn the_end_of_a_transaction_comes_in_pieces_too() {
    let from = LogIndex(1);
    let word = word();
    let changes = vec![table_change(TABLE, Vec::new(), RowBlock::Rows(vec![row(2, Some(&word), 7)]))];
    let cut = |companion: &'static [u8]| -> Vec<Entry> {
        let changes = changes.clone();
        let end = Transaction { changes, companion: Bytes::from_static(companion), ..end() };
        pieces(TRANSACTION, &Entry::Transaction(end).encode(), PieceEnd::Transaction { from }).collect()
    };
    let run = |node: &mut Node, all: &[Entry]| -> ApplyOutcome {
        let outcomes: Vec<_> = all.iter().map(|piece| node.try_push(piece).unwrap()).collect();
        node.publish();
        let (last, before) = outcomes.split_last().unwrap();
        assert!(before.iter().all(|outcome| *outcome == ApplyOutcome::Applied));
        *last
    };
    let mut applied = node();
    assert_eq!(run(&mut applied, &cut(b"yes")), ApplyOutcome::Applied);
    assert!(is_there(&applied));
    applied.reopen();
    assert!(is_there(&applied));

    let mut rejected = node();
    let all = cut(b"no");
    assert_eq!(run(&mut rejected, &all), ApplyOutcome::Rejected);
    assert!(!is_there(&rejected));
    assert!(rejected.store.is_rejected(LogIndex(rejected.next().0 - 1)));

    let mut cut_off = node();
    assert_eq!(run(&mut cut_off, &all[1..]), ApplyOutcome::Rejected);
    assert!(!is_there(&cut_off));
}

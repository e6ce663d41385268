//! Attestations: nodes that have made the same of the log agree, all others find out.

use perigee_storage::entry::{Entry, RowBlock};
use perigee_storage::store::{ApplyOutcome, Attestation, StoreError};

use crate::support::{Node, all_indexes, row, table_change};

fn node(rows: i32) -> Node {
    let mut node = Node::new();
    node.create(&all_indexes());
    node.insert((0..rows).map(|id| row(id, None, 0)).collect());
    node.insert(vec![row(1_000, None, 0)]);
    node
}

fn attested(node: &Node) -> Attestation {
    let (index, digest) = node.store.to_attest().unwrap();
    Attestation { index, chain_hash: [7; 32], digest }
}

fn entry(Attestation { index, chain_hash, digest }: Attestation) -> Entry {
    Entry::Attest { index, chain_hash, digest }
}

#[test]
fn a_node_that_differs_stops() {
    let (mut leader, mut same, mut other) = (node(3), node(3), node(4));
    let attestation = attested(&leader);
    for node in [&mut leader, &mut same] {
        // Entries behind the attested one may come before the attestation.
        node.insert(vec![row(2_000, None, 0)]);
        assert_eq!(node.try_push(&entry(attestation)).unwrap(), ApplyOutcome::Attested(attestation));
        assert_eq!(node.store.attested(), attestation);
    }
    let error = other.try_push(&entry(attestation)).unwrap_err();
    assert!(matches!(error, StoreError::NotAttested { index } if index == attestation.index), "{error}");
}

#[test]
fn what_is_attested_needs_it_no_more() {
    let mut node = node(3);
    let attestation = attested(&node);
    node.try_push(&entry(attestation)).unwrap();
    assert_eq!(node.store.to_attest(), None);
    node.next_term();
    assert_eq!(node.store.to_attest(), None, "a new leader has written nothing yet");
    node.insert(vec![row(3_000, None, 0)]);
    assert!(attested(&node).index > attestation.index);
}

#[test]
fn the_digest_survives_a_restart() {
    for checkpoint in [false, true] {
        let mut node = node(3);
        let changes = vec![table_change(crate::support::TABLE, vec![], RowBlock::Rows(vec![row(5, None, 0)]))];
        node.commit(&Entry::Stage { transaction: perigee_types::TransactionId(1), part: 0, changes });
        if checkpoint {
            node.checkpoint().unwrap();
        }
        node.insert(vec![row(4_000, None, 0)]);
        let before = attested(&node);
        node.reopen();
        assert_eq!(attested(&node), before);
        node.try_push(&entry(before)).unwrap();
    }
}

#[test]
fn a_skipped_entry_is_an_outcome_of_its_own() {
    let (mut whole, mut skipping) = (node(3), node(3));
    whole.insert(vec![row(5_000, None, 0)]);
    skipping.skip();
    assert_eq!(whole.next(), skipping.next());
    let (one, two) = (attested(&whole), attested(&skipping));
    assert_eq!(one.index, two.index);
    assert_ne!(one.digest, two.digest);
    // Whoever skips has been told: what was attested before is no reason to stop.
    skipping.try_push(&entry(one)).unwrap();
}

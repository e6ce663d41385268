//! What is applied beside the tables may refuse a whole transaction.

use bytes::Bytes;
use perigee_storage::companion::{Companion, CompanionError, FrozenCompanion, Pair};
use perigee_storage::entry::{Entry, RowBlock, Transaction};
use perigee_storage::store::ApplyOutcome;
use perigee_types::{Hlc, LogIndex, Oid, TransactionId};

use crate::support::{Node, TABLE, all_indexes, row, table_change};

/// Refuses what is empty but for one byte.
pub(crate) struct Refusing;

impl Companion for Refusing {
    fn apply(&self, _: LogIndex, _: Hlc, _: &[u8]) -> Result<u64, CompanionError> {
        Ok(1)
    }

    fn apply_in_transaction(&self, _: LogIndex, _: Hlc, payload: &[u8]) -> Result<Option<u64>, CompanionError> {
        Ok((payload != b"no").then_some(2))
    }

    fn new_term(&self) {}

    fn publish(&self) {}

    fn freeze(&self) -> Box<dyn FrozenCompanion> {
        Box::new(Nothing)
    }

    fn dropped(&self) -> Vec<Oid> {
        Vec::new()
    }
}

struct Nothing;

impl FrozenCompanion for Nothing {
    fn facts(&self) -> Vec<(Vec<u8>, Option<Bytes>)> {
        Vec::new()
    }

    fn pairs(&self) -> Box<dyn Iterator<Item = Pair> + '_> {
        Box::new(std::iter::empty())
    }

    fn finish(&self) {}
}

fn with(companion: &'static [u8], id: i32) -> Entry {
    let changes = vec![table_change(TABLE, Vec::new(), RowBlock::Rows(vec![row(id, None, 0)]))];
    Entry::Transaction(Transaction { changes, companion: Bytes::from_static(companion), ..Transaction::default() })
}

#[test]
fn a_rejected_transaction_changes_nothing_and_is_remembered_as_long_as_the_log_is() {
    let mut node = Node::new();
    node.create(&all_indexes());
    assert_eq!(node.try_push(&with(b"yes", 1)).unwrap(), ApplyOutcome::Applied);
    assert_eq!(node.try_push(&with(b"no", 2)).unwrap(), ApplyOutcome::Rejected);
    let rejected = LogIndex(node.next().0 - 1);
    // Rows that it has staged go.
    let transaction = TransactionId(4);
    let changes = vec![table_change(TABLE, Vec::new(), RowBlock::Rows(vec![row(3, None, 0)]))];
    node.try_push(&Entry::Stage { transaction, part: 0, changes }).unwrap();
    let end = Transaction { staged: Some(transaction), companion: Bytes::from_static(b"no"), ..Transaction::default() };
    assert_eq!(node.try_push(&Entry::Transaction(end)).unwrap(), ApplyOutcome::Rejected);
    node.publish();
    let check = |node: &Node| {
        assert!([2, 3].iter().all(|id| node.find(*id).is_none()));
        assert!(node.find(1).is_some());
        assert!(node.store.is_rejected(rejected) && !node.store.is_rejected(LogIndex(rejected.0 - 1)));
    };
    check(&node);
    let digest = node.store.to_attest();
    node.reopen();
    check(&node);
    assert_eq!(node.store.to_attest(), digest, "a replay comes to the same outcomes");
    node.checkpoint().unwrap();
    node.reopen();
    check(&node);
    node.store.forget_rejected(LogIndex(rejected.0 + 1));
    assert!(!node.store.is_rejected(rejected) && node.store.is_rejected(LogIndex(rejected.0 + 2)));
}

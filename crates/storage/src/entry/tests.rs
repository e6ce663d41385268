//! Entries come back as they were, and nothing else does.

use std::sync::Arc;

use arrow::array::{Int32Array, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use perigee_types::catalog::{BOOTSTRAP_ROLE, CatalogChange, Column, Object, PUBLIC_SCHEMA, Table};
use perigee_types::{LogIndex, Oid, SqlType, TenantId, TransactionId, Value, Vid};
use proptest::prelude::*;

use super::{
    EndedRow, Entry, EntryError, Notification, OldRow, PieceEnd, RowBlock, SequenceChange, TableChange, Transaction,
};

fn batch(rows: usize) -> RecordBatch {
    // Entries name no columns: decoding gives them their places as names.
    let schema = Schema::new(vec![SqlType::Int4.field("0", true), SqlType::Text.field("1", true)]);
    let numbers = Int32Array::from_iter((0..rows as i32).map(|n| (n % 3 > 0).then_some(n)));
    let words =
        StringViewArray::from_iter((0..rows).map(|n| (n % 5 > 0).then(|| format!("a word longer than twelve {n}"))));
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(words)]).unwrap()
}

fn types(storage: Oid, columns: &[u16]) -> Option<Vec<SqlType>> {
    (storage == Oid(7) && columns == [1, 2]).then(|| vec![SqlType::Int4, SqlType::Text])
}

fn table(storage: Oid) -> Arc<Table> {
    let column = |number, name: &str, ty| Column {
        number,
        name: name.to_owned(),
        ty,
        not_null: false,
        default: None,
        missing: Value::Null,
        domain: None,
        identity_always: None,
        inherited: 0,
        local: true,
        comment: None,
        acl: Default::default(),
    };
    Arc::new(Table {
        oid: storage,
        tenant: TenantId(1),
        schema: PUBLIC_SCHEMA,
        name: "t".to_owned(),
        owner: BOOTSTRAP_ROLE,
        version: 1,
        storage,
        columns: vec![column(1, "id", SqlType::Int4), column(2, "word", SqlType::Text)],
        next_column: 3,
        primary_key: None,
        indexes: Vec::new(),
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
    })
}

fn transaction() -> Transaction {
    let rows = vec![vec![Value::Int4(-3), Value::Text("Grüße".into())], vec![Value::Null, Value::Null]];
    let ended = vec![
        EndedRow { vid: Vid(1 << 40), old: OldRow::Key(vec![Value::Int8(5)]) },
        EndedRow { vid: Vid(3), old: OldRow::Unknown },
        EndedRow { vid: Vid(4), old: OldRow::Whole(vec![Value::Null, Value::Text("x".into())]) },
    ];
    Transaction {
        staged: Some(TransactionId(77)),
        staged_from: LogIndex(9),
        changes: vec![
            TableChange { storage: Oid(7), columns: vec![1, 2], ended, rows: RowBlock::Rows(rows) },
            TableChange {
                storage: Oid(7),
                columns: vec![1, 2],
                ended: Vec::new(),
                rows: RowBlock::Batch(batch(2_000)),
            },
        ],
        catalog: vec![CatalogChange::Remove(Oid(9))],
        sequences: vec![SequenceChange { sequence: Oid(4), next: i64::MIN, called: true }],
        notifications: vec![Notification { channel: "c".into(), payload: "é".into(), process_id: -5 }],
        companion: bytes::Bytes::new(),
    }
}

fn piece(end: PieceEnd) -> Entry {
    Entry::Piece { transaction: TransactionId(u64::MAX), number: 300, end, bytes: bytes::Bytes::from_static(b"part") }
}

fn samples() -> Vec<Entry> {
    let id = TransactionId(u64::MAX);
    vec![
        Entry::Transaction(Transaction::default()),
        Entry::Transaction(transaction()),
        Entry::Transaction(Transaction { companion: bytes::Bytes::from_static(b"keys"), ..transaction() }),
        Entry::Stage { transaction: id, part: 3, changes: transaction().changes },
        Entry::StageTable { transaction: id, table: table(Oid(8)), indexes: Vec::new() },
        Entry::Abort { transaction: id },
        piece(PieceEnd::More),
        piece(PieceEnd::Stage),
        piece(PieceEnd::Transaction { from: LogIndex(1 << 50) }),
        Entry::Attest { index: LogIndex(5), chain_hash: [1; 32], digest: [2; 32] },
    ]
}

#[test]
fn entries_come_back() {
    for entry in samples() {
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes, &types).unwrap(), entry);
    }
}

#[test]
fn what_commits_is_known_by_its_first_bytes() {
    let check = |entry: Entry, want: (bool, bool)| {
        let bytes = entry.encode();
        assert_eq!((super::commits(&bytes), super::notifies(&bytes)), want, "{entry:?}");
    };
    check(Entry::Transaction(Transaction::default()), (true, false));
    check(Entry::Transaction(transaction()), (true, true));
    check(piece(PieceEnd::Transaction { from: LogIndex(1) }), (true, true));
    check(piece(PieceEnd::Stage), (false, false));
    check(piece(PieceEnd::More), (false, false));
    check(Entry::Abort { transaction: TransactionId(1) }, (false, false));
}

#[test]
fn a_batch_may_belong_to_a_table_that_the_entry_makes() {
    let change =
        |storage| TableChange { storage, columns: vec![1, 2], ended: Vec::new(), rows: RowBlock::Batch(batch(5)) };
    let entry = |storage| {
        let catalog = vec![CatalogChange::Put(Object::Table(table(Oid(50))))];
        Entry::Transaction(Transaction { changes: vec![change(storage)], catalog, ..Transaction::default() })
    };
    assert_eq!(Entry::decode(&entry(Oid(50)).encode(), &types).unwrap(), entry(Oid(50)));
    let other = Entry::decode(&entry(Oid(51)).encode(), &types);
    assert_eq!(other, Err(EntryError::UnknownColumns(Oid(51))));
}

#[test]
fn a_batch_in_another_arrow_form_travels_as_rows() {
    let schema = Schema::new(vec![Field::new("id", DataType::Int32, true), Field::new("word", DataType::Utf8, true)]);
    let words = StringArray::from(vec![Some("a"), None]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(words)]);
    let rows = RowBlock::Batch(batch.unwrap());
    let change = TableChange { storage: Oid(7), columns: vec![1, 2], ended: Vec::new(), rows };
    let entry = Entry::Stage { transaction: TransactionId(1), part: 0, changes: vec![change] };
    let Entry::Stage { changes, .. } = Entry::decode(&entry.encode(), &types).unwrap() else { panic!("not a stage") };
    let want = vec![vec![Value::Int4(1), Value::Text("a".into())], vec![Value::Int4(2), Value::Null]];
    assert_eq!(changes[0].rows, RowBlock::Rows(want));
}

#[test]
fn a_batch_of_other_types_is_refused() {
    let entry = Entry::Transaction(transaction());
    let wrong = |_: Oid, _: &[u16]| Some(vec![SqlType::Text, SqlType::Text]);
    assert!(matches!(Entry::decode(&entry.encode(), &wrong), Err(EntryError::Batch(_))));
}

#[test]
fn cut_and_longer_bytes_are_refused() {
    for entry in samples() {
        let bytes = entry.encode();
        for end in 0..bytes.len().min(400) {
            assert!(Entry::decode(&bytes[..end], &types).is_err(), "cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Entry::decode(&longer, &types).is_err());
    }
    assert_eq!(Entry::decode(&[9, 1], &types), Err(EntryError::UnknownVersion(9)));
    assert_eq!(Entry::decode(&[2, 99], &types), Err(EntryError::UnknownKind(99)));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Entry::decode(&bytes, &types);
        for kind in 1..=12 {
            let _ = Entry::decode(&[&[2, kind], &bytes[..]].concat(), &types);
        }
    }

    #[test]
    fn flipped_bytes_never_panic(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        for entry in samples() {
            let mut bytes = entry.encode().to_vec();
            for (place, value) in &places {
                let at = place.index(bytes.len());
                bytes[at] ^= value;
            }
            let _ = Entry::decode(&bytes, &types);
        }
    }
}
